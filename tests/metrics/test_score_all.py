"""Every metric against scikit-learn; every interval against what it promises."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import special, stats
from sklearn import metrics as reference

from tellapart.errors import TellapartError
from tellapart.metrics import classification as of_answers
from tellapart.metrics import probabilistic
from tellapart.metrics import score_all as score_all_module
from tellapart.metrics.intervals import wilson
from tellapart.metrics.score_all import RANKINGS, score_all, score_classes, undefined
from tellapart.types import Predictions, Score

KEYS = ["accuracy", "macro-precision", "macro-recall", "macro-f1", "log-loss"]


def make(seed: int, n: int, classes: int, *, absent: int = 0, coarse: bool = False, groups: int = 0) -> Predictions:
    """Random predictions that are right about half the time; `absent` classes have no label, `coarse` makes ties."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(max(1, classes - absent), size=n)
    weights = rng.integers(1, 5, size=(n, classes)) if coarse else rng.random((n, classes)) + 0.01
    weights = weights + (rng.random(n) < 0.5)[:, None] * 3 * np.eye(classes)[labels]
    proba = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    ids = np.array([f"image{i}" for i in range(n)], dtype=object)
    names = np.array([f"scene{g}" for g in rng.integers(groups, size=n)], dtype=object) if groups else None
    return Predictions(ids, proba, labels, tuple(f"class{c}" for c in range(classes)), groups=names)


def answered(labels: np.ndarray, answers: np.ndarray, classes: int) -> Predictions:
    """Independent images with these answers, all of the same confidence."""
    proba = (np.full((len(labels), classes), 0.2 / classes) + 0.8 * np.eye(classes)[answers]).astype(np.float32)
    ids = np.arange(len(labels)).astype(str).astype(object)
    return Predictions(ids, proba, labels, tuple(f"class{c}" for c in range(classes)))


shapes = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 10_000),
        "n": st.integers(1, 120),
        "classes": st.integers(2, 7),
        "absent": st.integers(0, 3),
        "coarse": st.booleans(),
        "groups": st.sampled_from([0, 1, 4, 40]),
    }
)


@settings(max_examples=60, deadline=None)
@given(shapes)
def test_values_equal_scikit_learn(shape):
    p = make(**shape)
    found = score_all(p)
    macro = reference.precision_recall_fscore_support(
        p.labels, p.predicted, labels=range(len(p.classes)), average="macro", zero_division=0
    )
    expected = dict(zip(KEYS[1:4], macro[:3], strict=True))
    expected["accuracy"] = reference.accuracy_score(p.labels, p.predicted)
    expected["log-loss"] = reference.log_loss(p.labels, p.proba, labels=range(len(p.classes)))
    if len(p.classes) == 2 and len(set(p.labels)) == 2:
        expected["auroc"] = reference.roc_auc_score(p.labels, p.proba[:, 1])
    first = KEYS + ["auroc"] * ("auroc" in expected)
    assert list(found)[: len(first)] == first
    assert ("auroc" in found) == ("auroc" in expected)
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, abs=1e-6), name


@settings(max_examples=60, deadline=None)
@given(shapes)
@example({"seed": 41, "n": 79, "classes": 2, "absent": 0, "coarse": False, "groups": 4})  # off by the last bit once
def test_every_interval_holds_its_value(shape):
    for name, score in score_all(make(**shape)).items():
        assert score.n == shape["n"]
        assert score.higher_is_better == (name not in ("log-loss", "brier", "ece", "eer"))
        assert score.unit == ("nats" if name == "log-loss" else "")
        if np.isnan(score.low):
            assert np.isnan(score.high)
        else:
            assert score.low <= score.value <= score.high
            assert score.low >= (-1 if name in ("matthews", "kappa") else 0)
            assert score.high <= (2 if name == "brier" else 1) or name == "log-loss"


@settings(max_examples=40, deadline=None)
@given(shapes)
def test_plain_functions_agree_with_score_all(shape):
    p = make(**shape)
    found, c = score_all(p), len(p.classes)
    plain = {"accuracy": of_answers.accuracy(p.labels, p.predicted)}
    for average in ("macro", "weighted", "micro"):
        three = of_answers.precision_recall_f1(p.labels, p.predicted, c, average)
        plain |= {f"{average}-{of}": value for of, value in zip(("precision", "recall", "f1"), three, strict=True)}
    plain |= {
        f"macro-{of}": getattr(of_answers, f"macro_{of}")(p.labels, p.predicted, c) for of in ("precision", "recall", "f1")
    }
    plain["balanced-accuracy"] = of_answers.balanced_accuracy(p.labels, p.predicted)
    plain |= {"matthews": of_answers.matthews(p.labels, p.predicted, c), "kappa": of_answers.kappa(p.labels, p.predicted, c)}
    plain |= {f"top-{k}": probabilistic.top_k_accuracy(p.labels, p.proba, k) for k in (3, 5) if k < c}
    plain |= {"log-loss": probabilistic.log_loss(p.labels, p.proba), "brier": probabilistic.brier(p.labels, p.proba)}
    for name, value in plain.items():
        assert (name in found) != np.isnan(value), name
        assert np.isnan(value) or value == pytest.approx(found[name].value), name


