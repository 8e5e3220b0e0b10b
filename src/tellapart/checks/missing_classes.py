"""Classes that occur in one split and not in another.

No classifier can predict a class that it was not trained on: every test image of such a class is misclassified. The reverse, a
class without evaluation images, does no harm, but the scores do not cover it.
"""

from __future__ import annotations

import numpy as np

from tellapart.checks._dataset_view import DatasetView
from tellapart.checks.base import CheckResult, HealthCheck, passed
from tellapart.types import SPLITS


class MissingClasses(HealthCheck):
    """Which classes are missing from which split."""

    per_image = False

    def _run(self, view: DatasetView) -> CheckResult:
        table, splits = view.table, view.splits
        counts = _counts(splits, table.labels, len(table.classes))
        if "train" not in counts or len(counts) < 2:
            return passed(len(table), "the data have no training split and another one; tellapart will split them", "skipped")
        untrained, unevaluated = _missing(counts, table.classes)
        present = {split: {name: int(n) for name, n in zip(table.classes, of, strict=True)} for split, of in counts.items()}
        if not untrained and not unevaluated:
            return passed(len(table), f"every class occurs in {' and '.join(counts)}", counts=present)
        reasons = {}
        for split, label in untrained:
            text = f"{table.classes[label]!r} is not in train"
            reasons |= {int(row): text for row in np.flatnonzero((splits == split) & (table.labels == label))}
        at_fault = np.zeros(len(table), bool)
        at_fault[list(reasons)] = True
        summary = "; ".join([_untrained_text(untrained, counts, table.classes), *_unevaluated_text(unevaluated, table.classes)])
        advice = _ADVICE if untrained else "scores do not cover classes without evaluation images: add images of these classes"
        lists = {"not_in_train": _by_split(untrained, table.classes), "only_in_train": _by_split(unevaluated, table.classes)}
        return CheckResult(
            "problem" if untrained else "notice", summary.strip("; "), advice, at_fault.astype(np.float32), at_fault, reasons,
            details={"counts": present, **lists},
        )  # fmt: skip


_ADVICE = (
    "every prediction for these images is wrong by construction: add training images of these classes, remove them from the "
    "other split, or let tellapart split the data"
)


def _counts(splits: np.ndarray | None, labels: np.ndarray, classes: int) -> dict[str, np.ndarray]:
    """Number of labeled images by class, (C,) int64, of each split that has any."""
    if splits is None:
        return {}
    found = {split: np.bincount(labels[(splits == split) & (labels >= 0)], minlength=classes) for split in SPLITS}
    return {split: of for split, of in found.items() if of.any()}


def _missing(counts: dict[str, np.ndarray], classes: tuple[str, ...]) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """(split, label) of classes in a split but not in train; then of classes in train but not in a split."""
    others = [split for split in counts if split != "train"]
    pairs = [(split, label) for split in others for label in range(len(classes))]
    untrained = [(s, label) for s, label in pairs if counts[s][label] and not counts["train"][label]]
    return untrained, [(s, label) for s, label in pairs if counts["train"][label] and not counts[s][label]]


def _untrained_text(untrained: list[tuple[str, int]], counts: dict[str, np.ndarray], classes: tuple[str, ...]) -> str:
    return ", ".join(f"{classes[c]!r} is in {s} ({counts[s][c]:,} images) but not in train" for s, c in untrained[:5]) + (
        f", and {len(untrained) - 5} more" if len(untrained) > 5 else ""
    )


def _unevaluated_text(unevaluated: list[tuple[str, int]], classes: tuple[str, ...]) -> list[str]:
    return [
        f"in train but not in {split}: {', '.join(names[:5])}{', …' if len(names) > 5 else ''}"
        for split, names in _by_split(unevaluated, classes).items()
    ]


def _by_split(pairs: list[tuple[str, int]], classes: tuple[str, ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for split, label in pairs:
        found.setdefault(split, []).append(classes[label])
    return found
