"""The contract of health checks: `HealthCheck`, its input `DatasetView` and its output `CheckResult`.

A check is one file with one class; the file name is the name of the check. It examines a whole table through a `DatasetView`,
which reads every file once and keeps what several checks need. It returns one `CheckResult`: a score and a flag for each
image, one summary, one sentence of advice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

import numpy as np

from tellapart.recipe.schema import OptionsModel

if TYPE_CHECKING:
    from tellapart.checks._dataset_view import DatasetView

#: From worst to best: "leak": scores on these data will be too good; "problem": images or labels are wrong;
#: "notice": worth knowing, nothing to fix; "fine": the check ran and found nothing; "skipped": the check could not run.
Severity = Literal["leak", "problem", "notice", "fine", "skipped"]
SEVERITIES: tuple[Severity, ...] = ("leak", "problem", "notice", "fine", "skipped")


@dataclass(frozen=True, eq=False)
class CheckResult:
    """The result of one check on N images.

    Attributes:
        severity: One of `SEVERITIES`.
        summary: One sentence with the figures: "size 1024×1024 occurs only in 'fake' (312 of 400 images)".
        advice: One sentence: what to do. Empty where nothing was found.
        scores: (N,) float32 in [0, 1]; the higher, the worse.
        is_issue: (N,) bool: whether the image is flagged.
        reasons: Position of a flagged image → what is wrong with it; shown in the list of flagged images.
        pairs: (P, 2) int64 positions, for findings about pairs of images (duplicates); else None.
        details: Plain JSON values: figures, names of features, per class, per split.
        drops: Positions of flagged images that can be excluded without loss; the other flagged images need a review.
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
    """The result of a check that found nothing in `count` images, or that could not run (severity "skipped")."""
    return CheckResult(severity, summary, "", np.zeros(count, np.float32), np.zeros(count, bool), details=details)


class HealthCheck(ABC):
    """Base class of all health checks. Subclasses implement `_run` and may define `Options`.

    Attributes:
        per_image: Whether a flagged image can be looked at and dropped by itself. False for what holds of a class or a split
            as a whole (a format, a name, a size): such images are no candidates for a fix list.
    """

    per_image: ClassVar[bool] = True

    #: Whether it uses `DatasetView.pairs`: it runs after the checks that find them.
    needs_pairs: ClassVar[bool] = False

    class Options(OptionsModel):
        """Options of the check; each has a description."""

    def __init__(self, options: OptionsModel | None = None) -> None:
        self.options: Any = options or self.Options()  # a check with options narrows this: `options: Options`

    @final
    def __call__(self, view: DatasetView) -> CheckResult:
        """Run the check on all images of a table; the table is not changed."""
        return self._run(view)

    @classmethod
    def name(cls) -> str:
        """The registered name: the name of the module."""
        return cls.__module__.rpartition(".")[2]

    @abstractmethod
    def _run(self, view: DatasetView) -> CheckResult: ...
