"""Every net keeps every promise, small. One that needs an option, or is large, needs an entry in `SMALL`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from tellapart import registry
from tellapart.plugins import check_net, promises

Small = Callable[[str], AbstractContextManager[None]]
#: Options that make it small.
SMALL: dict[str, dict[str, Any]] = {
    "quick": {"width": 4},
    "staged": {"stages": [{"widths": [4]}, {"widths": [6, 6]}]},
    "mlp": {"widths": [8]},
    "fusion": {"backbones": [{"net": "mlp", "widths": [4]}, {"net": "quick", "width": 2, "size": 16, "mode": "gray"}]},
    "timm": {"model": "test_resnet"},
    "torchvision": {"model": "squeezenet1_1"},
    "vgg": {"groups": [[4, 4], [4], [6], [6], [8]], "dense": [16, 16]},
    "inception_resnet_v1": {"blocks": [1, 1, 1], "embedding": 16},
}
#: Shapes that the others must take, too.
SHAPES: dict[str, tuple[int, ...]] = {"inception_resnet_v1": (3, 80, 80)}


@pytest.mark.parametrize("promise", [p.name for p in promises("net")])
@pytest.mark.parametrize("name", registry.names("nets"))
def test_net(name: str, promise: str, small: Small) -> None:
    with small(name):
        check_net(registry.find("nets", name), SMALL.get(name), shape=SHAPES.get(name, (3, 32, 32)), only=promise)
