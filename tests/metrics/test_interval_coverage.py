"""How often 95 % intervals hold the truth at n ≥ 200, shares from 0.05 to 0.95; `benchmarks/interval_coverage.py` has more."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tellapart.metrics.classification import kappa_of, matthews_of
from tellapart.metrics.intervals import wilson
from tellapart.metrics.mcnemar import paired_difference
from tellapart.metrics.score_all import score_all
from tellapart.types import Predictions

SHARES = [0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95]
CLASSES = 4


@pytest.mark.parametrize("n", [200, 500, 2_000])
def test_wilson_covers_exactly(n):
    """No simulation: the chances of all k whose interval holds p. They jump with p, so p runs over a fine grid."""
    ends = np.array([wilson(k, n) for k in range(n + 1)])
    grid = np.linspace(0.05, 0.95, 901)
    holds = (ends[:, :1] <= grid) & (grid <= ends[:, 1:])
    covered = np.sum(stats.binom.pmf(np.arange(n + 1)[:, None], n, grid) * holds, axis=0)
    print(f"\n  Wilson, n = {n}: covers {covered.min():.4f} … {covered.max():.4f}, mean {covered.mean():.4f}", end="")
    assert 0.93 <= covered.min() and covered.max() <= 0.97
    assert covered.mean() == pytest.approx(0.95, abs=0.003)


@pytest.mark.slow
@pytest.mark.parametrize("share", SHARES)
def test_scores_of_answers_cover(share):
    """400 images of 4 classes, each right with this chance, wrong answers even; 1,000 test parts (± 1.4 points)."""
    rng, n = np.random.default_rng(int(100 * share)), 400
    labels = np.arange(n) % CLASSES
    mix = np.full(CLASSES, 1 / CLASSES)
    counts = (mix * share, mix, mix)
    truth = dict.fromkeys(("accuracy", "balanced-accuracy", "macro-precision", "macro-recall", "macro-f1"), share)
    truth |= {"weighted-f1": share, "matthews": float(matthews_of(*counts)), "kappa": float(kappa_of(*counts))}
    truth["brier"] = share * (0.2**2 + 3 * (0.2 / 3) ** 2) + (1 - share) * (0.8**2 + (1 - 0.2 / 3) ** 2 + 2 * (0.2 / 3) ** 2)
    held = dict.fromkeys(truth, 0)
    for _ in range(1_000):
        wrong = (labels + rng.integers(1, CLASSES, size=n)) % CLASSES
        answers = np.where(rng.random(n) < share, labels, wrong)
        proba = np.full((n, CLASSES), 0.2 / 3) + (0.8 - 0.2 / 3) * np.eye(CLASSES)[answers]
        scores = score_all(Predictions(np.arange(n).astype(object), proba, labels, tuple("abcd")))
        for name, value in truth.items():
            held[name] += scores[name].low <= value <= scores[name].high
    print(f"\n  p = {share}:", {name: count / 1_000 for name, count in held.items()}, end="")
    assert all(0.93 <= count / 1_000 <= 0.97 for count in held.values()), held


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_paired_differences_cover(share):
    rng, held = np.random.default_rng(1), 0
    for _ in range(2_000):
        common = rng.random(200) < 0.5
        a, b = (np.where(common, rng.random(200) < share, draw < share) for draw in rng.random((2, 200)))
        difference = paired_difference(a, b)
        held += difference.low <= 0 <= difference.high
    assert 0.93 <= held / 2_000 <= 0.97, held
