"""Intervals against scipy, against brute force, and against their own promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

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


@given(few_values, few_values)
def test_delong_equals_its_definition(positives, negatives):
    wins = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
    m, n = wins.shape
    area, variance = intervals.delong(positives, negatives)
    assert area == pytest.approx(wins.mean())
    assert variance == pytest.approx(wins.mean(axis=1).var(ddof=1) / m + wins.mean(axis=0).var(ddof=1) / n, abs=1e-12)


@given(few_values, few_values)
def test_delong_interval_stays_inside(positives, negatives):
    low, high = intervals.delong_interval(positives, negatives)
    area, _ = intervals.delong(positives, negatives)
    assert 0 <= low <= area + 1e-9
    assert area - 1e-9 <= high <= 1
    all_tied = len(np.unique(np.concatenate([positives, negatives]))) == 1
    assert low < high or all_tied, "a constant score has 0.5, whatever the images"


def test_delong_interval_with_one_image_on_a_side():
    assert all(math.isnan(end) for end in intervals.delong_interval(np.array([0.5]), np.array([0.1, 0.9])))
    low, high = intervals.delong_interval(np.array([0.9]), np.array([0.1, 0.2]))
    assert (low, high) == intervals.wilson(1, 1), "perfectly apart, but only one image says so"


def test_delong_interval_holds_the_truth():
    rng = np.random.default_rng(0)
    truth, held = stats.norm.cdf(1.5 / math.sqrt(2)), 0
    for _ in range(400):
        low, high = intervals.delong_interval(rng.normal(1.5, size=40), rng.normal(size=60))
        held += low <= truth <= high
    assert 0.92 <= held / 400 <= 0.98


def test_resample_draws_like_the_multinomial():
    counts = np.concatenate(list(intervals.resample(7, seed=3, resamples=20_000)))
    assert counts.shape == (20_000, 7)
    assert (counts.sum(axis=1) == 7).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(7), abs=0.03)
    covariance = np.cov(counts.T)
    assert covariance == pytest.approx(np.eye(7) - 1 / 7, abs=0.05)


def test_resample_comes_in_chunks_of_bounded_size():
    chunks = list(intervals.resample(10, width=400_000))
    assert len(chunks) == 500
    assert sum(len(chunk) for chunk in chunks) == intervals.RESAMPLES


def test_percentile_interval_of_a_mean_matches_students_t():
    sample = np.random.default_rng(1).normal(size=6)
    means = np.concatenate([counts @ sample / 6 for counts in intervals.resample(6, resamples=20_000)])
    low, high = intervals.percentile_interval(means, sample.mean(), 6)
    expected = stats.t.interval(0.95, 5, sample.mean(), stats.sem(sample))
    plain = np.quantile(means, [0.025, 0.975])
    assert high - low > plain[1] - plain[0]
    assert high - low == pytest.approx(expected[1] - expected[0], rel=0.15)


def test_percentile_interval_without_enough_to_go_by():
    assert all(math.isnan(end) for end in intervals.percentile_interval(np.ones(10), 1.0, 1))
    assert all(math.isnan(end) for end in intervals.percentile_interval(np.full(10, np.nan), 1.0, 5))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.booleans())
def test_resampled_auroc_equals_the_auroc_of_the_drawn_images(seed, coarse):
    rng = np.random.default_rng(seed)
    codes = rng.integers(6, size=40)
    codes[:6] = range(6)
    positive, scores = rng.random(40) < 0.4, rng.integers(5, size=40) / 5 if coarse else rng.random(40)
    found = intervals.resampled_auroc(positive, scores, codes)
    for counts, area in zip(np.concatenate(list(intervals.resample(6)))[:20], found[:20], strict=True):
        times = counts[codes].astype(int)
        drawn = positive.repeat(times)
        if drawn.all() or not drawn.any():
            assert math.isnan(area)
        else:
            assert area == pytest.approx(roc_auc_score(drawn, scores.repeat(times)))


def test_group_codes():
    assert intervals.group_codes(None) is None
    np.testing.assert_array_equal(intervals.group_codes(np.array(["x", "y", "x"], dtype=object)), [0, 1, 0])
    np.testing.assert_array_equal(intervals.group_codes(np.array(["x", None, None], dtype=object)), [0, 1, 1])
