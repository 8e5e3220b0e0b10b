"""scikit-learn estimators inside our contract: classes that a part lacks, and persistence without pickle."""

from __future__ import annotations

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

    Raises:
        RunError: The file is damaged, or holds types that could run foreign code.
    """
    from skops.io import get_untrusted_types, load

    try:
        types = get_untrusted_types(file=path)
        foreign = [t for t in types if t not in TRUSTED]
        if foreign:
            raise RunError(f"{path}: holds types that are not loaded, since they could run foreign code: {foreign}")
        return load(path, trusted=types)
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{path}: cannot be loaded ({error})") from error
