"""What all tests share: the real data beside the checkout, when they are there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """`shared_data("fruits.tar")`: its path in $TELLAPART_DATA or ../shared/data; the test is skipped without it."""
    folder = Path(os.environ.get("TELLAPART_DATA") or Path(__file__).parents[2] / "shared" / "data")

    def find(name: str) -> Path:
        if not (folder / name).exists():
            pytest.skip(f"{name} is not in {folder}: set TELLAPART_DATA to the folder of the shared data")
        return folder / name

    return find
