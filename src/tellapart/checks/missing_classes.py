"""Classes that stand in one part of the data and not in another.

No classifier can answer with a class that it has not seen: every test image of such a class is a mistake. The reverse, a class
that is learnt and never asked for, costs nothing, but nothing is known of it either.
"""

from __future__ import annotations

import numpy as np

from tellapart.checks._dataset_view import DatasetView
from tellapart.checks.base import CheckResult, HealthCheck, passed
from tellapart.types import SPLITS


class MissingClasses(HealthCheck):
    """Which classes a part lacks."""

    def _run(self, view: DatasetView) -> CheckResult:
        table, parts = view.table, view.splits
        counts = _counts(parts, table.labels, len(table.classes))
        if "train" not in counts or len(counts) < 2:
            return passed(len(table), "the data come without a training part and another: tellapart will split them", "skipped")
        unlearnt, unasked = _lacking(counts, table.classes)
        present = {part: {name: int(n) for name, n in zip(table.classes, of, strict=True)} for part, of in counts.items()}
        if not unlearnt and not unasked:
            return passed(len(table), f"every class stands in {' and '.join(counts)}", counts=present)
        reasons = {}
        for part, label in unlearnt:
            text = f"{table.classes[label]!r} is not in train"
            reasons |= {int(row): text for row in np.flatnonzero((parts == part) & (table.labels == label))}
        at_fault = np.zeros(len(table), bool)
        at_fault[list(reasons)] = True
        summary = "; ".join([_unlearnt_words(unlearnt, counts, table.classes), *_unasked_words(unasked, table.classes)])
        advice = _ADVICE if unlearnt else "nothing can be said of classes that are never asked for: add images of them"
        lists = {"not_in_train": _by_split(unlearnt, table.classes), "only_in_train": _by_split(unasked, table.classes)}
        return CheckResult(
            "problem" if unlearnt else "notice", summary.strip("; "), advice, at_fault.astype(np.float32), at_fault, reasons,
            details={"counts": present, **lists},
        )  # fmt: skip


_ADVICE = (
    "every answer for these images is wrong by construction: add training images of the classes, take them out of the other "
    "part, or let tellapart make the split"
)


def _counts(parts: np.ndarray | None, labels: np.ndarray, classes: int) -> dict[str, np.ndarray]:
    """Labeled images of each part that has any, by class: (C,) int64 each."""
    if parts is None:
        return {}
    found = {part: np.bincount(labels[(parts == part) & (labels >= 0)], minlength=classes) for part in SPLITS}
    return {part: of for part, of in found.items() if of.any()}


def _lacking(counts: dict[str, np.ndarray], classes: tuple[str, ...]) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """(part, label) of classes that a part has and train lacks; then of those that train has and a part lacks."""
    others = [part for part in counts if part != "train"]
    pairs = [(part, label) for part in others for label in range(len(classes))]
    unlearnt = [(p, label) for p, label in pairs if counts[p][label] and not counts["train"][label]]
    return unlearnt, [(p, label) for p, label in pairs if counts["train"][label] and not counts[p][label]]


def _unlearnt_words(unlearnt: list[tuple[str, int]], counts: dict[str, np.ndarray], classes: tuple[str, ...]) -> str:
    return ", ".join(f"{classes[c]!r} is in {p} ({counts[p][c]:,} images) but not in train" for p, c in unlearnt[:5]) + (
        f", and {len(unlearnt) - 5} more" if len(unlearnt) > 5 else ""
    )


def _unasked_words(unasked: list[tuple[str, int]], classes: tuple[str, ...]) -> list[str]:
    return [
        f"in train but not in {part}: {', '.join(names[:5])}{', …' if len(names) > 5 else ''}"
        for part, names in _by_split(unasked, classes).items()
    ]


def _by_split(pairs: list[tuple[str, int]], classes: tuple[str, ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for part, label in pairs:
        found.setdefault(part, []).append(classes[label])
    return found
