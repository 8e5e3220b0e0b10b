"""Files of predictions: CSV, JSON lines, parquet. Rows are appended batch by batch, so that writing can resume.

    image               name of the image
    predicted           the most probable class
    decision, reason    only of a run with decision rules: a class or "unsure", and the rule that decided
    one per class       probability; named as the class in CSV, `p.<class>` in parquet as in the files of a run
    face_found          whether a face was found; only of a run that reads faces
    unchanged, resaved, lowest, highest    only with stability: see `perturbations.stability`
    error               why an image cannot be read; its other cells are empty

Nothing can be appended to a parquet file. Until the end it is a stream of Arrow batches, which is then rewritten as parquet.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, final

from tellapart.errors import DataError
from tellapart.inference.decision import DecisionRule
from tellapart.inference.prediction import ImagePrediction
from tellapart.io import atomic_path
from tellapart.spreadsheet import csv_text
from tellapart.terminal import json_text

_GROUP = 2**16  # rows of a parquet row group
_DECISION = ("decision", "reason")
_FACE, _STABILITY = "face_found", ("unchanged", "resaved", "lowest", "highest")


class PredictionWriter(ABC):
    """Writes one format.

    Args:
        rule: The decision rule of the run, with its classes.
        stability: Whether the predictions have a `stability`.
        errors: Whether images that cannot be read get a row.
        guarded: Whether CSV cells are written so that a spreadsheet does not run them; see `spreadsheet.csv_text`.
        faces: Whether the predictions have a `face_found`.
    """

    def __init__(
        self, rule: DecisionRule, stability: bool, errors: bool = True, guarded: bool = True, faces: bool = False
    ) -> None:
        self.rule, self.stability, self.errors, self.guarded, self.faces = rule, stability, errors, guarded, faces

    @abstractmethod
    def head(self) -> bytes:
        """The bytes before the first row."""

    @abstractmethod
    def rows(self, predictions: Sequence[ImagePrediction]) -> bytes:
        """The bytes of a row for each prediction."""

    def finish(self, partial: Path, out: Path) -> None:
        """Turn the rows in `partial`, which is removed, into the file `out`."""
        partial.replace(out)


@final
class CsvWriter(PredictionWriter):
    """Comma-separated, with a header; probabilities with six digits."""

    def head(self) -> bytes:
        """See `PredictionWriter`. A class with the name of another column gets the prefix `p.`."""
        first = ["image", "predicted", *(_DECISION if self.rule.decides else ())]
        face = [_FACE] if self.faces else []
        last = [*face, *(_STABILITY if self.stability else ()), *(["error"] if self.errors else [])]
        classes = [f"p.{name}" if name in (*first, *last) else name for name in self.rule.classes]
        return self._bytes([[*first, *classes, *last]])

    def rows(self, predictions: Sequence[ImagePrediction]) -> bytes:
        """See `PredictionWriter`."""
        return self._bytes([self._row(one) for one in predictions])

    def _bytes(self, rows: list[list[str]]) -> bytes:
        return csv_text(rows, guarded=self.guarded).encode()

    def _row(self, one: ImagePrediction) -> list[str]:
        decision = [one.decision, one.reason] if self.rule.decides else []
        proba = [f"{p:.6f}" for p in one.proba] or [""] * len(self.rule.classes)
        face = [{True: "true", False: "false", None: ""}[one.face_found]] if self.faces else []
        stability = [] if not self.stability else [""] * len(_STABILITY)
        if (s := one.stability) is not None:
            stability = [str(s.unchanged), str(s.resaved), f"{s.lowest:.6f}", f"{s.highest:.6f}"]
        return [one.image, one.predicted, *decision, *proba, *face, *stability, *([one.error] if self.errors else [])]


@final
class JsonLinesWriter(PredictionWriter):
    """One JSON object per line; `image` and `error` for an image that cannot be read."""

    def head(self) -> bytes:
        """See `PredictionWriter`."""
        return b""

    def rows(self, predictions: Sequence[ImagePrediction]) -> bytes:
        """See `PredictionWriter`."""
        return "".join(f"{json_text(one.to_dict(self.rule.classes))}\n" for one in predictions).encode()


@final
class ParquetWriter(PredictionWriter):
    """Typed columns; null for missing values."""

    def head(self) -> bytes:
        """See `PredictionWriter`; the schema, with which an Arrow stream begins."""
        return self._schema().serialize().to_pybytes()

    def rows(self, predictions: Sequence[ImagePrediction]) -> bytes:
        """See `PredictionWriter`."""
        import pyarrow as pa

        columns = [self._row(one) for one in predictions]
        schema = self._schema()
        arrays = [pa.array(values, kind.type) for values, kind in zip(zip(*columns, strict=True), schema, strict=True)]
        return pa.record_batch(arrays, schema=schema).serialize().to_pybytes()

    def finish(self, partial: Path, out: Path) -> None:
        """See `PredictionWriter`; the row groups have the same size however often the work was interrupted."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        with (
            atomic_path(out, durable=True) as temporary, pa.OSFile(str(partial)) as rows,
            pa.ipc.open_stream(rows) as stream, pq.ParquetWriter(temporary, stream.schema) as writer,
        ):  # fmt: skip
            for table in _groups(stream):
                writer.write_table(table, row_group_size=_GROUP)
        partial.unlink()

    def _schema(self) -> Any:
        import pyarrow as pa

        text, number, share = pa.string(), pa.int8(), pa.float32()
        fields = [("image", text), ("predicted", text)]
        fields += [(name, text) for name in _DECISION] if self.rule.decides else []
        fields += [(f"p.{name}", share) for name in self.rule.classes]
        fields += [(_FACE, pa.bool_())] if self.faces else []
        kinds = (number, number, share, share)
        fields += list(zip(_STABILITY, kinds, strict=True)) if self.stability else []
        return pa.schema([*fields, *([("error", text)] if self.errors else [])])

    def _row(self, one: ImagePrediction) -> list[Any]:
        decision = [one.decision or None, one.reason or None] if self.rule.decides else []
        proba = list(one.proba) or [None] * len(self.rule.classes)
        stability = [] if not self.stability else [None] * len(_STABILITY)
        if (s := one.stability) is not None:
            stability = [s.unchanged, s.resaved, s.lowest, s.highest]
        face = [one.face_found] if self.faces else []
        error = [one.error or None] if self.errors else []
        return [one.image, one.predicted or None, *decision, *proba, *face, *stability, *error]


