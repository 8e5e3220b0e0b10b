"""Estimators on disk: no file may run foreign code, and one that cannot be read says why."""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from skops.io import dump

from tellapart.classifiers._sklearn_io import load_estimator, proba_of, save_estimator
from tellapart.errors import RunError

X = np.random.default_rng(0).normal(size=(60, 3))
Y = np.arange(60) % 3


class Foreign(ClassifierMixin, BaseEstimator):
    """A class that no list trusts; being built from a file would be its chance to run."""

    built = 0

    def __setstate__(self, state: dict[str, Any]) -> None:
        type(self).built += 1
        super().__setstate__(state)


@pytest.fixture(scope="module")
def fitted() -> HistGradientBoostingClassifier:
    """Trees, the one estimator that our families save whole."""
    return HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=2).fit(X, Y)


@pytest.fixture
def saved(tmp_path: Path, fitted: HistGradientBoostingClassifier) -> Path:
    """The same as a file."""
    save_estimator(fitted, tmp_path / "model.skops")
    return tmp_path / "model.skops"


def test_what_was_saved_answers_the_same(saved: Path, fitted: HistGradientBoostingClassifier) -> None:
    np.testing.assert_array_equal(load_estimator(saved).predict_proba(X), fitted.predict_proba(X))


def test_a_class_that_was_never_seen_has_probability_0(fitted: HistGradientBoostingClassifier) -> None:
    two = HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=2).fit(X, np.where(Y == 1, 2, Y))
    np.testing.assert_array_equal(proba_of(two, X, 3)[:, [0, 2]], two.predict_proba(X))
    assert not proba_of(two, X, 3)[:, 1].any()
    assert proba_of(fitted, X[:0], 3).shape == (0, 3)


# --- foreign code -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [np.load, np.fromfile, os.system, Path.unlink])
def test_functions_are_not_loaded(tmp_path: Path, function: object) -> None:
    fitted = DummyClassifier().fit(np.zeros((4, 2)), [0, 1, 0, 1])
    dump(Pipeline([("read", FunctionTransformer(function)), ("answer", fitted)]), tmp_path / "model.skops")
    with pytest.raises(RunError, match="foreign code"):
        load_estimator(tmp_path / "model.skops")


def test_a_foreign_class_is_named_and_never_built(tmp_path: Path) -> None:
    dump(Foreign(), tmp_path / "model.skops")
    with pytest.raises(RunError, match=r"foreign code: \[.*Foreign"):
        load_estimator(tmp_path / "model.skops")
    assert Foreign.built == 0


def test_a_trusted_name_for_another_thing_is_refused(saved: Path) -> None:
    """The list trusts exact names: `os.system` under the module of a trusted type is none of them."""
    _rewrite(saved, lambda text: text.replace("TreePredictor", "system"))
    with pytest.raises(RunError, match="foreign code"):
        load_estimator(saved)


def test_what_is_no_classifier_is_refused(tmp_path: Path) -> None:
    dump(StandardScaler().fit(X), tmp_path / "scaler.skops")
    dump({"weights": X}, tmp_path / "mapping.skops")
    for name, found in (("scaler", "StandardScaler"), ("mapping", "dict")):
        with pytest.raises(RunError, match=f"{name}.skops: .*expected a scikit-learn classifier, found {found}"):
            load_estimator(tmp_path / f"{name}.skops")


# --- damage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_short_is_named(saved: Path, kept: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(RunError, match=r"model\.skops: cannot be loaded .*\n.*copy the run again"):
        load_estimator(saved)


@pytest.mark.parametrize("seed", range(10))
def test_a_file_with_wrong_bytes_is_named(saved: Path, seed: int) -> None:
    content, generator = bytearray(saved.read_bytes()), np.random.default_rng(seed)
    for place in generator.choice(len(content), 50, replace=False):
        content[place] ^= 0xFF
    saved.write_bytes(content)
    with pytest.raises(RunError, match=r"model\.skops: cannot be loaded \(\w+"):
        load_estimator(saved)


@pytest.mark.parametrize(
    "damage",
    [lambda _: "{}", lambda _: "[]", lambda _: "", lambda text: text[:-9], lambda text: text.replace('"ObjectNode"', '"Knot"')],
    ids=["empty", "a list", "nothing", "cut", "an unknown node"],
)
def test_a_whole_archive_with_a_damaged_schema_is_named(saved: Path, damage: Callable[[str], str]) -> None:
    _rewrite(saved, damage)
    with pytest.raises(RunError, match=r"model\.skops: cannot be loaded"):
        load_estimator(saved)


def test_arrays_that_are_empty_are_named(saved: Path) -> None:
    _rewrite(saved, lambda text: text, arrays=lambda _: b"")
    with pytest.raises(RunError, match=r"model\.skops: cannot be loaded"):
        load_estimator(saved)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"nowhere\.skops: cannot be loaded \(FileNotFoundError"):
        load_estimator(tmp_path / "nowhere.skops")


# --- other versions ---------------------------------------------------------------------------------------------------


def test_a_file_of_another_version_loads_and_says_so_once(saved: Path, fitted: HistGradientBoostingClassifier) -> None:
    _rewrite(saved, lambda text: text.replace(sklearn.__version__, "1.2.0"))
    with pytest.warns(UserWarning) as caught:
        estimator = load_estimator(saved)
    (warning,) = caught
    assert re.search(f"written by scikit-learn 1.2.0, installed is {sklearn.__version__}", str(warning.message))
    np.testing.assert_array_equal(estimator.predict_proba(X), fitted.predict_proba(X))


def test_a_file_of_another_version_that_does_not_answer_says_why(saved: Path) -> None:
    """As if an attribute had another name there: it would load, and fail when asked."""
    _rewrite(saved, lambda text: text.replace(sklearn.__version__, "1.2.0").replace('"_predictors"', '"_trees"'))
    with pytest.raises(RunError, match=r"_predictors.*\n.*written by scikit-learn 1\.2\.0.*install that version"):
        load_estimator(saved)


def test_a_type_that_only_another_version_has_says_which(saved: Path) -> None:
    renamed = (sklearn.__version__, "1.2.0"), ("_BinMapper", "_Binner")
    _rewrite(saved, lambda text: text.replace(*renamed[0]).replace(*renamed[1]))
    with pytest.raises(RunError, match=r"_Binner(.|\n)*written by scikit-learn 1\.2\.0"):
        load_estimator(saved)


def test_a_newer_protocol_of_skops_says_so(saved: Path) -> None:
    _rewrite(saved, lambda text: re.sub(r'"protocol": \d+', '"protocol": 99', text))
    with pytest.raises(RunError, match="protocol 99"):
        load_estimator(saved)


def _rewrite(path: Path, schema: Callable[[str], str], arrays: Callable[[bytes], bytes] = bytes) -> None:
    """The same archive, whole and with right checksums, with other content."""
    file = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, schema(content.decode()).encode() if name == "schema.json" else arrays(content))
    path.write_bytes(file.getvalue())
