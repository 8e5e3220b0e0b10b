"""The range test: what it measures on a net whose best rate is known, when it ends, what it suggests."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tellapart.augmentations.base import Pipeline
from tellapart.errors import RecipeError
from tellapart.recipe.schema import Average, Optimizer, Train
from tellapart.training.loop import SplitData
from tellapart.training.lr_range import LrRange, LrRangeResult, lr_range_test
from tellapart.training.setup import open_fabric

_VECTORS = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
_LABELS = (_VECTORS @ torch.linspace(-1, 1, 8) > 0).long().numpy()


def _part(vectors: Tensor = _VECTORS) -> SplitData:
    return SplitData(lambda rows: vectors[rows], _LABELS, 2)


_SPAN = LrRange(1e-4, 1e3, 60)


def _sweep(span: LrRange = _SPAN, *, part: SplitData | None = None, **config: Any) -> LrRangeResult:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    usual = {"batch": 16, "optimizer": Optimizer(name="sgd", lr=0.1)}
    fabric = open_fabric("cpu")
    return lr_range_test(model, part or _part(), Train(**{**usual, **config}), fabric, augment=Pipeline([]), seed=0, span=span)


def _curve(smooth: list[float], per_decade: int = 1) -> LrRangeResult:
    rates = tuple(10.0 ** (i / per_decade - 5) for i in range(len(smooth)))
    return LrRangeResult(rates, tuple(smooth), tuple(smooth), "", {})


def test_the_loss_falls_then_explodes_and_the_suggestion_lies_between() -> None:
    sweep = _sweep()
    assert len(sweep.rates) < 60 and ("×" in sweep.ended or "finite" in sweep.ended)
    assert sweep.rates[0] == pytest.approx(1e-4)
    ratios = np.diff(np.log(sweep.rates))
    np.testing.assert_allclose(ratios, ratios[0])
    assert min(sweep.smooth) < 0.9 * sweep.smooth[0] < sweep.smooth[-1]
    assert sweep.peak is not None and sweep.steepest is not None and sweep.lowest is not None
    assert 1e-3 < sweep.peak < sweep.rates[-1] / 10 and 1e-3 < sweep.steepest <= sweep.lowest


def test_the_peak_does_not_depend_on_the_rate_of_the_recipe() -> None:
    """The rate that is written down is the rate that is used: SGD at 1e-9 … learns nothing, whatever the recipe's rate."""
    assert _sweep(optimizer=Optimizer(name="sgd", lr=5.0)).losses == pytest.approx(_sweep().losses, rel=1e-4)
    still = _sweep(LrRange(1e-12, 1e-11, 20), optimizer=Optimizer(name="sgd", lr=5.0), batch=64)
    assert max(still.losses) - min(still.losses) < 1e-5


def test_smoothing_is_corrected_for_its_start() -> None:
    sweep = _sweep(LrRange(1e-12, 1e-11, 20), batch=64)
    assert sweep.smooth == pytest.approx(sweep.losses, abs=1e-5)
    losses, weights = np.array(_sweep().losses[:7]), 0.9 ** np.arange(7)[::-1]
    assert _sweep().smooth[6] == pytest.approx(float((losses * weights).sum() / weights.sum()))


def test_same_seed_same_curve_and_an_average_changes_nothing() -> None:
    assert _sweep(average=Average(name="ema")) == _sweep()


def test_a_loss_that_is_not_finite_ends_it_and_is_left_out() -> None:
    sweep = _sweep(LrRange(1e-2, 1e30, 30), optimizer=Optimizer(name="sgd", lr=0.1), loss="focal")
    assert all(map(math.isfinite, sweep.losses)) and len(sweep.rates) == len(sweep.losses) < 30
    broken = _part(torch.full_like(_VECTORS, math.nan))
    with pytest.raises(RecipeError, match="at the first step"):
        _sweep(part=broken)


def test_muon_scales_both_its_rates() -> None:
    sweep = _sweep(LrRange(1e-6, 1e2, 40), optimizer=Optimizer(name="muon", lr=0.02, other_lr=0.003))
    lr, other = (float(s.rpartition("=")[2]) for s in sweep.settings)
    assert [s.partition("=")[0] for s in sweep.settings] == ["train.optimizer.lr", "train.optimizer.other_lr"]
    assert other / lr == pytest.approx(0.15, rel=0.1)


def test_the_rules_on_a_curve_drawn_by_hand() -> None:
    sweep = _curve([2.0, 1.9, 1.0, 0.7, 0.6, 0.9, 3.0])
    assert sweep.lowest == pytest.approx(1e-1) and sweep.steepest == pytest.approx(1e-3)
    assert sweep.peak == sweep.steepest and "steepest" in str(sweep.rule) and not sweep.still_falling
    assert sweep.settings == ["train.optimizer.lr=0.001"]
    late = _curve([2.0, 1.99, 1.98, 1.9, 0.6, 0.5, 3.0], per_decade=5)
    assert late.lowest == pytest.approx(1e-4) and late.steepest == pytest.approx(10**-4.2)
    assert late.peak == pytest.approx(1e-5) and "tenth" in str(late.rule)


def test_the_luck_of_the_first_batches_and_of_one_batch_is_no_fall() -> None:
    course = [4.2, 4.0, *[4.0 - 0.001 * i for i in range(40)], *[3.9 - 0.05 * i for i in range(20)], *[3.0] * 38]
    course[30] -= 0.08
    sweep = _curve(course, per_decade=20)
    assert sweep.steepest is not None and 42 <= 20 * (np.log10(sweep.steepest) + 5) <= 62
    assert _curve([4.0, 3.0, *[3.5] * 40]).peak is None
    assert _curve([3.0, 2.0, 1.0]).still_falling


def test_a_loss_that_never_falls_suggests_nothing() -> None:
    sweep = _curve([1.0, 1.1, 1.5])
    assert sweep.peak is None and sweep.steepest is None and sweep.settings == []
    assert json.loads(json.dumps(sweep.to_dict()))["peak"] is None


@pytest.mark.parametrize("span", [(1.0, 0.1, 50), (0.0, 1.0, 50), (-1.0, 1.0, 50), (1.0, math.inf, 50), (0.1, 1.0, 5)])
def test_a_span_must_grow_and_have_steps(span: tuple[float, float, int]) -> None:
    with pytest.raises(RecipeError, match=r"must increase|at least 10 steps"):
        LrRange(*span)
