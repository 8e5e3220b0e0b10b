"""The tutorials are run as they stand: their Python blocks, their commands in order, in an empty folder."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tellapart.cli.main import main

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```(?P<info>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
#: It runs until it is stopped; tests/serve starts servers.
NOT_RUN = "tellapart serve "


def follow(page: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Run a page; from each command to what it printed.

    Exit code 7 is that of a `check` that found something, which a tutorial may show.
    """
    names: dict[str, Any] = {"__name__": "docs"}
    said: dict[str, str] = {}
    for number, block in enumerate(BLOCK.finditer((DOCS / page).read_text("utf-8")), 1):
        if block["info"] == "python":
            exec(compile(block["body"], f"{page}, block {number}", "exec"), names)
            continue
        for line in block["body"].splitlines():
            if line.startswith("tellapart ") and not line.startswith(NOT_RUN):
                monkeypatch.setattr(sys, "argv", shlex.split(line.partition(" #")[0]))
                capsys.readouterr()
                try:
                    main()
                    code = 0
                except SystemExit as end:
                    code = int(end.code or 0)
                output = capsys.readouterr()
                assert code in ((0, 7) if " check " in line else (0,)), f"{line}\n{output.err}\n{output.out}"
                said[line] = output.out
    return said


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("TELLAPART_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_COLOR", "1")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def test_a_competition_ends_in_a_submission(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    said = follow("competition.md", monkeypatch, capsys)
    sample, submission = pd.read_csv("competition/sample_submission.csv"), pd.read_csv("submission.csv")
    assert list(submission.columns) == list(sample.columns) and (submission["id"] == sample["id"]).all()
    assert set(submission["label"]) <= {0, 1} and len(said) == 9


def test_real_pictures_end_in_a_detector(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    said = follow("real-or-fake.md", monkeypatch, capsys)
    answers = next(out for line, out in said.items() if "predict" in line)
    assert answers.count("photos/") == 120 and "decision" in answers.splitlines()[0]
    assert Path("detector/model.onnx").stat().st_size > 10_000
