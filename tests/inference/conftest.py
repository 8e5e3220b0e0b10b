"""A run that is trained in a moment, and pictures to ask it about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart.inference.context import Settings
from tellapart.runs.store import Run
from tellapart.workflows import train


def draw(path: Path, seed: int, side: int = 8) -> Path:
    """A noisy picture, dark or light by turns, with a format by its ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 80, (side, side, 3)) + 150 * (seed % 2)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="session")
def home(tmp_path_factory) -> Path:
    """Where the runs are."""
    return tmp_path_factory.mktemp("home") / "runs"


@pytest.fixture(scope="session")
def run(home, tmp_path_factory) -> Run:
    """Nearest neighbors of forty pictures of 8×8: real ones are dark, fake ones light."""
    top = tmp_path_factory.mktemp("trained")
    for seed in range(40):
        draw(top / ("real", "fake")[seed % 2] / f"{seed:02}.png", seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TELLAPART_CACHE", str(tmp_path_factory.mktemp("cache")))
        return train.train(top, "knn", settings=Settings(runs=home))


@pytest.fixture
def settings(home, tmp_path, monkeypatch) -> Settings:
    """With the runs, and an empty cache."""
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    return Settings(runs=home)


@pytest.fixture
def shots(tmp_path) -> Path:
    """Eleven pictures in a tree."""
    for seed in range(11):
        draw(tmp_path / "shots" / ("a", "b", "")[seed % 3] / f"{seed:02}.png", 100 + seed)
    return tmp_path / "shots"
