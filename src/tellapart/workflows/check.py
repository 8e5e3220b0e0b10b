"""The command `check`: run the health checks on a set of images and collect their results, the worst first."""

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
from tellapart.errors import NoLabelsError, RecipeError, TellapartError
from tellapart.progress import SILENT, Progress
from tellapart.recipe.load import check_options
from tellapart.types import ImageTable

#: Severities with a non-zero exit code; with --strict, "notice" is added.
BAD: tuple[Severity, ...] = ("leak", "problem")
#: Checks that do not need `pixel_stats.traces`, which take half of the time of reading.
_WITHOUT_TRACES = frozenset(
    "files duplicates near_duplicates groups balance quality metadata names missing_classes class_names".split()
)


@dataclass(frozen=True, eq=False)
class CheckRun:
    """The run of one check.

    Attributes:
        name: Name of the check.
        result: Its result; the severity is "skipped" if the check failed.
        seconds: Its running time, without reading files that earlier checks had read.
        failure: The error with which the check failed; "" if it did not fail.
        per_image: Whether flagged images can be looked at and dropped one by one, as `HealthCheck.per_image`.
    """

    name: str
    result: CheckResult
    seconds: float
    failure: str = ""
    per_image: bool = True


@dataclass(frozen=True, eq=False)
class HealthReport:
    """The results of all checks on one set of images.

    Attributes:
        table: The N images, without those that a review dropped.
        checks: The runs of the checks, the worst first.
    """

    table: ImageTable
    checks: tuple[CheckRun, ...]

    @property
    def worst(self) -> Severity:
        """The worst severity of all checks."""
        return self.checks[0].result.severity if self.checks else "skipped"

    @property
    def failures(self) -> dict[str, str]:
        """Failed checks: name → error."""
        return {one.name: one.failure for one in self.checks if one.failure}

    def is_bad(self, strict: bool = False) -> bool:
        """Whether there is a leak or a problem; with `strict` also for a notice."""
        return self.worst in BAD or (strict and self.worst == "notice")

    def rows(self, name: str | None = None) -> pd.DataFrame:
        """Flagged images, the worst first: columns id, check, severity, score, reason, action ("drop" or "review").

        Args:
            name: Name of one check; None: all checks whose images can be looked at one by one, not those of whole classes.
        """
        listed = [one for one in self.checks if one.name == name or (name is None and one.per_image)]
        parts = [_rows(self.table, one) for one in listed]
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
    """Run health checks: find leaks, shortcuts and faulty images that would distort the scores of a classifier.

    Args:
        data: A path that `scan` understands, or a table; one class, or no labels at all, are enough.
        only: Names of checks to run; empty: all.
        skip: Names of checks to skip.
        options: "check.option" → value.
        reviewed: An edited CSV of flagged rows as `--fix-list` writes it: rows with the action "drop" are excluded from the
            data, rows with "keep" are no longer reported.
        runs: Folder of the runs that options name.
        seed: Random seed of the checks.
        progress: Progress display.

    Raises:
        DataError: The data or the review cannot be read.
        RecipeError: Unknown check or option.
    """
    checks = _build_checks(only, skip, options or {})
    table = data if isinstance(data, ImageTable) else read_or_list(lambda: scan(data, least=1), data)
    review = read_review(reviewed, table) if reviewed else Review()
    table = review.remaining(table)
    view = DatasetView(table, seed, progress, traces=not checks.keys() <= _WITHOUT_TRACES, runs=runs)
    in_order = sorted(checks.items(), key=lambda item: item[1].needs_pairs)
    done = [_run_check(name, made, view, review) for name, made in in_order]
    order = sorted(done, key=lambda one: (SEVERITIES.index(one.result.severity), one.failure == "", one.name))
    return HealthReport(table, tuple(order))


def read_or_list(scanned: Callable[[], ImageTable], data: str | Path) -> ImageTable:
    """Scan the data; if a folder has images but neither classes nor a table, list its images without labels.

    Raises:
        DataError: There are no images, a table cannot be read, or an option does not fit the data.
    """
    try:
        return scanned()
    except NoLabelsError:
        folder = Path(data)
        if not folder.is_dir() or any(folder.glob("*.[ct]sv")):
            raise
        return from_paths([folder])


def _build_checks(only: Sequence[str], skip: Sequence[str], options: Mapping[str, Any]) -> dict[str, HealthCheck]:
    """The requested checks, with their options, by name."""
    requested = [name.replace("-", "_") for name in only] or registry.names("checks")
    skipped = [name.replace("-", "_") for name in skip]
    classes = {name: registry.find("checks", name) for name in dict.fromkeys([*requested, *skipped])}
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
        for name in requested
        if name not in skipped
    }


def _run_check(name: str, made: HealthCheck, view: DatasetView, review: Review) -> CheckRun:
    """Run one check; an error is stored in the result, so that the other checks are not lost."""
    start = time.perf_counter()
    failure = ""
    try:
        found = review.apply(name, made(view), view.table.ids)
    except Exception as error:  # checks of other packages may raise anything
        failure = error.message if isinstance(error, TellapartError) else f"{type(error).__name__}: {error}"
        found = passed(len(view.table), f"the check failed: {failure}", "skipped")
    return CheckRun(name, found, time.perf_counter() - start, failure, made.per_image)


def _rows(table: ImageTable, one: CheckRun) -> pd.DataFrame:
    """The flagged images of one check, those to drop first, then by score."""
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
    """Convert to plain JSON values: numpy numbers to Python numbers, non-finite values to None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
