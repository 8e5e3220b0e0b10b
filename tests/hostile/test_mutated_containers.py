"""Damaged containers: pixels or an error of the project, in bounded time and memory. See `fuzz.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).with_name("fuzz.py")
PIECE = 10_000  # files of one test


def read(first: int, count: int) -> None:
    """Read damaged files, and fail with the name and number of those that end otherwise."""
    command = [sys.executable, str(FUZZ), "containers", str(first), str(count)]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    faults = [f"{fault['name']}, number {fault['number']}: {fault['fault']}" for fault in found["faults"]]
    assert not faults, f"{FUZZ} containers NUMBER 1 reads one again\n" + "\n".join(faults)
    assert found["read"] + found["refused"] == count
    assert min(found["read"], found["refused"]) > count / 10  # both ends are reached


def test_700():
    read(0, 700)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 10_000, PIECE))
def test_10_000(first: int):
    read(first, PIECE)
