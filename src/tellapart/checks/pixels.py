"""Pixel statistics that separate the classes: mean color, border, 8×8 grid, writing in the corners.

Where the classes show different things (fruits by name) such a statistic may be the subject itself, so it is a notice. Where
one class means "not real", all classes should show the same, and what a person or a program added (a border, writing, the grid
of an earlier JPEG) is a leak: a classifier may predict by it alone.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tellapart.checks._dataset_view import DatasetView
from tellapart.checks._pixel_stats import DRAWN, STROKES, pixel_features
from tellapart.checks._shortcut import (
    STRONG,
    ShortcutResult,
    find_shortcuts,
    independent_groups,
    rows_explained,
    shortcut_details,
    summarize,
)
from tellapart.checks.base import CheckResult, HealthCheck, passed

_SUBJECT = "pixel statistics"
_STANDS_OUT = 0.1  # AUROC


class Pixels(HealthCheck):
    """Whether pixel statistics separate the classes, and which."""

    def _run(self, view: DatasetView) -> CheckResult:
        table, labels = view.table, view.table.labels
        labels = np.where(view.readable, labels, -1)
        classes = np.unique(labels[labels >= 0])
        if len(classes) < 2:
            return passed(len(table), "fewer than two classes have images", "skipped")
        features = pixel_features(view.pixel_stats.traces)
        groups = independent_groups(table, view.pixel_stats.digests)
        result = find_shortcuts(features, labels, groups, {int(c): repr(table.classes[c]) for c in classes}, view.seed)
        result = replace(result, associations=sorted(result.associations, key=lambda c: c.feature.name not in DRAWN))
        text = summarize(result, _SUBJECT)
        if not result.found:
            return passed(len(table), f"pixel statistics do not separate the classes ({text})", **shortcut_details(result))
        stamped = _stamped(result) if table.positive is not None else []
        leak = bool(stamped) or (table.positive is not None and _is_drawn(result))
        rows = rows_explained(result, _SUBJECT)
        text = "; ".join([*stamped, text])
        return CheckResult("leak" if leak else "notice", text, _ADVICE[leak], *rows, details=shortcut_details(result))


_ADVICE = {
    True: "remove the border, writing or compression from all images, or add it to all classes equally, and check again",
    False: "if the classes are meant to differ in this, nothing needs to be done; if not, a classifier may rely on it: make it "
    "equal for all classes",
}


def _stamped(result: ShortcutResult) -> list[str]:
    """Zones where one class has more thin strokes than elsewhere in the image, as writing and logos cause them.

    A class of more detailed images has more strokes in most zones, so each zone is compared with the median zone.
    """
    label = {c.label: c for c in result.associations if c.feature.name in STROKES and c.more}
    found = []
    for one in label:
        effects = {
            c.feature.name: c.effect for c in result.associations if c.label == one and c.feature.name in STROKES and c.more
        }
        usual = float(np.median([effects.get(name, 0.5) for name in STROKES]))
        zones = [name.partition(", ")[2] for name, effect in effects.items() if effect >= max(STRONG, usual + _STANDS_OUT)]
        found += [f"possible writing or logo at the {' and '.join(zones)} of {result.names[one]}"] if zones else []
    return found


def _is_drawn(result: ShortcutResult) -> bool:
    return any(c.feature.name in DRAWN and c.effect >= STRONG for c in result.associations)
