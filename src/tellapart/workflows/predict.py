"""Predict images with a finished run. Three functions, one result for each image:

predict            a table as a whole → Predictions, for scores and plots
predict_iter       any number of images → one ImagePrediction after the other, in constant memory
predict_to_file    any number of images → a file with a row for each, resumable
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from tellapart.calibration.decision import UNSURE_NAME
from tellapart.classifiers.base import Context
from tellapart.data.cache import CorruptImages, PixelCache
from tellapart.data.decode import DECODER
from tellapart.data.identity import identify
from tellapart.errors import DataError, Interrupted
from tellapart.inference.context import DEFAULTS, Settings, drop_unreadable, load_classifier, resolve_device
from tellapart.inference.decision import DecisionRule
from tellapart.inference.image_sources import open_sources
from tellapart.inference.image_sources.base import (
    DEFAULT_OPTIONS,
    STANDARD_INPUT,
    URL_BEGINNINGS,
    ImageRef,
    Source,
    SourceOptions,
    UniqueImages,
    count_images,
)
from tellapart.inference.prediction import ImagePrediction
from tellapart.inference.predictor import Predictor, load_predictor, reads_faces
from tellapart.inference.resumable_output import Counts, ResumableFile, open_resumable, partial_of, update_counts
from tellapart.inference.writers import WRITERS, format_of
from tellapart.progress import SILENT
from tellapart.runs import store
from tellapart.runs.store import Run
from tellapart.types import ImageTable, Predictions, Problem
from tellapart.workflows._batch_predictor import BatchPredictor


def predict(run: str | Path | Run, images: ImageTable, *, settings: Settings = DEFAULTS) -> Predictions:
    """Predict the images of a table. Labels, if there are any, are passed through.

    The classifier itself predicts here, never ONNX Runtime: the probabilities are bit for bit those that the scores of the run
    were computed from. The two functions below may use ONNX Runtime, within the tolerance that `exporters.parity` checks.

    Args:
        run: A run, its id, the beginning of its id, or its path.
        images: N images; the pixels are decoded once and cached on the disk.
        settings: Folder of the runs, device, progress; `skip_bad`: exclude images that cannot be read.

    Raises:
        CorruptImages: Some images cannot be read, without `settings.skip_bad`.
        RunError: No such run.
    """
    run = store.open_run(run, settings.runs, settings.images)
    classifier = load_classifier(run)
    cache = PixelCache(progress=settings.progress)
    images = identify(images, settings.progress, verify_files=settings.verify_files)
    images = drop_unreadable(images, [classifier.recipe], cache, skip_bad=settings.skip_bad)
    return classifier.predict(images, Context(cache, settings.progress, resolve_device(settings.device)), run.id)


# --- any number of images, one after the other ------------------------------------------------------------------------


def predict_iter(
    run: str | Path | Run | Predictor, images: Sequence[str | Path], *, stability: bool = False,
    options: SourceOptions = DEFAULT_OPTIONS, settings: Settings = DEFAULTS,
) -> Iterator[ImagePrediction]:  # fmt: skip
    """Predict images one after the other. Memory holds a few batches and the names, not the images.

    Args:
        run: A run, its id, the beginning of its id, or its path; or a run that is loaded already.
        images: Files, folders, patterns, tables, archives, "-" for standard input; see `inference.image_sources`.
        stability: Also predict re-saved versions of each image.
        options: How names are resolved.
        settings: Folder of the runs, device, progress; `skip_bad`: exclude images that cannot be read.

    Returns:
        A prediction for each image, lazily; a repeated name is predicted once.

    Raises:
        CorruptImages: Some images cannot be read, without `settings.skip_bad`.
        DataError: A name does not exist, or there is no image at all.
        RunError: No such run.
    """
    sources = open_sources(images, options)
    predictor = run if isinstance(run, Predictor) else load_predictor(run, settings)
    return _each(BatchPredictor(predictor, stability), sources, images, settings)


def _each(
    predictor: BatchPredictor, sources: list[Source], named: Sequence[str | Path], settings: Settings
) -> Iterator[ImagePrediction]:
    done, items, total = Counts(), UniqueImages(sources), _total(sources, settings)
    with settings.progress.task("predicting", total, "img") as task, closing(predictor.batches(items)) as batches:
        for batch in batches:
            task.advance(len(batch))
            if not settings.skip_bad:
                _check_readable(batch)
            done = update_counts(done, batch)
            yield from (one for one in batch if not one.error)
    if not done.images:
        raise _no_images(named)
    if done.unreadable:
        counts = f"{done.unreadable:,} of {done.images:,} images"
        settings.progress.say(f"  excluded {counts} that cannot be read; the first is {done.problems[0]}")


def _check_readable(batch: Sequence[ImagePrediction]) -> None:
    """Raise CorruptImages, which names all unreadable images of a batch, if there are any."""
    rows = [row for row, one in enumerate(batch) if one.error]
    if rows:
        problems = [Problem("corrupt image", batch[row].image, batch[row].error) for row in rows]
        raise CorruptImages(rows, problems, hint=CorruptImages.SKIP)


def _total(sources: Sequence[Source], settings: Settings) -> int | None:
    """Number of images, for a progress bar that is shown; None if unknown. Counting lists folders, so it is not free."""
    return None if settings.progress is SILENT else count_images(sources)


def _no_images(named: Sequence[str | Path]) -> DataError:
    return DataError(f"no image in {', '.join(map(str, named))}", hint="name image files, folders, archives or tables")


# --- any number of images, to a file ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class PredictSummary:
    """A file of predictions.

    Attributes:
        path: The file.
        images: Number of images with a prediction.
        unreadable: Number of images that cannot be read; their rows have an `error`, or with `skip_bad` there is no row.
        problems: "name: reason" of the first ten of these.
        counts: Decision, or most probable class → number of images.
        unsure: Number of images with the decision "unsure"; None for a run without decision rules.
        unstable: Number of images with a re-saved version that gets another decision; None without stability.
        resumed_from: Number of images that were in the unfinished file when this call began.
        duplicates: Number of images left out because their name came before.
    """

    path: Path
    images: int
    unreadable: int
    problems: tuple[str, ...]
    counts: dict[str, int]
    unsure: int | None
    unstable: int | None
    resumed_from: int
    duplicates: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"path": str(self.path), "problems": list(self.problems)}


def predict_to_file(
    run: str | Path | Run, images: Sequence[str | Path], out: str | Path, *, format: str | None = None,
    stability: bool = False, raw_csv: bool = False, options: SourceOptions = DEFAULT_OPTIONS, settings: Settings = DEFAULTS,
) -> PredictSummary:  # fmt: skip
    """Predict any number of images and write a row for each. Memory holds a few batches and the names, not the images.

    If the process is killed, the same call resumes, and the file comes out byte for byte as without the interruption.

    Args:
        run: A run, its id, the beginning of its id, or its path.
        images: Files, folders, patterns, tables, archives, "-" for standard input; see `inference.image_sources`.
        out: The file. An existing file is replaced when the new one is complete.
        format: "csv", "json-lines" or "parquet"; None: by the extension of `out`.
        stability: Also predict re-saved versions of each image.
        raw_csv: Whether to write CSV cells that a spreadsheet would run as they are, instead of with a single quote in front.
        options: How names are resolved.
        settings: Folder of the runs, device, progress; `skip_bad`: write no row for images that cannot be read; `overwrite`:
            start over even if there is an unfinished file.

    Raises:
        DataError: A name does not exist, there is no image at all, or the images changed since the file was begun.
        RunError: No such run; the file was begun by another command, or another process is writing it.
        SystemLimitError: The file cannot be written.
        Interrupted: Ctrl-C; the same call resumes.
    """
    out = Path(out)
    kind = format_of(out, format)
    unique = UniqueImages(sources := open_sources(images, options))
    predictor = BatchPredictor(load_predictor(run, settings), stability)
    faces = reads_faces(predictor.predictor.run)
    writer = WRITERS[kind](predictor.rule, stability, errors=not settings.skip_bad, guarded=not raw_csv, faces=faces)
    command = _command(predictor, images, kind, stability, options, settings) | ({"--raw-csv": True} if raw_csv else {})
    with open_resumable(out, writer, command, settings.overwrite) as file:
        before = file.done.images
        try:
            _write(predictor, unique, file, _total(sources, settings), settings)
            if not file.done.images:
                file.discard()
                raise _no_images(images)
            file.finish()
        except KeyboardInterrupt:
            file.sync()
            text = f"stopped by hand; {file.done.images:,} images are in {partial_of(out)[0]}"
            raise Interrupted(text, hint="repeat the command to resume") from None
    return _summary(out, file.done, predictor.rule, stability, before, unique.duplicates)


def _summary(out: Path, done: Counts, rule: DecisionRule, stability: bool, before: int, duplicates: int) -> PredictSummary:
    names = [*rule.classes, *([UNSURE_NAME] if rule.decides else [])]
    return PredictSummary(
        out, done.images - done.unreadable, done.unreadable, done.problems,
        counts={name: done.counts.get(name, 0) for name in names},
        unsure=done.counts.get(UNSURE_NAME, 0) if rule.decides else None,
        unstable=done.unstable if stability else None, resumed_from=before, duplicates=duplicates,
    )  # fmt: skip


def _write(predictor: BatchPredictor, images: UniqueImages, file: ResumableFile, total: int | None, settings: Settings) -> None:
    """Append the rows of all images that are not in the file yet. `total`: number of all images, if known."""
    if before := file.done.images:
        settings.progress.say(f"  resuming after {before:,} images")
    items, left = _remaining(iter(images), file), None if total is None else max(total - before, 0)
    with settings.progress.task("predicting", left, "img") as task, closing(predictor.batches(items)) as batches:
        for batch in batches:
            shown = [one for one in batch if not (one.error and settings.skip_bad)]
            rows = file.writer.rows(shown) if shown else b""
            file.add((one.image for one in batch), rows, update_counts(file.done, batch))
            task.advance(len(batch))


def _remaining(items: Iterator[ImageRef | Source], file: ResumableFile) -> Iterator[ImageRef | Source]:
    """The images that are not in the file yet; those that are in it must come first, unchanged."""
    names = (item.name for item in items if isinstance(item, ImageRef))
    file.check(islice(names, file.done.images))
    yield from items


def _command(
    predictor: BatchPredictor, images: Sequence[str | Path], kind: str, stability: bool, options: SourceOptions,
    settings: Settings,
) -> dict[str, Any]:  # fmt: skip
    """Everything that the rows depend on: it must be the same when a file is resumed."""
    run, named = predictor.predictor.run, [str(one) for one in images]
    is_path = [one != STANDARD_INPUT and not one.lower().startswith(URL_BEGINNINGS) for one in named]
    return {
        "run": run.id,
        "folder of the run": str(run.folder),
        "images": [os.path.abspath(one) if path else one for one, path in zip(named, is_path, strict=True)],  # noqa: PTH100
        "working folder": None if all(is_path) else str(Path.cwd()),
        "format": kind,
        "--stability": stability,
        "--skip-bad": settings.skip_bad,
        "--images": None if options.images is None else os.path.abspath(options.images),  # noqa: PTH100
        "--id-column": options.id_column,
        "--device": settings.device,
        "runtime": predictor.predictor.runtime,
        "decoder": DECODER,
        "images per batch": predictor.limit.images,
    }
