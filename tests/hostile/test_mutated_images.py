"""Damaged images: pixels or an error of the project, in bounded time and memory. See `fuzz.py`."""

from __future__ import annotations

import pytest

PIECE = 10_000  # files of one test


def test_2_000(read_damaged) -> None:
    read_damaged("images", 0, 2_000)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 30_000, PIECE))
def test_30_000(read_damaged, first: int) -> None:
    read_damaged("images", first, PIECE)
