"""The verb `check`: a set of images in; what each health check says of it, the worst first."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tellapart import registry
from tellapart.checks._dataset_view import DatasetView
from tellapart.checks.base import SEVERITIES, CheckResult, HealthCheck, Severity, passed
from tellapart.checks.review import COLUMNS, Review, read_review
from tellapart.data.listing import from_paths
from tellapart.data.scan import scan
from tellapart.errors import DataError, RecipeError, TellapartError
from tellapart.progress import SILENT, Progress
from tellapart.recipe.load import check_options
from tellapart.types import ImageTable

#: Severities that make an exit code; with --strict notices, too.
BAD: tuple[Severity, ...] = ("leak", "problem")
#: Checks that do not ask for the traces in the pixels, which take half of the time of reading.
_WITHOUT_TRACES = frozenset("files duplicates near_duplicates groups balance quality metadata names missing_classes".split())


@dataclass(frozen=True, eq=False)
class CheckRun:
    """What one check said.

    Attributes:
        name: Of the check.
        found: What it found; "skipped" where it failed.
        seconds: What it took, what others had read before it not counted.
        failure: What the check itself died of; "" as a rule.
    """

    name: str
    result: CheckResult
    seconds: float
    failure: str = ""


@dataclass(frozen=True, eq=False)
class HealthReport:
    """What all checks said of one set of images.

    Attributes:
        table: The N images, less those that a review dropped.
        checks: The worst first.
    """

    table: ImageTable
    checks: tuple[CheckRun, ...]

    @property
    def worst(self) -> Severity:
        """The worst of all severities."""
        return self.checks[0].result.severity if self.checks else "skipped"

    @property
    def failures(self) -> dict[str, str]:
        """Checks that died, and of what."""
        return {one.name: one.failure for one in self.checks if one.failure}

    def is_bad(self, strict: bool = False) -> bool:
        """Whether there is a leak or a problem; strict: or a notice."""
        return self.worst in BAD or (strict and self.worst == "notice")

    def rows(self, name: str | None = None) -> pd.DataFrame:
        """Images at fault: columns id, check, severity, score, reason, action ("drop", "review"); the worst first.

        Args:
            name: Of one check; None: of all.
        """
        parts = [_rows(self.table, one) for one in self.checks if name in (None, one.name)]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "data": self.table.name, "images": len(self.table), "classes": list(self.table.classes), "worst": self.worst,
            "checks": [
                {"check": one.name, "severity": one.result.severity, "images": int(one.result.is_issue.sum()),
                 "summary": one.result.summary, "advice": one.result.advice, "failure": one.failure,
                 "seconds": round(one.seconds, 2), "details": _plain(one.result.details)}
                for one in self.checks
            ],
        }  # fmt: skip


def check(
    data: str | Path | ImageTable, *, only: Sequence[str] = (), skip: Sequence[str] = (),
    options: Mapping[str, Any] | None = None, reviewed: Path | None = None, runs: Path = Path("runs"), seed: int = 0,
    progress: Progress = SILENT,
) -> HealthReport:  # fmt: skip
    """Look for what would make a classifier look better, or worse, than it is.

    Args:
        data: What `scan` takes, or a table; one class, or no label at all, will do.
        only: Names of checks; none: all of them.
        skip: Names of checks to leave out.
        options: "check.option" → value.
        reviewed: A CSV of rows as `--fix-list` writes it, edited: rows with the action "drop" are left out, rows with
            "keep" are no longer counted.
        runs: Folder of the runs that options name.
        seed: Of whatever is drawn.
        progress: Where long work is reported.

    Raises:
        DataError: The data or the review cannot be read.
        RecipeError: Unknown check or option.
    """
    checks = _build_checks(only, skip, options or {})
    table = data if isinstance(data, ImageTable) else read_or_list(lambda: scan(data, least=1), data)
    review = read_review(reviewed, table) if reviewed else Review()
    table = review.remaining(table)
    view = DatasetView(table, seed, progress, traces=not checks.keys() <= _WITHOUT_TRACES, runs=runs)
    done = [_run_check(name, made, view, review) for name, made in checks.items()]
    order = sorted(done, key=lambda one: (SEVERITIES.index(one.result.severity), one.failure == "", one.name))
    return HealthReport(table, tuple(order))


def read_or_list(scanned: Callable[[], ImageTable], data: str | Path) -> ImageTable:
    """What `scanned` gives; where a folder has images but neither classes nor a table, its images without labels.

    Raises:
        DataError: There is no image at all, or a table that cannot be read.
    """
    try:
        return scanned()
    except DataError:
        folder = Path(data)
        if not folder.is_dir() or any(folder.glob("*.[ct]sv")):
            raise
        try:
            return from_paths([folder])
        except DataError:
            pass
        raise


def _build_checks(only: Sequence[str], skip: Sequence[str], options: Mapping[str, Any]) -> dict[str, HealthCheck]:
    """The checks asked for, with their options, by name."""
    wanted = [name.replace("-", "_") for name in only] or registry.names("checks")
    left_out = [name.replace("-", "_") for name in skip]
    classes = {name: registry.find("checks", name) for name in dict.fromkeys([*wanted, *left_out])}
    given: dict[str, dict[str, Any]] = {}
    for key, value in options.items():
        name, dot, option = key.partition(".")
        if not dot:
            raise RecipeError(f"{key}: expected CHECK.OPTION=VALUE, for example near_duplicates.candidates=16")
        given.setdefault(name.replace("-", "_"), {})[option] = value
    for name in given:
        registry.find("checks", name)
    return {
        name: classes[name](check_options(classes[name].Options, given.get(name, {}), f"check {name}"))
        for name in wanted
        if name not in left_out
    }


def _run_check(name: str, made: HealthCheck, view: DatasetView, review: Review) -> CheckRun:
    """One check; what it dies of is part of the answer, so that the others are not lost."""
    start = time.perf_counter()
    failure = ""
    try:
        found = review.apply(name, made(view), view.table.ids)
    except Exception as error:  # checks of other packages may die of anything
        failure = error.message if isinstance(error, TellapartError) else f"{type(error).__name__}: {error}"
        found = passed(len(view.table), f"the check failed: {failure}", "skipped")
    return CheckRun(name, found, time.perf_counter() - start, failure)


def _rows(table: ImageTable, one: CheckRun) -> pd.DataFrame:
    """The images at fault of one check, those to drop first, then by score."""
    found = one.result
    rows = np.flatnonzero(found.is_issue)
    drop = np.isin(rows, list(found.drops))
    order = np.lexsort((rows, -found.scores[rows], ~drop))
    rows, drop = rows[order], drop[order]
    columns = (
        table.ids[rows], one.name, found.severity, found.scores[rows].round(4),
        [found.reasons.get(row, found.summary) for row in rows.tolist()], np.where(drop, "drop", "review"),
    )  # fmt: skip
    return pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)))


def _plain(value: Any) -> Any:
    """Numbers of numpy as those of Python; what is not finite as None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
