"""The tables, logs and weights of a run folder, each checked before it is believed: by its header, then by its content."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd

from tellapart.data.archives import is_safe
from tellapart.data.locator import parse_locator
from tellapart.errors import RunError
from tellapart.plain_data import LARGEST_JSON, check_texts, parse_json
from tellapart.regular_files import IrregularFileError, read_text, require_regular
from tellapart.runs._fields import Fields
from tellapart.types import Predictions

#: Most cells of a parquet file: 4 GiB as float32.
MOST_CELLS = 1 << 30
_REGIONS = {"id": "text", "found": "bool"}
_SPLIT = {"id": "text", "path": "text", "label": "int", "size": "int"}
_LARGEST_PARQUET = 8 << 30


def require_file(path: Path, limit: int) -> None:
    """Check that a file of a run is a regular one.

    Raises:
        RunError: It is missing, no regular file, or larger than `limit` bytes.
    """
    try:
        require_regular(path, limit)
    except IrregularFileError as error:
        raise RunError(error.message) from error
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror or error})") from error


def check_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a training log; none where there is no log.

    Raises:
        RunError: A line is damaged.
    """
    if not os.path.lexists(path):
        return []
    found = []
    require_file(path, LARGEST_JSON)
    try:
        for number, line in enumerate(read_text(path, LARGEST_JSON).splitlines(), 1):
            fields = Fields(path, parse_json(line), f"line {number}")
            fields.number("epoch", 0, 1e9)
            for name, value in fields.content.items():
                if name.endswith(("loss", "accuracy", "seconds")):
                    fields.number(name, optional=True)
                elif not isinstance(value, str | int | float | bool | None):
                    fields.refuse(name, "a number or a text", value)
            found.append(fields.content)
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read as JSON lines ({error})") from error
    return found


def read_predictions(path: Path, classes: tuple[str, ...]) -> Predictions:
    """Stored predictions of a run.

    Raises:
        RunError: The file is damaged, has other classes, ids that occur twice, labels without a class, or probabilities that
            are not finite or do not sum to 1.
    """
    kinds = {"id": "text", "label": "int"} | {f"p.{name}": "float" for name in classes}
    _check_parquet(path, kinds)
    check_texts(path)
    try:
        found = Predictions.from_parquet(path)
    except Exception as error:  # pyarrow and pandas raise nearly anything for damaged files
        raise _unreadable(path, error) from error
    if found.classes != classes:
        raise RunError(f"{path}: expected the classes {', '.join(classes[:5])}, found {', '.join(found.classes[:5])}")
    if len(found) and not -1 <= found.labels.min() <= found.labels.max() < len(classes):
        raise RunError(f"{path}: label: expected numbers from −1 to {len(classes) - 1}")
    if len(found) and (found.proba.min() < 0 or len(set(found.ids)) != len(found)):
        raise RunError(f"{path}: expected probabilities of at least 0 and each id once")
    return found


def check_split(path: Path) -> None:
    """Check the columns and the number of rows of `split.parquet` by its footer; errors as of `read_split`."""
    _check_parquet(path, _SPLIT)


def read_split(path: Path, classes: int) -> pd.DataFrame:
    """The images of a run, of which ids occur once and labels have a class.

    Raises:
        RunError: The file is damaged.
    """
    _check_parquet(path, _SPLIT)
    check_texts(path)
    try:
        frame = pd.read_parquet(path).astype({"id": object, "path": object})
    except Exception as error:  # as above
        raise _unreadable(path, error) from error
    labels = frame["label"].to_numpy()
    if len(frame) and not -1 <= labels.min() <= labels.max() < classes:
        raise RunError(f"{path}: label: expected numbers from −1 to {classes - 1}")
    if not frame["id"].is_unique:
        raise RunError(f"{path}: id: expected each id once")
    outside = [name for name in frame["path"] if not all(map(is_safe, parse_locator(name)[:2]))]
    if outside:
        raise RunError(f"{path}: path: expected paths inside the folder of the images, found {outside[0]!r}")
    return frame


def read_regions(path: Path) -> pd.DataFrame | None:
    """The regions of the images of a run, see `data.regions.region_table`; None if the run reads whole images.

    Raises:
        RunError: The file is damaged.
    """
    if not os.path.lexists(path):
        return None
    _check_parquet(path, _REGIONS)
    check_texts(path)
    try:
        frame = pd.read_parquet(path).astype({"id": object})
    except Exception as error:  # as above
        raise _unreadable(path, error) from error
    if not frame["id"].is_unique:
        raise RunError(f"{path}: id: expected each id once")
    return frame


def _check_parquet(path: Path, kinds: dict[str, str]) -> None:
    """Check columns and numbers of rows by the footer, before a cell is read.

    Ids occur once each, so a file cannot have more rows than bytes.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    require_file(path, _LARGEST_PARQUET)
    try:
        with pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
    except Exception as error:  # as above
        raise _unreadable(path, error) from error
    is_kind = {"text": (pa.types.is_string, pa.types.is_large_string), "int": (pa.types.is_integer,)}
    is_kind |= {"float": (pa.types.is_floating,), "bool": (pa.types.is_boolean,)}
    for name, kind in kinds.items():
        if name not in schema.names or not any(test(schema.field(name).type) for test in is_kind[kind]):
            found = f"{schema.field(name).type}" if name in schema.names else "no such column"
            if not (rows == 0 and kind == "text" and name in schema.names):
                raise RunError(f"{path}: column {name}: expected {kind}, found {found}")
    if rows > path.stat().st_size or rows * len(schema.names) > MOST_CELLS:
        raise RunError(f"{path}: expected at most as many rows as bytes and {MOST_CELLS:,} cells, found {rows:,} rows")


def check_tensors(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors of a safetensors file, from its header, which must fit the size of the file.

    Raises:
        RunError: The file is damaged or no regular file.
    """
    from safetensors import safe_open

    require_file(path, 1 << 40)
    try:
        with safe_open(path, framework="np") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except Exception as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> RunError:
    return RunError(f"{path}: cannot be read ({' '.join(str(error).split())[:200]})")
