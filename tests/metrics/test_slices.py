"""Scores by slice: counts and scores beside scikit-learn, tests and power beside SciPy and simulation, and odd columns."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from tellapart.errors import DataError
from tellapart.metrics.slices import slices
from tellapart.metrics.two_proportions import fisher, newcombe, power_to_detect, unpaired_difference
from tellapart.types import Predictions


@pytest.fixture
def answers(made):
    return made(0, 600, 2)


def frame_of(predictions, **columns):
    return pd.DataFrame({"id": predictions.ids, "label": predictions.labels, **columns})


def test_scores_beside_scikit_learn(beside, answers):
    source = np.random.default_rng(1).choice(["camera", "web", "scan"], 600, p=[0.6, 0.3, 0.1])
    shuffled = np.random.default_rng(2).permutation(600)
    report = slices(answers, frame_of(answers, source=source).iloc[shuffled])
    assert [one.name for one in report.slices] == ["camera", "web", "scan"] and report.columns == ("source",)
    for one in report.slices:
        rows = source == one.name
        y, guess, proba = answers.labels[rows], answers.predicted[rows], answers.proba[rows, 1]
        assert one.n == one.accuracy.n == rows.sum() and one.macro_f1 and one.auroc
        beside(f"{one.name} accuracy", one.accuracy.value, accuracy_score(y, guess))
        beside(f"{one.name} macro F1", one.macro_f1.value, f1_score(y, guess, average="macro"))
        beside(f"{one.name} AUROC", one.auroc.value, roc_auc_score(y, proba))
        right = answers.labels == answers.predicted
        beside(f"{one.name} against the rest", one.difference.value, right[rows].mean() - right[~rows].mean())


def test_holm_is_over_all_slices_and_two_values_are_one_question(answers):
    rng, right = np.random.default_rng(3), answers.labels == answers.predicted
    half = np.where(rng.random(600) < 0.5 + 0.3 * right, "a", "b")
    three = rng.choice(["x", "y", "z"], 600)
    report = slices(answers, frame_of(answers, half=half, three=three))
    p = [
        stats.fisher_exact([[(m & right).sum(), (m & ~right).sum()], [(~m & right).sum(), (~m & ~right).sum()]])[1]
        for m in (half == "a", *(three == name for name in "xyz"))
    ]
    found = {one.name: one for one in report.slices}
    assert found["a"].p_value == found["b"].p_value == pytest.approx(min(1.0, 4 * p[0]))  # four questions, the smallest p
    assert found["a"].significant and report.worst() is found["b"]
    assert "half b" in report.describe() and "Holm over 5 slices of half, three" in report.describe()


def test_undefined_scores_are_said(answers):
    source = np.where(answers.labels == 1, "generator", "camera")
    generator, camera = sorted(slices(answers, frame_of(answers, source=source)).slices, key=lambda one: one.name)[::-1]
    assert generator.auroc is None and generator.macro_f1 is None
    assert generator.undefined == {"macro-f1": "no image of class0", "auroc": "no image of class0"}
    assert camera.undefined["auroc"] == "no image of class1" and camera.accuracy.n == (answers.labels == 0).sum()


def test_many_classes_have_no_auroc(made):
    predictions = made(4, 300, 4)
    one = slices(predictions, frame_of(predictions, half=["a", "b"] * 150)).slices[0]
    assert one.auroc is None and one.undefined == {"auroc": "defined for two classes only"} and one.macro_f1 is not None


def test_numbers_fall_into_quartiles_and_empty_cells_are_a_slice(answers):
    size = np.arange(600) * 100
    camera = np.array(["", None, np.nan, "cam"], dtype=object)[np.arange(600) % 4]
    report = slices(answers, frame_of(answers, size=size, camera=camera))
    by = {column: [one for one in report.slices if one.column == column] for column in report.columns}
    assert [one.name for one in by["camera"]] == ["cam", "not given"] and [one.n for one in by["camera"]] == [150, 450]
    assert by["size"][-1].name == "not given" and by["size"][-1].n == 1  # 0 bytes: the container did not say
    assert [one.n for one in by["size"][:4]] == [151, 149, 150, 149] and by["size"][0].name.endswith("kB")


def test_text_that_holds_numbers_is_numbers(answers):
    angle = [f"{row / 10:.1f}" if row else "" for row in range(600)]
    report = slices(answers, frame_of(answers, angle=angle), ["angle"])
    assert [one.n for one in report.slices][-1] == 1 and len(report.slices) == 5


def test_formats_are_those_of_the_images(answers):
    paths = ["a.tar::x/1.JPG", "a.tar::x/2.png", "images.gz#3", "b.jpeg", "c.tif"] * 120
    report = slices(answers, frame_of(answers, path=paths), ["format"])
    assert {one.name: one.n for one in report.slices} == {"jpeg": 240, "png": 120, "tiff": 120, "not given": 120}


def test_many_values(answers):
    frame = frame_of(answers, unique=answers.ids, model=[f"m{row % 30}" for row in range(600)], same=1)
    report = slices(answers, frame, ["model"])
    assert len(report.slices) == 12 and report.slices[-1].name == "19 others" and report.slices[-1].n == 380
    report = slices(answers, frame)
    assert report.columns == ("model",)
    assert set(report.notes) == {"unique: nearly all values are unique", "same: all images have the value 1"}


def test_groups_by_what_stands_before_their_number(made):
    predictions = made(5, 400, 2, groups=40)
    names = np.array([("left" if int(g[5:]) % 2 else "right") + f"-{g[5:]}" for g in predictions.groups], dtype=object)
    predictions = Predictions(predictions.ids, predictions.proba, predictions.labels, predictions.classes, groups=names)
    report = slices(predictions, frame_of(predictions, group=names))
    assert sorted(one.name for one in report.slices) == ["left", "right"] and report.groups == 40
    one = report.slices[0]
    right, inside = predictions.labels == predictions.predicted, np.array([g.startswith(one.name) for g in names])
    assert one.p_value == pytest.approx(unpaired_difference(right, inside, pd.factorize(names)[0]).p_value)


def test_what_cannot_be_sliced(answers):
    frame = frame_of(answers, source="web")
    report = slices(answers, frame)
    assert report.slices == () and report.worst() is None and "no columns to slice by" in report.describe()
    assert slices(answers, frame_of(answers, source="")).notes == ()
    assert slices(answers, frame_of(answers, source=""), ["source"]).notes == ("source: no image has a value",)
    with pytest.raises(DataError, match="did you mean 'source'"):
        slices(answers, frame, ["sourc"])
    with pytest.raises(DataError, match="1 images are not in the table to slice by, the first is 'image7'"):
        slices(answers, frame.drop(index=7))
    blank = Predictions(answers.ids, answers.proba, np.full(600, -1), answers.classes)
    with pytest.raises(DataError, match="no image has a label"):
        slices(blank, frame)


def test_json_and_frame(answers):
    source = np.where(answers.labels == 1, "generator", "camera")
    report = slices(answers, frame_of(answers, source=source))
    content = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert [one["n"] for one in content["slices"]] == [one.n for one in report.slices]
    assert content["slices"][0]["auroc"] is None and content["slices"][0]["undefined"]["auroc"]
    table = report.to_frame()
    assert table["accuracy"].tolist() == [one.accuracy.value for one in report.slices] and table["auroc"].isna().all()


# --- two sets of images -----------------------------------------------------------------------------------------------


@given(st.tuples(*[st.integers(0, 30)] * 4).filter(lambda t: t[0] + t[1] and t[2] + t[3]))
def test_fisher_beside_scipy(table):
    a, b, c, d = table
    assert fisher(a, b, c, d) == pytest.approx(stats.fisher_exact([[a, b], [c, d]])[1], abs=1e-9)


def test_newcombe_beside_his_table(beside):
    """Newcombe (1998), table II, method 10: 56/70 − 48/80, 9/10 − 3/10, 10/10 − 0/10."""
    beside("56/70 − 48/80", np.round(newcombe(56, 70, 48, 80), 4), (0.0524, 0.3339))
    beside("9/10 − 3/10", np.round(newcombe(9, 10, 3, 10), 4), (0.1705, 0.8090))
    beside("10/10 − 0/10", np.round(newcombe(10, 10, 0, 10), 4), (0.6075, 1.0))


def test_power_beside_simulation():
    rng = np.random.default_rng(0)
    for n, j, m in ((40, 760, 800), (100, 720, 800), (150, 400, 800)):
        q = j / m - 0.1
        k = rng.binomial(n, q, 4000)
        tests = {i: stats.fisher_exact([[i, n - i], [j, m - j]])[1] < 0.05 for i in np.unique(k)}
        assert power_to_detect(n, j, m) == pytest.approx(np.mean([tests[i] for i in k]), abs=0.025)


def test_power_of_nothing_and_of_plenty():
    assert power_to_detect(0, 5, 10) == power_to_detect(10, 0, 0) == 0
    assert power_to_detect(501, 300, 600) == 1 and power_to_detect(500, 300, 600) > 0.9


def test_a_small_slice_is_marked_and_a_large_one_is_not(made):
    predictions = made(6, 3000, 2)
    report = slices(predictions, frame_of(predictions, part=["few"] * 30 + ["many"] * 1000 + ["rest"] * 1970))
    assert {one.name: one.too_small for one in report.slices} == {"few": True, "many": False, "rest": False}


def test_grouped_intervals_cover_and_tests_keep_their_level():
    """40 + 40 groups of 5 images that share their luck: the difference is 0; image-wise Fisher would cry wolf."""
    rng, covered, found, alone = np.random.default_rng(1), 0, 0, 0
    codes, inside = np.repeat(np.arange(80), 5), np.repeat(np.arange(80) < 40, 5)
    for _ in range(400):
        right = rng.random(400) < np.clip(np.repeat(rng.beta(1.6, 0.4, 80), 5), 0, 1)
        of = unpaired_difference(right, inside, codes)
        covered += of.value.low <= 0 <= of.value.high
        found += of.p_value < 0.05
        alone += unpaired_difference(right, inside).p_value < 0.05
    assert 0.92 <= covered / 400 <= 0.98 and found / 400 <= 0.08 < 0.15 < alone / 400


def test_where_nothing_varies_groups_count_as_images():
    inside = np.arange(40) < 20
    of = unpaired_difference(np.ones(40, dtype=bool), inside, np.arange(40) // 4)
    assert of.value.value == 0 and of.p_value == 1 and of.groups == 10
    assert (of.value.low, of.value.high) == pytest.approx(newcombe(5, 5, 5, 5))
