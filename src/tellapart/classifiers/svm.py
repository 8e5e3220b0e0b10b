"""Support vector machine with an RBF or linear kernel and temperature scaling.

libsvm fits, with a kernel matrix computed once by one matrix product. Prediction is our own code: the kernel of a block of
images with all support vectors is one product too, while libsvm works image by image. One-vs-one decisions are merged into one
value per class as in scikit-learn (`sklearn.utils.multiclass._ovr_decision_function`: votes plus squashed confidences), and
softmax(t · decision) gives probabilities. t is fitted on the validation split by log loss (Guo et al. 2017, "On Calibration of
Modern Neural Networks"); it does not change the predicted class.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field
from safetensors.numpy import load_file
from scipy.special import softmax

from tellapart.classifiers._temperature import temperature
from tellapart.classifiers.feature_classifier import FeatureClassifier, FeatureSet, run_parallel
from tellapart.io import write_arrays
from tellapart.recipe.schema import OptionsModel

_HELD = 12_500  # training images up to which the kernel matrix is stored: 1.25 GB in double precision; else libsvm's cache
_ROWS = 2_048  # rows predicted at a time


class SVM(FeatureClassifier):
    """C-support vector classification, one-vs-one."""

    class Options(OptionsModel):
        """Options of `family: svm`."""

        C: float = Field(default=10.0, gt=0, description="inverse regularization: cost of a margin violation")
        kernel: Literal["rbf", "linear"] = Field(default="rbf", description="kernel")
        gamma: float | Literal["scale"] = Field(
            default="scale", description="coefficient of the RBF kernel; scale: 1 / (features × variance)"
        )
        balanced: bool = Field(default=False, description="weight classes inversely to their frequency")

    options: Options

    def _fit_vectors(self, X: np.ndarray, y: np.ndarray, X_valid: np.ndarray, y_valid: np.ndarray) -> None:
        width = _width(self.options, X)
        self._fit_machine(X, y, width, _held(X, self.options.kernel, width))
        self._fit_temperature(self._decisions(X_valid), y_valid)

    @classmethod
    def _fit_many(cls, candidates: Sequence[SVM], vectors: FeatureSet) -> Iterator[tuple[int, float, Any]]:
        """See `FeatureClassifier`. Candidates with equal kernels share the kernel matrix and are fitted in parallel."""
        v, widths = vectors, [_width(c.options, vectors.X) for c in candidates]
        for key in dict.fromkeys((c.options.kernel, w) for c, w in zip(candidates, widths, strict=True)):
            places = [i for i, c in enumerate(candidates) if (c.options.kernel, widths[i]) == key]
            held = _held(v.X, *key)
            held_valid = None if held is None else _kernel(v.X_valid, v.X, *key)

            def work(one: SVM, held: Any = held, held_valid: Any = held_valid, width: float = key[1]) -> Any:
                columns = one._fit_machine(v.X, v.y, width, held)
                if held is None:
                    train, valid = one._decisions(v.X), one._decisions(v.X_valid)
                else:
                    train, valid = one._decide(held[:, columns]), one._decide(held_valid[:, columns])
                one._fit_temperature(valid, v.y_valid)
                return one._soften(train), one._soften(valid)

            for place, seconds, proba in run_parallel(work, [candidates[i] for i in places]):
                yield places[place], seconds, proba

    def _fit_machine(self, X: np.ndarray, y: np.ndarray, width: Any, kernel: np.ndarray | None) -> np.ndarray:
        """Fit, with the kernel matrix (N, N) of the training images if it is stored; returns the support vector rows."""
        from sklearn.svm import SVC

        o = self.options
        seen, counts = np.unique(y, return_counts=True)
        self.arrays = {"gamma": np.array([width]), "temperature": np.ones(1), "seen": seen, "counts": counts}
        if len(seen) == 1:
            return np.arange(0)
        name, weight = o.kernel if kernel is None else "precomputed", "balanced" if o.balanced else None
        machine: Any = SVC(C=o.C, kernel=name, gamma=width, class_weight=weight, cache_size=2000)
        machine.fit(X.astype(np.float64) if kernel is None else kernel, y)
        self.arrays |= {
            "vectors": X[machine.support_].astype(np.float64),
            "dual": machine.dual_coef_,
            "intercept": machine.intercept_,
            "support": machine.n_support_.astype(np.int64),
        }
        return machine.support_

    def _fit_temperature(self, decision: np.ndarray, labels: np.ndarray) -> None:
        self.arrays["temperature"] = np.array([temperature(decision, labels)])

    def _predict_vectors(self, X: np.ndarray) -> np.ndarray:
        return self._soften(self._decisions(X))

    def _decisions(self, X: np.ndarray) -> np.ndarray:
        """Decision values, (N, D) → (N, C) float64, in blocks: the kernel of all rows would be large."""
        starts = range(0, max(1, len(X)), _ROWS)
        return np.concatenate([self._decide(self._kernel_with_support(X[start : start + _ROWS])) for start in starts])

    def _kernel_with_support(self, X: np.ndarray) -> np.ndarray:
        """Kernel with the support vectors, (N, D) → (N, S) float64."""
        a = self.arrays
        return _kernel(X, a["vectors"], self.options.kernel, a["gamma"][0]) if "vectors" in a else np.empty((len(X), 0))

    def _soften(self, decision: np.ndarray) -> np.ndarray:
        return softmax(decision * self.arrays["temperature"][0], axis=1)

    def _decide(self, kernel: np.ndarray) -> np.ndarray:
        """Decision values from the kernel (N, S): (N, C) float64, −inf for classes without training images."""
        seen = self.arrays["seen"]
        decision = np.full((len(kernel), len(self.classes)), -np.inf)
        if len(seen) == 1:
            decision[:, seen] = 0.0
        elif len(kernel):
            pairs = self._pair_decisions(kernel)
            decision[:, seen] = np.hstack([-pairs, pairs]) if len(seen) == 2 else _merge_pairs(pairs, len(seen))
        return decision

    def _pair_decisions(self, kernel: np.ndarray) -> np.ndarray:
        """One-vs-one decisions in libsvm's order (0-1, 0-2, …, 1-2, …), positive for the first class: (N, C(C−1)/2).

        For two classes, positive means the second class, as in scikit-learn's `decision_function`.
        """
        a = self.arrays
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
        """Number of values of the support vectors and of their coefficients."""
        return sum(int(self.arrays[k].size) for k in ("vectors", "dual", "intercept") if k in self.arrays)

    def _save_model(self, folder: Path) -> None:
        write_arrays(folder / "weights.safetensors", self.arrays)

    def _load_model(self, folder: Path) -> None:
        self.arrays = load_file(folder / "weights.safetensors")


def _width(options: SVM.Options, X: np.ndarray) -> float:
    return options.gamma if options.gamma != "scale" else 1 / max(X.shape[1] * float(X.var(dtype=np.float64)), 1e-12)


def _held(X: np.ndarray, name: str, width: float) -> np.ndarray | None:
    """The kernel matrix of the training images, unless it is too large to store."""
    return _kernel(X, X, name, width) if len(X) <= _HELD else None


def _kernel(X: np.ndarray, vectors: np.ndarray, name: str, width: float) -> np.ndarray:
    """Kernel of (N, D) and (S, D): (N, S) float64."""
    X, vectors = X.astype(np.float64), vectors.astype(np.float64)
    kernel = X @ vectors.T
    if name == "rbf":
        kernel *= 2
        kernel -= np.einsum("ij,ij->i", X, X)[:, None]
        kernel -= np.einsum("ij,ij->i", vectors, vectors)
        kernel *= width
        np.exp(kernel, out=kernel)
    return kernel


def _merge_pairs(pairs: np.ndarray, classes: int) -> np.ndarray:
    """Merge one-vs-one decisions (N, C(C−1)/2), positive for the first class, into (N, C): votes + confidence in (−1/3,
    1/3).
    """
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
