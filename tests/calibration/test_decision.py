"""Decisions: the order of map, mix and rules; verdicts beside what a person would say; shares beside counting by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.model_selection import StratifiedKFold

from tellapart.calibration.conformal import Conformal
from tellapart.calibration.decision import Decision, score_decisions
from tellapart.calibration.decision_text import describe, describe_map, precision_at
from tellapart.calibration.maps import CALIBRATIONS, Platt, Temperature
from tellapart.calibration.thresholds import RejectBand, Threshold, threshold_for_fpr
from tellapart.errors import DataError
from tellapart.metrics.cross_validation import cross_fit, deal_folds
from tellapart.metrics.reliability import reliability_by_mass
from tellapart.types import Predictions, Score

REAL_FAKE = ("real", "fake")


def two(p: list[float] | np.ndarray) -> np.ndarray:
    fake = np.asarray(p, dtype=np.float64)
    return np.stack([1 - fake, fake], axis=1)


def threshold(at: float) -> Threshold:
    return Threshold(at, Score(0.8, 50, 0.67, 0.89), Score(0.01, 100, 0.002, 0.05), "by hand")


def predictions(p, labels, groups=None) -> Predictions:
    ids = np.array([str(i) for i in range(len(labels))], dtype=object)
    return Predictions(ids, two(p).astype(np.float32), np.asarray(labels), REAL_FAKE, groups=groups)


# --- probabilities ----------------------------------------------------------------------------------------------------


def test_the_map_comes_first_then_bayes_rule(beside):
    """By odds: those of the map, times the ratio of new odds to old ones."""
    p = np.linspace(0.01, 0.99, 40)
    decision = Decision(REAL_FAKE, 9, "fake", Temperature(2.0), seen=(0.4, 0.6), prior=(0.98, 0.02))
    odds = np.sqrt(p / (1 - p)) * (0.02 / 0.98) / (0.6 / 0.4)
    beside("temperature, then the mix, by odds", decision(two(p))[:, 1], odds / (1 + odds))
    assert np.abs(decision.corrected(decision.calibrated(two(p))) - decision(two(p))).max() == 0


def test_a_prior_keeps_the_order_and_so_the_pairs_of_tpr_and_fpr(made):
    """What a threshold at 5 % FPR lets through does not depend on the mix, when it is chosen after the correction."""
    answers = made(3, 400, 2)
    positive = answers.labels == 1
    plain = Decision(("class0", "class1"), 400, "class1", Platt(1.7, (0.0, -0.4)))
    moved = replace(plain, seen=(0.5, 0.5), prior=(0.9, 0.1))
    found = [threshold_for_fpr(positive, d.scores(d(answers.proba)), 0.05) for d in (plain, moved)]
    assert found[0].threshold > found[1].threshold
    assert (found[0].tpr, found[0].fpr) == (found[1].tpr, found[1].fpr)


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_it_is_kept_as_json(name, made):
    answers = made(1, 90, 2)
    fitted = CALIBRATIONS[name].fit(answers.proba, answers.labels)
    sets = Conformal("lac", math.inf, 0.99, 5)
    at = threshold(math.inf)
    decision = Decision(answers.classes, 90, "class1", fitted, (0.4, 0.6), (0.9, 0.1), at, None, sets)
    again = Decision.from_dict(json.loads(json.dumps(decision.to_dict(), allow_nan=False)))
    assert again == decision
    np.testing.assert_array_equal(again(answers.proba), decision(answers.proba))


# --- verdicts ---------------------------------------------------------------------------------------------------------


def test_without_a_rule_the_most_probable_class_answers():
    found = Decision(("a", "b", "c"), 9).decide(np.array([[0.2, 0.5, 0.3], [0.4, 0.3, 0.3]]))
    assert found.names.tolist() == ["b", "a"] and found.unsure == 0
    assert not Decision(("a", "b", "c"), 9).has_rule


def test_threshold_and_band():
    p = two([0.1, 0.29999, 0.3, 0.7, 0.8])
    found = Decision(REAL_FAKE, 9, "fake", threshold=threshold(0.7)).decide(p)
    assert found.names.tolist() == ["real", "real", "real", "fake", "fake"]
    assert found.reasons.tolist()[3] == "at or above 0.7"
    found = Decision(REAL_FAKE, 9, "real", threshold=threshold(0.7)).decide(p)
    assert found.names.tolist() == ["real", "real", "real", "fake", "fake"], "the line is one on p(real)"
    found = Decision(REAL_FAKE, 9, "fake", threshold=threshold(0.5), band=RejectBand(0.3, 0.8)).decide(p)
    assert found.names.tolist() == ["real", "real", "unsure", "unsure", "fake"] and found.unsure == 2
    nothing = Decision(REAL_FAKE, 9, "fake", threshold=threshold(math.inf)).decide(p)
    assert set(nothing.names) == {"real"} and nothing.reasons[0] == "no image is classified as fake"


def test_a_set_that_does_not_hold_the_answer_alone_is_unsure():
    p = two([0.05, 0.5, 0.95, 0.45])
    sets = Conformal("lac", 0.55, 0.9, 100)
    found = Decision(REAL_FAKE, 100, "fake", threshold=threshold(0.02), sets=sets).decide(p)
    assert found.names.tolist() == ["unsure", "unsure", "fake", "unsure"]
    assert found.reasons.tolist()[0] == "possible: real only; by the threshold: fake"
    assert found.reasons.tolist()[1] == "possible: real, fake"
    none = Decision(REAL_FAKE, 100, sets=Conformal("lac", 0.3, 0.5, 100)).decide(p)
    assert none.names.tolist() == ["real", "unsure", "fake", "unsure"] and none.reasons.tolist()[1] == "no class is possible"


def test_what_makes_no_sense_is_refused():
    with pytest.raises(DataError, match="needs two classes; there are 3: a, b, c"):
        Decision(("a", "b", "c"), 9, None, threshold=threshold(0.5))
    with pytest.raises(DataError, match=r"0\.900 is outside the band 0\.3 … 0\.8"):
        Decision(REAL_FAKE, 9, "fake", threshold=threshold(0.9), band=RejectBand(0.3, 0.8))


# --- judging ----------------------------------------------------------------------------------------------------------


def test_shares_are_those_counted_by_hand_with_scipys_intervals():
    p = [0.05, 0.2, 0.5, 0.6, 0.9, 0.95, 0.4, 0.9, 0.1, 0.5]
    labels = [0, 0, 0, 0, 0, 1, 1, 1, 1, -1]
    decision = Decision(REAL_FAKE, 9, "fake", threshold=threshold(0.5), band=RejectBand(0.3, 0.8))
    found = score_decisions(decision, predictions(p, labels))

    def share(k, n):
        ci = binomtest(k, n).proportion_ci(method="wilson")
        return pytest.approx((k / n, n, ci.low, ci.high), abs=1e-9)

    def plain(score):
        return score.value, score.n, score.low, score.high

    assert plain(found.tpr) == share(2, 4) and plain(found.fpr) == share(3, 5)
    assert plain(found.decided) == share(6, 9)
    assert plain(found.accuracy) == share(4, 6)
    assert not found.fpr.higher_is_better and found.sets is None
    json.dumps(found.to_dict(), allow_nan=False)


def test_what_is_not_defined_is_none():
    decision = Decision(REAL_FAKE, 9, "fake", threshold=threshold(0.5), band=RejectBand(0.3, 0.8))
    found = score_decisions(decision, predictions([0.5, 0.6], [1, 1]))
    assert found.fpr is None and found.accuracy is None and found.tpr.value == 1.0 and found.decided.value == 0
    with pytest.raises(DataError, match="one labeled image"):
        score_decisions(decision, predictions([0.5], [-1]))
    with pytest.raises(DataError, match="the decision rule is for the classes a, b"):
        score_decisions(Decision(("a", "b"), 9), predictions([0.5], [1]))


def test_groups_widen_the_intervals(made):
    answers = made(5, 300, 2)
    twenty = np.repeat(np.arange(30), 10).astype(str).astype(object)
    alike = replace(answers, proba=np.repeat(answers.proba[:30], 10, axis=0), labels=np.repeat(answers.labels[:30], 10))
    decision = Decision(answers.classes, 300, "class1", threshold=threshold(0.5), sets=Conformal("lac", 0.6, 0.9, 100))
    alone, grouped = score_decisions(decision, alike), score_decisions(decision, replace(alike, groups=twenty))
    for name in ("tpr", "fpr"):
        narrow, wide = getattr(alone, name), getattr(grouped, name)
        assert narrow.value == wide.value and wide.high - wide.low > 2 * (narrow.high - narrow.low)
    assert grouped.sets.covered.high - grouped.sets.covered.low > alone.sets.covered.high - alone.sets.covered.low


# --- cross-fitting ----------------------------------------------------------------------------------------------------


def test_folds_are_as_even_as_scikit_learns():
    labels = np.random.default_rng(0).integers(0, 3, 103)
    fold = deal_folds(labels, None, seed=4)
    theirs = np.empty(103, dtype=int)
    for number, (_, rows) in enumerate(StratifiedKFold(5, shuffle=True, random_state=0).split(labels, labels)):
        theirs[rows] = number
    for c in range(3):
        ours_n, theirs_n = (np.bincount(f[labels == c], minlength=5) for f in (fold, theirs))
        assert np.ptp(ours_n) <= 1 and np.ptp(theirs_n) <= 1
    assert np.ptp(np.bincount(fold)) <= 1


def test_folds_keep_groups_whole():
    groups = np.array([f"g{i // 4}" for i in range(80)], dtype=object)
    fold = deal_folds(np.repeat([0, 1], 40), groups, seed=0)
    assert all(len(set(fold[groups == g])) == 1 for g in set(groups))


def test_no_image_is_judged_by_what_it_taught():
    """Changing the label of one image changes the answers to all others that it taught, and not its own fold's."""
    rng = np.random.default_rng(2)
    proba, labels = two(rng.uniform(0.05, 0.95, 60)), np.arange(60) % 2
    fold = deal_folds(labels, None, seed=1)
    changed = labels.copy()
    changed[0] = 1 - changed[0]
    before, after = (cross_fit(proba, of, fold, Platt.fit) for of in (labels, changed))
    same = np.isclose(before, after, atol=1e-7).all(axis=1)
    np.testing.assert_array_equal(same, fold == fold[0])


