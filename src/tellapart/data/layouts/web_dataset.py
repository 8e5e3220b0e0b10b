"""WebDataset: files that belong together share a name, `0001.jpg` and `0001.cls`; tars of them are shards.

The label is the text of `.cls`, a key of `.json`, or the text of `.txt`, whichever comes first; `--label-column` takes another:
`cls`, `txt`, or the key. One tar, a folder of tars, or a folder of such files. A shard called `train-0000.tar` is the
training split.
"""

from __future__ import annotations

import json
import os
import posixpath
from collections.abc import Sequence
from typing import Any, NamedTuple, final

import numpy as np

from tellapart.data.archives import ARCHIVE_ENDINGS
from tellapart.data.layouts._columns import has_columns
from tellapart.data.layouts.base import Claim, ColumnOptions, Layout, LayoutOptions, LayoutRows
from tellapart.data.layouts.table import _part_of, _stem
from tellapart.data.listing import Listing, list_archive
from tellapart.errors import DataError
from tellapart.types import Problem

_SHARDS = tuple(ending for ending in ARCHIVE_ENDINGS if ending != ".zip")
_COMPANIONS = (".cls", ".json", ".txt")
_PROBED = 64  # samples that are looked at to recognize a data set without .cls
_LONGEST = 64  # letters of a class name in a .txt


@final
class WebDataset(Layout):
    """Images with a file of the same name that holds the label, loose or in shards."""

    def claims(self, listing: Listing, options: LayoutOptions) -> Claim | None:
        """See `Layout`."""
        if options.file is not None or options.images is not None:
            return None
        if not listing.is_image.any():
            return self._claim_shards(listing, options.columns)
        if not np.isin(listing.endings, _COMPANIONS).any():
            return None
        try:
            source = _label_source(_Shard(listing), options.columns)
        except DataError as error:  # `read` raises it again, if this layout wins
            return Claim(0.3, f"Images have files of the same name, but {error.message}.")
        if not source:
            return None
        option = source.removeprefix(".")
        sure = source == ".cls" or options.columns.label_column == option
        kind = _kind(source)
        return Claim(
            0.9 if sure else 0.5, f"Images have a {kind} of the same name.", f"the {kind}s", f"--label-column {option}"
        )

    def _claim_shards(self, listing: Listing, choices: ColumnOptions) -> Claim | None:
        paths = _shard_paths(listing)
        if not paths or listing.archive:
            return None
        try:
            found = _label_source(_open(listing, paths[0]), choices)
        except DataError:  # `read` raises it again
            return Claim(0.7, f"{paths[0]} could be a shard.")
        return Claim(0.9, f"{paths[0]} holds images with labels of the same name.") if found else None

    def read(self, listing: Listing, options: LayoutOptions) -> LayoutRows:
        """See `Layout`."""
        loose = bool(listing.is_image.any())
        shards = [_Shard(listing)] if loose else [_open(listing, path) for path in _shard_paths(listing)]
        choices = options.columns
        source = next(filter(None, (_label_source(shard, choices) for shard in shards)), "")
        if not source:
            raise DataError(f"{listing.where}: no image has a .cls, .json or .txt file of the same name that holds a label")
        try:
            return _join([_samples(shard, source) for shard in shards], shards, source)
        finally:
            for shard in shards:
                if shard.listing is not listing and shard.listing.archive:
                    shard.listing.archive.close()


class _Shard(NamedTuple):
    """Where samples lie; by default the whole listing.

    Attributes:
        listing: The files.
        path: The path of the tar, relative to the root of the data; "" for the whole listing.
    """

    listing: Listing
    path: str = ""

    def locators(self, rows: np.ndarray) -> list[str]:
        """Locators relative to the root of the data."""
        found = self.listing.locators(rows)
        return [f"{self.path}::{locator.partition('::')[2]}" for locator in found] if self.path else found


class _Samples(NamedTuple):
    """The images of a shard."""

    rows: np.ndarray  # (N,) int64, in its listing
    labels: list[str | None]
    problems: list[Problem]


def _shard_paths(listing: Listing) -> list[str]:
    return [path for path in listing.paths if path.lower().endswith(_SHARDS)]


def _open(listing: Listing, path: str) -> _Shard:
    return _Shard(list_archive(os.path.join(listing.root, path)), path)  # noqa: PTH118


def _companions(listing: Listing) -> dict[tuple[int, str], dict[str, int]]:
    """(folder, name without its ending) → ending → row, of files that may hold labels."""
    found: dict[tuple[int, str], dict[str, int]] = {}
    for row in np.flatnonzero(np.isin(listing.endings, _COMPANIONS)).tolist():
        key = int(listing.folder[row]), listing.names[row].rpartition(".")[0]
        found.setdefault(key, {})[listing.endings[row]] = row
    return found


