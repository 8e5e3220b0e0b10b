"""Gradient-boosted trees on binned features (scikit-learn), with early stopping on the validation split.

Friedman 2001, "Greedy Function Approximation: A Gradient Boosting Machine"; on histograms as in Ke et al. 2017, "LightGBM". A
round adds one tree per class. Boosting stops when the validation log loss has not improved for some rounds; without validation
labels, it runs all rounds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from safetensors.numpy import load_file

from tellapart.classifiers._sklearn_io import load_estimator, proba_of, save_estimator
from tellapart.classifiers.feature_classifier import FeatureClassifier
from tellapart.io import write_arrays
from tellapart.recipe.schema import OptionsModel


class Boosting(FeatureClassifier):
    """Gradient-boosted trees with softmax."""

    class Options(OptionsModel):
        """Options of `family: boosting`."""

        rounds: int = Field(default=500, ge=1, description="maximum number of boosting rounds")
        patience: int = Field(default=20, ge=1, description="stop after this many rounds without a lower validation log loss")
        learning_rate: float = Field(default=0.1, gt=0, description="shrinkage of each round")
        leaves: int = Field(default=15, ge=2, description="maximum number of leaves per tree")
        leaf: int = Field(
            default=20, ge=1, description="minimum number of training images in a leaf; at most a tenth of all images is used"
        )
        l2: float = Field(default=1.0, ge=0, description="L2 penalty on the leaf values")
        values: float = Field(default=0.3, gt=0, le=1, description="fraction of the features drawn at each node")

    options: Options

    def _fit_vectors(self, X: np.ndarray, y: np.ndarray, X_valid: np.ndarray, y_valid: np.ndarray) -> None:
        from sklearn.ensemble import HistGradientBoostingClassifier

        o = self.options
        self.seen, self.estimator = np.unique(y), None
        if len(self.seen) == 1:
            return
        usable = np.isin(y_valid, self.seen)
        early: Any = bool(usable.any())
        estimator = HistGradientBoostingClassifier(
            max_iter=o.rounds, max_leaf_nodes=o.leaves, learning_rate=o.learning_rate, l2_regularization=o.l2,
            min_samples_leaf=max(1, min(o.leaf, len(X) // 10)), max_features=o.values, n_iter_no_change=o.patience,
            early_stopping=early, random_state=self.recipe.seed,
        )  # fmt: skip
        watched: Any = {"X_val": X_valid[usable], "y_val": y_valid[usable]} if early else {}
        self.estimator = estimator.fit(X, y, **watched)

    def _predict_vectors(self, X: np.ndarray) -> np.ndarray:
        if self.estimator is not None:
            return proba_of(self.estimator, X, len(self.classes))
        return np.tile(np.isin(np.arange(len(self.classes)), self.seen).astype(float), (len(X), 1))

    estimator: Any

    @property
    def parameters(self) -> int:
        """Number of nodes of all trees; 1 if training had one class."""
        if self.estimator is None:
            return 1
        return sum(len(tree.nodes) for stage in self.estimator._predictors for tree in stage)

    def _save_model(self, folder: Path) -> None:
        write_arrays(folder / "weights.safetensors", {"seen": self.seen})
        if self.estimator is not None:
            save_estimator(self.estimator, folder / "model.skops")

    def _load_model(self, folder: Path) -> None:
        self.seen = load_file(folder / "weights.safetensors")["seen"]
        path = folder / "model.skops"
        self.estimator = load_estimator(path) if path.exists() else None
