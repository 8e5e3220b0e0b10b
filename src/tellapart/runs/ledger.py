"""The ledger of openings: every time a test part is scored, one line is appended to `runs/ledger.jsonl`.

The count is printed with every table and report: a test set that was looked at many times is no longer unseen.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from tellapart.runs.store import now


@dataclass(frozen=True)
class Opening:
    """One scoring of the test part by one run."""

    time: str  # ISO 8601, UTC
    run: str
    data: str  # fingerprint of the table
    n: int  # test images
    by: str  # the verb: "compare", "evaluate"
    session: str  # one invocation opens the test part once, for however many runs


def record(runs: Path, run_id: str, data: str, n: int, by: str, session: str) -> Opening:
    """Append one opening."""
    opening = Opening(now(), run_id, data, n, by, session)
    with (runs / "ledger.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(opening)) + "\n")
    return opening


def openings(runs: Path, data: str) -> list[Opening]:
    """All openings of the test part of one data set, oldest first."""
    path = runs / "ledger.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [o for o in (Opening(**json.loads(line)) for line in lines) if o.data == data]


def times_opened(runs: Path, data: str) -> int:
    """How many invocations have scored the test part of this data set."""
    return len({o.session for o in openings(runs, data)})
