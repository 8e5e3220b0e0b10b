"""The calibration page: which part it shows, that its figures are the evaluation's, and what it says of a verdict."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tellapart.calibration.thresholds import risk_coverage
from tellapart.inference.context import Settings
from tellapart.inference.decision import decision
from tellapart.leaderboards.leaderboard import build
from tellapart.metrics.reliability import reliability_by_mass
from tellapart.reports.calibration_section import (
    Series,
    _section_data,
    reliability_diagram,
    render_section,
    risk_coverage_curve,
)
from tellapart.reports.svg import FigureSheet
from tellapart.runs.store import Run
from tellapart.types import Predictions
from tellapart.workflows.calibrate import calibrate


def shown(run: Run, png: Path | None = None) -> str:
    found = render_section(run, build([run]).rows[0], "r1", FigureSheet(png))
    assert found is not None
    return str(found)


def text(html: str) -> str:
    return " ".join(re.sub(r"<svg.*?</svg>|<[^>]+>", " ", html, flags=re.S).split())


@pytest.fixture
def two(world):
    return world(["real", "fake"], per_class=150, pictures=False)


def test_on_test_when_it_was_opened_else_on_validation(two, run, tmp_path):
    opened, closed = run(two, "a", seed=1), run(two, "b", seed=2, test=False)
    html = shown(opened, tmp_path / "png")
    assert 'data-split="test"' in html and "On the test images, n = 60" in text(html)
    html = shown(closed)
    said = "validation images, as the test split was not opened for this run, n = 60"
    assert 'data-split="valid"' in html and said in text(html)
    names = sorted(p.name for p in (tmp_path / "png").iterdir())
    assert names == [f"{opened.id}-reliability.png", f"{opened.id}-risk-coverage.png"]


def test_scores_and_points_are_those_of_the_evaluation(two, run):
    made = run(two, "a")
    row, answers = build([made]).rows[0], made.predictions("test")
    found = _section_data(made, row, "r1", FigureSheet(None))
    assert found.scores["ECE"] == made.scores("test")["ece"] and set(found.scores) == {
        "accuracy",
        "log-loss (nats)",
        "Brier",
        "ECE",
    }
    points = reliability_by_mass(answers.labels, answers.proba)
    np.testing.assert_array_equal(found.points.n, points.n)
    assert found.area == risk_coverage(answers.labels, answers.proba).area
    confidence = answers.proba.max(axis=1)
    assert found.gap == pytest.approx(confidence.mean() - (answers.predicted == answers.labels).mean(), abs=1e-6)
    html = shown(made)
    assert f"{found.area:.4f}" in html and f"{found.scores['ECE'].value:.3f}" in html
    assert "Calibration and decision rule" not in html and "before" not in text(html)


def test_a_calibrated_run_shows_its_verdict_and_what_was_before(two, run):
    parent = run(two, "a", skill=3)
    made = calibrate(parent, how="platt", fpr=0.1, unsure=0.8, settings=Settings(runs=two.runs))
    html = text(shown(made))
    assert "Calibration and decision rule Chosen on validation" in html and parent.id in html and "platt, slope" in html
    assert "fake at or above" in html and "false-positive rate" in html and "nominal 0.8" in html
    assert "on which the rule was chosen" in html and "calibration helped on validation: log loss" in html
    assert "before" in shown(made) and "class frequencies" not in html


def test_a_correction_of_the_mix_is_undone_before_it_is_looked_at(two, run):
    parent = run(two, "a")
    settings = Settings(runs=two.runs)
    plain, moved = (calibrate(parent, how="platt", prior=prior, settings=settings) for prior in (None, {"fake": 0.02}))
    parts = [_section_data(of, build([of]).rows[0], "r1", FigureSheet(None)) for of in (plain, moved)]
    assert parts[1].undone and not parts[0].undone
    np.testing.assert_allclose(parts[0].points.confidence, parts[1].points.confidence, atol=1e-4)
    assert parts[0].scores["ECE"].value == pytest.approx(parts[1].scores["ECE"].value, abs=1e-3)
    assert moved.scores("valid")["log-loss"].value > parts[1].scores["log-loss (nats)"].value + 0.1
    assert "before the correction for other class frequencies" in text(shown(moved))
    nothing = calibrate(parent, how="platt", prior={"fake": 0.0}, settings=settings)
    assert decision(nothing).uncorrected(np.full((1, 2), 0.5)) is None
    assert "they cannot appear calibrated here" in text(shown(nothing))


def test_many_classes(world, run):
    made = run(world([f"c{i}" for i in range(12)], per_class=40, pictures=False), "a")
    assert "ECE" in text(shown(made))
    kept = calibrate(made, unsure=0.8, settings=Settings(runs=made.runs))
    assert "of 12 classes" in text(shown(kept)) and "false-positive rate" not in text(shown(kept))


def test_few_or_no_answers_make_no_section(world, run):
    made = run(world(["real", "fake"], per_class=10, pictures=False), "a", test=False)
    row = build([made]).rows[0]
    assert render_section(made, row, "r1", FigureSheet(None)) is None
    (made.folder / "predictions" / "valid.parquet").unlink()
    assert render_section(made, row, "r1", FigureSheet(None)) is None


def test_names_are_escaped(world, run):
    made = run(world(["real", "<b>fake</b>"], per_class=150, pictures=False), "a", data={"positive": "<b>fake</b>"})
    html = shown(calibrate(made, fpr=0.2, settings=Settings(runs=made.runs)))
    assert "<b>fake" not in html and "&lt;b&gt;fake" in html


def test_figures_draw_what_they_are_given():
    """Dots at (mean confidence, share right), bars to Wilson's ends; the curve through (coverage, risk)."""
    rng = np.random.default_rng(0)
    p = rng.uniform(0.5, 1, 400)
    labels = (rng.random(400) > p).astype(int)
    proba = np.stack([p, 1 - p], axis=1)
    series = [Series("a", reliability_by_mass(labels, proba), risk_coverage(labels, proba))]
    upper, lower = reliability_diagram(series, "test", 2).axes
    dots = next(line for line in upper.lines if line.get_marker() == "o")
    np.testing.assert_array_equal(dots.get_xdata(), series[0].reliability.confidence)
    np.testing.assert_array_equal(dots.get_ydata(), series[0].reliability.accuracy)
    ends = [segment[:, 1].tolist() for segment in upper.collections[0].get_segments()]
    np.testing.assert_array_equal(
        ends, np.stack([series[0].reliability.accuracy_low, series[0].reliability.accuracy_high], axis=1)
    )
    assert [bar.get_height() for bar in lower.patches] == series[0].reliability.n.tolist()
    (axes,) = risk_coverage_curve([*series, replace(series[0], name="before")], "valid").axes
    curve = next(line for line in axes.lines if line.get_label().startswith("a, area"))
    np.testing.assert_array_equal(curve.get_ydata(), series[0].risk.risk)


def test_perfect_answers_can_be_drawn():
    labels = np.arange(40) % 2
    sure = np.eye(2)[labels]
    answers = Predictions(labels.astype(str).astype(object), sure.astype(np.float32), labels, ("a", "b"))
    series = [Series("a", reliability_by_mass(labels, answers.proba), risk_coverage(labels, answers.proba))]
    for figure in (reliability_diagram(series, "valid", 2), risk_coverage_curve(series, "valid")):
        assert FigureSheet(None).add(figure, "a", "k", "d").startswith("<svg")
