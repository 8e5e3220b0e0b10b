"""Damaged containers: pixels or an error of the project, in bounded time and memory. See `fuzz.py`."""

from __future__ import annotations

import pytest

PIECE = 10_000  # files of one test


def test_700(read_damaged) -> None:
    read_damaged("containers", 0, 700)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 10_000, PIECE))
def test_10_000(read_damaged, first: int) -> None:
    read_damaged("containers", first, PIECE)
