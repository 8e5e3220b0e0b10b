"""Locators: how a table names an image, relative to its root.

a/b.png                   a loose file
a.zip::x/y.png            a member of an archive
p.parquet#17              row 17 of a parquet table
images-idx3-ubyte.gz#17   image 17 of an IDX file
a.npz::x_train.npy#17     image 17 of a NumPy array
a.zip::p.parquet#17       a row of a file in an archive
memory#17                 row 17 of `ImageTable.memory`
./x.zip::y/z.png          a loose file whose path would be read as one of these
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tellapart.data.archives import ARCHIVE_ENDINGS, NPZ_ENDING

_LOOSE = "./"
_ENDINGS = "|".join(re.escape(ending) for ending in sorted((*ARCHIVE_ENDINGS, NPZ_ENDING), key=len, reverse=True))
_ARCHIVE = re.compile(rf"(.+?(?:{_ENDINGS}))::(.*)\Z", re.IGNORECASE | re.DOTALL)
_ROW = re.compile(r"(memory|.+\.parquet|.+\.pq|.+\.npy|.+ubyte(?:\.gz)?)#(\d+)\Z", re.IGNORECASE | re.DOTALL)


class Locator(NamedTuple):
    """A locator taken apart."""

    archive: str  # "" for files that are not in an archive
    file: str
    row: int | None  # for files that hold many images


def parse_locator(locator: str) -> Locator:
    """Take a locator apart.

    >>> parse_locator("d/a.zip::p.parquet#3")
    Locator(archive='d/a.zip', file='p.parquet', row=3)
    >>> parse_locator("photos::2024/a#1.png")
    Locator(archive='', file='photos::2024/a#1.png', row=None)
    >>> parse_locator("./x.zip::y/1.png")
    Locator(archive='', file='x.zip::y/1.png', row=None)
    """
    if locator.startswith(_LOOSE):
        return Locator("", locator.removeprefix(_LOOSE), None)
    inside = _ARCHIVE.match(locator)
    archive, file = inside.groups() if inside else ("", locator)
    row = _ROW.match(file)
    return Locator(archive, row.group(1), int(row.group(2))) if row else Locator(archive, file, None)


def loose_locator(path: str) -> str:
    """The locator of a loose file.

    >>> loose_locator("a/b.png"), loose_locator("x.zip::y/b.png"), loose_locator("p.parquet#1")
    ('a/b.png', './x.zip::y/b.png', './p.parquet#1')
    """
    return _LOOSE + path if ("::" in path or "#" in path) and parse_locator(path) != ("", path, None) else path
