"""Progress of long work, shown or not: library code reports, the command line decides what a person sees.

`SILENT` shows nothing; `Terminal` shows bars with rate and time left on a terminal, and one line a finished task elsewhere.
Everything goes to standard error, so that standard output stays clean for `--json`.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Task(ABC):
    """One piece of long work."""

    @abstractmethod
    def advance(self, steps: int = 1, note: str = "") -> None:
        """`steps` more are done; `note` is a short live text such as "loss 0.41"."""


class Progress(ABC):
    """Where long work reports to."""

    @abstractmethod
    @contextmanager
    def task(self, name: str, total: int, unit: str) -> Iterator[Task]:
        """Open a task of `total` steps counted in `unit` ("img")."""
        yield from ()

    @abstractmethod
    def say(self, text: str, style: str = "") -> None:
        """One line for a person, as it is: brackets in file names are no markup. `style`: of rich, such as "bold"."""


class _SilentTask(Task):
    def advance(self, steps: int = 1, note: str = "") -> None:
        del steps, note


class Silent(Progress):
    """Shows nothing."""

    @contextmanager
    def task(self, name: str, total: int, unit: str) -> Iterator[Task]:
        """Open a task that nobody sees."""
        del name, total, unit
        yield _SilentTask()

    def say(self, text: str, style: str = "") -> None:
        """Say nothing."""
        del text, style


SILENT = Silent()


class Terminal(Progress):
    """Bars on a terminal; elsewhere one line when a task ends. `console`: a rich Console on standard error."""

    def __init__(self, console: Any) -> None:
        self.console = console

    def say(self, text: str, style: str = "") -> None:
        """Print one line."""
        self.console.print(text, style=style or None, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def task(self, name: str, total: int, unit: str) -> Iterator[Task]:
        """Open a bar; a task that is over at once leaves no trace."""
        task = _Bar(self.console, name, total, unit)
        try:
            yield task
        finally:
            task.close()


class _Bar(Task):
    def __init__(self, console: Any, name: str, total: int, unit: str) -> None:
        self.console, self.name, self.total, self.unit = console, name, total, unit
        self.done, self.note, self.start, self.bar = 0, "", time.monotonic(), None
        if console.is_terminal:
            self.bar, self.id = self._open()

    def _open(self) -> tuple[Any, Any]:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("  {task.description}"), BarColumn(bar_width=20), MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), TextColumn("[dim]{task.fields[note]}"),
        )  # fmt: skip
        bar = Progress(*columns, console=self.console, transient=True, refresh_per_second=4)
        bar.start()
        return bar, bar.add_task(self.name, total=self.total, rate="", note="")

    @property
    def rate(self) -> float:
        return self.done / max(time.monotonic() - self.start, 1e-9)

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.done += steps
        self.note = note or self.note
        if self.bar is not None:
            self.bar.update(self.id, advance=steps, rate=f"{self.rate:,.0f} {self.unit}/s", note=self.note)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.stop()
        seconds = time.monotonic() - self.start
        if seconds > 1:
            note = f" · {self.note}" if self.note else ""
            line = f"  {self.name}: {self.done:,} {self.unit} in {seconds:.0f} s, {self.rate:,.0f} {self.unit}/s{note}"
            self.console.print(line, style="dim", markup=False, highlight=False, soft_wrap=True)
