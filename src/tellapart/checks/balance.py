"""Class balance: classes without images, tiny classes, imbalance, and class proportions that differ between splits."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from pydantic import Field
from scipy.stats import chi2_contingency

from tellapart.checks._dataset_view import DatasetView
from tellapart.checks.base import CheckResult, HealthCheck, Severity, passed
from tellapart.recipe.schema import OptionsModel
from tellapart.types import SPLITS, ImageTable

_SURE, _EFFECT = 1e-3, 0.1  # p-value and Cramér's V from which proportions differ


@final
class Balance(HealthCheck):
    """The number of images of each class."""

    per_image = False

    options: Options

    class Options(OptionsModel):
        """Options of the check."""

        least: int = Field(default=10, ge=1, description="a class with fewer images is reported as tiny")
        ratio: float = Field(
            default=10.0, gt=1, description="ratio of the largest to the smallest class from which imbalance is reported"
        )

    def _run(self, view: DatasetView) -> CheckResult:
        table = view.table
        counts = np.bincount(table.labels[table.labels >= 0], minlength=len(table.classes))
        by_class = dict(zip(table.classes, counts.tolist(), strict=True))
        details = {"images": by_class, "unlabeled": int((table.labels < 0).sum())}
        if not counts.sum():
            return passed(len(table), "no image has a label", "skipped", **details)
        faults = self._faults(table, counts)
        if not faults:
            low, high = int(counts.min()), int(counts.max())
            images = f"{low:,} images each" if low == high else f"{low:,} to {high:,} images"
            return passed(len(table), f"{len(counts)} classes with {images}", **details)
        severity: Severity = "problem" if len(counts) < 2 or (counts == 0).any() else "notice"
        tiny = np.flatnonzero(counts < self.options.least)
        is_issue = np.isin(table.labels, tiny) if len(counts) > 1 else table.labels >= 0
        reasons = {row: f"its class {table.classes[label]} has only {counts[label]:,} images"
                   for row, label in enumerate(table.labels.tolist()) if is_issue[row]}  # fmt: skip
        scores = is_issue.astype(np.float32)
        return CheckResult(severity, "; ".join(faults), _advice(counts, tiny), scores, is_issue, reasons, None, details)

    def _faults(self, table: ImageTable, counts: np.ndarray) -> list[str]:
        """Describe the faults, the worst first."""
        names, least = table.classes, self.options.least
        if len(counts) < 2:
            return [f"only one class, {names[0]!r}, with {counts[0]:,} images; at least two classes are needed"]
        faults = [f"the class {names[c]!r} has no images" for c in np.flatnonzero(counts == 0)[:3]]
        tiny = np.flatnonzero((counts > 0) & (counts < least))
        if len(tiny):
            first = ", ".join(f"{names[c]!r} {counts[c]:,}" for c in tiny[np.argsort(counts[tiny], kind="stable")][:5])
            faults.append(f"{len(tiny):,} of {len(counts)} classes have fewer than {least} images ({first})")
        low, high = int(counts.argmin()), int(counts.argmax())
        if 0 < counts[low] * self.options.ratio <= counts[high]:
            times = counts[high] / counts[low]
            numbers = f"{counts[high]:,} and {counts[low]:,}"
            faults.append(f"{names[high]!r} has {times:.0f} times as many images as {names[low]!r} ({numbers})")
        return [*faults, *_shifted(table)]


def _advice(counts: np.ndarray, tiny: np.ndarray) -> str:
    if len(counts) < 2:
        return "Add images of a second class, or check that the folders or the label column are the right ones."
    if len(tiny):
        return "Add images of these classes or exclude them: scores on so few images are uncertain."
    return (
        "Compare by balanced accuracy or macro F1; for networks, set train.sampling=balanced or train.class_weights=balanced."
    )


def _shifted(table: ImageTable) -> list[str]:
    """Test whether class proportions differ between splits: chi-squared test, and Cramér's V of at least 0.1."""
    if "split" not in table.frame:
        return []
    splits = table.frame["split"].to_numpy(dtype=object)
    used = table.labels >= 0
    grid = np.array([np.bincount(table.labels[used & (splits == part)], minlength=len(table.classes)) for part in SPLITS])
    grid = grid[grid.sum(axis=1) > 0][:, grid.sum(axis=0) > 0]
    if min(grid.shape) < 2:
        return []
    tested: Any = chi2_contingency(grid, correction=False)
    effect = np.sqrt(tested.statistic / grid.sum() / (min(grid.shape) - 1))
    return ["class proportions differ between splits"] if tested.pvalue < _SURE and effect >= _EFFECT else []
