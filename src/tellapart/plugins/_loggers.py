"""Promises of a logger, tested with runs that are logged, interrupted, and logged again.

The output of a logger can only be read by the program that it is for; a function `read` returns what was logged.
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
#: Maps the folder of the runs and the name of a run to the (metric, epoch) of all logged values, including repeats.
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
        """Logged values of a run; None without `read`."""
        return None if self.read is None else sorted(self.read(self.runs, run))


def check_logger(cls: type[RunLogger], *, runs: Path | None = None, read: Read | None = None, only: str | None = None) -> None:
    """Test a logger.

    Args:
        cls: The class.
        runs: An empty folder to work in; None: a temporary folder.
        read: Maps the folder and the name of a run to the (metric, epoch) of each logged value. Without it, only errors are
            found, and not values that are missing or logged twice.
        only: Name of the promise to test; None: all of `promises("logger")`.

    Raises:
        PluginError: A promise is broken; the message names it, the expected and the actual result.
    """
    if runs is not None:
        PROMISES.check(cls, _Tested(cls, runs, read), only)
        return
    with tempfile.TemporaryDirectory() as folder:
        PROMISES.check(cls, _Tested(cls, Path(folder), read), only)


@PROMISES.promise("every epoch and score is logged")
def _whole(tested: _Tested) -> None:
    """A run that is logged from start to end has its metrics at each epoch, and its scores."""
    tested.log("whole", 1, 2, 3, finish=True)
    points = tested.points("whole")
    if points is not None:
        epochs = {epoch for _, epoch in points}
        expect({1, 2, 3} <= epochs, "figures at the epochs 1, 2 and 3", sorted(epochs))
        names = len({name for name, _ in points})
        expect(names >= 3, "at least two metrics and a score", f"{names} names")


@PROMISES.promise("no value twice")
def _resumed(tested: _Tested) -> None:
    """A run that is resumed, or logged again after it has finished, has every metric once per epoch."""
    tested.log("resumed", 1, 2)
    tested.log("resumed", 1, 2, 3, finish=True)
    tested.log("resumed", 1, 2, 3, finish=True)
    points = tested.points("resumed")
    if points is not None:
        twice = sorted({point for point in points if points.count(point) > 1})
        expect(not twice, "each figure once an epoch", f"{twice} more than once")
        expect({1, 2, 3} <= {epoch for _, epoch in points}, "figures at the epochs 1, 2 and 3", points)


@PROMISES.promise("a repeated epoch")
def _again(tested: _Tested) -> None:
    """An epoch that is repeated, as after a crash, is logged once."""
    tested.log("again", 1, 2, 2, 3)
    points = tested.points("again")
    if points is not None:
        twice = sorted({point for point in points if points.count(point) > 1})
        expect(not twice, "each figure once an epoch", f"{twice} more than once")


@PROMISES.promise("close at any time")
def _close(tested: _Tested) -> None:
    """A logger can be closed before a run, after its start, and twice."""
    unused = tested.cls(tested.runs)
    unused.close()
    unused.close()
    started = tested.cls(tested.runs)
    started.start("started", _RECIPE)
    started.close()
    started.close()


@PROMISES.promise("one run after another")
def _several(tested: _Tested) -> None:
    """A logger can log several runs one after another, and keeps them separate."""
    logger = tested.cls(tested.runs)
    tested.log("first", 1, 2, finish=True, logger=logger)
    tested.log("second", 1, 2, 3, 4, finish=True, logger=logger)
    logger.close()
    for run, last in (("first", 2), ("second", 4)):
        points = tested.points(run)
        if points is not None:
            found = max((epoch for _, epoch in points), default=0)
            expect(found == last, f"the epochs 1 … {last} of {run}", f"a last epoch of {found}")


@PROMISES.promise("metrics that are missing or not finite")
def _not_finite(tested: _Tested) -> None:
    """NaN, infinity, None and strings among the metrics are no error."""
    logger = tested.cls(tested.runs)
    logger.start("odd", _RECIPE)
    odd = {"train_loss": float("nan"), "lr": float("inf"), "valid_loss": None, "note": "text", "best": False}
    logger.epoch({"epoch": 1, **odd})
    logger.epoch({"epoch": 2})
    logger.finish({"valid": {"auroc": Score(float("nan"), 0, float("nan"), float("nan"))}, "train": {}})
    logger.close()


@PROMISES.promise("a run without epochs")
def _no_epochs(tested: _Tested) -> None:
    """A run that is not trained in epochs has its scores."""
    tested.log("plain", finish=True)
    points = tested.points("plain")
    expect(points is None or bool(points), "its scores", "nothing")


@PROMISES.promise("entries are not modified")
def _untouched(tested: _Tested) -> None:
    """The entry of an epoch is not modified."""
    logger, entry = tested.cls(tested.runs), _entry(1)
    logger.start("untouched", _RECIPE)
    logger.epoch(entry)
    logger.close()
    expect(entry == _entry(1), f"the unmodified entry {_entry(1)}", entry)


def _entry(epoch: int) -> dict[str, Any]:
    return {"epoch": epoch, "train_loss": 1 / epoch, "valid_loss": 2 / epoch, "lr": 0.1, "seconds": 1.5, "best": True}


def _scores() -> dict[str, dict[str, Score]]:
    return {part: {"accuracy": Score(0.75, 20, 0.5, 0.9)} for part in ("train", "valid")}
