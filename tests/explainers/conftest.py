"""A small set of pictures and a run of nearest neighbors on it: red squares on noise, or none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import tellapart as ta

SIDE = 24
SQUARE = (slice(4, 12), slice(10, 18))


def draw_pictures(folder: Path, each: int = 20) -> Path:
    """PNG files of noise, half of them with a red square, and data.csv with their split."""
    rng, rows = np.random.default_rng(0), []
    for name in ("other", "red"):
        for i in range(each):
            pixels = rng.integers(80, 130, (SIDE, SIDE, 3)).astype(np.uint8)
            if name == "red":
                pixels[SQUARE] = (230, 10, 10)
            Image.fromarray(pixels).save(folder / f"{name}-{i:02}.png")
            rows.append((f"{name}-{i:02}.png", name, "train" if i < each * 0.6 else "valid" if i < each * 0.8 else "test"))
    pd.DataFrame(rows, columns=["image", "label", "split"]).to_csv(folder / "data.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory):
    """A folder of pictures, with a cache of its own."""
    folder = tmp_path_factory.mktemp("explained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TELLAPART_CACHE", str(folder / "cache"))
        (folder / "images").mkdir()
        draw_pictures(folder / "images")
        yield folder


@pytest.fixture(scope="module")
def settings(home: Path) -> ta.Settings:
    return ta.Settings(runs=home / "runs", device="cpu")


@pytest.fixture(scope="module")
def neighbors(home: Path, settings: ta.Settings) -> ta.Run:
    """Trained on the pictures."""
    return ta.train(home / "images" / "data.csv", "knn", settings=settings)


@pytest.fixture(scope="module")
def network(home: Path, settings: ta.Settings) -> ta.Run:
    """A small net, trained for two epochs: what it learnt does not matter."""
    changes = ["classifier.stages=[{widths: [4]}, {widths: [6], pool: 1}]", "train.epochs=2", "augment=[]"]
    return ta.train(home / "images" / "data.csv", "cnn-small", overrides=changes, settings=settings)
