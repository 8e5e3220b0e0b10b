"""Calibration maps beside scikit-learn's; what they keep, and what they refuse."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special
from sklearn import calibration, isotonic, linear_model

from tellapart.calibration import maps
from tellapart.calibration.maps import CALIBRATIONS, Beta, Isotonic, Platt, Temperature, Vector
from tellapart.errors import DataError
from tellapart.metrics.probabilistic import log_loss
from tellapart.metrics.reliability import expected_calibration_error


def overconfident(seed, n, classes, by=2.5):
    """Labels drawn from true probabilities, and answers that are too sure of themselves: logits `by` times too large."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, classes))
    logits[:, 0] += 0.5
    true = special.softmax(logits, axis=1)
    labels = np.array([rng.choice(classes, p=row) for row in true])
    return special.softmax(by * logits, axis=1).astype(np.float32), labels


@pytest.mark.parametrize("classes", [2, 5])
def test_temperature_beside_scikit_learn(beside, classes):
    proba, labels = overconfident(0, 600, classes)
    found = Temperature.fit(proba, labels)
    theirs = calibration._TemperatureScaling().fit(np.log(proba.astype(np.float64)), labels)
    beside(f"temperature, scikit-learn, C = {classes}", found.temperature, 1 / theirs.beta_, within=1e-5)
    beside("its probabilities", found(proba), theirs.predict(np.log(proba.astype(np.float64))), within=1e-5)
    assert 2 < found.temperature < 3.2, "2.5 times too sure"


def test_platt_beside_scikit_learn(beside):
    proba, labels = overconfident(1, 400, 2)
    found = Platt.fit(proba, labels)
    logit = special.logit(proba[:, 1].astype(np.float64))
    slope, offset = calibration._sigmoid_calibration(logit, labels)
    beside("Platt, scikit-learn", (found.slope, found.offsets[1]), (-slope, -offset), within=1e-4)
    beside("its probabilities", found(proba)[:, 1], special.expit(-slope * logit - offset), within=1e-4)
    theirs = _logistic(logit[:, None], labels)
    beside("Platt, weighted logistic regression", (found.slope, found.offsets[1]), theirs, within=1e-4)


def _logistic(features, labels):
    """scikit-learn's logistic regression without penalty on Platt's targets: each image twice, with weights."""
    n = np.bincount(labels)[labels]
    own = (n + 1) / (n + 2)
    model = linear_model.LogisticRegression(C=np.inf, tol=1e-10, max_iter=5000)
    twice, both = np.concatenate([features, features]), np.concatenate([labels, 1 - labels])
    model.fit(twice, both, sample_weight=np.concatenate([own, 1 - own]))
    return *model.coef_[0], model.intercept_[0]


def test_beta_beside_scikit_learn(beside):
    proba, labels = overconfident(2, 500, 2)
    proba = proba.astype(np.float64)
    found = Beta.fit(proba, labels)
    features = np.stack([np.log(proba[:, 1]), -np.log(proba[:, 0])], axis=1)
    beside("beta, logistic regression of scikit-learn", found.curves[0], _logistic(features, labels), within=1e-4)
    vector = Vector.fit(proba, labels)
    a, b, c = found.curves[0]
    beside("vector scaling of two classes is beta", (vector.slopes[1], vector.slopes[0], vector.offsets[1]), (a, b, c), 1e-4)


def test_beta_keeps_its_slopes_above_zero(beside):
    """Where one slope would be negative it is 0, and the rest is fitted without it (Kull et al., section 4)."""
    rng = np.random.default_rng(4)
    p = rng.uniform(0.01, 0.99, size=800)
    labels = (rng.random(800) < special.expit(1.5 * np.log(p) - 0.6 * -np.log(1 - p) + 1)).astype(np.int64)
    proba = np.stack([1 - p, p], axis=1)
    features = np.stack([np.log(p), -np.log(1 - p)], axis=1)
    free = _logistic(features, labels)
    assert min(free[:2]) < 0
    a, b, c = Beta.fit(proba, labels).curves[0]
    assert b == 0
    beside("beta with one slope, scikit-learn", (a, c), _logistic(features[:, :1], labels), within=1e-4)


