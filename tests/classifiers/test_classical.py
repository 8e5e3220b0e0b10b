"""Ridge, discriminants, naive Bayes, forests and boosting against scikit-learn on the same vectors, and their edges."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy.special import log_softmax, softmax
from sklearn.datasets import make_blobs
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import Ridge
from sklearn.naive_bayes import GaussianNB

from tellapart import registry
from tellapart.classifiers import _ridge_solver
from tellapart.classifiers._temperature import log_loss, temperature
from tellapart.classifiers.boosting import Boosting
from tellapart.errors import RecipeError
from tellapart.recipe import load as recipes

FAMILIES = {
    "linear": {"loss": "ridge"}, "lda": {}, "naive_bayes": {}, "forest": {"trees": 20}, "boosting": {"rounds": 10},
}  # fmt: skip
EVERY = pytest.mark.parametrize("family", FAMILIES)


def _vectors(classes: int, count: int = 300, width: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Training vectors and labels, and vectors to ask."""
    X, y = make_blobs(count, width, centers=classes, cluster_std=4, random_state=0)
    cut = count * 4 // 5
    return X[:cut].astype(np.float32), y[:cut].astype(np.int64), X[cut:].astype(np.float32)


def _made(classes: int, family: str, **options: Any) -> Any:
    classifier = registry.find("classifiers", family)(recipes.parse({"classifier": {"family": family, **options}}))
    classifier.classes = tuple(str(c) for c in range(classes))
    classifier.notes = []
    return classifier


def _learnt(classes: int, family: str, width: int = 6, valid: int = 0, **options: Any) -> Any:
    X, y, _ = _vectors(classes, width=width)
    classifier = _made(classes, family, **options)
    classifier._fit_vectors(X, y, X[:valid], y[:valid])
    return classifier


def _centered(decision: np.ndarray) -> np.ndarray:
    """Decisions mean something but for a constant a row."""
    return decision - decision.mean(axis=1, keepdims=True)


# --- against scikit-learn ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("width", [6, 400])  # more rows than columns, and the other way round
def test_ridge_is_scikit_learns(classes: int, width: int) -> None:
    X, y, asked = _vectors(classes, width=width)
    ours = _learnt(classes, "linear", width, loss="ridge", C=[0.02])
    theirs = Ridge(alpha=50.0, solver="cholesky").fit(X.astype(float), np.eye(classes)[y])
    np.testing.assert_allclose(asked @ ours.weight.T + ours.bias, theirs.predict(asked.astype(float)), atol=1e-4)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize(("width", "shrinkage"), [(6, 0.01), (6, 1.0), (400, 0.2)])
def test_discriminants_are_scikit_learns(classes: int, width: int, shrinkage: float) -> None:
    X, y, asked = _vectors(classes, width=width)
    ours = _learnt(classes, "lda", width, shrinkage=[shrinkage])
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(X.astype(float), y)
    np.testing.assert_allclose(ours._predict_vectors(asked), theirs.predict_proba(asked.astype(float)), atol=1e-3)
    theirs_too = theirs.decision_function(asked.astype(float))
    theirs_too = np.stack([-theirs_too, theirs_too], axis=1) / 2 if classes == 2 else theirs_too
    np.testing.assert_allclose(_centered(asked @ ours.weight.T + ours.bias), _centered(theirs_too), rtol=1e-3, atol=0.05)


def test_discriminants_do_not_mind_where_the_origin_is() -> None:
    X, y, asked = _vectors(3)
    near, far = _made(3, "lda"), _made(3, "lda")
    near._fit_vectors(X, y, X[:40], y[:40])
    far._fit_vectors(X + 100, y, X[:40] + 100, y[:40])
    np.testing.assert_allclose(near._predict_vectors(asked), far._predict_vectors(asked + 100), atol=1e-3)


@pytest.mark.parametrize("smoothing", [1e-9, 0.1])
def test_bayes_is_scikit_learns(smoothing: float) -> None:
    X, y, asked = _vectors(4)
    ours = _learnt(4, "naive_bayes", smoothing=[smoothing])
    theirs = GaussianNB(var_smoothing=smoothing).fit(X.astype(float), y)
    np.testing.assert_allclose(ours._predict_vectors(asked), theirs.predict_proba(asked.astype(float)), atol=1e-5)


