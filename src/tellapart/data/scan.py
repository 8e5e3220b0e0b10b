"""Read a data set: list its files, choose the layout, read the rows, build the table. No image is decoded.

    files ── every layout claims ──► the surest reads ──► LayoutRows (class names) ──► numbered, checked ──► ImageTable

The layouts are plug-ins (`data/layouts`, one file each). Rows that cannot be used are left out, each named in
`table.problems`; an error that makes all of the data unusable is a DataError.
"""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from tellapart import registry
from tellapart.data.archives import NPZ_ENDING, is_archive
from tellapart.data.class_names import difference, guess_positive, look_alikes
from tellapart.data.file_kinds import refuse_address
from tellapart.data.folder_walk import IMAGE_ENDINGS, ending_of, path_kind
from tellapart.data.layouts._aliases import order_classes
from tellapart.data.layouts._csv import TABLE_ENDINGS
from tellapart.data.layouts.base import Claim, ColumnOptions, Layout, LayoutOptions, LayoutRows
from tellapart.data.layouts.image_folder import JSON_LINES
from tellapart.data.layouts.lists import LIST_ENDINGS
from tellapart.data.listing import Listing, list_archive, list_file, list_files, list_folder
from tellapart.data.memory import from_arrays, from_bytes
from tellapart.data.unused_files import unused_files
from tellapart.errors import DataError, NoLabelsError, unknown_name
from tellapart.io import expand
from tellapart.types import UNLABELED, ImageTable, Problem

__all__ = ["from_arrays", "from_bytes", "scan"]

_EXPECTED = "a folder, an archive, a table, a list or a parquet file of labeled images"


def scan(
    path: str | Path,
    *,
    images: str | Path | None = None,
    id_column: str | None = None,
    label_column: str | None = None,
    group: str | None = None,
    split_column: str | None = None,
    unlabeled: str | None = None,
    positive: str | None = None,
    least: int = 2,
) -> ImageTable:
    """Read a set of labeled images.

    Args:
        path: A folder, an archive, a CSV or TSV, a list, JSON lines, a parquet file, an `.npz`, or shards (`a-{000..009}.tar`).
        images: Where the images of a CSV lie, when that is not the folder beside it: a folder or an archive.
        id_column: The column of the table that names the image.
        label_column: The column that names its class; or "folder", "first-folder", "last-folder" for the names of folders.
        group: The column whose rows must stay in one split ("source" works for folders too).
        split_column: The column that holds the splits; `COLUMN=VALUE`: the rows of that value are the test split; "none": no
            column and no folder does. Left out: a column called `split`, `subset`, `is_test`, …, if all its cells are clear.
        unlabeled: A text in the label column that means "no label", such as "NA" or "-1".
        positive: The class that counts as positive when there are two; left out: "fake", "edited", … by name.
        least: Smallest number of classes; for evaluation alone, one is enough.

    Returns:
        The table. Without a labeled validation or test split it has no `split` column.

    Raises:
        DataError: The data cannot be used; says what was expected and found, where, and what to do.
    """
    if not str(path):
        raise DataError("the path of the data is empty", hint=f"give {_EXPECTED}")
    refuse_address(str(path), _EXPECTED)
    listing, file = _list(_absolute(path))
    elsewhere = None if images is None else _list_images(_absolute(images))
    options = LayoutOptions(ColumnOptions(id_column, label_column, group, split_column, unlabeled), elsewhere, file)
    layout, others = choose_layout(listing, options)
    found = layout.read(listing, options)
    found = replace(found, notes=[*found.notes, *others])
    pictures = listing if elsewhere is None else elsewhere
    return replace(_assemble(found, pictures, positive, group, least), name=os.path.basename(_absolute(path)))  # noqa: PTH119


def choose_layout(listing: Listing, options: LayoutOptions) -> tuple[Layout, list[str]]:
    """The layout that is surest of a listing, and what else could hold labels.

    Raises:
        DataError: No layout claims it, or two are equally sure.
    """
    layouts: list[Layout] = [registry.find("layouts", name)() for name in registry.names("layouts")]
    claims = [(claim, layout) for layout in layouts if (claim := layout.claims(listing, options)) is not None]
    if not claims:
        raise _nothing(listing) if options.file is None else _not_a_data_set(f"{listing.root}/{options.file}")
    claims.sort(key=lambda pair: -pair[0].certainty)
    best, layout = claims[0]
    if len(claims) > 1 and claims[1][0].certainty == best.certainty:
        raise _several_sources(listing, [claim for claim, _ in claims if claim.certainty == best.certainty])
    used = set(best.source.split(" and "))  # a file that another layout would read in another way is used all the same
    others = [claim for claim, _ in claims[1:] if claim.source and used.isdisjoint(claim.source.split(" and "))]
    return layout, [_other_labels(claim) for claim in others]


