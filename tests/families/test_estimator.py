"""Estimators on disk: no file may run foreign code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from skops.io import dump

from tellapart.errors import RunError
from tellapart.families._estimator import load_estimator


@pytest.mark.parametrize("function", [np.load, np.fromfile])
def test_functions_of_trusted_packages_are_not_loaded(tmp_path: Path, function: object) -> None:
    fitted = DummyClassifier().fit(np.zeros((4, 2)), [0, 1, 0, 1])
    dump(Pipeline([("read", FunctionTransformer(function)), ("answer", fitted)]), tmp_path / "model.skops")
    with pytest.raises(RunError, match="foreign code"):
        load_estimator(tmp_path / "model.skops")
