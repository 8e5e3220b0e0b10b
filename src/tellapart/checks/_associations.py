"""Which single things tell classes apart: of each kind of value how often it occurs by class, of each measure how it ranks.

A value that is a kind (a format, a size) is tested against each class by Fisher's exact test, a measure (a byte count) by the
Mann-Whitney test, both on one image of each unit and class: images of one group, or the same file twice, are no evidence of
their own. Every p-value is multiplied by the number of tests (Bonferroni). What is significant but small is left out.

Sources:
    Fisher (1922), "On the interpretation of χ² from contingency tables, and the calculation of P" (here: the smaller tail,
    twice).
    Mann & Whitney (1947), "On a test of whether one of two random variables is stochastically larger than the other".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import ndtr
from scipy.stats import hypergeom, rankdata

#: Chance of one false carrier among all that one check looks at.
LEVEL = 1e-4
#: The least AUROC of a carrier that is worth a word: it tells one in ten images more than a coin would.
FLOOR = 0.55
_KINDS = 40  # the most frequent values of a column that are tested
_RARE = 4  # a value that occurs less often is not tested
_ABOUT = 0.1  # AUROC by which a carrier may tell more than what explains it
_ONLY = 0.05  # the least share of a class that has a value which no other class has


@dataclass(frozen=True, eq=False)
class Feature:
    """One thing that is known of every image.

    Attributes:
        name: As in "JPEG quality".
        values: (N,) float64; NaN where it does not apply.
        words: Value → words, "JPEG quality 75": the values are kinds. Empty: they are not.
        ordered: Whether more and less mean something.
        behind: Names of columns that explain this one: where one of them tells classes apart, this one is not news.
        content: Whether what the picture shows moves it too, as it does the byte count.
    """

    name: str
    values: np.ndarray
    words: Mapping[float, str] = field(default_factory=dict)
    ordered: bool = False
    explained_by: tuple[str, ...] = ()
    content_dependent: bool = False


@dataclass(frozen=True, eq=False)
class Association:
    """A column, or one value of it, that goes with a class.

    Attributes:
        column: The column.
        label: The class that has it more often (a measure: the class whose values differ).
        value: The value; None for a measure.
        effect: AUROC of this alone, in [0.5, 1], on all images; of a value (1 + difference of the shares) / 2.
        p_value: As if nothing else had been tested.
        inside, size: Images of the class that have the value, and images of the class.
        others, rest: Images of the other classes that have it, and images of the other classes.
        more: Of a measure: whether the class has more of it.
    """

    feature: Feature
    label: int
    value: float | None
    effect: float
    p_value: float
    inside: int = 0
    size: int = 0
    others: int = 0
    rest: int = 0
    more: bool = True


def find_associations(features: Sequence[Feature], labels: np.ndarray, groups: np.ndarray) -> list[Association]:
    """Carriers of the label, the most telling first; those explained by another column left out.

    Args:
        columns: What to look at.
        labels: (N,) int64; −1 is left out.
        units: (N,) int64: images with equal numbers are not independent.
    """
    found, tests = [], 0
    for column in features:
        known = np.flatnonzero((labels >= 0) & np.isfinite(column.values))
        sides = _sides(labels[known])
        if sides:
            values = _frequent(column, known)
            tests += sides * (len(values) + int(column.ordered))
            alone = _one_of_each(known, labels, groups)
            found += [c for value in values for c in _kinds(column, float(value), labels, known, alone)]
            found += _measures(column, labels, known, alone) if column.ordered else []
    found = [c for c in found if c.p_value * tests < LEVEL]
    best: dict[str, float] = {}
    for c in found:
        best[c.column.name] = max(best.get(c.column.name, 0), c.effect)
    found = [c for c in found if not any(best.get(name, 0) >= c.effect - _ABOUT for name in c.column.behind)]
    return sorted(
        found, key=lambda c: (c.feature.content_dependent, -round(c.effect, 2), c.value is None, c.others, not c.more)
    )


def _sides(labels: np.ndarray) -> int:
    """Classes that are tested against the others; of two, one is the other's mirror."""
    classes = len(np.unique(labels))
    return 0 if classes < 2 else 1 if classes == 2 else classes


