"""The verb `predict_stream`: any number of images in, a file of answers out, in the same memory; it can be gone on with."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tellapart.calibration.decision import UNSURE_NAME
from tellapart.classifiers.base import Context
from tellapart.data.cache import PixelCache
from tellapart.data.decode import DECODER
from tellapart.errors import Interrupted
from tellapart.inference.context import DEFAULTS, Settings, drop_unreadable, load_classifier, resolve_device
from tellapart.inference.image_sources import open_sources
from tellapart.inference.image_sources.base import (
    STANDARD_INPUT,
    URL_BEGINNINGS,
    USUAL_OPTIONS,
    ImageRef,
    Source,
    SourceOptions,
)
from tellapart.inference.prediction import ImagePrediction
from tellapart.inference.predictor import Predictor, load_predictor
from tellapart.inference.prefetch import SeenNames
from tellapart.inference.resumable_output import Counts, ResumableFile, open_resumable, partial_of, update_counts
from tellapart.inference.writers import SHEETS, format_of
from tellapart.runs import store
from tellapart.runs.store import Run
from tellapart.types import ImageTable, Predictions
from tellapart.workflows._batch_predictor import (
    BatchPredictor,
    check_unreadable,
    count_remaining,
    empty_input_error,
    unique_items,
)

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class PredictSummary:
    """A file of answers.

    Attributes:
        path: The file.
        images: Images that were answered.
        bad: Images that could not be read; they have a row with `error`, or none with `skip_bad`.
        problems: The first ten of these, "name: reason".
        counts: What was said (verdict, or most probable class) → how many images.
        unsure: Images without a verdict; None of a run without rules.
        unstable: Images of which not all deliveries were told the same; None where that was not asked.
        before: Images that were in the file already when this call began.
        twice: How often a name stood that had been answered already.
    """

    path: Path
    images: int
    bad: int
    problems: tuple[str, ...]
    counts: dict[str, int]
    unsure: int | None
    unstable: int | None
    before: int
    twice: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"path": str(self.path), "problems": list(self.problems)}


def predict_to_file(
    run: str | Path | Run, images: Sequence[str | Path], out: str | Path, *, format: str | None = None,
    stability: bool = False, options: SourceOptions = USUAL_OPTIONS, settings: Settings = DEFAULTS,
) -> PredictSummary:  # fmt: skip
    """Ask a run about any number of images and write a row for each.

    Killed and called again with the same arguments, it goes on where it was, and the file comes out as if nothing had been.

    Args:
        run: A run, an id, the beginning of one, or a path.
        images: Files, folders, patterns, tables, archives, "-" for standard input; see `answering.sources`.
        out: The file; one that is there already is replaced when the new one is whole.
        format: "csv", "json-lines" or "parquet"; None: by the ending of `out`.
        stability: Also ask about each image re-saved and scaled.
        options: How names are understood.
        settings: Where and how. `skip_bad`: images that cannot be read get no row; `fresh`: begin anew.

    Raises:
        DataError: There is no image at all; something that is named does not exist; the images changed since it was begun.
        RunError: No such run; the file was begun by another command, or another process is writing it.
        SystemLimitError: The file cannot be written.
        Interrupted: Ctrl-C; the same call goes on.
    """
    out = Path(out)
    kind = format_of(out, format)
    sources = open_sources(images, options)
    asker = BatchPredictor(load_predictor(run, settings), stability)
    sheet = SHEETS[kind](asker.judge, stability, errors=not settings.skip_bad)
    command = _command(asker, images, kind, stability, options, settings)
    with open_resumable(out, sheet, command, settings.fresh) as partial:
        before, seen = partial.tally.images, SeenNames()
        try:
            _answer(asker, sources, seen, partial, settings)
            if not partial.tally.images:
                partial.discard()
                raise empty_input_error(images)
            partial.finish()
        except KeyboardInterrupt:
            partial.keep()
            done = f"stopped by hand; {partial.tally.images:,} images are in {partial_of(out)[0]}"
            raise Interrupted(done, hint="give the same command again to go on") from None
        return _answered(out, partial.tally, asker, stability, before, seen.twice)


def _answer(asker: BatchPredictor, sources: list[Source], seen: SeenNames, partial: ResumableFile, settings: Settings) -> None:
    """Everything that is not in the file yet."""
    taken, progress = partial.tally.images, settings.progress
    if taken:
        progress.say(f"  going on after {taken:,} images")
    left = count_remaining(sources, taken, progress)
    items = _after(unique_items(sources, seen), partial)
    with progress.task("answering", left, "img") as task, closing(asker.portions(items)) as found:
        for portion in found:
            rows = [one for one in portion if not (one.error and settings.skip_bad)]
            content = partial.sheet.rows(rows) if rows else b""
            partial.add((one.image for one in portion), content, _with(partial.tally, portion))
            task.advance(len(portion))


def _after(items: Iterator[ImageRef | Source], partial: ResumableFile) -> Iterator[ImageRef | Source]:
    """The images that are not in the file yet; those that are must be the ones that it was begun with."""
    names = (item.name for item in items if isinstance(item, ImageRef))
    partial.check(islice(names, partial.tally.images))
    yield from items


def _with(tally: Counts, portion: Sequence[ImagePrediction]) -> Counts:
    """A tally and a portion more."""
    counts = Counter(one.verdict or one.answer for one in portion if not one.error)
    problems = [f"{one.image}: {one.error}" for one in portion if one.error]
    unstable = sum(one.stability is not None and not one.stability.stable for one in portion)
    return update_counts(tally, len(portion), counts, problems, unstable)


def _command(
    asker: BatchPredictor, images: Sequence[str | Path], kind: str, stability: bool, options: SourceOptions, settings: Settings
) -> dict[str, Any]:
    """What makes the rows: whoever goes on must be asked for the same."""
    run, named = asker.answerer.run, [str(one) for one in images]
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
        "runtime": asker.answerer.runtime,
        "decoder": DECODER,
        "images a portion": asker.size.images,
    }


def _answered(out: Path, tally: Counts, asker: BatchPredictor, stability: bool, before: int, twice: int) -> PredictSummary:
    words = [*asker.judge.classes, *([UNSURE_NAME] if asker.judge.judges else [])]
    counts = {name: tally.counts.get(name, 0) for name in words}
    return PredictSummary(
        out, tally.images - tally.bad, tally.bad, tally.problems, counts, counts[UNSURE_NAME] if asker.judge.judges else None,
        tally.unstable if stability else None, before, twice,
    )  # fmt: skip


def predict_iter(
    run: str | Path | Run | Predictor, images: Sequence[str | Path], *, stability: bool = False,
    options: SourceOptions = USUAL_OPTIONS, settings: Settings = DEFAULTS,
) -> Iterator[ImagePrediction]:  # fmt: skip
    """Ask a run about images, one after the other; memory stays as it is however many there are.

    Args:
        run: A run, an id, the beginning of one, or a path; or one that is open already.
        images: Files, folders, patterns, tables, archives, "-" for standard input; see `answering.sources`.
        stability: Also ask about each image re-saved and scaled.
        options: How names are understood.
        settings: Where and how.

    Returns:
        An answer for each image, as they are asked for; a name that stands twice is answered once.

    Raises:
        CorruptImages: Some cannot be read; with `settings.skip_bad` they are left out.
        DataError: Something that is named does not exist, or there is no image at all.
        RunError: There is no such run.
    """
    sources = open_sources(images, options)
    answerer = run if isinstance(run, Predictor) else load_predictor(run, settings)
    return _each(BatchPredictor(answerer, stability), sources, images, settings)


def _each(
    asker: BatchPredictor, sources: list[Source], named: Sequence[str | Path], settings: Settings
) -> Iterator[ImagePrediction]:
    count, bad, first, left = 0, 0, "", count_remaining(sources, 0, settings.progress)
    with settings.progress.task("answering", left, "img") as task, closing(asker.portions(unique_items(sources))) as found:
        for portion in found:
            task.advance(len(portion))
            wrong = check_unreadable(portion, settings.skip_bad)
            count, bad, first = count + len(portion), bad + len(wrong), first or "".join(wrong[:1])
            yield from (one for one in portion if not one.error)
    if not count:
        raise empty_input_error(named)
    if bad:
        settings.progress.say(f"  left out: {bad:,} of {count:,} images, which cannot be read; the first is {first}")


def predict(run: str | Path | Run, images: ImageTable, *, settings: Settings = DEFAULTS) -> Predictions:
    """Ask a finished run about images. Labels, if there are any, are passed through.

    Raises:
        CorruptImages: Some cannot be decoded; with `settings.skip_bad` they are left out.
    """
    run = store.open_run(run, settings.runs)
    classifier = load_classifier(run)
    cache = PixelCache(progress=settings.progress)
    images = drop_unreadable(images, [classifier.recipe], cache, skip_bad=settings.skip_bad)
    return classifier.predict(images, Context(cache, settings.progress, resolve_device(settings.device)), run.id)
