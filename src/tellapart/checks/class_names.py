"""Classes whose names look alike: `Cat` and `cat`, `dog` with a blank behind it, `True` and `TRUE`.

They are usually one class, written in two ways by two people or two programs, and a classifier learns to tell apart what is the
same. Names are compared without case, blanks, invisible characters, full-width forms and leading zeros.
"""

from __future__ import annotations

from typing import final

import numpy as np

from tellapart.checks._dataset_view import DatasetView
from tellapart.checks.base import CheckResult, HealthCheck, passed
from tellapart.data.class_names import difference, look_alikes

_ADVICE = (
    "if they are one class, write its name in one way: rename the folders, or correct the cells of the label column; classes "
    "that do differ (A and a) are no problem"
)


@final
class ClassNames(HealthCheck):
    """Which classes a reader takes for one."""

    def _run(self, view: DatasetView) -> CheckResult:
        table = view.table
        if not table.classes:
            return passed(len(table), "no image has a label", "skipped")
        groups = look_alikes(table.classes)
        if not groups:
            return passed(len(table), f"the names of {len(table.classes):,} classes are clearly different")
        counts = np.bincount(table.labels[table.labels >= 0], minlength=len(table.classes))
        images = dict(zip(table.classes, counts.tolist(), strict=True))
        texts = [f"{' and '.join(f'{name!r} ({images[name]:,})' for name in group)} in {difference(group)}" for group in groups]
        more = f"; and {len(texts) - 3} more" if len(texts) > 3 else ""
        reasons = {}
        for group in groups:
            usual = max(group, key=lambda name: images[name])
            for name in group:
                rows = np.flatnonzero(table.labels == table.classes.index(name)) if name != usual else ()
                reasons |= {int(row): f"its class {name!r} looks like {usual!r}" for row in rows}
        is_issue = np.zeros(len(table), bool)
        is_issue[list(reasons)] = True
        return CheckResult(
            "problem", f"classes whose names differ only {'; '.join(texts[:3])}{more}", _ADVICE, is_issue.astype(np.float32),
            is_issue, reasons, details={"groups": [list(group) for group in groups], "images": images},
        )  # fmt: skip
