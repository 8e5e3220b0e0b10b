"""Intervals against scipy, against brute force, and against their own promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.sparse import csr_array

from tellapart.evaluate import intervals

few_values = st.lists(st.integers(0, 6), min_size=2, max_size=25).map(lambda v: np.array(v) / 6)


@given(st.integers(0, 400), st.integers(0, 400))
def test_wilson_equals_scipy(k, misses):
    n = k + misses
    if not n:
        assert all(math.isnan(end) for end in intervals.wilson(0, 0))
        return
    expected = stats.binomtest(k, n).proportion_ci(method="wilson")
    assert intervals.wilson(k, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(st.lists(st.integers(0, 8), min_size=1, max_size=40))
def test_midranks_equal_scipy(values):
    np.testing.assert_array_equal(intervals.midranks(np.array(values)), stats.rankdata(values))


def pooled(positives: np.ndarray, negatives: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of the scores are positive, and the scores."""
    return np.arange(len(positives) + len(negatives)) < len(positives), np.concatenate([positives, negatives])


@given(few_values, few_values)
def test_placements_equal_their_definition(positives, negatives):
    wins = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
    found = intervals.placements(*pooled(positives, negatives))
    np.testing.assert_allclose(found, [*wins.mean(axis=1), *wins.mean(axis=0)], atol=1e-12)


@given(few_values, few_values)
def test_auroc_interval_is_delongs(positives, negatives):
    wins = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
    (m, n), area = wins.shape, wins.mean()
    variance = wins.mean(axis=1).var(ddof=1) / m + wins.mean(axis=0).var(ddof=1) / n
    low, high = intervals.auroc_interval(*pooled(positives, negatives), np.arange(m + n))
    assert 0 <= low <= area + 1e-9
    assert area - 1e-9 <= high <= 1
    if 0 < area < 1 and variance > 1e-12:
        half = stats.t.ppf(0.975, m + n - 2) * math.sqrt(variance) / (area * (1 - area))
        logit = math.log(area / (1 - area))
        assert (low, high) == pytest.approx((1 / (1 + math.exp(half - logit)), 1 / (1 + math.exp(-half - logit))))
    elif len(np.unique(np.concatenate([positives, negatives]))) > 1:
        assert low < high or variance < 1e-12


def test_auroc_interval_with_one_image_on_a_side():
    one = intervals.auroc_interval(*pooled(np.array([0.5]), np.array([0.1, 0.9])), np.arange(3))
    assert all(math.isnan(end) for end in one)
    apart = intervals.auroc_interval(*pooled(np.array([0.9]), np.array([0.1, 0.2])), np.arange(3))
    assert apart == intervals.wilson(1, 1), "perfectly apart, but only one image says so"


@pytest.mark.parametrize("tiles", [1, 5])
def test_auroc_interval_holds_the_truth(tiles):
    """Tiles of one image have one score: five times as many numbers, and not one bit more of knowledge."""
    rng = np.random.default_rng(0)
    truth, held = stats.norm.cdf(1.5 / math.sqrt(2)), 0
    for _ in range(400):
        positive, scores = pooled(rng.normal(1.5, size=40), rng.normal(size=60))
        low, high = intervals.auroc_interval(positive.repeat(tiles), scores.repeat(tiles), np.arange(100).repeat(tiles))
        held += low <= truth <= high
    assert 0.92 <= held / 400 <= 0.98


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=40))
def test_strata_are_classes_and_a_pool(images):
    labels = np.array([label for label, _ in images])
    _, units = np.unique([unit for _, unit in images], return_inverse=True)
    strata = intervals.strata_of(labels, units)
    classes = [set(labels[units == unit]) for unit in range(units.max() + 1)]
    assert len(strata) == len(classes)
    if np.sum(strata == intervals.POOL) == 0 and len(strata) > 1:
        assert np.bincount(strata).max() > 1, "whoever is alone has joined others"
    for stratum, own in zip(strata, classes, strict=True):
        alone = len(own) > 1 or classes.count(own) == 1
        joined = np.sum([len(c) > 1 or classes.count(c) == 1 for c in classes]) == 1
        assert (stratum == intervals.POOL) == (alone and not (joined and len(strata) > 1))
        assert alone or own == {stratum}


