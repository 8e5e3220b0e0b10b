"""The command line in this process: arguments in, exit code, standard output and standard error out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from tellapart.cli.main import main


class Answer(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Tell = Callable[..., Answer]


@pytest.fixture
def tell(monkeypatch, capsys, tmp_path) -> Tell:
    """`tell("compare", folder, "-q")`: the command in an empty folder of its own, with an empty cache, without color."""
    for name in [n for n in os.environ if n.startswith("TELLAPART_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TELLAPART_VERBOSE", "")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["tellapart", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        return Answer(code, *capsys.readouterr())

    return run


def draw(path: Path, seed: int, brightness: int) -> None:
    """A noisy PNG of 8×8 pixels, dark or bright."""
    pixels = np.random.default_rng(seed).integers(0, 80, (8, 8, 3)) + brightness
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def draw_classes(top: Path, each: int = 20, classes: tuple[str, ...] = ("dark", "light")) -> Path:
    """One folder a class, told apart by brightness."""
    for number, name in enumerate(classes):
        for i in range(each):
            draw(top / name / f"{i:02}.png", 1000 * number + i, 150 * number)
    return top


@pytest.fixture
def photos(tmp_path) -> Path:
    """Two classes of twenty images."""
    return draw_classes(tmp_path / "photos")
