"""What images are there and what is known of them? Nothing is decoded.

    tree of files ── IDX? tables? folders? parquet? ──► LayoutRows (class names) ──► numbered, checked ──► ImageTable

Rows that cannot be used are left out, each named in `table.problems`; what makes all of the data unusable is a
DataError.
"""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from tellapart.data.archives import ARCHIVE_ENDINGS, COMPRESSED_ENDINGS
from tellapart.data.folder_walk import IMAGE_ENDINGS, ending_of
from tellapart.data.layouts._aliases import order_classes
from tellapart.data.layouts._csv import TABLE_ENDINGS
from tellapart.data.layouts.base import ColumnOptions, LayoutRows
from tellapart.data.layouts.folders import read_folders
from tellapart.data.layouts.idx import find_idx, read_idx
from tellapart.data.layouts.table import TableFile, alone, choose_tables, find_tables, read_tables
from tellapart.data.listing import Listing, list_archive, list_file, list_folder
from tellapart.data.memory import from_arrays, from_bytes
from tellapart.errors import DataError, unknown_name
from tellapart.types import UNLABELED, ImageTable, Problem, guess_positive

__all__ = ["from_arrays", "from_bytes", "scan"]

_PARQUET_ENDINGS = (".parquet", ".pq")
_EXPECTED = "a folder, CSV, parquet file, .zip or .tar of labeled images"


def scan(
    path: str | Path,
    *,
    images: str | Path | None = None,
    id_column: str | None = None,
    label_column: str | None = None,
    group: str | None = None,
    positive: str | None = None,
    least: int = 2,
) -> ImageTable:
    """Understand a set of labeled images.

    Args:
        path: A folder, a CSV or TSV, a parquet file, a `.zip` or `.tar`, or a folder of IDX files.
        images: Where the images of a CSV lie, when that is not the folder beside it: a folder or an archive.
        id_column: The column of the table that names the image.
        label_column: The column that names its class.
        group: The column whose rows must stay on one side of a split ("source" works for folders too).
        positive: The class that counts as positive when there are two; left out: "fake", "edited", … by name.
        least: How many classes there must be; to be judged on, one is enough.

    Returns:
        The table. Without a labeled validation or test part it has no `split` column.

    Raises:
        DataError: The data cannot be used; says what was expected and found, where, and what to do.
    """
    choices = ColumnOptions(id_column, label_column, group)
    listing, single = _list(_absolute(path))
    pictures = listing if images is None else _list_images(_absolute(images))
    found = _understand(listing, single, pictures, choices)
    return replace(_assemble(found, pictures, positive, group, least), name=os.path.basename(_absolute(path)))  # noqa: PTH119


def _absolute(path: str | Path) -> str:
    """Absolute, without `..`, links kept as they are (`Path.resolve` would follow them, `Path.absolute` keeps `..`)."""
    return os.path.abspath(Path(path).expanduser())  # noqa: PTH100


def _list(top: str) -> tuple[Listing, str | None]:
    """The files to understand, and the name of the one table the user pointed at."""
    lower = top.lower()
    if not Path(top).exists():
        raise DataError(f"{top}: not found", hint=f"give {_EXPECTED}")
    if Path(top).is_dir():
        return list_folder(top), None
    if lower.endswith((*ARCHIVE_ENDINGS, *COMPRESSED_ENDINGS)):
        return list_archive(top), None
    folder, name = os.path.split(top)
    if lower.endswith(TABLE_ENDINGS):
        return list_folder(folder), name
    if lower.endswith(_PARQUET_ENDINGS):
        return list_file(top), None
    what = "one image" if ending_of(name) in IMAGE_ENDINGS else f"a file with the ending {ending_of(name)!r}"
    raise DataError(f"{top}: expected {_EXPECTED}; this is {what}", hint=f"give the folder: {folder}")


def _list_images(top: str) -> Listing:
    """The files of `--images`."""
    if Path(top).exists() and not (Path(top).is_dir() or top.lower().endswith(ARCHIVE_ENDINGS)):
        raise DataError(f"--images {top}: expected a folder, .zip or .tar")
    return _list(top)[0]


