"""A file of answers in the form that a competition asks for: its sample, with the answers of a run in place of its own.

Header, ids, order, separator and line ends are the sample's. What stands in the answer columns of the sample says what is
asked for: the name of a class, the probability of one, or a column of probabilities for each class. Nothing is guessed
where it could be two things.
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
    """What was written.

    Attributes:
        path: The file.
        kind: "label", "probability" or "classes".
        rows: Answers, one for each row of the sample.
        column: The answer column; of several the names, separated by commas.
        asked: In words, what stands in it.
        counts: Of labels: how often each was answered. Else empty.
        unasked: Images that are there and that the sample does not ask for.
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
    """Answer the rows of a sample submission and write the file.

    Args:
        run: A run, an id, the beginning of one, or a path.
        test: The test images: their table, or a folder or archive of them.
        sample: The sample submission: CSV or TSV with a header, ids in the first column.
        out: The file to write; it is written whole or not at all.
        images: Where the images lie, when that is not `test` or the folder beside it.
        mapping: From class names of the run to what the file calls them: {"real": "1", "edited": "0"}. Classes of one name
            are answered as one, their probabilities added.
        kind: What the answer column holds, when the sample leaves it open.
        id_column: The column of ids, when it is not the first.
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
    """A sample, understood."""

    path: Path
    text: TextTable
    id_column: str
    mark: str  # a byte order mark, or nothing
    header: str  # the first line, as it is written
    delimiter: str
    line_end: str

    @classmethod
    def of(cls, path: Path, id_column: str | None) -> _Form:
        """Read a sample; its ids must be there, each once."""
        if not path.is_file():
            raise DataError(f"--sample {path}: not found", hint="give the sample submission of the competition")
        content = path.read_bytes()
        text = read_text_table(content, str(path))
        if not len(text.frame):
            raise DataError(f"{path}: the sample has a header but no rows")
        if len(text.names) < 2:
            raise DataError(f"{path}: expected an id and an answer column, found {text.names[0]!r} alone")
        if id_column is not None and id_column not in text.names:
            raise DataError(f"{path}: {unknown_name('column', id_column, text.names)}", hint="--id-column names one of them")
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
                raise DataError(f"{self.place(row)}: the id {name!r} stands already in {self.place(seen[name])}")
            seen[name] = row

    def kind(self, meant: list[str], run: Run) -> Kind:
        """What the sample asks for, by its columns and what stands in them."""
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
                f"{self.path}: the column {column!r} is empty", hint=f"say what belongs there: --as {' or '.join(KINDS[:2])}"
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
        """Refuse columns that do not fit."""
        if kind != "classes" and len(self.answers) > 1:
            raise DataError(f"{self.path}: expected one answer column for --as {kind}, found {', '.join(self.answers)}")
        if kind == "classes":
            foreign = [name for name in self.answers if name not in meant]
            missing = [name for name in dict.fromkeys(meant) if name not in self.answers]
            if foreign or missing:
                said = [f"the column {foreign[0]!r} is no class of the run"] if foreign else []
                said += [f"there is no column for {missing[0]!r}"] if missing else []
                hint = f"say what the classes are called there: --map {missing[0] if missing else meant[0]}=COLUMN"
                raise DataError(f"{self.path}: {' and '.join(said)}; the classes are {', '.join(meant)}", hint=hint)

    def filled(self, cells: Mapping[str, list[str]]) -> str:
        """The sample with these answers, one list a column."""
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
    """What the file calls each class of the run, in the order of the classes."""
    for name in mapping:
        if name not in run.classes:
            raise DataError(f"--map: {unknown_name(f'class of {run.id}', name, run.classes)}")
    return [mapping.get(name, name) for name in run.classes]


def _cells(form: _Form, kind: Kind, meant: list[str], predictions: Predictions, run: Run) -> dict[str, list[str]]:
    """The answers as text, by column."""
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
        raise DataError(f"{run.id} knows {len(run.classes)} classes: one probability does not tell them", hint=hint)
    return 1 if run.positive is None else run.classes.index(run.positive)


def _asked(kind: Kind, meant: list[str], run: Run) -> str:
    if kind == "label":
        return f"one of {', '.join(dict.fromkeys(meant))}"
    if kind == "classes":
        return "the probability of each class"
    return f"the probability of {run.classes[_positive(run)]}"
