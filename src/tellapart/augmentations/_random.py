"""Random numbers from a range, one per image."""

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
#: Value of an option: [low, high].
Range = Annotated[tuple[_NonNegative, _NonNegative], AfterValidator(_ascending)]
PositiveRange = Annotated[tuple[_Positive, _Positive], AfterValidator(_ascending)]
ShareRange = Annotated[tuple[_Share, _Share], AfterValidator(_ascending)]
#: Value of an option: [low, high], integers, both included.
QualityRange = Annotated[tuple[_Quality, _Quality], AfterValidator(_ascending)]
CountRange = Annotated[tuple[_Count, _Count], AfterValidator(_ascending)]


def uniform(low: float, high: float, count: int, generator: torch.Generator) -> Tensor:
    """Uniform random numbers between low and high: (count,) float32."""
    return torch.rand(count, generator=generator) * (high - low) + low


def log_uniform(ends: tuple[float, float], shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Log-uniform random numbers between low and high, float32: 1/2 … 1 is as likely as 1 … 2."""
    low, high = map(math.log, ends)
    return (torch.rand(shape, generator=generator) * (high - low) + low).exp()


def randint(low: int, high: int, count: int, generator: torch.Generator) -> Tensor:
    """Uniform random integers from low to high, both included: (count,) int64."""
    return torch.randint(low, high + 1, (count,), generator=generator)


def beta(alpha: float, count: int, generator: torch.Generator) -> Tensor:
    """Random numbers from Beta(alpha, alpha): (count,) float32. By numpy, since torch's function accepts no generator."""
    seed = int(torch.randint(2**62, (), generator=generator))
    return torch.from_numpy(np.random.default_rng(seed).beta(alpha, alpha, count).astype(np.float32))
