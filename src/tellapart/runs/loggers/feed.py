"""Feeds the log of a run to the live curves and the loggers.

A line is in `log.jsonl` before any logger gets it. A logger that fails is named and dropped; the run continues, and repeating
the command feeds the logger the whole run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from tellapart.progress import Curves, Progress
from tellapart.recipe.load import Recipe, parse
from tellapart.runs.epoch_log import EpochLog
from tellapart.runs.loggers import open_loggers
from tellapart.runs.loggers.base import RunLogger
from tellapart.runs.store import Run

_PARTS = ("train", "valid")


class LoggerFeed:
    """The live curves and all loggers. A context around one run: the loggers are closed at its end, however it ends."""

    def __init__(self, names: Iterable[str], runs: Path, progress: Progress) -> None:
        self.loggers, self.progress = open_loggers(names, runs), progress

    def __enter__(self) -> LoggerFeed:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.progress.curves({})
        self._call(lambda logger: logger.close())

    def watch(self, run_id: str, recipe: Recipe, log: EpochLog) -> Callable[[dict[str, Any]], None]:
        """Begin or resume a run; returns the function to call with every further epoch."""
        self._catch_up(run_id, recipe, log.entries)

        def append(entry: dict[str, Any]) -> None:
            log.append(entry)
            self.progress.curves(curves(log.entries))
            self._call(lambda logger: logger.epoch(entry))

        return append

    def finish(self, run: Run) -> Run:
        """Log the scores of the watched run, which is finished."""
        self._call(lambda logger: logger.finish({part: run.scores(part) for part in _PARTS}))
        return run

    def replay(self, run: Run) -> Run:
        """Log a finished run from its first epoch to its scores."""
        if self.loggers:
            self._catch_up(run.id, parse(run.recipe, str(run.folder / "recipe.yaml")), run.log)
        return self.finish(run)

    def _catch_up(self, run_id: str, recipe: Recipe, entries: list[dict[str, Any]]) -> None:
        self._call(lambda logger: logger.start(run_id, recipe))
        for entry in entries:
            self._call(lambda logger, entry=entry: logger.epoch(entry))

    def _call(self, what: Callable[[RunLogger], None]) -> None:
        for name, logger in list(self.loggers.items()):
            try:
                what(logger)
            except Exception as error:  # loggers may raise errors of any type, which must not end a long training
                del self.loggers[name]
                again = "repeat the command after the run has finished to log it completely"
                self.progress.say(f"  the logger {name} failed and is no longer used ({error}); {again}", "red")


def curves(entries: Iterable[Mapping[str, Any]]) -> Curves:
    """Loss and accuracy of both splits by epoch, if they were measured."""
    entries, rows = list(entries), {}
    for kind in ("loss", "accuracy"):
        of = {part: [e[f"{part}_{kind}"] for e in entries if e.get(f"{part}_{kind}") is not None] for part in _PARTS}
        rows[kind] = {part: values for part, values in of.items() if values}
    return {kind: of for kind, of in rows.items() if of}
