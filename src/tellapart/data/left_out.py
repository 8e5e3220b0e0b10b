"""What was left out of a data set: counted by class, worded in one way, and tested for a loss that depends on the class.

`ImageTable.problems` and the counts of the images that remain are all that is needed; a run stores both in `data.json`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.errors import DataError
from tellapart.types import ImageTable, Problem

_UNUSED = frozenset({"other file", "image without a row"})  # what was found beside the labeled images and is not used
#: Problems that stop nothing.
HARMLESS = _UNUSED | {"look-alike classes", "loop of links"}
_NO_IMAGE = frozenset({"empty class"})  # problems that are no image
_SURE = 0.01  # p-value, corrected for the number of classes, from which a loss is said to depend on the class
_NAMED = 5  # classes that are named, those that lost most


@dataclass(frozen=True)
class Lopsided:
    """A loss that depends on the class.

    Attributes:
        name: The class that lost most, or least, compared with all others together.
        lost, of: Images of the class that are left out, and all of them.
        others_lost, others_of: The same for the other classes.
        p_value: Fisher's exact test, two-sided, times the number of classes (Bonferroni).
    """

    name: str
    lost: int
    of: int
    others_lost: int
    others_of: int
    p_value: float


@dataclass(frozen=True)
class LeftOut:
    """What was left out of a data set.

    Attributes:
        kept: Class → images that remain; "" for those without a label.
        lost: Kind of problem → class → images that are left out; "" where the class is not known.
        not_used: What was found beside the images and not used, one phrase each.
        notes: What the layout did not use, or read in another way: one sentence each, with the option to choose.
    """

    kept: Mapping[str, int]
    lost: Mapping[str, Mapping[str, int]]
    not_used: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def by_class(self) -> dict[str, int]:
        """Class → images that are left out, for every class; "" only where there are such images."""
        total = Counter(dict.fromkeys((name for name in self.kept if name), 0))
        for counts in self.lost.values():
            total.update(counts)
        return dict(total)

    @property
    def images(self) -> int:
        """Number of images that are left out."""
        return sum(self.by_class.values())

    def lopsided(self) -> Lopsided | None:
        """The class whose loss differs most from that of the others, if Fisher's exact test finds it (p < 0.01, corrected).

        Images whose class is not known do not count.
        """
        lost = {name: n for name, n in self.by_class.items() if name}
        if not any(lost.values()) or len(lost) < 2:
            return None
        from scipy.stats import fisher_exact

        kept = {name: self.kept.get(name, 0) for name in lost}
        all_lost, all_kept = sum(lost.values()), sum(kept.values())
        found: list[tuple[float, float, str]] = []
        for name, n in lost.items():
            grid = [[n, kept[name]], [all_lost - n, all_kept - kept[name]]]
            p_value = float(getattr(fisher_exact(grid), "pvalue")) * len(lost)  # noqa: B009
            found.append((p_value, -n / max(n + kept[name], 1), name))
        p_value, _, name = min(found)
        if p_value >= _SURE:
            return None
        others = all_lost - lost[name], all_lost + all_kept - lost[name] - kept[name]
        return Lopsided(name, lost[name], lost[name] + kept[name], *others, p_value)

    def summary(self) -> str:
        """Figures in words, "" when nothing is left out: "15 of 60 images (fake 15, real 0): corrupt image 15"."""
        if not self.images:
            return ""
        total = self.images + sum(self.kept.values())
        kinds = ", ".join(f"{kind} {sum(counts.values()):,}" for kind, counts in self.lost.items())
        return f"{self.images:,} of {total:,} images ({self._classes()}): {kinds}"

    def _classes(self) -> str:
        found = self.by_class
        known = sorted((name for name in found if name), key=lambda name: (-found[name], name))
        shown = known if len(known) <= _NAMED + 1 else known[:_NAMED]
        words = [f"{name} {found[name]:,}" for name in shown]
        if rest := known[len(shown) :]:
            words.append(f"{len(rest):,} more classes {sum(found[name] for name in rest):,}")
        return ", ".join([*words, *([f"class unknown {found['']:,}"] if found.get("") else [])])

    def warning(self) -> str:
        """A sentence where the loss depends on the class, else ""."""
        found = self.lopsided()
        if found is None:
            return ""
        share, others = found.lost / found.of, found.others_lost / max(found.others_of, 1)
        p_value = "p < 0.001" if found.p_value < 0.001 else f"p = {found.p_value:.3f}"
        return (
            f"warning: the loss depends on the class: {found.name} lost {found.lost:,} of {found.of:,} images ({share:.0%}), "
            f"the others {found.others_lost:,} of {found.others_of:,} ({others:.0%}), {p_value}"
        )

    def lines(self) -> list[str]:
        """What is printed under every table: what is left out, a warning, and what was not used."""
        summary = self.summary()
        return [*([f"left out: {summary}"] if summary else []), *self.further_lines()]

    def further_lines(self) -> list[str]:
        """The lines after the first: the warning, what was not used, and the notes of the layout."""
        warning = self.warning()
        unused = [f"not used: {'; '.join(self.not_used)}"] if self.not_used else []
        return [*([warning] if warning else []), *unused, *(f"note: {note}" for note in self.notes)]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        found = self.lopsided()
        return {
            "images": self.images, "of": self.images + sum(self.kept.values()), "by_class": self.by_class,
            "by_kind": {kind: dict(counts) for kind, counts in self.lost.items()},
            "lopsided": None if found is None else dict(vars(found)), "not_used": list(self.not_used),
            "notes": list(self.notes),
        }  # fmt: skip


def left_out(table: ImageTable, more: Sequence[Problem] = ()) -> LeftOut:
    """What was left out of a table. `more`: problems that would lose images of the table, such as unreadable headers."""
    labels = table.labels
    counts = np.bincount(labels[labels >= 0], minlength=len(table.classes)).tolist()
    kept = dict(zip(table.classes, counts, strict=True))
    for problem in more:
        if problem.label in kept:
            kept[problem.label] -= problem.count
    unlabeled = int((labels < 0).sum())
    return summarize_problems(kept | ({"": unlabeled} if unlabeled else {}), (*table.problems, *more), table.notes)


def summarize_problems(kept: Mapping[str, int], problems: Sequence[Problem], notes: Sequence[str] = ()) -> LeftOut:
    """Count problems by kind and class. `kept`: class → images that remain; `notes`: those of the layout."""
    lost: dict[str, Counter[str]] = {}
    for problem in problems:
        if _is_loss(problem):
            lost.setdefault(problem.kind, Counter())[problem.label] += problem.count
    ordered = dict(sorted(lost.items(), key=lambda item: (-sum(item[1].values()), item[0])))
    rest = [problem for problem in problems if problem.kind in HARMLESS and not _is_loss(problem)]
    unused = tuple(problem.message for problem in rest if problem.kind in _UNUSED)
    said = [f"{problem.where}: {problem.message}" for problem in rest if problem.kind not in _UNUSED]
    return LeftOut(dict(kept), ordered, unused, (*notes, *said))


def _is_loss(problem: Problem) -> bool:
    """Whether a problem loses images: unused ones are lost where their class is known."""
    if problem.kind in _NO_IMAGE or problem.kind in HARMLESS - _UNUSED:
        return False
    return problem.kind not in _UNUSED or bool(problem.label)


def check_problems(table: ImageTable, skip_bad: bool) -> list[Problem]:
    """The problems that stop the work; an error if there are any and `skip_bad` is not set.

    Raises:
        DataError: Names them.
    """
    bad = [problem for problem in table.problems if problem.kind not in HARMLESS]
    if bad and not skip_bad:
        raise DataError(format_problems(bad), hint="fix them, or pass --skip-bad to exclude and report these rows")
    return bad


def format_problems(problems: Sequence[Problem], shown: int = 10) -> str:
    """Counts per kind, then the first few."""
    counts: Counter[str] = Counter()
    for problem in problems:
        counts[problem.kind] += max(problem.count, 1)
    total = ", ".join(f"{kind}: {n:,}" for kind, n in counts.items())
    lines = "".join(f"\n    {p}" for p in problems[:shown])
    more = f"\n    … and {len(problems) - shown:,} more" if len(problems) > shown else ""
    return f"the data have problems ({total}):{lines}{more}"
