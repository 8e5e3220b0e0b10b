"""Recipes inside scikit-learn: its own checks, its searches and pipelines; and what the adapter adds to them."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone, is_classifier
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import estimator_checks_generator

import tellapart as ta
from tellapart.data.memory import from_arrays
from tellapart.recipe.load import load
from tellapart.sklearn import InvalidImages, InvalidSetting, RecipeClassifier, as_estimator

#: Recipes that scikit-learn's checks are run on, with overrides.
CHECKED = {
    "knn": {},
    "svm-pca-rbf": {},
    "linear": {"features__descriptors": [{"pixels": {}}]},
    "spectrum-linear": {},
    "metadata": {},
}
#: Checks that cannot pass, with the reason: recipe → check → reason.
EXPECTED_FAILURES: dict[str, dict[str, str]] = {
    "spectrum-linear": {
        "check_classifiers_train": "asks for 83 % by the place of two values; their spectrum is their sum and their "
        "difference without its sign, by which mirrored blobs look alike",
    },
    "metadata": {"check_classifiers_train": "asks for 83 % from values; the metadata baseline never looks at them"},
}


def _checks() -> list[Any]:
    found = []
    for name, overrides in CHECKED.items():
        recipe = "spectrum-linear" if name == "linear" else name
        estimator = as_estimator(recipe, overrides=overrides, image_shape="row")
        for number, (asked, check) in enumerate(estimator_checks_generator(estimator)):
            wanted = getattr(check, "func", check).__name__
            reason = EXPECTED_FAILURES.get(name, {}).get(wanted)
            marks = [pytest.mark.xfail(reason=reason, strict=True)] if reason else []
            found.append(pytest.param(asked, check, id=f"{name}-{number}-{wanted}", marks=marks))
    return found


@pytest.mark.parametrize(("estimator", "check"), _checks())
@pytest.mark.filterwarnings("default")  # scikit-learn's checks warn of what they skip
def test_the_checks_of_scikit_learn(estimator: RecipeClassifier, check: Any) -> None:
    if getattr(check, "func", check).__name__ == "check_array_api_input":
        pytest.skip("needs SCIPY_ARRAY_API in the environment before scipy is imported")
    check(estimator)


# --- images -----------------------------------------------------------------------------------------------------------


def _images(count: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise around one brightness a class: (N, 6, 5) uint8 and three words."""
    generator, kind = np.random.default_rng(seed), np.arange(count) % 3
    pixels = (60 * (kind + 1))[:, None, None] + generator.integers(-25, 25, (count, 6, 5))
    return pixels.astype(np.uint8), np.array(["dog", "ant", "cat"])[kind]


X, Y = _images()
X_NEW, Y_NEW = _images(30, 1)


def test_the_answers_are_those_of_scikit_learns_own_classifier() -> None:
    rows, new = (x.reshape(len(x), -1) / 255 for x in (X, X_NEW))
    reference = KNeighborsClassifier(5, weights="distance").fit(rows, Y).predict_proba(new)
    ours = as_estimator("knn", validation_fraction=0).fit(X, Y).predict_proba(X_NEW)
    np.testing.assert_allclose(ours, reference, atol=1e-5)


def test_what_a_fitted_classifier_knows() -> None:
    fitted = as_estimator("svm-pca-rbf").fit(X, Y)
    assert is_classifier(fitted)
    assert fitted.classes_.tolist() == ["ant", "cat", "dog"]
    assert fitted.n_features_in_ == 30
    assert fitted.image_shape_ == (6, 5, 1)
    assert fitted.classifier_.recipe.inputs.size == (6, 5)
    assert any("PCA kept 30 components instead of 100" in note for note in fitted.notes_)
    assert fitted.score(X_NEW, Y_NEW) == (fitted.predict(X_NEW) == Y_NEW).mean() > 0.9
    np.testing.assert_allclose(fitted.predict_proba(X_NEW).sum(axis=1), 1, atol=1e-12)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [(Y, ["ant", "cat", "dog"]), (np.where(Y == "ant", -7, 10), [-7, 10]), (Y == "ant", [False, True]), (["b"] * 60, ["b"])],
    ids=["words", "integers", "booleans", "one class"],
)
def test_labels_come_back_as_they_were(labels: Any, classes: list[Any]) -> None:
    fitted = as_estimator("knn").fit(X, labels)
    assert fitted.classes_.tolist() == classes
    assert fitted.predict(X_NEW).dtype == np.asarray(labels).dtype
    # the order of rows is not that of classes: row 0 is a dog
    assert (fitted.predict(X) == np.asarray(labels)).mean() > 0.9


