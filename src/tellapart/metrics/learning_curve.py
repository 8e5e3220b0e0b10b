"""Accuracy over the number of training images, and a careful guess of what more of them would bring.

Errors of learning often fall as a power of the number of images, e = a · n^(−b) (Cortes et al. 1994, "Learning curves:
asymptotic values and rate of convergence"; Hestness et al. 2017, "Deep learning scaling is predictable, empirically"). Where
such a line goes through the intervals of all sizes it is drawn on; else nothing is said of larger sizes.
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
from tellapart.metrics.intervals import fraction_interval, group_codes, variance_within, wilson
from tellapart.types import Predictions, Score

_FEWEST = 4  # sizes for a fit of two numbers that could also fail


@dataclass(frozen=True)
class Size:
    """One size of the training part.

    Attributes:
        images: Training images; the mean over seeds, as groups may make them differ a little.
        accuracy: The mean over seeds with its interval: by which images are judged on, not by the seed.
        seeds: The accuracy of each seed.
    """

    images: int
    accuracy: Score
    seeds: tuple[float, ...]

    @property
    def sd(self) -> float:
        """The standard deviation over seeds; NaN for one."""
        return float(np.std(self.seeds, ddof=1)) if len(self.seeds) > 1 else math.nan


@dataclass(frozen=True)
class PowerLaw:
    """error = a · images^(−b), fitted to the logarithms, and what it says of twice as many images.

    Attributes:
        a, b: Of the law.
        images: Where it is asked.
        accuracy: There.
        low, high: The least and the most that the law says when any one size is left out of the fit; no 95 % interval.
    """

    a: float
    b: float
    images: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class LearningCurve:
    """What came out.

    Attributes:
        title: Such as "forensic-lda on deepfake5.tar".
        sizes: Rising.
        law: None where none fits; `why` says so.
        why: Why there is no guess; "" where there is.
        notes: What is worth knowing.
        folder: Where the runs lie.
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
        """One row a size."""
        rows = [(s.images, s.accuracy.n, s.accuracy.value, s.accuracy.low, s.accuracy.high, s.sd) for s in self.sizes]
        return pd.DataFrame(rows, columns=["images", "n", "accuracy", "low", "high", "sd"])


def size_of(images: int, predictions: Sequence[Predictions]) -> Size:
    """One size from the answers of its seeds.

    The interval is that of the mean over images of the share of seeds that are right: seeds answer the same images, so they
    do not multiply n.

    Args:
        images: Training images.
        answers: One a seed, on the same images in the same order.

    >>> proba = np.array([[.9, .1]] * 8 + [[.2, .8]] * 2, dtype=np.float32)
    >>> one = Predictions(np.arange(10).astype(str).astype(object), proba, np.zeros(10, np.int64), ("a", "b"))
    >>> str(size_of(100, [one, one]).accuracy)
    '0.800 [0.490, 0.943] n=10'
    """
    if not predictions or not len(predictions[0]):
        raise DataError("there is no validation image to judge by", hint="give the data a validation part")
    right = np.stack([of.predicted == of.labels for of in predictions])
    each, n = right.mean(axis=0), right.shape[1]
    value, codes = float(each.mean()), group_codes(predictions[0].groups)
    if codes is None and bool(np.isin(each, (0, 1)).all()):
        return Size(images, Score(value, n, *wilson(int(each.sum()), n)), tuple(right.mean(axis=1).tolist()))
    codes = np.arange(n) if codes is None else codes
    shares = np.bincount(codes, weights=(each - value) / n)
    one = np.zeros(len(shares), dtype=np.int64)
    interval = fraction_interval(value, variance_within(shares, one), one)
    return Size(images, Score(value, n, *interval), tuple(right.mean(axis=1).tolist()))


def power_law(sizes: Sequence[Size]) -> tuple[PowerLaw | None, str]:
    """The law for twice the largest size, or why there is none.

    It needs four sizes, errors at all of them, a fall (b > 0), and to lie within every interval.

    >>> points = [Size(n, Score(1 - n**-0.5, 900, 1 - 1.1 * n**-0.5, 1 - 0.9 * n**-0.5), (0.5,)) for n in (25, 100, 400, 1600)]
    >>> law, _ = power_law(points)
    >>> round(law.a, 3), round(law.b, 3), law.images, round(law.accuracy, 4)
    (1.0, 0.5, 3200, 0.9823)
    """
    if len(sizes) < _FEWEST:
        return None, f"{len(sizes)} sizes are too few to fit a line that could also fail; {_FEWEST} are needed"
    n = np.array([s.images for s in sizes], dtype=np.float64)
    error = np.array([1 - s.accuracy.value for s in sizes])
    if (error <= 0).any():
        return None, "some size has no error left, so no power of n goes through it"
    a, b = _fit(n, error)
    if b <= 0:
        return None, "the error does not fall with the number of images"
    said = 1 - a * n**-b
    outside = [s.images for s, y in zip(sizes, said, strict=True) if not s.accuracy.low <= y <= s.accuracy.high]
    if outside:
        return None, f"no power of n goes through all intervals (not at {', '.join(f'{i:,}' for i in outside)} images)"
    twice = 2 * sizes[-1].images
    others = [_fit(np.delete(n, i), np.delete(error, i)) for i in range(len(n))]
    guesses = [1 - p * twice**-q for p, q in [*others, (a, b)]]
    return PowerLaw(a, b, twice, 1 - a * twice**-b, min(guesses), max(guesses)), ""


def _fit(n: np.ndarray, error: np.ndarray) -> tuple[float, float]:
    slope, intercept = np.polyfit(np.log(n), np.log(error), 1)
    return float(np.exp(intercept)), float(-slope)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
