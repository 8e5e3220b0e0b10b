"""Codec, or fragility, on a run's page: there when an answer is stored, with that answer's own numbers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from markupsafe import Markup

from tellapart.io import write_json
from tellapart.leaderboards.leaderboard import build
from tellapart.perturbations.codec_sensitivity import measure_sensitivity
from tellapart.reports.codec_section import render_section, shifts
from tellapart.reports.svg import FigureSheet
from tellapart.runs.store import Run
from tellapart.types import Predictions
from tellapart.workflows.codec_bias import CodecBias, describe


def leaning_on(before: Predictions, towards: float) -> Predictions:
    """The answers, drawn towards the second class by a share of the way (back by one below 0)."""
    end = np.array([0.0, 1.0]) if towards > 0 else np.array([1.0, 0.0])
    proba = (1 - abs(towards)) * before.proba + abs(towards) * end
    return Predictions(before.ids, proba.astype(np.float32), before.labels, before.classes)


@pytest.fixture
def svm(world: Callable, run: Callable) -> Run:
    return run(world(["real", "fake"], per_class=200, pictures=False), "svm", family="svm", test=False)


def asked(run: Run, name: str = "bias-valid", silent: bool = False) -> CodecBias:
    """A stored answer, made up: JPEG pushes towards one class, rescaling towards the other."""
    before = run.predictions("valid")
    assert before is not None
    answers = {"png": before, "jpeg": leaning_on(before, 0.3), "scale": leaning_on(before, -0.3)}
    given = dict.fromkeys(answers, "is <odd>") if silent else answers
    folder = run.runs / "evaluations" / run.id / name
    folder.mkdir(parents=True)
    classes = (measure_sensitivity(before, given, np.arange(len(before), dtype=float), 1),)
    unanswered = {way: str(why) for way, why in given.items()} if silent else {}
    found = CodecBias(
        run.id, "photos", "valid", len(before), len(before) + 5, 75, classes, unanswered, 0, ("one <b>note</b>",), folder
    )
    write_json(folder / "bias.json", found.to_dict())
    (folder / "done").write_text("", encoding="utf-8")
    return found


def rendered(run: Run) -> Markup | None:
    (row,) = build([run]).rows
    return render_section(run, row, "k", FigureSheet(None))


def test_nothing_without_an_answer(svm: Run) -> None:
    assert rendered(svm) is None
    (svm.runs / "evaluations" / svm.id / "bias-valid").mkdir(parents=True)  # begun, not finished
    assert rendered(svm) is None


def test_every_side_stands_in_the_table(svm: Run) -> None:
    found = asked(svm)
    text = rendered(svm)
    assert text is not None and describe(found) in text and "depends on the codec" in describe(found)
    rows = dict(re.findall(r'<tr[^>]* data-cell="([^"]+)">(.*?)</tr>', text, re.DOTALL))
    (one,) = found.classes
    assert list(rows) == [f"{one.name} {way.transform} {scope}" for way in one.transforms for scope in ("own", "others")]
    for way in one.transforms:
        for scope, side in (("own", way.own), ("others", way.others)):
            row = rows[f"{one.name} {way.transform} {scope}"]
            assert f"{100 * side.shift.value:+.1f}".replace("-", "−") in row and f"<td>{side.n}</td>" in row
            assert ("badge" in row) == bool(side.counted) and f"{side.right.value:.3f}" in row
            assert f"{way.aurocs[scope].value:.3f}" in row
    assert "80 of 85 images" in text and "one &lt;b&gt;note" in text and text.count("<svg") == 1 and "http" not in text


def test_what_was_not_answered_is_said(svm: Run) -> None:
    asked(svm, silent=True)
    text = rendered(svm)
    assert text is not None and "<svg" not in text
    assert "No prediction for jpeg 75: the first image is &lt;odd&gt;" in text


def test_the_picture_shows_the_shifts(svm: Run) -> None:
    found = asked(svm)
    drawn = [
        line for axes in shifts(found).axes for line in axes.lines if line.get_marker() in ("o", "s") and len(line.get_xydata())
    ]
    shown = {(round(float(line.get_xdata()[0]), 6), line.get_markerfacecolor() == line.get_color()) for line in drawn}
    sides = [side for way in found.classes[0].transforms for side in (way.own, way.others)]
    assert shown == {(round(side.shift.value, 6), bool(side.counted)) for side in sides}
    several = replace(found, classes=tuple(replace(found.classes[0], name=f"class {i}") for i in range(6)))
    assert [axes.get_title(loc="left") for axes in shifts(several).axes] == [f"class {i}" for i in range(4)]
