"""What every health check promises, and what it is given.

A check is one file with one final class; the file name is its name. It looks at a whole table through an `Evidence`, which
reads every file once and keeps what several checks need, and gives one `Found`: a score for each row, which rows are at
fault, one summary, one sentence of advice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, final

import numpy as np

from tellapart.recipe.schema import OptionsModel

if TYPE_CHECKING:
    from tellapart.checks._dataset_view import DatasetView

#: From worst to best: "leak": scores on these data will be too good; "problem": images or labels are wrong;
#: "notice": worth knowing, nothing to mend; "fine": looked, found nothing; "skipped": could not look.
Severity = Literal["leak", "problem", "notice", "fine", "skipped"]
SEVERITIES: tuple[Severity, ...] = ("leak", "problem", "notice", "fine", "skipped")


@dataclass(frozen=True, eq=False)
class CheckResult:
    """What one check says of N images.

    Attributes:
        severity: How bad.
        summary: One sentence: how many, of what, by what. "size 1024×1024 occurs only in 'fake' (312 of 400 images)".
        advice: One sentence: what to do. Empty where nothing was found.
        scores: (N,) float32 in [0, 1]; the higher, the worse.
        is_issue: (N,) bool.
        reasons: Of rows at fault, what is wrong with each, by position: it goes into the list of rows.
        pairs: (P, 2) int64 positions, where the finding is about pairs: duplicates.
        details: Plain JSON values: figures, names of features, per class, per split.
        drops: Positions of rows at fault that can be left out without loss; the other rows at fault must be looked at.
    """

    severity: Severity
    summary: str
    advice: str
    scores: np.ndarray
    is_issue: np.ndarray
    reasons: dict[int, str] = field(default_factory=dict)
    pairs: np.ndarray | None = None
    details: dict[str, Any] = field(default_factory=dict)
    drops: frozenset[int] = frozenset()


def passed(count: int, summary: str, severity: Severity = "fine", **details: Any) -> CheckResult:
    """Nothing found in `count` images, or nothing that could be looked at."""
    return CheckResult(severity, summary, "", np.zeros(count, np.float32), np.zeros(count, bool), details=details)


class HealthCheck(ABC):
    """One check."""

    class Options(OptionsModel):
        """Options of the check; each is described."""

    def __init__(self, options: OptionsModel | None = None) -> None:
        self.options: Any = options or self.Options()

    @final
    def __call__(self, view: DatasetView) -> CheckResult:
        """Look at all images of a table; nothing in it is changed."""
        return self._run(view)

    @classmethod
    def name(cls) -> str:
        """The name under which it is registered."""
        return cls.__module__.rpartition(".")[2]

    @abstractmethod
    def _run(self, view: DatasetView) -> CheckResult: ...
