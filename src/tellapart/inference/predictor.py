"""A finished run that is loaded once and asked many times: what `predict` streams through and `serve` keeps open."""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

import numpy as np

from tellapart.classifiers.base import Context
from tellapart.data.cache import CorruptImages, PixelCache
from tellapart.data.decode import decode, decode_to, quiet, target_size
from tellapart.data.memory import from_arrays, from_bytes
from tellapart.errors import ImageError, TellapartError
from tellapart.exporters.onnx_graph import pixel_names
from tellapart.inference.context import DEFAULTS, Settings, drop_unreadable, load_classifier, resolve_device
from tellapart.inference.onnx_model import OnnxModel, cached_onnx
from tellapart.recipe.schema import Inputs
from tellapart.runs import store
from tellapart.runs.store import Run
from tellapart.types import Problem

_ACCELERATORS = ("nvidiactl", "kfd", "dxg")  # of NVIDIA, of AMD, of either in a virtual machine of Windows


@dataclass(frozen=True, eq=False)
class BatchOutput:
    """What a run says of some images.

    Attributes:
        rows: (M,) int64, positions of the images that could be read.
        proba: (M, C) float32, a row for each of them; rows sum to 1.
        problems: One for each of the others, with what is wrong.
    """

    rows: np.ndarray
    proba: np.ndarray
    problems: tuple[Problem, ...] = ()


class Predictor(ABC):
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
    def predict_batch(self, contents: Sequence[bytes | np.ndarray], names: Sequence[str] | None = None) -> BatchOutput:
        """Answer images that are all encoded, or all decoded.

        Args:
            contents: N encoded files; or N pictures of any sizes, (H, W), or (H, W, 3), uint8, gray or RGB.
            names: N, for what is said of a damaged one; default: their positions.
        """
        if not len(contents):
            return BatchOutput(np.zeros(0, np.int64), np.zeros((0, len(self.classes)), np.float32))
        return self._ask(contents, [str(i) for i in range(len(contents))] if names is None else list(names))

    @abstractmethod
    def _ask(self, contents: Sequence[bytes | np.ndarray], names: list[str]) -> BatchOutput: ...


class TorchPredictor(Predictor):
    """The classifier itself."""

    runtime = "torch"

    def __init__(self, run: Run, settings: Settings = DEFAULTS) -> None:
        super().__init__(run)
        self.classifier = load_classifier(run)
        self.device = resolve_device(settings.device)
        self.parents = lambda name: store.open_run(name, settings.runs).folder

    def _ask(self, contents: Sequence[bytes | np.ndarray], names: list[str]) -> BatchOutput:
        rows, problems = np.arange(len(contents)), []
        while True:  # what cannot be decoded comes out first, then where a region that must be there was not found
            try:
                return BatchOutput(rows, self._answer([contents[int(row)] for row in rows]), tuple(problems))
            except CorruptImages as error:
                lost = zip(rows[error.rows], error.problems, strict=True)
                problems += [Problem(p.kind, names[row], p.message) for row, p in lost]
                rows = np.delete(rows, error.rows)

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
            context = Context(PixelCache(), device=self.device, parents=self.parents)
            try:
                drop_unreadable(table, [self.classifier.recipe], context.cache, skip_bad=False)
                found[at] = self.classifier.predict(table, context).proba
            except CorruptImages as error:  # its rows are those of one size
                raise CorruptImages([at[row] for row in error.rows], error.problems) from None
        return found


