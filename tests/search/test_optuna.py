"""Draws by optuna: within the space, resumable, and better than chance at something easy."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tellapart.errors import RunError
from tellapart.search.space import Range, Space

pytest.importorskip("optuna")
from tellapart.search.optuna import ParzenSearch

SPACE = Space({"name": ('"x"', "[1, 2]")}, {"rate": Range(1e-3, 1e3, log=True), "n": Range(1, 4, integer=True)}, "optuna", 30)


def goodness(cell: dict[str, str]) -> float:
    """1 where the rate is 10, less elsewhere."""
    return 1 - abs(math.log10(float(cell["rate"])) - 1) / 6


def go(path: Path, batch: int, rounds: int = 99) -> list[dict[str, str]]:
    """Answer so many rounds; gives what was asked."""
    drawing, asked = ParzenSearch(path, SPACE, 0, batch), []
    for cells, _ in zip(drawing.rounds(), range(rounds), strict=False):
        asked += cells
        drawing.tell([goodness(cell) for cell in cells])
    return asked


@pytest.mark.parametrize("batch", [1, 7])
def test_draws_lie_in_the_space_and_learn(tmp_path: Path, batch: int) -> None:
    asked = go(tmp_path / "study.db", batch)
    assert len(asked) == 30
    assert {c["name"] for c in asked} == {'"x"', "[1, 2]"} and {int(c["n"]) for c in asked} <= {1, 2, 3, 4}
    assert all(1e-3 <= float(c["rate"]) <= 1e3 for c in asked)
    first, last = (sum(map(goodness, part)) / 10 for part in (asked[:10], asked[20:]))
    assert last > first


def test_it_goes_on_with_what_was_asked_for_and_never_answered(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    done = go(path, batch=5, rounds=2)
    (cut,) = (cells for cells, _ in zip(ParzenSearch(path, SPACE, 0, 5).rounds(), range(1), strict=False))
    rest = go(path, batch=5)
    assert rest[:5] == cut and len(done) + len(rest) == 30
    assert len({c["rate"] for c in done + rest}) == 30, "a new session draws on, not again"
    assert go(path, batch=5) == []


def test_one_that_fails_is_told_so(tmp_path: Path) -> None:
    drawing = ParzenSearch(tmp_path / "study.db", SPACE, 0, 3)
    drawing.tell([None, 0.5, 0.6][: len(next(drawing.rounds()))])
    assert [t.state.name for t in drawing.study.trials] == ["FAIL", "COMPLETE", "COMPLETE"]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("not a database, but long enough to be taken for one " * 9)
    with pytest.raises(RunError, match=r"study\.db: cannot be read"):
        ParzenSearch(tmp_path / "study.db", SPACE, 0, 3)
