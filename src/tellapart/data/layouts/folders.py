"""Labels from folder names.

Three things are read off a path, a folder at a time: the split (`train/`, `Test/`, … at the first depth that has
a training folder), the class, and the source (the other folder names). When folders named "real" and "fake"
(in many words, also `0_real`, `1_fake`) occur, they are the class at whatever depth; else the first or the last folder is
(`data/layouts/_class_depth.py`).
"""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple, final

import numpy as np

from tellapart.data.layouts._aliases import normalize, parse_real_fake, parse_split
from tellapart.data.layouts._class_depth import is_last_folder
from tellapart.data.layouts.base import (
    FIRST_FOLDER,
    FOLDER,
    FOLDER_COLUMNS,
    LAST_FOLDER,
    Claim,
    Layout,
    LayoutOptions,
    LayoutRows,
)
from tellapart.data.listing import Listing
from tellapart.data.unused_files import image_kinds
from tellapart.errors import DataError, NoLabelsError
from tellapart.types import Problem


@final
class Folders(Layout):
    """One folder of images for each class."""

    def claims(self, listing: Listing, options: LayoutOptions) -> Claim | None:
        """See `Layout`."""
        if options.file is not None or options.images is not None or not listing.is_image.any():
            return None
        if options.columns.label_column in FOLDER_COLUMNS:
            return Claim(1.0, f"The label column is {options.columns.label_column}.", "the folder names")
        names = class_folders(listing)
        if len(names) < 2:
            return Claim(0.1, "There are images.")
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        reason = f"There are images in folders that could name {len(names)} classes: {shown}."
        return Claim(0.5, reason, "the folder names", f"--label-column {FOLDER}")

    def read(self, listing: Listing, options: LayoutOptions) -> LayoutRows:
        """See `Layout`."""
        group = options.columns.group
        if group not in (None, "source"):
            raise DataError(
                f"--group {group}: images in class folders have no columns",
                hint="use --group source for the folders above or below the class, or write a train.csv",
            )
        found = read_folders(listing, options.columns.label_column)
        if group and found.source is None:
            raise DataError("--group source: there are no folders besides those of the classes")
        return found


class FolderRole(NamedTuple):
    """What one folder means for the images in it."""

    split: str
    class_name: str | None  # None: no class folder
    source: str
    problem: str  # why its images are left out; "" when they are not


class _Scheme(NamedTuple):
    """How the folder names of one tree are to be read."""

    prefix: tuple[str, ...]  # leading folders that all images share
    split_depth: int | None
    real_fake: bool
    last: bool  # whether the last folder is the class; else the first is
    spelling: dict[str, str]  # for real and fake: plain name → the spelling used
    unlabeled: frozenset[str]  # splits without any class folder


def class_folders(listing: Listing) -> list[str]:
    """The class names that the folders of a tree give, sorted; where the first or the last could be it, those of the first."""
    parts, counts = _parts(listing)
    folders = [(parts[i], int(counts[i])) for i in np.flatnonzero(counts)]
    try:
        scheme = _scheme(folders, None, listing.where)
    except DataError:
        scheme = _scheme(folders, FIRST_FOLDER, listing.where)
    return sorted({name for folder, _ in folders if (name := _meaning(folder, scheme).class_name) is not None})


def _parts(listing: Listing) -> tuple[list[tuple[str, ...]], np.ndarray]:
    """The names in each folder's path, and its number of images, (F,) int64."""
    counts = np.bincount(listing.folder[listing.is_image], minlength=len(listing.folders))
    return [tuple(folder.split("/")) if folder else () for folder in listing.folders], counts


def read_folders(listing: Listing, chosen: str | None = None) -> LayoutRows:
    """Understand a tree of folders.

    Args:
        listing: The tree.
        chosen: "first-folder" or "last-folder", the folder that is the class; else it is found out.

    Raises:
        DataError: No image lies in a class folder, or the class could be the first or the last folder.
    """
    images = np.flatnonzero(listing.is_image)
    parts, counts = _parts(listing)
    scheme = _scheme([(parts[i], int(counts[i])) for i in np.flatnonzero(counts)], chosen, listing.where)
    meanings = [_meaning(part, scheme) for part in parts]
    problems = _left_out(listing, images, meanings) + _empty_classes(listing, meanings, counts)

    usable = np.fromiter((not m.problem for m in meanings), dtype=bool, count=len(meanings))
    rows = images[usable[listing.folder[images]] & (listing.sizes[images] > 0)]
    if not len(rows) or all(meanings[i].class_name is None for i in np.unique(listing.folder[rows])):
        raise _no_classes(listing, images)
    folder = listing.folder[rows]
    column = {name: np.array([getattr(m, name) for m in meanings], dtype=object)[folder] for name in FolderRole._fields}
    cut = len("/".join(scheme.prefix)) + 1 if scheme.prefix else 0
    paths = listing.paths
    ids = [paths[row][cut:] for row in rows.tolist()]
    return LayoutRows(
        ids=ids,
        locators=listing.locators(rows),
        class_names=column["class_name"],
        sizes=listing.sizes[rows],
        where=lambda row: ids[row],
        layout=_describe(scheme, meanings, counts),
        problems=problems,
        split=column["split"],
        source=column["source"] if column["source"].any() else None,
        other_files=True,
    )


