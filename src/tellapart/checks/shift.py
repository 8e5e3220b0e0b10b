"""Dataset shift between the splits, by adversarial validation: can a model separate training images from the others?

The splits take the place of the classes; the features are file metadata, pixel statistics and the class mix. Where they
separate the splits, scores on one split are less informative about another: a fifth of the test images may have another size,
another camera, another mix of classes. Images without label and split (those of a competition) count as a split.

Sources:
    Lopez-Paz & Oquab (2017), "Revisiting classifier two-sample tests".
    Moreno-Torres et al. (2012), "A unifying view on dataset shift in classification" (covariate and prior shift).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tellapart.checks._associations import Feature
from tellapart.checks._dataset_view import DatasetView
from tellapart.checks._pixel_stats import pixel_features
from tellapart.checks._shortcut import (
    ShortcutResult,
    find_shortcuts,
    independent_groups,
    rows_explained,
    shortcut_details,
    summarize,
)
from tellapart.checks.base import CheckResult, HealthCheck, Severity, passed
from tellapart.checks.metadata import metadata_features
from tellapart.types import SPLITS, UNLABELED

_OPEN = "unlabeled"


@dataclass(frozen=True, eq=False)
class _Comparison:
    """Train against one other split, by one kind of features."""

    split: str
    subject: str
    result: ShortcutResult


class Shift(HealthCheck):
    """Whether training images can be separated from the others, and by which features."""

    per_image = False

    def _run(self, view: DatasetView) -> CheckResult:
        table, splits = view.table, _splits(view)
        others = [split for split in (*SPLITS[1:], _OPEN) if (splits == split).any()]
        if not (splits == "train").any() or not others:
            return passed(len(table), "the data have no training split and another one; tellapart will split them", "skipped")
        kinds = _features_by_subject(view)
        compared = [_compare(view, splits, split, subject, features) for split in others for subject, features in kinds.items()]
        comparisons = {f"{one.split} by {one.subject}": shortcut_details(one.result) for one in compared}
        found = [one for one in compared if one.result.found]
        if not found:
            return passed(len(table), f"train and {' and '.join(others)} do not differ", comparisons=comparisons)
        severity: Severity = "problem" if any(one.result.strong for one in found) else "notice"
        return CheckResult(severity, _words(found), _ADVICE, *_rows(found, len(table)), details={"comparisons": comparisons})


_ADVICE = (
    "scores on one split do not carry over to the other: split all images again at random, or give all images the same size, "
    "format and compression, or collect training images like those that will be predicted"
)


def _splits(view: DatasetView) -> np.ndarray:
    """The split of each image, "unlabeled" for images without label and split, "" for none: (N,) object."""
    given = view.splits
    if given is None:
        return np.full(len(view.table), "", dtype=object)
    return np.where((given == "") & (view.table.labels == UNLABELED), _OPEN, given)


def _features_by_subject(view: DatasetView) -> dict[str, list[Feature]]:
    table, labels = view.table, view.table.labels
    found = {"pixels": pixel_features(view.pixel_stats.traces)}
    if table.has_files:
        found = {"file metadata": metadata_features(view.metadata, view.texts)} | found
    words = {float(label): f"class {name!r}" for label, name in enumerate(table.classes)}
    return found | {"class mix": [Feature("class", np.where(labels >= 0, labels, np.nan).astype(np.float64), words)]}


def _compare(view: DatasetView, splits: np.ndarray, split: str, subject: str, features: list[Feature]) -> _Comparison:
    labels = np.select([splits == "train", splits == split], [0, 1], -1)
    labels[~view.readable] = -1
    if subject == "class mix":
        labels[view.table.labels < 0] = -1
    groups = independent_groups(view.table, view.pixel_stats.digests)
    return _Comparison(split, subject, find_shortcuts(features, labels, groups, {0: "train", 1: split}, view.seed))


def _words(found: list[_Comparison]) -> str:
    """The comparison with the largest difference in words, and how many there are besides."""
    worst = max(found, key=lambda one: one.result.strongest)
    more = f"; and {len(found) - 1} more comparison{'s' if len(found) > 2 else ''}" if len(found) > 1 else ""
    return f"train and {worst.split}: {summarize(worst.result, worst.subject)}{more}"


def _rows(found: list[_Comparison], count: int) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
    """Score, flag and reason of the rows of the other splits that differ from train."""
    scores, at_fault, reasons = np.zeros(count, np.float32), np.zeros(count, bool), {}
    for one in found:
        of_one, fault, why = rows_explained(one.result, one.subject)
        other = one.result.labels == 1
        scores = np.maximum(scores, np.where(other, of_one, 0))
        at_fault |= fault & other
        reasons = {row: text for row, text in why.items() if other[row]} | reasons
    return scores, at_fault, reasons