@pytest.mark.parametrize(("kind", "theirs"), [("random", RandomForestClassifier), ("extra", ExtraTreesClassifier)])
@pytest.mark.parametrize("options", [{}, {"leaf": 5, "values": 0.5, "balanced": True}])
def test_forests_answer_as_scikit_learns_trees(kind: str, theirs: Any, options: dict) -> None:
    X, y, asked = _vectors(4)
    ours = _learnt(4, "forest", kind=kind, trees=30, **options)
    weight = "balanced" if options else None
    same = theirs(
        30,
        max_features=options.get("values", "sqrt"),
        min_samples_leaf=options.get("leaf", 1),
        class_weight=weight,
        random_state=0,
    ).fit(X, y)
    np.testing.assert_allclose(np.exp(ours._decide(asked)) - 0.5 / 30, same.predict_proba(asked), atol=1e-6)
    assert (ours._predict_vectors(asked).argmax(1) == same.predict(asked)).mean() > 0.98  # equal shares may fall either way
    assert ours.parameters == sum(tree.tree_.node_count for tree in same.estimators_)


def test_a_forest_asks_in_blocks() -> None:
    ours = _learnt(3, "forest", trees=5)
    many = np.random.default_rng(0).normal(0, 8, (2500, 6)).astype(np.float32)
    np.testing.assert_array_equal(ours._decide(many)[2000:], ours._decide(many[2000:]))


def test_boosting_without_validation_is_scikit_learns() -> None:
    X, y, asked = _vectors(3)
    ours = _learnt(3, "boosting", rounds=12, leaves=7, l2=0.5, values=1.0, leaf=10)
    theirs = HistGradientBoostingClassifier(
        max_iter=12, max_leaf_nodes=7, l2_regularization=0.5, min_samples_leaf=10, early_stopping=False, random_state=0
    ).fit(X, y)
    np.testing.assert_allclose(ours._predict_vectors(asked), theirs.predict_proba(asked), atol=1e-6)


def test_boosting_ends_by_the_validation_part() -> None:
    """Labels of validation that cannot be foretold: more rounds make it worse, and it ends after the patience."""
    X, y, _ = _vectors(3)
    noise = np.random.default_rng(0).permutation(y[:60])
    ours = _made(3, "boosting", rounds=200, patience=3)
    ours._fit_vectors(X, y, X[:60], noise)
    assert ours.estimator.n_iter_ < 20
    assert _learnt(3, "boosting", rounds=25).estimator.n_iter_ == 25


# --- the choice by validation -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "option", "values"),
    [("linear", "C", [1e-6, 1.0]), ("lda", "shrinkage", [0.01, 1.0]), ("naive_bayes", "smoothing", [1e-6, 100.0])],
)
def test_validation_picks_the_candidate_of_least_log_loss(family: str, option: str, values: list[float]) -> None:
    X, y, _ = _vectors(4)
    stretched = X * np.array([1, 1, 1, 1, 1, 60], np.float32)  # strong shrinkage then hears the loudest value alone
    valid, labels = stretched[-80:], y[-80:]
    more = {"loss": "ridge"} if family == "linear" else {}

    def fitted(tried: list[float]) -> Any:
        classifier = _made(4, family, **{option: tried}, **more)
        classifier._fit_vectors(stretched[:-80], y[:-80], valid, labels)
        return classifier

    losses = {v: _loss_of(fitted([v]), valid, labels) for v in values}
    assert abs(losses[values[0]] - losses[values[1]]) > 1e-3
    assert _loss_of(fitted(values), valid, labels) == pytest.approx(min(losses.values()), abs=1e-9)


def _loss_of(classifier: Any, X: np.ndarray, y: np.ndarray) -> float:
    return float(-np.log(classifier._predict_vectors(X)[np.arange(len(y)), y]).mean())


@pytest.mark.parametrize(
    ("family", "option", "values"),
    [
        ("linear", "C", [1e-5, 0.1, 100.0]),
        ("lda", "shrinkage", [0.01, 0.2, 1.0]),
        ("naive_bayes", "smoothing", [1e-6, 0.3, 100.0]),
    ],
)
def test_without_validation_the_middle_candidate_is_kept(family: str, option: str, values: list[float]) -> None:
    _, _, asked = _vectors(4)
    more = {"loss": "ridge"} if family == "linear" else {}
    middle = _learnt(4, family, **{option: values[1:2]}, **more)._predict_vectors(asked)
    np.testing.assert_array_equal(_learnt(4, family, **{option: values}, **more)._predict_vectors(asked), middle)


