"""A finished run that is loaded once and asked many times: what `predict` streams through and `serve` keeps open."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from tellapart.bench import USUAL, Settings, device_named, load, readable
from tellapart.data.cache import CorruptImages, PixelCache
from tellapart.data.memory import from_arrays, from_bytes
from tellapart.families._contract import Context
from tellapart.runs import store
from tellapart.runs.store import Run
from tellapart.types import Problem


@dataclass(frozen=True, eq=False)
class Answers:
    """What a run says of some images.

    Attributes:
        rows: (M,) int64, positions of the images that could be read.
        proba: (M, C) float32, a row for each of them; rows sum to 1.
        problems: One for each of the others, with what is wrong.
    """

    rows: np.ndarray
    proba: np.ndarray
    problems: tuple[Problem, ...] = ()


class Answerer(ABC):
    """A run, ready to be asked. One thread at a time asks it.

    Attributes:
        run: Which.
        runtime: What computes: "torch" (also for families without a network) or "onnx".
    """

    runtime: str

    def __init__(self, run: Run) -> None:
        self.run = run

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self.run.classes

    @final
    def ask(self, contents: Sequence[bytes | np.ndarray], names: Sequence[str] | None = None) -> Answers:
        """Answer images that are all encoded, or all decoded.

        Args:
            contents: N encoded files; or N pictures of any sizes, (H, W), or (H, W, 3), uint8, grey or RGB.
            names: N, for what is said of a damaged one; default: their positions.
        """
        if not len(contents):
            return Answers(np.zeros(0, np.int64), np.zeros((0, len(self.classes)), np.float32))
        return self._ask(contents, [str(i) for i in range(len(contents))] if names is None else list(names))

    @abstractmethod
    def _ask(self, contents: Sequence[bytes | np.ndarray], names: list[str]) -> Answers: ...


class TorchAnswerer(Answerer):
    """The classifier itself."""

    runtime = "torch"

    def __init__(self, run: Run, settings: Settings = USUAL) -> None:
        super().__init__(run)
        self.classifier = load(run)
        self.device = device_named(settings.device)
        self.parents = lambda name: store.open_run(name, settings.runs).folder

    def _ask(self, contents: Sequence[bytes | np.ndarray], names: list[str]) -> Answers:
        rows = np.arange(len(contents))
        try:
            return Answers(rows, self._answer(contents))
        except CorruptImages as error:
            problems = [Problem(p.kind, names[row], p.message) for row, p in zip(error.rows, error.problems, strict=True)]
            rows = np.setdiff1d(rows, error.rows)
            return Answers(rows, self._answer([contents[row] for row in rows]), tuple(problems))

    def _answer(self, contents: Sequence[bytes | np.ndarray]) -> np.ndarray:
        """(N, C) float32. Pictures in memory of different sizes are asked about one size at a time."""
        found = np.zeros((len(contents), len(self.classes)), np.float32)
        if not len(contents):
            return found
        shapes = [c.shape if isinstance(c, np.ndarray) else () for c in contents]
        for shape in dict.fromkeys(shapes):
            at = [row for row, s in enumerate(shapes) if s == shape]
            unknown = [-1] * len(at)
            if shape:
                table = from_arrays(np.stack([np.asarray(contents[row]) for row in at]), unknown, self.classes)
            else:
                table = from_bytes([bytes(contents[row]) for row in at], unknown, self.classes)
            cache = PixelCache()
            readable(table, [self.classifier.recipe], cache, skip_bad=False)
            found[at] = self.classifier.predict(table, Context(cache, device=self.device, parents=self.parents)).proba
        return found


def open_answerer(run: str | Path | Run, settings: Settings = USUAL) -> Answerer:
    """Load a run to be asked.

    Raises:
        RunError: There is no such run, or its files are damaged.
    """
    run = run if isinstance(run, Run) else store.open_run(run, settings.runs)
    return TorchAnswerer(run, settings)
