"""What files are called that nearly have a name: the reason why an id of a table fits no file.

Tables lose leading zeros, write whole numbers as floats, change the case of letters, and name another ending. Such a file is
named in the message, never taken.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cached_property
from typing import NamedTuple

from tellapart.data.listing import Listing

_ENDING = re.compile(r"\.[A-Za-z]\w{0,4}\Z")
_PROBED = 20  # ids that are looked at to explain why none of many fits


class NearName(NamedTuple):
    """A file whose name is nearly an id.

    Attributes:
        file: Its path.
        why: What differs: "the ids lost their leading zeros".
        remedy: What to do about it.
    """

    file: str
    why: str
    remedy: str


class NearNames:
    """The images of a listing by what is left of their names without case, leading zeros and ending."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing

    @cached_property
    def _paths(self) -> dict[str, str]:
        paths: dict[str, str] = {}
        for path, is_image in zip(self._listing.paths, self._listing.is_image.tolist(), strict=True):
            if is_image:
                paths.setdefault(_plain(path), path)
        return paths

    def of(self, name: str) -> NearName | None:
        """The file that nearly has this name; None when there is none."""
        file = self._paths.get(_plain(name))
        return None if file is None else NearName(file, *_difference(_last(name), _last(file)))

    def beside(self, name: str) -> str:
        """The end of a message on an id that fits no file: "; there is 00001.png (the ids lost their leading zeros)"."""
        near = self.of(name)
        return f"; there is {near.file} ({near.why})" if near else ""

    def explain(self, names: Iterable[str]) -> NearName | None:
        """Why none of several ids fits, from the first of them that nearly fits."""
        return next((near for _, name in zip(range(_PROBED), names, strict=False) if (near := self.of(name))), None)


def remedy(near: NearName | None, otherwise: str) -> str:
    """What to do about ids that fit no file: as the nearest file says, else `otherwise`."""
    return f"there is {near.file}: {near.why}; {near.remedy}" if near else otherwise


def _difference(name: str, file: str) -> tuple[str, str]:
    """What differs between an id and the name of a file, and what to do."""
    stem, of_file = _ENDING.sub("", name), _ENDING.sub("", file)
    whole = re.sub(r"(?<=\d)\.0+\Z", "", name)
    if whole != name and _unpadded(whole) == _unpadded(of_file):
        return "the ids are floats", f"write them as whole numbers ({of_file} for {name})"
    if stem == of_file:
        return "the ids have another ending", "leave the ending out of the ids"
    if stem.casefold() == of_file.casefold():
        return "the ids differ in upper and lower case", f"write them as the files are called ({of_file} for {stem})"
    if stem.strip() == of_file.strip():
        return "the ids have other blanks", f"write them as the files are called ({of_file} for {stem})"
    if _unpadded(stem) == _unpadded(of_file):
        if len(stem) < len(of_file):
            return "the ids lost their leading zeros", f"write them as text with all digits ({of_file} for {stem})"
        return (
            "the ids have leading zeros that the files do not have",
            f"write them as the files are called ({of_file} for {stem})",
        )
    return "the ids are written in another way", f"write them as the files are called ({of_file} for {stem})"


def _plain(name: str) -> str:
    """The last part of a path without case, blanks, ending, leading zeros of its numbers and a decimal part of zeros.

    >>> _plain("a/IMG_0007.JPG"), _plain("7.0"), _plain("00007.png"), _plain("0")
    ('img_7', '7', '7', '0')
    """
    text = unicodedata.normalize("NFC", _last(name)).strip().casefold()
    text = re.sub(r"(?<=\d)\.0+\Z", "", _ENDING.sub("", text)).strip()
    return _unpadded(text)


def _unpadded(text: str) -> str:
    """The numbers in a text without leading zeros."""
    return re.sub(r"(?<!\d)0+(?=\d)", "", text)


def _last(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]
