"""Every health check keeps every promise. One that needs an option needs an entry in `SMALL`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from tellapart import registry
from tellapart.plugins import check_health_check, promises

Small = Callable[[str], AbstractContextManager[None]]
#: Options of those that need some, or would be slow.
SMALL: dict[str, dict[str, Any]] = {}


@pytest.mark.parametrize("promise", [p.name for p in promises("health check")])
@pytest.mark.parametrize("name", registry.names("checks"))
def test_health_check(name: str, promise: str, small: Small) -> None:
    with small(name):
        check_health_check(registry.find("checks", name), SMALL.get(name), only=promise)
