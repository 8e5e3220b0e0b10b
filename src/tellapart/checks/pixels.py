"""Cheap measures of pixels that tell the classes apart: mean color, border, 8×8 grid, what is written into corners.

Where the classes show different things (fruits by their names) such a measure may be the thing itself, so it is a notice. Where
one class means "not the real thing", all classes should show the same, and what somebody or some program drew there (a border,
writing, the grid of an earlier JPEG) is a leak: a classifier may answer by it and by nothing else.
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

_SUBJECT = "cheap measures of pixels"
_STANDS_OUT = 0.1  # AUROC


class Pixels(HealthCheck):
    """Whether cheap measures tell the classes apart, and which."""

    def _run(self, view: DatasetView) -> CheckResult:
        table, labels = view.table, view.table.labels
        labels = np.where(view.readable, labels, -1)
        classes = np.unique(labels[labels >= 0])
        if len(classes) < 2:
            return passed(len(table), "fewer than two classes have images: nothing to tell apart", "skipped")
        columns = pixel_features(view.pictures.traces)
        units = independent_groups(table, view.pictures.digests)
        verdict = find_shortcuts(columns, labels, units, {int(c): repr(table.classes[c]) for c in classes}, view.seed)
        verdict = replace(verdict, carriers=sorted(verdict.associations, key=lambda c: c.feature.name not in DRAWN))
        text = summarize(verdict, _SUBJECT)
        if not verdict.found:
            return passed(len(table), f"no cheap measure tells the classes apart ({text})", **shortcut_details(verdict))
        stamped = _stamped(verdict) if table.positive is not None else []
        leak = bool(stamped) or (table.positive is not None and _is_drawn(verdict))
        rows = rows_explained(verdict, _SUBJECT)
        text = "; ".join([*stamped, text])
        return CheckResult("leak" if leak else "notice", text, _ADVICE[leak], *rows, details=shortcut_details(verdict))


_ADVICE = {
    True: "remove the border, writing or compression from all images, or put it into all classes alike, and check again",
    False: "if the classes are meant to differ in this, all is well; if not, a classifier may answer by it: make it alike",
}


def _stamped(verdict: ShortcutResult) -> list[str]:
    """Where one class has thin strokes in one zone of the picture and not all around, as writing and logos make them.

    A class of livelier pictures has more of them in most zones; what stands out is measured against the zone in the middle
    of the order.
    """
    label = {c.label: c for c in verdict.associations if c.feature.name in STROKES and c.more}
    found = []
    for one in label:
        effects = {
            c.feature.name: c.effect for c in verdict.associations if c.label == one and c.feature.name in STROKES and c.more
        }
        usual = float(np.median([effects.get(name, 0.5) for name in STROKES]))
        zones = [name.partition(", ")[2] for name, effect in effects.items() if effect >= max(STRONG, usual + _STANDS_OUT)]
        found += [f"writing or a logo at the {' and '.join(zones)} of {verdict.names[one]}?"] if zones else []
    return found


def _is_drawn(verdict: ShortcutResult) -> bool:
    return any(c.feature.name in DRAWN and c.effect >= STRONG for c in verdict.associations)