@settings(max_examples=60, deadline=None)
@given(shapes)
def test_per_class_and_confusion_equal_scikit_learn(shape):
    p = make(**shape)
    c = len(p.classes)
    found = score_all_module.per_class(p.labels, p.predicted, c)
    expected = reference.precision_recall_fscore_support(p.labels, p.predicted, labels=range(c), zero_division=0)
    for mine, theirs in zip((found.precision, found.recall, found.f1, found.support), expected, strict=True):
        np.testing.assert_allclose(mine, theirs)
    counts = reference.confusion_matrix(p.labels, p.predicted, labels=range(c))
    np.testing.assert_array_equal(score_all_module.confusion_matrix(p.labels, p.predicted, c), counts)
    assert list(found.to_frame(p.classes).index) == list(p.classes)


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@settings(max_examples=60, deadline=None)
@given(shapes)
def test_balanced_accuracy_equals_scikit_learn(shape):
    p = make(**shape)
    expected = reference.recall_score(p.labels, p.predicted, labels=np.unique(p.labels), average="macro")
    assert of_answers.balanced_accuracy(p.labels, p.predicted) == pytest.approx(expected)
    assert score_all(p)["balanced-accuracy"].value == pytest.approx(expected)


def test_log_loss_is_clipped_like_scikit_learn():
    labels = np.array([0, 1, 1])
    proba = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    assert probabilistic.log_loss(labels, proba) == pytest.approx(reference.log_loss(labels, proba), rel=1e-6)


def test_the_positive_class_decides_the_side_of_auroc():
    p = make(1, 200, 2)
    assert score_all(p, "class0")["auroc"].value == pytest.approx(score_all(p, "class1")["auroc"].value, abs=1e-6)
    three = make(1, 200, 3)
    assert "auroc" not in score_all(three)
    one_sided = Predictions(p.ids, p.proba, np.zeros(200, dtype=np.int64), p.classes)
    assert "auroc" not in score_all(one_sided)


def test_accuracy_of_independent_images_has_wilsons_interval():
    p = make(2, 300, 4)
    right = int((p.labels == p.predicted).sum())
    score = score_all(p)["accuracy"]
    assert (score.low, score.high) == wilson(right, 300)
    alone = Predictions(p.ids, p.proba, p.labels, p.classes, groups=p.ids)
    assert score_all(alone) == score_all(p), "groups of one image are no groups"


def test_groups_that_agree_widen_every_interval():
    p = make(3, 50, 2)
    tenfold = {
        "ids": np.array([f"{i}.{tile}" for i in range(50) for tile in range(10)], dtype=object),
        "proba": p.proba.repeat(10, axis=0),
        "labels": p.labels.repeat(10),
        "classes": p.classes,
    }
    naive = score_all(Predictions(**tenfold))
    honest = score_all(Predictions(**tenfold, groups=p.ids.repeat(10)))
    once = score_all(p)
    for name in (*KEYS, "auroc"):
        assert _width(honest[name]) > 2 * _width(naive[name]), name
        assert _width(honest[name]) == pytest.approx(_width(once[name]), rel=0.2), "ten copies teach nothing new"


@pytest.mark.parametrize(("classes", "images"), [(141, 2), (40, 5), (5, 60)])
def test_macro_recall_of_balanced_classes_is_accuracy(classes, images):
    rng = np.random.default_rng(10)
    labels = np.repeat(np.arange(classes), images)
    answers = np.where(rng.random(len(labels)) < 0.65, labels, rng.integers(classes, size=len(labels)))
    scores = score_all(answered(labels, answers, classes))
    recall, share = scores["macro-recall"], scores["accuracy"]
    assert recall.value == pytest.approx(share.value)
    assert recall.low == pytest.approx(share.low, abs=0.015)
    assert recall.high == pytest.approx(share.high, abs=0.015)