def _scheme(folders: list[tuple[tuple[str, ...], int]], chosen: str | None, where: str) -> _Scheme:
    """Decide how to read the names.

    Args:
        folders: (path parts, number of images) of folders with images.
        chosen: As for `read_folders`.
        where: The tree, for messages.
    """
    prefix = _common_prefix([parts for parts, _ in folders])
    below = [(parts[len(prefix) :], count) for parts, count in folders]
    depth = _split_depth([parts for parts, _ in below])
    rest = [(parts if depth is None else parts[:depth] + parts[depth + 1 :], count) for parts, count in below]
    found_out = chosen not in (FIRST_FOLDER, LAST_FOLDER)
    real_fake = found_out and _is_real_fake(rest)
    bare = [_bare(name) for parts, _ in rest for name in parts if real_fake and parse_real_fake(name)]
    spelling = {normalize(name): name for name in reversed(bare)}  # the first spelling counts
    unlabeled = frozenset() if depth is None else _unlabeled_splits([parts for parts, _ in below], depth)
    last = chosen == LAST_FOLDER or (found_out and not real_fake and is_last_folder([parts for parts, _ in rest], where))
    return _Scheme(prefix, depth, real_fake, last, spelling, unlabeled)


def _unlabeled_splits(folders: list[tuple[str, ...]], depth: int) -> frozenset[str]:
    """Splits (not train) whose images all lie directly in the split's folder."""
    with_split = [parts for parts in folders if len(parts) > depth]
    classed = {parse_split(parts[depth]) for parts in with_split if len(parts) > 1}
    return frozenset({parse_split(parts[depth]) for parts in with_split} - classed - {"train", ""})


def _common_prefix(folders: list[tuple[str, ...]]) -> tuple[str, ...]:
    """Leading folders shared by all images, as long as a class folder remains; "real" and "fake" are never eaten."""
    prefix: list[str] = []
    while all(len(parts) > len(prefix) + 1 for parts in folders):
        names = {parts[len(prefix)] for parts in folders}
        name = next(iter(names))
        if len(names) > 1 or parse_real_fake(name):
            break
        prefix.append(name)
    return tuple(prefix)


def _split_depth(folders: list[tuple[str, ...]]) -> int | None:
    """The first depth at which a folder is called "train" and is not merely a class of that name (car, train, bus)."""
    for depth in range(max(map(len, folders), default=0)):
        names = {parts[depth] for parts in folders if len(parts) > depth}
        splits = {parse_split(name) for name in names}
        if "train" in splits and (splits != {"train", ""}):
            return depth
    return None


def _is_real_fake(folders: list[tuple[tuple[str, ...], int]]) -> bool:
    """Whether most images lie below "real" or "fake" folders, and there is no third class beside these at the top."""
    kinds: Counter[str] = Counter()
    total = 0
    for parts, count in folders:
        total += count if parts else 0
        kinds[next(filter(None, map(parse_real_fake, parts)), "")] += count if parts else 0
    if not (kinds["real"] and kinds["fake"]) or kinds["real"] + kinds["fake"] <= total / 2:
        return False
    top = {bool(parse_real_fake(parts[0])) for parts, _ in folders if parts}
    both_on_top = {parse_real_fake(parts[0]) for parts, _ in folders if parts} >= {"real", "fake"}
    return top == {True} or not both_on_top


