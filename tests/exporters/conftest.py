"""Networks that were never trained, but answer as if they had opinions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tellapart.classifiers.network import Network
from tellapart.data.decode import decode_to
from tellapart.exporters.parity import golden_images
from tellapart.recipe.load import parse

CLASSES = ("a", "b", "c")
Untrained = Callable[..., Network]


@pytest.fixture(scope="session")
def reinitialized() -> Untrained:
    """`reinitialized(classifier={"net": "quick"}, size=32, mode="gray")`: a network with random weights and statistics."""
    return make_untrained


def make_untrained(classifier: dict[str, Any], strongest: float = 20.0, **inputs: Any) -> Network:
    """Random weights; batch norms that know the golden images; logits spread by about 2, so that differences would show.

    `strongest`: by how much the last layer is scaled at most. Deep nets at random amplify rounding: Inception-v4 with Xception,
    scaled to that spread, differs from itself in another memory layout by 0.0008.
    """
    content = {"inputs": {"mode": "rgb", **inputs}, "classifier": {"family": "network", **classifier}}
    torch.manual_seed(0)
    made = Network(parse(content, "test"))
    made.classes, made.net_options = CLASSES, made.options
    made.model = made._build().eval()
    normalize: Any = made.model.normalize
    if made.recipe.classifier.options["net"] != "fusion":  # whose backbones scale for themselves
        normalize.mean.fill_(120.0)
        normalize.scale.fill_(1 / 60)
    seen = made.recipe.inputs.model_copy(update={"region": None})
    pixels = np.stack([decode_to(image, seen) for image in golden_images(seen)])
    settle(made.model, torch.from_numpy(pixels).permute(0, 3, 1, 2), strongest)
    return made


@torch.no_grad()
def settle(model: Any, images: torch.Tensor, strongest: float) -> None:
    """Measure the batch norms on (B, C, H, W) uint8, then scale the last layer: logits of mean 0 and standard deviation 2."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d)]
    for module in norms:
        module.momentum = None  # the mean of what it sees
        module.train()
    model(images)
    model.eval()
    last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    last.weight *= min(2 / max(float(model(images).std(0).mean()), 1e-3), strongest)
    last.bias -= model(images).mean(0)
