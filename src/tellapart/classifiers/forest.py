"""Random forests and extremely randomized trees, fitted by scikit-learn, stored and evaluated as plain arrays.

Breiman 2001, "Random Forests": each tree is fitted to a bootstrap sample and takes the best threshold of some features drawn at
each node. Geurts, Ernst & Wehenkel 2006, "Extremely Randomized Trees": all images, one random threshold per drawn feature. A
temperature on the log of the class frequencies in the leaves, fitted on the validation split, gives probabilities; it does not
change the order of the classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field
from safetensors.numpy import load_file
from scipy.special import softmax

from tellapart.classifiers._temperature import temperature
from tellapart.classifiers.feature_classifier import CORES, FeatureClassifier
from tellapart.io import write_arrays
from tellapart.recipe.schema import OptionsModel

_ROWS = 1_024  # rows evaluated by all trees at a time


class Forest(FeatureClassifier):
    """The mean of many trees.

    Attributes:
        arrays: The nodes of all trees, concatenated: `feature`, `cut` (threshold), `child` (M, 2), a leaf is its own child;
            `leaf`, the row of a node in `shares` (L, S), the class frequencies; `roots` (T,); `depth`; `seen` (S,), the labels
            with training images; `temperature`.
    """

    class Options(OptionsModel):
        """Options of `family: forest`."""

        kind: Literal["random", "extra"] = Field(
            default="extra", description="random: random forest; extra: extremely randomized trees"
        )
        trees: int = Field(default=300, ge=1, description="number of trees")
        values: Literal["sqrt"] | Annotated[float, Field(gt=0, le=1)] = Field(
            default="sqrt",
            description="features drawn at each node: sqrt (the square root of their number), or a fraction in (0, 1]",
        )
        leaf: int = Field(default=1, ge=1, description="minimum number of training images in a leaf")
        balanced: bool = Field(default=False, description="weight classes inversely to their frequency")

    options: Options

    def _fit_vectors(self, X: np.ndarray, y: np.ndarray, X_valid: np.ndarray, y_valid: np.ndarray) -> None:
        from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

        o = self.options
        kind: Any = ExtraTreesClassifier if o.kind == "extra" else RandomForestClassifier
        grown = kind(
            o.trees, max_features=o.values, min_samples_leaf=o.leaf, n_jobs=CORES, random_state=self.recipe.seed,
            class_weight="balanced" if o.balanced else None,
        ).fit(X, y)  # fmt: skip
        self.arrays = _as_arrays([tree.tree_ for tree in grown.estimators_])
        self.arrays["seen"] = grown.classes_.astype(np.int64)
        self.arrays["temperature"] = np.array([temperature(self._decide(X_valid), y_valid)])

    def _predict_vectors(self, X: np.ndarray) -> np.ndarray:
        return softmax(self._decide(X) * self.arrays["temperature"], axis=1)

    def _decide(self, X: np.ndarray) -> np.ndarray:
        """Log frequencies, (N, C) float64, smoothed by half a tree; −inf for classes without training images."""
        seen, trees = self.arrays["seen"], len(self.arrays["roots"])
        decision = np.full((len(X), len(self.classes)), -np.inf)
        for start in range(0, len(X), _ROWS):
            rows = slice(start, start + _ROWS)
            decision[rows, seen] = np.log(_mean_shares(X[rows], self.arrays) + 0.5 / trees)
        return decision

    @property
    def parameters(self) -> int:
        """Number of nodes of all trees."""
        return len(self.arrays["feature"])

    def _save_model(self, folder: Path) -> None:
        write_arrays(folder / "weights.safetensors", self.arrays)

    def _load_model(self, folder: Path) -> None:
        self.arrays = load_file(folder / "weights.safetensors")


def _as_arrays(trees: list[Any]) -> dict[str, np.ndarray]:
    """Convert scikit-learn's trees to plain arrays; see `Forest`."""
    counts = np.array([tree.node_count for tree in trees])
    roots = np.cumsum(counts) - counts
    child = np.concatenate([
        np.stack([tree.children_left, tree.children_right], axis=1) + np.where(tree.children_left[:, None] < 0, 0, root)
        for tree, root in zip(trees, roots, strict=True)
    ])  # fmt: skip
    is_leaf = child[:, 0] < 0
    child[is_leaf] = np.flatnonzero(is_leaf)[:, None]
    shares = np.concatenate([tree.value[tree.children_left < 0, 0] for tree in trees])
    return {
        "feature": np.where(is_leaf, 0, np.concatenate([tree.feature for tree in trees])).astype(np.int32),
        "cut": np.concatenate([tree.threshold for tree in trees]),
        "child": child.astype(np.int32),
        "leaf": np.where(is_leaf, np.cumsum(is_leaf) - 1, -1).astype(np.int32),
        "shares": (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32),
        "roots": roots.astype(np.int32),
        "depth": np.array([max(tree.max_depth for tree in trees)]),
    }


def _mean_shares(X: np.ndarray, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Class frequencies of the leaf that each row reaches, averaged over the trees: (N, D) float32 → (N, S) float64."""
    node = np.tile(arrays["roots"], (len(X), 1))  # (N, T)
    rows = np.arange(len(X))[:, None]
    for _ in range(int(arrays["depth"][0])):
        right = X[rows, arrays["feature"][node]] > arrays["cut"][node]
        node = arrays["child"][node, right.astype(np.int8)]
    total = np.zeros((len(X), arrays["shares"].shape[1]))
    for leaf in arrays["leaf"][node].T:
        total += arrays["shares"][leaf]
    return total / node.shape[1]