@pytest.mark.parametrize("channels", [1, 3])
def test_images_flat_images_and_floats_are_the_same_images(channels: int) -> None:
    images = np.stack([X] * channels, axis=3) if channels > 1 else X[..., None]
    new = images[::2]
    rows, shape = images.reshape(60, -1), images.shape[1:]
    wanted = as_estimator("knn").fit(images, Y)
    assert wanted.image_shape_ == shape
    flat = as_estimator("knn", image_shape=shape)
    floats = as_estimator("knn", value_range=(0, 1))
    negative = as_estimator("knn", value_range=(255, 0))  # black is white: the distances are the same
    for fitted, x in (
        (flat.fit(rows, Y), new.reshape(30, -1)), (clone(flat).fit(rows.astype(int), Y), new.reshape(30, -1) * 1.0),
        (floats.fit(images / 255, Y), new / 255), (negative.fit(images, Y), new),
    ):  # fmt: skip
        np.testing.assert_array_equal(fitted.predict_proba(x), wanted.predict_proba(new))


def test_a_row_of_measured_values_is_scaled_by_what_fit_saw() -> None:
    rows = np.array([[0.0, -50, 3], [1, 50, 3], [0.5, 0, 3]])
    fitted = as_estimator("knn", image_shape="row", validation_fraction=0).fit(rows, [0, 1, 2])
    # halves of 255 round to 128; beyond the ends are the ends; the constant column is 0 whatever comes
    np.testing.assert_array_equal(fitted.classifier_.X, [[0, 0, 0], [255, 255, 0], [128, 128, 0]])
    assert fitted.predict([[-9, -99, 0], [9, 99, 9]]).tolist() == [0, 1]


