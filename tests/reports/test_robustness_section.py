"""The robustness part of the report: there when a sweep is stored, with the sweep's own numbers."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from markupsafe import Markup

from tellapart.errors import DataError
from tellapart.io import write_json
from tellapart.leaderboards.leaderboard import build
from tellapart.perturbations.kinds import PERTURBATIONS
from tellapart.perturbations.scores import Robustness, flip_share, retained_scores, score_robustness
from tellapart.reports.robustness_section import curves, render_section
from tellapart.reports.svg import FigureSheet, write_figure
from tellapart.runs.store import Run
from tellapart.types import Predictions


def blurred(before: Predictions, share: float, seed: int) -> Predictions:
    """The answers with a share of the rows turned round."""
    turned = np.random.default_rng(seed).random(len(before)) < share
    proba = np.where(turned[:, None], before.proba[:, ::-1], before.proba)
    return Predictions(before.ids, proba, before.labels, before.classes)


def sweep(run: Run, name: str = "robustness-valid", silent: bool = False) -> Robustness:
    """A stored sweep, made up: the stronger the more verdicts flip."""
    before = run.predictions("valid")
    assert before is not None
    answers: dict = {
        (damage.name, strength): blurred(before, 0.12 * place, place)
        for damage in PERTURBATIONS.values()
        for place, strength in enumerate(damage.strengths)
    }
    if silent:
        answers["crop", 0.5] = "is 12×12, but resize: none <expects> 24×24"
    folder = run.runs / "evaluations" / run.id / name
    folder.mkdir(parents=True)
    found = Robustness(
        run.id, "photos", "valid", len(before), len(before) + 5, run.classes, retained_scores(before, run.positive),
        flip_share(before, before), score_robustness(before, answers, run.positive), 0, ("one <b>note</b>",), folder,
    )  # fmt: skip
    write_json(folder / "robustness.json", found.to_dict())
    (folder / "done").write_text("", encoding="utf-8")
    return found


@pytest.fixture
def svm(world: Callable, run: Callable) -> Run:
    return run(world(["real", "fake"], per_class=200, pictures=False), "svm", family="svm", test=False)


def rendered(run: Run, png: Path | None = None) -> Markup | None:
    (row,) = build([run]).rows
    return render_section(run, row, "k", FigureSheet(png))


def test_nothing_without_a_sweep(svm: Run) -> None:
    assert rendered(svm) is None
    unfinished = svm.runs / "evaluations" / svm.id / "robustness-valid"
    unfinished.mkdir(parents=True)
    assert rendered(svm) is None


def test_every_cell_stands_in_the_table(svm: Run, tmp_path: Path) -> None:
    found = sweep(svm)
    text = rendered(svm, tmp_path / "png")
    assert text is not None
    rows = dict(re.findall(r'<tr data-cell="([^"]+)">(.*?)</tr>', text, re.DOTALL))
    assert list(rows) == [cell.text for cell in found.cells]
    for cell in found.cells:
        row = rows[cell.text]
        assert cell.flips is not None and cell.change is not None
        assert f"<td>{cell.scores['accuracy'].value:.3f}<small>" in row and f"{100 * cell.flips.value:.1f}" in row
        assert f"{100 * cell.change.value:+.1f}".replace("-", "−") in row
        assert ("badge" in row) == cell.worse and f"<td>{cell.n}</td>" in row
    assert any(cell.worse for cell in found.cells) and not all(cell.worse for cell in found.cells)
    assert "flips of real" in text and "80 of 85 images" in text
    assert (tmp_path / "png" / f"{svm.id}-robustness-valid.png").exists()


def test_names_from_outside_are_text(svm: Run) -> None:
    sweep(svm, silent=True)
    text = rendered(svm)
    assert text is not None
    assert "one &lt;b&gt;note&lt;/b&gt;" in text and "no prediction: is 12×12, but resize: none &lt;expects&gt; 24×24" in text


def test_ids_on_the_page_are_unique(svm: Run) -> None:
    sweep(svm)
    sweep(svm, "robustness-others-12345678")
    text = rendered(svm)
    assert text is not None
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids)) > 0 and text.count("<svg") == 2
    assert "http" not in text


def test_the_panels_show_the_cells(svm: Run) -> None:
    found = sweep(svm)
    figure = curves(found)
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in panels] == list(found.perturbations)
    jpeg = [float(v) for v in panels[0].lines[1].get_ydata()]
    accuracies = [found.clean["accuracy"].value, *(c.scores["accuracy"].value for c in found.cells_of("jpeg"))]
    assert jpeg == accuracies
    ticks = {axes.get_title(loc="left"): [t.get_text() for t in axes.get_xticklabels()] for axes in panels}
    assert ticks["jpeg"] == ["none", "95", "85", "70", "50", "30"]
    assert ticks["brightness"] == ["−30%", "−15%", "none", "+15%", "+30%"]
    assert ticks["gray"] == ["none", "yes"]


def test_one_damage_is_a_figure_too(svm: Run, tmp_path: Path) -> None:
    found = sweep(svm)
    gray = Robustness.from_dict(found.to_dict() | {"cells": [c.to_dict() for c in found.cells_of("gray")]}, tmp_path, 0)
    assert write_figure(curves(gray), tmp_path / "a.svg").read_text("utf-8").count("<svg") == 1
    with pytest.raises(DataError, match="expected a file name that ends in .png or .svg"):
        write_figure(curves(gray), tmp_path / "a.pdf")
