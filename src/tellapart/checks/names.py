"""File names, folders and ids that give the label away.

No classifier of tellapart sees a name, so scores are not too good for it. But whoever gets the files sees them: a person who
labels, a competitor, another program that reads paths. Names are looked at without their ending, and without the folders that
are the class or the split. Names that tell surely are a leak, names that tell a
little a notice.
"""

from __future__ import annotations

import re

import numpy as np

from tellapart.checks._dataset_view import DatasetView
from tellapart.checks._shortcut import details, find_shortcuts, rows_explained, summary
from tellapart.checks._spelled import name_columns
from tellapart.checks._units import independent_groups
from tellapart.checks.base import CheckResult, HealthCheck, passed
from tellapart.data.layouts._aliases import parse_split
from tellapart.data.reader import parse_locator
from tellapart.types import ImageTable

_SUBJECT = "names"
_TELLING = 0.75  # AUROC: names of turned or numbered copies differ by class a little without saying it


class Names(HealthCheck):
    """Whether names tell the classes apart, and by what."""

    def _run(self, evidence: DatasetView) -> CheckResult:
        table, labels = evidence.table, evidence.table.labels
        classes = np.unique(labels[labels >= 0])
        if len(classes) < 2:
            return passed(len(table), "fewer than two classes have images: nothing to tell apart", "skipped")
        if _are_positions(table):
            return passed(len(table), "the images have no names but their positions", "skipped")
        columns = name_columns(*_names_and_folders(table))
        verdict = find_shortcuts(
            columns,
            labels,
            independent_groups(table, evidence.twins.cluster),
            {int(c): repr(table.classes[c]) for c in classes},
            evidence.seed,
        )
        text = summary(verdict, _SUBJECT)
        if not verdict.found:
            return passed(len(table), f"names do not give the classes away ({text})", **details(verdict))
        best = max([c.effect for c in verdict.carriers] + [verdict.told.auroc.value if verdict.told else 0.5])
        leak = best >= _TELLING
        rows = rows_explained(verdict, _SUBJECT)
        return CheckResult("leak" if leak else "notice", text, _ADVICE, *rows, details=details(verdict))


_ADVICE = (
    "give the files names that say nothing (numbers drawn by lot) before anybody, or any program that reads names, is judged "
    "on them; the classifiers of tellapart see no name"
)


def _are_positions(table: ImageTable) -> bool:
    """Whether ids only count: rows of a container, which are as often as not sorted by class."""
    numbers = np.char.rpartition(table.ids.astype(str), "#")[:, 2] if len(table) else np.zeros(0, str)
    if not len(numbers) or not np.char.isdigit(numbers).all() or parse_locator(str(table.paths[0])).row is None:
        return False
    return bool((np.diff(numbers.astype(np.float64)) > 0).all())


def _names_and_folders(table: ImageTable) -> tuple[list[str], list[list[str]]]:
    """Of each image its name without ending, and its folders less those that are a class or a split.

    A folder called like any class is left out, whatever the label: one that is left out only where it agrees would tell.
    """
    classes, names, folders = {name.casefold() for name in table.classes}, [], []
    for name, path in zip(table.ids.tolist(), table.paths.tolist(), strict=True):
        where = parse_locator(path)
        text = name if where.row is not None else where.file
        *parts, last = text.replace("\\", "/").split("/")
        names.append(re.sub(r"\.\w{1,5}\Z", "", last))
        folders.append([p for p in parts if not parse_split(p) and re.sub(r"\A[01]_", "", p).casefold() not in classes])
    return names, folders
