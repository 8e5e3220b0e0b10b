"""Calibration maps: fitted on the validation split and applied to all predicted probabilities.

Each map is a small frozen object: `fit(proba, labels)` creates it, calling it maps (N, C) probabilities to calibrated ones, and
`to_dict` and `read` convert it to and from JSON. A map must not be evaluated on the labels that it was fitted to: fit on
validation, never on test.

| name | p′ | parameters | preserves the order of images |
| --- | --- | --- | --- |
| temperature | softmax(ln p / T) | 1 | two classes |
| platt | softmax(a ln p + b), one a and C offsets b; two classes: σ(a log-odds + b), Platt's | C | two classes |
| vector | softmax(w ⊙ ln p + b) | 2C − 1 | no |
| isotonic | a piecewise linear increasing function of p for each class, normalized rows | many | two classes, but creates ties
|
| beta | σ(a ln p − b ln(1−p) + c) for each class, a, b ≥ 0, normalized rows | 3C | two classes |

All but temperature and isotonic are fitted to Platt's targets, (n+1)/(n+C) for the true class with n images and 1/(n+C) for the
others, instead of 1 and 0, so that they do not become fully confident if there are no errors on validation.

Sources:
    Platt (1999), "Probabilistic outputs for support vector machines and comparisons to regularized likelihood methods".
    Zadrozny & Elkan (2002), "Transforming classifier scores into accurate multiclass probability estimates" (isotonic).
    Guo, Pleiss, Sun & Weinberger (2017), "On calibration of modern neural networks" (temperature, vector).
    Kull, Silva Filho & Flach (2017), "Beta calibration".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_softmax, softmax

from tellapart.errors import DataError, unknown_name
from tellapart.metrics.probabilistic import CLIP

_LOWEST_TEMPERATURE, _HIGHEST_TEMPERATURE = 0.02, 50.0
_STEEPEST = 100.0


class Calibration(Protocol):
    """Interface of all calibration maps."""

    name: ClassVar[str]

    @classmethod
    def fit(cls, proba: np.ndarray, labels: np.ndarray) -> Self:
        """Fit to (N, C) float probabilities and (N,) int64 labels of the validation split."""
        ...

    def __call__(self, proba: np.ndarray) -> np.ndarray:
        """Calibrate probabilities: (N, C) float → (N, C) float32, rows sum to 1."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible values, including `name`."""
        ...


@dataclass(frozen=True)
class Temperature:
    """Temperature scaling: softmax(ln p / T), T > 1 if the classifier is overconfident. T in [0.02, 50] minimizes the log-loss.

    >>> proba = np.array([[.9, .1], [.9, .1], [.9, .1], [.1, .9]])
    >>> scaling = Temperature.fit(proba, np.array([0, 0, 1, 1]))
    >>> round(scaling.temperature, 3), scaling(np.array([[.9, .1]])).round(3).tolist()
    (2.0, [[0.75, 0.25]])
    """

    temperature: float
    name: ClassVar[str] = "temperature"

    @classmethod
    def fit(cls, proba: np.ndarray, labels: np.ndarray) -> Self:
        """Fit by a bounded search over ln T. See `Calibration.fit`."""
        logs, rows = _checked_logs(proba, labels), np.arange(len(labels))
        bounds = (np.log(_LOWEST_TEMPERATURE), np.log(_HIGHEST_TEMPERATURE))
        found: Any = minimize_scalar(
            lambda heat: -log_softmax(logs * np.exp(-heat), axis=1)[rows, labels].mean(),
            bounds=bounds,
            method="bounded",
            options={"xatol": 1e-9},
        )
        return cls(float(np.exp(found.x)))

    def __call__(self, proba: np.ndarray) -> np.ndarray:
        """See `Calibration.__call__`."""
        return softmax(_logs(proba) / self.temperature, axis=1).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"name": self.name, "temperature": self.temperature}


@dataclass(frozen=True)
class Platt:
    """Platt scaling: softmax(a ln p + b) with one slope and an offset per class (the first is 0).

    For two classes it is Platt's sigmoid of the log-odds.

    >>> proba = np.array([[.8, .2], [.6, .4], [.3, .7], [.1, .9]])
    >>> scaling = Platt.fit(proba, np.array([0, 0, 1, 1]))
    >>> scaling(proba)[:, 1].round(2)
    array([0.22, 0.37, 0.6 , 0.81], dtype=float32)
    """

    slope: float
    offsets: tuple[float, ...]
    name: ClassVar[str] = "platt"

    @classmethod
    def fit(cls, proba: np.ndarray, labels: np.ndarray) -> Self:
        """Fit by minimizing the log-loss against Platt's targets. See `Calibration.fit`."""
        logs = _checked_logs(proba, labels)
        classes = logs.shape[1]
        targets = _targets(labels, classes)

        def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
            value, error = _cross_entropy(x[0] * logs + np.append(0, x[1:]), targets)
            return value, np.append(np.sum(error * logs), error.sum(axis=0)[1:])

        x = _minimum(loss, np.append(1.0, np.zeros(classes - 1)), [(0.0, _STEEPEST)] + [(None, None)] * (classes - 1))
        return cls(float(x[0]), (0.0, *(float(b) for b in x[1:])))

    def __call__(self, proba: np.ndarray) -> np.ndarray:
        """See `Calibration.__call__`."""
        return softmax(self.slope * _logs(proba) + np.array(self.offsets), axis=1).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"name": self.name, "slope": self.slope, "offsets": list(self.offsets)}


