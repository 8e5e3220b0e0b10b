"""Outputs stay outside of the data on which runs were trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tellapart.places import check_outside
from tellapart.runs.store import Run


def check_outside_data(path: Path, runs: Sequence[Run]) -> None:
    """Refuse an output folder of images inside the class folders on which runs were trained, since it would become a class.

    Raises:
        DataError: The folder is inside the class folders.
    """
    for run in runs:
        root = Path(str(run.data["root"]))
        if root.name == run.data["name"] and str(run.data["layout"]).startswith("one folder per class"):
            check_outside(path, root)
