"""Numbers drawn from a range, one an image."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import AfterValidator, Field
from torch import Tensor


def _ascending(value: tuple[Any, Any]) -> tuple[Any, Any]:
    if value[0] > value[1]:
        raise ValueError("the first number must not be larger than the second")
    return value


_NonNegative = Annotated[float, Field(ge=0)]
_Positive = Annotated[float, Field(gt=0)]
_Share = Annotated[float, Field(gt=0, le=1)]
_Quality = Annotated[int, Field(ge=1, le=100)]
_Count = Annotated[int, Field(ge=1, le=9)]
#: [low, high] of an option.
Range = Annotated[tuple[_NonNegative, _NonNegative], AfterValidator(_ascending)]
PositiveRange = Annotated[tuple[_Positive, _Positive], AfterValidator(_ascending)]
ShareRange = Annotated[tuple[_Share, _Share], AfterValidator(_ascending)]
#: [low, high] in whole numbers, both included.
QualityRange = Annotated[tuple[_Quality, _Quality], AfterValidator(_ascending)]
CountRange = Annotated[tuple[_Count, _Count], AfterValidator(_ascending)]


def uniform(low: float, high: float, count: int, generator: torch.Generator) -> Tensor:
    """(count,) float32 between low and high."""
    return torch.rand(count, generator=generator) * (high - low) + low


def log_uniform(ends: tuple[float, float], shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """float32 between two ends, their logarithms evenly: 1/2 … 1 as often as 1 … 2."""
    low, high = map(math.log, ends)
    return (torch.rand(shape, generator=generator) * (high - low) + low).exp()


def randint(low: int, high: int, count: int, generator: torch.Generator) -> Tensor:
    """(count,) int64 from low to high, both included."""
    return torch.randint(low, high + 1, (count,), generator=generator)


def beta(alpha: float, count: int, generator: torch.Generator) -> Tensor:
    """(count,) float32 from Beta(alpha, alpha). By numpy, seeded: torch's own cannot be given a generator."""
    seed = int(torch.randint(2**62, (), generator=generator))
    return torch.from_numpy(np.random.default_rng(seed).beta(alpha, alpha, count).astype(np.float32))