def _one_of_each(known: np.ndarray, labels: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Of the rows `known` one of each unit and class: (M,) int64. The first in the table: as good as any."""
    pairs = units[known] * (int(labels.max()) + 1) + labels[known]
    return known[np.sort(np.unique(pairs, return_index=True)[1])]


def _frequent(column: Feature, known: np.ndarray) -> np.ndarray:
    """The values that are tested, as kinds."""
    if not column.words:
        return np.zeros(0)
    values, counts = np.unique(column.values[known], return_counts=True)
    most = np.argsort(-counts, kind="stable")[:_KINDS]
    return values[most[counts[most] >= _RARE]]


def _kinds(column: Feature, value: float, labels: np.ndarray, known: np.ndarray, alone: np.ndarray) -> list[Association]:
    """Classes that have a value more often than the others, as far as it is worth a word; p-values not corrected.

    `known`, `alone`: positions of all images, and of independent ones.
    """
    classes = int(labels.max()) + 1
    size, inside = (np.bincount(labels[rows], minlength=classes) for rows in (known, known[column.values[known] == value]))
    own, having = (np.bincount(labels[rows], minlength=classes) for rows in (alone, alone[column.values[alone] == value]))
    found = []
    for label in np.flatnonzero(inside):
        others, rest = int(inside.sum() - inside[label]), int(size.sum() - size[label])
        gain = inside[label] / size[label] - others / max(rest, 1)
        only = not others and inside[label] >= _ONLY * size[label]
        if rest and (only or (1 + gain) / 2 >= FLOOR):
            p = _fisher(int(having[label]), int(own[label]), int(having.sum()), int(own.sum()))
            mine = int(inside[label]), int(size[label])
            found.append(Association(column, int(label), value, (1 + gain) / 2, p, *mine, others, rest))
    return found


def _fisher(inside: int, size: int, having: int, total: int) -> float:
    """Two-sided p of `inside` of `size` images having a value that `having` of all `total` have: the smaller tail, twice."""
    tail = min(hypergeom.sf(inside - 1, total, having, size), hypergeom.cdf(inside, total, having, size))
    return min(1.0, 2 * float(tail))


def _measures(column: Feature, labels: np.ndarray, known: np.ndarray, alone: np.ndarray) -> list[Association]:
    """Classes in which a measure is higher or lower than in the others, as `_kinds`."""
    classes = int(labels.max()) + 1
    area = class_aurocs(column.values[known], labels[known], classes)
    p_values = _rank_test(column.values[alone], labels[alone], classes)
    size = np.bincount(labels[known], minlength=classes)
    found = []
    for label in np.flatnonzero(np.abs(np.nan_to_num(area, nan=0.5) - 0.5) >= FLOOR - 0.5):
        effect, p = float(max(area[label], 1 - area[label])), float(p_values[label])
        own, rest = int(size[label]), int(size.sum() - size[label])
        found.append(Association(column, int(label), None, effect, p, size=own, rest=rest, more=float(area[label]) > 0.5))
    return found


def class_aurocs(values: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """AUROC of a measure, of each class against all others: (C,) float64; NaN for a class without images or others.

    Args:
        values: (N,) float64, finite.
        labels: (N,) int64 in 0 … C−1.
        classes: C.

    >>> areas(np.array([1.0, 2.0, 3.0, 3.0]), np.array([0, 0, 1, 1]), 2).tolist()
    [0.0, 1.0]
    """
    size = np.bincount(labels, minlength=classes)
    pairs = np.where(size * (len(labels) - size) > 0, size * (len(labels) - size), np.nan)
    wins = np.bincount(labels, weights=rankdata(values), minlength=classes) - size * (size + 1) / 2
    return wins / pairs


def _rank_test(values: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Two-sided p of each class against all others, by the normal limit with the variance of ties: (C,) float64."""
    size, total = np.bincount(labels, minlength=classes), len(labels)
    ties = np.unique(values, return_counts=True)[1].astype(np.float64)
    spread = (total + 1) - np.sum(ties**3 - ties) / max(total * (total - 1), 1)
    if spread <= 0:  # all values are equal
        return np.ones(classes)
    pairs = np.maximum(size * (total - size), 1)
    z = (class_aurocs(values, labels, classes) - 0.5) / np.sqrt(spread / (12 * pairs))
    return np.where(np.isfinite(z), 2 * ndtr(-np.abs(np.nan_to_num(z))), 1.0)


# --- how the values of a telling column are spread over the classes: what a figure of a finding shows, as pla ---------


#: Columns that are shown, classes told apart in one picture, values of a kind.
MOST_COLUMNS, MOST_CLASSES, MOST_KINDS = 4, 6, 8
_BINS = 24
_OUTLIERS = 0.5  # per cent at either end, shown in the outermost bins


def class_distributions(
    associations: Sequence[Association], labels: np.ndarray, names: Mapping[int, str]
) -> list[dict[str, Any]]:
    """Of each column that carries something, the most telling first, at most `MOST_COLUMNS`.

    Args:
        carriers: The most telling first.
        labels: (N,) int64; −1 is left out.
        names: Label → how a sentence calls it.

    Returns:
        `by`: the column; `shares`: class → shares of its images, which add up to 1; and where they lie: `edges`, one more than
        shares, of a measure, `values` in words of a kind. Of many classes the carrier's stands against "the others".
    """
    first: dict[str, Association] = {}
    for carrier in associations:
        first.setdefault(carrier.feature.name, carrier)
    return [_spread(carrier, labels, names) for carrier in list(first.values())[:MOST_COLUMNS]]


def _spread(carrier: Association, labels: np.ndarray, names: Mapping[int, str]) -> dict[str, Any]:
    column = carrier.feature
    known = (labels >= 0) & np.isfinite(column.values)
    values, groups = column.values[known], _groups(carrier, labels[known], names)
    if not column.words:
        low, high = np.percentile(values, [_OUTLIERS, 100 - _OUTLIERS])
        edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
        places = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, _BINS - 1)
        return {"by": column.name, "edges": edges.tolist(), "shares": _shares(places, groups, _BINS)}
    places, words = _kinds_distributions(carrier, values)
    return {"by": column.name, "values": words, "shares": _shares(places, groups, len(words))}


def _groups(carrier: Association, labels: np.ndarray, names: Mapping[int, str]) -> dict[str, np.ndarray]:
    """Name → which images: every class, or of many the one in question and the others."""
    present = [label for label in names if (labels == label).any()]
    if len(present) <= MOST_CLASSES:
        return {names[label]: labels == label for label in present}
    return {names[carrier.label]: labels == carrier.label, "the others": labels != carrier.label}


def _kinds_distributions(carrier: Association, values: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The place of each value, the carrier's own first, then the most frequent, and their words; the rest stands together."""
    kinds, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    order = np.lexsort((-counts, kinds != carrier.value))
    place = np.empty(len(kinds), np.int64)
    place[order] = np.minimum(np.arange(len(kinds)), MOST_KINDS)
    more = ["other"] if len(kinds) > MOST_KINDS else []
    return place[inverse], [carrier.feature.words.get(float(kinds[k]), "") for k in order[:MOST_KINDS]] + more


def _shares(places: np.ndarray, groups: Mapping[str, np.ndarray], count: int) -> dict[str, list[float]]:
    return {
        name: (np.bincount(places[rows], minlength=count) / max(int(rows.sum()), 1)).round(4).tolist()
        for name, rows in groups.items()
    }
