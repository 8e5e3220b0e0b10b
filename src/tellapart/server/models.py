"""The runs that a server answers with: each loaded once, with its queue, its rules and its counts."""

from __future__ import annotations

import asyncio
import functools
import io
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from PIL import Image

from tellapart.errors import unknown_name
from tellapart.inference.nearest import Nearest
from tellapart.inference.prediction import Stability
from tellapart.inference.predictor import load_predictor
from tellapart.runs.store import Run
from tellapart.server.batching import BackgroundWorker, Batcher, Said
from tellapart.server.confidence import Confidence
from tellapart.server.explanations import Explanation, Explanations, NotReady
from tellapart.server.metrics import Metrics
from tellapart.server.middleware import RequestError
from tellapart.server.settings import ServerSettings

_PATIENCE = 3.0  # seconds for which somebody is kept waiting while the server loads
T = TypeVar("T")


class ServedModel:
    """One run, ready to be asked by many.

    Args:
        run: Finished.
        options: Where and how.
        measures: Where batches are counted.
    """

    def __init__(self, run: Run, options: ServerSettings, measures: Metrics) -> None:
        self.run, self.options = run, options
        self.answerer = load_predictor(run, options.settings)
        self.certainty = Confidence(run)
        self.insight = Explanations(run, options)
        told = functools.partial(measures.batch, run.id)
        self.batcher = Batcher(self.answerer.predict_batch, run.id, options.batch, options.waiting, told)
        self.slow, self._prepared = BackgroundWorker(run.id), threading.Event()

    @property
    def id(self) -> str:
        """Of the run."""
        return self.run.id

    def warm_up(self) -> None:
        """Ask once, so that the first visitor does not wait for what is built at the first question; maps in the background."""
        target = io.BytesIO()
        Image.fromarray(np.full((32, 32, 3), 128, np.uint8)).save(target, "png")
        self.answerer.predict_batch([target.getvalue()])
        self.slow.begin(self._prepare)

    async def predict(self, contents: Sequence[bytes]) -> list[Said]:
        """Of each encoded picture its probabilities, or why it cannot be read."""
        return await self.batcher.predict(contents)

    async def explain(self, content: bytes, name: str, class_name: str | None, method: str | None) -> Explanation:
        """Where it looks; see `Insight.heatmap`."""
        return await self._slowly(lambda: self.insight.heatmap(content, name, class_name, method))

    async def stability(self, content: bytes, name: str) -> Stability:
        """Whether the answer survives other deliveries."""
        return await self._slowly(lambda: self.insight.stability(content, name))

    async def nearest(self, content: bytes, name: str) -> Nearest:
        """What it is reminded of."""
        return await self._slowly(lambda: self.insight.nearest(content, name))

    def _prepare(self) -> None:
        try:
            self.insight.prepare()
        finally:  # what went wrong is said to who asks
            self._prepared.set()

    async def _slowly(self, work: Callable[[], T]) -> T:
        """Do what takes longer, once the server has got that far."""
        deadline = time.monotonic() + _PATIENCE
        while not self._prepared.is_set():
            if time.monotonic() > deadline:
                raise NotReady("the server has just started and is still loading", hint="ask again in a moment")
            await asyncio.sleep(0.05)
        return await self.slow.do(work)

    def close(self) -> None:
        """Answer what waits, then stop."""
        self.batcher.close()
        self.slow.close()


class ServedModels:
    """All runs of one server, the first of them the one that answers when none is named."""

    def __init__(self, runs: Sequence[Run], options: ServerSettings, measures: Metrics) -> None:
        self._runs = {run.id: ServedModel(run, options, measures) for run in runs}

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._runs.values())

    @property
    def first(self) -> ServedModel:
        """The one that answers when none is named."""
        return next(iter(self))

    def get(self, name: str | None) -> ServedModel:
        """One run by its id. Names are looked up among those that were started with; nothing is looked for on the disk.

        Raises:
            Refused: There is no such run here.
        """
        if not name:
            return self.first
        if name not in self._runs:
            raise RequestError(404, unknown_name("run", name[:100], self._runs), "GET /api/runs lists those that are served")
        return self._runs[name]

    def waiting(self) -> dict[str, int]:
        """Images in the queue of each run."""
        return {run.id: run.batcher.waiting for run in self}

    def close(self) -> None:
        """Stop all of them."""
        for run in self:
            run.close()
