"""Competition submission: the sample submission, with the predictions of a run in its answer columns.

Header, ids, order, separator and line ends are those of the sample. The content of its answer columns determines what is
written: class names, the probability of one class, or a column of probabilities for each class. Ambiguous samples are an error.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from tellapart.data.layouts._csv import TextTable, delimiter_of, read_text_table
from tellapart.data.layouts._id_lookup import match_ids
from tellapart.errors import DataError, unknown_name
from tellapart.inference.context import DEFAULTS, Settings
from tellapart.inference.decision import decision, has_decision
from tellapart.io import translate_os_errors, write_text_atomically
from tellapart.runs import store
from tellapart.runs.store import Run
from tellapart.types import Predictions
from tellapart.workflows.predict import predict

Kind = Literal["label", "probability", "classes"]
KINDS: tuple[Kind, ...] = ("label", "probability", "classes")
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
    """

    path: Path
    kind: Kind
    rows: int
    column: str
    asked: str
    counts: dict[str, int]
    unasked: int
    head: tuple[str, ...]


def submit(
    run: str | Path | Run, *, test: str | Path, sample: str | Path, out: str | Path = "submission.csv",
    images: str | Path | None = None, mapping: Mapping[str, str] | None = None, kind: Kind | None = None,
    id_column: str | None = None, settings: Settings = DEFAULTS,
) -> Submission:  # fmt: skip
    """Predict the rows of a sample submission and write the file.

    Args:
        run: A run, its id, the beginning of its id, or its path.
        test: The test images: their table, or a folder or archive of them.
        sample: The sample submission: CSV or TSV with a header, ids in the first column.
        out: The file to write, atomically.
        images: Folder or archive of the images, if it is neither `test` nor the folder of `test`.
        mapping: From class names of the run to what the file calls them: {"real": "1", "edited": "0"}. Classes of one name
            are answered as one, their probabilities added.
        kind: Content of the answer column, if the sample does not determine it.
        id_column: Name of the id column; default: the first.
        settings: Folder of the runs, device, progress, …

    Raises:
        DataError: The sample cannot be understood, an id fits no image, or the classes do not fit; nothing is written.
        CorruptImages: A test image cannot be decoded; every row needs an answer, so none is left out.
    """
    run = store.open_run(run, settings.runs)
    form = _Form.of(Path(sample), id_column)
    meant = _meant(run, mapping or {})
    kind = kind or form.kind(meant, run)
    form.check(kind, meant)
    table, unasked = match_ids(form.ids, form.place, Path(test), Path(images) if images else None, run.classes)
    predictions = predict(run, table, settings=settings)
    cells = _cells(form, kind, meant, predictions, run)
    text = form.filled(cells)
    with translate_os_errors(Path(out)):
        write_text_atomically(Path(out), text, durable=True)
    return Submission(
        Path(out), kind, len(form.ids), ", ".join(form.answers), _asked(kind, meant, run),
        dict(Counter(cells[form.answers[0]]).most_common()) if kind == "label" else {}, unasked,
        tuple(text.lstrip("\ufeff").splitlines()[:4]),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Form:
    """A parsed sample submission."""

    path: Path
    text: TextTable
    id_column: str
    mark: str  # the byte order mark, or ""
    header: str  # the first line, verbatim
    delimiter: str
    line_end: str

    @classmethod
    def of(cls, path: Path, id_column: str | None) -> _Form:
        """Read a sample; ids must be present and unique."""
        if not path.is_file():
            raise DataError(f"--sample {path}: not found", hint="pass the sample submission of the competition")
        content = path.read_bytes()
        text = read_text_table(content, str(path))
        if not len(text.frame):
            raise DataError(f"{path}: the sample has a header but no rows")
        if len(text.names) < 2:
            raise DataError(f"{path}: expected an id and an answer column, found {text.names[0]!r} alone")
        if id_column is not None and id_column not in text.names:
            raise DataError(f"{path}: {unknown_name('column', id_column, text.names)}", hint="pass one of them as --id-column")
        raw = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8")
        plain = raw.lstrip("\ufeff\r\n")
        header = plain.splitlines()[0]
        delimiter = delimiter_of(header, str(path))
        line_end = "\r\n" if plain[len(header) :].startswith("\r\n") else "\n"
        mark = "\ufeff" if raw.startswith("\ufeff") else ""
        form = cls(path, text, id_column or text.names[0], mark, header, delimiter, line_end)
        form._refuse_repeats()
        return form

    @property
    def ids(self) -> list[str]:
        return self.text.column(self.id_column)

    @property
    def answers(self) -> list[str]:
        """The columns to fill."""
        return [name for name in self.text.names if name != self.id_column]

    def place(self, row: int) -> str:
        return f"{self.path}:{self.text.lines[row]}"

    def _refuse_repeats(self) -> None:
        seen: dict[str, int] = {}
        for row, name in enumerate(self.ids):
            if not name.strip():
                raise DataError(f"{self.place(row)}: no id")
            if name in seen:
                raise DataError(f"{self.place(row)}: duplicate id {name!r}, first in {self.place(seen[name])}")
            seen[name] = row

    def kind(self, meant: list[str], run: Run) -> Kind:
        """The kind of content that the sample expects, by its columns and their values."""
        if len(self.answers) > 1:
            return "classes"
        (column,) = self.answers
        found = sorted(set(self.text.column(column)))
        if set(found) <= set(meant):
            return "label"
        if len(run.classes) == 2 and any("." in cell for cell in found) and all(_is_share(cell) for cell in found):
            return "probability"
        if found == [""]:
            raise DataError(
                f"{self.path}: the column {column!r} is empty", hint=f"pass its content: --as {' or '.join(KINDS[:2])}"
            )
        foreign = next(cell for cell in found if cell not in meant)
        row = self.text.column(column).index(foreign)
        hint = (
            f"say what a class is called there: --map {run.classes[0]}={foreign}; or that it is a probability: --as probability"
        )
        raise DataError(
            f"{self.place(row)}: the column {column!r} holds {foreign!r}, which is none of {', '.join(meant)}", hint=hint
        )

    def check(self, kind: Kind, meant: list[str]) -> None:
        """Raise an error for columns that do not match the kind."""
        if kind != "classes" and len(self.answers) > 1:
            raise DataError(f"{self.path}: expected one answer column for --as {kind}, found {', '.join(self.answers)}")
        if kind == "classes":
            foreign = [name for name in self.answers if name not in meant]
            missing = [name for name in dict.fromkeys(meant) if name not in self.answers]
            if foreign or missing:
                said = [f"the column {foreign[0]!r} is no class of the run"] if foreign else []
                said += [f"there is no column for {missing[0]!r}"] if missing else []
                hint = f"map the class names to columns: --map {missing[0] if missing else meant[0]}=COLUMN"
                raise DataError(f"{self.path}: {' and '.join(said)}; the classes are {', '.join(meant)}", hint=hint)

    def filled(self, cells: Mapping[str, list[str]]) -> str:
        """The sample with these values, one list per column."""
        target = io.StringIO()
        writer = csv.writer(target, delimiter=self.delimiter, lineterminator=self.line_end)
        columns = [self.ids if name == self.id_column else cells[name] for name in self.text.names]
        writer.writerows(zip(*columns, strict=True))
        return f"{self.mark}{self.header}{self.line_end}{target.getvalue()}"


def _is_share(cell: str) -> bool:
    try:
        return 0 <= float(cell) <= 1
    except ValueError:
        return False


def _meant(run: Run, mapping: Mapping[str, str]) -> list[str]:
    """Name of each class in the file, in the order of the classes of the run."""
    for name in mapping:
        if name not in run.classes:
            raise DataError(f"--map: {unknown_name(f'class of {run.id}', name, run.classes)}")
    return [mapping.get(name, name) for name in run.classes]


def _cells(form: _Form, kind: Kind, meant: list[str], predictions: Predictions, run: Run) -> dict[str, list[str]]:
    """The values as text, by column."""
    names = list(dict.fromkeys(meant))
    proba = np.zeros((len(predictions), len(names)))
    for c, name in enumerate(meant):
        proba[:, names.index(name)] += predictions.proba[:, c]
    if kind == "label":
        told = decision(run) if has_decision(run) else None
        if told is not None and told.threshold is not None:
            above = told.scores(predictions.proba) >= told.threshold.threshold
            positive = _positive(run)
            return {form.answers[0]: [meant[positive if yes else 1 - positive] for yes in above]}
        return {form.answers[0]: [names[k] for k in proba.argmax(axis=1)]}
    if kind == "classes":
        return {name: [f"{p:.{_DIGITS}f}" for p in proba[:, names.index(name)]] for name in form.answers}
    return {form.answers[0]: [f"{p:.{_DIGITS}f}" for p in predictions.proba[:, _positive(run)]]}


def _positive(run: Run) -> int:
    if len(run.classes) != 2:
        hint = "use --as label, or a sample with a column for each class"
        raise DataError(f"{run.id} has {len(run.classes)} classes: expected two for a single probability", hint=hint)
    return 1 if run.positive is None else run.classes.index(run.positive)


def _asked(kind: Kind, meant: list[str], run: Run) -> str:
    if kind == "label":
        return f"one of {', '.join(dict.fromkeys(meant))}"
    if kind == "classes":
        return "the probability of each class"
    return f"the probability of {run.classes[_positive(run)]}"
