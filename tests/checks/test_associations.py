"""The tests behind a finding, against SciPy and scikit-learn; units; the quality of JPEG tables; the model out of fold."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from scipy.stats import fisher_exact, mannwhitneyu
from sklearn.metrics import roc_auc_score

import tellapart as ta
from tellapart.checks._associations import Feature, class_aurocs, find_associations
from tellapart.checks._label_noise import estimate_label_noise
from tellapart.checks._shortcut import describe, find_shortcuts, independent_groups, summarize
from tellapart.checks._shortcut_model import fit_shortcut_model
from tellapart.checks.labels import match_confidence
from tellapart.data.jpeg_quality import estimate_quality
from tellapart.data.metadata import NAMES, metadata_features


def test_areas_are_those_of_scikit_learn(draw: np.random.Generator) -> None:
    values, labels = draw.integers(0, 9, 200).astype(float), draw.integers(0, 3, 200)
    wanted = [roc_auc_score(labels == label, values) for label in range(3)]
    np.testing.assert_allclose(class_aurocs(values, labels, 3), wanted, atol=1e-12)


def test_a_measure_is_tested_as_scipy_does(draw: np.random.Generator) -> None:
    labels = np.repeat([0, 1], [80, 60])
    values = np.round(draw.normal(labels * 1.2, 1), 1)
    (one, other) = find_associations([Feature("weight", values, ordered=True)], labels, np.arange(140))
    test = mannwhitneyu(values[labels == 0], values[labels == 1], use_continuity=False, method="asymptotic")
    assert one.p_value == pytest.approx(test.pvalue, rel=1e-9) and {one.more, other.more} == {True, False}
    assert one.effect == pytest.approx(roc_auc_score(labels, values))


def test_a_kind_is_tested_as_scipy_does() -> None:
    labels = np.repeat([0, 1], [100, 80])
    values = np.zeros(180)
    values[:45], values[100:104] = 1, 1
    column = Feature("hat", values, {0.0: "no hat", 1.0: "a hat"})
    found = {c.value: c for c in find_associations([column], labels, np.arange(180))}
    one_sided = fisher_exact([[45, 4], [55, 76]], alternative="greater").pvalue
    assert found[1.0].p_value == pytest.approx(2 * one_sided, rel=1e-9)
    assert (found[1.0].label, found[1.0].inside, found[1.0].others) == (0, 45, 4)
    assert describe(found[1.0], {0: "'a'", 1: "'b'"}) == "a hat in 45% of 'a' (45 of 100), elsewhere in 5%"


def test_images_of_one_group_are_one_image() -> None:
    """Forty copies of one picture a class are no evidence."""
    labels = np.repeat([0, 1], 200)
    column = Feature("hat", labels.astype(float), {0.0: "no hat", 1.0: "a hat"}, ordered=True)
    assert find_associations([column], labels, np.arange(400))
    assert not find_associations([column], labels, np.arange(400) // 40)
    told = fit_shortcut_model([column], labels, np.arange(400) // 40, 0)
    assert told is not None and told.auroc.value == 1 and not told.significant


def test_rows_without_label_are_left_out() -> None:
    labels = np.repeat([0, 1, -1], 100)
    column = Feature("hat", np.repeat([0.0, 1.0, 1.0], 100), {0.0: "no hat", 1.0: "a hat"})
    verdict = find_shortcuts([column], labels, np.arange(300), {0: "'a'", 1: "'b'"})
    assert "a hat occurs only in 'b' (100 of 100)" in summarize(verdict, "hats")
    assert verdict.score is not None and verdict.score.auroc.n == 200 and not verdict.score.confidence[200:].any()


def test_what_explains_is_named_alone() -> None:
    labels = np.repeat([0, 1], 100)
    values = labels.astype(float)
    columns = [
        Feature("length", values, ordered=True, explained_by=("hat",)),
        Feature("hat", values, {0.0: "no hat", 1.0: "a hat"}),
    ]
    assert {c.feature.name for c in find_associations(columns, labels, np.arange(200))} == {"hat"}


def test_two_measures_tell_together_what_none_tells_alone(draw: np.random.Generator) -> None:
    a, b = draw.integers(0, 2, (2, 400)).astype(float)
    labels = (a != b).astype(np.int64)
    columns = [Feature("a", a, {0.0: "no a", 1.0: "a"}), Feature("b", b, {0.0: "no b", 1.0: "b"})]
    verdict = find_shortcuts(columns, labels, np.arange(400), {0: "'x'", 1: "'y'"})
    assert not verdict.associations and verdict.found and verdict.strong
    assert summarize(verdict, "marks").startswith("marks together: AUROC 1.000")


def test_units_join_groups_and_content() -> None:
    pictures = [np.full((4, 4), i, np.uint8) for i in range(6)]
    table = ta.from_arrays(np.stack(pictures), list("ababab"), groups=["g", "g", "", "", "h", "i"])
    units = independent_groups(table, np.array([0, 1, 2, 3, 3, 5]))
    assert units[0] == units[1] and units[3] == units[4]
    assert len(np.unique(units)) == 4
    alone = independent_groups(
        ta.from_arrays(np.stack(pictures), list("ababab")), np.array([[1, 2], [1, 2], [1, 3], [2, 2], [0, 0], [9, 9]])
    )
    assert alone[0] == alone[1] and len(np.unique(alone)) == 5


@pytest.mark.parametrize("quality", [1, 10, 49, 50, 75, 92, 95, 100])
def test_quality_is_that_of_pillow(quality: int) -> None:
    target = io.BytesIO()
    Image.effect_noise((32, 32), 60).convert("RGB").save(target, "JPEG", quality=quality)
    luma = metadata_features(target.getvalue())[NAMES.index("luma[0]") :][:64]
    found, exact = estimate_quality(np.stack([luma, np.full(64, np.nan)]))
    assert found[0] == quality and exact.tolist() == [True, False] and np.isnan(found[1])


def test_tables_of_another_program_are_near_a_quality() -> None:
    target = io.BytesIO()
    Image.new("RGB", (16, 16)).save(target, "JPEG", qtables=[[20] * 64, [20] * 64])
    luma = metadata_features(target.getvalue())[NAMES.index("luma[0]") :][:64]
    found, exact = estimate_quality(luma[None])
    assert 70 < found[0] < 90 and not exact[0]


def test_doubts_that_the_model_has_itself_are_no_excess(draw: np.random.Generator) -> None:
    """Labels drawn from the answers: as many contradictions as expected; with wrong labels on top: more."""
    share = 1 / (1 + np.exp(-draw.normal(0, 4, 5000)))
    proba = np.stack([1 - share, share], axis=1)
    labels = (draw.random(5000) < share).astype(np.int64)
    calm = estimate_label_noise(match_confidence(proba, labels), labels)
    assert not calm.significant and calm.observed == pytest.approx(calm.expected, abs=4 * np.sqrt(calm.expected))
    flipped = np.where(draw.random(5000) < 0.05, 1 - labels, labels)
    assert estimate_label_noise(match_confidence(proba, flipped), flipped).significant


def test_answers_become_as_sure_as_right(draw: np.random.Generator) -> None:
    share = 1 / (1 + np.exp(-draw.normal(0, 2, 3000)))
    labels = (draw.random(3000) < share).astype(np.int64)
    shy = 0.5 + (np.stack([1 - share, share], axis=1) - 0.5) / 3
    mended = match_confidence(shy, labels)
    assert mended.max(axis=1).mean() == pytest.approx((shy.argmax(axis=1) == labels).mean(), abs=1e-3)
    np.testing.assert_allclose(mended.sum(axis=1), 1)


@pytest.fixture
def draw() -> np.random.Generator:
    """The same numbers every time."""
    return np.random.default_rng(0)
