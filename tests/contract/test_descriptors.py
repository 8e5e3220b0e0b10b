"""Every descriptor keeps every promise. One that needs an option needs an entry in `SMALL`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tellapart import registry
from tellapart.plugins import check_descriptor, promises
from tellapart.plugins._samples import save_tiny_network

Small = Callable[[str], AbstractContextManager[None]]
#: Options of those that need some, or would be slow.
SMALL: dict[str, dict[str, Any]] = {"visual_words": {"words": 6, "sample": 200}, "embedding": {"run": "RUN"}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network on images of 16×16, for those that need an earlier run."""
    return save_tiny_network(tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize("promise", [p.name for p in promises("descriptor")])
@pytest.mark.parametrize("name", registry.names("features"))
def test_descriptor(name: str, promise: str, small: Small, request: pytest.FixtureRequest) -> None:
    run = request.getfixturevalue("run") if "RUN" in SMALL.get(name, {}).values() else None
    options = {key: str(run) if value == "RUN" else value for key, value in SMALL.get(name, {}).items()}
    with small(name):
        check_descriptor(registry.find("features", name), options, only=promise)
