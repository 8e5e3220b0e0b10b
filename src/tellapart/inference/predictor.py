"""A finished run, loaded once to predict many batches: used by `predict` and `serve`. torch or ONNX Runtime computes."""

from __future__ import annotations

import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

import numpy as np

from tellapart.classifiers.base import Context
from tellapart.classifiers.calibrated import unwrap
from tellapart.data.cache import CorruptImages, PixelCache
from tellapart.data.decode import decode, decode_to, quiet, target_size
from tellapart.data.memory import from_arrays, from_bytes
from tellapart.data.regions import is_found
from tellapart.errors import ImageError, TellapartError
from tellapart.exporters.onnx_graph import pixel_names
from tellapart.inference.context import DEFAULTS, Settings, drop_unreadable, load_classifier, resolve_device
from tellapart.inference.onnx_model import OnnxModel, cached_onnx, is_cached
from tellapart.recipe.schema import Inputs
from tellapart.runs import store
from tellapart.runs.store import Run
from tellapart.types import Problem

_EXPORT = """
import sys
from pathlib import Path
from tellapart.inference.predictor import Settings, load_predictor
load_predictor(Path(sys.argv[1]), Settings(Path(sys.argv[2]), "cpu"))
"""


@dataclass(frozen=True, eq=False)
class BatchOutput:
    """The predictions for a batch of images.

    Attributes:
        rows: (M,) int64, positions of the images that could be read.
        proba: (M, C) float32, a row for each of them; rows sum to 1.
        problems: One for each image that could not be read, with the reason.
        face_found: (M,) bool, whether a face was found in each image that could be read; None if the run does not read faces.
    """

    rows: np.ndarray
    proba: np.ndarray
    problems: tuple[Problem, ...] = ()
    face_found: np.ndarray | None = None


@dataclass(frozen=True)
class Reading:
    """What a predictor reads of an image.

    Attributes:
        what: "inputs": pixels at the size that `inputs` says, as `decode_to` gives them; "images": decoded images at their own
            size; "files": encoded files.
        inputs: Distinct `inputs` sections that images are decoded with; of "inputs" there is one.
    """

    what: Literal["inputs", "images", "files"]
    inputs: tuple[Inputs, ...] = ()


class Predictor(ABC):
    """A loaded run. Not thread-safe: one thread at a time may call it.

    Attributes:
        run: The run.
        runtime: "torch" (also for families without a network) or "onnx".
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
        """Predict a batch of images, all of them encoded or all of them decoded.

        Args:
            contents: N encoded files; or N images of any sizes, (H, W) or (H, W, 3) uint8, gray or RGB.
            names: N, for the messages about damaged ones; default: their positions.
        """
        if not len(contents):
            return BatchOutput(np.zeros(0, np.int64), np.zeros((0, len(self.classes)), np.float32))
        return self._predict(contents, [str(i) for i in range(len(contents))] if names is None else list(names))

    @property
    @abstractmethod
    def reading(self) -> Reading:
        """The least that `predict_batch` can be given for the same predictions."""

    @abstractmethod
    def _predict(self, contents: Sequence[bytes | np.ndarray], names: list[str]) -> BatchOutput: ...


class TorchPredictor(Predictor):
    """Predicts with the classifier itself."""

    runtime = "torch"

    def __init__(self, run: Run, settings: Settings = DEFAULTS) -> None:
        super().__init__(run)
        self.classifier = load_classifier(run)
        self.device = resolve_device(settings.device)
        self.parents = lambda name: store.open_parent(name, settings.runs).folder

    @property
    def reading(self) -> Reading:
        """Pixels at the input size for networks and classifiers on features; files for what may read them."""
        from tellapart.classifiers.feature_classifier import FeatureClassifier
        from tellapart.classifiers.network import Network

        base = unwrap(self.classifier, Context(PixelCache(), device=self.device, parents=self.parents))
        return reading_of((base.recipe.inputs,)) if isinstance(base, FeatureClassifier | Network) else Reading("files")

    def _predict(self, contents: Sequence[bytes | np.ndarray], names: list[str]) -> BatchOutput:
        rows, problems = np.arange(len(contents)), []
        while True:  # first without the images that cannot be decoded, then without those in which a required region is missing
            try:
                proba, found = self._proba([contents[int(row)] for row in rows])
                return BatchOutput(rows, proba, tuple(problems), found)
            except CorruptImages as error:
                unreadable = zip(rows[error.rows], error.problems, strict=True)
                problems += [Problem(p.kind, names[row], p.message) for row, p in unreadable]
                rows = np.delete(rows, error.rows)

    def _proba(self, contents: Sequence[bytes | np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
        """(N, C) float32, and `face_found`. Decoded images of different sizes are predicted one size at a time."""
        proba = np.zeros((len(contents), len(self.classes)), np.float32)
        found = np.zeros(len(contents), bool) if reads_faces(self.run) else None
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
                proba[at] = self.classifier.predict(table, context).proba
            except CorruptImages as error:  # its rows are those of one size
                raise CorruptImages([at[row] for row in error.rows], error.problems) from None
            if found is not None and (regions := context.cache.found(table, self.classifier.recipe.inputs)) is not None:
                found[at] = is_found(regions)
        return proba, found


class OnnxPredictor(Predictor):
    """Predicts with the run's graph on ONNX Runtime. Pillow decodes in threads while the graph computes."""

    runtime = "onnx"

    def __init__(self, run: Run, model: OnnxModel) -> None:
        super().__init__(run)
        self.model = model
        self.batch = _batch_size(model.inputs)
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode")

    @property
    def reading(self) -> Reading:
        """Pixels at the size of the graph's input; images where it has several."""
        return reading_of(self.model.inputs)

    def _predict(self, contents: Sequence[bytes | np.ndarray], names: list[str]) -> BatchOutput:
        rows, problems, proba = [], [], [np.zeros((0, len(self.classes)), np.float32)]
        with quiet():
            for start, decoded in self._decoded(contents, names):
                readable = [(row, one) for row, one in enumerate(decoded, start) if not isinstance(one, ImageError)]
                problems += [Problem("corrupt image", one.path, one.reason) for one in decoded if isinstance(one, ImageError)]
                if readable:
                    rows += [row for row, _ in readable]
                    pixels = (np.stack(images) for images in zip(*(one for _, one in readable), strict=True))
                    proba.append(self.model.session.run(dict(zip(pixel_names(self.model.inputs), pixels, strict=True))))
        return BatchOutput(np.asarray(rows, dtype=np.int64), np.concatenate(proba), tuple(problems))

    def _decoded(
        self, contents: Sequence[bytes | np.ndarray], names: list[str]
    ) -> Iterator[tuple[int, list[list[np.ndarray] | ImageError]]]:
        """(first position, decoded images or errors), one batch at a time, while the next batch is decoded."""

        def submit(start: int) -> list[Future[list[np.ndarray] | ImageError]]:
            stop = min(start + self.batch, len(contents))
            return [self._pool.submit(_decode, contents[row], self.model.inputs, names[row]) for row in range(start, stop)]

        pending = submit(0)
        for start in range(0, len(contents), self.batch):
            current, pending = pending, submit(start + self.batch)
            yield start, [one.result() for one in current]


