"""Losses against torch and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional as F

from tellapart.recipe.schema import Train
from tellapart.training.losses import Loss, balanced

_GENERATOR = torch.Generator().manual_seed(0)
_LOGITS = torch.randn(40, 3, generator=_GENERATOR)
_LABELS = np.repeat([0, 1, 2], [25, 10, 5])
_TARGET = torch.from_numpy(_LABELS)
_CPU = torch.device("cpu")


def _loss(**changes: object) -> Loss:
    return Loss(Train.model_validate(changes), _LABELS, 3, _CPU)


def test_balanced_weights_equal_scikit_learn() -> None:
    expected = compute_class_weight("balanced", classes=np.arange(3), y=_LABELS)
    np.testing.assert_allclose(balanced(_LABELS, 3), expected, rtol=1e-6)
    assert balanced(np.array([0, 0, 2]), 4).tolist() == [0.75, 0, 1.5, 0]  # a class without images weighs nothing


@pytest.mark.parametrize("smooth", [0.0, 0.1])
def test_cross_entropy_equals_torch(smooth: float) -> None:
    weights = torch.from_numpy(balanced(_LABELS, 3))
    loss = _loss(class_weights="balanced", label_smoothing=smooth)
    torch.testing.assert_close(loss(_LOGITS, _TARGET), F.cross_entropy(_LOGITS, _TARGET, weights, label_smoothing=smooth))


def test_focal_is_as_in_the_paper() -> None:
    """Lin et al. 2017, eq. 4: −(1 − p)^γ log p, worked out image by image."""
    p = np.take_along_axis(_LOGITS.softmax(1).numpy(), _LABELS[:, None], 1)[:, 0]
    expected = np.mean((1 - p) ** 2.5 * -np.log(p))
    assert _loss(loss="focal", focal_gamma=2.5)(_LOGITS, _TARGET).item() == pytest.approx(expected, rel=1e-5)
    assert _loss(loss="focal", focal_gamma=0)(_LOGITS, _TARGET).item() == pytest.approx(_loss()(_LOGITS, _TARGET).item())


@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_mixed_labels_equal_soft_targets(weights: str) -> None:
    """Cross-entropy is linear in the target: two labels with shares are one soft label."""
    partner, share = _TARGET.flip(0), torch.rand(40, generator=_GENERATOR)
    ours = _loss(class_weights=weights)(_LOGITS, _TARGET, partner, share)
    soft = share[:, None] * F.one_hot(_TARGET, 3) + (1 - share)[:, None] * F.one_hot(partner, 3)
    weight = torch.from_numpy(balanced(_LABELS, 3)) if weights == "balanced" else torch.ones(3)
    expected = -(soft * weight * _LOGITS.log_softmax(1)).sum() / (soft * weight).sum()
    torch.testing.assert_close(ours, expected)


def test_a_share_of_one_is_no_mixing() -> None:
    loss = _loss(label_smoothing=0.1, class_weights="balanced")
    ones = torch.ones(40)
    torch.testing.assert_close(loss(_LOGITS, _TARGET, _TARGET.flip(0), ones), loss(_LOGITS, _TARGET), rtol=1e-5, atol=1e-6)


def test_focal_has_a_gradient_where_the_answer_is_certain() -> None:
    logits = torch.tensor([[200.0, 0.0, 0.0]], requires_grad=True)
    Loss(Train(loss="focal", focal_gamma=0.5), np.array([0, 1, 2]), 3, _CPU)(logits, torch.tensor([0])).backward()
    assert logits.grad is not None and logits.grad.isfinite().all()
