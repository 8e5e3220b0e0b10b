"""Curves as text, and when a terminal shows them."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console

from tellapart.progress import SILENT, Terminal, draw

ROWS = {"loss": {"train": [0.9, 0.5, 0.1], "valid": [0.9, 0.7, 0.9]}, "accuracy": {"train": [0.25, 0.5, 1.0]}}


def terminal(*, is_terminal: bool, width: int = 80) -> tuple[Terminal, io.StringIO]:
    out = io.StringIO()
    return Terminal(Console(file=out, force_terminal=is_terminal, width=width, color_system=None)), out


def test_a_row_shares_one_scale_and_ends_in_its_last_value() -> None:
    loss, accuracy = draw(ROWS).splitlines()
    assert loss.split() == ["loss", "train", "█▅▁", "0.100", "valid", "█▆█", "0.900"]
    assert accuracy.split() == ["accuracy", "train", "▁▃█", "1.000"]


@pytest.mark.parametrize("columns", [30, 50, 80, 200])
def test_a_long_curve_keeps_its_ends_and_its_width(columns: int) -> None:
    falling = [1 / (1 + i) for i in range(500)]
    text = draw({"loss": {"train": falling, "valid": falling}}, columns)
    first = text.split()[2]
    assert first[0] == "█" and first[-1] == "▁" and 4 <= len(first) <= 24
    assert len(text) <= columns or columns < 50


def test_gaps_and_flat_curves_are_drawn() -> None:
    assert "▁ █" in draw({"loss": {"train": [0.0, math.nan, 1.0]}})
    assert "▁▁" in draw({"loss": {"train": [0.5, 0.5]}})
    assert draw({}) == "" and draw({"loss": {"train": [math.nan]}}) == ""


def test_on_a_terminal_curves_stand_under_the_bar_and_the_last_ones_stay() -> None:
    shown, out = terminal(is_terminal=True)
    shown.curves(ROWS)
    with shown.task("epoch 4/9", 10, "img") as task:
        task.advance(10)
    assert "epoch 4/9" in out.getvalue() and "█▅▁ 0.100" in out.getvalue()
    before = len(out.getvalue())
    shown.curves({})
    assert out.getvalue()[before:].splitlines() == draw(ROWS).splitlines()
    before = len(out.getvalue())
    shown.curves({})
    with shown.task("decoding", 1, "img"):
        pass
    assert "█▅▁" not in out.getvalue()[before:]


def test_elsewhere_nothing_is_drawn() -> None:
    shown, out = terminal(is_terminal=False)
    for rows in (ROWS, {}):
        shown.curves(rows)
        SILENT.curves(rows)
    assert out.getvalue() == ""
