"""Broken and unusual files: unreadable, truncated, ending in zeros, of an unusual mode or size, wrongly named."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
from pydantic import Field

from tellapart.checks._dataset_view import DatasetView
from tellapart.checks.base import CheckResult, HealthCheck, Severity, passed
from tellapart.data.left_out import LeftOut, left_out
from tellapart.data.locator import parse_locator
from tellapart.data.metadata import FORMATS, MODES, NAMES
from tellapart.recipe.schema import OptionsModel
from tellapart.types import ImageTable

#: File extensions of each format; MPO is a JPEG with further images appended, and a DIB is a BMP without its file header.
ENDINGS = {
    "jpg": "JPEG", "jpeg": "JPEG", "jpe": "JPEG", "jfif": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "bmp": "BMP",
    "dib": "BMP", "tif": "TIFF", "tiff": "TIFF", "ppm": "PPM", "pgm": "PPM", "pbm": "PPM", "pnm": "PPM", "avif": "AVIF",
}  # fmt: skip
_SAME = {"MPO": "JPEG"}
_USUAL_MODES = frozenset({"L", "RGB", "RGBA", "P"})
_FORMAT, _MODE = NAMES.index("format"), NAMES.index("mode")
_RARE = 0.05
_ZERO_TAIL = 0.2  # share of a file


@dataclass(frozen=True, eq=False)
class _Faults:
    """Faults by kind: kind → position → reason. A row may have several faults; the first kind gives its reason."""

    count: int
    by_kind: dict[str, dict[int, str]] = field(default_factory=dict)

    def rows(self, *kinds: str) -> list[int]:
        return sorted({row for kind in kinds for row in self.by_kind.get(kind, {})})

    @property
    def reasons(self) -> dict[int, str]:
        return {row: why for of in reversed(self.by_kind.values()) for row, why in of.items()}

    def words(self) -> str:
        return ", ".join(f"{len(rows):,} {kind}" for kind, rows in self.by_kind.items() if rows)


@final
class Files(HealthCheck):
    """Broken and unusual files."""

    options: Options

    class Options(OptionsModel):
        """Options of the check."""

        size_factor: float = Field(
            default=4.0, gt=1, description="ratio of a side to the median side, either way, above which a size is unusual"
        )

    def _run(self, view: DatasetView) -> CheckResult:
        table = view.table
        readable = view.readable
        faults = _Faults(len(table))
        faults.by_kind["unreadable"] = {row: problem.message for row, problem in sorted(view.unreadable.items())}
        faults.by_kind["ending in zero bytes"] = _zero_tails(view.zero_tails, readable)
        faults.by_kind["with the extension of another format"] = _endings(table, view.metadata, readable)
        faults.by_kind["of an unusual mode"] = _modes(view.metadata, readable)
        faults.by_kind["of an unusual size"] = _sizes(view.pixel_stats.sides, readable, self.options.size_factor)
        rows = np.array(sorted(view.unreadable), dtype=np.int64)
        unreadable = table.with_classes(rows, [view.unreadable[row] for row in rows.tolist()])
        return _result(table, faults, left_out(table), left_out(table, unreadable))


def _result(table: ImageTable, faults: _Faults, before: LeftOut, after: LeftOut) -> CheckResult:
    """The result. `before`, `after`: what is left out without and with the unreadable images."""
    details = {"left_out": after.to_dict(), **{kind: len(rows) for kind, rows in faults.by_kind.items()}}
    bad, warning = faults.rows("unreadable"), after.warning()
    excluded = [line for line in before.lines() if line != before.warning()]
    if not faults.reasons and not excluded:
        return passed(len(table), "every file can be read, matches its extension, and has a usual mode and size", **details)
    scores, is_issue = np.zeros(len(table), np.float32), np.zeros(len(table), bool)
    rows = sorted(faults.reasons)
    is_issue[rows], scores[rows], scores[bad] = True, 0.5, 1.0
    severity: Severity = "problem" if bad or warning else "notice"
    sentences = [faults.words()] if faults.reasons else []
    sentences += [*excluded, *([warning.removeprefix("warning: ")] if warning else [])]
    return CheckResult(
        severity, "; ".join(sentences), _advice(faults), scores, is_issue, faults.reasons, None, details, frozenset(bad)
    )


def _advice(faults: _Faults) -> str:
    """Advice for the worst kind of fault."""
    if faults.by_kind["unreadable"]:
        return "Restore the unreadable files from their source, or exclude them: --fix-list FILE, or --skip-bad when training."
    if faults.by_kind["with the extension of another format"]:
        return "Rename these files; if one class has more of them than the others, this is a shortcut."
    if faults.reasons:
        return "Check whether these images belong to the data, and whether one class has more of them than the others."
    return "Fix the table or the folders if these files should be part of the data."


def _zero_tails(shares: np.ndarray, readable: np.ndarray) -> dict[int, str]:
    """Files whose end is zero: black pixels where nothing is compressed, or a download that stopped."""
    rows = np.flatnonzero(readable & (shares > _ZERO_TAIL)).tolist()
    return {row: f"the last {shares[row]:.0%} of the file are zero bytes: black, or an interrupted download" for row in rows}


def _endings(table: ImageTable, metadata: np.ndarray, readable: np.ndarray) -> dict[int, str]:
    """Files whose content has another format than their extension."""
    found, paths = {}, table.paths
    for row in np.flatnonzero(readable & np.isfinite(metadata[:, _FORMAT])).tolist():
        where = parse_locator(str(paths[row]))
        expected = None if where.row is not None else ENDINGS.get(where.file.rpartition(".")[2].lower())
        number = int(metadata[row, _FORMAT])
        content = FORMATS[number] if number < len(FORMATS) else ""
        content = _SAME.get(content, content)
        if expected and content and content != expected:
            found[row] = f"extension .{where.file.rpartition('.')[2]}, but the content is {content}"
    return found


def _modes(metadata: np.ndarray, readable: np.ndarray) -> dict[int, str]:
    """Files of a rare mode that is none of the usual ones: CMYK, 16 bits, one bit."""
    rows = np.flatnonzero(readable & np.isfinite(metadata[:, _MODE]))
    counts = Counter(metadata[rows, _MODE].astype(int).tolist())
    odd: dict[int, Any] = {n: MODES[n] if n < len(MODES) else "unknown" for n, c in counts.items() if c < _RARE * len(rows)}
    odd = {number: name for number, name in odd.items() if name not in _USUAL_MODES}
    numbers = metadata[rows, _MODE].astype(int).tolist()
    return {row: f"mode {odd[number]}" for row, number in zip(rows.tolist(), numbers, strict=True) if number in odd}


def _sizes(sides: np.ndarray, readable: np.ndarray, factor: float) -> dict[int, str]:
    """Images far from the median size, where such images are rare."""
    rows = np.flatnonzero(readable)
    if not len(rows):
        return {}
    ratio = sides[rows] / np.median(sides[rows], axis=0)
    odd = rows[(np.maximum(ratio, 1 / np.maximum(ratio, 1e-9)) > factor).any(axis=1)]
    if len(odd) >= _RARE * len(rows) and len(rows) >= 1 / _RARE:
        return {}
    height, width = np.median(sides[rows], axis=0).round().astype(int)
    return {row: f"{sides[row, 1]}×{sides[row, 0]} pixels; the median size is {width}×{height}" for row in odd.tolist()}
