"""Which images a run is asked about anew, whether it learnt from them, and what it said of them before."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tellapart.data.prepare import apply_split
from tellapart.data.scan import scan
from tellapart.errors import DataError, RunError
from tellapart.inference.context import Settings
from tellapart.runs import ledger
from tellapart.runs.store import Run
from tellapart.types import ImageTable, Predictions
from tellapart.workflows.evaluate import evaluate_test, other_images
from tellapart.workflows.kfold import trained_on_valid


@dataclass(frozen=True)
class EvaluationSet:
    """The images asked about: the rows, of how many, and the part that they are.

    Attributes:
        rows: Labeled images, with the run's classes.
        of: Images in the part: more than rows in a sample.
        part: "valid" or "test" of the run's own data, or "other".
        asked: The size of the sample that was asked for.
    """

    rows: ImageTable
    total: int
    split: str
    requested: int | None = None

    @property
    def folder_name(self) -> str:
        """For what is kept of the answers: "valid", "test-200", "<data>-<fingerprint>"."""
        name = Path(self.rows.name).name.partition(".")[0]
        part = self.split if self.split != "other" else f"{name}-{self.rows.fingerprint[:8]}"
        return part + (f"-{len(self.rows)}" if len(self.rows) < self.total else "")

    def sampled(self, sample: int | None) -> EvaluationSet:
        """So many of the rows, drawn by a fixed seed; all of them where that is as many or more."""
        if sample is None:
            return self
        if sample < 1:
            raise DataError(f"a sample of {sample} images was asked for", hint="give --sample a number of 1 or more")
        if sample >= self.total:
            return EvaluationSet(self.rows, self.total, self.split, sample)
        rows = np.sort(np.random.default_rng(0).choice(self.total, sample, replace=False))
        return EvaluationSet(self.rows.take(rows), self.total, self.split, sample)


def select_images(
    run: Run, data: str | Path | ImageTable | None, open_test: bool, mapping: Mapping[str, str], settings: Settings
) -> EvaluationSet:
    """The validation part of a run, its test part, or other images.

    Raises:
        DataError: Unknown class, or an empty part.
        RunError: No such part, or the run learnt from it.
    """
    table = scan(data, least=1) if isinstance(data, str | Path) else data
    part = "test" if open_test else "valid"
    if table is None or table.fingerprint == run.data["fingerprint"]:
        found = run.table() if table is None else apply_split(table, run.folder)
        rows = found.where(split=part)
        if not len(rows):
            raise RunError(f"{run.id}: its data have no {part} part", hint="give other labeled images as DATA")
        if part == "valid" and trained_on_valid(run):
            said = f"{run.id} learnt from its validation images, fold by fold: they would flatter it, damaged or not"
            raise RunError(said, hint="sweep a single run, open the test part with --open-test, or give other images as DATA")
        return EvaluationSet(rows, len(rows), part)
    if open_test:
        raise RunError("the test part is the run's own", hint="leave DATA out to open it, or --open-test to damage DATA")
    rows = other_images(run, table, mapping, settings)
    return EvaluationSet(rows, len(rows), "other")


def stored_predictions(run: Run, part: str, rows: ImageTable) -> Predictions | None:
    """The answers that a run stored, where these are its own images."""
    found = run.predictions(part) if part != "other" else None
    if found is None:
        return None
    place = {name: row for row, name in enumerate(found.ids)}
    if any(name not in place for name in rows.ids):
        return None
    order = np.array([place[name] for name in rows.ids], dtype=np.int64)
    groups = None if found.groups is None else found.groups[order]
    return Predictions(found.ids[order], found.proba[order], found.labels[order], found.classes, run.id, groups)


def record_test_use(run: Run, count: int, session: str | None, by: str, settings: Settings) -> str:
    """Write the opening of the test part down before any test image is looked at: once a piece of work, however often it is
    cut off.

    Args:
        run: Asked.
        count: Images.
        session: The opening that this piece of work made before, if it did.
        by: The command, for the ledger.
        settings: Where and how.

    Returns:
        The opening, to be kept with the work.
    """
    fingerprint = run.data["fingerprint"]
    known = {opening.session for opening in ledger.openings(run.runs, fingerprint)}
    if not run.evaluations:
        evaluate_test(run, settings)
        return ledger.openings(run.runs, fingerprint)[-1].session
    if session is not None and session in known:
        return session
    session = secrets.token_hex(4)
    ledger.record(run.runs, run.id, fingerprint, count, by, session)
    return session