def _meaning(parts: tuple[str, ...], scheme: _Scheme) -> FolderRole:
    """Read one folder's path."""
    if parts[: len(scheme.prefix)] != scheme.prefix:
        return FolderRole("", None, "", "lies in no class folder")
    below, split = parts[len(scheme.prefix) :], ""
    if scheme.split_depth is not None:
        depth = scheme.split_depth
        split = parse_split(below[depth]) if len(below) > depth else ""
        if not split:
            return FolderRole("", None, "", "lies in none of the folders for training, validation and test")
        below = below[:depth] + below[depth + 1 :]
    if split in scheme.unlabeled:
        return FolderRole(split, None, "/".join(below), "")
    place = _class_place(below, scheme)
    if place is None:
        return FolderRole(split, None, "", "lies in no class folder")
    name = scheme.spelling[normalize(_bare(below[place]))] if scheme.real_fake else below[place]
    return FolderRole(split, name, "/".join(below[:place] + below[place + 1 :]), "")


def _class_place(parts: tuple[str, ...], scheme: _Scheme) -> int | None:
    """Which part of a path is the class."""
    if not scheme.real_fake:
        return (len(parts) - 1 if scheme.last else 0) if parts else None
    return next(
        (i for i, name in enumerate(parts) if normalize(_bare(name)) in scheme.spelling and parse_real_fake(name)), None
    )


def _bare(name: str) -> str:
    return re.sub(r"\A[01]_", "", name)


def _left_out(listing: Listing, images: np.ndarray, meanings: list[FolderRole]) -> list[Problem]:
    """Images outside class folders, and empty files."""
    bad = np.fromiter((bool(m.problem) for m in meanings), dtype=bool, count=len(meanings))
    outside = images[bad[listing.folder[images]]]
    empty = images[~bad[listing.folder[images]] & (listing.sizes[images] == 0)]
    return [Problem("no class folder", listing.paths[row], meanings[listing.folder[row]].problem) for row in outside] + [
        Problem("empty file", listing.paths[row], "the file has no bytes", meanings[listing.folder[row]].class_name or "")
        for row in empty
    ]


def _empty_classes(listing: Listing, meanings: list[FolderRole], counts: np.ndarray) -> list[Problem]:
    """Class folders below which no image lies: named once a split and class.

    A folder of other files is no class, unless they are images that cannot be read, or the class has images elsewhere: results
    of other commands may lie in the data.
    """
    totals: Counter[tuple[str, str]] = Counter()
    folders: dict[tuple[str, str], list[int]] = {}
    for number, (meaning, count) in enumerate(zip(meanings, counts.tolist(), strict=True)):
        if meaning.class_name is not None:
            key = (meaning.split, meaning.class_name)
            totals[key] += count
            folders.setdefault(key, []).append(number)
    known = {name for (_, name), total in totals.items() if total}
    return [
        Problem("empty class", listing.folders[folders[key][0]], f"the folder of class {key[1]!r} holds no image", key[1], 0)
        for key, total in totals.items()
        if not total and (key[1] in known or _could_be_class(listing, folders[key]))
    ]


def _could_be_class(listing: Listing, folders: list[int]) -> bool:
    """Whether folders without a readable image are empty, or hold images of other formats."""
    rows = np.flatnonzero(np.isin(listing.folder, folders))
    return not len(rows) or bool(image_kinds(listing, rows))


def _no_classes(listing: Listing, images: np.ndarray) -> DataError:
    tables = [path for path in listing.paths if path.lower().endswith((".csv", ".tsv"))]
    hint = "put the images of each class into a folder of its own, or write train.csv with the columns id and label"
    return NoLabelsError(
        f"{listing.where}: {len(images):,} images but no labels: {listing.paths[images[0]]} lies in no class folder, "
        "and there is no train.csv beside them",
        hint=f"if {tables[0]} holds the labels, give its path (and --images DIR)" if tables else hint,
    )


def _describe(scheme: _Scheme, meanings: list[FolderRole], counts: np.ndarray) -> str:
    used = [m for m, count in zip(meanings, counts.tolist(), strict=True) if count and not m.problem]
    names = sorted({m.class_name for m in used if m.class_name is not None})
    listed = ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
    text = f"one folder per class ({len(names)}: {listed})"
    if scheme.last:
        text += ", the last folder of each path,"
    if scheme.split_depth is not None:
        text += " inside folders for " + ", ".join(s for s in ("train", "valid", "test") if any(m.split == s for m in used))
    if scheme.unlabeled:
        text += f"; {' and '.join(sorted(scheme.unlabeled))} images have no class folder and count as unlabeled"
    if len(sources := {m.source for m in used if m.source}):
        text += f"; the other folder names became `source` ({len(sources)})"
    return text + "."
