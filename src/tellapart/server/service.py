"""The served runs, and the prediction service that the API and the web page share."""

from __future__ import annotations

import asyncio
import functools
import io
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from PIL import Image
from starlette.concurrency import run_in_threadpool

from tellapart.errors import SystemLimitError, TellapartError, unknown_name
from tellapart.inference.nearest import Nearest
from tellapart.inference.prediction import Stability
from tellapart.inference.predictor import load_predictor
from tellapart.runs.store import Run
from tellapart.server.batching import BackgroundWorker, Batcher, ProbaOrReason, QueueFull
from tellapart.server.confidence import Assessment, Confidence
from tellapart.server.explanations import Explanation, Explanations, NotReady
from tellapart.server.leaderboards import LeaderboardService
from tellapart.server.metrics import Metrics
from tellapart.server.middleware import RequestError
from tellapart.server.settings import ServerSettings
from tellapart.server.upload_log import UploadLog
from tellapart.server.uploads import Upload, UploadResult

_LOG = logging.getLogger("tellapart.server")
_LOADING = 3.0  # seconds that a request waits while the server is still loading
_RETRY_AFTER = {"retry-after": "1"}
T = TypeVar("T")


class ServedModel:
    """One run, loaded once, with its queue.

    Args:
        run: A finished run.
        options: Limits, device, folders.
        metrics: Counts the batches.
    """

    def __init__(self, run: Run, options: ServerSettings, metrics: Metrics) -> None:
        self.run, self.options = run, options
        self.predictor = load_predictor(run, options.settings)
        self.confidence = Confidence(run)
        self.explanations = Explanations(run, options)
        on_batch = functools.partial(metrics.batch, run.id)
        self.batcher = Batcher(self.predictor.predict_batch, run.id, options.batch, options.waiting, on_batch)
        self._worker, self._prepared = BackgroundWorker(run.id), threading.Event()

    @property
    def id(self) -> str:
        """Id of the run."""
        return self.run.id

    def warm_up(self) -> None:
        """Predict one image, so that the first request is not slower than others; load the explainers in the background."""
        target = io.BytesIO()
        Image.fromarray(np.full((32, 32, 3), 128, np.uint8)).save(target, "png")
        self.predictor.predict_batch([target.getvalue()])
        self._worker.submit(self._prepare)

    async def predict(self, contents: Sequence[bytes]) -> list[ProbaOrReason]:
        """Predict encoded images: probabilities of each, or the reason why it cannot be read."""
        return await self.batcher.predict(contents)

    async def explain(self, content: bytes, name: str, class_name: str | None, method: str | None) -> Explanation:
        """Compute a heatmap; see `Explanations.heatmap`."""
        return await self._in_background(lambda: self.explanations.heatmap(content, name, class_name, method))

    async def stability(self, content: bytes, name: str) -> Stability:
        """Predict the image again after compression and scaling."""
        return await self._in_background(lambda: self.explanations.stability(content, name))

    async def nearest(self, content: bytes, name: str) -> Nearest:
        """Find the nearest training images."""
        return await self._in_background(lambda: self.explanations.nearest(content, name))

    def _prepare(self) -> None:
        try:
            self.explanations.prepare()
        finally:  # an error is raised again, and reported, at the first request
            self._prepared.set()

    async def _in_background(self, work: Callable[[], T]) -> T:
        deadline = time.monotonic() + _LOADING
        while not self._prepared.is_set():
            if time.monotonic() > deadline:
                raise NotReady("the server has just started and is still loading", hint="try again in a moment")
            await asyncio.sleep(0.05)
        return await self._worker.run(work)

    def close(self) -> None:
        """Predict the images in the queue, then stop."""
        self.batcher.close()
        self._worker.close()