@dataclass(frozen=True)
class Vector:
    """Vector scaling: softmax(w ⊙ ln p + b) with a slope and an offset per class (the first offset is 0).

    >>> Vector((1.0, 1.0), (0.0, 0.0))(np.array([[.8, .2]])).round(3)
    array([[0.8, 0.2]], dtype=float32)
    """

    slopes: tuple[float, ...]
    offsets: tuple[float, ...]
    name: ClassVar[str] = "vector"

    @classmethod
    def fit(cls, proba: np.ndarray, labels: np.ndarray) -> Self:
        """Fit by minimizing the log-loss against Platt's targets. See `Calibration.fit`."""
        logs = _checked_logs(proba, labels)
        classes = logs.shape[1]
        targets = _targets(labels, classes)

        def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
            value, error = _cross_entropy(x[:classes] * logs + np.append(0, x[classes:]), targets)
            return value, np.append(np.sum(error * logs, axis=0), error.sum(axis=0)[1:])

        start = np.append(np.ones(classes), np.zeros(classes - 1))
        x = _minimum(loss, start, [(0.0, _STEEPEST)] * classes + [(None, None)] * (classes - 1))
        return cls(tuple(float(w) for w in x[:classes]), (0.0, *(float(b) for b in x[classes:])))

    def __call__(self, proba: np.ndarray) -> np.ndarray:
        """See `Calibration.__call__`."""
        return softmax(np.array(self.slopes) * _logs(proba) + np.array(self.offsets), axis=1).astype(np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"name": self.name, "slopes": list(self.slopes), "offsets": list(self.offsets)}


@dataclass(frozen=True)
class Isotonic:
    """Isotonic regression per class: an increasing function, linear between its knots, constant beyond them.

    Rows that are mapped to zero for all classes keep their original probabilities.

    Attributes:
        knots: Original p, increasing, and calibrated p of each class (with two classes: of the second only).

    >>> calibration = Isotonic.fit(np.array([[.8, .2], [.6, .4], [.4, .6], [.1, .9]]), np.array([0, 1, 0, 1]))
    >>> calibration(np.array([[.5, .5], [.05, .95]])).tolist()
    [[0.5, 0.5], [0.0, 1.0]]
    """

    knots: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]
    name: ClassVar[str] = "isotonic"

    @classmethod
    def fit(cls, proba: np.ndarray, labels: np.ndarray) -> Self:
        """Fit by pooling adjacent violators. See `Calibration.fit`."""
        from sklearn.isotonic import IsotonicRegression

        _checked_logs(proba, labels)
        knots = []
        for c in _fitted_classes(proba.shape[1]):
            line = IsotonicRegression(y_min=0, y_max=1).fit(proba[:, c].astype(np.float64), labels == c)
            knots.append((tuple(line.X_thresholds_.tolist()), tuple(line.y_thresholds_.tolist())))
        return cls(tuple(knots))

    def __call__(self, proba: np.ndarray) -> np.ndarray:
        """See `Calibration.__call__`."""
        columns = [np.interp(proba[:, c], *line) for c, line in zip(_fitted_classes(proba.shape[1]), self.knots, strict=True)]
        return _one_against_rest(columns, proba)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"name": self.name, "knots": [[list(values) for values in line] for line in self.knots]}


