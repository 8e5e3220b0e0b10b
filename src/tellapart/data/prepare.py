"""From what a person points at to images that can be trained on: scanned, whole, split, decoded.

Strict by default: anything wrong with the data stops the work before any training, with every problem counted and the first
ones named. With `skip_bad` the rows in question are left out, and stay listed in `table.problems`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tellapart.data.cache import CorruptImages, PixelCache
from tellapart.data.decode import header
from tellapart.data.identity import identify
from tellapart.data.left_out import check_problems
from tellapart.data.reader import ImageReader
from tellapart.data.split import DuplicateGroups, find_duplicates, split, summarize_duplicates
from tellapart.errors import DataError, ImageError
from tellapart.plain_data import check_texts
from tellapart.progress import SILENT, Progress
from tellapart.recipe.schema import Inputs
from tellapart.regular_files import require_regular
from tellapart.types import SPLITS, ImageTable, Problem


@dataclass(frozen=True)
class Prepared:
    """A table with every labeled row in train, valid or test, and what was found about identical files."""

    table: ImageTable
    twins: DuplicateGroups


def prepare(
    table: ImageTable,
    *,
    seed: int = 0,
    skip_bad: bool = False,
    split_from: Path | None = None,
    progress: Progress = SILENT,
    verify_files: bool = False,
) -> Prepared:
    """Check and split a scanned table.

    Args:
        table: Of `scan`.
        seed: Of the split.
        skip_bad: Leave bad rows out instead of stopping.
        split_from: A run folder whose split is used again.
        progress: Where long work is reported.
        verify_files: See `identify`.

    Raises:
        DataError: The data have problems and `skip_bad` is not set.
        SplitError: They cannot be split.
    """
    check_problems(table, skip_bad)
    table = identify(table, progress, verify_files=verify_files)
    twins = find_duplicates(table)
    table = apply_split(table, split_from) if split_from else split(table, seed=seed, twins=twins)
    return Prepared(table, summarize_duplicates(table, twins.cluster))


def decode_all(table: ImageTable, inputs: Sequence[Inputs], cache: PixelCache, *, skip_bad: bool = False) -> ImageTable:
    """Decode a table for every distinct `inputs`, so that all classifiers see the same rows; gives the rows that remain.

    Raises:
        CorruptImages: Some cannot be decoded and `skip_bad` is not set.
        DataError: Too little remains.
    """
    for one in dict.fromkeys(inputs):
        try:
            cache.images(table, one)
        except CorruptImages as error:
            return decode_all(_leave_out(table, error, skip_bad), inputs, cache, skip_bad=True)
    return table


def check_headers(table: ImageTable, *, skip_bad: bool = False) -> ImageTable:
    """As `decode_all`, for work that reads no more of an image than its header.

    Raises:
        CorruptImages: Some are no images and `skip_bad` is not set.
        DataError: Too little remains.
    """
    rows, problems = [], []
    with ImageReader(table) as reader:
        for row, path in enumerate(table.paths):
            try:
                header(reader.get(path), str(path))
            except ImageError as error:
                rows.append(row)
                problems.append(Problem("corrupt image", error.path, error.reason))
    return _leave_out(table, CorruptImages(rows, problems), skip_bad) if rows else table


def apply_split(table: ImageTable, run: Path) -> ImageTable:
    """Give every labeled row the split that it has in a run folder: by its content, or by its id where the content is new.

    Args:
        table: Identified images.
        run: The folder.

    Raises:
        DataError: An image was not in that run, or the run keeps no digests.
    """
    require_regular(run / "split.parquet")
    check_texts(run / "split.parquet")
    old = pd.read_parquet(run / "split.parquet")
    if "digest" not in old:
        raise DataError(f"{run} was made by a development version of tellapart that kept no digests", hint="train it again")
    known = old[(old["digest"] != "") & (old["split"] != "")]
    both = set(zip(known["digest"], known["split"], strict=True))  # duplicates may lie in several given splits
    by_content = {digest: split for split in reversed(SPLITS) for digest, other in both if other == split}
    by_id = dict(zip(old["id"], old["split"], strict=True))
    found = [(digest, by_id.get(name)) for digest, name in zip(table.digests, table.ids, strict=True)]
    parts = pd.Series(
        [split if (digest, split) in both else by_content.get(digest, split) for digest, split in found], dtype=object
    )
    labeled = table.labels >= 0
    unknown = (parts.isna() | (parts == "")).to_numpy() & labeled
    if unknown.any():
        name = table.ids[np.flatnonzero(unknown)[0]]
        raise DataError(
            f"{unknown.sum():,} image{'s are' if unknown.sum() > 1 else ' is'} not in the split of {run.name}, "
            f"the first is {name!r}",
            hint="leave --split-from out to draw a new split",
        )
    return table.with_split(np.where(labeled, parts.fillna(""), "").astype(str))


def _leave_out(table: ImageTable, error: CorruptImages, skip_bad: bool) -> ImageTable:
    if not skip_bad:
        raise CorruptImages(error.rows.tolist(), error.problems, hint=CorruptImages.SKIP) from None
    table = table.without(error.rows, table.with_classes(error.rows, error.problems))
    _check_remaining(table, error)
    return table


def _check_remaining(table: ImageTable, error: CorruptImages) -> None:
    """Check that, without the corrupt images, no split has lost all images, and training no class."""
    if not len(table):
        raise DataError(f"no images are left: {error.message}")
    if "split" not in table.frame:
        return
    counts = table.split_counts()
    for part in SPLITS:
        if part not in counts:
            raise DataError(f"no images are left in the {part} split: {error.message}")
    learnt = set(table.where(split="train").labels.tolist())
    for label, name in enumerate(table.classes):
        if label not in learnt:
            raise DataError(f"no images of the class {name!r} are left to train on: {error.message}")
