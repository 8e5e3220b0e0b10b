"""Helpers for scikit-learn estimators: missing classes, and persistence without pickle."""

from __future__ import annotations

import re
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.errors import RunError
from tellapart.io import atomic_path
from tellapart.regular_files import IrregularFileError, require_regular

#: Types loaded besides those that skops trusts. Exact names, since a numpy function can run foreign code too.
TRUSTED = frozenset({"sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"})

_LARGE, _BOMB = 64 << 20, 50  # bytes that may always be unpacked, and how many times its size a file may unpack to


def proba_of(estimator: Any, X: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities over all classes, (N, C) float64; a class without training images has probability 0."""
    proba = np.zeros((len(X), classes))
    if len(X):
        proba[:, estimator.classes_.astype(int)] = estimator.predict_proba(X)
    return proba


def save_estimator(estimator: Any, path: Path) -> None:
    """Write a fitted estimator as .skops."""
    from skops.io import dump

    with atomic_path(path, durable=False) as temporary:
        dump(estimator, temporary)


def load_estimator(path: Path) -> Any:
    """Read a .skops file; only types trusted by skops or listed in `TRUSTED` are loaded.

    A file of another scikit-learn version is loaded and predicts once as a test; one warning says that results may differ.

    Raises:
        RunError: The file is damaged, contains types that could run foreign code, or does not work with the installed versions.
    """
    from skops.io import get_untrusted_types

    _check_size(path)
    try:
        types = get_untrusted_types(file=path)
        foreign = [t for t in types if t not in TRUSTED]
        estimator = None if foreign else _read(path, types)
    except Exception as error:  # damaged files raise errors of zipfile, zlib, JSON, numpy, skops or scikit-learn
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise RunError(f"{path}: cannot be loaded ({reason})", hint=_advice(path)) from error
    if foreign:
        types_found = f"contains types that are not loaded because they could run foreign code: {foreign}"
        raise RunError(f"{path}: {types_found}", hint=_advice(path))
    return estimator


def _check_size(path: Path) -> None:
    """Refuse a file that unpacks to far more than it holds; `save_estimator` stores arrays as they are."""
    try:
        require_regular(path)
        with zipfile.ZipFile(path) as archive:
            size = sum(info.file_size for info in archive.infolist())
    except IrregularFileError as error:
        raise RunError(error.message) from error
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return  # `load_estimator` names it
    if size > max(_LARGE, _BOMB * path.stat().st_size):
        raise RunError(f"{path}: {path.stat().st_size:,} bytes that unpack to {size:,}: a decompression bomb?")


def _read(path: Path, trusted: list[str]) -> Any:
    import sklearn
    from sklearn.base import BaseEstimator, is_classifier
    from sklearn.exceptions import InconsistentVersionWarning
    from skops.io import load

    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", InconsistentVersionWarning
        )  # scikit-learn warns for every component; below is one warning
        estimator = load(path, trusted=trusted)
    if not (issubclass(type(estimator), BaseEstimator) and is_classifier(estimator)):
        raise TypeError(f"expected a scikit-learn classifier, found {type(estimator).__name__}")
    version = _writer(path)
    if version not in ("", sklearn.__version__):
        estimator.predict_proba(np.zeros((1, estimator.n_features_in_)))  # attributes renamed between versions fail here
        message = f"{path} was written by scikit-learn {version}, installed is {sklearn.__version__}: predictions may differ"
        warnings.warn(message, stacklevel=4)
    return estimator


def _writer(path: Path) -> str:
    """The scikit-learn version that wrote a .skops file; "" if unknown."""
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
        return "copy the run again from its source, or train it again with --overwrite"
    return f"it was written by scikit-learn {version}, installed is {sklearn.__version__}: install that version, or train again"
