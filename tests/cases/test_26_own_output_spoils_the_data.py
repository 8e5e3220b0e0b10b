"""Results of tellapart inside the data: those that would be read are refused, the others are no class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tellapart.cli.main import app
from tellapart.data.prepare import prepare
from tellapart.data.scan import scan
from tellapart.errors import DataError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    for c, name in enumerate(("cat", "dog")):
        (tmp_path / "d" / name).mkdir(parents=True)
        for i in range(20):
            pixels = np.random.default_rng(100 * c + i).integers(0, 90, (8, 8, 3), np.uint8) + np.uint8(120 * c)
            Image.fromarray(pixels).save(tmp_path / "d" / name / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "d"


INSIDE = {
    "check --list": ["check", "d", "--list", "d/lists", "-q"],
    "check --fix-list": ["check", "d", "--fix-list", "d/fix.csv", "-q"],
    "split": ["split", "d", "-o", "d/split.csv", "-q"],
    "lr-range": ["lr-range", "d", "-r", "mlp", "-o", "d/rates.png", "-q"],
    "learning-curve": ["learning-curve", "d", "-r", "knn", "--figure", "d/curve.png", "-q"],
    "align": ["align", "d", "-o", "d/aligned", "-q"],
    "synth": ["synth", "d", "-o", "d/forged", "-q"],
}


@pytest.mark.parametrize("command", INSIDE.values(), ids=INSIDE)
def test_an_output_inside_the_data_is_refused(folder, command) -> None:
    before = sorted(folder.rglob("*"))
    found = CliRunner().invoke(app, command)
    assert isinstance(found.exception, DataError) and "inside the data" in found.exception.message, found.output
    assert "outside" in str(found.exception.hint)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    "command",
    [["explain", "knn", "d/cat/0.png", "--method", "occlusion", "-o", "d/explained", "-q"], ["report", "--png", "d/figures"]],
    ids=["explain", "report --png"],
)
def test_so_are_pictures_of_a_run(folder, command) -> None:
    assert CliRunner().invoke(app, ["train", "d", "-r", "knn", "-q", "--device", "cpu"]).exit_code == 0
    before = sorted(folder.rglob("*"))
    found = CliRunner().invoke(app, command)
    assert isinstance(found.exception, DataError) and "inside the data" in found.exception.message, found.output
    assert sorted(folder.rglob("*")) == before


def test_runs_and_a_report_inside_the_data_are_no_class(folder, monkeypatch) -> None:
    """The defaults of a user who works in the folder of the data."""
    monkeypatch.chdir(folder)
    for _ in range(2):
        found = CliRunner().invoke(app, ["train", ".", "-r", "knn", "-q", "--device", "cpu"])
        assert found.exit_code == 0, found.output
    assert len(list((folder / "runs").glob("*/done"))) == 1
    (folder / "report.html").write_text("x")
    (folder / "lists").mkdir()
    (folder / "lists" / "names.csv").write_text("image,label\n")
    table = scan(folder)
    prepare(table)
    assert table.classes == ("cat", "dog") and len(table) == 40


def test_an_empty_folder_is_still_an_empty_class(folder) -> None:
    (folder / "owl").mkdir()
    assert [problem.kind for problem in scan(folder).problems] == ["empty class"]
    (folder / "owl" / "readme.txt").write_text("x")
    assert [problem.kind for problem in scan(folder).problems] == ["other file"]