def _understand(listing: Listing, single: str | None, pictures: Listing, choices: ColumnOptions) -> LayoutRows:
    """Recognize the layout and read it: IDX by its names, then tables, folders, parquet."""
    if single is not None:
        table = next((table for table in find_tables(listing, "") if table.path == single), None)
        if table is None:
            raise DataError(f"{listing.where}/{single} is a hidden file", hint="rename it without the dot")
        return read_tables([alone(table)], listing, pictures, "", choices)
    if pairs := find_idx(listing):
        if any(choices) or pictures is not listing:
            raise DataError(f"{listing.where}: IDX files have no columns and no images elsewhere", hint="leave the flags out")
        return read_idx(pairs, listing)
    base = _base(listing)
    tables = find_tables(listing, base)
    if chosen := choose_tables(listing, tables, choices):
        found = read_tables(chosen, listing, pictures, base if pictures is listing else "", choices)
        return _with_unused(found, tables, chosen)
    if np.isin(listing.endings, _PARQUET_ENDINGS).any() and not listing.is_image.any():
        return _read_parquet(listing, choices)
    if pictures is not listing or choices.id_column or choices.label_column:
        raise _no_table(listing, base)
    if listing.is_image.any():
        return _read_folders(listing, choices)
    raise _nothing(listing)


def _with_unused(found: LayoutRows, tables: list[TableFile], chosen: list[TableFile]) -> LayoutRows:
    """Say which tables were not read."""
    read = {table.path for table in chosen}
    unused = [table.path for table in tables if table.path not in read]
    return replace(found, layout=f"{found.layout} Not used: {', '.join(unused)}.") if unused else found


def _read_parquet(listing: Listing, choices: ColumnOptions) -> LayoutRows:
    from tellapart.data.layouts.parquet import read_parquet

    rows = np.flatnonzero(np.isin(listing.endings, _PARQUET_ENDINGS)).tolist()
    return read_parquet(rows, listing, choices)


def _read_folders(listing: Listing, choices: ColumnOptions) -> LayoutRows:
    if choices.group not in (None, "source"):
        raise DataError(
            f"--group {choices.group}: images in class folders have no columns",
            hint="use --group source for the folders above or below the class, or write a train.csv",
        )
    found = read_folders(listing)
    if choices.group and found.source is None:
        raise DataError("--group source: there are no folders besides those of the classes")
    return replace(found, problems=[*found.problems, *_other_files(listing)])


def _other_files(listing: Listing) -> list[Problem]:
    """Files that are no images: one problem a kind, with the first as example."""
    first: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for row in np.flatnonzero(~listing.is_image).tolist():
        ending = listing.endings[row]
        counts[ending] += 1
        first.setdefault(ending, listing.paths[row])
    kinds = {ending: f"with the ending {ending}" if ending else "without an ending" for ending in counts}
    return [
        Problem("other file", first[ending], f"not used: {n:,} file{'s' if n > 1 else ''} {kinds[ending]}, no image")
        for ending, n in sorted(counts.items())
    ]


def _base(listing: Listing) -> str:
    """The folder that all files worth reading share: archives usually hold one folder with everything in it."""
    wanted = listing.is_image | np.isin(listing.endings, (*TABLE_ENDINGS, *_PARQUET_ENDINGS))
    folders = [listing.folders[i] for i in np.unique(listing.folder[wanted]).tolist()]
    return posixpath.commonpath(folders) if folders else ""