def _several_sources(listing: Listing, claims: list[Claim]) -> DataError:
    reasons = " ".join(claim.reason for claim in claims)
    choices = " or ".join(f"{claim.option} (from {claim.source})" for claim in claims if claim.option)
    return DataError(
        f"{listing.where}: the labels could be in {' or in '.join(claim.source for claim in claims)}. {reasons}",
        hint=f"choose one: {choices}",
    )


def _other_labels(claim: Claim) -> str:
    choose = f"; to use it: {claim.option}" if claim.option else ""
    return f"Not used: {claim.source} could hold labels too{choose}."


def _absolute(path: str | Path) -> str:
    """Absolute, without `..`, links kept as they are (`Path.resolve` would follow them, `Path.absolute` keeps `..`)."""
    return os.path.abspath(expand(path))  # noqa: PTH100


def _list(top: str) -> tuple[Listing, str | None]:
    """The files to read, and the name of the one file that the path names, if it is not an archive."""
    kind = path_kind(top)
    if not kind:
        shards = expand_braces(top)
        if len(shards) > 1:
            return _list_shards(shards), None
        raise DataError(f"{top}: not found", hint=f"give {_EXPECTED}")
    if kind == "folder":
        return list_folder(top), None
    if is_archive(top) or top.lower().endswith(NPZ_ENDING):
        return list_archive(top), None
    folder, name = os.path.split(top)
    if ending_of(name) in IMAGE_ENDINGS:
        raise _not_a_data_set(top)
    whole = ending_of(name) in (*TABLE_ENDINGS, *LIST_ENDINGS, JSON_LINES)
    return list_folder(folder) if whole else list_file(top), name


def expand_braces(text: str) -> list[str]:
    """The names that a pattern of shards stands for, as a shell expands it.

    >>> expand_braces("a-{08..10}.tar"), expand_braces("{train,val}.tar")
    (['a-08.tar', 'a-09.tar', 'a-10.tar'], ['train.tar', 'val.tar'])
    """
    found = _BRACES.search(text)
    if found is None:
        return [text]
    first, last = found["first"], found["last"]
    inside = (
        [f"{number:0{len(first)}d}" for number in range(int(first), min(int(last), int(first) + _MOST_SHARDS) + 1)]
        if first
        else found["words"].split(",")
    )
    ends = expand_braces(text[found.end() :])
    return [text[: found.start()] + one + end for one in inside for end in ends]


_BRACES = re.compile(r"\{(?:(?P<first>\d+)\.\.(?P<last>\d+)|(?P<words>[^{}]*,[^{}]*))\}")
_MOST_SHARDS = 100_000


def _list_shards(paths: list[str]) -> Listing:
    lost = [path for path in paths if path_kind(path) != "file"]
    if lost:
        more = f" and {len(lost) - 1:,} more of {len(paths):,} shards" if len(lost) > 1 else ""
        raise DataError(f"{lost[0]}{more}: not found", hint="name only shards that are there, or give their folder")
    return list_files(paths)


def _not_a_data_set(top: str) -> DataError:
    folder, name = os.path.split(top)
    what = "one image" if ending_of(name) in IMAGE_ENDINGS else f"a file with the ending {ending_of(name)!r}"
    return DataError(f"{top}: expected {_EXPECTED}; this is {what}", hint=f"give the folder: {folder}")


def _list_images(top: str) -> Listing:
    """The files of `--images`."""
    if path_kind(top) not in ("folder", "") and not is_archive(top):
        raise DataError(f"--images {top}: expected a folder or an archive")
    return _list(top)[0]


def _assemble(found: LayoutRows, pictures: Listing, positive: str | None, group: str | None, least: int) -> ImageTable:
    """Number the classes, leave out rows whose label is missing or unknown, build the table."""
    _check_ids(found)
    found = _composed(found)
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
        "group": found.source if group == "source" and found.group is None else found.group,
        "source": found.source,
        "split": _split(found.split, labeled),
    }
    columns |= {f"{name} of the table" if name in (*columns, *_RESERVED) else name: of for name, of in found.more.items()}
    unknown, lacking = labels == _UNKNOWN, _lacking(found.split, labeled)
    keep = ~(unknown | lacking)
    frame = pd.DataFrame({k: pd.Series(v[keep], dtype=v.dtype) for k, v in columns.items() if v is not None})
    return ImageTable(
        frame,
        classes,
        pictures.root if found.root is None else found.root,
        positive=_positive(positive, classes),
        problems=(
            *pictures.problems,
            *found.problems,
            *_label_problems(found, lacking, unknown, classes),
            *_look_alike_problems(found, classes),
            *unused_files(found, pictures),
        ),
        layout=found.layout,
        notes=tuple(found.notes),
    )


