"""Scores of a ranking beside scikit-learn, torchmetrics and SciPy; DeLong beside its definition over all pairs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import interpolate, optimize, stats
from sklearn import metrics as reference

from tellapart.metrics import roc, roc_intervals
from tellapart.metrics.intervals import wilson
from tellapart.metrics.roc import placements, roc_curve, roc_curve_small
from tellapart.metrics.score_all import score_all
from tellapart.types import Predictions

few_values = st.lists(st.integers(0, 6), min_size=2, max_size=25).map(lambda v: np.array(v) / 6)
SAMPLES = [(0, 300, 0.5, False), (1, 500, 0.1, False), (2, 400, 0.3, True), (3, 60, 0.5, True)]


def sample(seed: int, n: int, share: float, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    """Which images are positive, and scores that are higher for these on average."""
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < share
    scores = rng.normal(1.2 * positive)
    return positive, np.round(scores, 1) if ties else scores


def pooled(positives: np.ndarray, negatives: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of the scores are positive, and the scores."""
    return np.arange(len(positives) + len(negatives)) < len(positives), np.concatenate([positives, negatives])


@pytest.mark.parametrize("of", SAMPLES)
def test_beside_scikit_learn(beside, of):
    positive, scores = sample(*of)
    beside("AUROC, scikit-learn", roc.auroc(positive, scores), reference.roc_auc_score(positive, scores))
    theirs = reference.average_precision_score(positive, scores)
    beside("average precision, scikit-learn", roc.average_precision(positive, scores), theirs)
    for highest in (0.1, 0.33):
        theirs = reference.roc_auc_score(positive, scores, max_fpr=highest)
        beside(f"partial AUROC, FPR ≤ {highest}, scikit-learn", roc.partial_auroc(positive, scores, highest), theirs)
    fpr, tpr, _ = reference.roc_curve(positive, scores, drop_intermediate=False)
    for rate in (0.01, 0.05, 0.2):
        theirs = tpr[fpr <= rate + 1e-12].max()
        beside(f"TPR at FPR {rate}, scikit-learn's curve", roc.tpr_at_fpr(positive, scores, rate), theirs)


@pytest.mark.parametrize("of", SAMPLES)
def test_equal_error_rate_beside_scipy(beside, of):
    """The usual recipe: the root of 1 − x − TPR(x), with the curve straight between its points."""
    positive, scores = sample(*of)
    fpr, tpr, _ = reference.roc_curve(positive, scores, drop_intermediate=False)
    theirs = optimize.brentq(lambda x: 1 - x - interpolate.interp1d(fpr, tpr)(x), 0, 1, xtol=1e-14)
    beside("equal error rate, SciPy", roc.equal_error_rate(positive, scores), theirs)


@pytest.mark.parametrize("of", SAMPLES)
def test_beside_torchmetrics(beside, of):
    from torch import from_numpy
    from torchmetrics.functional import classification

    positive, scores = sample(*of)
    probable = 1 / (1 + np.exp(-scores))
    given_, truth = from_numpy(probable), from_numpy(positive.astype(np.int64))
    beside("AUROC, torchmetrics", roc.auroc(positive, probable), classification.binary_auroc(given_, truth))
    theirs = classification.binary_average_precision(given_, truth)
    beside("average precision, torchmetrics", roc.average_precision(positive, probable), theirs)
    theirs = classification.binary_sensitivity_at_specificity(given_, truth, min_specificity=0.9)[0]
    beside("TPR at FPR 0.1, torchmetrics", roc.tpr_at_fpr(positive, probable, 0.1), theirs)


@pytest.mark.parametrize(("n", "classes", "coarse"), [(300, 3, False), (300, 4, True), (900, 30, False)])
def test_one_class_against_the_rest_beside_scikit_learn(made, beside, n, classes, coarse):
    p = made(n, n, classes, coarse=coarse)
    scores, truth = score_all(p), np.eye(classes)[p.labels]
    theirs = reference.roc_auc_score(truth, p.proba, average="macro")
    beside(f"macro AUROC, scikit-learn, C = {classes}", scores["macro-auroc"].value, theirs)
    theirs = reference.average_precision_score(truth, p.proba, average="macro")
    beside("macro average precision, scikit-learn", scores["macro-average-precision"].value, theirs)