def test_macro_intervals_equal_scikit_learn_on_weighted_images():
    """Leave out each image, let its class stand in for it with weights; then make each class smaller; scikit-learn scores."""
    rng = np.random.default_rng(11)
    labels = np.repeat(np.arange(4), [3, 5, 8, 20])
    answers = np.where(rng.random(36) < 0.7, labels, rng.integers(4, size=36))
    found = score_all(answered(labels, answers, 4))
    for position, name in enumerate(KEYS[1:4]):

        def score(weights, position=position):
            return reference.precision_recall_fscore_support(
                labels, answers, average="macro", zero_division=0, sample_weight=weights
            )[position]

        bias, variance = 0.0, 0.0
        for label, h in zip(range(4), np.bincount(labels), strict=True):
            own = np.flatnonzero(labels == label)
            stand_in = np.where(labels == label, h / (h - 1), 1.0)
            left = np.array([score(np.where(np.arange(36) == i, 0.0, stand_in)) for i in own])
            bias += (h - 1) * (left.mean() - score(np.ones(36)))
            smaller = score(np.where(labels == label, (h - 1) / h, 1.0))
            variance += (h - 1) * left.var() + h * (smaller - score(np.ones(36))) ** 2
        p = found[name].value
        half = stats.t.ppf(0.975, 32) * np.sqrt(variance) / (p * (1 - p))
        expected = special.expit(special.logit(p) + np.array([-half, half])) - bias
        assert (found[name].low, found[name].high) == pytest.approx(tuple(expected)), name


def test_absent_class_leaves_no_certainty():
    labels = np.repeat([0, 1], 20)
    for name, score in score_all(answered(labels, labels, 3)).items():
        if name in ("macro-precision", "macro-recall", "macro-f1"):
            assert score.value == score.high == pytest.approx(2 / 3)
            assert score.low == pytest.approx(wilson(40, 40)[0] * 2 / 3)


def test_classes_of_one_image_vary_like_a_share():
    labels = np.arange(100)
    scores = score_all(answered(labels, np.where(labels < 70, labels, labels - 1), 100))
    assert _width(scores["macro-recall"]) == pytest.approx(_width(scores["accuracy"]), rel=0.05)


def test_intervals_are_the_same_every_time():
    assert score_all(make(4, 80, 3, groups=9)) == score_all(make(4, 80, 3, groups=9))


@pytest.mark.parametrize("groups", [False, True])
def test_no_mistake_does_not_look_certain(groups):
    labels = np.arange(20) % 2
    proba = np.eye(2, dtype=np.float32)[labels] * 0.8 + 0.1
    names = np.array([f"scene{i // 4}" for i in range(20)], dtype=object) if groups else None
    scores = score_all(Predictions(np.arange(20).astype(str).astype(object), proba, labels, ("a", "b"), groups=names))
    assert scores["ece"].low == 0 and scores["brier"].high > 0.05, "always right and 90 % sure: may well be calibrated"
    assert scores["eer"].value == scores["eer"].low == 0 and scores["eer"].high > 0.1
    for name in set(scores) - {"log-loss", "brier", "ece", "eer"}:
        assert scores[name].value == scores[name].high == 1
        assert scores[name].low < 0.9, name


def test_one_image():
    p = Predictions(np.array(["a"], dtype=object), np.array([[0.2, 0.8]], np.float32), np.array([1]), ("x", "y"))
    scores = score_all(p)
    assert scores["accuracy"].value == 1
    assert scores["accuracy"].low == pytest.approx(wilson(1, 1)[0])
    assert np.isnan(scores["macro-f1"].low)
    assert Score.from_dict(scores["macro-f1"].to_dict()).value == scores["macro-f1"].value


def test_what_cannot_be_scored_is_refused():
    p = make(5, 10, 2)
    with pytest.raises(TellapartError, match="there are no predictions to score"):
        score_all(make(5, 0, 2))
    labels = p.labels.copy()
    labels[3:5] = -1
    with pytest.raises(TellapartError, match=r"2 of 10 predictions have no label.*'image3'"):
        score_all(Predictions(p.ids, p.proba, labels, p.classes))
    with pytest.raises(TellapartError, match="positive class 'fake' is not one of class0, class1"):
        score_all(p, "fake")


def test_what_is_undefined_is_left_out_and_said():
    everything = set(score_all_module._order())
    for classes, labels in ((2, [0, 1, 1, 0]), (2, [1, 1, 1, 1]), (3, [0, 2, 2, 0]), (6, [0, 1, 2, 3]), (4, [0, 0, 0, 0])):
        for same in (True, False):
            answers = np.array(labels) if same else np.array([0, 1, 0, 1])
            p = answered(np.array(labels), answers, classes)
            found, why = score_all(p), undefined(p)
            assert set(found) | set(why) == everything and not set(found) & set(why)
            assert all(np.isfinite(score.value) for score in found.values())
    one = answered(np.ones(8, dtype=np.int64), np.ones(8, dtype=np.int64), 2)
    assert undefined(one)["auroc"] == "all images are of one class (class1)"
    assert undefined(one)["kappa"] == "all images and all predictions are of one class (class1)"


