"""The calibration maps of `calibration.maps` and the combiners of `combiners`, as torch modules that an exporter can trace.

The fitted values come from the originals; only the formulas are repeated. `tests/exporters/test_maps.py` compares each module
with its original.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tellapart.calibration import maps
from tellapart.combiners.base import CLIP, Combiner, Weighting
from tellapart.combiners.confident import Confident
from tellapart.combiners.geometric_mean import GeometricMean
from tellapart.combiners.mean import Mean
from tellapart.combiners.rank import Rank, quantile_function
from tellapart.combiners.stack import Stack
from tellapart.combiners.vote import Vote
from tellapart.errors import RunError
from tellapart.metrics.probabilistic import CLIP as LOWEST


class CalibrationModule(nn.Module, ABC):
    """A calibration map."""

    @abstractmethod
    def forward(self, proba: Tensor) -> Tensor:
        """(B, C) float32 → (B, C) float64."""


class CombinerModule(nn.Module, ABC):
    """A combiner."""

    @abstractmethod
    def forward(self, members: Tensor) -> Tensor:
        """(K, B, C) float32 → (B, C) float64; no row is all zero."""


def calibration_module(fitted: Any) -> CalibrationModule:
    """The module of a fitted calibration map.

    Raises:
        RunError: This map cannot be exported.
    """
    if isinstance(fitted, maps.Temperature):
        return _Softmax(1 / fitted.temperature, 0.0)
    if isinstance(fitted, maps.Platt):
        return _Softmax(fitted.slope, fitted.offsets)
    if isinstance(fitted, maps.Vector):
        return _Softmax(fitted.slopes, fitted.offsets)
    if isinstance(fitted, maps.Isotonic):
        return _OneAgainstRest([_Line(*line) for line in fitted.knots])
    if isinstance(fitted, maps.Beta):
        return _OneAgainstRest([_BetaCurve(*curve) for curve in fitted.curves])
    raise RunError(f"the calibration {fitted.name} cannot be written as a graph", hint="export the run that was calibrated")


def combiner_module(combiner: Combiner) -> CombinerModule:
    """The module of a fitted combiner.

    Raises:
        RunError: This combiner cannot be exported.
    """
    if isinstance(combiner, Weighting):
        weights = combiner.weights
        return _WeightedMean(None if weights is None else weights[weights != 0])  # members of weight 0 are not in the module
    if isinstance(combiner, Mean) or (isinstance(combiner, Rank | Stack) and not combiner.arrays):
        return _WeightedMean(None)
    if isinstance(combiner, GeometricMean):
        return _LogOdds()
    if isinstance(combiner, Vote):
        return _Vote()
    if isinstance(combiner, Confident):
        return _Confident(combiner.options.sure, combiner.options.share)
    if isinstance(combiner, Rank):
        return _MeanRank(combiner.arrays["sorted"])
    if isinstance(combiner, Stack) and combiner.estimator is None:
        return _Logistic(combiner.arrays)
    hint = "combine the members again with --how mean, weighted, greedy, log_odds, vote, confident, rank or a logistic stack"
    raise RunError(f"the combiner {type(combiner).__name__.lower()} cannot be written as a graph", hint=hint)


class PriorCorrection(CalibrationModule):
    """p′ ∝ p · prior / seen, as `calibration.decision` computes it."""

    def __init__(self, seen: Any, prior: Any) -> None:
        super().__init__()
        self.prior = _kept(self, "prior", prior)
        self.ratio = _kept(self, "ratio", np.asarray(prior) / np.asarray(seen))

    def forward(self, proba: Tensor) -> Tensor:
        """See `CalibrationModule`."""
        found = proba.double() * self.ratio
        whole = found.sum(1, keepdim=True)
        return torch.where(whole > 0, found / torch.where(whole > 0, whole, 1.0), self.prior)


class _Softmax(CalibrationModule):
    """softmax(w ln p + b)."""

    def __init__(self, slopes: Any, offsets: Any) -> None:
        super().__init__()
        self.slopes, self.offsets = _kept(self, "slopes", slopes), _kept(self, "offsets", offsets)

    def forward(self, proba: Tensor) -> Tensor:
        """See `CalibrationModule`."""
        return (proba.double().clamp(LOWEST, 1).log() * self.slopes + self.offsets).softmax(1)


class _OneAgainstRest(CalibrationModule):
    """A curve for each class, or for the second of two; rows that become all zero are left unchanged."""

    def __init__(self, curves: list[nn.Module]) -> None:
        super().__init__()
        self.curves = nn.ModuleList(curves)

    def forward(self, proba: Tensor) -> Tensor:
        """See `CalibrationModule`."""
        proba = proba.double()
        if len(self.curves) == 1:
            second = self.curves[0](proba[:, 1])
            found = torch.stack([1 - second, second], 1)
        else:
            found = torch.stack([curve(proba[:, c]) for c, curve in enumerate(self.curves)], 1)
        whole = found.sum(1, keepdim=True)
        return torch.where(whole > 0, found / torch.where(whole > 0, whole, 1.0), proba)


class _Line(nn.Module):
    """`numpy.interp`: linear between the knots, constant outside."""

    def __init__(self, xs: Any, ys: Any) -> None:
        super().__init__()
        xs, ys = (np.asarray(of, dtype=np.float64) for of in (xs, ys))
        self.lows, self.widths = _kept(self, "lows", xs[:-1]), _kept(self, "widths", np.diff(xs))
        self.start, self.rises = _kept(self, "start", ys[:1]), _kept(self, "rises", np.diff(ys))

    def forward(self, x: Tensor) -> Tensor:
        """(B,) float64 → (B,) float64."""
        share = ((x[:, None] - self.lows) / self.widths).clamp(0, 1)
        return self.start + (share * self.rises).sum(1)


class _BetaCurve(nn.Module):
    """σ(a ln p − b ln(1−p) + c)."""

    def __init__(self, a: float, b: float, c: float) -> None:
        super().__init__()
        self.a, self.b, self.c = a, b, c

    def forward(self, p: Tensor) -> Tensor:
        """(B,) float64 → (B,) float64."""
        p = p.clamp(LOWEST, 1 - LOWEST)
        return (self.a * p.log() - self.b * (1 - p).log() + self.c).sigmoid()


class _WeightedMean(CombinerModule):
    def __init__(self, weights: np.ndarray | None) -> None:
        super().__init__()
        self.weights = None if weights is None else _kept(self, "weights", np.asarray(weights)[:, None, None])

    def forward(self, members: Tensor) -> Tensor:
        """See `CombinerModule`."""
        return members.double().mean(0) if self.weights is None else (members.double() * self.weights).sum(0)


class _LogOdds(CombinerModule):
    def forward(self, members: Tensor) -> Tensor:
        """See `CombinerModule`."""
        return members.double().clamp(CLIP, 1).log().mean(0).softmax(1)


class _Vote(CombinerModule):
    def forward(self, members: Tensor) -> Tensor:
        """See `CombinerModule`."""
        votes = (members.argmax(2, keepdim=True) == torch.arange(members.shape[2])).double()
        return votes.sum(0) + members.double().mean(0) / 2


class _Confident(CombinerModule):
    def __init__(self, sure: float, share: float) -> None:
        super().__init__()
        self.sure, self.share = sure, share

    def forward(self, members: Tensor) -> Tensor:
        """See `CombinerModule`."""
        sure = (members >= self.sure).double()
        counts = sure.sum(0)
        most = counts.amax(1, keepdim=True)
        alone = (counts == most).double().sum(1, keepdim=True) == 1
        chosen = (counts.argmax(1, keepdim=True) == torch.arange(members.shape[2])).double()
        them = (sure * chosen).sum(2, keepdim=True)
        theirs = (them * members.double()).sum(0) / most.clamp(min=1)
        return torch.where((most >= self.share * members.shape[0]) & alone, theirs, members.double().mean(0))


class _MeanRank(CombinerModule):
    """Converts probabilities to ranks by each member's scale, and the mean rank back by the mean of the scales."""

    def __init__(self, ordered: np.ndarray) -> None:
        super().__init__()
        scales = [[quantile_function(of[:, c]) for of in ordered] for c in range(ordered.shape[2])]
        self.ranks = nn.ModuleList(nn.ModuleList(_Line(*scale) for scale in of) for of in scales)
        self.values = nn.ModuleList(nn.ModuleList(_Line(*scale[::-1]) for scale in of) for of in scales)

    def forward(self, members: Tensor) -> Tensor:
        """See `CombinerModule`."""
        found = []
        for c, (ranks, values) in enumerate(zip(self.ranks, self.values, strict=True)):
            rank = torch.stack([line(member) for line, member in zip(ranks, members[:, :, c].double(), strict=True)]).mean(0)  # type: ignore[arg-type]
            found.append(torch.stack([line(rank) for line in values]).mean(0))  # type: ignore[union-attr]
        return torch.stack(found, 1) + float(np.finfo(np.float32).tiny)


class _Logistic(CombinerModule):
    """Multinomial logistic stacking on centered log-probabilities; classes without validation images keep the mean."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        super().__init__()
        self.weight, self.bias = _kept(self, "weight", arrays["weight"].T), _kept(self, "bias", arrays["bias"])
        self.seen: list[int] = arrays["seen"].tolist()

    def forward(self, members: Tensor) -> Tensor:
        """See `CombinerModule`."""
        logs = members.double().clamp(CLIP, 1).log()
        features = torch.cat(list(logs - logs.mean(2, keepdim=True)), 1)
        stacked = (features @ self.weight + self.bias).softmax(1)
        mean = members.double().mean(0)
        left = (1 - (mean.sum(1) - sum(mean[:, c] for c in self.seen))).clamp(min=CLIP)
        columns = [mean[:, c] if c not in self.seen else stacked[:, self.seen.index(c)] * left for c in range(mean.shape[1])]
        return torch.stack(columns, 1)


def _kept(module: nn.Module, name: str, values: Any) -> Tensor:
    """Register a float64 constant of the module."""
    module.register_buffer(name, torch.as_tensor(np.ascontiguousarray(values, dtype=np.float64)))
    return module.get_buffer(name)
