"""Greedy selection against a slow program that follows the paper word by word."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import accuracy_score, log_loss

from tellapart.combiners.greedy import Greedy


def library(count: int, images: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, images)
    logits = generator.normal(0, 1.5, (count, images, classes))
    logits[:, np.arange(images), labels] += generator.uniform(0, 2, count)[:, None]
    return softmax(logits, axis=2).astype(np.float32), labels


def worth(voters: np.ndarray, labels: np.ndarray, metric: str, classes: int) -> tuple[float, float]:
    mean = voters.astype(np.float64).mean(axis=0)
    mean /= mean.sum(axis=1, keepdims=True)
    loss = log_loss(labels, mean, labels=list(range(classes)))
    return (accuracy_score(labels, mean.argmax(axis=1)) if metric == "accuracy" else 0.0, -loss)


def slow(voters: np.ndarray, labels: np.ndarray, metric: str, start: int, rounds: int) -> np.ndarray:
    """Selection as the paper words it: every ensemble scored anew, by scikit-learn."""
    count, _, classes = voters.shape

    def of(taken):
        return worth(voters[taken], labels, metric, classes)

    ranked = sorted(range(count), key=lambda k: of([k]), reverse=True)[:start]
    taken = max((ranked[: n + 1] for n in range(len(ranked))), key=of)
    best, best_worth = list(taken), of(taken)
    for _ in range(rounds):
        taken = [*taken, max(range(count), key=lambda k: of([*taken, k]))]
        if of(taken) > best_worth:
            best, best_worth = list(taken), of(taken)
    return np.bincount(best, minlength=count) / len(best)


@pytest.mark.parametrize("metric", ["accuracy", "log-loss"])
@pytest.mark.parametrize(("classes", "seed"), [(2, 0), (4, 1), (4, 2)])
def test_it_takes_what_the_paper_takes(metric, classes, seed):
    voters, labels = library(6, 120, classes, seed)
    found = Greedy(Greedy.Options(metric=metric, start=3, rounds=8)).fit(voters, labels).weights
    np.testing.assert_allclose(found, slow(voters, labels, metric, 3, 8), atol=1e-12)


def test_by_hand():
    """The best voter first, then whoever mends its mistake."""
    labels = np.array([0, 0, 0, 0])
    right = np.array([[0.9, 0.9, 0.45, 0.45], [0.45, 0.45, 0.9, 0.9], [0.6, 0.6, 0.6, 0.3]], dtype=np.float32)
    voters = np.stack([right, 1 - right], axis=2)
    options = Greedy.Options(metric="accuracy", start=1, rounds=1)
    # voter 2 alone: 3 of 4; with voter 0 (sums 1.5, 1.5, 1.05, 0.75) 3, with voter 1 (1.05, 1.05, 1.5, 1.2) 4
    np.testing.assert_allclose(Greedy(options).fit(voters, labels).weights, [0, 0.5, 0.5])


def test_bags_are_the_mean_of_selections_among_a_share():
    voters, labels = library(8, 150, 3, 4)
    one, two = (Greedy(Greedy.Options(bags=6, share=0.25), seed=s).fit(voters, labels).weights for s in (0, 0))
    np.testing.assert_array_equal(one, two)
    assert one.sum() == pytest.approx(1) and (one > 0).sum() > 2  # two a bag, not the same two in every one
    single = Greedy(Greedy.Options(bags=6, share=1.0)).fit(voters, labels).weights
    np.testing.assert_allclose(single, Greedy(Greedy.Options()).fit(voters, labels).weights)


def test_a_voter_that_knows_nothing_gets_no_weight():
    voters, labels = library(5, 400, 3, 5)
    voters[2] = softmax(np.random.default_rng(9).normal(0, 3, (400, 3)), axis=1)
    assert Greedy(Greedy.Options()).fit(voters, labels).weights[2] == 0
