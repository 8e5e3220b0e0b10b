"""Our own answering code against scikit-learn's estimators on the same vectors."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import make_blobs
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from tellapart import registry
from tellapart.recipe import load as recipes


def _vectors(classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    X, y = make_blobs(300, 6, centers=classes, cluster_std=4, random_state=0)
    return X[:240].astype(np.float32), y[:240].astype(np.int64), X[240:].astype(np.float32)


def _learnt(content: dict[str, Any], classes: int) -> Any:
    recipe = recipes.parse({"classifier": content})
    classifier = registry.find("classifiers", content["family"])(recipe)
    classifier.classes = tuple(str(c) for c in range(classes))
    X, y, asked = _vectors(classes)
    classifier._fit_vectors(X, y, asked[:20], y[:20])
    return classifier


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_svm_decisions(classes: int, kernel: str) -> None:
    X, y, asked = _vectors(classes)
    ours = _learnt({"family": "svm", "C": 3.0, "gamma": 0.05, "kernel": kernel}, classes)
    theirs = SVC(C=3.0, gamma=0.05, kernel=kernel, break_ties=True).fit(X.astype(float), y)
    decision = theirs.decision_function(asked.astype(float))
    decision = np.stack([-decision, decision], axis=1) if classes == 2 else decision
    np.testing.assert_allclose(ours._decide(ours._kernel_with_support(asked)), decision, atol=1e-6)
    assert (ours._predict_vectors(asked).argmax(1) == theirs.predict(asked.astype(float))).all()


def test_svm_gamma_scale_is_scikit_learns() -> None:
    X, y, _ = _vectors(3)
    ours = _learnt({"family": "svm"}, 3)
    assert ours.arrays["gamma"][0] == pytest.approx(SVC(gamma="scale").fit(X.astype(float), y)._gamma, rel=1e-5)


@pytest.mark.parametrize("classes", [2, 4])
def test_linear_picks_the_penalty_by_validation_and_answers_like_scikit_learn(classes: int) -> None:
    X, y, asked = _vectors(classes)
    ours = _learnt({"family": "linear", "C": [0.01, 1.0], "iterations": 2000}, classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = [LogisticRegression(C=C, max_iter=2000).fit(X, y).predict_proba(asked) for C in (0.01, 1.0)]
    proba = ours._predict_vectors(asked)
    assert min(np.abs(proba - p).max() for p in theirs) < 0.01