def _composed(found: LayoutRows) -> LayoutRows:
    """Class names in one Unicode form: an é may be one code point or two, and nobody can see which."""
    names = found.class_names.tolist()
    forms: dict[str | None, str | None] = {name: name and unicodedata.normalize("NFC", name) for name in set(names)}
    written = Counter(forms.values())
    notes = [
        f"The class {name!r} is written in {count} Unicode forms, which look alike: they are read as one class."
        for name, count in sorted((name, count) for name, count in written.items() if name is not None and count > 1)
    ]
    composed = np.array([forms[name] for name in names], dtype=object)
    return replace(found, class_names=composed, notes=(*found.notes, *notes))


_RESERVED = ("digest", "format", "mode", "width", "height", "pixels")  # what is read off the images
_UNKNOWN = -2  # the number of a class that does not occur in training, until its rows are left out


def _check_ids(found: LayoutRows) -> None:
    if len(set(found.ids)) == len(found.ids):
        return
    first: dict[str, int] = {}
    for row, name in enumerate(found.ids):
        if name in first:
            raise DataError(f"{found.where(row)}: duplicate id {name!r}, which is already in {found.where(first[name])}")
        first[name] = row


def _lacking(split: np.ndarray, labeled: np.ndarray) -> np.ndarray:
    """Rows that should have a label: in the training split, or in a split where other rows have one. (N,) bool."""
    lacking = ~labeled
    for part in ("valid", "test"):
        here = split == part
        if not labeled[here].any():
            lacking &= ~here
    return lacking


def _label_problems(found: LayoutRows, lacking: np.ndarray, unknown: np.ndarray, classes: tuple[str, ...]) -> list[Problem]:
    """Rows without a label, and rows of a class that is not trained."""
    why = {
        name: f"the class {name!r} does not occur in the training split" for name in set(found.class_names[unknown].tolist())
    }
    for name in why:
        alike = next((trained for trained in classes if look_alikes((trained, name))), None)
        why[name] += f", but {alike!r} does" if alike else ""
    return [
        Problem("unlabeled row", found.where(row), "it has no label")
        if lacking[row]
        else Problem("unknown label", found.where(row), why[found.class_names[row]], str(found.class_names[row]))
        for row in np.flatnonzero(lacking | unknown).tolist()
    ]


def _look_alike_problems(found: LayoutRows, classes: tuple[str, ...]) -> list[Problem]:
    """Classes whose names a reader takes for one."""
    problems = []
    for group in look_alikes(classes):
        rows = {name: np.flatnonzero(found.class_names == name) for name in group}
        named = " and ".join(f"{name!r} ({len(of):,} image{'s' if len(of) > 1 else ''})" for name, of in rows.items())
        why = f"the classes {named} differ only in {difference(group)}; if they are one class, write the name in one way"
        problems.append(Problem("look-alike classes", found.where(int(max(of[0] for of in rows.values()))), why))
    return problems


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
    hint = f"the data were read as: {found.layout}"
    problems = [*listing.problems, *found.problems]
    if problems:
        hint += f" Left out: {len(problems):,}, the first: {problems[0]}"
    if not classes:
        return NoLabelsError(f"{listing.where}: no image has a label", hint=hint)
    labeled = sum(name is not None for name in found.class_names.tolist())
    others = f" ({len(found.ids) - labeled:,} others have no label)" if labeled < len(found.ids) else ""
    return DataError(
        f"{listing.where}: only one class, {classes[0]!r}, with {labeled:,} images{others}; at least two classes are needed",
        hint=hint,
    )


def _nothing(listing: Listing) -> DataError:
    kinds = Counter(listing.endings.tolist()).most_common(5)
    there = ", ".join(f"{n:,} {ending or 'without ending'}" for ending, n in kinds)
    archives = [path for path in listing.paths if is_archive(path)]
    hint = f"give {_EXPECTED}"
    if archives and listing.archive:
        hint = f"unpack {listing.where} first, then give the archive of the labeled images among {', '.join(archives[:3])}"
    elif archives:
        hint = f"give the archive itself: {posixpath.join(listing.root, archives[0])}"
        hint += f", or one of {len(archives) - 1:,} more" if len(archives) > 1 else ""
    found = f"files there: {there}" if there else "it is empty"
    return DataError(f"{listing.where}: no images in it ({found})", hint=hint)
