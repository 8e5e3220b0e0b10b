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
from tellapart.checks._pixel_stats import trace_columns
from tellapart.checks._shortcut import ShortcutResult, details, find_shortcuts, independent_groups, rows_explained, summary
from tellapart.checks.base import CheckResult, HealthCheck, Severity, passed
from tellapart.checks.metadata import metadata_columns
from tellapart.types import SPLITS, UNLABELED

_OPEN = "unlabeled"


@dataclass(frozen=True, eq=False)
class _Compared:
    """Train against one other part, by one kind of evidence."""

    part: str
    subject: str
    verdict: ShortcutResult


class Shift(HealthCheck):
    """Whether training images can be told from the others, and by what."""

    def _run(self, evidence: DatasetView) -> CheckResult:
        table, parts = evidence.table, _parts(evidence)
        others = [part for part in (*SPLITS[1:], _OPEN) if (parts == part).any()]
        if not (parts == "train").any() or not others:
            return passed(len(table), "the data come without a training part and another: tellapart will split them", "skipped")
        kinds = _kinds_of_columns(evidence)
        compared = [_compare(evidence, parts, part, subject, columns) for part in others for subject, columns in kinds.items()]
        told = {f"{one.part} by {one.subject}": details(one.verdict) for one in compared}
        found = [one for one in compared if one.verdict.found]
        if not found:
            return passed(len(table), f"train and {' and '.join(others)} cannot be told apart", comparisons=told)
        severity: Severity = "problem" if any(one.verdict.strong for one in found) else "notice"
        return CheckResult(severity, _words(found), _ADVICE, *_rows(found, len(table)), details={"comparisons": told})


_ADVICE = (
    "a score on one part says less of the other: split all images anew by lot, or make size, format and compression alike, "
    "or collect training images like those that will be asked for"
)


def _parts(evidence: DatasetView) -> np.ndarray:
    """The part of each image, "unlabeled" for those without label and part, "" for none: (N,) object."""
    given = evidence.splits
    if given is None:
        return np.full(len(evidence.table), "", dtype=object)
    return np.where((given == "") & (evidence.table.labels == UNLABELED), _OPEN, given)


def _kinds_of_columns(evidence: DatasetView) -> dict[str, list[Feature]]:
    table, labels = evidence.table, evidence.table.labels
    found = {"pixels": trace_columns(evidence.pictures.traces)}
    if table.has_files:
        found = {"file metadata": metadata_columns(evidence.metadata, evidence.texts)} | found
    words = {float(label): f"class {name!r}" for label, name in enumerate(table.classes)}
    return found | {"class mix": [Feature("class", np.where(labels >= 0, labels, np.nan).astype(np.float64), words)]}


def _compare(evidence: DatasetView, parts: np.ndarray, part: str, subject: str, columns: list[Feature]) -> _Compared:
    sides = np.select([parts == "train", parts == part], [0, 1], -1)
    sides[~evidence.readable] = -1
    if subject == "class mix":
        sides[evidence.table.labels < 0] = -1
    units = independent_groups(evidence.table, evidence.pictures.digests)
    return _Compared(part, subject, find_shortcuts(columns, sides, units, {0: "train", 1: part}, evidence.seed))


def _words(found: list[_Compared]) -> str:
    return ". ".join(f"train and {one.part}: {summary(one.verdict, one.subject)}" for one in found)


def _rows(found: list[_Compared], count: int) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
    """Rows of the other parts that are unlike train: score, fault, reason."""
    scores, at_fault, reasons = np.zeros(count, np.float32), np.zeros(count, bool), {}
    for one in found:
        of_one, fault, why = rows_explained(one.verdict, one.subject)
        other = one.verdict.labels == 1
        scores = np.maximum(scores, np.where(other, of_one, 0))
        at_fault |= fault & other
        reasons = {row: text for row, text in why.items() if other[row]} | reasons
    return scores, at_fault, reasons
