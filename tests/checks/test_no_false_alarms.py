"""A clean set raises no alarm: one class of real images, split at random into two pseudo-classes and into parts.

At most 1 % of 200 draws may raise one, all checks of this file together (slow); ten draws raise none (fast).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tellapart as ta
from tellapart import registry
from tellapart.checks._dataset_view import DatasetView
from tellapart.types import ImageTable

CHECKS = ("metadata", "names", "pixels", "compression", "labels", "shift", "missing_classes")
FEW, MANY, ALLOWED = 2, 200, 2
SETS = ("cifake.zip", "fruits.tar", "deepfake5.tar")  # JPEG of one size; JPEG of one size and camera; PNG
Data = Callable[[str], Path]


def clean(table: ImageTable, seed: int) -> ImageTable:
    """At most 100 to 300 images of one class (fruits have 80); two pseudo-classes and two parts by lot."""
    draw = np.random.default_rng(seed)
    rows = draw.permutation(np.flatnonzero(table.labels == draw.integers(len(table.classes))))[: draw.integers(100, 301)]
    labels = draw.integers(2, size=len(rows))
    parts = draw.choice(["train", "test"], len(rows), p=[0.7, 0.3])
    frame = table.frame.iloc[rows].reset_index(drop=True).assign(label=labels, split=parts)
    return ImageTable(frame, ("real", "fake"), table.root, "fake")


def alarms(table: ImageTable, seed: int) -> list[str]:
    """What checks find in one draw."""
    drawn = clean(table, seed)
    evidence = DatasetView(drawn, seed)
    found = {name: registry.find("checks", name)()(evidence) for name in CHECKS}
    return [f"seed {seed}: {name}: {f.summary}" for name, f in found.items() if f.severity not in ("fine", "skipped")]


@pytest.mark.parametrize("name", SETS)
def test_a_few_clean_draws_raise_no_alarm(shared_data: Data, name: str) -> None:
    table = ta.scan(shared_data(name))
    assert not [alarm for seed in range(FEW) for alarm in alarms(table, seed)]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", SETS)
def test_at_most_one_percent_of_clean_draws_raise_an_alarm(shared_data: Data, name: str) -> None:
    table = ta.scan(shared_data(name))
    found = [alarms(table, seed) for seed in range(MANY)]
    assert sum(map(bool, found)) <= ALLOWED, found