def test_the_temperature_is_the_best_of_a_fine_grid() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 400)
    decision = 5 * (generator.normal(0, 1, (400, 3)) + np.eye(3)[labels])
    grid = np.exp(np.linspace(np.log(0.01), np.log(100), 4000))
    losses = [-log_softmax(decision * t, axis=1)[np.arange(400), labels].mean() for t in grid]
    assert temperature(decision, labels) == pytest.approx(grid[np.argmin(losses)], rel=0.01)
    assert log_loss(decision, labels) == pytest.approx(
        -np.log(softmax(decision, axis=1)[np.arange(400), labels]).mean(), rel=1e-9
    )


def test_rows_that_cannot_be_judged_are_left_out() -> None:
    decision = np.array([[1.0, 0.0, -np.inf], [0.0, 2.0, -np.inf], [3.0, 0.0, -np.inf]])
    labels = np.array([0, 2, -1])  # the second one's class was not trained, the third one's is not known
    assert log_loss(decision, labels) == pytest.approx(np.log(1 + np.exp(-1)))
    assert temperature(decision[1:], labels[1:]) == 1.0 and log_loss(decision[1:], labels[1:]) == np.inf


# --- edges ------------------------------------------------------------------------------------------------------------


@EVERY
def test_a_class_with_one_image_works(family: str) -> None:
    X, y, asked = _vectors(3)
    rows = np.append(np.flatnonzero(y < 2), np.flatnonzero(y == 2)[:1])
    ours = _made(3, family, **FAMILIES[family])
    ours._fit_vectors(X[rows], y[rows], X[:30], y[:30])
    proba = ours._predict_vectors(asked)
    assert np.isfinite(proba).all() and (proba[:, :2].sum(axis=1) > 0).all()


@EVERY
def test_one_class_in_training_is_the_answer_to_all(family: str) -> None:
    X, y, asked = _vectors(3)
    ours = _made(3, family, **FAMILIES[family])
    ours._fit_vectors(X[y == 1], y[y == 1], X[:30], y[:30])
    np.testing.assert_allclose(ours._predict_vectors(asked), np.tile([0, 1, 0], (len(asked), 1)))


@EVERY
def test_a_class_that_training_lacked_has_no_share(family: str) -> None:
    X, y, asked = _vectors(4)
    ours = _made(4, family, **FAMILIES[family])
    ours._fit_vectors(X[y != 1], y[y != 1], X[:60], y[:60])  # validation has the class
    proba = ours._predict_vectors(asked)
    assert (proba[:, 1] == 0).all() and np.isfinite(proba).all()


@EVERY
def test_constant_values_do_no_harm(family: str) -> None:
    X, y, asked = _vectors(3)
    X[:, 2], asked[:, 2] = 0, 0
    ours = _made(3, family, **FAMILIES[family])
    ours._fit_vectors(X, y, X[:50], y[:50])
    assert np.isfinite(ours._predict_vectors(asked)).all()


@EVERY
def test_identical_images_of_every_class_do_no_harm(family: str) -> None:
    X, y = np.zeros((20, 5), np.float32), np.arange(20) % 2
    ours = _made(2, family, **FAMILIES[family])
    ours._fit_vectors(X, y, X[:4], y[:4])
    np.testing.assert_allclose(
        ours._predict_vectors(X[:3]) / ours._predict_vectors(X[:3]).sum(axis=1, keepdims=True), 0.5, atol=1e-6
    )


@EVERY
def test_what_is_saved_answers_the_same(family: str, tmp_path: Path) -> None:
    _, _, asked = _vectors(3)
    ours = _learnt(3, family, valid=40, **FAMILIES[family])
    ours._save_model(tmp_path)
    again = _made(3, family, **FAMILIES[family])
    again._load_model(tmp_path)
    np.testing.assert_array_equal(again._predict_vectors(asked), ours._predict_vectors(asked))
    written = {path.suffix for path in tmp_path.iterdir()}
    assert written == ({".safetensors", ".skops"} if isinstance(ours, Boosting) else {".safetensors"})


def test_a_forest_is_saved_without_code(tmp_path: Path) -> None:
    _learnt(3, "forest", trees=4)._save_model(tmp_path)
    kept = load_file(tmp_path / "weights.safetensors")
    assert len(kept["roots"]) == 4
    np.testing.assert_allclose(kept["shares"].sum(axis=1), 1, atol=1e-6)
    leaves = kept["leaf"] >= 0
    assert (kept["child"][leaves] == np.flatnonzero(leaves)[:, None]).all() and leaves.sum() == len(kept["shares"])


def test_what_is_too_large_for_an_exact_solution_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ridge_solver, "_LONGEST", 5)
    with pytest.raises(RecipeError, match="lda: 240 images of 6 values are too many") as caught:
        _learnt(3, "lda")
    assert "features.pca" in str(caught.value)
