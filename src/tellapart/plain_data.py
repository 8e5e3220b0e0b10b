"""JSON, YAML and parquet of others, bounded: size, depth, finite numbers, plain values only, what a column unpacks to."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tellapart.errors import RunError
from tellapart.regular_files import IrregularFileError, read_text

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_LARGE = 64 << 20  # bytes: what is smaller does no harm
_BOMB = 200  # × its packed size; photographs hardly shrink, tables some 10 ×, deflate can do 1,032 ×
_CELL = 1_000  # bytes of a cell: equal texts of usual length take nearly no space in a file
_BATCH = 256 << 20  # bytes of a column that are unpacked at once

#: Largest JSON file that is read, in bytes: `data.json` lists each bad row, some 150 bytes each.
LARGEST_JSON = 64 << 20


#: Largest YAML file that is read, in bytes: recipes have some 2,000, and YAML is parsed slowly.
LARGEST_YAML = 1 << 18


def read_json(path: Path, limit: int = LARGEST_JSON) -> Any:
    """Read JSON of a regular file.

    Args:
        path: The file.
        limit: Maximum number of bytes.

    Raises:
        RunError: The file is missing, no regular file, larger than `limit`, not JSON, nested too deeply, or it holds a number
            that is not finite; the message names it.
    """
    try:
        return parse_json(read_text(path, limit))
    except IrregularFileError as error:
        raise RunError(error.message) from error
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read as JSON ({error})") from error


def parse_json(text: str) -> Any:
    """Parse JSON whose numbers are all finite.

    Raises:
        ValueError: It is not JSON, nested too deeply, or holds NaN, infinity or a number that overflows, such as 1e999.
    """
    try:
        return json.loads(text, parse_float=_finite, parse_constant=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is not a finite number")
    return number


class _PlainLoader(yaml.SafeLoader):
    """Plain values only: no tags of its own, and no aliases, by which a few lines stand for gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse aliases (`*name`)."""
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)


def read_yaml(path: Path, limit: int = LARGEST_YAML) -> Any:
    """Read the YAML of a regular file: plain values, without tags or aliases.

    Raises:
        RunError: The file is missing, no regular file, larger than `limit`, not YAML, or nested too deeply.
    """
    try:
        return yaml.load(read_text(path, limit), _PlainLoader)
    except IrregularFileError as error:
        raise RunError(error.message) from error
    except RecursionError:
        raise RunError(f"{path}: cannot be read as YAML (nested too deeply)") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise RunError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())})") from error


def refuse_bomb(packed: int, unpacked: int, cells: int = 0) -> None:
    """Refuse what unpacks to far more than photographs or tables do.

    Args:
        packed: Bytes in the file.
        unpacked: Bytes in memory.
        cells: Number of cells of a table that they are.

    Raises:
        ValueError: It does.
    """
    if unpacked > max(_LARGE, _BOMB * packed, _CELL * cells):
        raise ValueError(f"{packed:,} bytes that unpack to {unpacked:,}: a decompression bomb?")


def read_column(
    file: pq.ParquetFile, column: str, group: int, convert: Callable[[pa.Table], pa.ChunkedArray]
) -> Iterator[pa.Array]:
    """Read a column of one row group of a parquet file in batches, and count what they unpack to.

    The footer states the size of a column before a dictionary or common beginnings are applied, so a file of 50 KB can
    unpack to many GB. A value is no longer than what its column takes before that, which bounds each batch.

    Args:
        file: The file.
        column: A column, or a field of a nested one ("image.bytes").
        group: Number of the row group.
        convert: Turns a table of this column into its values, which may be those of a dictionary.

    Raises:
        ValueError: The column unpacks to far more than photographs or tables do.
    """
    import pyarrow as pa

    rows = file.metadata.row_group(group)
    chunks = [chunk for i in range(rows.num_columns) if _is_part((chunk := rows.column(i)).path_in_schema, column)]
    packed, stated = (sum(getattr(c, f"total_{kind}_size") for c in chunks) for kind in ("compressed", "uncompressed"))
    refuse_bomb(packed, stated, rows.num_rows)
    size, unpacked = max(1, min(rows.num_rows, _BATCH // max(1, stated))), 0
    for batch in file.iter_batches(size, row_groups=[group], columns=[column]):
        values = convert(pa.Table.from_batches([batch]))
        values = values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values
        unpacked += values.nbytes
        refuse_bomb(packed, unpacked, rows.num_rows)
        yield from values.chunks


def check_texts(path: Path) -> None:
    """Check what the texts of a parquet file of a run unpack to, before all of them are read.

    Raises:
        RunError: They unpack to far more than names do, or the file is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            texts = [field.name for field in file.schema_arrow if not pa.types.is_primitive(field.type)]
            for name, group in itertools.product(texts, range(file.num_row_groups)):
                for _ in read_column(file, name, group, lambda table: table.column(0)):
                    pass
    except Exception as error:  # pyarrow raises nearly anything for damaged files
        raise RunError(f"{path}: cannot be read ({' '.join(str(error).split())[:200]})") from error


def _is_part(path: str, column: str) -> bool:
    return path == column or path.startswith(f"{column}.")
