"""How often 95 % intervals hold the truth at n ≥ 200, shares from 0.05 to 0.95; `benchmarks/interval_coverage.py` has more.

Groups: a population of groups is drawn from, each with its classes and its difficulty; the truth is that of endlessly many.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy import stats

from tellapart.metrics.classification import kappa_of, matthews_of
from tellapart.metrics.intervals import share_interval, wilson
from tellapart.metrics.mcnemar import paired_difference
from tellapart.metrics.score_all import score_all
from tellapart.types import Predictions

SHARES = [0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95]
CLASSES = 4


@pytest.mark.parametrize("n", [200, 500, 2_000])
def test_wilson_covers_exactly(n):
    """No simulation: the chances of all k whose interval holds p. They jump with p, so p runs over a fine grid."""
    ends = np.array([wilson(k, n) for k in range(n + 1)])
    grid = np.linspace(0.05, 0.95, 901)
    holds = (ends[:, :1] <= grid) & (grid <= ends[:, 1:])
    covered = np.sum(stats.binom.pmf(np.arange(n + 1)[:, None], n, grid) * holds, axis=0)
    print(f"\n  Wilson, n = {n}: covers {covered.min():.4f} … {covered.max():.4f}, mean {covered.mean():.4f}", end="")
    assert 0.93 <= covered.min() and covered.max() <= 0.97
    assert covered.mean() == pytest.approx(0.95, abs=0.003)


@pytest.mark.slow
@pytest.mark.parametrize("share", SHARES)
def test_scores_of_answers_cover(share):
    """400 images of 4 classes, each right with this chance, wrong answers even; 1,000 test parts (± 1.4 points)."""
    rng, n = np.random.default_rng(int(100 * share)), 400
    labels = np.arange(n) % CLASSES
    mix = np.full(CLASSES, 1 / CLASSES)
    counts = (mix * share, mix, mix)
    truth = dict.fromkeys(("accuracy", "balanced-accuracy", "macro-precision", "macro-recall", "macro-f1"), share)
    truth |= {"weighted-f1": share, "matthews": float(matthews_of(*counts)), "kappa": float(kappa_of(*counts))}
    truth["brier"] = share * (0.2**2 + 3 * (0.2 / 3) ** 2) + (1 - share) * (0.8**2 + (1 - 0.2 / 3) ** 2 + 2 * (0.2 / 3) ** 2)
    held = dict.fromkeys(truth, 0)
    for _ in range(1_000):
        wrong = (labels + rng.integers(1, CLASSES, size=n)) % CLASSES
        answers = np.where(rng.random(n) < share, labels, wrong)
        proba = np.full((n, CLASSES), 0.2 / 3) + (0.8 - 0.2 / 3) * np.eye(CLASSES)[answers]
        scores = score_all(Predictions(np.arange(n).astype(object), proba, labels, tuple("abcd")))
        for name, value in truth.items():
            held[name] += scores[name].low <= value <= scores[name].high
    print(f"\n  p = {share}:", {name: count / 1_000 for name, count in held.items()}, end="")
    assert all(0.93 <= count / 1_000 <= 0.97 for count in held.values()), held


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_paired_differences_cover(share):
    rng, held = np.random.default_rng(1), 0
    for _ in range(2_000):
        common = rng.random(200) < 0.5
        a, b = (np.where(common, rng.random(200) < share, draw < share) for draw in rng.random((2, 200)))
        difference = paired_difference(a, b)
        held += difference.low <= 0 <= difference.high
    assert 0.93 <= held / 2_000 <= 0.97, held


@dataclass(frozen=True)
class Groups:
    """A population of groups: the share that are pairs of both classes; the others have images of one class.

    Attributes:
        paired: Share of the groups that are pairs.
        largest: Images of a group of one class: 1 to this many.
        first: Share of class 0 among the groups of one class.
        right: Chance of a right prediction; None for a constant baseline that predicts class 0.
        spread: a + b of the Beta distribution of the difficulty of a group; None if images are independent.
    """

    paired: float
    largest: int
    first: float
    right: float | None = None
    spread: float | None = None

    @property
    def truth(self) -> float:
        mean = (1 + self.largest) / 2
        of_first = self.paired + (1 - self.paired) * self.first * mean
        return self.right if self.right is not None else of_first / (2 * self.paired + (1 - self.paired) * mean)

    def draw(self, rng: np.random.Generator, count: int) -> Predictions:
        pair = rng.random(count) < self.paired
        sizes = np.where(pair, 2, rng.integers(1, self.largest + 1, size=count))
        group = np.repeat(np.arange(count), sizes)
        place = np.arange(len(group)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        labels = np.where(pair[group], place, (rng.random(count) >= self.first)[group])
        chance = np.full(len(group), 0.0 if self.right is None else self.right)
        if self.right is not None and self.spread is not None:
            chance = rng.beta(self.right * self.spread, (1 - self.right) * self.spread, size=count)[group]
        answers = np.where(rng.random(len(group)) < chance, labels, 1 - labels) if self.right is not None else 0 * labels
        proba = np.full((len(group), 2), 0.3) + 0.4 * np.eye(2)[answers]
        return Predictions(
            np.arange(len(group)).astype(object), proba, labels, ("a", "b"), groups=group.astype(str).astype(object)
        )


POPULATIONS = {
    "constant, groups of one class": Groups(0, 4, 0.6),
    "constant, pairs": Groups(1, 1, 0.5),
    "constant, nearly all pairs": Groups(0.93, 1, 1.0),
    "constant, mixed": Groups(0.5, 3, 0.7),
    "paired, independent": Groups(1, 1, 0.5, right=0.8),
    "paired, dependent": Groups(1, 1, 0.5, right=0.8, spread=2),
    "mixed, dependent": Groups(0.5, 8, 0.7, right=0.7, spread=3),
    "mixed, few errors": Groups(0.5, 8, 0.7, right=0.95, spread=3),
}


def check_accuracies(name: str, groups: int, draws: int, slack: float) -> None:
    """The interval of the accuracy over groups holds the truth, and is never narrower than that of independent images."""
    population, rng = POPULATIONS[name], np.random.default_rng(3)
    held, widths = 0, np.zeros(2)
    for _ in range(draws):
        drawn = population.draw(rng, groups)
        right = drawn.labels == drawn.predicted
        ends, alone = share_interval(right, np.asarray(drawn.groups).astype(int)), wilson(int(right.sum()), len(right))
        assert ends[1] - ends[0] >= alone[1] - alone[0] - 1e-12
        held += ends[0] <= population.truth <= ends[1]
        widths += np.ptp(ends), np.ptp(alone)
    covered, (width, alone) = held / draws, widths / draws
    print(f"\n  {name}, {groups} groups: covers {covered:.3f}, width {width:.3f}, of images {alone:.3f}", end="")
    assert covered >= 0.95 - slack
    if population.spread is not None or not population.paired:
        assert covered <= 0.95 + slack + (groups < 50) * 0.02, "wider than necessary"


@pytest.mark.parametrize("name", POPULATIONS)
def test_accuracy_over_groups_covers(name):
    check_accuracies(name, 100, 500, slack=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("groups", [20, 100, 400])
@pytest.mark.parametrize("name", POPULATIONS)
def test_accuracy_over_groups_covers_in_many_draws(name, groups):
    check_accuracies(name, groups, 2_000, slack=0.02 if groups > 20 else 0.03)


@pytest.mark.parametrize("name", ["constant, groups of one class", "constant, nearly all pairs", "mixed, dependent"])
def test_no_score_is_more_certain_for_its_groups(name):
    """Also of a constant baseline, whose scores do not vary once the number of images of each class is given."""
    drawn = POPULATIONS[name].draw(np.random.default_rng(5), 100)
    grouped, alone = score_all(drawn), score_all(replace(drawn, groups=None))
    for of in ("accuracy", "macro-precision", "macro-f1", "weighted-precision", "weighted-f1", "log-loss", "brier"):
        t = 1.03  # Student's t over groups against that over images moves the ends a little, too
        assert grouped[of].high - grouped[of].low >= (alone[of].high - alone[of].low) / t, of
        assert alone[of].high - alone[of].low > 0.02, of


@pytest.mark.parametrize("groups", [False, True])
def test_variances_of_random_class_sizes_are_those_of_a_bootstrap(groups):
    """Draw images, or groups, whatever their class: the width of an interval is that of the scores of the draws."""
    rng = np.random.default_rng(6)
    drawn = POPULATIONS["mixed, dependent"].draw(rng, 120)
    drawn = drawn if groups else replace(drawn, groups=None)
    found, units = score_all(drawn), np.arange(len(drawn)) if not groups else np.asarray(drawn.groups).astype(int)
    members = [np.flatnonzero(units == unit) for unit in range(units.max() + 1)]
    values = {name: [] for name in ("accuracy", "macro-precision", "macro-f1", "weighted-f1", "log-loss", "brier", "kappa")}
    for _ in range(400):
        rows = np.concatenate([members[unit] for unit in rng.integers(len(members), size=len(members))])
        again = score_all(Predictions(np.arange(len(rows)).astype(object), drawn.proba[rows], drawn.labels[rows], ("a", "b")))
        for name in values:
            values[name].append(again[name].value)
    for name, of in values.items():
        expected = 2 * 1.96 * np.std(of)
        assert found[name].high - found[name].low == pytest.approx(expected, rel=0.2), name


def test_effective_number_of_images_by_the_formula_of_korn_and_graubard():
    """Group by group, in plain loops; statsmodels' `proportion_confint(p n*, n*, method="wilson")` is the last line."""
    rng = np.random.default_rng(7)
    units = np.repeat(np.arange(30), rng.integers(1, 7, size=30))
    hits = rng.random(len(units)) < rng.random(30)[units]
    n, p, sums = len(hits), hits.mean(), []
    for group in range(30):
        sums.append(sum(float(hit) - p for hit, unit in zip(hits, units, strict=True) if unit == group) / n)
    variance = 30 / 29 * sum(s**2 for s in sums)
    assert variance > p * (1 - p) / (n - 1)
    effective = p * (1 - p) / variance * n / (n - 1) * (stats.t.ppf(0.975, n - 1) / stats.t.ppf(0.975, 29)) ** 2
    z = stats.norm.ppf(0.975)
    center = (p + z**2 / (2 * effective)) / (1 + z**2 / effective)
    half = z / (1 + z**2 / effective) * np.sqrt(p * (1 - p) / effective + z**2 / (4 * effective**2))
    assert share_interval(hits, units) == pytest.approx((center - half, center + half))


def test_a_constant_baseline_over_groups_is_as_uncertain_as_wilson_has_it():
    """95 pairs and 14 single images of class 0, n = 204: [0.530, 0.539] once, given the number of images of each class."""
    labels = np.array([0, 1] * 95 + [0] * 14)
    names = np.array([str(i // 2) for i in range(190)] + [f"alone{i}" for i in range(14)], dtype=object)
    proba = np.tile([[0.534, 0.466]], (204, 1))
    score = score_all(Predictions(np.arange(204).astype(object), proba, labels, ("a", "b"), groups=names))["accuracy"]
    assert round(score.value, 3) == 0.534
    assert (score.low, score.high) == pytest.approx((0.466, 0.601), abs=0.001)
