"""Loggers, which show runs in other programs; one file each, the file name is the name for `--logger`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tellapart import registry
from tellapart.errors import SystemLimitError

if TYPE_CHECKING:
    from tellapart.runs.loggers.base import RunLogger


def open_loggers(names: Iterable[str], runs: Path) -> dict[str, RunLogger]:
    """Open the loggers of these names.

    Raises:
        RecipeError: Unknown logger.
        SystemLimitError: The packages of a logger are not installed.
    """
    return {name: _open(name, runs) for name in names}


def _open(name: str, runs: Path) -> RunLogger:
    try:
        return registry.find("loggers", name)(runs)
    except ImportError as error:
        hint = 'in the checkout: pip install ".[track]"'
        raise SystemLimitError(f"the logger {name} needs packages that are not installed ({error})", hint=hint) from error