@dataclass(frozen=True)
class Beta:
    """Beta calibration, one class against the rest: σ(a ln p − b ln(1−p) + c) with a, b ≥ 0.

    Attributes:
        curves: a, b, c of each class (with two classes: of the second only).

    >>> Beta(((1.0, 1.0, 0.0),))(np.array([[.8, .2]])).round(3)
    array([[0.8, 0.2]], dtype=float32)
    """

    curves: tuple[tuple[float, float, float], ...]
    name: ClassVar[str] = "beta"

    @classmethod
    def fit(cls, proba: np.ndarray, labels: np.ndarray) -> Self:
        """Fit by logistic regression on ln p and −ln(1−p) against Platt's targets. See `Calibration.fit`."""
        _checked_logs(proba, labels)
        bounds = [(0.0, _STEEPEST), (0.0, _STEEPEST), (None, None)]
        curves = []
        for c in _fitted_classes(proba.shape[1]):
            features, target = _beta_features(proba[:, c]), _targets((labels == c).astype(np.int64), 2)
            curves.append(tuple(_minimum(_logistic_loss(features, target), np.array([1.0, 1.0, 0.0]), bounds).tolist()))
        return cls(tuple(curves))

    def __call__(self, proba: np.ndarray) -> np.ndarray:
        """See `Calibration.__call__`."""
        pairs = zip(_fitted_classes(proba.shape[1]), self.curves, strict=True)
        return _one_against_rest([expit(_beta_features(proba[:, c]) @ np.array(curve)) for c, curve in pairs], proba)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"name": self.name, "curves": [list(curve) for curve in self.curves]}


#: All calibration maps by name.
CALIBRATIONS: dict[str, type[Temperature | Platt | Vector | Isotonic | Beta]] = {
    kind.name: kind for kind in (Temperature, Platt, Vector, Isotonic, Beta)
}


def find(name: str) -> type[Temperature | Platt | Vector | Isotonic | Beta]:
    """Find a calibration map by name.

    >>> find("beta").__name__
    'Beta'
    """
    if name not in CALIBRATIONS:
        raise DataError(unknown_name("calibration", name, CALIBRATIONS))
    return CALIBRATIONS[name]


def read(data: Mapping[str, Any]) -> Temperature | Platt | Vector | Isotonic | Beta:
    """Read a calibration map from the result of `to_dict`.

    >>> read({"name": "temperature", "temperature": 1.5})
    Temperature(temperature=1.5)
    """
    return find(data["name"])(**{key: _frozen(value) for key, value in data.items() if key != "name"})


# --- helpers ----------------------------------------------------------------------------------------------------------


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _logs(proba: np.ndarray) -> np.ndarray:
    return np.log(np.clip(proba.astype(np.float64), CLIP, 1))


def _fitted_classes(classes: int) -> range:
    """Classes with a fitted curve; of two classes only the second, as the first is its complement."""
    return range(1, 2) if classes == 2 else range(classes)


def _checked_logs(proba: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Check the data and return the log-probabilities."""
    if not len(labels):
        raise DataError("there are no images to calibrate on", hint="give the validation split")
    if proba.shape[0] != len(labels) or not np.isfinite(proba).all():
        raise DataError(f"expected {len(labels)} rows of finite probabilities to calibrate on, got shape {proba.shape}")
    if labels.min() < 0 or labels.max() >= proba.shape[1]:
        raise DataError(
            f"calibration needs a label from 0 to {proba.shape[1] - 1} for every image", hint="exclude unlabeled images"
        )
    if len(np.unique(labels)) < 2:
        raise DataError("calibration needs images of at least two classes; all images are of one class")
    return _logs(proba)


def _targets(labels: np.ndarray, classes: int) -> np.ndarray:
    """Platt's targets: (n+1)/(n+C) for the true class with n images, 1/(n+C) for each other class: (N, C) float64."""
    n = np.bincount(labels, minlength=classes)[labels][:, None]
    return (np.eye(classes)[labels] * n + 1) / (n + classes)


def _cross_entropy(logits: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean of −Σ t ln softmax, and its gradient with respect to the logits, (N, C)."""
    logs = log_softmax(logits, axis=1)
    return float(-np.sum(targets * logs) / len(logits)), (np.exp(logs) - targets) / len(logits)


def _logistic_loss(features: np.ndarray, targets: np.ndarray) -> Any:
    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, error = _cross_entropy(np.stack([np.zeros(len(features)), features @ x], axis=1), targets)
        return value, error[:, 1] @ features

    return loss


def _minimum(loss: Any, start: np.ndarray, bounds: list[tuple[float | None, float | None]]) -> np.ndarray:
    options = {"maxiter": 2000, "ftol": 1e-15, "gtol": 1e-9}
    return minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x


def _beta_features(p: np.ndarray) -> np.ndarray:
    p = np.clip(p.astype(np.float64), CLIP, 1 - CLIP)
    return np.stack([np.log(p), -np.log1p(-p), np.ones(len(p))], axis=1)


def _one_against_rest(columns: list[np.ndarray], proba: np.ndarray) -> np.ndarray:
    """Normalized rows from one column per class, or from the column of the second of two classes."""
    found = np.stack([1 - columns[0], columns[0]] if len(columns) == 1 else columns, axis=1)
    whole = found.sum(axis=1, keepdims=True)
    return np.where(whole > 0, found / np.where(whole > 0, whole, 1), proba).astype(np.float32)
