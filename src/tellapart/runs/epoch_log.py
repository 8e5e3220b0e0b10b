"""The training log of a run, rewritten after every epoch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tellapart.io import write_text_atomically
from tellapart.runs.stored_tables import check_log


class EpochLog:
    """`log.jsonl`: one line per epoch. An epoch that is logged again, after a crash, replaces its line and all later ones.

    Raises:
        RunError: A line is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries = check_log(path)

    @property
    def seconds(self) -> float:
        """Training time of all epochs."""
        return sum(entry.get("seconds") or 0.0 for entry in self.entries)

    @property
    def last_epoch(self) -> int:
        """Number of the last epoch; 0 before the first has ended."""
        return self.entries[-1]["epoch"] if self.entries else 0

    def append(self, entry: dict[str, Any]) -> None:
        """Add one epoch."""
        self.entries = [e for e in self.entries if e["epoch"] < entry["epoch"]] + [entry]
        write_text_atomically(self.path, "".join(json.dumps(e) + "\n" for e in self.entries), durable=False)
