"""Learning curve: accuracy as a function of the number of training images, extrapolated if a power law fits.

The error often decreases as a power of the number of images, e = a · n^(−b) (Cortes et al. 1994, "Learning curves: asymptotic
values and rate of convergence"; Hestness et al. 2017, "Deep learning scaling is predictable, empirically"). The curve is
extrapolated only if a power law passes through the intervals of all sizes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tellapart.errors import DataError
from tellapart.metrics.intervals import group_codes, share_interval
from tellapart.types import Predictions, Score

_FEWEST = 4  # sizes: a fit of two parameters to fewer sizes can hardly be rejected


@dataclass(frozen=True)
class Size:
    """Scores for one size of the training split.

    Attributes:
        images: Number of training images; the mean over seeds, as groups may make it vary slightly.
        accuracy: Mean accuracy over seeds. Its interval describes the sampling of validation images, not the seeds.
        seeds: Accuracy of each seed.
    """

    images: int
    accuracy: Score
    seeds: tuple[float, ...]

    @property
    def sd(self) -> float:
        """Standard deviation over seeds; NaN for a single seed."""
        return float(np.std(self.seeds, ddof=1)) if len(self.seeds) > 1 else math.nan


@dataclass(frozen=True)
class PowerLaw:
    """Power law error = a · images^(−b), fitted to the logarithms, and its extrapolation to twice as many images.

    Attributes:
        a, b: Parameters of the power law.
        images: Number of images of the extrapolation.
        accuracy: Extrapolated accuracy.
        low, high: Range of the extrapolated accuracy when each size is omitted from the fit in turn; not a 95 % interval.
    """

    a: float
    b: float
    images: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class LearningCurve:
    """Result of a learning curve.

    Attributes:
        title: A title such as "forensic-lda on deepfake5.tar".
        sizes: The sizes, in increasing order.
        law: The power law; None if none fits.
        why: Why there is no extrapolation; "" if there is one.
        notes: Remarks.
        folder: Folder of the runs.
    """

    title: str
    sizes: tuple[Size, ...]
    law: PowerLaw | None
    why: str
    notes: tuple[str, ...] = ()
    folder: Path = field(default=Path())

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        sizes = [
            {"images": s.images, "accuracy": s.accuracy.to_dict(), "seeds": list(s.seeds), "sd": _finite(s.sd)}
            for s in self.sizes
        ]
        law = None if self.law is None else asdict(self.law)
        return {
            "title": self.title, "sizes": sizes, "law": law, "why": self.why, "notes": list(self.notes),
            "folder": str(self.folder),
        }  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """Table with one row per size."""
        rows = [(s.images, s.accuracy.n, s.accuracy.value, s.accuracy.low, s.accuracy.high, s.sd) for s in self.sizes]
        return pd.DataFrame(rows, columns=["images", "n", "accuracy", "low", "high", "sd"])


def size_of(images: int, predictions: Sequence[Predictions]) -> Size:
    """Score one size from the predictions of its seeds.

    The interval is computed over images, from the share of seeds that are correct on each image: all seeds predict the same
    images, so they do not increase n.

    Args:
        images: Number of training images.
        predictions: One per seed, for the same images in the same order.

    >>> proba = np.array([[.9, .1]] * 8 + [[.2, .8]] * 2, dtype=np.float32)
    >>> one = Predictions(np.arange(10).astype(str).astype(object), proba, np.zeros(10, np.int64), ("a", "b"))
    >>> str(size_of(100, [one, one]).accuracy)
    '0.800 [0.490, 0.943] n=10'
    """
    if not predictions or not len(predictions[0]):
        raise DataError("there are no validation images to evaluate on", hint="add a validation split to the data")
    right = np.stack([p.predicted == p.labels for p in predictions])
    each, n = right.mean(axis=0), right.shape[1]
    interval = share_interval(each, group_codes(predictions[0].groups))
    return Size(images, Score(float(each.mean()), n, *interval), tuple(right.mean(axis=1).tolist()))


def power_law(sizes: Sequence[Size]) -> tuple[PowerLaw | None, str]:
    """Fit a power law and extrapolate it to twice the largest size; returns the law, or None and the reason.

    Requirements: at least four sizes, an error above 0 at each of them, a decreasing error (b > 0), and a fit that lies within
    every interval.

    >>> points = [Size(n, Score(1 - n**-0.5, 900, 1 - 1.1 * n**-0.5, 1 - 0.9 * n**-0.5), (0.5,)) for n in (25, 100, 400, 1600)]
    >>> law, _ = power_law(points)
    >>> round(law.a, 3), round(law.b, 3), law.images, round(law.accuracy, 4)
    (1.0, 0.5, 3200, 0.9823)
    """
    if len(sizes) < _FEWEST:
        return None, f"{len(sizes)} sizes are too few to test the fit of a power law; at least {_FEWEST} are needed"
    n = np.array([s.images for s in sizes], dtype=np.float64)
    error = np.array([1 - s.accuracy.value for s in sizes])
    if (error <= 0).any():
        return None, "the error is 0 at some size, so no power law fits"
    a, b = _fit(n, error)
    if b <= 0:
        return None, "the error does not decrease with the number of images"
    fitted = 1 - a * n**-b
    outside = [s.images for s, y in zip(sizes, fitted, strict=True) if not s.accuracy.low <= y <= s.accuracy.high]
    if outside:
        at = ", ".join(f"{i:,}" for i in outside)
        return None, f"no power law fits: the fitted curve is outside the interval at {at} images"
    twice = 2 * sizes[-1].images
    others = [_fit(np.delete(n, i), np.delete(error, i)) for i in range(len(n))]
    guesses = [1 - p * twice**-q for p, q in [*others, (a, b)]]
    return PowerLaw(a, b, twice, 1 - a * twice**-b, min(guesses), max(guesses)), ""


def _fit(n: np.ndarray, error: np.ndarray) -> tuple[float, float]:
    slope, intercept = np.polyfit(np.log(n), np.log(error), 1)
    return float(np.exp(intercept)), float(-slope)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