def _assemble(found: LayoutRows, pictures: Listing, positive: str | None, group: str | None, least: int) -> ImageTable:
    """Number the classes, leave out rows whose label is missing or unknown, build the table."""
    _check_ids(found)
    names = found.class_names.tolist()
    labeled = np.fromiter((name is not None for name in names), dtype=bool, count=len(names))
    trained = labeled & (found.split == "train")
    classes = order_classes(set(found.class_names[trained if trained.any() else labeled].tolist()))
    if len(classes) < least:
        raise _too_few(classes, found, pictures)
    number: dict[str | None, int] = {name: i for i, name in enumerate(classes)}
    number[None] = UNLABELED
    labels = np.fromiter((number.get(name, _UNKNOWN) for name in names), dtype=np.int64, count=len(names))
    columns = {
        "id": np.array(found.ids, dtype=object),
        "path": np.array(found.locators, dtype=object),
        "label": labels,
        "size": found.sizes,
        "stamp": found.stamps,
        "group": found.source if group == "source" and found.group is None else found.group,
        "source": found.source,
        "split": _split(found.split, labeled),
    }
    columns |= {f"{name} of the table" if name in (*columns, *_OF_HEADERS) else name: of for name, of in found.more.items()}
    unknown, lacking = labels == _UNKNOWN, _lacking(found.split, labeled)
    keep = ~(unknown | lacking)
    frame = pd.DataFrame({k: pd.Series(v[keep], dtype=v.dtype) for k, v in columns.items() if v is not None})
    return ImageTable(
        frame,
        classes,
        pictures.root,
        positive=_positive(positive, classes),
        problems=(*pictures.problems, *found.problems, *_label_problems(found, lacking, unknown)),
        layout=found.layout,
    )


_OF_HEADERS = ("format", "mode", "width", "height", "pixels")  # what slices read off the images
_UNKNOWN = -2  # the number of a class that does not occur in training, until its rows are left out


def _check_ids(found: LayoutRows) -> None:
    if len(set(found.ids)) == len(found.ids):
        return
    first: dict[str, int] = {}
    for row, name in enumerate(found.ids):
        if name in first:
            raise DataError(f"{found.where(row)}: the id {name!r} stands already in {found.where(first[name])}")
        first[name] = row


def _lacking(split: np.ndarray, labeled: np.ndarray) -> np.ndarray:
    """Rows that should have a label: in training, or in a part where others have one. (N,) bool."""
    lacking = ~labeled
    for part in ("valid", "test"):
        here = split == part
        if not labeled[here].any():
            lacking &= ~here
    return lacking


def _label_problems(found: LayoutRows, lacking: np.ndarray, unknown: np.ndarray) -> list[Problem]:
    said = "the class {!r} does not occur in the training part"
    return [
        Problem("unlabeled row", found.where(row), "it has no label")
        if lacking[row]
        else Problem("unknown label", found.where(row), said.format(found.class_names[row]))
        for row in np.flatnonzero(lacking | unknown).tolist()
    ]


def _split(split: np.ndarray, labeled: np.ndarray) -> np.ndarray | None:
    """(N,) object, or None when no labeled row belongs to validation or test; unlabeled rows have no split."""
    given = labeled & ((split == "valid") | (split == "test"))
    return np.where(labeled, split, "") if given.any() else None


def _positive(given: str | None, classes: tuple[str, ...]) -> str | None:
    if given is None:
        return guess_positive(classes)
    if given not in classes:
        raise DataError(unknown_name("class", given, classes), hint="--positive takes one of the classes")
    if len(classes) != 2:
        raise DataError(f"--positive {given}: only with two classes; there are {len(classes)}")
    return given


def _too_few(classes: tuple[str, ...], found: LayoutRows, listing: Listing) -> DataError:
    hint = f"understood as: {found.layout}"
    if found.problems:
        hint += f" Left out: {len(found.problems):,}, the first: {found.problems[0]}"
    if not classes:
        return DataError(f"{listing.where}: no image has a label", hint=hint)
    return DataError(
        f"{listing.where}: only one class, {classes[0]!r}, with {len(found.ids):,} images; at least two are needed",
        hint=hint,
    )


def _no_table(listing: Listing, base: str) -> DataError:
    return DataError(
        f"{posixpath.join(listing.where, base)}: no table with an id and a label column, to which --images, "
        "--id-column and --label-column could refer",
        hint="give the path of the CSV",
    )


def _nothing(listing: Listing) -> DataError:
    kinds = Counter(listing.endings.tolist()).most_common(5)
    there = ", ".join(f"{n:,} {ending or 'without ending'}" for ending, n in kinds)
    archives = [path for path in listing.paths if path.lower().endswith(ARCHIVE_ENDINGS)]
    return DataError(
        f"{listing.where}: no images in it ({f'files there: {there}' if there else 'it is empty'})",
        hint=f"give the archive itself: {posixpath.join(listing.root, archives[0])}" if archives else f"give {_EXPECTED}",
    )