@settings(max_examples=30, deadline=None)
@given(shapes)
def test_classes_have_their_scores(shape):
    p = make(**shape)
    c, right = len(p.classes), p.labels == p.predicted
    found = score_classes(p)
    assert list(found) == list(p.classes)
    table = of_answers.per_class(p.labels, p.predicted, c)
    for k, name in enumerate(p.classes):
        wholes = {"precision": p.predicted == k, "recall": p.labels == k, "f1": (p.labels == k) | (p.predicted == k)}
        assert set(found[name]) == {of for of, whole in wholes.items() if whole.any()}, "0/0 is left out"
        for of, score in found[name].items():
            assert score.value == pytest.approx(getattr(table, of)[k])
            assert score.n == wholes[of].sum()
            assert np.isnan(score.low) or score.low <= score.value <= score.high
            if not shape["groups"] and of != "f1":
                assert (score.low, score.high) == wilson(int((right & wholes[of]).sum()), score.n)


def test_groups_widen_the_scores_of_a_class():
    p = make(12, 60, 3)
    tenfold = {"ids": np.arange(600).astype(str).astype(object), "proba": p.proba.repeat(10, axis=0)}
    tenfold |= {"labels": p.labels.repeat(10), "classes": p.classes}
    naive, honest = (score_classes(Predictions(**tenfold, groups=groups)) for groups in (None, p.ids.repeat(10)))
    once = score_classes(p)
    for name, scores in honest.items():
        for of, score in scores.items():
            assert _width(score) > 2 * _width(naive[name][of])
            assert _width(score) == pytest.approx(_width(once[name][of]), rel=0.25)


def test_every_ranking_is_a_score():
    assert set(RANKINGS.values()) <= {*score_all(make(6, 50, 2)), *score_all(make(6, 50, 3))}


def test_coverage_of_macro_intervals():
    """In 200 small samples from one population, 95 % intervals hold the truth about 95 % of the time."""
    rng, classes = np.random.default_rng(7), 5
    joint = (np.full((classes, classes), 0.06) + 0.7 * np.eye(classes)) / classes
    hits, support, answered = joint.diagonal(), joint.sum(axis=1), joint.sum(axis=0)
    truth = {"macro-f1": np.mean(2 * hits / (support + answered)), "macro-recall": np.mean(hits / support)}
    held = dict.fromkeys(truth, 0)
    for _ in range(200):
        cells = rng.choice(classes**2, p=joint.ravel(), size=100)
        proba = np.full((100, classes), 0.1, np.float32) + 0.5 * np.eye(classes, dtype=np.float32)[cells % classes]
        ids = np.arange(100).astype(object)
        scores = score_all(Predictions(ids, proba, cells // classes, tuple("abcde")))
        for name in held:
            held[name] += scores[name].low <= truth[name] <= scores[name].high
    assert all(0.90 <= count / 200 <= 0.99 for count in held.values()), held


def test_coverage_with_few_groups():
    """Eight scenes that share a difficulty: intervals over images would hold the truth far too rarely."""
    rng, held, naive = np.random.default_rng(8), 0, 0
    scene = np.repeat(np.arange(8), 15)
    for _ in range(200):
        right = rng.random(120) < rng.uniform(0.5, 1.0, size=8)[scene]
        labels = rng.integers(2, size=120)
        proba = np.eye(2, dtype=np.float32)[np.where(right, labels, 1 - labels)] * 0.8 + 0.1
        arguments = (scene.astype(object), proba, labels, ("a", "b"))
        by_scene = score_all(Predictions(*arguments, groups=scene.astype(str).astype(object)))["accuracy"]
        by_image = score_all(Predictions(*arguments))["accuracy"]
        held += by_scene.low <= 0.75 <= by_scene.high
        naive += by_image.low <= 0.75 <= by_image.high
    assert held / 200 >= 0.90
    assert naive / 200 < 0.85


@pytest.mark.parametrize(("n", "classes"), [(10_000, 10), (1_600, 40)])
def test_scoring_does_not_loop_over_images(n, classes):
    """Counted in calls, not in seconds: as many for many images as for few, and a bounded number for each class."""
    few, many = (calls_of(functools.partial(score_all, make(9, count, classes))) for count in (10 * classes, n))
    assert many < 1.2 * few and many < 2_500 * classes


def calls_of(work: Callable[[], object]) -> int:
    """How many functions, of Python and of C, `work` calls."""
    count = 0

    def counted(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def _width(score: Score) -> float:
    return score.high - score.low