class OnnxPredictor(Predictor):
    """The run's graph on ONNX Runtime. Pillow decodes in threads, as it does for the cache, while the graph computes."""

    runtime = "onnx"

    def __init__(self, run: Run, core: OnnxModel) -> None:
        super().__init__(run)
        self.core = core
        self.batch = _batch_of(core.inputs)
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode")

    def _ask(self, contents: Sequence[bytes | np.ndarray], names: list[str]) -> BatchOutput:
        rows, problems, proba = [], [], [np.zeros((0, len(self.classes)), np.float32)]
        with quiet():
            for start, decoded in self._decoded(contents, names):
                whole = [(row, one) for row, one in enumerate(decoded, start) if not isinstance(one, ImageError)]
                problems += [Problem("corrupt image", one.path, one.reason) for one in decoded if isinstance(one, ImageError)]
                if whole:
                    rows += [row for row, _ in whole]
                    pixels = (np.stack(of) for of in zip(*(one for _, one in whole), strict=True))
                    proba.append(self.core.session.run(dict(zip(pixel_names(self.core.inputs), pixels, strict=True))))
        return BatchOutput(np.asarray(rows, dtype=np.int64), np.concatenate(proba), tuple(problems))

    def _decoded(
        self, contents: Sequence[bytes | np.ndarray], names: list[str]
    ) -> Iterator[tuple[int, list[list[np.ndarray] | ImageError]]]:
        """(first position, what was made of the pictures), a batch at a time; the next batch is under way by then."""

        def submit(start: int) -> list[Future[list[np.ndarray] | ImageError]]:
            stop = min(start + self.batch, len(contents))
            return [self._pool.submit(_decode, contents[row], self.core.inputs, names[row]) for row in range(start, stop)]

        under_way = submit(0)
        for start in range(0, len(contents), self.batch):
            current, under_way = under_way, submit(start + self.batch)
            yield start, [one.result() for one in current]


def load_predictor(
    run: str | Path | Run, settings: Settings = DEFAULTS, runtime: Literal["auto", "torch", "onnx"] = "auto"
) -> Predictor:
    """Load a run to be asked.

    Args:
        run: A run, an id, the beginning of one, or a path.
        settings: Where the runs are, on which device, and where to report.
        runtime: auto: on a CPU ONNX Runtime, where the run has a graph; the first time it is exported, which takes seconds
            and is kept. Where that fails it is said in one line, and torch answers.

    Raises:
        RunError: There is no such run, or its files are damaged; with "onnx" also: it has no graph.
        SystemLimitError: With "onnx": ONNX Runtime is not installed, or there is no room beside the runs.
    """
    run = store.open_run(run, settings.runs)
    if runtime == "onnx":
        return OnnxPredictor(run, cached_onnx(run, settings))
    if runtime == "auto" and _on_cpu(settings.device) and _may_have_graph(run):
        try:
            return OnnxPredictor(run, cached_onnx(run, settings))
        except TellapartError as error:
            settings.progress.say(f"  {run.id} answers with torch: {error.message}")
    return TorchPredictor(run, settings)


def _decode(content: bytes | np.ndarray, inputs: Sequence[Inputs], name: str) -> list[np.ndarray] | ImageError:
    """The pixels of one picture for each way of decoding; a file is decoded once."""
    try:
        if len(inputs) > 1 and not isinstance(content, np.ndarray):
            content = decode(content, path=name, max_pixels=min(one.max_pixels for one in inputs))
        return [decode_to(content, one, name) for one in inputs]
    except ImageError as error:
        return error


def _batch_of(inputs: Sequence[Inputs]) -> int:
    """Images that are computed at once: as many as 32 of 224×224, within 8 … 256."""
    pixels = max(height * width for height, width in map(target_size, inputs))
    return max(8, min(256, 32 * 224 * 224 // pixels))


def _on_cpu(device: str) -> bool:
    """Whether a device is the CPU. torch, which takes seconds to import, is only asked where an accelerator may be."""
    if device == "auto" and sys.platform == "linux" and not any(Path(f"/dev/{node}").exists() for node in _ACCELERATORS):
        return True
    return resolve_device(device) == "cpu"


def _may_have_graph(run: Run) -> bool:
    """Whether there is something to try: networks on images, and what is made of runs."""
    return run.family in ("calibrated", "ensemble") or (run.family == "network" and not run.recipe.get("features"))
