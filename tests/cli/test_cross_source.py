"""`tellapart cross-source` and `tellapart learning-curve`: what is printed, written and refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from tellapart.cli import cross_source, learning_curve
from tellapart.errors import DataError, SplitError

LEVELS = {"camera": 90, "one": 160, "two": 170}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A CSV of real photographs and two generators, beside an empty folder in which commands run."""
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    rng, rows, part = np.random.default_rng(0), [], ["train"] * 28 + ["valid"] * 4 + ["test"] * 8
    for source, level in LEVELS.items():
        for i in range(40):
            name = f"{source}-{i}.png"
            Image.fromarray(rng.normal(level, 30, (6, 6)).clip(0, 255).astype(np.uint8)).save(tmp_path / name)
            rows.append((name, "real" if source == "camera" else "fake", source, part[i]))
    pd.DataFrame(rows, columns=["image", "label", "source", "split"]).to_csv(tmp_path / "data.csv", index=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "data.csv"


def run(name: str, *arguments: object) -> str:
    """The command in this process; its errors are raised, its output returned."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command("cross-source")(cross_source.run)
    app.command("learning-curve")(learning_curve.run)
    found = CliRunner().invoke(app, [name, *map(str, arguments), "-q"])
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return found.output


def test_cross_source(data):
    out = run("cross-source", data, "-r", "pixels-lda", "--figure", "heat.svg")
    lines = out.splitlines()
    assert lines[0].startswith("pixels-lda on data.csv: each source held out")
    assert lines[1].split()[:4] == ["held", "out", "n", "accuracy"]
    assert [line.split()[:2] for line in lines[2:4]] == [["one", "32"], ["two", "32"]]
    for said in (
        "exact paired test",
        "the share predicted as that class",
        "accuracy on the common images (n=4)",
        "the test split was not used",
    ):
        assert said in out
    assert "trained on one source: AUROC" in out and "runs and sources.json:" in out
    svg = Path("heat.svg").read_text()
    assert svg.count('id="seen"') == 2 and all(f'id="cell-{y}-{x}"' in svg for y in (0, 1) for x in (0, 1))
    content = json.loads(run("cross-source", data, "-r", "pixels-lda", "--json"))
    assert len(content["left_out"]) == 2 and len(content["matrix"]) == 4
    assert content["left_out"][0]["unseen"]["accuracy"]["n"] == 32
    assert f"{content['left_out'][0]['unseen']['accuracy']['value']:.3f}" in lines[2]


def test_learning_curve(data):
    out = run("learning-curve", data, "-r", "pixels-lda", "--sizes", "0.25,0.5,1", "--seeds", 2, "--figure", "curve.png")
    lines = out.splitlines()
    assert [int(line.split()[0]) for line in lines[2:5]] == [21, 42, 84]
    assert "no extrapolation: 3 sizes are too few" in out and "n=12 validation images" in out
    with Image.open("curve.png") as picture:
        assert picture.width > 600
    content = json.loads(run("learning-curve", data, "-r", "pixels-lda", "--sizes", "0.25,0.5,1", "--seeds", 2, "--json"))
    assert content["law"] is None and [len(size["seeds"]) for size in content["sizes"]] == [2, 2, 2]
    assert f"{content['sizes'][0]['accuracy']['value']:.3f}" in lines[2]


@pytest.mark.parametrize(
    ("name", "arguments", "error", "message"),
    [
        ("cross-source", ["--by", "camera"], DataError, "expected source or class"),
        ("learning-curve", ["--sizes", "0.5,3000"], SplitError, "up to 84"),
    ],
)
def test_what_makes_no_sense_is_refused(data, name, arguments, error, message):
    with pytest.raises(error, match=message):
        run(name, data, "-r", "pixels-lda", *arguments)
    assert not list(Path().glob("runs/*/*/runs/*/done"))


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("cross-source", ["--figure", "heat.gif"], "ends in .png or .svg"),
        ("cross-source", ["--figure", "heat.svg", "--no-matrix"], "--figure and --no-matrix"),
        ("learning-curve", ["--figure", "curve.gif"], "ends in .png or .svg"),
        ("learning-curve", ["--sizes", "half"], "expected numbers such as"),
    ],
)
def test_wrong_usage(data, name, arguments, message):
    assert message in " ".join(run(name, data, "-r", "pixels-lda", *arguments).replace("│", " ").split())
    assert not Path("runs").exists()
