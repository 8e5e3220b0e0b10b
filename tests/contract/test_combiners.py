"""Every combiner keeps every promise. One that needs an option needs an entry in `SMALL`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from tellapart import registry
from tellapart.plugins import check_combiner, promises

Small = Callable[[str], AbstractContextManager[None]]
#: Options of those that need some, or would be slow.
SMALL: dict[str, dict[str, Any]] = {}


@pytest.mark.parametrize("promise", [p.name for p in promises("combiner")])
@pytest.mark.parametrize("name", registry.names("combiners"))
def test_combiner(name: str, promise: str, small: Small) -> None:
    with small(name):
        check_combiner(registry.find("combiners", name), SMALL.get(name), only=promise)
