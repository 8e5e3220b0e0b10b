"""The images of a robustness or codec evaluation: select them, refuse training images, look up stored predictions."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tellapart.data.prepare import apply_split
from tellapart.errors import DataError, RunError
from tellapart.inference.context import Settings
from tellapart.runs import ledger
from tellapart.runs.store import Run
from tellapart.types import ImageTable, Predictions
from tellapart.workflows._run_images import require_unchanged
from tellapart.workflows.evaluate import evaluate_test, identified, other_images
from tellapart.workflows.kfold import trained_on_valid


@dataclass(frozen=True)
class EvaluationSet:
    """Labeled images, and the split that they are a sample of.

    Attributes:
        rows: The images, with the classes of the run.
        total: Number of images in the split; larger than the number of rows for a sample.
        split: "valid" or "test" of the run's own data, or "other".
        requested: The requested sample size; None: no sample.
        notes: What was excluded.
        whole: The whole split, where it lies now; None for other images.
    """

    rows: ImageTable
    total: int
    split: str
    requested: int | None = None
    notes: tuple[str, ...] = ()
    whole: ImageTable | None = None

    @property
    def folder_name(self) -> str:
        """Name of the folder of predictions: "valid", "test-200", "<data>-<fingerprint>"."""
        name = Path(self.rows.name).name.partition(".")[0]
        part = self.split if self.split != "other" else f"{name}-{self.rows.fingerprint[:8]}"
        return part + (f"-{len(self.rows)}" if len(self.rows) < self.total else "")

    def sampled(self, sample: int | None) -> EvaluationSet:
        """Draw a sample of `sample` rows with a fixed seed; all rows if there are no more."""
        if sample is None:
            return self
        if sample < 1:
            raise DataError(
                f"expected a sample of at least 1 image, found {sample}", hint="pass --sample with a number of 1 or more"
            )
        if sample >= self.total:
            return replace(self, requested=sample)
        rows = np.sort(np.random.default_rng(0).choice(self.total, sample, replace=False))
        return replace(self, rows=self.rows.take(rows), requested=sample)


def select_images(
    run: Run,
    data: str | Path | ImageTable | None,
    open_test: bool,
    mapping: Mapping[str, str],
    exclude_seen: bool,
    settings: Settings,
) -> EvaluationSet:
    """The validation or test split of a run, or other images.

    Raises:
        DataError: Unknown class, an empty split, files that are not the ones that were split, or images that the run has seen.
        RunError: No such split, or the run was trained on it.
    """
    table = None if data is None else identified(data, settings)
    part = "test" if open_test else "valid"
    if table is None or table.fingerprint == run.data["fingerprint"]:
        found = run.table() if table is None else apply_split(table, run.folder)
        rows = found.where(split=part)
        if not len(rows):
            raise RunError(f"{run.id}: its data have no {part} split", hint="pass other labeled images as DATA")
        if part == "valid" and trained_on_valid(run):
            message = f"{run.id} was trained on its validation images, fold by fold: scores on them would be too good"
            hint = "evaluate a single run, use the test split with --open-test, or pass other images as DATA"
            raise RunError(message, hint=hint)
        if table is None:
            require_unchanged(run, rows, part, settings)
        return EvaluationSet(rows, len(rows), part, whole=rows)
    if open_test:
        raise RunError(
            "--open-test and DATA exclude each other: the test split belongs to the run's own data",
            hint="omit DATA to use the test split, or omit --open-test to use DATA",
        )
    found = other_images(run, table, mapping, "exclude" if exclude_seen else "refuse", settings)
    return EvaluationSet(found.table, len(found.table), "other", notes=found.notes)


def stored_predictions(run: Run, part: str, rows: ImageTable) -> Predictions | None:
    """The predictions that the run has stored for these images; None for other images."""
    found = run.predictions(part) if part != "other" else None
    if found is None:
        return None
    place = {name: row for row, name in enumerate(found.ids)}
    if any(name not in place for name in rows.ids):
        return None
    order = np.array([place[name] for name in rows.ids], dtype=np.int64)
    groups = None if found.groups is None else found.groups[order]
    return Predictions(found.ids[order], found.proba[order], found.labels[order], found.classes, run.id, groups)


def record_test_use(run: Run, images: EvaluationSet, session: str | None, by: str, settings: Settings) -> str:
    """Record a use of the test split in the ledger before any test image is read: once per job, however often it resumes.

    Args:
        run: The run.
        images: Images of its test split.
        session: The session that this job has recorded before; None: none.
        by: The command, for the ledger.
        settings: Folders, device and progress.

    Returns:
        The session, to be stored with the job.
    """
    fingerprint = run.data["fingerprint"]
    known = {opening.session for opening in ledger.openings(run.runs, fingerprint)}
    if not run.evaluations:
        evaluate_test(run, settings, images.whole)
        return ledger.openings(run.runs, fingerprint)[-1].session
    if session is not None and session in known:
        return session
    session = secrets.token_hex(4)
    ledger.record(run.runs, run.id, fingerprint, len(images.rows), by, session)
    return session
