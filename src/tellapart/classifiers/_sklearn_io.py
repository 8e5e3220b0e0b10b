"""scikit-learn estimators inside our contract: classes that a part lacks, and persistence without pickle."""

from __future__ import annotations

import re
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.errors import RunError

#: Beside skops' own list: what our estimators are made of. Exact names, since a function of numpy can run foreign code too.
TRUSTED = frozenset({"sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"})


def proba_of(estimator: Any, X: np.ndarray, classes: int) -> np.ndarray:
    """(N, C) float64 over all classes; one that the estimator never saw has probability 0."""
    proba = np.zeros((len(X), classes))
    if len(X):
        proba[:, estimator.classes_.astype(int)] = estimator.predict_proba(X)
    return proba


def save_estimator(estimator: Any, path: Path) -> None:
    """Write a fitted estimator as .skops."""
    from skops.io import dump

    dump(estimator, path)


def load_estimator(path: Path) -> Any:
    """Read a .skops file; types on neither skops' own list nor `TRUSTED` are refused.

    A file of another version of scikit-learn is read, asked once, and answered with one warning: its numbers may differ.

    Raises:
        RunError: The file is damaged, holds types that could run foreign code, or does not work with the versions here.
    """
    from skops.io import get_untrusted_types

    try:
        types = get_untrusted_types(file=path)
        foreign = [t for t in types if t not in TRUSTED]
        estimator = None if foreign else _read(path, types)
    except Exception as error:  # damaged files raise nearly anything: zipfile, zlib, JSON, numpy, skops, scikit-learn
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise RunError(f"{path}: cannot be loaded ({reason})", hint=_advice(path)) from error
    if foreign:
        types_found = f"holds types that are not loaded, since they could run foreign code: {foreign}"
        raise RunError(f"{path}: {types_found}", hint=_advice(path))
    return estimator


def _read(path: Path, trusted: list[str]) -> Any:
    import sklearn
    from sklearn.base import BaseEstimator, is_classifier
    from sklearn.exceptions import InconsistentVersionWarning
    from skops.io import load

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InconsistentVersionWarning)  # one for each of its parts; ours is one for all
        estimator = load(path, trusted=trusted)
    if not (issubclass(type(estimator), BaseEstimator) and is_classifier(estimator)):
        raise TypeError(f"expected a classifier of scikit-learn, found {type(estimator).__name__}")
    version = _writer(path)
    if version not in ("", sklearn.__version__):
        estimator.predict_proba(np.zeros((1, estimator.n_features_in_)))  # what the other version named otherwise fails here
        said = f"{path} was written by scikit-learn {version}, here is {sklearn.__version__}: its answers may differ"
        warnings.warn(said, stacklevel=4)
    return estimator


def _writer(path: Path) -> str:
    """The version of scikit-learn that wrote a .skops file; "" where it does not say."""
    try:
        with zipfile.ZipFile(path) as archive:
            found = re.search(rb'"_sklearn_version": \{[^{}]*"content": "\\"([\w.+-]+)', archive.read("schema.json"))
    except (OSError, zipfile.BadZipFile, zlib.error, KeyError, NotImplementedError):
        return ""
    return found[1].decode() if found else ""


def _advice(path: Path) -> str:
    import sklearn

    version = _writer(path)
    if version in ("", sklearn.__version__):
        return "copy the run again from where it came, or train it again with --fresh"
    return f"it was written by scikit-learn {version}, here is {sklearn.__version__}: install that version, or train again"
