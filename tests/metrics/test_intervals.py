"""Intervals against scipy, against brute force, and against their own promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.sparse import csr_array

from tellapart.metrics import intervals


@given(st.integers(0, 400), st.integers(0, 400))
def test_wilson_equals_scipy(k, misses):
    n = k + misses
    if not n:
        assert all(math.isnan(end) for end in intervals.wilson(0, 0))
        return
    expected = stats.binomtest(k, n).proportion_ci(method="wilson")
    assert intervals.wilson(k, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


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
    own = [strata == 0, strata == 1]
    sums = csr_array(np.stack([*(of * values for of in own), *own], axis=1, dtype=float))

    def score(some: np.ndarray) -> np.ndarray:
        mean = (some[:, 0] / some[:, 2] + some[:, 1] / some[:, 3]) / 2
        return np.stack([mean, mean**2], axis=1)

    bias, variance = intervals.jackknife(sums, strata, score)
    expected = (np.var(first, ddof=1) / len(first) + np.var(second, ddof=1) / len(second)) / 4
    assert variance[0] == pytest.approx(expected, abs=1e-12)
    assert bias == pytest.approx([0, expected], abs=1e-9)
    shares = values / np.repeat([2 * len(first), 2 * len(second)], [len(first), len(second)])
    assert intervals.variance_within(shares, strata) == pytest.approx(expected, abs=1e-12)


@given(st.integers(2, 200), st.integers(2, 200), st.floats(0, 1), st.floats(0, 1))
def test_within_and_between_classes_sum_to_the_variance_of_a_share(first, second, a, b):
    """The accuracy, with random class sizes: p(1−p)/n, whatever the classes."""
    hits = np.concatenate([np.arange(first) < round(a * first), np.arange(second) < round(b * second)])
    strata, n, p = np.repeat([0, 1], [first, second]), first + second, hits.mean()
    sums = csr_array(np.stack([hits, np.ones(n)], axis=1, dtype=float))
    _, variance = intervals.jackknife(sums, strata, lambda some: some[:, :1] / some[:, 1:])
    smallest = min(first, second)
    assert variance[0] == pytest.approx(p * (1 - p) / n, rel=2 / (smallest - 1), abs=1e-12)


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
