"""Single features that are associated with a class, and how their values are distributed over the classes.

A categorical value (a format, a size) is tested against each class by Fisher's exact test, a numeric feature (a byte count) by
the Mann-Whitney test. Both use one image of each group and class: images of one group, and duplicates of one file, are not
independent. Every p-value is multiplied by the number of tests (Bonferroni). Significant but small effects are not reported.

Sources:
    Fisher (1922), "On the interpretation of χ² from contingency tables, and the calculation of P" (here: the smaller tail,
    twice).
    Mann & Whitney (1947), "On a test of whether one of two random variables is stochastically larger than the other".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.special import ndtr
from scipy.stats import hypergeom, rankdata

from tellapart.metrics.roc import roc_curve
from tellapart.metrics.roc_intervals import auroc_interval
from tellapart.types import Score

#: Probability of one false association among all tests of one check.
LEVEL = 1e-4
#: The lowest AUROC that is reported: it classifies one image in ten more than a coin flip would.
FLOOR = 0.55
_MAX_TESTED = 40  # the most frequent values of a feature that are tested
_MIN_COUNT = 4  # a value that occurs less often is not tested
WITHIN = 0.1  # a feature is explained by another if its AUROC is at most this much higher
_EXCLUSIVE_SHARE = 0.05  # the lowest share of a class with a value that no other class has
#: Features in `class_distributions`, classes in one distribution, values of a categorical feature.
MAX_FEATURES, MAX_CLASSES, MAX_VALUES = 4, 6, 8
_BINS = 24
_OUTLIERS = 0.5  # percent at either end, counted in the outermost bins


@dataclass(frozen=True, eq=False)
class Feature:
    """One property of every image.

    Attributes:
        name: For example "JPEG quality".
        values: (N,) float64; NaN where it does not apply.
        words: Value → text ("JPEG quality 75") of a categorical feature; empty for a numeric one.
        ordered: Whether the order of the values has a meaning.
        explained_by: Names of features that explain this one: where one of them separates the classes as well, this one is not
            reported.
        content_dependent: Whether the content of the image influences it, as it does the byte count.
    """

    name: str
    values: np.ndarray
    words: Mapping[float, str] = field(default_factory=dict)
    ordered: bool = False
    explained_by: tuple[str, ...] = ()
    content_dependent: bool = False


@dataclass(frozen=True, eq=False)
class Association:
    """A feature, or one value of it, that is associated with a class.

    Attributes:
        feature: The feature.
        label: The class that has the value more often; for a numeric feature, the class whose values differ.
        value: The value; None for a numeric feature.
        effect: AUROC of this alone, in [0.5, 1], on all images; for a value (1 + difference of the shares) / 2.
        auroc: The same with n and interval, for a numeric feature.
        p_value: Not corrected for the number of tests.
        inside, size: Images of the class with the value, and images of the class.
        others, rest: Images of the other classes with the value, and images of the other classes.
        more: For a numeric feature: whether its values are higher in the class.
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
    auroc: Score | None = None


def find_associations(features: Sequence[Feature], labels: np.ndarray, groups: np.ndarray) -> list[Association]:
    """Find associations of features with classes, the strongest first; those explained by another feature are excluded.

    Args:
        features: Features of N images.
        labels: (N,) int64; rows with −1 are ignored.
        groups: (N,) int64: images with equal numbers are not independent.
    """
    found, tests = [], 0
    for feature in features:
        known = np.flatnonzero((labels >= 0) & np.isfinite(feature.values))
        sides = _n_tested_classes(labels[known])
        if sides:
            values = _tested_values(feature, known)
            tests += sides * (len(values) + int(feature.ordered))
            alone = _one_per_group(known, labels, groups)
            found += [c for value in values for c in _value_associations(feature, float(value), labels, known, alone)]
            found += _measure_associations(feature, labels, known, alone) if feature.ordered else []
    found = [c for c in found if c.p_value * tests < LEVEL]
    best: dict[str, float] = {}
    for c in found:
        best[c.feature.name] = max(best.get(c.feature.name, 0), c.effect)
    found = [c for c in found if not any(best.get(name, 0) >= c.effect - WITHIN for name in c.feature.explained_by)]
    return sorted(
        (_with_interval(c, labels, groups) for c in found),
        key=lambda c: (c.feature.content_dependent, -round(c.effect, 2), c.value is None, c.others, not c.more),
    )


