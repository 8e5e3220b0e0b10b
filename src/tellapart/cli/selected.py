"""The runs that a command ranks or reports on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tellapart.cli import options as opt

if TYPE_CHECKING:
    from tellapart.errors import RunError
    from tellapart.runs.store import Run


def selected(names: list[str] | None, runs: Path, images: Path | None = None) -> list[Run]:
    """The named runs, else all finished ones; each that cannot be read is named on standard error and left out.

    Args:
        names: Runs; none: all.
        runs: The folder of all runs.
        images: Folder of the images of runs that were trained elsewhere.

    Raises:
        RunError: A named run cannot be read, or no run can.
    """
    from tellapart.runs.store import select_runs

    damaged: list[RunError] = []
    found = select_runs(names or [], runs, images, damaged)
    for error in damaged:
        opt.err().print(f"left out: {error.message}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    return found