class ServedModels:
    """All runs of one server. The first is used when a request names none.

    Args:
        runs: Finished runs.
        options: Limits, device, folders.
        metrics: Counts the batches.
    """

    def __init__(self, runs: Sequence[Run], options: ServerSettings, metrics: Metrics) -> None:
        self._models = {run.id: ServedModel(run, options, metrics) for run in runs}

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models.values())

    def get(self, run_id: str | None) -> ServedModel:
        """One run by its id; the first if `run_id` is empty. Only served runs are looked up, never the disk.

        Raises:
            RequestError: This server has no such run.
        """
        if not run_id:
            return next(iter(self))
        if run_id not in self._models:
            raise RequestError(404, unknown_name("run", run_id[:100], self._models), "GET /api/runs lists the served runs")
        return self._models[run_id]

    def waiting(self) -> dict[str, int]:
        """Number of images in the queue of each run."""
        return {model.id: model.batcher.waiting for model in self}

    def close(self) -> None:
        """Stop all runs."""
        for model in self:
            model.close()


class PredictionService:
    """Prediction service of the API and the pages.

    Args:
        runs: Finished runs; the first is used when a request names none.
        options: Limits, device, folders.

    Raises:
        RunError: A run cannot be loaded.
        SystemLimitError: The folder of `options.keep` cannot be created.
    """

    def __init__(self, runs: Sequence[Run], options: ServerSettings) -> None:
        self.options, self.metrics = options, Metrics()
        self.upload_log = UploadLog(options.keep) if options.keep else None
        self.models = ServedModels(runs, options, self.metrics)
        self.leaderboards = LeaderboardService(runs, options.settings.runs, options.settings.images)

    async def predict(self, model: ServedModel, uploads: Sequence[Upload]) -> list[UploadResult]:
        """Predict uploaded images, in one batch where possible."""
        readable = [upload for upload in uploads if not upload.error]
        predicted = iter(await as_http_error(model.predict([one.content for one in readable])) if readable else ())
        results = []
        for upload in uploads:
            proba = upload.error or next(predicted)
            if isinstance(proba, str):
                results.append(UploadResult(upload, error=upload.error or f"{upload.name}: {proba}"))
                continue
            assessment = model.confidence.assess(proba)
            stored = await self._store(model, upload, proba, assessment)
            results.append(UploadResult(upload, proba, assessment, stored=stored))
        return results

    async def explain(self, model: ServedModel, upload: Upload, class_name: str | None, method: str | None) -> Explanation:
        """Compute a heatmap; see `Explanations.heatmap`."""
        return await as_http_error(model.explain(upload.content, upload.name, class_name, method))

    async def stability(self, model: ServedModel, upload: Upload) -> Stability:
        """Predict the image again after compression and scaling."""
        return await as_http_error(model.stability(upload.content, upload.name))

    async def nearest(self, model: ServedModel, upload: Upload) -> Nearest:
        """Find the nearest training images."""
        return await as_http_error(model.nearest(upload.content, upload.name))

    async def _store(self, model: ServedModel, upload: Upload, proba: np.ndarray, assessment: Assessment) -> bool:
        """Store an image if the server was started with `--keep`. A full disk is logged; the request still succeeds."""
        if self.upload_log is None:
            return False
        prediction = {
            "run": model.id, "decision": assessment.decision, "confidence": assessment.confidence,
            "probabilities": dict(zip(model.run.classes, map(float, proba), strict=True)),
        }  # fmt: skip
        try:
            await run_in_threadpool(self.upload_log.store, upload.content, upload.name, prediction)
        except SystemLimitError as error:
            _LOG.error("an uploaded image could not be stored: %s", error.message)
            return False
        return True


async def as_http_error(work: Awaitable[T]) -> T:
    """Wait for a result; an error that the client can do something about becomes an HTTP error.

    Raises:
        RequestError: 503 if the queue is full or something is still loading; 422 if the image or a parameter is invalid.
    """
    try:
        return await work
    except QueueFull:
        raise RequestError(503, "the server is busy", "try again in a moment", _RETRY_AFTER) from None
    except NotReady as error:
        raise RequestError(503, error.message, error.hint or "", {"retry-after": "3"}) from None
    except TellapartError as error:
        raise RequestError(422, error.message, error.hint or "") from None