def test_vector_is_at_its_minimum(beside):
    proba, labels = overconfident(5, 400, 4)
    found = Vector.fit(proba, labels)
    targets, logs = maps._targets(labels, 4), np.log(proba.astype(np.float64))

    def loss(x):
        return -np.mean(np.sum(targets * special.log_softmax(x[:4] * logs + np.append(0, x[4:]), axis=1), axis=1))

    theirs = optimize.minimize(loss, np.append(np.ones(4), np.zeros(3)), method="BFGS", options={"gtol": 1e-8}).x
    beside("vector scaling, SciPy's BFGS", (*found.slopes, *found.offsets[1:]), theirs, within=1e-4)


@pytest.mark.parametrize("classes", [2, 4])
def test_isotonic_beside_scikit_learn(beside, classes):
    proba, labels = overconfident(6, 300, classes)
    other, _ = overconfident(7, 300, classes)
    found, columns = Isotonic.fit(proba, labels)(other), []
    for c in range(classes):
        line = isotonic.IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        columns.append(line.fit(proba[:, c].astype(np.float64), labels == c).predict(other[:, c].astype(np.float64)))
    theirs = np.stack(columns, axis=1)
    theirs = np.stack([1 - theirs[:, 1], theirs[:, 1]], axis=1) if classes == 2 else theirs / theirs.sum(axis=1, keepdims=True)
    beside(f"isotonic, scikit-learn, C = {classes}", found, theirs)


@pytest.mark.parametrize("name", CALIBRATIONS)
@pytest.mark.parametrize("classes", [2, 4])
def test_all_calibrate_and_are_kept_as_json(name, classes):
    proba, labels = overconfident(8, 1_500, classes)
    other, truth = overconfident(9, 1_500, classes)
    found = maps.find(name).fit(proba, labels)
    better = found(other)
    assert better.dtype == np.float32 and better.shape == other.shape
    np.testing.assert_allclose(better.sum(axis=1), 1, atol=1e-6)
    assert expected_calibration_error(truth, better) < expected_calibration_error(truth, other) / 2
    if name != "isotonic":  # it may give 0 to what then happens
        assert log_loss(truth, better) < log_loss(truth, other)
    again = maps.read(json.loads(json.dumps(found.to_dict(), allow_nan=False)))
    assert again == found
    np.testing.assert_array_equal(again(other), better)


@pytest.mark.parametrize("name", CALIBRATIONS)
@pytest.mark.parametrize("classes", [2, 3])
def test_perfect_validation_stays_finite(name, classes):
    labels = np.arange(30) % classes
    proba = np.where(np.eye(classes, dtype=bool)[labels], 1.0, 0.0).astype(np.float32)
    found = maps.find(name).fit(proba, labels)(proba)
    assert np.isfinite(found).all() and (found.argmax(axis=1) == labels).all()
    if name in ("platt", "vector", "beta"):
        assert found.max() < 1, "30 images prove no certainty"


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["temperature", "platt", "isotonic", "beta"]))
def test_two_classes_keep_their_order(seed, name):
    proba, labels = overconfident(seed, 60, 2)
    if len(set(labels)) < 2:
        return
    found = maps.find(name).fit(proba, labels)(proba)[:, 1]
    order = np.argsort(proba[:, 1])
    assert (np.diff(found[order]) >= -1e-6).all()


def test_what_cannot_be_fitted_is_refused():
    proba, labels = overconfident(0, 20, 2)
    with pytest.raises(DataError, match="did you mean 'platt'"):
        maps.find("plat")
    for name in CALIBRATIONS:
        fit = maps.find(name).fit
        with pytest.raises(DataError, match="there are no images to calibrate on"):
            fit(proba[:0], labels[:0])
        with pytest.raises(DataError, match="finite probabilities"):
            fit(np.where(np.eye(20, 2) > 0, np.nan, proba), labels)
        with pytest.raises(DataError, match="a label from 0 to 1"):
            fit(proba, np.where(np.arange(20) == 3, -1, labels))
        with pytest.raises(DataError, match="at least two classes"):
            fit(proba, np.zeros(20, dtype=np.int64))
