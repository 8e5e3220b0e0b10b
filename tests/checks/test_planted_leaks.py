"""Leaks planted into photographs are found and named: 200 random plantings a kind, none missed (slow), a few of each (fast).

Every planting: 200 to 600 tiles of real photographs, classes and parts drawn by lot, then a leak that strikes 70 to 100 % of
one class (of the test part, for the shift).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from PIL import Image, ImageDraw

import tellapart as ta
from tellapart import registry
from tellapart.checks._dataset_view import DatasetView
from tellapart.checks.base import CheckResult
from tellapart.types import ImageTable

FEW, MANY = 2, 200
CORNERS = ("upper left", "upper right", "lower left", "lower right")


@dataclass(frozen=True, eq=False)
class Draw:
    """One planting under way: what is common to all its images. Size, qualities, words and colors are drawn once."""

    generator: np.random.Generator
    kind: str
    strength: float
    sides: tuple[int, int]
    qualities: tuple[int, int]
    corner: int
    color: tuple[int, ...]
    width: int
    prefix: str
    editor: str = field(default="")

    @classmethod
    def made(cls, kind: str, seed: int) -> Draw:
        g = np.random.default_rng(seed)
        sides, qualities = g.permutation(np.arange(48, 97))[:2], g.permutation(np.arange(50, 96, 3))[:2]
        color = tuple(int(v) for v in g.choice([0, 255], 3))
        prefix = "".join(g.choice(list("abcdefgh"), 4))
        return cls(
            g, kind, g.uniform(0.7, 1), (int(sides[0]), int(sides[1])), (int(qualities[0]), int(qualities[1])),
            int(g.integers(4)), color, int(g.integers(2, 5)), prefix, f"Editor {g.integers(99)}",
        )  # fmt: skip

    def picture(self, tile: np.ndarray, struck: bool) -> bytes:
        """A piece of a tile, encoded; with the leak or without."""
        side = self.sides[int(struck and self.kind in ("size", "shift"))]
        top, left = self.generator.integers(len(tile) - side + 1, size=2)
        image = Image.fromarray(tile[top : top + side, left : left + side])
        if struck and self.kind == "stamp":
            self._stamp(image)
        if struck and self.kind == "border":
            ImageDraw.Draw(image).rectangle((0, 0, side - 1, side - 1), outline=self.color, width=self.width)
        target, exif = io.BytesIO(), Image.Exif()
        exif[0x0131] = self.editor
        if struck and self.kind == "format":
            image.save(target, "PNG")
        elif struck and self.kind == "exif":
            image.save(target, "JPEG", quality=self.qualities[0], exif=exif)
        else:
            image.save(target, "JPEG", quality=self.qualities[int(struck and self.kind == "quality")])
        return target.getvalue()

    def name(self, number: int, struck: bool) -> str:
        word = f"{self.prefix}_" if struck and self.kind == "prefix" else "img_"
        return f"{word}{self.generator.integers(100_000):05d}_{number}.png"

    def _stamp(self, image: Image.Image) -> None:
        """A time of day, as cameras write it."""
        pen, text = ImageDraw.Draw(image), ":".join(f"{n:02d}" for n in self.generator.integers((24, 60)))
        left = 2 if self.corner % 2 == 0 else image.width - 2 - int(pen.textlength(text))
        pen.text((left, 2 if self.corner < 2 else image.height - 13), text, fill=self.color)


def plant(tiles: np.ndarray, kind: str, seed: int) -> tuple[ImageTable, Draw]:
    """A table with one leak, and what was drawn."""
    draw = Draw.made(kind, seed)
    g, count = draw.generator, int(draw.generator.integers(200, 601))
    labels, parts = g.integers(2, size=count), g.choice(["train", "test"], count, p=[0.7, 0.3])
    struck = ((parts == "test") if kind == "shift" else labels == 1) & (g.random(count) < draw.strength)
    pictures = [draw.picture(tiles[g.integers(len(tiles))], bool(s)) for s in struck]
    names = [draw.name(i, bool(s)) for i, s in enumerate(struck)]
    words = np.array(["real", "fake", "other"])[labels]
    if kind == "missing":  # a third class, of which nothing stands in train
        words[np.flatnonzero(parts == "test")[: int(g.integers(1, 20))]] = "other"
    return ta.from_bytes(pictures, words.tolist(), ids=names, split=parts.tolist()), draw


def look(check: str, table: ImageTable, seed: int = 0) -> CheckResult:
    return registry.find("checks", check)()(DatasetView(table, seed))


#: Kind → (check, severities, what the summary must say).
NAMED: dict[str, tuple[str, tuple[str, ...], Callable[[Draw], str]]] = {
    "format": ("metadata", ("leak",), lambda _: "format PNG occurs only in 'fake'"),
    "quality": ("metadata", ("leak",), lambda d: f"JPEG quality {d.qualities[1]} occurs only in 'fake'"),
    "size": ("metadata", ("leak",), lambda d: f"size {d.sides[1]}×{d.sides[1]} occurs only in 'fake'"),
    "exif": ("metadata", ("leak",), lambda _: "EXIF occurs only in 'fake'"),
    "prefix": ("names", ("notice",), lambda d: f"a name that begins with {d.prefix!r} occurs only in 'fake'"),
    "missing": ("missing_classes", ("problem",), lambda _: "'other' is in test"),
    "shift": ("shift", ("problem",), lambda d: f"size {d.sides[1]}×{d.sides[1]} occurs only in test"),
    "stamp": ("pixels", ("leak",), lambda d: CORNERS[d.corner]),
    "border": ("pixels", ("leak",), lambda _: "plain border: higher in 'fake'"),
}


def missed(tiles: np.ndarray, kind: str, seeds: range) -> Iterator[str]:
    """Plantings that were not found, or not named."""
    check, severities, said = NAMED[kind]
    for seed in seeds:
        table, draw = plant(tiles, kind, seed)
        found = look(check, table, seed)
        text = found.summary.partition(" of 'fake'")[0] if kind == "stamp" else found.summary
        if found.severity not in severities or said(draw) not in text or not found.is_issue.any():
            yield f"seed {seed}, strength {draw.strength:.2f}, {len(table)} images: {found.severity}: {found.summary}"


@pytest.mark.parametrize("kind", NAMED)
def test_a_few_planted_leaks_are_found_and_named(tiles: np.ndarray, kind: str) -> None:
    assert not list(missed(tiles, kind, range(FEW)))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", NAMED)
def test_none_of_200_planted_leaks_is_missed(tiles: np.ndarray, kind: str) -> None:
    assert not list(missed(tiles, kind, range(MANY)))


@pytest.mark.parametrize("kind", ["size", "prefix"])
def test_without_the_leak_nothing_is_found(tiles: np.ndarray, kind: str) -> None:
    table, _ = plant(tiles, "none", 1)
    assert look(NAMED[kind][0], table).severity == "fine"


def test_rows_that_are_struck_are_given_away(tiles: np.ndarray) -> None:
    table, draw = plant(tiles, "exif", 3)
    found = look("metadata", table)
    struck = np.array([b"Editor" in content for content in table.memory])
    assert found.is_issue[struck].all() and found.scores[struck].min() > 0.9
    assert all(found.reasons[row].startswith("EXIF occurs only in 'fake'") for row in np.flatnonzero(struck))
    share = f"({struck.sum()} of {(table.labels == table.classes.index('fake')).sum()})"
    assert share in found.summary and draw.editor.encode() in b"".join(table.memory)
