"""Tables of a run folder: what their texts unpack to is checked before they are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tellapart.errors import RunError
from tellapart.runs.stored_tables import read_predictions, read_regions, read_split

ROWS = 100
READERS: dict[str, Callable[[Path], object]] = {
    "split": lambda path: read_split(path, 2),
    "predictions": lambda path: read_predictions(path, ("a", "b")),
    "regions": read_regions,
}


def _table(more: object) -> pa.Table:
    """A table that every reader takes, with a further column of texts."""
    names = [f"{row}.png" for row in range(ROWS)]
    columns = {"id": names, "path": names, "label": [0] * ROWS, "size": [1] * ROWS, "found": [True] * ROWS}
    return pa.table(columns | {"p.a": [1.0] * ROWS, "p.b": [0.0] * ROWS, "group": more})


@pytest.mark.parametrize("reader", READERS)
def test_a_text_that_all_rows_share_is_counted_for_each(tmp_path: Path, reader: str) -> None:
    shared = pa.DictionaryArray.from_arrays(pa.array([0] * ROWS, pa.int32()), pa.array(["x" * 2**20]))
    pq.write_table(_table(shared), tmp_path / "t.parquet", store_schema=False)
    assert (tmp_path / "t.parquet").stat().st_size < 2**18
    with pytest.raises(RunError, match=r"t\.parquet: cannot be read .*: a decompression bomb"):
        READERS[reader](tmp_path / "t.parquet")


@pytest.mark.parametrize("reader", READERS)
def test_short_texts_are_read(tmp_path: Path, reader: str) -> None:
    pq.write_table(_table(["same"] * ROWS), tmp_path / "t.parquet")
    found = READERS[reader](tmp_path / "t.parquet")
    assert isinstance(found, pd.DataFrame) or len(found) == ROWS  # type: ignore[arg-type]
