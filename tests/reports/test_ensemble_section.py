"""The ensemble part of a run's page, on a real combination of runs written by hand."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
from scipy.stats import binomtest

from tellapart import formatting
from tellapart.inference.context import Settings
from tellapart.io import write_json
from tellapart.leaderboards.leaderboard import build
from tellapart.reports.ensemble_section import render_section
from tellapart.reports.report import write_report
from tellapart.reports.svg import FigureSheet
from tellapart.runs.store import Run
from tellapart.workflows.combine import combine

MEMBERS = ("svm", "mlp", "forest")


@pytest.fixture(scope="module")
def world_of_three(new_world, run, tmp_path_factory):
    """Three runs and a vote of them."""
    place = new_world(tmp_path_factory.mktemp("ensemble"), ["cat", "dog"], per_class=100, pictures=False)
    runs = [
        run(place, name, skill=skill, seed=i + 1) for i, (name, skill) in enumerate(zip(MEMBERS, (1.2, 1.0, 0.9), strict=True))
    ]
    for of in runs:
        write_json(of.folder / "classifier.json", {"classes": ["cat", "dog"]})
    made = combine(runs, how="weighted", settings=Settings(runs=place.runs, device="cpu"))
    return place, runs, made


def content(runs, run, level=4):
    """The part for one run."""
    board = build(runs)
    row = next(row for row in board.rows if row.run_id == run.id)
    return render_section(run, row, "k", FigureSheet(None), level)


def test_only_ensembles_have_it(world_of_three):
    _, runs, made = world_of_three
    assert content([*runs, made], runs[0]) is None
    shown = content([*runs, made], made, 5)
    assert shown and shown.startswith('<h5 class="part">Ensemble members</h5>')


def test_members_stand_with_scores_weights_and_what_they_alone_get_right(world_of_three):
    _, runs, made = world_of_three
    shown = str(content([*runs, made], made))
    answers = {run.id: run.predictions("valid") for run in runs}
    right = {name: of.predicted == of.labels for name, of in answers.items()}
    it = made.predictions("valid").predicted == made.predictions("valid").labels
    count = np.sum(list(right.values()), axis=0)
    for run in runs:
        (line,) = re.findall(rf'<th scope="row" class="text">{run.id}.*?</tr>', shown, flags=re.DOTALL)
        alone = right[run.id] & (count == 1)
        assert formatting.fraction(right[run.id].mean()) in line
        assert re.findall(r"<td>([\d,]+)</td>", line)[-2:] == [str(alone.sum()), str((alone & it).sum())]
    weights = [float(w) for w in re.findall(r"<td>(0\.\d{3}|1\.000)</td>", shown)]
    assert len(weights) == 3 and sum(weights) == pytest.approx(1, abs=2e-3)
    n, some = len(it), (count > 0) & (count < 3)
    said = f"All members are correct on {(count == 3).sum()} of {n} images, and none on {(count == 0).sum()}."
    assert f"{said} Of the {some.sum()} images" in shown and f"is correct on {(some & it).sum()}." in shown


def test_the_verdict_is_scipys(world_of_three):
    _, runs, made = world_of_three
    shown = str(content([*runs, made], made))
    best = max(runs, key=lambda run: run.scores("valid")["accuracy"].value).predictions("valid")
    ours = made.predictions("valid")
    a, b = ours.predicted == ours.labels, best.predicted == best.labels
    p = binomtest(int((a & ~b).sum()), int((a ^ b).sum())).pvalue if (a ^ b).any() else 1.0
    assert formatting.no_break(formatting.p_value(p)) in shown
    verdict = "No evidence of a gain over" if p >= 0.05 else "A gain over"
    assert f"<p>{verdict}" in shown


def test_the_matrix_holds_the_shares_of_differing_answers(world_of_three):
    _, runs, made = world_of_three
    shown = str(content([*runs, made], made))
    names = re.findall(r'<th scope="row" class="text">([^<]+)', shown)
    answers = {run.id: run.predictions("valid").predicted for run in runs}
    for i, a in enumerate(names):
        for j, b in enumerate(names):
            (group,) = re.findall(rf'id="k-members-d-{i}-{j}".*?</g>', shown, flags=re.DOTALL)
            assert (f">{100 * np.mean(answers[a] != answers[b]):.1f}<" if i != j else ">–<") in group


def test_without_a_member_the_table_stays(world_of_three, tmp_path):
    place, runs, made = world_of_three
    shutil.copytree(place.runs, tmp_path / "runs")
    shutil.rmtree(tmp_path / "runs" / runs[1].id)
    kept = [Run(tmp_path / "runs" / run.id) for run in (runs[0], made)]
    shown = str(content(kept, kept[1]))
    assert "<svg" not in shown and "are not stored" in shown
    assert shown.count("<tr") == 4


def test_the_report_shows_it_and_links_to_it(world_of_three, tmp_path):
    _, runs, made = world_of_three
    text = write_report([*runs, made], tmp_path / "report.html").read_text("utf-8")
    (key,) = re.findall(r'id="(d0-r\d)-ensemble"', text)
    assert f'<a href="#{key}-ensemble">members</a>' in text
    board = build([*runs, made])
    (line,) = board.lineage
    assert line.startswith("weighted-3 of svm, mlp, forest: ") and line.endswith("to fit, members included.")
    assert formatting.no_break(line).replace("'", "&#39;") in text
