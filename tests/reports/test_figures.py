from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from tellapart.reports import figures, svg
from tellapart.types import Score


def parse(markup: str) -> ET.Element:
    return ET.fromstring(str(markup))


def test_confusion_writes_every_count():
    counts = np.arange(16).reshape(4, 4)
    root = parse(svg.inline(figures.confusion(counts, list("abcd")), "k", "a matrix"))
    shown = {g.get("id"): "".join(g.itertext()).strip() for g in root.iter("g") if g.get("id", "").startswith("k-n-")}
    assert shown == {f"k-n-{i}-{j}": str(counts[i, j]) for i in range(4) for j in range(4)}


def test_confusion_pixels_of_many_classes_follow_the_shares():
    counts = np.zeros((30, 30), dtype=int)
    counts[np.arange(30), np.arange(30)] = 4
    counts[3, 7] = 12
    picture = figures._rgba(np.sqrt(counts / counts.sum(axis=1, keepdims=True)))
    assert picture[0, 0, 3] > picture[3, 7, 3] > picture[3, 3, 3] > 0
    assert picture[0, 1, 3] == 0
    assert tuple(picture[3, 7, :3]) == figures.WRONG_RGB and tuple(picture[5, 5, :3]) == figures.RIGHT_RGB


def test_an_empty_class_is_no_division_by_zero():
    assert "none" in str(svg.inline(figures.confusion(np.array([[0, 0], [1, 2]]), ["none", "some"]), "k", ""))


@pytest.mark.parametrize("name", ["$a_b$", "<script>", "日本語", "a" * 80, "&amp;", "two\nlines", ""])
def test_any_class_name_is_drawn_as_it_is(name):
    root = parse(svg.inline(figures.confusion(np.eye(2, dtype=int), [name, "other"]), "k", name))
    texts = {"".join(t.itertext()) for t in root.iter("text")}
    assert figures.shorten(name) in texts or name == "" or "\n" in name
    assert root.get("aria-label") == name.replace("\n", " ")


def test_curves_mark_the_kept_epoch_and_leave_gaps():
    log = [{"epoch": e, "train_loss": 1 / e, "valid_loss": None if e == 2 else 1 / e, "best": e == 3} for e in (1, 2, 3, 4)]
    assert figures.best_epoch(log) == 3
    svg.inline(figures.curves(log), "k", "")
    assert figures.best_epoch([{"epoch": 1}]) is None
    svg.inline(figures.curves([{"epoch": 1}]), "k", "")


def test_leaderboard_takes_undefined_and_missing_scores():
    nan = float("nan")
    rows = [figures.Dots("a", Score(0.5, 10, nan, nan), None), figures.Dots("b", None, Score(nan, 0, nan, nan))]
    assert "the metadata baseline" in str(svg.inline(figures.leaderboard(rows, {"the metadata baseline": 0.4}), "k", ""))


def test_svg_is_deterministic_and_names_no_address():
    drawn = {str(svg.inline(figures.class_counts({"train": [3, 1], "test": [1, 1]}, ["a", "b"]), "k", "")) for _ in range(2)}
    (text,) = drawn
    assert "http" not in text and "<metadata" not in text and "DejaVu" not in text
    references = set(re.findall(r"(?:href=\"#|url\(#)([^\")]+)", text))
    assert references <= set(re.findall(r'id="([^"]+)"', text))


def test_every_drawn_color_follows_the_theme():
    text = str(svg.inline(figures.confusion(np.array([[9, 1], [2, 8]]), ["a", "b"]), "k", ""))
    assert set(re.findall(r"#[0-9a-fA-F]{6}", text)) <= {"#ffffff"}, "only white numbers on dark cells are fixed"


def test_png_is_written_on_white_and_leaves_the_figure_clear(tmp_path):
    from PIL import Image

    figure = figures.confusion(np.eye(2, dtype=int), ["a", "b"])
    path = svg.write_png(figure, tmp_path / "deep" / "matrix.png")
    assert Image.open(path).convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    assert figure.get_facecolor()[3] == 0


def test_pyplot_is_never_touched():
    figures.confusion(np.eye(2, dtype=int), ["a", "b"])
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
