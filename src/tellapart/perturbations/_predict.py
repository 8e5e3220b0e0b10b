"""Predictions of a finished run on perturbed images: decode at the original size, perturb, encode, predict in batches."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

import numpy as np

from tellapart.classifiers.base import Context, groups_of
from tellapart.data.cache import CorruptImages, PixelCache
from tellapart.data.decode import decode, decode_to, header, quiet
from tellapart.data.memory import from_bytes
from tellapart.data.reader import ImageReader
from tellapart.data.regions import copy_boxes
from tellapart.errors import DataError, ImageError
from tellapart.inference.context import Settings, inference_context, load_classifier
from tellapart.perturbations.kinds import as_png
from tellapart.progress import SILENT, Task
from tellapart.recipe.schema import Inputs
from tellapart.runs.store import Run
from tellapart.types import UNLABELED, ImageTable, Predictions, Problem

#: (pixels (H, W, C) uint8, id) → an encoded file.
Transform = Callable[[np.ndarray, str], bytes]
#: The predictions of a run on many images; or the reason why it cannot read them.
PredictionsOrReason = Predictions | str
_AT_ONCE = 64  # images made between two checks of the size of the batch
_IMAGES, _BYTES = 1024, 64 * 2**20  # limits of a batch: whichever is reached first


class PerturbedPredictor:
    """A finished run that predicts perturbed versions of a set of images.

    Args:
        run: A finished run; its classifier is loaded once.
        table: Readable images, with the classes of the run.
        settings: Device, and the folder of the runs that an ensemble opens.
    """

    def __init__(self, run: Run, table: ImageTable, settings: Settings) -> None:
        self.run, self.table, self.settings = run, table, settings
        self.classifier = load_classifier(run)
        self.context = inference_context(settings)

    def predict(self, transform: Transform | None, as_is: bool, task: Task, note: str = "") -> PredictionsOrReason:
        """Predict the images after a perturbation.

        Args:
            transform: The perturbation; None: unchanged pixels, written as PNG.
            as_is: Predict the original files instead.
            task: Progress, advanced by every image.
            note: Text for the progress display.

        Returns:
            Predictions in the order of the table; or the reason why the run cannot read such images ("is 90×90, but … expects
            100×100", "its box refers to 100×100 pixels, but the image has 90×90").
        """
        if as_is:
            found = self.classifier.predict(self.table, self.context, self.run.id)
            task.advance(len(found), note)
            return found
        parts = []
        try:
            for start, files in self._batches(transform or (lambda pixels, _: as_png(pixels))):
                parts.append(self._proba(start, files))
                task.advance(len(files), note)
        except CorruptImages as error:
            return error.problems[0].message
        labels, classes = self.table.labels, self.table.classes
        return Predictions(self.table.ids, np.concatenate(parts), labels, classes, self.run.id, groups_of(self.table))

    def _proba(self, start: int, files: list[bytes]) -> np.ndarray:
        """Predict one batch, without labels: (len(files), C) float32. The batch has a cache of its own, so no pixels remain."""
        ids = self.table.ids[start : start + len(files)].tolist()
        batch = from_bytes(files, [UNLABELED] * len(files), classes=self.table.classes, ids=ids)
        originals = self.table.take(np.arange(start, start + len(files)))
        batch = copy_boxes(batch, originals, self.classifier.recipe.inputs)
        context = Context(PixelCache(), SILENT, self.context.device, parents=self.context.parents)
        return self.classifier.predict(batch, context).proba

    def _batches(self, transform: Transform) -> Iterator[tuple[int, list[bytes]]]:
        """Yield (first row, files) in row order."""
        paths, ids, limit = self.table.paths, self.table.ids, self.classifier.recipe.inputs

        with ImageReader(self.table) as reader, _threads() as pool:

            def one(row: int) -> bytes:
                pixels = _pixels(reader.get(paths[row]), str(paths[row]), limit)
                file = transform(pixels, str(ids[row]))
                if limit.region and limit.region.box:
                    _check_box_size(pixels, file, row, str(paths[row]))
                return file

            start, files = 0, []
            for first in range(0, len(self.table), _AT_ONCE):
                with quiet():
                    files += pool.map(one, range(first, min(first + _AT_ONCE, len(self.table))))
                if len(files) >= _IMAGES or sum(map(len, files)) >= _BYTES:
                    yield start, files
                    start, files = start + len(files), []
            if files:
                yield start, files


def readable_rows(table: ImageTable, run: Run, settings: Settings) -> ImageTable:
    """The images that can be decoded at their original size.

    Raises:
        CorruptImages: Some cannot be decoded, and `settings.skip_bad` is not set.
        DataError: No image can be decoded.
    """
    bad, problems, paths, inputs = [], [], table.paths, Inputs.model_validate(run.recipe["inputs"])
    # the run reads images of one size only; with boxes, a wrong size is reported when the original files are predicted
    fixed = inputs.resize == "none" and not (inputs.region and inputs.region.box) and run.family != "metadata"
    with (
        ImageReader(table) as reader, _threads() as pool, quiet(),
        settings.progress.task("reading images", len(table), "img") as task,
    ):  # fmt: skip

        def one(row: int) -> ImageError | None:
            try:
                content = reader.get(paths[row])
                decode_to(content, inputs, str(paths[row])) if fixed else _pixels(content, str(paths[row]), inputs)
            except ImageError as error:
                return error
            return None

        for row, error in enumerate(pool.map(one, range(len(table)))):
            task.advance()
            if error is not None:
                bad.append(row)
                problems.append(Problem("corrupt image", error.path, error.reason))
    if not bad:
        return table
    found = CorruptImages(bad, problems, hint=CorruptImages.SKIP)
    if len(bad) == len(table):
        raise DataError(f"no readable image: {found.message}")
    if not settings.skip_bad:
        raise found
    return table.without(np.asarray(bad), table.with_classes(np.asarray(bad), problems))


def _check_box_size(pixels: np.ndarray, file: bytes, row: int, path: str) -> None:
    """Raise an error if the size changes: a box is given in pixels of the original image."""
    before, after = pixels.shape[:2], header(file, path)[:2]
    if before != after:
        sizes = [f"{width}×{height}" for height, width in (before, after)]
        why = f"its box refers to {sizes[0]} pixels, but the image has {sizes[1]}"
        raise CorruptImages([row], [Problem("moved box", path, why)])


def _pixels(content: bytes | np.ndarray, path: str, inputs: Inputs) -> np.ndarray:
    """Decode at the original size: (H, W, C) uint8; a gray file stays gray, C = 1."""
    gray = header(content, path)[2]
    return decode(content, mode="gray" if gray else "rgb", path=path, max_pixels=inputs.max_pixels)


def _threads() -> Executor:
    return ThreadPoolExecutor(os.cpu_count() or 1)
