"""Suspicious labels: beside cleanlab 2.9.0 (its answers, written down: it is not installed here), by hand, and planted."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.errors import DataError
from tellapart.metrics.label_issues import (
    calibrated_joint,
    confident_joint,
    find_label_issues,
    label_quality,
    prune_by_noise_rate,
)
from tellapart.types import Predictions

#: cleanlab 2.9.0 on `noisy(classes, n, seed)`: the confident joint, plain and calibrated, what `find_label_issues` ranks, the
#: first scores. Where parts of an image tie in the calibrated joint, cleanlab may round another one up than we do.
CLEANLAB = {
    (2, 120, 0): (
        [[36, 6], [4, 48]],
        [[47, 8], [5, 60]],
        [75, 59, 92, 35, 97, 40, 28, 18, 98, 60, 79, 39, 71],
        ([0.854038494, 0.565796559, 0.87129502, 0.940649603], [0.854038494, 0.565796559, 0.87129502, 0.940649603]),
    ),
    (4, 160, 2): (
        [[17, 0, 1, 0], [0, 23, 3, 1], [1, 2, 25, 0], [0, 0, 0, 22]],
        [[30, 0, 2, 0], [0, 39, 5, 2], [2, 3, 39, 0], [0, 0, 0, 38]],
        [22, 56, 31, 100, 124, 88, 87, 98, 72, 80, 65, 127, 76, 27],
        ([0.933936123, 0.804608601, 0.735375819, 0.920132919], [0.914544844, 0.723487262, 0.656766538, 0.89047022]),
    ),
}


def noisy(classes, n, seed, share=0.1):
    """A classifier that is right most of the time, and labels of which a share is wrong: labels, proba, (n,) bool wrong."""
    rng = np.random.default_rng(seed)
    true = rng.integers(classes, size=n)
    logits = rng.normal(0, 1, (n, classes))
    logits[np.arange(n), true] += 2.5
    proba = np.exp(logits)
    proba /= proba.sum(axis=1, keepdims=True)
    wrong = rng.random(n) < share
    return np.where(wrong, (true + rng.integers(1, classes, size=n)) % classes, true), proba, wrong


def answered(labels, proba):
    ids = np.array([f"i{row}" for row in range(len(labels))], dtype=object)
    classes = tuple(f"c{c}" for c in range(proba.shape[1]))
    return Predictions(ids, proba.astype(np.float32), labels, classes)


@pytest.mark.parametrize("case", CLEANLAB, ids=str)
def test_beside_cleanlab(beside, case):
    labels, proba, _ = noisy(*case)
    plain, calibrated, ranked, (margin, confidence) = CLEANLAB[case]
    beside("confident joint, cleanlab", confident_joint(labels, proba), plain)
    beside("calibrated joint, cleanlab", calibrated_joint(labels, proba), calibrated)
    beside("issues, cleanlab", np.flatnonzero(prune_by_noise_rate(labels, proba)), sorted(ranked))
    beside("normalized margin, cleanlab", label_quality(labels, proba)[:4], margin)
    beside("self-confidence, cleanlab", label_quality(labels, proba, "self-confidence")[:4], confidence)
    found = find_label_issues(answered(labels, proba))
    assert found["id"].head(len(ranked)).tolist() == [f"i{row}" for row in ranked]
    assert found["is_issue"].sum() == len(ranked)


def test_by_hand():
    """Thresholds: a (.9 + .8 + .3) / 3 = .667, b (.6 + .9) / 2 = .75; the third image is surely b, the fourth of neither."""
    labels = np.array([0, 0, 0, 1, 1])
    proba = np.array([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.4, 0.6], [0.1, 0.9]])
    assert confident_joint(labels, proba).tolist() == [[2, 1], [0, 1]]
    assert calibrated_joint(labels, proba).tolist() == [[2, 1], [0, 2]]
    assert prune_by_noise_rate(labels, proba).tolist() == [False, False, True, False, False]


@pytest.mark.parametrize("classes", [2, 5])
def test_planted_flips_are_found(classes):
    labels, proba, wrong = noisy(classes, 2000, 7)
    found = prune_by_noise_rate(labels, proba)
    assert (found & wrong).sum() / wrong.sum() > 0.8 and (found & wrong).sum() / found.sum() > 0.7
    worst = np.argsort(label_quality(labels, proba))[: wrong.sum()]
    assert wrong[worst].mean() > 0.7  # 0.1 by chance


def test_clean_labels_of_a_sure_classifier_are_left_alone():
    labels = np.tile([0, 1, 2], 20)
    proba = np.full((60, 3), 0.05) + 0.85 * np.eye(3)[labels]
    assert not prune_by_noise_rate(labels, proba).any()


def test_the_table_is_in_words_and_worst_first():
    labels, proba, _ = noisy(3, 90, 3)
    labels[:5] = -1
    found = find_label_issues(answered(labels, proba), "self-confidence")
    assert len(found) == 85 and set(found["label"]) == {"c0", "c1", "c2"}
    flagged = found[found["is_issue"]]
    assert (flagged["label"] != flagged["guess"]).all() and flagged.index.tolist() == list(range(len(flagged)))
    assert flagged["score"].is_monotonic_increasing and found[~found["is_issue"]]["score"].is_monotonic_increasing


def test_odd_sets():
    with pytest.raises(DataError, match="no image has a label"):
        find_label_issues(answered(np.array([-1, -1]), np.full((2, 2), 0.5)))
    alone = find_label_issues(answered(np.zeros(4, np.int64), np.array([[0.9, 0.1], [0.1, 0.9], [0.6, 0.4], [0.5, 0.5]])))
    assert not alone["is_issue"].any()  # nothing is surely of a class that no image bears
    one = find_label_issues(answered(np.array([0, 1, 1]), np.array([[0.1, 0.9], [0.2, 0.8], [0.1, 0.9]])))
    assert not one["is_issue"].any()  # the only image of a class stays
