"""Support vector machine, RBF or linear kernel; decisions become probabilities by one temperature.

libsvm fits; answering is our own: the kernel of a block against all support vectors is one matrix product, where libsvm
goes image by image. One-vs-one decisions are merged into one value a class as scikit-learn does
(`sklearn.utils.multiclass._ovr_decision_function`: votes plus squashed confidences), and softmax(t · decision) gives
probabilities. t is fitted on the validation part by log loss (Guo et al. 2017, "On Calibration of Modern Neural Networks"),
so the order of classes, and with it every answer, is that of the decisions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field
from safetensors.numpy import load_file, save_file
from scipy.special import softmax

from tellapart.families._features import FeatureFamily
from tellapart.recipe import Section


class SVM(FeatureFamily):
    """C-support vector classification."""

    class Options(Section):
        """Options of `family: svm`."""

        C: float = Field(default=10.0, gt=0, description="price of a margin violation; larger fits harder")
        kernel: Literal["rbf", "linear"] = Field(default="rbf", description="kernel")
        gamma: float | Literal["scale"] = Field(default="scale", description="RBF width; scale: 1 / (features × variance)")
        balanced: bool = Field(default=False, description="weigh classes by the inverse of their size")

    def _learn(self, X: np.ndarray, y: np.ndarray, X_valid: np.ndarray, y_valid: np.ndarray) -> None:
        from sklearn.svm import SVC

        o = self.options
        width = o.gamma if o.gamma != "scale" else 1 / max(X.shape[1] * float(X.var(dtype=np.float64)), 1e-12)
        weight = "balanced" if o.balanced else None
        seen, counts = np.unique(y, return_counts=True)
        self.arrays = {"gamma": np.array([width]), "temperature": np.ones(1), "seen": seen, "counts": counts}
        if len(seen) > 1:
            machine = SVC(C=o.C, kernel=o.kernel, gamma=width, class_weight=weight, cache_size=2000)
            machine.fit(X.astype(np.float64), y)
            self.arrays |= _arrays_of(machine)
            self.arrays["temperature"] = np.array([_temperature(self._decide(X_valid), y_valid)])

    def _answer(self, X: np.ndarray) -> np.ndarray:
        return softmax(self._decide(X) * self.arrays["temperature"][0], axis=1)

    def _decide(self, X: np.ndarray) -> np.ndarray:
        """One decision a class: (N, C) float64, −inf for classes that training lacked."""
        seen = self.arrays["seen"]
        decision = np.full((len(X), len(self.classes)), -np.inf)
        if len(seen) == 1:
            decision[:, seen] = 0.0
        elif len(X):
            pairs = self._pair_decisions(X.astype(np.float64))
            decision[:, seen] = np.hstack([-pairs, pairs]) if len(seen) == 2 else _merge_pairs(pairs, len(seen))
        return decision

    def _pair_decisions(self, X: np.ndarray) -> np.ndarray:
        """One-vs-one decisions in libsvm's order (0-1, 0-2, …, 1-2, …), positive for the first: (N, C(C−1)/2).

        For two classes positive means the second, as in scikit-learn's `decision_function`.
        """
        a = self.arrays
        kernel = X @ a["vectors"].T
        if self.options.kernel == "rbf":
            kernel *= 2
            kernel -= np.einsum("ij,ij->i", X, X)[:, None]
            kernel -= np.einsum("ij,ij->i", a["vectors"], a["vectors"])
            kernel *= a["gamma"][0]
            np.exp(kernel, out=kernel)
        ends = np.cumsum(a["support"])
        parts = [slice(end - size, end) for end, size in zip(ends, a["support"], strict=True)]
        classes = len(parts)
        if classes == 2:
            return kernel @ a["dual"].T + a["intercept"]
        # dual[j-1, vectors of i] and dual[i, vectors of j] are the coefficients of the pair i < j (libsvm's layout)
        sums = [kernel[:, part] @ a["dual"][:, part].T for part in parts]
        pairs = [(i, j) for i in range(classes) for j in range(i + 1, classes)]
        return np.stack([sums[i][:, j - 1] + sums[j][:, i] for i, j in pairs], axis=1) + a["intercept"]

    @property
    def parameters(self) -> int:
        """Values of the support vectors and their weights."""
        return sum(int(self.arrays[k].size) for k in ("vectors", "dual", "intercept") if k in self.arrays)

    def _save_model(self, folder: Path) -> None:
        save_file({k: np.ascontiguousarray(v) for k, v in self.arrays.items()}, folder / "weights.safetensors")

    def _load_model(self, folder: Path) -> None:
        self.arrays = load_file(folder / "weights.safetensors")


def _arrays_of(machine: Any) -> dict[str, np.ndarray]:
    return {
        "vectors": machine.support_vectors_,
        "dual": machine.dual_coef_,
        "intercept": machine.intercept_,
        "support": machine.n_support_.astype(np.int64),
    }


def _merge_pairs(pairs: np.ndarray, classes: int) -> np.ndarray:
    """(N, C(C−1)/2) pair decisions, positive for the first class → (N, C): votes, ties by confidence in (−1/3, 1/3)."""
    votes = np.zeros((len(pairs), classes))
    confidence = np.zeros_like(votes)
    index = 0
    for i in range(classes):
        for j in range(i + 1, classes):
            pair = pairs[:, index]
            confidence[:, i] += pair
            confidence[:, j] -= pair
            votes[:, i] += pair > 0
            votes[:, j] += pair <= 0
            index += 1
    return votes + confidence / (3 * (np.abs(confidence) + 1))


def _temperature(decision: np.ndarray, labels: np.ndarray) -> float:
    """The factor t in [0.01, 100] that minimises the log loss of softmax(t · decision); 1 without usable labels."""
    from scipy.optimize import minimize_scalar

    usable = (labels >= 0) & np.isfinite(decision[np.arange(len(labels)), labels.clip(min=0)])
    if not usable.any():
        return 1.0
    rows, target = decision[usable], labels[usable]

    def loss(log_t: float) -> float:
        proba = softmax(rows * np.exp(log_t), axis=1)
        return float(-np.log(np.maximum(proba[np.arange(len(target)), target], 1e-12)).mean())

    found: Any = minimize_scalar(loss, bounds=(np.log(0.01), np.log(100)), method="bounded")
    return float(np.exp(found.x))
