"""What is left out is counted by class under every table, with a warning where the loss depends on the class."""

from __future__ import annotations

import html
import io
import json

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

import tellapart as ta
from tellapart.cli.main import app
from tellapart.data.left_out import summarize_problems
from tellapart.data.scan import scan
from tellapart.data.summary import summarize
from tellapart.inference.context import Settings
from tellapart.reports.report import write_report
from tellapart.types import Problem
from tellapart.workflows.check import check

LINE = "left out: 15 of 60 images (fake 15, real 0): corrupt image 15"
WARNING = "warning: the loss depends on the class: fake lost 15 of 30 images (50%), the others 0 of 30 (0%), p < 0.001"


@pytest.fixture(scope="module")
def top(tmp_path_factory):
    top = tmp_path_factory.mktemp("case03")
    for c, name in enumerate(("real", "fake")):
        (top / "data" / name).mkdir(parents=True)
        for i in range(30):
            pixels = np.random.default_rng(100 * c + i).integers(0, 90, (8, 8, 3), np.uint8) + np.uint8(120 * c)
            Image.fromarray(pixels).save(top / "data" / name / f"{i:02}.png")
    for i in range(15):
        (top / "data" / "fake" / f"{i:02}.png").write_bytes(b"<html>404</html>")
    return top


@pytest.fixture(scope="module")
def board(top):
    return ta.compare(top / "data", ["knn"], settings=Settings(runs=top / "runs", device="cpu", skip_bad=True))


def _printed(content: object) -> str:
    console = Console(width=200, file=io.StringIO(), color_system=None)
    console.print(content)
    return console.file.getvalue()


def test_data(top) -> None:
    summary = summarize(scan(top / "data"))
    assert "problems    15 of 60 images (fake 15, real 0): corrupt image 15" in _printed(summary)
    assert WARNING in _printed(summary) and summary.to_dict()["left_out"]["by_class"] == {"fake": 15, "real": 0}


@pytest.mark.parametrize("verb", [["train"], ["compare"], ["kfold", "--folds", "2"]])
def test_the_verbs_that_train(top, board, verb, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["-r", "knn", "--skip-bad", "-q", "--runs", str(top / "runs"), "--device", "cpu"]
    found = CliRunner().invoke(app, [verb[0], str(top / "data"), *verb[1:], *options])
    assert LINE in found.stdout and WARNING in found.stdout, found.output
    content = json.loads(CliRunner().invoke(app, [verb[0], str(top / "data"), *verb[1:], *options, "--json"]).stdout)
    lost = content["left_out"][0] if verb == ["compare"] else content["left_out"]
    assert lost["images"] == 15 and lost["of"] == 60 and lost["lopsided"]["name"] == "fake"


def test_leaderboard_report_card_and_check(top, board, tmp_path) -> None:
    found = CliRunner().invoke(app, ["leaderboard", "--runs", str(top / "runs")])
    assert LINE in found.stdout and WARNING in found.stdout
    page = html.unescape(write_report(board.runs, tmp_path / "r.html").read_text())
    assert LINE[1:] in page and WARNING[1:] in page
    assert LINE[1:] in (board.runs[0].folder / "card.md").read_text()
    files = next(item for item in check(scan(top / "data"), only=["files"]).checks if item.name == "files")
    assert files.result.severity == "problem" and "fake lost 15 of 30 images" in files.result.summary


def test_evaluation_of_other_images(top, board, tmp_path) -> None:
    for name in ("real", "fake"):
        (tmp_path / name).mkdir()
        for i in range(20, 26):
            pixels = np.asarray(Image.open(top / "data" / name / f"{i:02}.png")).copy()
            Image.fromarray(255 - pixels).save(tmp_path / name / f"{i}.png")
    (tmp_path / "real" / "20.png").write_bytes(b"<html>")
    found = ta.evaluate(board.runs[0], tmp_path, settings=Settings(runs=top / "runs", device="cpu", skip_bad=True))
    assert "left out: 1 of 12 images (real 1, fake 0): corrupt image 1" in found.notes


def test_another_loss_is_another_run(top, board, tmp_path) -> None:
    """The images that remain are the same, but a run says what was left out."""
    table = scan(top / "data").take(np.array([i for i in range(60) if not 0 <= i < 15]))
    assert table.labels.tolist().count(0) == 15
    settings = Settings(runs=top / "runs", device="cpu")
    assert ta.train(table, "knn", settings=settings).left_out.images == 0


@pytest.mark.parametrize(
    ("lost", "warns"), [((3, 0), False), ((15, 0), True), ((8, 8), False), ((0, 15), True), ((0, 0), False)]
)
def test_when_a_loss_depends_on_the_class(lost, warns) -> None:
    problems = [Problem("corrupt image", "x", "y", name, n) for name, n in zip("ab", lost, strict=True) if n]
    found = summarize_problems({name: 30 - n for name, n in zip("ab", lost, strict=True)}, problems)
    assert bool(found.warning()) == warns


def test_many_classes_and_unknown_ones() -> None:
    kept = {f"c{i}": 10 for i in range(20)}
    found = summarize_problems(kept, [Problem("missing file", "t.csv:2", "", "c3", 10), Problem("missing id", "t.csv:9", "")])
    assert found.summary().startswith("11 of 211 images (c3 10, c0 0, c1 0, c10 0, c11 0, 15 more classes 0, class unknown 1)")
    assert found.lopsided() is not None and found.lopsided().name == "c3"
