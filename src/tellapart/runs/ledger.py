"""The ledger of test evaluations: every time a test split is scored, a line is appended to `runs/ledger.jsonl`.

The count is printed with every table and report: a test set that was evaluated many times is no longer unseen.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from tellapart.errors import RunError
from tellapart.formatting import after_opening
from tellapart.io import now, open_own
from tellapart.places import check_inside
from tellapart.plain_data import LARGEST_JSON, parse_json
from tellapart.regular_files import read_text
from tellapart.runs._fields import Fields
from tellapart.runs.store import DONE, Run, lock_below


@dataclass(frozen=True)
class Opening:
    """One evaluation of one run on a test split."""

    time: str  # ISO 8601, UTC
    run: str
    data: str  # fingerprint of the table
    n: int  # test images
    by: str  # the command: "compare", "evaluate"
    session: str  # one invocation evaluates once, for any number of runs


def record(runs: Path, run_id: str, data: str, n: int, by: str, session: str) -> Opening:
    """Append one evaluation and flush it to the disk."""
    opening = Opening(now(), run_id, data, n, by, session)
    line = json.dumps(asdict(opening)).encode() + b"\n"
    with open_own(runs / "ledger.jsonl", "a+b") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
        file.write(line if file.read() in (b"", b"\n") else b"\n" + line)  # start a new line after a truncated one
        file.flush()
        os.fsync(file.fileno())
    return opening


@contextlib.contextmanager
def lock_test(runs: Path, data: str, waiting: Callable[[], object]) -> Iterator[None]:
    """Lock the test split of a data set: of two commands that evaluate the same runs on it at once, only the first does.

    `data` is the fingerprint of the table; the other arguments and the errors are those of `store.lock_run`.
    """
    with lock_below(runs, "evaluations", f".{data}.lock", waiting):
        yield


def next_evaluation(run: Run) -> Path:
    """An empty folder for the next evaluation of `run` on the test split; hold `lock_test`.

    Unfinished evaluations are emptied: their process was killed. Their folders stay, since a number is never used twice.
    """
    parent = run.runs / "evaluations" / run.id
    check_inside(parent, run.runs)
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.iterdir():
        if left.name.isdigit() and not (left / DONE).exists():
            check_inside(left, run.runs)
            for path in left.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    folder = parent / str(1 + max((int(p.name) for p in parent.iterdir() if p.name.isdigit()), default=0))
    (folder / "predictions").mkdir(parents=True)
    return folder


def openings(runs: Path, data: str) -> list[Opening]:
    """All evaluations on the test split of one data set, oldest first.

    A line that was truncated by a full disk is ignored: it is written before the evaluation, which then did not happen. Any
    other line that cannot be read counts as one evaluation of every data set: rather one too many than one too few.
    """
    path = runs / "ledger.jsonl"
    lines = read_text(path, LARGEST_JSON).splitlines() if path.exists() else []
    whole = [(number, line) for number, line in enumerate(lines, 1) if line.startswith("{") and line.endswith("}")]
    found = [_opening(path, number, line) or Opening("", "", data, 0, "unreadable", f"line {number}") for number, line in whole]
    return [opening for opening in found if opening.data == data]


def _opening(path: Path, number: int, line: str) -> Opening | None:
    """One line of the ledger; None where it cannot be read."""
    try:
        fields = Fields(path, parse_json(line), f"line {number}")
        texts = {name: fields.text(name) for name in ("time", "run", "data", "by", "session")}
        return Opening(**texts, n=int(fields.number("n", 0, 1e12, whole=True) or 0))
    except (RunError, ValueError):
        return None


def times_opened(runs: Path, data: str) -> int:
    """Number of invocations that evaluated the test split of this data set.

    Args:
        runs: The folder of runs, with its ledger.
        data: Fingerprint of the table.
    """
    return len({opening.session for opening in openings(runs, data)})


def opened_before(run: Run) -> int:
    """Number of evaluations of the test split of a run's data when the run was started: counted at that time, not derived
    from timestamps.
    """
    return int(run.environment.get("opened_before", 0))


def test_openings(run: Run) -> int:
    """Number of evaluations of the test split of a run's data until now."""
    return times_opened(run.runs, run.data["fingerprint"])


def test_reuse_notes(run: Run) -> list[str]:
    """A note if the run was started after the test split had been evaluated: it may have been chosen by those results."""
    before = opened_before(run)
    return [f"this run was {after_opening(before)}"] if before else []
