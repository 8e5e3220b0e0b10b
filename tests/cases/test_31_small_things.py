"""`-q` is silent, and no card or finding has doubled full stops or empty brackets (cases d and e)."""

from __future__ import annotations

import logging
import re

import numpy as np
from PIL import Image
from typer.testing import CliRunner

import tellapart as ta
from tellapart.cli.main import app
from tellapart.data.scan import scan
from tellapart.inference.context import Settings
from tellapart.training.setup import open_fabric
from tellapart.workflows.check import check


def test_choosing_a_precision_says_nothing(caplog, capfd) -> None:
    with caplog.at_level(logging.INFO):
        open_fabric("cpu", "bf16")
    assert capfd.readouterr() == ("", "") and not caplog.records


def _data(top, n: int):
    for c, name in enumerate(("real", "fake")):
        (top / name).mkdir(parents=True)
        for i in range(n):
            pixels = np.random.default_rng(100 * c + i).integers(0, 90, (8, 8, 3), np.uint8) + np.uint8(120 * c)
            Image.fromarray(pixels).save(top / name / f"{i}.png")
    return top


def _is_well_formed(text: str) -> bool:
    return not re.search(r"(?<!\.)\.\.(?!\.)|\(\)|\[\]", text)


def test_cards(tmp_path) -> None:
    run = ta.train(_data(tmp_path / "d", 10), "knn", settings=Settings(runs=tmp_path / "runs", device="cpu"))
    card = (run.folder / "card.md").read_text()
    assert "one folder per class (2: fake, real). Labeled images" in card and _is_well_formed(card.partition("## Recipe")[0])


def test_findings(tmp_path) -> None:
    for n in (1, 2, 8):
        table = scan(_data(tmp_path / str(n), n))
        for one in check(table).checks:
            assert _is_well_formed(f"{one.result.summary} {one.result.advice}"), one.result.summary


def test_quiet_commands_print_nothing_on_standard_error(tmp_path) -> None:
    data = _data(tmp_path / "d", 10)
    for recipe in ("knn", "mlp"):
        command = ["train", str(data), "-r", recipe, "-q", "--device", "cpu", "--runs", str(tmp_path / "runs")]
        more = [] if recipe == "knn" else ["--epochs", "1", "-s", "train.precision=bf16"]
        found = CliRunner().invoke(app, [*command, *more])
        assert found.exit_code == 0 and found.stderr == "", found.output
