"""Support vector machine, RBF or linear kernel; decisions become probabilities by one temperature.

libsvm fits, from a kernel computed once by one matrix product; answering is our own: the kernel of a block against all support
vectors is one product too, where libsvm goes image by image. One-vs-one decisions are merged into one value a class as
scikit-learn does (`sklearn.utils.multiclass._ovr_decision_function`: votes plus squashed confidences), and
softmax(t · decision) gives probabilities. t is fitted on the validation part by log loss (Guo et al. 2017, "On Calibration of
Modern Neural Networks"), so the order of classes, and with it every answer, is that of the decisions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field
from safetensors.numpy import load_file, save_file
from scipy.special import softmax

from tellapart.classifiers._temperature import temperature
from tellapart.classifiers.feature_classifier import FeatureClassifier, FeatureSet, run_parallel
from tellapart.recipe.schema import OptionsModel

_HELD = 12_500  # training vectors up to which their kernel is held: 1.25 GB in double precision; beyond, libsvm's cache
_ROWS = 2_048  # answered at a time


class SVM(FeatureClassifier):
    """C-support vector classification."""

    class Options(OptionsModel):
        """Options of `family: svm`."""

        C: float = Field(default=10.0, gt=0, description="price of a margin violation; larger fits harder")
        kernel: Literal["rbf", "linear"] = Field(default="rbf", description="kernel")
        gamma: float | Literal["scale"] = Field(default="scale", description="RBF width; scale: 1 / (features × variance)")
        balanced: bool = Field(default=False, description="weigh classes by the inverse of their size")

    def _fit_vectors(self, X: np.ndarray, y: np.ndarray, X_valid: np.ndarray, y_valid: np.ndarray) -> None:
        width = _width(self.options, X)
        self._fit_machine(X, y, width, _held(X, self.options.kernel, width))
        self._fit_temperature(self._decisions(X_valid), y_valid)

    @classmethod
    def _fit_many(cls, members: Sequence[SVM], vectors: FeatureSet) -> Iterator[tuple[int, float, Any]]:
        """See `FeatureFamily`. Members of one kernel share its matrix, and are fitted side by side."""
        v, widths = vectors, [_width(m.options, vectors.X) for m in members]
        for key in dict.fromkeys((m.options.kernel, w) for m, w in zip(members, widths, strict=True)):
            places = [i for i, m in enumerate(members) if (m.options.kernel, widths[i]) == key]
            held = _held(v.X, *key)
            asked = None if held is None else _kernel(v.X_valid, v.X, *key)

            def work(member: SVM, held: Any = held, asked: Any = asked, width: float = key[1]) -> Any:
                columns = member._fit_machine(v.X, v.y, width, held)
                if held is None:
                    train, valid = member._decisions(v.X), member._decisions(v.X_valid)
                else:
                    train, valid = member._decide(held[:, columns]), member._decide(asked[:, columns])
                member._fit_temperature(valid, v.y_valid)
                return member._soften(train), member._soften(valid)

            for place, seconds, proba in run_parallel(work, [members[i] for i in places]):
                yield places[place], seconds, proba

    def _fit_machine(self, X: np.ndarray, y: np.ndarray, width: Any, kernel: np.ndarray | None) -> np.ndarray:
        """Fit by the kernel of the training vectors (N, N), where it is held; gives the rows of the support vectors."""
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
        """(N, D) → (N, C) float64, a block at a time: the kernel of many rows with many support vectors is large."""
        starts = range(0, max(1, len(X)), _ROWS)
        return np.concatenate([self._decide(self._kernel_with_support(X[start : start + _ROWS])) for start in starts])

    def _kernel_with_support(self, X: np.ndarray) -> np.ndarray:
        """(N, D) → (N, S) float64."""
        a = self.arrays
        return _kernel(X, a["vectors"], self.options.kernel, a["gamma"][0]) if "vectors" in a else np.empty((len(X), 0))

    def _soften(self, decision: np.ndarray) -> np.ndarray:
        return softmax(decision * self.arrays["temperature"][0], axis=1)

    def _decide(self, kernel: np.ndarray) -> np.ndarray:
        """One decision a class from the kernel with the support vectors (N, S): (N, C) float64, −inf for classes not seen."""
        seen = self.arrays["seen"]
        decision = np.full((len(kernel), len(self.classes)), -np.inf)
        if len(seen) == 1:
            decision[:, seen] = 0.0
        elif len(kernel):
            pairs = self._pair_decisions(kernel)
            decision[:, seen] = np.hstack([-pairs, pairs]) if len(seen) == 2 else _merge_pairs(pairs, len(seen))
        return decision

    def _pair_decisions(self, kernel: np.ndarray) -> np.ndarray:
        """One-vs-one decisions in libsvm's order (0-1, 0-2, …, 1-2, …), positive for the first: (N, C(C−1)/2).

        For two classes positive means the second, as in scikit-learn's `decision_function`.
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
        """Values of the support vectors and their weights."""
        return sum(int(self.arrays[k].size) for k in ("vectors", "dual", "intercept") if k in self.arrays)

    def _save_model(self, folder: Path) -> None:
        save_file({k: np.ascontiguousarray(v) for k, v in self.arrays.items()}, folder / "weights.safetensors")

    def _load_model(self, folder: Path) -> None:
        self.arrays = load_file(folder / "weights.safetensors")


def _width(options: Any, X: np.ndarray) -> float:
    return options.gamma if options.gamma != "scale" else 1 / max(X.shape[1] * float(X.var(dtype=np.float64)), 1e-12)


def _held(X: np.ndarray, name: str, width: float) -> np.ndarray | None:
    """The kernel of the training vectors, where it is not too large to be held."""
    return _kernel(X, X, name, width) if len(X) <= _HELD else None


def _kernel(X: np.ndarray, vectors: np.ndarray, name: str, width: float) -> np.ndarray:
    """(N, D) and (S, D) → (N, S) float64."""
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
