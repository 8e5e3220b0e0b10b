"""Do training and test images come from the same place? A model that tries to tell them apart answers.

Adversarial validation: the parts take the place of the classes, and file metadata, cheap measures of pixels and the class mix
that of the picture. Where they tell the parts apart, scores on the one say less of the other: a fifth of the test images of
another size, another camera, another mix of classes. Images without label and part (those of a competition) count as a part.

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
    """Train against one other part, by one kind of evidence."""

    split: str
    subject: str
    result: ShortcutResult


class Shift(HealthCheck):
    """Whether training images can be told from the others, and by what."""

    def _run(self, view: DatasetView) -> CheckResult:
        table, parts = view.table, _parts(view)
        others = [part for part in (*SPLITS[1:], _OPEN) if (parts == part).any()]
        if not (parts == "train").any() or not others:
            return passed(len(table), "the data come without a training part and another: tellapart will split them", "skipped")
        kinds = _kinds_of_columns(view)
        compared = [_compare(view, parts, part, subject, columns) for part in others for subject, columns in kinds.items()]
        told = {f"{one.split} by {one.subject}": shortcut_details(one.result) for one in compared}
        found = [one for one in compared if one.result.found]
        if not found:
            return passed(len(table), f"train and {' and '.join(others)} cannot be told apart", comparisons=told)
        severity: Severity = "problem" if any(one.result.strong for one in found) else "notice"
        return CheckResult(severity, _words(found), _ADVICE, *_rows(found, len(table)), details={"comparisons": told})


_ADVICE = (
    "a score on one part says less of the other: split all images anew by lot, or make size, format and compression alike, "
    "or collect training images like those that will be asked for"
)


def _parts(view: DatasetView) -> np.ndarray:
    """The part of each image, "unlabeled" for those without label and part, "" for none: (N,) object."""
    given = view.splits
    if given is None:
        return np.full(len(view.table), "", dtype=object)
    return np.where((given == "") & (view.table.labels == UNLABELED), _OPEN, given)


def _kinds_of_columns(view: DatasetView) -> dict[str, list[Feature]]:
    table, labels = view.table, view.table.labels
    found = {"pixels": pixel_features(view.pictures.traces)}
    if table.has_files:
        found = {"file metadata": metadata_features(view.metadata, view.texts)} | found
    words = {float(label): f"class {name!r}" for label, name in enumerate(table.classes)}
    return found | {"class mix": [Feature("class", np.where(labels >= 0, labels, np.nan).astype(np.float64), words)]}


def _compare(view: DatasetView, parts: np.ndarray, part: str, subject: str, columns: list[Feature]) -> _Comparison:
    sides = np.select([parts == "train", parts == part], [0, 1], -1)
    sides[~view.readable] = -1
    if subject == "class mix":
        sides[view.table.labels < 0] = -1
    units = independent_groups(view.table, view.pictures.digests)
    return _Comparison(part, subject, find_shortcuts(columns, sides, units, {0: "train", 1: part}, view.seed))


def _words(found: list[_Comparison]) -> str:
    return ". ".join(f"train and {one.split}: {summarize(one.result, one.subject)}" for one in found)


def _rows(found: list[_Comparison], count: int) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
    """Rows of the other parts that are unlike train: score, fault, reason."""
    scores, at_fault, reasons = np.zeros(count, np.float32), np.zeros(count, bool), {}
    for one in found:
        of_one, fault, why = rows_explained(one.result, one.subject)
        other = one.result.labels == 1
        scores = np.maximum(scores, np.where(other, of_one, 0))
        at_fault |= fault & other
        reasons = {row: text for row, text in why.items() if other[row]} | reasons
    return scores, at_fault, reasons
