"""The training log of a run, rewritten after every epoch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tellapart.io import write_text_atomically
from tellapart.regular_files import read_text


class EpochLog:
    """`log.jsonl`: one line per epoch. An epoch that is logged again, after a crash, replaces its line and all later ones."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = read_text(path).splitlines() if path.exists() else []
        self.entries: list[dict[str, Any]] = [json.loads(line) for line in lines]

    @property
    def seconds(self) -> float:
        """Training time of all epochs."""
        return sum(entry["seconds"] for entry in self.entries)

    @property
    def last_epoch(self) -> int:
        """Number of the last epoch; 0 before the first has ended."""
        return self.entries[-1]["epoch"] if self.entries else 0

    def append(self, entry: dict[str, Any]) -> None:
        """Add one epoch."""
        self.entries = [e for e in self.entries if e["epoch"] < entry["epoch"]] + [entry]
        write_text_atomically(self.path, "".join(json.dumps(e) + "\n" for e in self.entries), durable=False)
