"""Pixel statistics that separate the classes: mean color, border, writing in the corners.

Where the classes show different things (fruits by name) such a statistic may be the subject itself, so it is a notice. Where
one class means "not real", all classes should show the same, and what a person or a program added (a border, writing) is a
leak: a classifier may predict by it alone. Traces of compression are examined by the check `compression`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tellapart.checks._associations import WITHIN, Association, find_associations
from tellapart.checks._dataset_view import DatasetView
from tellapart.checks._pixel_stats import DRAWN, GRID, STROKES, pixel_features
from tellapart.checks._shortcut import (
    STRONG,
    ShortcutResult,
    conclude,
    find_class_shortcuts,
    independent_groups,
)
from tellapart.checks.base import CheckResult, HealthCheck, passed

_STANDS_OUT = 0.1  # AUROC
_WRITTEN = 0.01  # share of the pixels of a zone in strokes, above the median zone; a short word of small print has more
_WRITTEN_IN = 0.25  # share of the images of a class that have it


class Pixels(HealthCheck):
    """Whether pixel statistics separate the classes, and which."""

    per_image = False

    def _run(self, view: DatasetView) -> CheckResult:
        table, labels = view.table, view.table.labels
        labels = np.where(view.readable, labels, -1)
        if len(np.unique(labels[labels >= 0])) < 2:
            return passed(len(table), "fewer than two classes have images", "skipped")
        features = pixel_features(view.pixel_stats.traces)
        grid = [feature for feature in features if feature.name == GRID]
        content = view.pixel_stats.digests
        result = find_class_shortcuts([f for f in features if f.name != GRID], labels, content, table, view.seed)
        result = _without_explained(result, find_associations(grid, labels, independent_groups(table, content)))
        stamped = _stamped(result) if table.positive is not None else []
        drawn = table.positive is not None and _is_drawn(result)
        advice = " ".join([_STAMPED] * bool(stamped) + [_FRAMED] * drawn) or _ADVICE
        return conclude(result, "pixel statistics", "leak" if stamped or drawn else "notice", advice, *stamped)


_STAMPED = "crop or cover this place in all images, of every class alike, and check again."
_FRAMED = "crop the border from all images (`tellapart align DATA -o DIR --size N` crops all classes alike), and check again."
_ADVICE = (
    "if the classes are meant to differ in this, nothing needs to be done; if not, a classifier may rely on it: make it "
    "equal for all classes"
)


def _without_explained(result: ShortcutResult, grid: list[Association]) -> ShortcutResult:
    """Sort drawn features first, and drop strokes that are no more frequent than the grid of a compression explains.

    A grid looks like strokes, so it explains them where the same class has more of both. Writing hides a grid: then one class
    has more strokes and less grid, which explains nothing.
    """
    explained = {(c.label, c.more): c.effect + WITHIN for c in grid}
    kept = [
        c for c in result.associations
        if c.feature.name not in STROKES or c.effect > explained.get((c.label, c.more), 0.0)
    ]  # fmt: skip
    return replace(result, associations=sorted(kept, key=lambda c: c.feature.name not in DRAWN))


def _stamped(result: ShortcutResult) -> list[str]:
    """Zones where images of one class have thin strokes, as writing and logos cause them, and other places have none.

    A class of more detailed images has more strokes in most zones, so each zone is compared with the median zone. A difference
    alone is no writing: the strokes must be found in a share of the images of the class that is at least twice that of the
    others.
    """
    label = {c.label: c for c in result.associations if c.feature.name in STROKES and c.more}
    found = []
    for one in label:
        strokes = {c.feature.name: c for c in result.associations if c.label == one and c.feature.name in STROKES and c.more}
        usual = float(np.median([strokes[name].effect if name in strokes else 0.5 for name in STROKES]))
        zones = [
            name.partition(", ")[2] for name, c in strokes.items()
            if c.effect >= max(STRONG, usual + _STANDS_OUT) and _has_strokes(c.feature.values, result.labels, one)
        ]  # fmt: skip
        found += [f"possible writing or logo at the {' and '.join(zones)} of {result.names[one]}"] if zones else []
    return found


def _has_strokes(values: np.ndarray, labels: np.ndarray, label: int) -> bool:
    """Whether enough images of the class have strokes in a zone. `values`: (N,) float64, NaN where not measured."""
    written = np.nan_to_num(values) >= _WRITTEN
    inside, outside = written[labels == label].mean(), written[(labels >= 0) & (labels != label)].mean()
    return bool(inside >= _WRITTEN_IN and inside >= 2 * outside)


def _is_drawn(result: ShortcutResult) -> bool:
    return any(c.feature.name in DRAWN and c.effect >= STRONG for c in result.associations)
