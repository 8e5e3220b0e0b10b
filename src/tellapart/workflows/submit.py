"""Competition submission: the sample submission, with the predictions of a run in its answer columns.

Header, ids, order, separator and line ends are those of the sample. The names and the content of its answer columns determine
what is written: class names, the probability of one class, or a column of probabilities for each class. Where two readings are
possible, the error names the option that decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tellapart.data.cache import CorruptImages
from tellapart.data.layouts._csv import TABLE_ENDINGS
from tellapart.data.test_images import AskedIds, find_test_images
from tellapart.errors import DataError, unknown_name
from tellapart.inference.context import DEFAULTS, Settings
from tellapart.inference.decision import decision, has_decision
from tellapart.io import write_text_atomically
from tellapart.os_errors import translate_os_errors
from tellapart.runs import store
from tellapart.runs.store import Run
from tellapart.spreadsheet import runs
from tellapart.types import ImageTable, Predictions
from tellapart.workflows._sample_submission import (
    KINDS,
    Kind,
    SampleSubmission,
    is_share,
    match_cells,
    match_columns,
    match_name,
    read_sample,
)
from tellapart.workflows.predict import predict

_DIGITS = 6


@dataclass(frozen=True, eq=False)
class Submission:
    """A submission file.

    Attributes:
        path: The file.
        kind: "label", "probability" or "classes".
        rows: Number of rows, as in the sample.
        column: The answer column, or several names separated by commas.
        asked: Description of its content.
        counts: For labels: class → number of rows; else empty.
        unasked: Number of test images that are not in the sample.
        head: The first lines of the file.
        notes: Columns that were passed over, and which columns of the test table were used.
    """

    path: Path
    kind: Kind
    rows: int
    column: str
    asked: str
    counts: dict[str, int]
    unasked: int
    head: tuple[str, ...]
    notes: tuple[str, ...] = ()


def submit(
    run: str | Path | Run, *, test: str | Path, sample: str | Path, out: str | Path = "submission.csv",
    images: str | Path | None = None, mapping: Mapping[str, str] | None = None, kind: Kind | None = None,
    id_column: str | None = None, sample_id_column: str | None = None, answer_columns: Sequence[str] = (),
    settings: Settings = DEFAULTS,
) -> Submission:  # fmt: skip
    """Predict the rows of a sample submission and write the file.

    Args:
        run: A run, its id, the beginning of its id, or its path.
        test: The test images: their table, or a folder or archive of them.
        sample: The sample submission: CSV or TSV with a header.
        out: The file to write, atomically.
        images: Folder or archive of the images, if it is neither `test` nor the folder of `test`.
        mapping: From class names of the run to what the file calls them: {"real": "1", "edited": "0"}. Classes of one name
            are answered as one, their probabilities added.
        kind: Content of the answer column, if the sample does not determine it.
        id_column: The column that names the images: of the table `test`, or of the sample where `test` is no table; None: the
            one whose cells are files.
        sample_id_column: The column of the sample that holds the ids; None: the first, a running number excepted.
        answer_columns: The columns to fill; empty: all but that of the ids.
        settings: Folder of the runs, device, progress, …

    Raises:
        DataError: The sample cannot be understood, an id fits no image, or the classes do not fit; nothing is written.
        CorruptImages: A test image cannot be decoded; every row needs an answer, so none is left out.
    """
    run, out = store.open_run(run, settings.runs, settings.images), Path(out)
    mapping = mapping or {}
    called = _called(run, mapping)
    if sample_id_column is None and not Path(test).name.lower().endswith(TABLE_ENDINGS):
        sample_id_column, id_column = id_column, None  # the sample is the only table
    form = read_sample(Path(sample), sample_id_column, answer_columns, called)
    plan = _plan(form, run, called, mapping, kind)
    asked = AskedIds(form.ids, form.id_column, form.place)
    place = Path(images) if images else None
    found = find_test_images(asked, Path(test), place, id_column=id_column, classes=run.classes)
    cells = plan.cells(_predicted(run, found.table, settings), run)
    text = form.filled(cells)
    with translate_os_errors(out):
        write_text_atomically(out, text, durable=True)
    counts = dict(Counter(cells[form.answers[0]]).most_common()) if plan.kind == "label" else {}
    head, notes = tuple(text.lstrip("\ufeff").splitlines()[:4]), (*form.notes, *found.notes, *_formulas(form, cells))
    return Submission(out, plan.kind, len(form.ids), ", ".join(form.answers), plan.asked, counts, found.unused, head, notes)


def _formulas(form: SampleSubmission, cells: Mapping[str, list[str]]) -> list[str]:
    """A note on cells that a spreadsheet would run. They are written as they are: a competition compares ids byte by byte."""
    columns = [cells[name] if name in cells else form.text.column(name) for name in form.text.names]
    found = [cell for column in columns for cell in column if runs(cell)]
    if not found:
        return []
    count = f"{len(found):,} cell{'s' if len(found) > 1 else ''} begin{'' if len(found) > 1 else 's'} with =, +, - or @"
    return [f"{count} ({found[0]!r}) and must stay as in the sample; a spreadsheet may run them as formulas"]


def _predicted(run: Run, table: ImageTable, settings: Settings) -> Predictions:
    """The predictions for every row.

    Raises:
        CorruptImages: Some images cannot be read.
    """
    try:
        return predict(run, table, settings=settings)
    except CorruptImages as error:
        hint = "restore them: every row of a submission needs a prediction, so none can be left out"
        raise CorruptImages(error.rows.tolist(), error.problems, hint=hint) from None


def _called(run: Run, mapping: Mapping[str, str]) -> list[str]:
    """Name of each class in the file, in the order of the classes of the run."""
    for name in mapping:
        if name not in run.classes:
            raise DataError(f"--map: {unknown_name(f'class of {run.id}', name, run.classes)}")
    return [mapping.get(name, name) for name in run.classes]


@dataclass(frozen=True)
class _Plan:
    """What to write.

    Attributes:
        kind: Content of the answer columns.
        called: What each class of the run is called, in their order.
        columns: Answer column → the name of the class whose probability it gets; for labels the column → "".
    """

    kind: Kind
    called: tuple[str, ...]
    columns: Mapping[str, str]

    @property
    def asked(self) -> str:
        """Description, for people."""
        if self.kind == "label":
            return f"one of {', '.join(dict.fromkeys(self.called))}"
        if self.kind == "classes":
            return "the probability of each class"
        return f"the probability of {next(iter(self.columns.values()))}"

    def cells(self, predictions: Predictions, run: Run) -> dict[str, list[str]]:
        """The values as text, by column."""
        names = list(dict.fromkeys(self.called))
        proba = np.zeros((len(predictions), len(names)))
        for c, name in enumerate(self.called):
            proba[:, names.index(name)] += predictions.proba[:, c]
        if self.kind != "label":
            return {column: [f"{p:.{_DIGITS}f}" for p in proba[:, names.index(of)]] for column, of in self.columns.items()}
        column = next(iter(self.columns))
        told = decision(run) if has_decision(run) else None
        if told is not None and told.threshold is not None:
            above = told.scores(predictions.proba) >= told.threshold.threshold
            positive = 1 if run.positive is None else run.classes.index(run.positive)
            return {column: [self.called[positive if yes else 1 - positive] for yes in above]}
        return {column: [names[k] for k in proba.argmax(axis=1)]}


def _plan(form: SampleSubmission, run: Run, called: list[str], mapping: Mapping[str, str], kind: Kind | None) -> _Plan:
    """What the sample expects, by its columns and their cells.

    Raises:
        DataError: It is ambiguous, or does not fit the classes.
    """
    if kind in ("label", "probability") and len(form.answers) > 1:
        hint = f"name the column to fill: --answer-column {form.answers[-1]}"
        raise DataError(f"{form.path}: expected one answer column for --as {kind}, found {', '.join(form.answers)}", hint=hint)
    if kind == "classes" or (kind is None and len(form.answers) > 1):
        return _Plan("classes", tuple(called), match_columns(form, called))
    column = next(iter(form.answers))
    cells = form.text.column(column)
    spelled = match_cells(cells, called)
    if kind == "label" or (kind is None and spelled is not None and match_name(column, called) is None):
        _refuse_partial(form, column, run, mapping)
        return _Plan("label", tuple(spelled[name] for name in called) if spelled else tuple(called), {column: ""})
    if kind == "probability" or (any("." in cell for cell in cells) and all(map(is_share, cells))):
        return _Plan("probability", tuple(called), {column: _probability_of(form, column, called, mapping, run)})
    raise _unclear(form, column, called, run)


def _refuse_partial(form: SampleSubmission, column: str, run: Run, mapping: Mapping[str, str]) -> None:
    """Refuse a map that names some classes, where the others do not occur in the sample under their own names."""
    cells = set(form.text.column(column))
    unmapped = [name for name in run.classes if name not in mapping and name not in cells]
    if not mapping or not unmapped:
        return
    known = ",".join(f"{name}={mapping[name]}" for name in run.classes if name in mapping)
    raise DataError(
        f"{form.path}: --map leaves out {', '.join(unmapped)}, which the column {column!r} does not hold either",
        hint=f"say what every class is called there: --map {known},{','.join(f'{name}=NAME' for name in unmapped)}",
    )


def _probability_of(form: SampleSubmission, column: str, called: list[str], mapping: Mapping[str, str], run: Run) -> str:
    """The class whose probability one column holds, by what the file calls it.

    The column bears its name; or the file calls two classes 0 and 1, and it is 1; or it is the positive class of the run.

    Raises:
        DataError: None of these holds, or they contradict each other.
    """
    if (own := match_name(column, called)) is not None:
        return own
    positive = None if run.positive is None else called[run.classes.index(run.positive)]
    if set(called) == {"0", "1"}:
        if mapping or positive in (None, "1"):
            return "1"
    elif positive is not None:
        return positive
    choices = " or ".join(f"--map {name}={column}" for name in run.classes[:2])
    if len(set(called)) > 2:
        message = f"{run.id} has {len(set(called))} classes, and {column!r} is none of them: whose probability is it?"
        hint = (
            f"name the class by the column, for example {choices}; or use --as label, or a sample with a column for each class"
        )
    else:
        message = f"whose probability the column {column!r} holds is not clear: the classes are {', '.join(called)}"
        hint = f"name the class by the column: {choices}"
    raise DataError(f"{form.path}: {message}", hint=hint)


def _unclear(form: SampleSubmission, column: str, called: list[str], run: Run) -> DataError:
    """The error for a column whose content cannot be known; no direction is proposed."""
    cells = form.text.column(column)
    every = ",".join(f"{name}=NAME" for name in run.classes[:4]) + (",…" if len(run.classes) > 4 else "")
    hint = f"say what every class is called there, --map {every}; or that the column is a probability, --as probability"
    if not any(cell.strip() for cell in cells):
        return DataError(
            f"{form.path}: the column {column!r} is empty", hint=f"pass its content: --as {' or '.join(KINDS[:2])}"
        )
    if (own := match_name(column, called)) is not None:
        message = f"the column {column!r} has the name of a class and holds {cells[0]!r}: a class name or a probability?"
        return DataError(
            f"{form.place(0)}: {message}", hint=f"--as probability writes the probability of {own}; --as label a name"
        )
    row, foreign = next((row, cell) for row, cell in enumerate(cells) if cell not in called)
    return DataError(
        f"{form.place(row)}: the column {column!r} holds {foreign!r}, which is none of {', '.join(called)}", hint=hint
    )