def load_predictor(
    run: str | Path | Run, settings: Settings = DEFAULTS, runtime: Literal["auto", "torch", "onnx"] = "auto"
) -> Predictor:
    """Load a run for prediction.

    Args:
        run: A run, its id, the beginning of its id, or its path.
        settings: Folder of the runs, device, and progress.
        runtime: "auto": ONNX Runtime on a CPU if the run can be exported, else torch. The first call exports the graph,
            which takes seconds, and stores it beside the runs. If that fails, a message states the reason and torch is used.

    Raises:
        RunError: The run does not exist, or its files are damaged; with "onnx", also if it cannot be exported.
        SystemLimitError: With "onnx": ONNX Runtime is not installed, or there is no room beside the runs.
    """
    run = store.open_run(run, settings.runs, settings.images)
    if runtime == "onnx":
        return OnnxPredictor(run, cached_onnx(run, settings))
    if runtime == "auto" and resolve_device(settings.device) == "cpu" and _may_have_graph(run):
        try:
            return OnnxPredictor(run, cached_onnx(run, settings))
        except TellapartError as error:
            settings.progress.say(f"  using torch for {run.id}: {error.message}")
    return TorchPredictor(run, settings)


def export_ahead(run: Run, settings: Settings) -> None:
    """Export the ONNX model of a run, if it can have one, in a process of its own, and store it for `load_predictor`.

    The libraries of the exporter take more than 100 MB, which a process that exports itself keeps. Whatever fails here fails
    again in `load_predictor`, which says why.
    """
    if resolve_device(settings.device) == "cpu" and _may_have_graph(run) and not is_cached(run):
        settings.progress.say(f"  exporting {run.id} for ONNX Runtime, once")
        names = [str(path.resolve()) for path in (run.folder, settings.runs)]
        subprocess.run([sys.executable, "-c", _EXPORT, *names], capture_output=True, check=False)


def reading_of(inputs: tuple[Inputs, ...]) -> Reading:
    """A predictor takes pixels of the input size as they are, unless it cuts something out of every image."""
    whole = len(inputs) == 1 and inputs[0].keep == 1 and inputs[0].region is None
    return Reading("inputs" if whole else "images", inputs)


def reads_faces(run: Run) -> bool:
    """Whether a run looks for the face in each image; of an ensemble, its first member."""
    region = Inputs.model_validate(run.recipe["inputs"]).region
    return run.family != "metadata" and region is not None and region.face is not None


def _decode(content: bytes | np.ndarray, inputs: Sequence[Inputs], name: str) -> list[np.ndarray] | ImageError:
    """The pixels of one image for each of `inputs`; a file is decoded once."""
    try:
        if len(inputs) > 1 and not isinstance(content, np.ndarray):
            content = decode(content, path=name, max_pixels=min(one.max_pixels for one in inputs))
        return [decode_to(content, one, name) for one in inputs]
    except ImageError as error:
        return error


def _batch_size(inputs: Sequence[Inputs]) -> int:
    """Images that the graph computes at once: as many pixels as 32 images of 224×224, within 8 … 256 images."""
    pixels = max(height * width for height, width in map(target_size, inputs))
    return max(8, min(256, 32 * 224 * 224 // pixels))


def _may_have_graph(run: Run) -> bool:
    """Whether an export is worth trying: networks on images, and runs made of other runs."""
    return run.family in ("calibrated", "ensemble") or (run.family == "network" and not run.recipe.get("features"))
