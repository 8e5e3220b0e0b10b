"""Files of answers: CSV, JSON lines, parquet. Rows are added as they come, so that a file can be gone on with.

    image       its name
    answer      the most probable class
    verdict     of a run that has rules: a class, or "unsure"; parquet and JSON also say because of which rule
    one a class its probability; the class's name in CSV, `p.<class>` in parquet as in the files of a run
    kept, of, lowest, highest    with stability: see `answering.stability`
    error       why an image could not be read; its other cells are empty then

Parquet cannot be added to. Until the end such a file is a stream of Arrow batches, which can; then it is written anew.
"""

from __future__ import annotations

import csv
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, final

from tellapart.errors import DataError
from tellapart.inference.decision import DecisionRule
from tellapart.inference.prediction import ImagePrediction
from tellapart.io import atomic_path

_GROUP = 2**16  # rows of a parquet row group
_STABILITY = ("kept", "of", "lowest", "highest")


class PredictionWriter(ABC):
    """One format.

    Args:
        judge: Of the run: its classes, and whether it gives verdicts.
        stability: Whether the answers have it.
        errors: Whether images that could not be read have a row.
    """

    def __init__(self, judge: DecisionRule, stability: bool, errors: bool = True) -> None:
        self.judge, self.stability, self.errors = judge, stability, errors

    @abstractmethod
    def head(self) -> bytes:
        """What stands before the first row."""

    @abstractmethod
    def rows(self, answers: Sequence[ImagePrediction]) -> bytes:
        """Some rows."""

    def finish(self, partial: Path, whole: Path) -> None:
        """Make the file `whole` from the rows in `partial`, which may be gone then."""
        partial.replace(whole)


@final
class CsvWriter(PredictionWriter):
    """Comma-separated, with a header; probabilities with six digits."""

    def head(self) -> bytes:
        """See `Sheet`. A class that is called like another column gets `p.` in front."""
        first = ["image", "answer", *(["verdict"] if self.judge.judges else [])]
        last = [*(_STABILITY if self.stability else ()), *(["error"] if self.errors else [])]
        classes = [f"p.{name}" if name in (*first, *last) else name for name in self.judge.classes]
        return _csv([[*first, *classes, *last]])

    def rows(self, answers: Sequence[ImagePrediction]) -> bytes:
        """See `Sheet`."""
        return _csv([self._row(one) for one in answers])

    def _row(self, one: ImagePrediction) -> list[str]:
        found = one.stability
        said = [one.verdict] if self.judge.judges else []
        proba = [f"{p:.6f}" for p in one.proba] or [""] * len(self.judge.classes)
        stays = [] if not self.stability else [""] * len(_STABILITY)
        if found is not None:
            stays = [str(found.kept), str(found.of), f"{found.lowest:.6f}", f"{found.highest:.6f}"]
        return [one.image, one.answer, *said, *proba, *stays, *([one.error] if self.errors else [])]


@final
class JsonLinesWriter(PredictionWriter):
    """One JSON object a line; of an image that could not be read `image` and `error`."""

    def head(self) -> bytes:
        """See `Sheet`."""
        return b""

    def rows(self, answers: Sequence[ImagePrediction]) -> bytes:
        """See `Sheet`."""
        lines = (json.dumps(one.to_dict(self.judge.classes), ensure_ascii=False, allow_nan=False) for one in answers)
        return "".join(f"{line}\n" for line in lines).encode()


@final
class ParquetWriter(PredictionWriter):
    """Columns with types; what there is not is null."""

    def head(self) -> bytes:
        """See `Sheet`; the schema, as Arrow streams begin with it."""
        return self._schema().serialize().to_pybytes()

    def rows(self, answers: Sequence[ImagePrediction]) -> bytes:
        """See `Sheet`."""
        import pyarrow as pa

        columns = [self._row(one) for one in answers]
        schema = self._schema()
        arrays = [pa.array(values, kind.type) for values, kind in zip(zip(*columns, strict=True), schema, strict=True)]
        return pa.record_batch(arrays, schema=schema).serialize().to_pybytes()

    def finish(self, partial: Path, whole: Path) -> None:
        """See `Sheet`; row groups are of the same size however the work was interrupted."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        with (
            atomic_path(whole, durable=True) as temporary, pa.OSFile(str(partial)) as rows,
            pa.ipc.open_stream(rows) as stream, pq.ParquetWriter(temporary, stream.schema) as writer,
        ):  # fmt: skip
            for table in _groups(stream):
                writer.write_table(table, row_group_size=_GROUP)
        partial.unlink()

    def _schema(self) -> Any:
        import pyarrow as pa

        text, number, share = pa.string(), pa.int8(), pa.float32()
        fields = [("image", text), ("answer", text)]
        fields += [("verdict", text), ("because", text)] if self.judge.judges else []
        fields += [(f"p.{name}", share) for name in self.judge.classes]
        kinds = (number, number, share, share)
        fields += list(zip(_STABILITY, kinds, strict=True)) if self.stability else []
        return pa.schema([*fields, *([("error", text)] if self.errors else [])])

    def _row(self, one: ImagePrediction) -> list[Any]:
        said = [one.verdict or None, one.because or None] if self.judge.judges else []
        proba = list(one.proba) or [None] * len(self.judge.classes)
        found = one.stability
        stays = [] if not self.stability else [None] * len(_STABILITY)
        if found is not None:
            stays = [found.kept, found.of, found.lowest, found.highest]
        return [one.image, one.answer or None, *said, *proba, *stays, *([one.error or None] if self.errors else [])]


#: Format → what writes it, and the endings that mean it.
SHEETS: dict[str, type[PredictionWriter]] = {"csv": CsvWriter, "json-lines": JsonLinesWriter, "parquet": ParquetWriter}
_ENDINGS = {".csv": "csv", ".jsonl": "json-lines", ".ndjson": "json-lines", ".parquet": "parquet", ".pq": "parquet"}


def format_of(out: Path, named: str | None = None) -> str:
    """The format of a file: the one that is named, else what its ending means.

    Raises:
        DataError: The ending means nothing, or something else.

    >>> format_of(Path("a.jsonl")), format_of(Path("a.txt"), "csv")
    ('json-lines', 'csv')
    """
    meant = _ENDINGS.get(out.suffix.lower())
    if named is None and meant is None:
        hint = "name the file .csv, .jsonl or .parquet, or say --csv, --json-lines or --parquet"
        raise DataError(f"{out}: the ending does not say what kind of file it is", hint=hint)
    if named is not None and meant not in (None, named):
        raise DataError(f"{out}: its ending says {meant}, but --{named} was asked for", hint="leave one of the two out")
    return named or meant or ""


def _groups(stream: Any) -> Iterator[Any]:
    """The rows of an Arrow stream in tables of `_GROUP`, whatever its batches were."""
    import pyarrow as pa

    held = stream.schema.empty_table()
    for batch in stream:
        held = pa.concat_tables([held, pa.Table.from_batches([batch])])
        while held.num_rows >= _GROUP:
            yield held.slice(0, _GROUP)
            held = held.slice(_GROUP)
    if held.num_rows:
        yield held


def _csv(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
