"""Paired tests of scores: DeLong beside its definition over all pairs, the bootstrap beside SciPy's and beside theory."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from tellapart.errors import DataError
from tellapart.metrics.delong import delong_test, paired_bootstrap
from tellapart.metrics.probabilistic import log_loss, nll_per_sample
from tellapart.types import Predictions


def two(seed, n=200, shift=(1.2, 0.8), ties=False, groups=None):
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=n)
    common = rng.normal(size=n)
    found = []
    for name, by in zip("ab", shift, strict=True):
        logit = by * (2 * labels - 1) + common + rng.normal(size=n)
        p = 1 / (1 + np.exp(-(np.round(logit) if ties else logit)))
        proba = np.stack([1 - p, p], axis=1)
        found.append(Predictions(np.arange(n).astype(str).astype(object), proba, labels, ("real", "fake"), name, groups))
    return found


def textbook_delong(labels, first, second):
    """DeLong et al. (1988), equations 2 to 6, with every pair of images: difference of the areas and its p-value."""
    v10, v01 = [], []
    for scores in (first, second):
        x, y = scores[labels == 1], scores[labels == 0]
        psi = (x[:, None] > y) + 0.5 * (x[:, None] == y)
        v10.append(psi.mean(axis=1))
        v01.append(psi.mean(axis=0))
    covariance = np.cov(v10) / len(v10[0]) + np.cov(v01) / len(v01[0])
    difference = v10[0].mean() - v10[1].mean()
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    return difference, 2 * stats.norm.sf(abs(difference) / np.sqrt(variance))


@pytest.mark.parametrize(("seed", "ties"), [(0, False), (1, True), (2, False)])
def test_delong_beside_its_definition(beside, seed, ties):
    a, b = two(seed, ties=ties)
    found = delong_test(a, b)
    difference, p_value = textbook_delong(a.labels, a.proba[:, 1], b.proba[:, 1])
    beside("difference of AUROCs, all pairs", found.score.value, difference)
    beside("DeLong's p, all pairs", found.p_value, p_value)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(6, 60), st.booleans())
def test_delong_is_symmetric(seed, n, ties):
    a, b = two(seed, n, ties=ties)
    assume(2 <= a.labels.sum() <= n - 2)
    there, back = delong_test(a, b), delong_test(b, a)
    assert there.score.value == pytest.approx(-back.score.value)
    assert there.p_value == pytest.approx(back.p_value)
    assert delong_test(a, a).p_value == 1
    assert delong_test(a, b, "real").p_value == pytest.approx(there.p_value, abs=1e-6)


def test_copies_of_images_are_no_evidence():
    a, b = two(3, 60, (1.5, 0.6))
    scene = np.arange(60).repeat(8).astype(str).astype(object)
    ids = np.arange(480).astype(str).astype(object)
    more = [Predictions(ids, p.proba.repeat(8, axis=0), p.labels.repeat(8), p.classes) for p in (a, b)]
    grouped = [Predictions(p.ids, p.proba, p.labels, p.classes, groups=scene) for p in more]
    alone, naive, honest = delong_test(a, b), delong_test(*more), delong_test(*grouped)
    assert naive.p_value < alone.p_value / 3
    assert honest.p_value == pytest.approx(alone.p_value, rel=0.5), "Student's t with 58 degrees of freedom, not z"
    bootstrapped = [paired_bootstrap(*pair, log_loss, draws=400).score for pair in ((a, b), more, grouped)]
    width = [score.high - score.low for score in bootstrapped]
    assert width[1] < 0.5 * width[0]
    assert width[2] == pytest.approx(width[0], rel=0.2)


def test_delong_needs_two_classes():
    a, b = two(0)
    with pytest.raises(DataError, match="two classes that both occur"):
        one = np.zeros(200, dtype=np.int64)
        delong_test(*(Predictions(p.ids, p.proba, one, p.classes) for p in (a, b)))


def test_bootstrap_beside_theory(beside):
    """The difference of mean log-losses is a mean of differences: its interval within classes is known."""
    a, b = two(4, 500)
    found = paired_bootstrap(a, b, log_loss, draws=4000).score
    each = nll_per_sample(a.labels, a.proba) - nll_per_sample(b.labels, b.proba)
    share = [np.mean(a.labels == c) ** 2 * each[a.labels == c].var() / np.sum(a.labels == c) for c in (0, 1)]
    half = 1.96 * np.sqrt(sum(share))
    beside("difference of log-losses", found.value, each.mean())
    beside("bootstrap interval, its normal form", (found.low, found.high), each.mean() + np.array([-half, half]), within=0.01)


def test_bootstrap_beside_scipy(beside):
    a, b = two(5, 300)
    a, b = (Predictions(p.ids, p.proba, np.ones(300, dtype=np.int64), p.classes) for p in (a, b))
    found = paired_bootstrap(a, b, log_loss, draws=9999, seed=1).score
    each = nll_per_sample(a.labels, a.proba) - nll_per_sample(b.labels, b.proba)
    theirs = stats.bootstrap((each,), np.mean, n_resamples=9999, method="percentile", rng=2).confidence_interval
    beside("bootstrap interval, scipy.stats.bootstrap", (found.low, found.high), theirs, within=0.01)


def test_bootstrap_is_the_same_every_time_and_says_what_it_cannot():
    a, b = two(6, 80)
    assert paired_bootstrap(a, b, log_loss, 200) == paired_bootstrap(a, b, log_loss, 200)
    assert paired_bootstrap(a, a, log_loss, 200).p_value == 1
    one = [Predictions(p.ids[:1], p.proba[:1], p.labels[:1], p.classes) for p in (a, b)]
    alone = paired_bootstrap(*one, log_loss)
    assert np.isnan(alone.p_value) and np.isnan(alone.score.low)
    assert not alone.significant
