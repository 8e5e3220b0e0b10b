"""Commands in this process, and damaged files that a process of its own reads.

`fuzz.py` runs in processes of its own, and what it imports is no module of tests; `seeds` and `odd_files` may be imported here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
collect_ignore = ["fuzz.py", "mutations.py", "seeds.py", "odd_files.py"]
Answer = tuple[int, str, str]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Answer]:
    """`command("data", folder)` in this process: exit code, standard output, standard error."""
    from tellapart.cli.main import main

    for name in [name for name in os.environ if name.startswith("TELLAPART_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TELLAPART_VERBOSE", "")  # -v sets it, which is undone so
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["tellapart", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0), *capsys.readouterr()

    return run


@pytest.fixture
def read_damaged() -> Callable[[str, int, int], None]:
    """Read damaged "images" or "containers", and fail with the name and number of those that end otherwise than they may."""

    def read(kind: str, first: int, count: int) -> None:
        fuzz = HERE / "fuzz.py"
        done = subprocess.run([sys.executable, fuzz, kind, str(first), str(count)], capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        faults = [f"{fault['name']}, number {fault['number']}: {fault['fault']}" for fault in found["faults"]]
        assert not faults, f"{fuzz} {kind} NUMBER 1 reads one again\n" + "\n".join(faults)
        assert found["read"] + found["refused"] == count
        assert min(found["read"], found["refused"]) > count / 10  # both ends are reached

    return read