def test_worked_example_of_hanley_and_mcneil(beside):
    """Hanley & McNeil (1982), table I: 58 normal and 51 abnormal CT images rated 1 … 5; the area is 0.893."""
    normal, abnormal = [33, 6, 6, 11, 2], [3, 2, 2, 11, 33]
    ratings = [np.repeat(np.arange(1, 6), counts) for counts in (abnormal, normal)]
    beside("AUROC, Hanley & McNeil (1982)", roc.auroc(*pooled(*ratings)), 0.893, within=5e-4)


# --- DeLong -----------------------------------------------------------------------------------------------------------


@given(few_values, few_values)
def test_placements_equal_their_definition(positives, negatives):
    wins = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
    for sweep in (roc_curve, roc_curve_small):
        found = placements(sweep(*pooled(positives, negatives)))
        np.testing.assert_allclose(found, [*wins.mean(axis=1), *wins.mean(axis=0)], atol=1e-12)


@given(few_values, few_values)
def test_the_short_sweep_gives_the_same_areas(positives, negatives):
    whole, few = (sweep(*pooled(positives, negatives)) for sweep in (roc_curve, roc_curve_small))
    assert roc.precision_area(few) == pytest.approx(roc.precision_area(whole))
    influences = roc_intervals.precision_influences
    np.testing.assert_allclose(influences(few), influences(whole), atol=1e-12)


@given(few_values, few_values)
def test_auroc_interval_is_delongs(positives, negatives):
    wins = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
    (m, n), area = wins.shape, wins.mean()
    variance = wins.mean(axis=1).var(ddof=1) / m + wins.mean(axis=0).var(ddof=1) / n
    low, high = roc_intervals.auroc_interval(roc_curve(*pooled(positives, negatives)), np.arange(m + n))
    assert 0 <= low <= area + 1e-9
    assert area - 1e-9 <= high <= 1
    if 0 < area < 1 and variance > 1e-12:
        half = stats.t.ppf(0.975, m + n - 2) * math.sqrt(variance) / (area * (1 - area))
        logit = math.log(area / (1 - area))
        assert (low, high) == pytest.approx((1 / (1 + math.exp(half - logit)), 1 / (1 + math.exp(-half - logit))))
    elif len(np.unique(np.concatenate([positives, negatives]))) > 1:
        assert low < high or variance < 1e-12


def test_auroc_interval_with_one_image_on_a_side():
    one = roc_intervals.auroc_interval(roc_curve(*pooled(np.array([0.5]), np.array([0.1, 0.9]))), np.arange(3))
    assert all(math.isnan(end) for end in one)
    apart = roc_intervals.auroc_interval(roc_curve(*pooled(np.array([0.9]), np.array([0.1, 0.2]))), np.arange(3))
    assert apart == wilson(1, 1), "perfectly apart, but only one image says so"