def test_a_long_row_is_not_resampled() -> None:
    """The recipe's limit of 32 pixels is for pictures: neighboring columns of a table have nothing to do with each other."""
    rows = np.zeros((20, 200))
    rows[10:, 137] = 1
    fitted = as_estimator("knn", image_shape="row").fit(rows, np.arange(20) // 10)
    assert fitted.classifier_.recipe.inputs.size == (1, 200)
    assert fitted.score(rows, np.arange(20) // 10) == 1


def test_names_of_columns_are_kept() -> None:
    frame = pd.DataFrame(X.reshape(60, -1), columns=[f"p{i}" for i in range(30)])
    fitted = as_estimator("knn", image_shape=(6, 5)).fit(frame, Y)
    assert fitted.feature_names_in_.tolist() == list(frame.columns)
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(frame[frame.columns[::-1]])


# --- the validation part ----------------------------------------------------------------------------------------------


def test_a_share_of_each_class_is_held_out_and_never_learnt_from() -> None:
    labels = np.repeat([0, 1, 2], [30, 29, 1])
    levels = np.arange(60, dtype=np.uint8)[:, None, None].repeat(4, 1).repeat(4, 2)
    learnt = {}
    for fraction, seed in ((0.1, 0), (0.1, 1), (0.0, 0)):
        fitted = as_estimator("knn", validation_fraction=fraction, random_state=seed).fit(levels, labels)
        learnt[fraction, seed] = fitted.classifier_.X[:, 0].astype(int)
    assert [np.count_nonzero(labels[rows] == c) for rows in [learnt[0.1, 0]] for c in range(3)] == [27, 26, 1]
    assert set(learnt[0.1, 0]) != set(learnt[0.1, 1])
    assert len(learnt[0.0, 0]) == 60


def test_the_validation_part_is_what_chooses() -> None:
    """Temperatures of the machine are fitted on it; without one there is none to fit."""
    without = as_estimator("svm-pca-rbf", validation_fraction=0).fit(X, Y)
    assert without.classifier_.arrays["temperature"] == 1
    assert as_estimator("svm-pca-rbf").fit(X, Y).classifier_.arrays["temperature"] != 1


def test_the_seed_is_that_of_the_recipe_or_the_random_state() -> None:
    assert as_estimator("knn", overrides={"seed": 5}).fit(X, Y).classifier_.recipe.seed == 5
    assert as_estimator("knn", random_state=np.int64(7)).fit(X, Y).classifier_.recipe.seed == 7
    seeds = [as_estimator("knn", random_state=np.random.RandomState(s)).fit(X, Y).classifier_.recipe.seed for s in (1, 1, 2)]
    assert seeds[0] == seeds[1] != seeds[2]


# --- settings as parameters -------------------------------------------------------------------------------------------


def test_settings_of_the_recipe_are_parameters() -> None:
    estimator = as_estimator("mlp")
    params = estimator.get_params()
    assert params["train__optimizer__lr"] == load("mlp").train.optimizer.lr  # type: ignore[union-attr]
    assert params["classifier__widths"] == [256, 128]
    assert set(estimator.get_params(deep=False)) == {
        "recipe", "overrides", "image_shape", "value_range", "validation_fraction", "random_state", "device",
    }  # fmt: skip
    estimator.set_params(train__optimizer__lr=np.float64(0.5), classifier__widths=(8,), augment=[{"flip": {}}], device="cuda")
    params = clone(estimator).get_params()
    assert (params["train__optimizer__lr"], params["classifier__widths"], params["device"]) == (0.5, [8], "cuda")
    assert list(params["augment"][0]) == ["flip"]


@pytest.mark.parametrize("source", ["svm-pca-rbf", load("svm-pca-rbf")], ids=["by name", "a Recipe"])
@pytest.mark.parametrize(
    "overrides", [{"classifier__C": 2, "features__pca": None}, ["classifier.C=2", "features.pca=null"], {"classifier.C": 2.0}]
)
def test_overrides_in_every_spelling(source: Any, overrides: Any) -> None:
    estimator = as_estimator(source, overrides=overrides)
    assert estimator.get_params()["classifier__C"] == 2
    assert estimator.get_params()["features__pca"] == (100 if len(overrides) == 1 else None)
    assert estimator.set_params(classifier__kernel="linear").get_params()["classifier__C"] == 2
    assert estimator.resolved().classifier.options["kernel"] == "linear"


def test_set_params_leaves_what_it_was_given_alone() -> None:
    given = {"classifier__C": 2.0}
    estimator = as_estimator("svm-pca-rbf", overrides=given)
    other = clone(estimator).set_params(classifier__C=3.0)
    estimator.set_params(classifier__C=4.0)
    assert given == {"classifier__C": 2.0}
    assert other.get_params()["classifier__C"] == 3


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"classifier__kk": 3}, "unknown option 'kk'"),
        ({"clasifier__k": 3}, "Invalid parameter 'clasifier'"),
        ({"classifier__k": 0}, "a number of at least 1"),
        ({"train__epochs": 3}, "does not use the section 'train'"),
        ({"classifier__k": object()}, "is not a setting of a recipe"),
        ({"k": 3}, "Invalid parameter 'k'"),
    ],
)
def test_a_wrong_setting_is_refused_at_once_and_changes_nothing(params: dict[str, Any], match: str) -> None:
    estimator = as_estimator("knn")
    with pytest.raises(ValueError, match=match):
        estimator.set_params(**params)
    assert estimator.get_params()["classifier__k"] == 5


def test_a_wrong_recipe_or_override_is_refused_at_once() -> None:
    with pytest.raises(InvalidSetting, match="did you mean 'knn'"):
        as_estimator("knnn")
    with pytest.raises(InvalidSetting, match="expected a mapping"):
        as_estimator("knn", overrides=["classifier.k"])
    with pytest.raises(InvalidSetting, match="not valid YAML"):
        as_estimator("knn", overrides=["classifier.k=[3"])
    with pytest.raises(InvalidSetting, match="value, not a section"):
        as_estimator(load("knn"), overrides={"classifier__k__deeper": 3})