def class_distributions(
    associations: Sequence[Association], labels: np.ndarray, names: Mapping[int, str]
) -> list[dict[str, Any]]:
    """Distribution of each associated feature over the classes, the strongest first, at most `MAX_FEATURES`: plain JSON values.

    Args:
        associations: The strongest first.
        labels: (N,) int64; rows with −1 are ignored.
        names: Label → name of the class in a sentence.

    Returns:
        For each feature `by`: its name; `shares`: class → shares of its images, which sum to 1; and the bins: `edges` (one more
        than shares) of a numeric feature, `values` as text of a categorical one. With many classes, the associated class is
        compared with "the others".
    """
    first: dict[str, Association] = {}
    for association in associations:
        first.setdefault(association.feature.name, association)
    return [_distribution(association, labels, names) for association in list(first.values())[:MAX_FEATURES]]


def class_aurocs(values: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """One-vs-rest AUROC of a numeric feature for each class: (C,) float64; NaN for a class without images or others.

    Args:
        values: (N,) float64, finite.
        labels: (N,) int64 in 0 … C−1.
        classes: The number of classes C.

    >>> class_aurocs(np.array([1.0, 2.0, 3.0, 3.0]), np.array([0, 0, 1, 1]), 2).tolist()
    [0.0, 1.0]
    """
    size = np.bincount(labels, minlength=classes)
    pairs = np.where(size * (len(labels) - size) > 0, size * (len(labels) - size), np.nan)
    wins = np.bincount(labels, weights=rankdata(values), minlength=classes) - size * (size + 1) / 2
    return wins / pairs


def _n_tested_classes(labels: np.ndarray) -> int:
    """Number of classes that are tested against the others; with two classes one test is enough."""
    classes = len(np.unique(labels))
    return 0 if classes < 2 else 1 if classes == 2 else classes


def _one_per_group(known: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Select the first row of each group and class among the rows `known`: (M,) int64."""
    pairs = groups[known] * (int(labels.max()) + 1) + labels[known]
    return known[np.sort(np.unique(pairs, return_index=True)[1])]


def _tested_values(feature: Feature, known: np.ndarray) -> np.ndarray:
    """The values of a categorical feature that are tested: (V,) float64."""
    if not feature.words:
        return np.zeros(0)
    values, counts = np.unique(feature.values[known], return_counts=True)
    most = np.argsort(-counts, kind="stable")[:_MAX_TESTED]
    return values[most[counts[most] >= _MIN_COUNT]]


def _value_associations(
    feature: Feature, value: float, labels: np.ndarray, known: np.ndarray, alone: np.ndarray
) -> list[Association]:
    """Classes that have a value more often than the others by at least `FLOOR`; p-values are not corrected.

    `known`, `alone`: positions of all images, and of independent ones.
    """
    classes = int(labels.max()) + 1
    size, inside = (np.bincount(labels[rows], minlength=classes) for rows in (known, known[feature.values[known] == value]))
    own, having = (np.bincount(labels[rows], minlength=classes) for rows in (alone, alone[feature.values[alone] == value]))
    found = []
    for label in np.flatnonzero(inside):
        others, rest = int(inside.sum() - inside[label]), int(size.sum() - size[label])
        gain = inside[label] / size[label] - others / max(rest, 1)
        only = not others and inside[label] >= _EXCLUSIVE_SHARE * size[label]
        if rest and (only or (1 + gain) / 2 >= FLOOR):
            p = _fisher(int(having[label]), int(own[label]), int(having.sum()), int(own.sum()))
            mine = int(inside[label]), int(size[label])
            found.append(Association(feature, int(label), value, (1 + gain) / 2, p, *mine, others, rest))
    return found


def _fisher(inside: int, size: int, having: int, total: int) -> float:
    """Two-sided p-value of `inside` of `size` images having a value that `having` of all `total` have: twice the smaller
    tail.
    """
    tail = min(hypergeom.sf(inside - 1, total, having, size), hypergeom.cdf(inside, total, having, size))
    return min(1.0, 2 * float(tail))


def _measure_associations(feature: Feature, labels: np.ndarray, known: np.ndarray, alone: np.ndarray) -> list[Association]:
    """Classes in which a numeric feature is higher or lower than in the others, as `_value_associations`."""
    classes = int(labels.max()) + 1
    area = class_aurocs(feature.values[known], labels[known], classes)
    p_values = _rank_test(feature.values[alone], labels[alone], classes)
    size = np.bincount(labels[known], minlength=classes)
    found = []
    for label in np.flatnonzero(np.abs(np.nan_to_num(area, nan=0.5) - 0.5) >= FLOOR - 0.5):
        effect, p = float(max(area[label], 1 - area[label])), float(p_values[label])
        own, rest = int(size[label]), int(size.sum() - size[label])
        found.append(Association(feature, int(label), None, effect, p, size=own, rest=rest, more=float(area[label]) > 0.5))
    return found


def _with_interval(association: Association, labels: np.ndarray, groups: np.ndarray) -> Association:
    """Add the AUROC of a numeric feature, with DeLong's interval over groups."""
    if association.value is not None:
        return association
    values = association.feature.values
    known = (labels >= 0) & np.isfinite(values)
    units = np.unique(groups[known], return_inverse=True)[1].astype(np.int64)
    curve = roc_curve(labels[known] == association.label, values[known] if association.more else -values[known])
    return replace(association, auroc=Score(association.effect, len(units), *auroc_interval(curve, units)))


def _rank_test(values: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Two-sided p-values of each class against all others, by the normal approximation corrected for ties: (C,) float64."""
    size, total = np.bincount(labels, minlength=classes), len(labels)
    ties = np.unique(values, return_counts=True)[1].astype(np.float64)
    spread = (total + 1) - np.sum(ties**3 - ties) / max(total * (total - 1), 1)
    if spread <= 0:  # all values are equal
        return np.ones(classes)
    pairs = np.maximum(size * (total - size), 1)
    z = (class_aurocs(values, labels, classes) - 0.5) / np.sqrt(spread / (12 * pairs))
    return np.where(np.isfinite(z), 2 * ndtr(-np.abs(np.nan_to_num(z))), 1.0)


def _distribution(association: Association, labels: np.ndarray, names: Mapping[int, str]) -> dict[str, Any]:
    feature = association.feature
    known = (labels >= 0) & np.isfinite(feature.values)
    values, groups = feature.values[known], _class_masks(association, labels[known], names)
    if not feature.words:
        low, high = np.percentile(values, [_OUTLIERS, 100 - _OUTLIERS])
        edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
        places = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, _BINS - 1)
        return {"by": feature.name, "edges": edges.tolist(), "shares": _shares(places, groups, _BINS)}
    places, words = _value_bins(association, values)
    return {"by": feature.name, "values": words, "shares": _shares(places, groups, len(words))}


def _class_masks(association: Association, labels: np.ndarray, names: Mapping[int, str]) -> dict[str, np.ndarray]:
    """Name → (N,) bool mask: every class, or, with many classes, the associated one and the others."""
    present = [label for label in names if (labels == label).any()]
    if len(present) <= MAX_CLASSES:
        return {names[label]: labels == label for label in present}
    return {names[association.label]: labels == association.label, "the others": labels != association.label}


def _value_bins(association: Association, values: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The bin of each value and the texts of the bins: first the associated value, then the most frequent; the rest share
    one.
    """
    kinds, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    order = np.lexsort((-counts, kinds != association.value))
    place = np.empty(len(kinds), np.int64)
    place[order] = np.minimum(np.arange(len(kinds)), MAX_VALUES)
    more = ["other"] if len(kinds) > MAX_VALUES else []
    return place[inverse], [association.feature.words.get(float(kinds[k]), "") for k in order[:MAX_VALUES]] + more


def _shares(places: np.ndarray, groups: Mapping[str, np.ndarray], count: int) -> dict[str, list[float]]:
    return {
        name: (np.bincount(places[rows], minlength=count) / max(int(rows.sum()), 1)).round(4).tolist()
        for name, rows in groups.items()
    }