def test_too_few_images_for_folds_are_said():
    with pytest.raises(DataError, match="too few for cross-fitting"):
        cross_fit(two([0.1, 0.9, 0.2]), np.array([0, 1, 0]), np.array([0, 1, 2]), Platt.fit)


# --- words and diagrams -----------------------------------------------------------------------------------------------


def test_words_say_which_way_the_classifier_erred():
    said = describe_map(Temperature(1.83), REAL_FAKE)
    assert "overconfident" in said and "T = 1.83" in said
    assert "underconfident" in describe_map(Temperature(0.5), REAL_FAKE)
    assert "was well calibrated" in describe_map(Temperature(1.01), REAL_FAKE)
    assert "the probabilities were uninformative" in describe_map(Platt(0.0, (0.0, 0.0)), REAL_FAKE)
    for name, of in CALIBRATIONS.items():
        rng = np.random.default_rng(0)
        fitted = of.fit(rng.dirichlet(np.ones(6), 120), rng.integers(0, 6, 120))
        assert describe_map(fitted, tuple("abcdef")).startswith(name)
    decision = Decision(
        ("a", "b", "c"), 9, None, None, (0.2, 0.3, 0.5), (0.2, 0.3, 0.5), sets=Conformal("lac", math.inf, 0.9, 5)
    )
    said = describe(decision)
    assert said[0] == "class frequencies unchanged: no correction" and said[1].startswith("always unsure: 5 validation")


