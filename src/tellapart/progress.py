"""Progress of long work: library code reports it, the command line decides what is shown.

`SILENT` shows nothing. `Terminal` shows bars with rate and remaining time, with the curves so far below; without a terminal,
it prints one line for each finished task. Everything goes to standard error, so that standard output stays clean for `--json`.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tellapart.terminal import hanging

#: "loss" → "train" → one value per epoch; the curves of one row share a scale.
Curves = Mapping[str, Mapping[str, Sequence[float]]]
_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDEST = 24  # characters of one curve


class Task(ABC):
    """One piece of long work."""

    @abstractmethod
    def advance(self, steps: int = 1, note: str = "") -> None:
        """Report `steps` more steps; `note` is a short live text such as "loss 0.41"."""


class Progress(ABC):
    """Receiver of progress reports."""

    @abstractmethod
    @contextmanager
    def task(self, name: str, total: int | None, unit: str) -> Iterator[Task]:
        """Open a task of `total` steps (None: unknown), counted in `unit` ("img")."""
        yield from ()

    @abstractmethod
    def say(self, text: str, style: str = "") -> None:
        """Print a line; brackets in names are no markup, further lines are indented. `style`: of rich, such as "bold"."""

    @abstractmethod
    def curves(self, rows: Curves) -> None:
        """Show the curves of the current work, replacing those shown before; an empty mapping ends it."""


class _SilentTask(Task):
    def advance(self, steps: int = 1, note: str = "") -> None:
        del steps, note


class Silent(Progress):
    """Shows nothing."""

    @contextmanager
    def task(self, name: str, total: int | None, unit: str) -> Iterator[Task]:
        """Open a task that is not shown."""
        del name, total, unit
        yield _SilentTask()

    def say(self, text: str, style: str = "") -> None:
        """Print nothing."""
        del text, style

    def curves(self, rows: Curves) -> None:
        """Draw nothing."""
        del rows


SILENT = Silent()


class Terminal(Progress):
    """Bars on a terminal; otherwise one line when a task ends. `console`: a rich Console on standard error."""

    def __init__(self, console: Any) -> None:
        self.console = console
        self.drawn = ""

    def say(self, text: str, style: str = "") -> None:
        """Print a line."""
        self.console.print(hanging(text), style=style or None, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def task(self, name: str, total: int | None, unit: str) -> Iterator[Task]:
        """Open a bar; a task of less than a second leaves no trace."""
        task = _Bar(self, name, total, unit)
        try:
            yield task
        finally:
            task.close()

    def curves(self, rows: Curves) -> None:
        """On a terminal, draw below the bars that follow; the last curves stay visible. Otherwise draw nothing."""
        if not self.console.is_terminal:
            return
        if not rows and self.drawn:
            for line in self.drawn.splitlines():
                self.say(line, "dim")
        self.drawn = draw(rows, self.console.width)


class _Bar(Task):
    def __init__(self, owner: Terminal, name: str, total: int | None, unit: str) -> None:
        self.owner, self.console, self.name, self.total, self.unit = owner, owner.console, name, total, unit
        self.done, self.note, self.start, self.bar = 0, "", time.monotonic(), None
        if self.console.is_terminal:
            self.bar, self.id = self._open()

    def _open(self) -> tuple[Any, Any]:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.text import Text

        owner = self.owner

        class Bars(Progress):
            def get_renderables(self) -> Iterator[Any]:
                yield from super().get_renderables()
                if owner.drawn:
                    yield Text(owner.drawn, style="dim", no_wrap=True, overflow="crop")

        columns = (
            TextColumn("  {task.description}", markup=False), BarColumn(bar_width=20), MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", markup=False), TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", style="dim", markup=False),
        )  # fmt: skip
        bar = Bars(*columns, console=self.console, transient=True, refresh_per_second=4)
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


def draw(rows: Curves, columns: int = 80) -> str:
    """Draw curves as text, one line per row: each at most 24 characters on the row's scale, then its last value.

    >>> draw({"loss": {"train": [0.9, 0.5, 0.1]}})
    '  loss      train █▅▁ 0.100'
    """
    lines = []
    for title, curves in rows.items():
        values = [v for curve in curves.values() for v in curve if math.isfinite(v)]
        if values:
            width = min(_WIDEST, max((columns - 12) // len(curves) - 14, 4))
            parts = [
                f"{label} {_blocks(curve, width, min(values), max(values))} {curve[-1]:.3f}" for label, curve in curves.items()
            ]
            lines.append(f"  {title:<9} {'  '.join(parts)}")
    return "\n".join(lines)


def _blocks(curve: Sequence[float], width: int, low: float, high: float) -> str:
    """Draw one curve in at most `width` characters: of a longer one, evenly spaced values, the last one included."""
    if len(curve) > width:
        curve = [curve[round(i * (len(curve) - 1) / (width - 1))] for i in range(width)]
    step = (high - low) / (len(_BLOCKS) - 1)
    return "".join(" " if not math.isfinite(v) else _BLOCKS[round((v - low) / step) if step else 0] for v in curve)
