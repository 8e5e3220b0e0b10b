"""Every augmentation keeps every promise. One that needs an option needs an entry in `SMALL`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from tellapart import registry
from tellapart.plugins import check_augmentation, promises

Small = Callable[[str], AbstractContextManager[None]]
#: Options of those that need some.
SMALL: dict[str, dict[str, Any]] = {
    "compose": {"of": [{"rotate90": {}}, {"random_crop": {"size": 8}}], "probability": 0.5},
    "one_of": {"of": [{"flip": {}}, {"blur": {}}, {"random_crop": {"size": 8}}]},
    "union": {"of": [[], [{"rotate": {}}, {"color_jitter": {}}]]},
    "five_crop": {"size": 8},
    "center_crop": {"size": 8},
}


@pytest.mark.parametrize("promise", [p.name for p in promises("augmentation")])
@pytest.mark.parametrize("name", registry.names("augmentations"))
def test_augmentation(name: str, promise: str, small: Small) -> None:
    with small(name):
        check_augmentation(registry.find("augmentations", name), SMALL.get(name), only=promise)
