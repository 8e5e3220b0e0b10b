"""Thresholds, priors, unsure answers and conformal sets beside brute force, worked values and their promises."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from tellapart.calibration import thresholds
from tellapart.calibration.conformal import Conformal, score_sets
from tellapart.errors import DataError


def sample(seed, n=200):
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.4
    positive[:2] = [True, False]
    return positive, np.round(rng.normal(positive * 1.3), 1)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 60), st.floats(0, 1))
def test_threshold_for_fpr_is_the_lowest_allowed(seed, n, fpr):
    positive, scores = sample(seed, n)
    found = thresholds.threshold_for_fpr(positive, scores, fpr)
    rates = {t: np.mean(scores[~positive] >= t) for t in [*scores, math.inf]}
    assert found.threshold == min(t for t, rate in rates.items() if rate <= fpr + 1e-12)
    called = found(scores)
    assert (found.tpr.value, found.fpr.value) == (called[positive].mean(), called[~positive].mean())
    assert (found.tpr.n, found.fpr.n) == (positive.sum(), (~positive).sum())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 10), st.floats(0.1, 10), st.sampled_from([None, 0.02, 0.5]))
def test_threshold_for_cost_is_the_cheapest(seed, alarm, miss, prior):
    positive, scores = sample(seed, 60)
    share = positive.mean() if prior is None else prior

    def cost(t):
        return share * miss * np.mean(scores[positive] < t) + (1 - share) * alarm * np.mean(scores[~positive] >= t)

    found = thresholds.threshold_for_cost(positive, scores, alarm, miss, prior)
    assert cost(found.threshold) == pytest.approx(min(cost(t) for t in [*scores, math.inf]))


def test_thresholds_are_kept_as_json_and_refuse_nonsense():
    positive, scores = sample(0)
    none = thresholds.threshold_for_fpr(np.array([True, False]), np.array([0.1, 0.9]), 0.1)
    assert none.threshold == math.inf and none.tpr.value == 0
    assert json.loads(json.dumps(none.to_dict(), allow_nan=False))["threshold"] is None
    with pytest.raises(DataError, match="all images are of one kind"):
        thresholds.threshold_for_fpr(positive | True, scores, 0.1)
    with pytest.raises(DataError, match="between 0 and 1, got 5"):
        thresholds.threshold_for_fpr(positive, scores, 5)
    with pytest.raises(DataError, match="expected costs above 0"):
        thresholds.threshold_for_cost(positive, scores, 0, 1)


# --- another mix of classes -------------------------------------------------------------------------------------------


def test_prior_correction_is_bayes(beside):
    """Two normal distributions: what they give under one mix, corrected, is what they give under another."""
    x = np.linspace(-3, 4, 50)

    def posterior(share):
        fake, real = share * stats.norm.pdf(x - 1), (1 - share) * stats.norm.pdf(x)
        return np.stack([real, fake], axis=1) / (real + fake)[:, None]

    prior = thresholds.full_prior({"fake": 0.02}, ("real", "fake"), np.array([0.3, 0.7]))
    found = thresholds.correct_prior(posterior(0.7), np.array([0.3, 0.7]), prior)
    beside("prior correction, Bayes' rule", found, posterior(0.02))


def test_estimated_prior_is_the_most_likely(beside):
    rng = np.random.default_rng(1)
    positive = rng.random(3_000) < 0.1
    logit = rng.normal(2 * positive - 1, 1) * 2  # log-odds at even shares of N(1, 1) and N(−1, 1)
    p = 1 / (1 + np.exp(-logit))
    proba, even = np.stack([1 - p, p], axis=1), np.array([0.5, 0.5])
    found = thresholds.estimate_prior(proba, even)

    def unlikeliness(share):
        return -np.sum(np.log(2 * (share * p + (1 - share) * (1 - p))))

    theirs = optimize.minimize_scalar(unlikeliness, bounds=(0, 1), method="bounded", options={"xatol": 1e-10}).x
    beside("estimated prior, SciPy's maximum likelihood", found[1], theirs, within=1e-5)
    assert found[1] == pytest.approx(0.1, abs=0.02)


def test_priors_that_make_no_sense():
    names, seen = ("a", "b", "c"), np.array([0.2, 0.3, 0.5])
    np.testing.assert_allclose(thresholds.full_prior({"c": 0.9}, names, seen), [0.04, 0.06, 0.9])
    np.testing.assert_allclose(thresholds.full_prior({"c": 1.0}, names, seen), [0, 0, 1])
    np.testing.assert_allclose(thresholds.correct_prior(np.array([[0.2, 0.8, 0]]), seen, np.array([0, 0, 1.0])), [[0, 0, 1]])
    with pytest.raises(DataError, match="'fake', which is not one of a, b, c"):
        thresholds.full_prior({"fake": 0.1}, names, seen)
    for wrong in ({"a": 1.2}, {"a": -0.1}, {"a": 0.7, "b": 0.7}, {"a": 0.1, "b": 0.1, "c": 0.1}):
        with pytest.raises(DataError, match="a sum of at most 1"):
            thresholds.full_prior(wrong, names, seen)
    with pytest.raises(DataError, match="cannot be divided"):
        thresholds.full_prior({"a": 0.5}, names, np.array([1.0, 0, 0]))
    with pytest.raises(DataError, match="the frequency of a class in the training data is 0"):
        thresholds.correct_prior(np.ones((1, 3)) / 3, np.array([0, 0.5, 0.5]), seen)
    with pytest.raises(DataError, match="at least one image"):
        thresholds.estimate_prior(np.empty((0, 3)), seen)


# --- unsure -----------------------------------------------------------------------------------------------------------


def test_a_band_is_unsure_between_its_ends():
    with pytest.raises(DataError, match="a band with 0 ≤ low ≤ high ≤ 1"):
        thresholds.RejectBand(0.8, 0.3)
    band = thresholds.RejectBand(0.5, 0.5)
    assert band(np.array([0.49, 0.5])).tolist() == [0, 1], "without width it is a threshold"
    assert thresholds.RejectBand(**json.loads(json.dumps(band.to_dict()))) == band


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60))
def test_risk_coverage_by_hand(seed, n):
    rng = np.random.default_rng(seed)
    p = rng.integers(1, 8, size=(n, 3)) + rng.random((n, 3)) * (seed % 2)
    p, labels = p / p.sum(axis=1, keepdims=True), rng.integers(3, size=n)
    found, sure, wrong = thresholds.risk_coverage(labels, p), p.max(axis=1), p.argmax(axis=1) != labels
    levels = sorted(set(sure), reverse=True)
    np.testing.assert_allclose(found.coverage, [np.mean(sure >= level) for level in levels])
    np.testing.assert_allclose(found.risk, [wrong[sure >= level].mean() for level in levels])
    orders = [np.lexsort((rng.random(n), -sure)) for _ in range(300 if len(levels) < n else 1)]
    areas = [np.mean(np.cumsum(wrong[order]) / np.arange(1, n + 1)) for order in orders]
    tolerance = 1e-9 if len(areas) == 1 else 5 * np.std(areas) / math.sqrt(300) + 1e-9
    assert found.area == pytest.approx(np.mean(areas), abs=tolerance)


# --- conformal sets ---------------------------------------------------------------------------------------------------


def drawn(rng, n, classes=6):
    """Answers that are too sure by half, and labels."""
    logits = rng.normal(size=(n, classes)) * 1.5
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(classes, p=row) for row in true])
    sure = true**1.5
    return sure / sure.sum(axis=1, keepdims=True), labels


@pytest.mark.parametrize("method", ["lac", "aps"])
def test_sets_cover_what_was_promised(method):
    rng, covered, sizes = np.random.default_rng(2), [], []
    for _ in range(120):
        found = Conformal.fit(*drawn(rng, 150), coverage=0.9, method=method)
        proba, labels = drawn(rng, 150)
        report = score_sets(found(proba), labels)
        covered.append(report.covered.value)
        sizes.append(report.mean_size)
    print(f"\n  {method}: covered {np.mean(covered):.4f} of 0.9 promised, {np.mean(sizes):.2f} classes a set", end="")
    assert 0.893 <= np.mean(covered) <= 0.93


def test_lac_quantile_beside_numpy(beside):
    proba, labels = drawn(np.random.default_rng(3), 99)
    scores = 1 - proba[np.arange(99), labels]
    for coverage in (0.5, 0.9, 0.95):
        theirs = np.quantile(scores, np.ceil(100 * coverage) / 99, method="inverted_cdf")
        beside(f"LAC quantile at {coverage}, NumPy", Conformal.fit(proba, labels, coverage).quantile, theirs)


def test_aps_by_hand():
    found = Conformal("aps", 0.85, 0.9, 100)
    assert found(np.array([[0.5, 0.3, 0.2], [0.9, 0.1, 0.0], [0.2, 0.2, 0.6]])).tolist() == [
        [True, True, False],
        [True, False, False],
        [True, False, True],
    ]
    assert found.predict(np.array([[0.5, 0.3, 0.2], [0.9, 0.1, 0.0]])).tolist() == [thresholds.UNSURE, 0]


def test_too_few_images_promise_nothing():
    proba, labels = drawn(np.random.default_rng(4), 8)
    found = Conformal.fit(proba, labels, 0.9)
    assert found.quantile == math.inf and found(proba).all()
    assert Conformal.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False))) == found
    for wrong in ({"coverage": 1.0}, {"method": "raps"}):
        with pytest.raises(DataError, match="expected a coverage between 0 and 1"):
            Conformal.fit(proba, labels, **wrong)
    with pytest.raises(DataError, match="at least one image"):
        Conformal.fit(proba[:0], labels[:0])
    with pytest.raises(DataError, match="finite"):
        Conformal.fit(proba * np.nan, labels)
    nothing = score_sets(np.zeros((3, 2), dtype=bool), np.array([0, 1, 0]))
    assert nothing.accuracy is None and nothing.covered.value == 0