#: Format → its writer, and file extension → format.
WRITERS: dict[str, type[PredictionWriter]] = {"csv": CsvWriter, "json-lines": JsonLinesWriter, "parquet": ParquetWriter}
_ENDINGS = {".csv": "csv", ".jsonl": "json-lines", ".ndjson": "json-lines", ".parquet": "parquet", ".pq": "parquet"}


def format_of(out: Path, named: str | None = None) -> str:
    """The format of a file: `named`, else the one of its extension.

    Raises:
        DataError: The extension is unknown, or contradicts `named`.

    >>> format_of(Path("a.jsonl")), format_of(Path("a.txt"), "csv")
    ('json-lines', 'csv')
    """
    meant = _ENDINGS.get(out.suffix.lower())
    if named is None and meant is None:
        hint = "use .csv, .jsonl or .parquet, or pass --csv, --json-lines or --parquet"
        raise DataError(f"{out}: unknown format; the extension is {out.suffix or 'missing'!r}", hint=hint)
    if named is not None and meant not in (None, named):
        raise DataError(f"{out}: the extension means {meant}, but --{named} was passed", hint="drop one of the two")
    return named or meant or ""


def _groups(stream: Any) -> Iterator[Any]:
    """The rows of an Arrow stream in tables of `_GROUP` rows, whatever the size of its batches."""
    import pyarrow as pa

    held = stream.schema.empty_table()
    for batch in stream:
        held = pa.concat_tables([held, pa.Table.from_batches([batch])])
        while held.num_rows >= _GROUP:
            yield held.slice(0, _GROUP)
            held = held.slice(_GROUP)
    if held.num_rows:
        yield held