# --- inside scikit-learn ----------------------------------------------------------------------------------------------


def test_a_grid_search_varies_the_recipe() -> None:
    grid = {"classifier__C": [1e-3, 10.0], "features__pca": np.array([1, 5])}
    generator = np.random.default_rng(2)
    noisy = np.clip(X + generator.normal(0, 150, X.shape), 0, 255).astype(np.uint8)
    search = GridSearchCV(as_estimator("svm-pca-rbf"), grid, cv=2).fit(noisy, Y)
    assert len(set(search.cv_results_["mean_test_score"])) > 1  # the settings arrive
    best = search.best_estimator_.classifier_
    assert best.recipe.classifier.options["C"] == search.best_params_["classifier__C"]
    assert len(best.extractor.arrays["components"]) == search.best_params_["features__pca"]
    assert (search.predict(X_NEW) == Y_NEW).mean() > 0.8


def test_in_a_pipeline_under_cross_validation() -> None:
    steps = [("scale", FunctionTransformer(_to_shares)), ("answer", as_estimator("knn", value_range=(0, 1)))]
    pipeline = Pipeline(steps).set_params(answer__classifier__k=1)
    plain = cross_val_score(as_estimator("knn", overrides={"classifier__k": 1}), X, Y, cv=3)
    np.testing.assert_array_equal(cross_val_score(pipeline, X, Y, cv=3), plain)
    assert pipeline.fit(X, Y)["answer"].classifier_.recipe.classifier.options["k"] == 1


@pytest.mark.slow  # each process imports everything
def test_two_processes_answer_as_one() -> None:
    estimator = as_estimator("svm-pca-rbf")
    alone = cross_val_score(estimator, X, Y, cv=3, scoring="neg_log_loss")
    np.testing.assert_allclose(cross_val_score(estimator, X, Y, cv=3, scoring="neg_log_loss", n_jobs=2), alone, rtol=1e-9)


def _to_shares(x: np.ndarray) -> np.ndarray:
    return x / 255


@pytest.mark.parametrize("name", ["knn", "svm-pca-rbf", "spectrum-linear", "metadata", "mlp"])
def test_a_fitted_one_can_be_pickled(name: str) -> None:
    overrides = ["train.epochs=1", "train.precision=32"] if name == "mlp" else []
    fitted = as_estimator(name, overrides=overrides).fit(X, Y)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(X_NEW), fitted.predict_proba(X_NEW))
    assert not vars(clone(fitted)).keys() & {"classifier_", "classes_"}


def test_a_network_learns_with_and_without_a_validation_part() -> None:
    for fraction in (0.1, 0.0):
        overrides = {"train__epochs": 30, "train__batch": 16, "train__precision": "32", "classifier__dropout": 0}
        fitted = as_estimator("mlp", overrides=overrides, validation_fraction=fraction).fit(X, Y)
        assert fitted.score(X_NEW, Y_NEW) > 0.8


