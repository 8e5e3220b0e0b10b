"""Images of low quality: blank, very dark, very bright, blurrier than the others, tiny."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, final

import numpy as np
from pydantic import Field

from tellapart.checks._dataset_view import DatasetView
from tellapart.checks.base import CheckResult, HealthCheck, Severity, passed
from tellapart.recipe.schema import OptionsModel


@final
class Quality(HealthCheck):
    """Blank, dark, bright, blurry and tiny images."""

    options: Options

    class Options(OptionsModel):
        """Options of the check."""

        blank: float = Field(
            default=4.0, ge=0, description="widest range of gray values, 1st to 99th percentile, of a blank image"
        )
        dark: float = Field(default=12.0, ge=0, description="mean gray value below which an image is dark, of 255")
        bright: float = Field(default=250.0, le=255, description="mean gray value above which an image is overexposed, of 255")
        blurry: float = Field(
            default=6.0,
            gt=0,
            description="deviations below the median log sharpness (median absolute deviation) at which an image is blurry",
        )
        tiny: int = Field(default=16, ge=1, description="an image with a side of fewer pixels is tiny")

    def _run(self, view: DatasetView) -> CheckResult:
        readable, count = view.readable, len(view.table)
        kinds = {kind: (np.flatnonzero(mask & readable), words) for kind, mask, words in self._kinds(view)}
        reasons = {int(row): words(row) for rows, words in reversed(kinds.values()) for row in rows}
        figures: dict[str, Any] = {kind: len(rows) for kind, (rows, _) in kinds.items()}
        if not reasons:
            return passed(count, "no image is blank, very dark, very bright, blurry or tiny", **figures)
        scores, is_issue = np.zeros(count, np.float32), np.zeros(count, bool)
        rows = sorted(reasons)
        is_issue[rows], scores[rows] = True, 0.5
        blank = kinds["blank"][0]
        scores[blank] = 1.0
        severity: Severity = "problem" if len(blank) else "notice"
        counts = ", ".join(f"{number:,} {kind}" for kind, number in figures.items() if number)
        advice = "Drop the blank images (--fix-list); review the others." if len(blank) else "Review these images."
        return CheckResult(
            severity, f"images of low quality: {counts}", advice, scores, is_issue, reasons, None, figures,
            frozenset(blank.tolist()),
        )  # fmt: skip

    def _kinds(self, view: DatasetView) -> Iterator[tuple]:
        """Yield (kind, (N,) bool, row → words), the worst kind first."""
        options, p = self.options, view.pixel_stats
        blank = p.contrast <= options.blank
        yield "blank", blank, lambda row: f"blank: gray values span {p.contrast[row]:.0f} of 255"
        yield "dark", ~blank & (p.brightness < options.dark), lambda row: f"dark: mean gray value {p.brightness[row]:.0f}"
        yield "bright", ~blank & (p.brightness > options.bright), lambda row: f"bright: mean gray value {p.brightness[row]:.0f}"
        level, least = _sharp_enough(p.sharpness[view.readable & ~blank], options.blurry)
        yield "blurry", ~blank & (p.sharpness < least), lambda row: f"blurry: {p.sharpness[row]:.3f}; the median is {level:.2f}"
        sides = p.sides.min(axis=1)
        yield "tiny", sides < options.tiny, lambda row: f"tiny: {p.sides[row, 1]}×{p.sides[row, 0]} pixels"


def _sharp_enough(sharpness: np.ndarray, deviations: float) -> tuple[float, float]:
    """The median sharpness, and the lowest that is not blurry: never more than a third of the median."""
    known = sharpness[np.isfinite(sharpness) & (sharpness > 0)]
    if len(known) < 20:  # too few for a median
        return float("nan"), -1.0
    logs = np.log(known)
    middle = float(np.median(logs))
    deviation = 1.4826 * float(np.median(np.abs(logs - middle)))
    return float(np.exp(middle)), float(np.exp(min(middle - deviations * deviation, middle - np.log(3))))
