"""Scores of probabilities beside scikit-learn and torchmetrics; the calibration error, and what its interval promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import calibration
from sklearn import metrics as reference

from tellapart.metrics import probabilistic, reliability
from tellapart.metrics.score_all import score_all
from tellapart.types import Predictions


def exact(proba):
    """float64 rows that sum to 1 more closely than float32 ones: scikit-learn warns otherwise."""
    return proba / proba.astype(np.float64).sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("n", "classes"), [(300, 2), (300, 6), (500, 40)])
def test_beside_scikit_learn(made, beside, n, classes):
    p = made(n + 1, n, classes)
    proba = exact(p.proba)
    every = range(classes)
    theirs = reference.log_loss(p.labels, p.proba, labels=every)
    beside(f"log-loss, scikit-learn, C = {classes}", probabilistic.log_loss(p.labels, p.proba), theirs)
    theirs = reference.brier_score_loss(p.labels, proba, labels=every)
    beside("Brier, scikit-learn", probabilistic.brier(p.labels, p.proba), theirs)
    for k in (1, 3, 5):
        if 2 < classes > k:
            theirs = reference.top_k_accuracy_score(p.labels, p.proba, k=k, labels=every)
            beside(f"top-{k}, scikit-learn", probabilistic.top_k_accuracy(p.labels, p.proba, k), theirs)


@pytest.mark.parametrize(("n", "classes"), [(300, 2), (300, 6), (2_000, 40)])
def test_calibration_error_beside_torchmetrics(made, beside, n, classes):
    from torch import from_numpy
    from torchmetrics.functional.classification import multiclass_calibration_error

    p = made(n + 2, n, classes)
    theirs = multiclass_calibration_error(from_numpy(p.proba), from_numpy(p.labels), classes, n_bins=15, norm="l1")
    beside(f"ECE, torchmetrics, C = {classes}", reliability.expected_calibration_error(p.labels, p.proba), theirs)


def test_reliability_beside_scikit_learn(made, beside):
    p = made(4, 800, 2)
    found = reliability.reliability(p.labels, p.proba)
    right, sure = p.labels == p.predicted, p.proba.max(axis=1).astype(np.float64)
    accuracy, confidence = calibration.calibration_curve(right, sure, n_bins=15)
    beside("reliability diagram, accuracy, scikit-learn", found.accuracy, accuracy)
    beside("reliability diagram, confidence, scikit-learn", found.confidence, confidence)
    assert found.n.sum() == 800
    assert ((found.low < found.confidence) & (found.confidence <= found.high)).all()
    assert list(found.to_frame()) == ["low", "high", "n", "confidence", "accuracy", "accuracy_low", "accuracy_high"]


def test_a_confidence_on_an_edge_lies_below_it():
    proba = np.array([[0.4, 0.6], [1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    found = reliability.reliability(np.array([1, 0, 0]), proba)
    assert found.high.round(6).tolist() == [0.6, 1.0]
    assert found.n.tolist() == [1, 2]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 80), st.integers(2, 6), st.booleans())
def test_the_order_of_images_does_not_matter(seed, n, classes, coarse):
    rng = np.random.default_rng(seed)
    weights = rng.integers(1, 4, size=(n, classes)) if coarse else rng.random((n, classes)) + 0.01
    proba, labels = weights / weights.sum(axis=1, keepdims=True), rng.integers(classes, size=n)
    order = rng.permutation(n)
    for score in (probabilistic.log_loss, probabilistic.brier, reliability.expected_calibration_error):
        assert score(labels, proba) == pytest.approx(score(labels[order], proba[order]))
    assert probabilistic.top_k_accuracy(labels, proba, 1) == np.mean(proba.argmax(axis=1) == labels)
    assert probabilistic.top_k_accuracy(labels, proba, classes) == 1


@pytest.mark.parametrize("skill", [0.0, 0.15])
def test_calibration_interval_holds_the_truth(skill):
    """Perfectly calibrated answers have a true error of 0; those that promise 0.15 too much one of 0.15."""
    rng, held, value = np.random.default_rng(5), 0, []
    for _ in range(200):
        sure = rng.uniform(0.7, 0.98, size=400)
        labels = (rng.random(400) > sure - skill).astype(np.int64)
        proba = np.stack([sure, 1 - sure], axis=1).astype(np.float32)
        score = score_all(Predictions(np.arange(400).astype(object), proba, labels, ("a", "b")))["ece"]
        held += score.low - 1e-9 <= skill <= score.high
        value.append(score.value)
    assert 0.93 <= held / 200, held
    assert skill or np.mean(value) > 0.02, "the plain error is biased upwards, as the page says"