def _label_source(shard: _Shard, choices: ColumnOptions) -> str:
    """What holds the labels: ".cls", ".txt", or a key of the JSON files; "" when nothing does.

    Raises:
        DataError: Two keys could be the label.
    """
    listing, companions, chosen = shard.listing, _companions(shard.listing), choices.label_column
    if not any(".cls" in of for of in companions.values()) and len(companions) < listing.is_image.sum() / 2:
        return ""
    keys = [
        (int(listing.folder[row]), listing.names[row].rpartition(".")[0]) for row in np.flatnonzero(listing.is_image).tolist()
    ]
    files = [companions[key] for key in keys if key in companions]
    for ending in (".cls", ".txt"):
        if any(ending in of for of in files) and (f".{chosen}" == ending or (chosen is None and ending == ".cls")):
            return ending
    names: dict[str, None] = {}
    for of in [of for of in files if ".json" in of][:_PROBED]:
        names |= dict.fromkeys(_object(listing, of[".json"]))
    if chosen is not None:
        return chosen if chosen in names else ""
    found = [name for name in names if name == "cls" or has_columns(["id", name], ColumnOptions())]
    if len(found) > 1:
        raise DataError(
            f"{listing.where}: the label could be the JSON key {' or '.join(map(repr, found))}",
            hint=f"choose one: --label-column {found[0]}",
        )
    texts = [_text(listing, of[".txt"]) for of in files if ".txt" in of][:_PROBED]
    return found[0] if found else ".txt" if texts and all(map(_is_class_name, texts)) and _repeat(texts) else ""


def _kind(source: str) -> str:
    return f"{source} file" if source in (".cls", ".txt") else f".json file with {source!r}"


def _repeat(texts: Sequence[str | None]) -> bool:
    """Whether texts repeat as class names do, and captions do not."""
    return len(set(texts)) <= max(2, len(texts) // 2)


def _is_class_name(text: str) -> bool:
    """Whether a text could be a class name: one short line, not the numbers of a box."""
    numbers = sum(word.lstrip("-").replace(".", "", 1).isdigit() for word in text.split())
    return 0 < len(text) <= _LONGEST and "\n" not in text and numbers <= 1


def _samples(shard: _Shard, source: str) -> _Samples:
    """The images of a shard and their labels, None where there is none."""
    listing, companions = shard.listing, _companions(shard.listing)
    ending = source if source in (".cls", ".txt") else ".json"
    rows: list[int] = []
    labels: list[str | None] = []
    problems: list[Problem] = []
    seen: dict[tuple[int, str], int] = {}
    for row in np.flatnonzero(listing.is_image).tolist():
        key = int(listing.folder[row]), listing.names[row].rpartition(".")[0]
        main = key[0], key[1].partition(".")[0]
        place = shard.locators(np.array([row]))[0] if shard.path else listing.paths[row]
        if key not in companions and main != key and main in companions:
            problems.append(
                Problem("other file", place, f"not used: it belongs to the sample {main[1]!r} but is not its image")
            )
        elif key in seen:
            problems.append(Problem("ambiguous file", place, f"the sample {key[1]!r} has another image, which is used"))
        elif listing.sizes[row] == 0:
            problems.append(Problem("empty file", place, "the file has no bytes"))
        else:
            seen[key] = row
            rows.append(row)
            labels.append(_label(listing, companions.get(key, {}).get(ending), source))
    return _Samples(np.array(rows, dtype=np.int64), labels, problems)


def _label(listing: Listing, row: int | None, source: str) -> str | None:
    """The label in a file.

    Raises:
        DataError: It is a list or an object.
    """
    if row is None:
        return None
    if listing.endings[row] != ".json":
        return _text(listing, row) or None
    value = _object(listing, row).get(source)
    if isinstance(value, (list, dict)):
        raise DataError(f"{listing.paths[row]}: {source!r} holds a list or an object, expected one text or number")
    return None if value is None or value == "" else value if isinstance(value, str) else json.dumps(value)


def _text(listing: Listing, row: int) -> str:
    try:
        return listing.read(row).decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise DataError(f"{listing.paths[row]}: not UTF-8 text") from error


def _object(listing: Listing, row: int) -> dict[str, Any]:
    try:
        found = json.loads(listing.read(row))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{listing.paths[row]}: not JSON ({error})") from error
    return found if isinstance(found, dict) else {}


def _join(samples: list[_Samples], shards: list[_Shard], source: str) -> LayoutRows:
    parts = [_part_of(_stem(shard.path)) for shard in shards]
    parts = parts if "train" in parts else [""] * len(parts)
    labels = [label for one in samples for label in one.labels]
    if source == ".txt" and not _repeat(labels):
        raise DataError(
            f"{shards[0].listing.where}: the .txt files hold {len(set(labels)):,} different texts for {len(labels):,} images: "
            "captions, not classes",
            hint="add a .cls file for each image, or write train.csv with the columns id and label",
        )
    ids: list[str] = []
    for shard, one in zip(shards, samples, strict=True):
        head = f"{posixpath.splitext(shard.path)[0]}/" if shard.path else ""
        ids += [head + shard.listing.paths[row].rpartition(".")[0] for row in one.rows.tolist()]
    locators = [name for shard, one in zip(shards, samples, strict=True) for name in shard.locators(one.rows)]
    first = shards[0].path or shards[0].listing.where.rpartition("/")[2]
    where = f"{len(shards):,} shards" if len(shards) > 1 else first
    return LayoutRows(
        ids=ids,
        locators=locators,
        class_names=np.array(labels, dtype=object),
        sizes=np.concatenate([shard.listing.sizes[one.rows] for shard, one in zip(shards, samples, strict=True)]),
        where=lambda row: locators[row],
        layout=f"WebDataset. {where}: {len(ids):,} images, label: {_kind(source)} of the same name.",
        problems=[problem for one in samples for problem in one.problems],
        split=np.concatenate([np.full(len(one.rows), part, dtype=object) for part, one in zip(parts, samples, strict=True)]),
    )