@given(st.lists(st.integers(0, 5), min_size=2, max_size=12), st.lists(st.integers(0, 5), min_size=2, max_size=12))
def test_jackknife_of_means_is_the_textbook(first, second):
    """Mean of class means: Σ s²/n of each class, no bias. Its square: bias is the variance."""
    values = np.array([*first, *second], dtype=float)
    strata = np.repeat([0, 1], [len(first), len(second)])
    sums = csr_array(np.stack([(strata == 0) * values, (strata == 1) * values], axis=1))

    def score(some: np.ndarray) -> np.ndarray:
        mean = (some[:, 0] / len(first) + some[:, 1] / len(second)) / 2
        return np.stack([mean, mean**2], axis=1)

    bias, variance = intervals.jackknife(sums, strata, score)
    expected = (np.var(first, ddof=1) / len(first) + np.var(second, ddof=1) / len(second)) / 4
    assert variance[0] == pytest.approx(expected, abs=1e-12)
    assert bias == pytest.approx([0, expected], abs=1e-9)
    shares = values / np.repeat([2 * len(first), 2 * len(second)], [len(first), len(second)])
    assert intervals.variance_within(shares, strata) == pytest.approx(expected, abs=1e-12)


def test_jackknife_in_chunks_is_the_same(monkeypatch):
    sums = csr_array(np.random.default_rng(2).random((30, 4)))
    strata = np.arange(30) % 3 - 1
    at_once = intervals.jackknife(sums, strata, lambda some: some[:, :2] / some[:, 2:])
    monkeypatch.setattr(intervals, "_CHUNK", 8)
    in_pieces = intervals.jackknife(sums, strata, lambda some: some[:, :2] / some[:, 2:])
    np.testing.assert_allclose(at_once, in_pieces)


def test_intervals_are_students_t_on_their_scales():
    strata, t = np.array([0, 0, 0, 1, 1, 1]), stats.t.ppf(0.975, 4)
    assert intervals.difference_interval(0.1, 0.01, strata) == pytest.approx((0.1 - t / 10, 0.1 + t / 10))
    low, high = intervals.positive_interval(2.0, 0.01, strata)
    assert (math.log(low), math.log(high)) == pytest.approx((math.log(2) - t / 20, math.log(2) + t / 20))
    low, high = intervals.fraction_interval(0.4, 0.0016, strata, top=0.8)
    assert (low + high) / 2 == pytest.approx(0.4)
    assert math.log(high / (0.8 - high)) == pytest.approx(t * 0.04 / 0.8 / 0.25)


def test_fraction_interval_moves_by_the_bias_but_holds_its_value():
    strata = np.zeros(100)
    low, high = intervals.fraction_interval(0.5, 0.0025, strata)
    assert intervals.fraction_interval(0.5, 0.0025, strata, bias=0.02) == pytest.approx((low - 0.02, high - 0.02))
    assert intervals.fraction_interval(0.5, 0.0025, strata, bias=0.4)[1] == 0.5


def test_one_unit_says_nothing():
    one = np.array([0])
    for interval in (intervals.fraction_interval, intervals.positive_interval, intervals.difference_interval):
        assert all(math.isnan(end) for end in interval(0.5, 0.0, one))


def test_group_codes():
    assert intervals.group_codes(None) is None
    np.testing.assert_array_equal(intervals.group_codes(np.array(["x", "y", "x"], dtype=object)), [0, 1, 0])
    np.testing.assert_array_equal(intervals.group_codes(np.array(["x", None, None], dtype=object)), [0, 1, 1])
