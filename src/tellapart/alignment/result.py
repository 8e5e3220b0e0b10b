"""What aligning did, and what it could not do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.alignment.plan import AlignOptions
from tellapart.types import Score

#: An AUROC whose interval reaches no higher is called chance.
CHANCE = 0.53
_DIFFERENT = 0.05  # between the shares of two classes
_SCALE = 1.2  # between the median areas of two classes


@dataclass(frozen=True)
class ClassResult:
    """The images of one class: what became of them.

    Attributes:
        found: How many there were.
        small: Left out, smaller than the common size.
        unreadable: Left out, corrupt.
        gray: Share of the written ones without any color.
        area: Pixels of the median source picture.
    """

    found: int
    small: int
    unreadable: int
    gray: float
    area: float

    @property
    def written(self) -> int:
        """Images in the copy."""
        return self.found - self.small - self.unreadable


@dataclass(frozen=True)
class AlignResult:
    """A copy in which files of all classes are alike.

    Attributes:
        folder: Where it lies; `tellapart compare` reads it.
        data: What a person calls the source.
        choices: What was asked for.
        size: (height, width) of every image.
        classes: Class name → what became of its images; "" for images without a label.
        megabytes: Of all images.
        null_before: AUROC of file metadata alone, out of fold, on the sources of the written images; None where there are
            no files, or too few images.
        null_after: The same on what was written, same images, same folds.
        traces: AUROC of the traces of old JPEG compression in the written pixels, the same way.
        problems: Of the source: rows that were left out before, in words.
    """

    folder: Path
    data: str
    options: AlignOptions
    size: tuple[int, int]
    classes: Mapping[str, ClassResult]
    megabytes: float
    metadata_before: Score | None
    metadata_after: Score | None
    traces: Score | None
    problems: tuple[str, ...] = ()

    @property
    def written(self) -> int:
        """Images in the copy."""
        return sum(of.written for of in self.classes.values())

    @property
    def found(self) -> int:
        """Images that there were."""
        return sum(of.found for of in self.classes.values())

    @property
    def notes(self) -> tuple[str, ...]:
        """What remains, and what to think of it."""
        return (*_of_null(self), *_of_traces(self), *_of_classes(self), *_of_source(self))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "data": self.data, "choices": self.options.to_dict(), "size": list(self.size),
            "classes": {name: vars(of) for name, of in self.classes.items()}, "written": self.written, "found": self.found,
            "megabytes": self.megabytes, "null_before": _plain(self.metadata_before), "null_after": _plain(self.metadata_after),
            "traces": _plain(self.traces), "problems": list(self.problems), "notes": list(self.notes),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], folder: Path) -> AlignResult:
        """Read what `to_dict` wrote; the folder may have moved since."""
        return cls(
            folder, content["data"], AlignOptions.from_dict(content["choices"]), tuple(content["size"]),
            {name: ClassResult(**of) for name, of in content["classes"].items()}, content["megabytes"],
            _score(content["null_before"]), _score(content["null_after"]), _score(content["traces"]),
            tuple(content["problems"]),
        )  # fmt: skip


def _of_null(found: AlignResult) -> list[str]:
    said = []
    if found.metadata_after is None:
        said.append("too few images, or one class only: the metadata baseline was not asked")
    elif found.metadata_before is None:
        said.append("the source has no files whose metadata could tell anything: it was bare pixels")
    if found.metadata_after is not None and found.metadata_after.high > CHANCE:
        more = ": the number of bytes of a JPEG tells what is in it" if found.options.encoder == "jpeg" else ""
        if found.metadata_after.low > 0.5:
            said.append(f"the metadata baseline still tells the classes apart{more}")
        else:
            said.append("too few images to say that the metadata baseline is at chance: its interval is wide")
    return said


def _of_traces(found: AlignResult) -> list[str]:
    """Aligning makes files alike; what a file was before may be seen in its pixels."""
    if found.traces is None or found.traces.low <= CHANCE:
        return []
    said = (
        "what lies on the 8×8 grid of JPEG in the pixels tells the classes apart: traces of earlier compression, which "
        "aligning cannot undo (or, in small pictures, things that stand in the same place)"
    )
    if found.options.encoder == "png":
        said += "; compressing all once more (--format jpeg --quality 60-90) covers some of it, at the cost of detail"
    return [said]


def _of_classes(found: AlignResult) -> list[str]:
    """Differences between the classes that a copy keeps or makes."""
    said, own = [], {name: of for name, of in found.classes.items() if name}
    small = {name: of.small / of.found for name, of in own.items()}
    if max(small.values()) - min(small.values()) > _DIFFERENT:
        said.append(f"small images left out: {_shares(small)}; what is left of a class may be another sort of picture")
    gray = {name: of.gray for name, of in own.items()}
    if max(gray.values()) - min(gray.values()) > _DIFFERENT:
        said.append(f"gray pictures: {_shares(gray)}; a classifier can see that")
    area = {name: of.area for name, of in own.items()}
    if max(area.values()) > _SCALE * min(area.values()):
        sides = ", ".join(f"{name} {np.sqrt(value):,.0f}" for name, value in area.items())
        said.append(f"sources are not of one size (side of the median picture: {sides} pixels): things may look larger in one")
    return said


def _of_source(found: AlignResult) -> list[str]:
    left = [f"{len(found.problems):,} rows of the source cannot be used, {found.problems[0]}"] if found.problems else []
    lost = sum(of.unreadable for of in found.classes.values())
    return [*left, *([f"{lost:,} images cannot be decoded and were left out"] if lost else [])]


def _shares(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in shares.items())


def _plain(score: Score | None) -> dict[str, Any] | None:
    return None if score is None else score.to_dict()


def _score(content: Mapping[str, Any] | None) -> Score | None:
    return None if content is None else Score.from_dict(content)
