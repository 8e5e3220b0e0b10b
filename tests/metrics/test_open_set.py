"""Unknown against known: beside scikit-learn, and the promise of the threshold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tellapart.errors import DataError
from tellapart.metrics.open_set import score_open_set, unknown_score, unknown_threshold
from tellapart.types import Predictions


def answers(proba: np.ndarray, seed: int = 0) -> Predictions:
    labels = np.random.default_rng(seed).integers(0, proba.shape[1], len(proba))
    ids = np.array([f"{i}" for i in range(len(proba))], dtype=object)
    return Predictions(ids, proba.astype(np.float32), labels, tuple("abc"[: proba.shape[1]]))


def test_scores_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    known, strange = rng.dirichlet([0.3] * 3, 200), rng.dirichlet([0.8] * 3, 150)
    known[:20], strange[:20] = [0.5, 0.3, 0.2], [0.5, 0.2, 0.3]  # ties across the two kinds
    found = score_open_set("d", strange.astype(np.float32), answers(known), 0.4)
    doubt = 1 - np.concatenate([strange, known]).astype(np.float32).astype(np.float64).max(axis=1)
    truth = np.arange(350) < 150
    assert found.auroc.value == pytest.approx(roc_auc_score(truth, doubt), abs=1e-12)
    assert found.auroc.low < found.auroc.value < found.auroc.high and found.auroc.n == 350
    assert found.rejected.value == pytest.approx((doubt[:150] > 0.4).mean()) and found.rejected.n == 150
    assert found.false_alarms.value == pytest.approx((doubt[150:] > 0.4).mean()) and not found.false_alarms.higher_is_better
    assert sum(found.predicted_as.values()) + found.rejected.value == pytest.approx(1)
    taken = strange[doubt[:150] <= 0.4].argmax(axis=1)
    assert found.predicted_as["b"] == pytest.approx((taken == 1).sum() / 150)
    content = found.to_dict()
    assert content["unknown"] == "d" and content["auroc"]["n"] == 350


def test_the_threshold_keeps_its_promise_in_the_mean() -> None:
    """Over draws of validation and new images of the same kind, the share above is at most what was asked, and near it."""
    rng = np.random.default_rng(1)
    shares = []
    for _ in range(4000):
        values = rng.normal(size=60)
        shares.append((values[39:] > unknown_threshold(values[:39], 0.1)).mean())
    assert 0.085 < np.mean(shares) <= 0.1 + 3 * np.std(shares) / math.sqrt(4000)


def test_too_few_images_promise_nothing() -> None:
    assert unknown_threshold(np.arange(18) / 18, 0.05) == math.inf
    assert unknown_threshold(np.arange(19) / 19, 0.05) == 18 / 19


@pytest.mark.parametrize("share", [0, 1, -0.1, 5])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(DataError, match="between 0 and 1"):
        unknown_threshold(np.zeros(5), share)


def test_unknownness_and_empty_sides() -> None:
    assert unknown_score(np.array([[1.0, 0, 0]])).tolist() == [0]
    with pytest.raises(DataError, match="got 0 and 3"):
        score_open_set("d", np.zeros((0, 3), np.float32), answers(np.eye(3)), 0.5)
