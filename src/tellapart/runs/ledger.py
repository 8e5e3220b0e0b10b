"""The ledger of openings: every time a test part is scored, one line is appended to `runs/ledger.jsonl`.

The count is printed with every table and report: a test set that was looked at many times is no longer unseen.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from tellapart.formatting import after_opening
from tellapart.io import now
from tellapart.runs.store import Run


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
    line = json.dumps(asdict(opening)).encode() + b"\n"
    with (runs / "ledger.jsonl").open("a+b") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        file.write(line if file.read() in (b"", b"\n") else b"\n" + line)  # after a line cut short, one of its own
    return opening


def openings(runs: Path, data: str) -> list[Opening]:
    """All openings of the test part of one data set, oldest first.

    A line that a full disk cut short is of an opening that did not happen: the line comes before the scoring.
    """
    path = runs / "ledger.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    whole = [line for line in lines if line.startswith("{") and line.endswith("}")]
    return [o for o in (Opening(**json.loads(line)) for line in whole) if o.data == data]


def times_opened(runs: Path, data: str, before: str | None = None) -> int:
    """How many invocations have scored the test part of this data set.

    Args:
        runs: The folder of runs, with its ledger.
        data: Fingerprint of the table.
        before: Only those that began before this time (ISO 8601, UTC); when a run was made, for example.
    """
    began: dict[str, str] = {}
    for opening in openings(runs, data):
        began.setdefault(opening.session, opening.time)
    return sum(before is None or time < before for time in began.values())


def test_openings(run: Run) -> int:
    """How often the test part of a run's data has been opened."""
    return times_opened(run.runs, run.data["fingerprint"])


def test_reuse_notes(run: Run) -> list[str]:
    """Whether the run was begun after the test part of its data had been opened: then somebody may have chosen by it."""
    began = run.environment.get("started")
    before = times_opened(run.runs, run.data["fingerprint"], before=str(began)) if began else 0
    return [f"this run was {after_opening(before)}"] if before else []
