"""Every combiner against a value worked by hand, scipy or scikit-learn; and what all of them promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import softmax
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from tellapart import registry
from tellapart.combiners.base import combine, stack_members
from tellapart.combiners.weighted import inverse_loss, least_loss
from tellapart.errors import DataError
from tellapart.types import Predictions

NAMES = registry.names("combiners")
CLASSES = ("a", "b", "c")


def make(how: str, **options: object):
    family = registry.find("combiners", how)
    return family(family.Options(**options))


def voters_like(count: int, images: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Voters that know something, each with its own noise: (K, N, C) float32, (N,) int64."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, images)
    logits = generator.normal(0, 1.5, (count, images, classes))
    logits[:, np.arange(images), labels] += np.linspace(0.5, 1.5, count)[:, None]
    return softmax(logits, axis=2).astype(np.float32), labels


def rows(*values: list[float]) -> np.ndarray:
    """One image, one voter a row: (K, 1, C)."""
    return np.array(values, dtype=np.float32)[:, None, :]


# --- what all promise -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", NAMES)
@pytest.mark.parametrize("classes", [2, 7])
def test_answers_are_probabilities(how, classes):
    voters, labels = voters_like(5, 80, classes)
    proba = make(how).fit(voters, labels)(voters)
    assert proba.shape == (80, classes) and proba.dtype == np.float32
    assert np.isfinite(proba).all() and (proba >= 0).all()
    np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("how", NAMES)
def test_an_image_is_answered_alike_in_any_company(how):
    voters, labels = voters_like(5, 60, 3)
    combiner = make(how).fit(voters, labels)
    asked, _ = voters_like(5, 30, 3, seed=1)
    together, order = combiner(asked), np.random.default_rng(2).permutation(30)
    np.testing.assert_allclose(combiner(asked[:, order]), together[order], atol=1e-6)
    np.testing.assert_allclose(np.concatenate([combiner(asked[:, [i]]) for i in range(30)]), together, atol=1e-6)
    assert combiner(asked[:, :0]).shape == (0, 3)


@pytest.mark.parametrize("how", NAMES)
def test_voters_of_one_mind_are_believed(how):
    """The answer of K equal voters is theirs (a vote and a stack change how sure they are)."""
    one, labels = voters_like(1, 60, 3)
    voters = np.repeat(one, 4, axis=0)
    proba = make(how).fit(voters, labels)(voters)
    if how not in ("stack", "vote"):
        np.testing.assert_allclose(proba, one[0], atol=2e-6)
    if how != "stack":
        np.testing.assert_array_equal(proba.argmax(axis=1), one[0].argmax(axis=1))


@pytest.mark.parametrize("how", NAMES)
def test_it_works_without_validation_images(how):
    voters, _ = voters_like(3, 20, 3)
    combiner = make(how).fit(voters[:, :0], np.empty(0, dtype=np.int64))
    if how not in ("vote", "geometric_mean", "confident"):
        np.testing.assert_allclose(combiner(voters), voters.mean(axis=0), atol=1e-6)
    assert combiner.notes or how in ("vote", "geometric_mean", "confident", "mean")


@pytest.mark.parametrize("how", NAMES)
def test_a_refit_forgets_and_unknown_labels_teach_nothing(how):
    voters, labels = voters_like(4, 60, 3)
    other, other_labels = voters_like(4, 50, 2, seed=3)
    again = make(how).fit(other, other_labels).fit(voters, labels)
    blanked = np.where(np.arange(60) < 40, labels, -1)
    np.testing.assert_array_equal(again(voters), make(how).fit(voters, labels)(voters))
    np.testing.assert_array_equal(make(how).fit(voters, blanked)(voters), make(how).fit(voters[:, :40], labels[:40])(voters))


@pytest.mark.parametrize("how", NAMES)
def test_only_what_learns_looks_at_labels(how):
    voters, labels = voters_like(4, 60, 3)
    shuffled = np.random.default_rng(0).permutation(labels)
    same = np.array_equal(make(how).fit(voters, labels)(voters), make(how).fit(voters, shuffled)(voters))
    assert same != registry.find("combiners", how).uses_labels


@pytest.mark.parametrize("how", NAMES)
def test_every_option_is_described(how):
    options = registry.find("combiners", how).Options
    assert not [name for name, info in options.model_fields.items() if not info.description]


# --- by hand ----------------------------------------------------------------------------------------------------------


def test_vote_majority_beats_confidence():
    voters = rows([0.4, 0.35, 0.25], [0.4, 0.35, 0.25], [0, 1, 0])
    proba = make("vote")(voters)[0]
    assert proba.argmax() == 0
    np.testing.assert_allclose(proba, np.array([2 + 0.8 / 6, 1 + 1.7 / 6, 0.5 / 6]) / 3.5, atol=1e-7)


def test_vote_ties_go_to_the_mean_then_to_the_class_order():
    assert make("vote")(rows([0.6, 0.4, 0], [0.1, 0.9, 0])).argmax() == 1  # means .35 and .65
    assert make("vote")(rows([0.75, 0.25, 0], [0.25, 0.75, 0])).argmax() == 0  # all equal: class order
    assert make("vote")(rows([0, 0.75, 0.25], [0, 0.25, 0.75])).argmax() == 1


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 7), st.integers(2, 5), st.integers(0, 10_000))
def test_vote_never_prefers_fewer_votes(count, classes, seed):
    voters = softmax(np.random.default_rng(seed).normal(0, 3, (count, 20, classes)), axis=2).astype(np.float32)
    votes = np.stack([np.bincount(voters[:, i].argmax(axis=1), minlength=classes) for i in range(20)])
    answers = make("vote")(voters).argmax(axis=1)
    assert (votes[np.arange(20), answers] == votes.max(axis=1)).all()


def test_mean_and_log_odds_by_hand():
    voters = rows([0.9, 0.1], [0.2, 0.8])
    np.testing.assert_allclose(make("mean")(voters)[0], [0.55, 0.45], atol=1e-7)
    odds = np.sqrt((0.9 / 0.1) * (0.2 / 0.8))  # e^(mean of the log-odds)
    np.testing.assert_allclose(make("geometric_mean")(voters)[0], [odds / (1 + odds), 1 / (1 + odds)], atol=1e-6)


def test_log_odds_take_a_certain_voter_without_breaking():
    proba = make("geometric_mean")(rows([1, 0, 0], [0, 1, 0]))[0]
    assert np.isfinite(proba).all() and proba[0] == pytest.approx(proba[1]) and proba[2] < 1e-3


def test_confident_asks_those_who_are_sure():
    sure = [[0.9, 0.1], [0.85, 0.15], [0.3, 0.7], [0.4, 0.6], [0.45, 0.55]]
    np.testing.assert_allclose(make("confident")(rows(*sure))[0], [0.875, 0.125], atol=1e-6)  # 2 of 5 = 0.4 are enough
    np.testing.assert_allclose(make("confident", share=0.5)(rows(*sure))[0], np.mean(sure, axis=0), atol=1e-6)
    torn = [[0.9, 0.1], [0.1, 0.9], [0.6, 0.4]]
    np.testing.assert_allclose(make("confident", share=0.3)(rows(*torn))[0], np.mean(torn, axis=0), atol=1e-6)


# --- against scipy and scikit-learn -----------------------------------------------------------------------------------


def test_rank_orders_as_the_mean_of_scipys_ranks():
    voters, labels = voters_like(4, 200, 2)
    voters[1] = voters[1] ** 0.05 / (voters[1] ** 0.05).sum(axis=1, keepdims=True)  # one that is never sure
    proba = make("rank").fit(voters, labels)(voters)[:, 1]
    wanted = np.mean([rankdata(v[:, 1]) for v in voters], axis=0)
    np.testing.assert_array_equal(np.argsort(wanted, kind="stable"), np.argsort(proba.round(6), kind="stable"))
    assert roc_auc_score(labels, proba) == pytest.approx(roc_auc_score(labels, wanted), abs=2e-4)


def test_rank_keeps_the_share_of_a_rare_class():
    """Ranks alone would call half of the images positive."""
    generator = np.random.default_rng(0)
    positive = generator.beta(1, 12, (3, 2000)).astype(np.float32)
    voters = np.stack([1 - positive, positive], axis=2)
    answered = make("rank").fit(voters, np.zeros(2000, dtype=np.int64))(voters).argmax(axis=1).mean()
    assert answered < 0.02


def test_least_loss_is_scipys_minimum():
    voters, labels = voters_like(5, 300, 3)
    given = voters[:, np.arange(300), labels].astype(np.float64)
    found = least_loss(given)
    assert found.sum() == pytest.approx(1) and (found >= 0).all()

    def loss(w):
        return -np.log(w @ given).mean()

    constraint = {"type": "eq", "fun": lambda w: w.sum() - 1}
    best = minimize(loss, np.full(5, 0.2), method="SLSQP", bounds=[(0, 1)] * 5, constraints=constraint, tol=1e-12)
    assert loss(found) == pytest.approx(best.fun, abs=2e-6)
    np.testing.assert_allclose(found, best.x, atol=5e-3)
    combiner = make("weighted").fit(voters, labels)
    assert log_loss(labels, combiner(voters)) == pytest.approx(best.fun, abs=2e-6)


def test_inverse_weights_are_those_of_scikit_learns_log_loss():
    voters, labels = voters_like(3, 100, 3)
    exact = voters.astype(np.float64)
    wanted = 1 / np.array([log_loss(labels, v) for v in exact / exact.sum(axis=2, keepdims=True)])
    np.testing.assert_allclose(make("weighted", by="inverse").fit(voters, labels).weights, wanted / wanted.sum(), rtol=1e-5)
    assert inverse_loss(np.ones((2, 3))).tolist() == [0.5, 0.5]  # no loss at all is not a division by zero


def test_stack_is_scikit_learns_logistic_regression():
    voters, labels = voters_like(3, 200, 3)
    logs = np.log(voters.astype(np.float64))
    X = (logs - logs.mean(axis=2, keepdims=True)).transpose(1, 0, 2).reshape(200, 9)
    wanted = LogisticRegression(C=0.1, max_iter=500).fit(X, labels).predict_proba(X)
    np.testing.assert_allclose(make("stack", C=[0.1]).fit(voters, labels)(voters), wanted, atol=1e-4)


@pytest.mark.parametrize("learner", ["logistic", "boosting"])
def test_stack_finds_who_is_right_where(learner):
    """Voter 0 knows class 0 from the rest, voter 1 the other two apart: only together are they good."""
    labels = np.arange(600) % 3
    voters = np.full((2, 600, 3), 1 / 3, dtype=np.float32)
    voters[0] = np.where((labels == 0)[:, None], [0.8, 0.1, 0.1], [0.2, 0.4, 0.4])
    voters[1] = np.where((labels == 1)[:, None], [0.4, 0.5, 0.1], np.where((labels == 2)[:, None], [0.4, 0.1, 0.5], 1 / 3))
    combiner = make("stack", learner=learner).fit(voters[:, :300], labels[:300])
    assert (combiner(voters[:, 300:]).argmax(axis=1) == labels[300:]).mean() > 0.99


@pytest.mark.parametrize("learner", ["logistic", "boosting"])
def test_stack_keeps_a_class_that_validation_lacks(learner):
    voters, labels = voters_like(3, 200, 4)
    combiner = make("stack", learner=learner).fit(voters[:, labels != 3], labels[labels != 3])
    np.testing.assert_allclose(combiner(voters)[:, 3], voters.mean(axis=0)[:, 3], atol=1e-6)


# --- many runs --------------------------------------------------------------------------------------------------------


def test_combine_brings_images_into_one_order():
    voters, labels = voters_like(2, 30, 3)
    ids, order = np.array([f"i{n}" for n in range(30)], dtype=object), np.random.default_rng(0).permutation(30)
    first = Predictions(ids, voters[0], labels, CLASSES, "one")
    second = Predictions(ids[order], voters[1][order], labels[order], CLASSES, "two")
    np.testing.assert_array_equal(stack_members([first, second]), voters)
    found = combine(make("mean"), [first, second], "both")
    assert found.run_id == "both" and list(found.ids) == list(ids)
    np.testing.assert_allclose(found.proba, voters.mean(axis=0), atol=1e-6)


def test_other_images_classes_or_labels_are_refused_by_name():
    voters, labels = voters_like(2, 10, 3)
    ids = np.array([f"i{n}" for n in range(10)], dtype=object)
    first = Predictions(ids, voters[0], labels, CLASSES, "one")
    for other, message in (
        (Predictions(ids[:9], voters[1][:9], labels[:9], CLASSES, "two"), "one and two have predictions for different images"),
        (Predictions(ids, voters[1], labels, ("a", "b", "d"), "two"), "one and two have different classes"),
        (Predictions(ids, voters[1], (labels + 1) % 3, CLASSES, "two"), "one and two have different labels for 'i0'"),
    ):
        with pytest.raises(DataError, match=message):
            combine(make("mean"), [first, other])