def test_ctrl_c_ends_the_search_around_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network keeps its best epoch when it is stopped by hand; the estimator has it, and says that it was stopped."""
    from tellapart.classifiers.knn import Knn

    learn = Knn._fit

    def stopped(self: Knn, train: Any, valid: Any, context: Any) -> None:
        learn(self, train, valid, context)
        context.stopped_by_hand = True

    monkeypatch.setattr(Knn, "_fit", stopped)
    estimator = as_estimator("knn")
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(X, Y)
    assert estimator.score(X_NEW, Y_NEW) > 0.8


# --- what is no image -------------------------------------------------------------------------------------------------

FLAT = X.reshape(60, -1)


@pytest.mark.parametrize(
    ("settings", "x", "match"),
    [
        ({}, FLAT, r"rows of 30 values(.|\n)*set image_shape="),
        ({"image_shape": (6, 6)}, FLAT, r"image_shape is \(6, 6\), but X has rows of 30 values"),
        ({"image_shape": (5, 6)}, X, r"image_shape is \(5, 6\), but X has images of 6 × 5 × 1"),
        ({"image_shape": "row"}, X, "but X has images of 6 × 5 × 1"),
        ({"image_shape": (3, 5, 2)}, FLAT, r"image_shape is \(3, 5, 2\): expected"),
        ({"image_shape": "auto"}, FLAT, "image_shape is 'auto': expected"),
        ({}, X / 255, r"do not exceed 1(.|\n)*value_range=\(0, 1\)"),
        ({}, X + 0.5, "must contain integers from 0 to 255; got float64 from"),
        ({}, X.astype(int) - 200, "must contain integers"),
        ({}, X > 90, "got bool from 0 to 1"),
        ({"value_range": (0, 1)}, X, r"outside value_range=\(0, 1\)"),
        ({"value_range": (1, 1)}, X, "two different numbers"),
        ({"value_range": "all"}, X, "two different numbers"),
        ({"validation_fraction": 1.0}, X, "validation_fraction is 1.0"),
        ({"random_state": -1}, X, "Seed must be between"),
        ({}, np.stack([X] * 4, axis=3), r"with 1 or 3 channels"),
        ({}, X[..., None, None], r"expected \(N, H, W\) or"),
        ({}, X[:0], "0 sample"),
        ({}, np.full((60, 6, 5), np.nan), "NaN"),
        ({}, np.where(X > 90, np.inf, 0), "infinity"),
        ({}, [X[0], X[1][:3]], "inhomogeneous"),
    ],
)  # fmt: skip
def test_what_is_no_image_is_refused_with_a_reason(settings: dict[str, Any], x: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        as_estimator("knn", **settings).fit(x, Y[: len(x)])


def test_refusals_are_errors_of_ours_and_of_scikit_learn() -> None:
    assert issubclass(InvalidImages, ta.TellapartError) and issubclass(InvalidSetting, ta.TellapartError)
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        as_estimator("knn", image_shape=(6, 5)).fit(csr_array(FLAT), Y)
    with pytest.raises(NotFittedError):
        as_estimator("knn").predict(X)
    fitted = as_estimator("knn").fit(X, Y)
    with pytest.raises(InvalidImages, match="images of 5 × 6 × 1; those in fit were 6 × 5 × 1"):
        fitted.predict(X.reshape(-1, 5, 6))
    with pytest.raises(ValueError, match="Unknown label type"):
        as_estimator("knn").fit(X, np.linspace(0, 1, 60))
    with pytest.warns(DataConversionWarning):
        as_estimator("knn").fit(X, Y[:, None])


def test_a_black_image_of_floats_is_answered() -> None:
    """That floats up to 1 are suspicious is asked of the training set; one image may well be black."""
    assert as_estimator("knn").fit(X * 1.0, Y).predict(np.zeros((1, 6, 5))).shape == (1,)


# --- the surroundings -------------------------------------------------------------------------------------------------


def test_the_labels_of_the_table_are_not_seen_when_answering() -> None:
    """What the adapter asks is the same as asking the classifier with a table of its own."""
    fitted = as_estimator("svm-pca-rbf").fit(X, Y)
    from tellapart.classifiers.base import Context

    table = from_arrays(X_NEW, Y_NEW, ["ant", "cat", "dog"])
    np.testing.assert_allclose(fitted.classifier_.predict(table, Context()).proba, fitted.predict_proba(X_NEW), atol=1e-6)


def test_scikit_learn_is_imported_when_an_estimator_is_asked_for() -> None:
    program = (
        "import sys, tellapart as ta\nheavy = {'sklearn', 'torch', 'pandas'}\nassert not heavy & set(sys.modules)\n"
        "ta.as_estimator\nassert 'sklearn' in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=280)


def test_the_examples_of_the_page_run() -> None:
    page = (Path(__file__).parents[1] / "docs" / "scikit-learn.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    names: dict[str, Any] = {}
    for number, block in enumerate(blocks, start=1):
        exec(compile(block, f"scikit-learn.md, example {number}", "exec"), names)
    assert names["search"].best_score_ > 0.9
    assert names["pipeline"].get_params()["answer__classifier__k"] == 3
