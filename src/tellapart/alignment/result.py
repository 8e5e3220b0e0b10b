"""The result of `align`: counts, scores before and after, and notes on differences that remain between the classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.alignment.plan import AlignOptions
from tellapart.types import Score

#: An AUROC whose interval does not exceed this is called chance.
CHANCE = 0.53
_FAR_BELOW = 0.2  # an AUROC that is no chance: the model predicts the opposite of the classes
_DIFFERENT = 0.05  # between the shares of two classes
_SCALE = 1.2  # between the median areas of two classes


@dataclass(frozen=True)
class ClassResult:
    """Counts of the images of one class.

    Attributes:
        found: Images in the source.
        small: Images excluded because they are smaller than the common size.
        unreadable: Images excluded because they cannot be decoded.
        gray: Share of the written images without any color.
        area: Median number of pixels of the source images.
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
    """A finished aligned copy.

    Attributes:
        folder: Its folder, an input for `tellapart compare`.
        data: Display name of the source.
        options: Options of the copy.
        size: (height, width) of every image.
        classes: Class name → counts of its images; "" for images without a label.
        megabytes: Size of all images.
        metadata_before: AUROC of file metadata alone, out of fold, on the sources of the written images; None without files, or
            with too few images.
        metadata_after: The same on the written files, same images, same folds.
        traces: AUROC of the traces of earlier JPEG compression in the written pixels, as `tellapart check` measures them.
        problems: Rows of the source that were excluded, in words.
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
        """Images in the source."""
        return sum(of.found for of in self.classes.values())

    @property
    def notes(self) -> tuple[str, ...]:
        """Remaining differences between the classes, and their consequences."""
        return (*_of_null(self), *_of_traces(self), *_of_classes(self), *_of_source(self))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "data": self.data, "options": self.options.to_dict(), "size": list(self.size),
            "classes": {name: vars(of) for name, of in self.classes.items()}, "written": self.written, "found": self.found,
            "megabytes": self.megabytes, "baseline_before": _plain(self.metadata_before),
            "baseline_after": _plain(self.metadata_after), "traces": _plain(self.traces),
            "problems": list(self.problems), "notes": list(self.notes),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], folder: Path) -> AlignResult:
        """Read what `to_dict` wrote; the folder may have moved since."""
        return cls(
            folder, content["data"], AlignOptions.from_dict(content["options"]), tuple(content["size"]),
            {name: ClassResult(**of) for name, of in content["classes"].items()}, content["megabytes"],
            _score(content["baseline_before"]), _score(content["baseline_after"]), _score(content["traces"]),
            tuple(content["problems"]),
        )  # fmt: skip


def _of_null(found: AlignResult) -> list[str]:
    notes = _of_reversed("file metadata", found.metadata_after)
    if found.metadata_after is None:
        notes.append("too few images, or only one class: the metadata baseline was not evaluated")
    elif found.metadata_before is None:
        notes.append("the source consists of pixel arrays without files, so there are no metadata to compare with")
    if found.metadata_after is not None and found.metadata_after.high > CHANCE:
        more = ": the byte count of a JPEG depends on its content" if found.options.encoder == "jpeg" else ""
        if found.metadata_after.low > 0.5:
            notes.append(f"the metadata baseline still separates the classes{more}")
        else:
            notes.append("too few images to show that the metadata baseline is at chance: its interval is wide")
    return notes


def _of_traces(found: AlignResult) -> list[str]:
    """Note on traces of earlier compression, which aligning cannot remove from the pixels."""
    if found.traces is None or found.traces.low <= CHANCE:
        return _of_reversed("traces of earlier compression", found.traces)
    note = (
        f"not cured: traces of earlier compression in the pixels still separate the classes (AUROC {found.traces}), and "
        "aligning cannot undo a compression (in small images objects at a fixed position leave such traces, too)"
    )
    if found.options.encoder == "png":
        note += "; re-compressing all images (--format jpeg --quality 60-90) hides some of it, at the cost of detail"
    return [note]


def _of_reversed(subject: str, score: Score | None) -> list[str]:
    """Note on an AUROC below one half, which is no chance."""
    if score is None or score.value > _FAR_BELOW or score.high > 0.5:
        return []
    return [
        f"the AUROC of {subject} is far below one half: each image resembles one of another class, as an edited copy does its "
        "original; give such images a common group (--group)"
    ]


def _of_classes(found: AlignResult) -> list[str]:
    """Differences between the classes that a copy keeps or creates."""
    notes, own = [], {name: of for name, of in found.classes.items() if name}
    small = {name: of.small / of.found for name, of in own.items()}
    if max(small.values()) - min(small.values()) > _DIFFERENT:
        notes.append(f"small images excluded: {_shares(small)}; the remaining images of a class may differ in content")
    gray = {name: of.gray for name, of in own.items()}
    if max(gray.values()) - min(gray.values()) > _DIFFERENT:
        notes.append(f"gray images: {_shares(gray)}; a classifier can use this")
    area = {name: of.area for name, of in own.items()}
    if max(area.values()) > _SCALE * min(area.values()):
        sides = ", ".join(f"{name} {np.sqrt(value):,.0f}" for name, value in area.items())
        notes.append(f"source sizes differ (side of the median image: {sides} pixels): objects may look larger in one class")
    return notes


def _of_source(found: AlignResult) -> list[str]:
    left = (
        [f"{len(found.problems):,} rows of the source are excluded, for example {found.problems[0]}"] if found.problems else []
    )
    lost = sum(of.unreadable for of in found.classes.values())
    return [*left, *([f"{lost:,} images cannot be decoded and are excluded"] if lost else [])]


def _shares(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in shares.items())


def _plain(score: Score | None) -> dict[str, Any] | None:
    return None if score is None else score.to_dict()


def _score(content: Mapping[str, Any] | None) -> Score | None:
    return None if content is None else Score.from_dict(content)
