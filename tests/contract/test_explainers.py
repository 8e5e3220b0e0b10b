"""Every explainer keeps every promise. One that needs an option, or is slow, needs an entry in `SMALL`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from tellapart import registry
from tellapart.plugins import check_explainer, promises

Small = Callable[[str], AbstractContextManager[None]]
#: Options that make it quick.
SMALL: dict[str, dict[str, Any]] = {"rise": {"masks": 12}, "occlusion": {"window": 0.5, "overlap": 2}}


@pytest.mark.parametrize("promise", [p.name for p in promises("explainer")])
@pytest.mark.parametrize("name", registry.names("explainers"))
def test_explainer(name: str, promise: str, small: Small) -> None:
    with small(name):
        check_explainer(registry.find("explainers", name), SMALL.get(name), only=promise)
