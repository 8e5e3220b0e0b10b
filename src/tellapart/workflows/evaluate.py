"""Score a finished run: on its own test split, which is recorded in the ledger, or on other labeled images.

Other images show whether a detector generalizes beyond its own data set.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.data.identity import identify
from tellapart.data.left_out import check_problems, left_out
from tellapart.data.scan import scan
from tellapart.errors import DataError, RunError, unknown_name
from tellapart.inference.context import (
    DEFAULTS,
    Settings,
    drop_unreadable,
    inference_context,
    load_classifier,
    predict_timed,
)
from tellapart.io import file_name
from tellapart.metrics.classification import confused_pairs, confusion_matrix, confusion_shares
from tellapart.metrics.score_all import undefined
from tellapart.plain_data import read_json
from tellapart.runs import ledger, store
from tellapart.runs.ledger import test_openings, test_reuse_notes
from tellapart.runs.store import Run, Scores
from tellapart.types import ImageTable, Predictions
from tellapart.workflows._experiment import open_test, write_evaluation
from tellapart.workflows._run_images import OtherImages, Seen, locate, require_unchanged, select_unseen


@dataclass(frozen=True)
class Confusion:
    """Images of one class that were predicted as another: `count` of the `of` images of the true class."""

    true: str
    answered: str
    count: int
    of: int


@dataclass(frozen=True)
class Evaluation:
    """Evaluation of a run on some images.

    Attributes:
        run: Id of the run.
        data: Name of the images.
        part: "valid" or "test" of the run's own data, or "other": none of the run's data.
        scores: Every metric, with n and interval.
        predictions: The predictions.
        opened: How often the test split of the run's data has been evaluated.
        notes: What was excluded, and caveats.
    """

    run: str
    data: str
    part: str
    scores: Scores
    predictions: Predictions
    opened: int
    notes: tuple[str, ...]

    @property
    def undefined(self) -> dict[str, str]:
        """The scores that are not defined on these images, each with the reason."""
        return undefined(self.predictions)

    @property
    def counts(self) -> np.ndarray:
        """The confusion matrix: (C, C) int64, rows are true classes."""
        return confusion_matrix(self.predictions.labels, self.predictions.predicted, len(self.predictions.classes))

    def confusions(self) -> list[Confusion]:
        """Every confusion that occurs, the most frequent first."""
        names, labels = self.predictions.classes, self.predictions.labels
        size = np.bincount(labels, minlength=len(names))
        pairs = confused_pairs(labels, self.predictions.predicted).tolist()
        return [Confusion(names[i], names[j], count, int(size[i])) for i, j, count in pairs]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        counts = self.counts
        shares = {f"by_{by}": _plain(confusion_shares(counts, by)) for by in ("row", "column")}
        confusion = {"classes": list(self.predictions.classes), "counts": counts.tolist(), **shares}
        return {
            "run": self.run, "data": self.data, "split": self.part, "scores": store.scores_to_dict(self.scores),
            "undefined": self.undefined, "confusion": confusion, "test_opened": self.opened, "notes": list(self.notes),
        }  # fmt: skip


def evaluate(
    run: str | Path | Run, data: str | Path | ImageTable | None = None, *, open_test: bool = False,
    mapping: Mapping[str, str] | None = None, seen: Seen = "refuse", settings: Settings = DEFAULTS,
) -> Evaluation:  # fmt: skip
    """Score a run.

    Args:
        run: A run, its id, the beginning of its id, or its path.
        data: Other labeled images; None: the run's own. With `open_test`: where the run's own data lie now.
        open_test: Score the test split, which is counted in the ledger, instead of repeating the scores on validation.
        mapping: From class names of `data` to those of the run, if they differ: {"editada": "fake"}.
        seen: What to do with images of `data` that the run was fitted to, was selected by, or keeps as its sealed test split:
            "refuse" them, "exclude" them, or "include" them; images of the test split are then counted in the ledger.
        settings: Folder of the runs, device, progress, …

    Raises:
        DataError: A class of `data` is none of the run's; corrupt images; images that the run has seen, with `seen="refuse"`;
            test images that are not the files that were split.
        RunError: No such run; it has no test split.
    """
    run = store.open_run(run, settings.runs, settings.images)
    if data is not None and not open_test:
        return _on_other(run, other_images(run, identified(data, settings), mapping or {}, seen, settings), settings)
    if open_test:
        evaluate_test(run, settings, data)
    part = "test" if open_test else "valid"
    predictions = run.predictions(part)
    if predictions is None or not len(predictions):
        raise RunError(f"{run.id} has no predictions on its {part} split", hint="train it again, or pass other images as DATA")
    scores, notes = run.scores(part), tuple(test_reuse_notes(run))
    return Evaluation(run.id, str(run.data["name"]), part, scores, predictions, test_openings(run), notes)


def identified(data: str | Path | ImageTable, settings: Settings) -> ImageTable:
    """A path or table as a table whose images are identified by their content."""
    table = data if isinstance(data, ImageTable) else scan(data, least=1)
    return identify(table, settings.progress, verify_files=settings.verify_files)


def other_images(run: Run, table: ImageTable, mapping: Mapping[str, str], seen: Seen, settings: Settings) -> OtherImages:
    """The labeled images of other data, with the labels of the run.

    Args:
        run: The run.
        table: Identified images.
        mapping: Class names of the table → class names of the run, where they differ.
        seen: What to do with images that the run has seen.
        settings: Whether to exclude bad rows.

    Raises:
        DataError: The data have problems, a class that is none of the run's, or images that the run has seen (see `evaluate`).
    """
    check_problems(table, settings.skip_bad)
    return select_unseen(run, _renamed(table, run, mapping), seen)


def evaluate_test(run: Run, settings: Settings, data: str | Path | ImageTable | None = None) -> None:
    """Evaluate a run on its test split, once per run; the ledger records it.

    Args:
        run: The run.
        settings: Folders, device and progress.
        data: Where the run's data lie now; None: where they were.

    Raises:
        DataError: Files of the test split are not the ones that were split.
        RunError: Its data have no test split, or they are gone.
    """
    table = run.table()
    if not table.split_counts().get("test"):
        raise RunError(f"{run.id}: its data have no test split")
    if run.evaluations:
        return
    table = table.where(split="test")
    if data is None:
        require_unchanged(run, table, "test", settings)
    else:
        table = locate(table, identified(data, settings), "test")
    open_test([run], table, inference_context(settings), "evaluate")


def _on_other(run: Run, images: OtherImages, settings: Settings) -> Evaluation:
    context, classifier, table = inference_context(settings), load_classifier(run), images.table
    table = drop_unreadable(table, [classifier.recipe], context.cache, skip_bad=settings.skip_bad)
    if images.sealed:
        ledger.record(run.runs, run.id, run.data["fingerprint"], images.sealed, "evaluate", secrets.token_hex(4))
    predictions, speed = predict_timed(classifier, table, run.id, context)
    name = file_name(Path(table.name).name.partition(".")[0], "images")
    folder = run.runs / "evaluations" / run.id / f"{name}-{table.fingerprint[:8]}"
    (folder / "predictions").mkdir(parents=True, exist_ok=True)
    write_evaluation(folder, "other", predictions, speed, run.positive, "evaluate")
    scores = {k: store.Score.from_dict(v) for k, v in read_json(folder / "scores.json")["other"].items()}
    notes = [*images.notes, *left_out(table).lines()]
    absent = [name for label, name in enumerate(run.classes) if label not in table.labels]
    notes += [f"no image of {', '.join(absent)} among them"] if absent else []
    notes += test_reuse_notes(run)
    return Evaluation(run.id, table.name, "other", scores, predictions, test_openings(run), tuple(notes))


def _renamed(table: ImageTable, run: Run, mapping: Mapping[str, str]) -> ImageTable:
    """The labeled rows, with the labels of the run."""
    for name, known, what in (
        *((k, table.classes, f"class of {table.name}") for k in mapping),
        *((v, run.classes, f"class of {run.id}") for v in mapping.values()),
    ):
        if name not in known:
            raise DataError(f"--map: {unknown_name(what, name, known)}")
    meant = [mapping.get(name, name) for name in table.classes]
    foreign = [name for name, to in zip(table.classes, meant, strict=True) if to not in run.classes]
    if foreign:
        hint = f"map them to classes of the run, for example --map {foreign[0]}={run.classes[0]}"
        raise DataError(f"{', '.join(foreign)}: not a class of {run.id}, whose classes are {', '.join(run.classes)}", hint=hint)
    table = table.take(table.labels >= 0)
    if not len(table):
        raise DataError(f"{table.name}: no image has a label", hint="use `tellapart predict` for images without labels")
    labels = np.array([run.classes.index(to) for to in meant], dtype=np.int64)[table.labels]
    problems = tuple(replace(problem, label=mapping.get(problem.label, problem.label)) for problem in table.problems)
    frame = table.frame.assign(label=labels)
    return replace(table, frame=frame, classes=run.classes, positive=run.positive, problems=problems)


def _plain(shares: np.ndarray) -> list[list[float | None]]:
    """(C, C) as JSON values; NaN becomes None."""
    return [[None if np.isnan(share) else float(share) for share in row] for row in shares]