def test_precision_at_a_mix_is_bayes_rule():
    """Of 100,000 images 2 % of which are fake: 1,600 found of 2,000, 980 false alarms of 98,000."""
    found = precision_at(threshold(0.5), 0.02)
    assert found is not None and found.value == pytest.approx(1600 / (1600 + 980))
    never = Threshold(math.inf, Score(0, 5, 0, 0.4), Score(0, 5, 0, 0.4), "")
    assert precision_at(never, 0.02) is None


def test_bins_of_equal_mass_are_quantiles(made):
    answers = made(9, 1000, 2)
    found = reliability_by_mass(answers.labels, answers.proba)
    confidence = answers.proba.max(axis=1)
    assert found.n.sum() == 1000 and set(found.n) <= {99, 100, 101} and len(found.n) == 10
    np.testing.assert_allclose(found.high, np.quantile(confidence, np.arange(1, 11) / 10, method="lower"), atol=0.01)
    for k in range(10):
        inside = (confidence > found.low[k]) & (confidence <= found.high[k])
        assert inside.sum() == found.n[k]
        right = (answers.predicted == answers.labels)[inside].mean()
        assert (found.confidence[k], found.accuracy[k]) == pytest.approx((confidence[inside].mean(), right), abs=1e-6)


def test_answers_of_equal_confidence_share_a_bin():
    p = np.array([0.9] * 50 + [0.6] * 2)
    found = reliability_by_mass(np.ones(52, dtype=int), two(p))
    assert found.n.tolist() == [2, 50]
