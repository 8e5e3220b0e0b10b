"""Paired tests against scipy and against enumeration; the sentence against what a reader needs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tellapart.errors import DataError
from tellapart.metrics import mcnemar as module
from tellapart.metrics.mcnemar import Comparison, compare, describe, mcnemar_exact, paired_difference, sign_flip
from tellapart.types import Predictions

pairs = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=300).map(np.array)


def predictions(right, *, ids=None, labels=None, groups=None, classes=("cat", "dog"), run_id="run"):
    right = np.asarray(right)
    labels = np.arange(len(right)) % 2 if labels is None else labels
    proba = np.eye(2, dtype=np.float32)[np.where(right, labels, 1 - labels)]
    ids = np.array([f"i{k}" for k in range(len(right))], dtype=object) if ids is None else ids
    return Predictions(ids, proba, labels, classes, run_id, groups)


def words(a, b, groups=None):
    test = module.paired_test(a, b, groups)
    return describe("cnn", "svm", Comparison(test, paired_difference(a, b, groups)))


@given(pairs)
def test_mcnemar_equals_scipys_binomial_test(pair):
    a, b = pair.T
    test = mcnemar_exact(a, b)
    assert (test.only_a, test.only_b, test.n) == (np.sum(a & ~b), np.sum(b & ~a), len(a))
    disagreements = test.only_a + test.only_b
    expected = stats.binomtest(test.only_a, disagreements).pvalue if disagreements else 1.0
    assert test.p_value == pytest.approx(expected, abs=1e-12)


@given(pairs)
def test_sign_flip_of_single_images_is_mcnemar(pair):
    a, b = pair.T
    by_group = sign_flip(a, b, np.arange(len(a)))
    assert by_group.p_value == pytest.approx(mcnemar_exact(a, b).p_value, abs=1e-12)


@given(pairs, st.integers(1, 9), st.integers(0, 99))
def test_sign_flip_equals_enumeration(pair, groups, seed):
    a, b = pair.T
    codes = np.random.default_rng(seed).integers(groups, size=len(a))
    codes = np.unique(codes, return_inverse=True)[1]
    each = np.bincount(codes, weights=a.astype(int) - b.astype(int))
    patterns = np.array(list(itertools.product([-1, 1], repeat=len(each))))
    expected = np.mean(np.abs(patterns @ each) >= abs(each.sum()))
    assert sign_flip(a, b, codes).p_value == pytest.approx(expected)


@given(pairs)
def test_the_test_is_symmetric(pair):
    a, b = pair.T
    assert mcnemar_exact(a, b).p_value == mcnemar_exact(b, a).p_value
    there, back = paired_difference(a, b), paired_difference(b, a)
    assert (there.value, there.low, there.high) == pytest.approx((-back.value, -back.high, -back.low))


@given(pairs)
def test_the_difference_lies_in_its_interval(pair):
    a, b = pair.T
    difference = paired_difference(a, b)
    assert difference.value == pytest.approx(a.mean() - b.mean())
    assert -1 <= difference.low <= difference.value <= difference.high <= 1
    assert difference.low < difference.high


@pytest.mark.parametrize("grouped", [False, True])
def test_the_difference_covers_the_truth(grouped):
    rng, held = np.random.default_rng(0), 0
    for _ in range(300):
        if grouped:
            scene = np.repeat(np.arange(12), 10)
            edge = rng.uniform(-0.2, 0.4, size=12)[scene]
        else:
            scene, edge = None, 0.1
        a, b = rng.random(120) < 0.6 + edge, rng.random(120) < 0.6
        difference = paired_difference(a, b, None if scene is None else scene.astype(object))
        held += difference.low <= 0.1 <= difference.high
    assert 0.91 <= held / 300 <= 0.99


def test_copies_of_an_image_are_no_evidence():
    a, b = np.array([True, True, True, False]), np.array([False, False, False, True])
    tens = np.repeat(np.arange(4), 10).astype(object)
    alone, copied = mcnemar_exact(a, b), module.paired_test(a.repeat(10), b.repeat(10), tens)
    assert copied.p_value == pytest.approx(alone.p_value)
    assert copied.groups == 4
    assert mcnemar_exact(a.repeat(10), b.repeat(10)).p_value < 0.01


def test_many_groups_are_quick_and_exact():
    rng = np.random.default_rng(1)
    codes = np.repeat(np.arange(5_000), 4)
    a, b = rng.random(20_000) < 0.8, rng.random(20_000) < 0.8
    test = sign_flip(a, b, codes)
    each = np.bincount(codes, weights=a.astype(int) - b.astype(int))
    normal = 2 * stats.norm.sf(abs(each.sum()) / np.sqrt(np.sum(each**2)))
    assert test.p_value == pytest.approx(normal, abs=0.02)


def test_compare_aligns_by_id():
    rng = np.random.default_rng(2)
    right_a, right_b = rng.random(60) < 0.9, rng.random(60) < 0.6
    a, b = predictions(right_a), predictions(right_b)
    order = rng.permutation(60)
    shuffled = Predictions(b.ids[order], b.proba[order], b.labels[order], b.classes, "other")
    assert compare(a, shuffled) == compare(a, b)
    assert compare(a, b).test == mcnemar_exact(right_a, right_b)


def test_groups_of_either_side_count():
    right = np.arange(12) % 3 > 0
    groups = np.array([f"scene{k // 4}" for k in range(12)], dtype=object)
    for first, second in ((groups, None), (None, groups), (groups, groups)):
        assert compare(predictions(right, groups=first), predictions(~right, groups=second)).test.groups == 3


def test_different_images_are_refused():
    a = predictions([True] * 3, run_id="cnn-1")
    with pytest.raises(DataError, match=r"cnn-1 and svm-1 have predictions for different images \(3 and 2\), .* 'i2'"):
        compare(a, predictions([True] * 2, run_id="svm-1"))
    other = np.array(["i0", "i1", "other"], dtype=object)
    with pytest.raises(DataError, match="have predictions for different images"):
        compare(a, predictions([True] * 3, ids=other))
    twice = np.array(["i0", "i1", "i1"], dtype=object)
    with pytest.raises(DataError, match="duplicate id"):
        compare(predictions([True] * 3, ids=twice), predictions([True] * 3, ids=twice))
    with pytest.raises(DataError, match="different classes: cat, dog and dog, cat"):
        compare(a, predictions([True] * 3, classes=("dog", "cat")))
    with pytest.raises(DataError, match="image 'i0' has no label, or two different labels"):
        compare(a, predictions([True] * 3, labels=np.array([1, 1, 0])))
    unknown = Predictions(a.ids, a.proba, np.array([0, -1, 0]), a.classes)
    with pytest.raises(DataError, match="image 'i1' has no label"):
        compare(unknown, unknown)


def test_words_for_a_real_difference():
    k = np.arange(800)
    better, worse = k < 700, (k < 638) | (k >= 769)
    assert words(better, worse) == (
        "cnn is right on 62 images where svm is wrong, and wrong on 31 where svm is right, of 800: a significant difference "
        "(exact McNemar p = 0.002; +3.9 points, 95 % CI +1.5 … +6.2)."
    )
    assert "a significant difference, in favor of svm (exact McNemar p = 0.002; −3.9 points" in words(worse, better)


def test_words_for_no_difference():
    k = np.arange(100)
    sentence = words(k < 51, k < 50)
    assert sentence.startswith("cnn is right on 1 image where svm is wrong, and wrong on 0 where")
    assert "no evidence of a difference (exact McNemar p = 1.00; +1.0 points, 95 % CI −" in sentence


def test_words_for_too_few_groups():
    right = np.ones(50, dtype=bool)
    groups = np.array([f"g{k % 5}" for k in range(50)], dtype=object)
    sentence = words(right, ~right, groups)
    assert "no evidence of a difference, as 5 groups are too few for a significant result" in sentence
    assert "exact sign-flip test over 5 groups p = 0.062" in sentence
    six = np.array([f"g{k % 6}" for k in range(50)], dtype=object)
    assert "a significant difference (exact sign-flip test over 6 groups p = 0.031" in words(right, ~right, six)


def test_words_for_tiny_p():
    right = np.ones(2_000, dtype=bool)
    assert "on 2,000 images" in words(right, ~right)
    assert "p < 0.001" in words(right, ~right)


def test_only_significantly_more_right_is_better():
    right = np.ones(20, dtype=bool)
    assert mcnemar_exact(right, ~right).a_is_better
    assert not mcnemar_exact(~right, right).a_is_better
    assert not mcnemar_exact(right, right).a_is_better
    assert mcnemar_exact(right, ~right).to_dict() == {
        "only_a": 20,
        "only_b": 0,
        "n": 20,
        "p_value": pytest.approx(2**-19),
        "groups": None,
    }
