"""What a logger promises, tested with runs that are told of, cut off, and told of again.

What a logger has written is known to its own program alone: a function `read` says what is there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tellapart.plugins._promises import Promises, expect
from tellapart.recipe.load import Recipe
from tellapart.runs.loggers.base import RunLogger
from tellapart.types import Score

PROMISES = Promises("logger")
#: From the folder of the runs and the name of a run to the (figure, epoch) of everything that was logged, repeats included.
Read = Callable[[Path, str], Iterable[tuple[str, int]]]
_RECIPE = Recipe.model_validate({"classifier": {"family": "metadata"}})


@dataclass(frozen=True)
class _Tested:
    """A logger class, the folder of its runs, and how to read what it wrote."""

    cls: type[RunLogger]
    runs: Path
    read: Read | None

    def log(self, run: str, *epochs: int, finish: bool = False, logger: RunLogger | None = None) -> None:
        """Log a run from its first epoch; without `logger`, a new logger is opened and closed."""
        used = logger or self.cls(self.runs)
        used.start(run, _RECIPE)
        for number in epochs:
            used.epoch(_entry(number))
        if finish:
            used.finish(_scores())
        if logger is None:
            used.close()

    def points(self, run: str) -> list[tuple[str, int]] | None:
        """What was logged of a run; None where that cannot be known."""
        return None if self.read is None else sorted(self.read(self.runs, run))


def check_logger(cls: type[RunLogger], *, runs: Path | None = None, read: Read | None = None, only: str | None = None) -> None:
    """Test a logger.

    Args:
        cls: The class.
        runs: An empty folder to work in; left out: one that is removed afterwards.
        read: From the folder and the name of a run to a (figure, epoch) of each value that was logged. Without it, only errors
            are found, and not what is missing or written twice.
        only: Name of the one promise to test; left out: all of `promises("logger")`.

    Raises:
        PluginError: A promise is broken: which, what was expected, what was found.
    """
    if runs is not None:
        PROMISES.check(cls, _Tested(cls, runs, read), only)
        return
    with tempfile.TemporaryDirectory() as folder:
        PROMISES.check(cls, _Tested(cls, Path(folder), read), only)


@PROMISES.promise("every epoch and score is there")
def _whole(tested: _Tested) -> None:
    """A run that is told of from start to finish has its figures at each epoch, and its scores."""
    tested.log("whole", 1, 2, 3, finish=True)
    points = tested.points("whole")
    if points is not None:
        epochs = {epoch for _, epoch in points}
        expect({1, 2, 3} <= epochs, "figures at the epochs 1, 2 and 3", sorted(epochs))
        names = len({name for name, _ in points})
        expect(names >= 3, "two figures and a score, at least", f"{names} names")


@PROMISES.promise("nothing twice")
def _resumed(tested: _Tested) -> None:
    """A run that was cut off and goes on, or is told of again when it is finished, has every figure once an epoch."""
    tested.log("resumed", 1, 2)
    tested.log("resumed", 1, 2, 3, finish=True)
    tested.log("resumed", 1, 2, 3, finish=True)
    points = tested.points("resumed")
    if points is not None:
        twice = sorted({point for point in points if points.count(point) > 1})
        expect(not twice, "each figure once an epoch", f"{twice} more than once")
        expect({1, 2, 3} <= {epoch for _, epoch in points}, "figures at the epochs 1, 2 and 3", points)


@PROMISES.promise("an epoch that is done again")
def _again(tested: _Tested) -> None:
    """An epoch that comes a second time, as after a crash, is logged once."""
    tested.log("again", 1, 2, 2, 3)
    points = tested.points("again")
    if points is not None:
        twice = sorted({point for point in points if points.count(point) > 1})
        expect(not twice, "each figure once an epoch", f"{twice} more than once")


@PROMISES.promise("close at any time")
def _close(tested: _Tested) -> None:
    """It can be closed before a run, after its start, and twice."""
    unused = tested.cls(tested.runs)
    unused.close()
    unused.close()
    started = tested.cls(tested.runs)
    started.start("started", _RECIPE)
    started.close()
    started.close()


@PROMISES.promise("one run after another")
def _several(tested: _Tested) -> None:
    """One logger is told of several runs, one after the other, and keeps them apart."""
    logger = tested.cls(tested.runs)
    tested.log("first", 1, 2, finish=True, logger=logger)
    tested.log("second", 1, 2, 3, 4, finish=True, logger=logger)
    logger.close()
    for run, last in (("first", 2), ("second", 4)):
        points = tested.points(run)
        if points is not None:
            found = max((epoch for _, epoch in points), default=0)
            expect(found == last, f"the epochs 1 … {last} of {run}", f"a last epoch of {found}")


@PROMISES.promise("figures that are missing or not finite")
def _not_finite(tested: _Tested) -> None:
    """NaN, infinity, None and texts among the figures are no error."""
    logger = tested.cls(tested.runs)
    logger.start("odd", _RECIPE)
    odd = {"train_loss": float("nan"), "lr": float("inf"), "valid_loss": None, "note": "text", "best": False}
    logger.epoch({"epoch": 1, **odd})
    logger.epoch({"epoch": 2})
    logger.finish({"valid": {"auroc": Score(float("nan"), 0, float("nan"), float("nan"))}, "train": {}})
    logger.close()


@PROMISES.promise("a run without epochs")
def _no_epochs(tested: _Tested) -> None:
    """A run that does not train by epochs has its scores."""
    tested.log("plain", finish=True)
    points = tested.points("plain")
    expect(points is None or bool(points), "its scores", "nothing")


@PROMISES.promise("entries are not changed")
def _untouched(tested: _Tested) -> None:
    """The entry of an epoch stays as it is."""
    logger, entry = tested.cls(tested.runs), _entry(1)
    logger.start("untouched", _RECIPE)
    logger.epoch(entry)
    logger.close()
    expect(entry == _entry(1), f"the entry as it was, {_entry(1)}", entry)


def _entry(epoch: int) -> dict[str, Any]:
    return {"epoch": epoch, "train_loss": 1 / epoch, "valid_loss": 2 / epoch, "lr": 0.1, "seconds": 1.5, "best": True}


def _scores() -> dict[str, dict[str, Score]]:
    return {part: {"accuracy": Score(0.75, 20, 0.5, 0.9)} for part in ("train", "valid")}
