"""Which part of a picture is read: its center, a box that the table gives, or the largest face.

What was found or given of a picture is (4,) float32: left, top, right and bottom in pixels of the upright picture (its EXIF
orientation applied), before any margin; NaN where there is nothing. Right and bottom are the first pixels outside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from pandas import util

from tellapart.errors import DataError, ImageError, unknown_name
from tellapart.recipe.schema import BoxRegion, Inputs
from tellapart.types import SPLITS, ImageTable, Problem

#: Left, top, right, bottom in whole pixels.
Cut = tuple[int, int, int, int]
NOTHING = np.full(4, np.nan, dtype=np.float32)
_OUTSIDE = 0.5  # of a box may lie outside of its picture: annotators and detectors draw over the border
_OWN = frozenset({"id", "path", "label", "size", "digest", "group", "source", "split"})
_RENAMED = " of the table"  # what `scan` appends to a column whose name has another meaning here, such as `width`


def crop_box(size: tuple[int, int], inputs: Inputs, found: np.ndarray, path: str) -> Cut:
    """The part of a picture that is read.

    Args:
        size: (width, height) of the upright picture.
        inputs: With or without a region.
        found: (4,) float32, see the module; without a region it does not matter.
        path: Name for errors.

    Raises:
        ImageError: There is nothing and `missing: error`; or the box lies mostly outside of the picture.
    """
    if inputs.region is None:
        return _middle(size, inputs.keep)
    rule = inputs.region.rule
    if not np.isnan(found).any():
        return _widened(found, rule.margin, size, path)
    if rule.missing == "error":
        hint = "leave such images out, or train with `missing: whole` or `missing: center`"
        raise ImageError(path, f"no {words(inputs)}", hint=hint)
    return _middle(size, inputs.keep) if rule.missing == "center" else (0, 0, *size)


def words(inputs: Inputs) -> str:
    """What was looked for, and how: "face found", "box given"."""
    return "box given" if inputs.region and inputs.region.box else "face found"


def read_boxes(table: ImageTable, box: BoxRegion) -> tuple[np.ndarray, list[int], list[Problem]]:
    """The boxes that the columns of a table give.

    Returns:
        (N, 4) float32, NaN where all four cells are empty, or where the table has no columns at all and `missing` says what
        to do; then the rows whose cells are no box, and what is wrong with each.

    Raises:
        DataError: A column is not there; names the closest ones.
    """
    names = _columns(table, box)
    if names is None:
        return np.tile(NOTHING, (len(table), 1)), [], []
    columns = [table.frame[name] for name in names]
    texts = np.stack([column.astype(str).to_numpy(dtype=object) for column in columns], axis=1)
    values = np.stack([np.asarray(pd.to_numeric(column, errors="coerce"), np.float64) for column in columns], axis=1)
    given = (texts != "").any(axis=1)
    found = values if box.corners else np.concatenate([values[:, :2], values[:, :2] + values[:, 2:]], axis=1)
    sound = np.isfinite(found).all(axis=1) & (found[:, 2] > found[:, 0]) & (found[:, 3] > found[:, 1])
    bad = np.flatnonzero(~sound & (given | (box.missing == "error"))).tolist()
    problems = [_no_box(table, row, box, texts[row].tolist(), values[row]) for row in bad]
    found[~sound] = np.nan
    return found.astype(np.float32), bad, problems


def copy_boxes(images: ImageTable, source: ImageTable, inputs: Inputs) -> ImageTable:
    """Give changed copies of images the boxes of the originals, where inputs read boxes.

    Args:
        images: N changed copies of the same size.
        source: The N originals.
        inputs: Inputs of the classifier that predicts the images.
    """
    names = _columns(source, inputs.region.box) if inputs.region and inputs.region.box else None
    if names is None:
        return images
    return replace(images, frame=images.frame.assign(**{name: source.frame[name].to_numpy() for name in names}))


def with_regions(keys: np.ndarray, found: np.ndarray) -> np.ndarray:
    """The identity of pixels that were cut out: (N,) uint64 of images and (N, 4) float32 of regions → (N,) uint64."""
    hash_rows: Any = util.hash_pandas_object
    return keys ^ hash_rows(pd.DataFrame(found), index=False).to_numpy()


def is_found(found: np.ndarray) -> np.ndarray:
    """Whether there is a region: (N, 4) float32 → (N,) bool."""
    return np.asarray(~np.isnan(found).any(axis=1))


def region_table(table: ImageTable, found: np.ndarray) -> pd.DataFrame:
    """What a run keeps of regions: one row an image.

    Returns:
        `id`, `found` (bool), and `left`, `top`, `right`, `bottom` in pixels, before any margin; NaN where nothing was found.
    """
    columns: dict[str, Any] = {"id": table.ids, "found": is_found(found)}
    columns |= {name: found[:, place] for place, name in enumerate(("left", "top", "right", "bottom"))}
    return pd.DataFrame(columns)


def in_words(table: ImageTable, inputs: Inputs, found: np.ndarray) -> str:
    """One sentence for a run: of how many images of each part there was a region, and what was read of the others.

    Args:
        table: N rows, split or not.
        inputs: With a region.
        found: (N, 4) float32.
    """
    there = is_found(found)
    parts = table.frame["split"].to_numpy(dtype=object) if "split" in table.frame else np.full(len(table), "", dtype=object)
    counts = [(part, parts == part) for part in (*SPLITS, *sorted({*parts.tolist()} - {*SPLITS}))]
    told = [f"{there[of].sum():,} of {of.sum():,} {part}".rstrip() for part, of in counts if of.any()]
    rest = {"error": "", "whole": "the whole picture", "center": f"the center, {inputs.keep:g} of each side,"}
    other = rest[inputs.region.rule.missing] if inputs.region else ""
    said = f"{words(inputs)} in {', '.join(told)} images"
    return said + (f"; of the others {other} is read" if other and not there.all() else "")


# --- one picture ------------------------------------------------------------------------------------------------------


def _middle(size: tuple[int, int], share: float) -> Cut:
    """The middle of a picture, `share` of each side."""
    if share == 1:
        return (0, 0, *size)
    width, height = (max(round(side * share), 1) for side in size)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return left, top, left + width, top + height


def _widened(found: np.ndarray, margin: float, size: tuple[int, int], path: str) -> Cut:
    """A box with its margin, as much of it as lies in the picture; whole pixels, one at least."""
    left, top, right, bottom = map(float, found)
    inside = max(min(right, size[0]) - max(left, 0), 0) * max(min(bottom, size[1]) - max(top, 0), 0)
    if inside < _OUTSIDE * (right - left) * (bottom - top):
        shown = f"{left:g} to {right:g} across, {top:g} to {bottom:g} down"
        hint = (
            "boxes are in pixels of the upright picture; `corners: true` means that the last two columns are right and bottom"
        )
        raise ImageError(path, f"its box, {shown}, lies mostly outside of its {size[0]}×{size[1]} pixels", hint=hint)
    more = margin * max(right - left, bottom - top)
    first = [min(max(math.floor(at - more), 0), side - 1) for at, side in zip((left, top), size, strict=True)]
    last = [min(math.ceil(at + more), side) for at, side in zip((right, bottom), size, strict=True)]
    return first[0], first[1], max(last[0], first[0] + 1), max(last[1], first[1] + 1)


# --- the columns of a table -------------------------------------------------------------------------------------------


def _columns(table: ImageTable, box: BoxRegion) -> list[str] | None:
    """What the four columns are called in the table; None where it has none at all, and `missing` decides what to do then.

    Raises:
        DataError: One is not there.
    """
    there = {name.removesuffix(_RENAMED): name for name in table.frame.columns if name not in _OWN}
    absent = [name for name in box.columns if name not in there]
    if not absent:
        return [there[name] for name in box.columns]
    if not there and box.missing != "error":
        return None
    if not there:
        wanted = ", ".join(box.columns)
        hint = "give a CSV that has them; or train with inputs.region.box.missing=whole"
        raise DataError(f"{table.name}: boxes are expected in the columns {wanted}, but there are no such columns", hint=hint)
    said = unknown_name("column", absent[0], there)
    hint = "name the four: -s 'inputs.region.box.columns=[x, y, width, height]'"
    raise DataError(f"{table.name}: inputs.region.box.columns: {said}", hint=hint)


def _no_box(table: ImageTable, row: int, box: BoxRegion, cells: Sequence[str], values: np.ndarray) -> Problem:
    """Why the cells of a row are no box."""
    where, row_words = str(table.paths[row]), f"the row with the id {str(table.ids[row])!r}"
    if not any(cells):
        return Problem("bad box", where, f"no box given: in {row_words} the cells are empty")
    shown = ", ".join(f"{name} {cell!r}" for name, cell in zip(box.columns, cells, strict=True))
    wrong = [name for name, value in zip(box.columns, values, strict=True) if not np.isfinite(value)]
    ends = "right and bottom must lie beyond left and top" if box.corners else "width and height must be above 0"
    why = f"{' and '.join(wrong)} must be a number of pixels" if wrong else ends
    return Problem("bad box", where, f"{row_words} has {shown}: {why}")
