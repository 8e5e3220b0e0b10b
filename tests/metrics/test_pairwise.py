"""Many pairs, Holm's correction, and what n can show: beside SciPy, R's documented results and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tellapart.errors import DataError
from tellapart.metrics.delong import delong_test
from tellapart.metrics.mcnemar import compare
from tellapart.metrics.pairwise import (
    detectable_difference,
    holm,
    minimum_detectable_difference,
    paired_tests,
    stack,
)
from tellapart.types import Predictions


def runs(count, n=300, groups=None, seed=0):
    rng = np.random.default_rng(seed)
    labels, ids = rng.integers(3, size=n), np.arange(n).astype(str).astype(object)
    found = []
    for i in range(count):
        answers = np.where(rng.random(n) < 0.5 + 0.06 * i, labels, rng.integers(3, size=n))
        found.append(Predictions(ids, np.eye(3, dtype=np.float32)[answers], labels, tuple("abc"), f"run{i}", groups))
    return found


def test_holm_beside_rs_p_adjust(beside):
    beside("Holm, R p.adjust", holm([0.01, 0.02, 0.03, 0.04, 0.05]), [0.05, 0.08, 0.09, 0.09, 0.09])
    beside("Holm, out of order", holm([0.04, 0.01, 0.9]), [0.08, 0.03, 0.9])


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_rejects_what_its_steps_reject(p):
    """Holm (1979): go from the smallest on while p ≤ 0.05 / (how many are left)."""
    corrected, rejected = holm(p), set()
    for step, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        if p[i] * (len(p) - step) > 0.05:
            break
        rejected.add(i)
    assert rejected == {i for i in range(len(p)) if corrected[i] <= 0.05}
    assert all(corrected[i] >= p[i] for i in range(len(p)))


@pytest.mark.parametrize("grouped", [False, True])
def test_pairs_are_those_of_compare(beside, grouped):
    groups = np.array([f"g{i // 6}" for i in range(300)], dtype=object) if grouped else None
    given_ = runs(5, groups=groups)
    shuffled = np.random.default_rng(1).permutation(300)
    last = given_[-1]
    of = None if groups is None else groups[shuffled]
    given_[-1] = Predictions(last.ids[shuffled], last.proba[shuffled], last.labels[shuffled], last.classes, "last", of)
    every = list(itertools.combinations(range(5), 2))
    pairs = paired_tests(stack(given_), every)
    assert [(pair.a, pair.b) for pair in pairs] == every
    for pair in pairs:
        alone = compare(given_[pair.a], given_[pair.b]).test
        assert pair.counts == alone and pair.p_alone == alone.p_value
        if not grouped:
            theirs = stats.binomtest(alone.only_a, alone.only_a + alone.only_b).pvalue
            beside(f"McNemar {pair.a}-{pair.b}, SciPy", pair.p_alone, theirs)
    np.testing.assert_allclose([pair.p_value for pair in pairs], holm([pair.p_alone for pair in pairs]))
    assert all(pair.p_value >= pair.p_alone for pair in pairs)


def test_equally_good_runs_rarely_look_different():
    """Tables of 20 equal runs, 190 pairs each: many are "significant" alone, next to none after the correction."""
    rng, alone, corrected = np.random.default_rng(3), 0, 0
    labels, ids = rng.integers(3, size=400), np.arange(400).astype(str).astype(object)
    for _ in range(20):
        answers = [np.where(rng.random(400) < 0.7, labels, (labels + 1) % 3) for _ in range(20)]
        stacked = stack([Predictions(ids, np.eye(3, dtype=np.float32)[of], labels, tuple("abc")) for of in answers])
        pairs = paired_tests(stacked, list(itertools.combinations(range(20), 2)))
        alone += any(pair.p_alone < 0.05 for pair in pairs)
        corrected += any(pair.significant for pair in pairs)
    assert alone >= 12 and corrected <= 3, "of 20 tables"


def test_equal_runs_and_other_images():
    same = runs(1) * 3
    assert all(pair.p_value == 1 and not pair.significant for pair in paired_tests(stack(same), [(0, 1), (0, 2)]))
    assert paired_tests(stack(same[:1]), []) == []
    with pytest.raises(DataError, match="have predictions for different images"):
        stack([*same, *runs(1, n=200)])


@pytest.mark.parametrize(("n", "disagreement"), [(200, 0.3), (800, 0.12), (2_000, 0.05)])
def test_detectable_difference_is_found_four_times_in_five(beside, n, disagreement):
    d = minimum_detectable_difference(n, disagreement)
    z, power = stats.norm.ppf(0.975), stats.norm.ppf(0.8)
    needed = (z * math.sqrt(disagreement) + power * math.sqrt(disagreement - d**2)) ** 2 / d**2
    beside(f"n for a difference of {d:.4f}, Connor (1987)", n, needed, within=1e-3)
    rng = np.random.default_rng(0)
    only_a, only_b, _ = rng.multinomial(n, [(disagreement + d) / 2, (disagreement - d) / 2, 1 - disagreement], 4000).T
    found = np.mean(np.abs(only_a - only_b) / np.sqrt(only_a + only_b) > z)
    beside("its power, McNemar's test in 4,000 simulations", found, 0.8, within=0.03)


def test_nothing_is_detectable_by_too_few():
    assert math.isnan(minimum_detectable_difference(0, 0.1))
    assert math.isnan(minimum_detectable_difference(100, 0.0))
    assert math.isnan(minimum_detectable_difference(30, 0.1))


def shuffled(of, seed=1):
    order = np.random.default_rng(seed).permutation(len(of))
    groups = None if of.groups is None else of.groups[order]
    return Predictions(of.ids[order], of.proba[order], of.labels[order], of.classes, of.run_id, groups)


@pytest.mark.parametrize("grouped", [False, True])
def test_contrasts_with_the_first_are_those_of_compare_with_holm(beside, grouped):
    groups = np.array([f"g{i // 6}" for i in range(300)], dtype=object) if grouped else None
    given_ = runs(5, groups=groups)
    answered = stack([given_[0], *(shuffled(of) for of in given_[1:])])
    found = paired_tests(answered, [(i, 0) for i in range(1, 5)])
    alone = [compare(of, given_[0]) for of in given_[1:]]
    for one, pair in zip(found, alone, strict=True):
        assert one.counts == pair.test and one.difference == pair.difference
        assert one.test == ("exact sign-flip test over groups" if grouped else "exact McNemar")
        assert one.to_dict()["only_a"] == pair.test.only_a
    beside("Holm over four contrasts", [one.p_value for one in found], holm([pair.test.p_value for pair in alone]))


def rankers(n=240, grouped=False, seed=0):
    rng = np.random.default_rng(seed)
    labels, ids = np.arange(n) % 2, np.arange(n).astype(str).astype(object)
    shared = rng.normal(size=n)
    groups = np.array([f"g{i // 4}" for i in range(n)], dtype=object) if grouped else None
    found = []
    for skill in (1.5, 1.3, 0.4):
        fake = 1 / (1 + np.exp(-(skill * labels + shared + rng.normal(size=n)).round(1)))
        found.append(
            Predictions(ids, np.stack([1 - fake, fake], axis=1).astype(np.float32), labels, ("real", "fake"), "", groups)
        )
    return found


def delong_by_definition(a, b, labels):
    """z of DeLong (1988) from all pairs of images: the structural components, and their covariances."""

    def components(scores):
        more = scores[labels == 1][:, None] - scores[labels == 0][None, :]
        won = (more > 0) + 0.5 * (more == 0)
        return won.mean(), won.mean(axis=1), won.mean(axis=0)

    (area_a, v10_a, v01_a), (area_b, v10_b, v01_b) = components(a), components(b)
    variance = np.var(v10_a - v10_b, ddof=1) / len(v10_a) + np.var(v01_a - v01_b, ddof=1) / len(v01_a)
    return area_a - area_b, 2 * stats.norm.sf(abs(area_a - area_b) / math.sqrt(variance))


def test_areas_beside_delongs_definition(beside):
    given_ = rankers()
    answered = stack([given_[0], shuffled(given_[1]), given_[2]], "fake")
    found = paired_tests(answered, [(1, 0), (2, 0)], "auroc")
    theirs = [delong_by_definition(of.proba[:, 1], given_[0].proba[:, 1], of.labels) for of in given_[1:]]
    beside("differences of AUROC, all pairs of images", [c.difference.value for c in found], [d for d, _ in theirs])
    beside("DeLong p", [c.p_alone for c in found], [p for _, p in theirs])
    beside("Holm over two", [c.p_value for c in found], holm([p for _, p in theirs]))
    assert all(c.test == "DeLong" and c.counts is None for c in found)


def test_areas_over_groups_are_those_of_the_test_of_two():
    given_ = rankers(grouped=True)
    (found,) = paired_tests(stack(given_, "real"), [(2, 0)], "auroc")
    pair = delong_test(given_[2], given_[0], "real")
    assert (found.difference, found.p_alone, found.test) == (pair.score, pair.p_value, "DeLong over groups")


def test_areas_need_two_classes():
    for given_ in (runs(2), [Predictions(r.ids[::2], r.proba[::2], r.labels[::2], r.classes) for r in rankers()]):
        with pytest.raises(DataError, match="two classes that both occur"):
            paired_tests(stack(given_), [(0, 1)], "auroc")
    with pytest.raises(DataError, match="no predictions"):
        stack([])


@pytest.mark.parametrize("of", ["accuracy", "auroc"])
def test_what_can_be_detected_has_a_power_of_80_per_cent(of):
    """By the standard error of the difference that was found: a normal test of so large a true difference."""
    given_ = rankers(600, seed=4)
    found = detectable_difference(stack(given_, "fake"), 0, 1, of)
    (one,) = paired_tests(stack(given_, "fake"), [(0, 1)], of)
    error = (one.difference.high - one.difference.low) / 2 / stats.norm.ppf(0.975)
    power = stats.norm.sf(stats.norm.ppf(0.975) - found / error)
    assert power == pytest.approx(0.8, abs=0.03)
    assert math.isnan(detectable_difference(stack([given_[0], given_[0]], "fake"), 0, 1, of))