# --- influences -------------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(4, 60), st.booleans())
def test_influences_are_derivatives(seed, n, ties):
    """Give one image a little more weight, and ask scikit-learn how average precision moves."""
    positive, scores = sample(seed, n, 0.5, ties)
    assume(positive.any() and not positive.all())
    found, step = roc_intervals.precision_influences(roc_curve(positive, scores)), 1e-6
    assert found.sum() == pytest.approx(0, abs=1e-12)
    for image in range(0, n, max(1, n // 5)):
        heavier, lighter = np.ones(n), np.ones(n)
        heavier[image], lighter[image] = 1 + step, 1 - step
        up, down = (reference.average_precision_score(positive, scores, sample_weight=w) for w in (heavier, lighter))
        assert found[image] == pytest.approx((up - down) / 2 / step, abs=1e-6)


# --- invariances ------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 80), st.booleans())
def test_only_the_order_of_scores_counts(seed, n, ties):
    positive, scores = sample(seed, n, 0.5, ties)
    assume(positive.any() and not positive.all())
    shuffled = np.random.default_rng(seed).permutation(n)
    scorers = (roc.auroc, roc.average_precision, roc.partial_auroc, roc.equal_error_rate)
    for score in (*scorers, lambda y, s: roc.tpr_at_fpr(y, s, 0.05)):
        value = score(positive, scores)
        assert 0 <= value <= 1
        assert score(positive[shuffled], scores[shuffled]) == pytest.approx(value)
        assert score(positive, np.exp(scores / 2)) == pytest.approx(value)
    assert roc.auroc(~positive, -scores) == pytest.approx(roc.auroc(positive, scores))
    assert roc.equal_error_rate(~positive, -scores) == pytest.approx(roc.equal_error_rate(positive, scores))


@pytest.mark.parametrize("apart", [True, False])
def test_perfect_and_useless_rankings(apart):
    labels = np.repeat([0, 1], 30)
    p = np.where(labels == 1, 0.9, 0.1) if apart else np.full(60, 0.5)
    scores = score_all(
        Predictions(np.arange(60).astype(object), np.stack([1 - p, p], axis=1).astype(np.float32), labels, ("a", "b"))
    )
    best = {"auroc": 1, "average-precision": 1, "partial-auroc": 1, "tpr-at-1-fpr": 1, "eer": 0}
    chance = {"auroc": 0.5, "average-precision": 0.5, "partial-auroc": 0.5, "tpr-at-1-fpr": 0, "eer": 0.5}
    for name, value in (best if apart else chance).items():
        assert scores[name].value == pytest.approx(value), name
    if apart:
        assert all(scores[name].high - scores[name].low > 0.05 for name in best), "30 images prove no perfection"


def test_few_negative_images_hold_no_rate_up():
    """With 100 negative images none may pass a threshold that 1 % of all do: then its TPR could be anything."""
    positive = np.arange(200) < 100
    scores = np.where(positive, 0.9, 0.1) + np.linspace(0, 0.05, 200)
    assert roc_intervals.tpr_interval(roc_curve(positive, scores), np.arange(200), 0.01)[0] == 0
    many = np.arange(600) < 100
    scores = np.where(many, 0.9, 0.1) + np.linspace(0, 0.05, 600)
    assert roc_intervals.tpr_interval(roc_curve(many, scores), np.arange(600), 0.01)[0] > 0.9


# --- coverage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tiles", [1, 5])
def test_auroc_interval_holds_the_truth(tiles):
    """Tiles of one image have one score: five times as many numbers, and not one bit more of knowledge."""
    rng = np.random.default_rng(0)
    truth, held = stats.norm.cdf(1.5 / math.sqrt(2)), 0
    for _ in range(400):
        positive, scores = pooled(rng.normal(1.5, size=40), rng.normal(size=60))
        sweep = roc_curve(positive.repeat(tiles), scores.repeat(tiles))
        low, high = roc_intervals.auroc_interval(sweep, np.arange(100).repeat(tiles))
        held += low <= truth <= high
    assert 0.92 <= held / 400 <= 0.98


@pytest.mark.parametrize("tiles", [1, 4])
def test_intervals_of_rankings_hold_the_truth(tiles):
    """Two normal distributions 1.5 apart: everything about their ROC curve is known."""
    rng, shift, m, n = np.random.default_rng(1), 1.5, 200, 400
    x = np.linspace(0, 0.1, 20_001)[1:]
    part = np.trapezoid(np.append(0, stats.norm.sf(stats.norm.isf(x) - shift)), np.append(0, x))
    truth = {
        "eer": stats.norm.sf(shift / 2),
        "partial-auroc": roc.standardized(part, 0.1),
        "tpr-at-1-fpr": stats.norm.sf(stats.norm.isf(0.01) - shift),
        "tpr-at-5-fpr": stats.norm.sf(stats.norm.isf(0.05) - shift),
        "average-precision": _true_average_precision(shift, m / (m + n)),
    }
    held = dict.fromkeys(truth, 0)
    for _ in range(300):
        scores = rng.normal(shift * (np.arange(m + n) < m)).repeat(tiles)
        p = 1 / (1 + np.exp(-scores))
        labels, scene = (np.arange(m + n) < m).astype(np.int64).repeat(tiles), np.arange(m + n).repeat(tiles)
        groups = None if tiles == 1 else scene.astype(str).astype(object)
        ids = np.arange(len(p)).astype(object)
        found = score_all(Predictions(ids, np.stack([1 - p, p], axis=1), labels, ("a", "b"), groups=groups))
        for name, value in truth.items():
            held[name] += found[name].low <= value <= found[name].high
    print("\n  coverage", {name: count / 300 for name, count in held.items()}, end="")
    assert all(0.91 <= count / 300 for count in held.values()), held


def _true_average_precision(shift: float, share: float) -> float:
    at = np.linspace(-8, 10, 40_001)
    precision = share * stats.norm.sf(at - shift)
    precision = precision / (precision + (1 - share) * stats.norm.sf(at))
    return float(np.trapezoid(precision * stats.norm.pdf(at - shift), at))
