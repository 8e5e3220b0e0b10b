"""The leaderboard on run folders written by hand: order, honesty, and what is shown."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import typer
from rich.console import Console
from scipy.stats import binomtest
from typer.testing import CliRunner

from tellapart.cli import leaderboard as cli
from tellapart.errors import RunError
from tellapart.io import write_json
from tellapart.leaderboards.leaderboard import NO_BASELINE, build, by_data
from tellapart.leaderboards.render import pairs_view, rich_view
from tellapart.leaderboards.row import NOT_SHOWN
from tellapart.metrics.delong import delong_test
from tellapart.metrics.pairwise import holm, minimum_detectable_difference
from tellapart.runs.store import Run
from tellapart.types import Score


def show(board, width: int = 120) -> str:
    console = Console(width=width, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(board)
    return capture.get()


@pytest.fixture
def ladder(write_run):
    """A null and two runs; the CNN is the best by validation, the SVM the better on test."""
    null = write_run("metadata", valid=32, test=52)
    svm = write_run("svm", valid=45, test=90, cost={"fit_seconds": 2.0, "notes": ["PCA kept 99 components"]})
    cnn = write_run("cnn-small", valid=50, test=85, family="network", cost={"fit_seconds": 185.0})
    return null, svm, cnn


def test_rows_are_ranked_by_validation_not_test(ladder):
    board = build(ladder)
    assert [(row.rank, row.recipe, row.family) for row in board.rows] == [
        (1, "cnn-small", "network"),
        (2, "svm", "svm"),
        (3, "metadata", "metadata"),
    ]
    assert [run.id for run in board.runs] == [row.run_id for row in board.rows]
    assert [row.test["accuracy"].value for row in board.rows] == pytest.approx([0.85, 0.90, 0.52])
    assert board.split_sizes == {"train": 120, "valid": 60, "test": 100}
    assert [run.id for run in build(reversed(ladder)).runs] == [run.id for run in board.runs]


@pytest.mark.parametrize("rank_by", ["accuracy", "macro-f1", "auroc", "log-loss"])
def test_every_ranking_puts_the_better_first(ladder, rank_by):
    assert [row.recipe for row in build(ladder, rank_by).rows] == ["cnn-small", "svm", "metadata"]


def test_equal_scores_are_ordered_by_parameters_then_id(write_run):
    large, small = (
        write_run("large", cost={"parameters": 9, "fit_seconds": 1}),
        write_run("small", cost={"parameters": 3, "fit_seconds": 5}),
    )
    same = write_run("also-small", cost={"parameters": 3, "fit_seconds": 9})
    assert [row.recipe for row in build([large, small, same]).rows] == ["also-small", "small", "large"]


def test_every_run_stands_against_the_null_on_the_same_test_images(ladder):
    cnn, svm, null = build(ladder).rows
    assert (svm.vs_baseline.only_a, svm.vs_baseline.only_b, svm.vs_baseline.n, svm.vs_baseline_split) == (38, 0, 100, "test")
    assert svm.vs_baseline.p_value == pytest.approx(binomtest(38, 38).pvalue)
    assert cnn.beats_baseline
    assert svm.mark == cnn.mark == ""
    assert (null.vs_baseline, null.beats_baseline, null.mark) == (None, None, "")


def test_a_run_that_does_not_beat_the_null_is_marked(write_run):
    null = write_run("metadata", valid=40, test=70)
    close, worse = write_run("close", valid=42, test=73), write_run("worse", valid=30, test=40)
    rows = {row.recipe: row for row in build([null, close, worse]).rows}
    assert rows["close"].vs_baseline.p_value == 0.25
    assert rows["close"].mark == rows["worse"].mark == NOT_SHOWN == "not shown to look at the pixels"
    assert rows["worse"].vs_baseline.significant
    assert not rows["worse"].beats_baseline, "significantly worse is not better"
    assert NOT_SHOWN in show(build([null, close, worse]), width=200).replace("\n", " ")


def test_without_both_openings_the_null_is_met_on_validation(write_run):
    null, svm = write_run("metadata", valid=30, test=50), write_run("svm", valid=50)
    row = build([null, svm]).rows[0]
    assert (row.vs_baseline_split, row.vs_baseline.n, row.test) == ("valid", 60, {})
    assert row.images_per_second == 900.0


def test_without_a_null_run_the_table_says_so(ladder):
    board = build(ladder[1:])
    assert all(row.vs_baseline is None and row.beats_baseline is None and row.mark == "" for row in board.rows)
    assert board.notes[-1] == NO_BASELINE
    assert "no metadata baseline" in show(board)


def test_the_strongest_null_is_the_one_to_beat(write_run):
    weak, strong = write_run("metadata", valid=30, test=50), write_run("metadata", valid=45, test=80, seed=1)
    svm = write_run("svm", valid=46, test=82)
    rows = {row.run_id: row for row in build([weak, strong, svm]).rows}
    assert rows[svm.id].vs_baseline.only_a == 2
    assert rows[weak.id].vs_baseline is None


def test_groups_are_the_units_of_every_test(write_run):
    null, svm = write_run("metadata", valid=30, test=50, groups=4), write_run("svm", valid=50, test=90, groups=4)
    board = build([null, svm])
    assert board.rows[0].vs_baseline.groups == 4
    assert board.rows[0].mark == NOT_SHOWN
    assert "4 groups are too few for a significant result" in board.top_two


def test_the_duel_is_between_the_two_best_by_validation_on_test(ladder):
    duel = build(ladder).top_two
    assert duel.startswith(
        "The two best runs by validation, compared on test: cnn-small is right on 0 images where svm is wrong"
    )
    assert "and wrong on 5 where svm is right, of 100: no evidence of a difference (exact McNemar p = 0.062" in duel


def test_an_unopened_duel_says_so(write_run):
    board = build([write_run("metadata", valid=31), write_run("svm", valid=50)])
    assert board.top_two.startswith(
        "The two best runs, compared on the validation images that ranked them (test not opened): svm is"
    )
    assert board.times_opened == 0
    assert show(board).rstrip().endswith("Test not opened.")
    assert build([write_run("alone")]).top_two == ""


def test_openings_are_counted_by_session(ladder, reopen):
    assert build(ladder).opened == "test opened once"
    reopen(ladder[1], 91, session="two")
    reopen(ladder[2], 86, session="two")
    assert build(ladder).opened == "test opened twice"
    reopen(ladder[1], 92, session="three")
    board = build(ladder)
    assert board.opened == "test opened 3 times"
    assert board.rows[1].test["accuracy"].value == pytest.approx(0.92), "the latest opening counts"
    assert "Test opened 3 times." in show(board)


def test_notes_name_their_run(ladder):
    board = build(ladder)
    assert board.notes == ("svm: PCA kept 99 components",)
    assert "Note: svm: PCA kept 99 components" in show(board)
    assert "more" in show(replace(board, notes=("more",)))


def test_runs_of_one_recipe_are_told_apart(write_run):
    runs = [write_run("svm", valid=50), write_run("svm", valid=40, seed=1), write_run("metadata", valid=30)]
    board = build([*runs, runs[0]])
    assert [row.name for row in board.rows] == ["svm (svm-0000)", "svm (svm-0001)", "metadata"]
    assert "svm (svm-0000) is right" in board.top_two


def test_runs_on_different_data_or_splits_never_share_a_table(write_run):
    one, two = write_run("svm"), write_run("svm", seed=1, data={"fingerprint": "0ther"})
    three = write_run("svm", seed=2, data={"split_fingerprint": "0ther"})
    assert by_data([one, two, three, one]) == {"d474/5911": [one, one], "0ther/5911": [two], "d474/0ther": [three]}
    for mixed in ([one, two], [one, three]):
        with pytest.raises(RunError, match="have different data or splits"):
            build(mixed)


def test_clear_errors(write_run):
    run = write_run("svm", classes=("a", "b", "c"))
    with pytest.raises(RunError, match="there are no runs"):
        build([])
    with pytest.raises(RunError, match="unknown ranking 'acuracy': did you mean 'accuracy'"):
        build([run], "acuracy")
    with pytest.raises(
        RunError, match=r"svm-0000 has no validation auroc; it needs two classes(.|\n)*accuracy, macro-f1, log-loss"
    ):
        build([run], "auroc")


def test_json_holds_every_score_of_every_split(ladder):
    content = json.loads(json.dumps(build(ladder).to_dict(), allow_nan=False))
    assert content["data"] == {"name": "photos", "fingerprint": "d474", "split_fingerprint": "5911", "positive": "fake"}
    assert (content["rank_by"], content["classes"], content["test_times_opened"]) == ("accuracy", ["real", "fake"], 1)
    assert len(content["runs"]) == 3
    for entry, run in zip(content["runs"], build(ladder).runs, strict=True):
        assert entry["run_id"] == run.id
        assert entry["split_sizes"] == {"train": 120, "valid": 60, "test": 100}
        assert entry["parameters"] == 62_006
        assert entry["images_per_second"] == 1234.5
        for split in ("train", "valid", "test"):
            stored = {name: score.to_dict() for name, score in run.scores(split).items()}
            assert entry["scores"][split] == stored
            assert all({"value", "n", "low", "high"} <= set(score) for score in stored.values())
    assert content["runs"][1]["vs_baseline"] | {"p_value": None} == {
        "only_a": 38, "only_b": 0, "n": 100, "p_value": None, "groups": None, "split": "test",
    }  # fmt: skip


def test_frame(ladder):
    frame = build(ladder).to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert list(frame.index) == [1, 2, 3]
    assert frame.loc[2, "test.accuracy"] == pytest.approx(0.9)
    assert frame.loc[2, "test.accuracy.low"] < 0.9 < frame.loc[2, "test.accuracy.high"]
    assert frame.loc[2, "test.accuracy.n"] == 100
    assert {"valid.log-loss.high", "test.auroc", "train.macro-f1", "fit_seconds", "beats_baseline"} <= set(frame.columns)


@pytest.mark.parametrize(("width", "stacked"), [(120, False), (100, True), (80, True)])
def test_the_terminal_shows_everything_at_any_width(ladder, width, stacked):
    text = show(build(ladder), width)
    assert max(map(len, text.splitlines())) <= width
    lines = text.splitlines()
    row = next(i for i, line in enumerate(lines) if "cnn-small" in line and "0.850" in line)
    block = " ".join(lines[row : row + (3 if stacked else 1)])
    test = build(ladder).rows[0].test
    expected = ["0.833", "0.850", "[0.767, 0.907]", f"{test['macro-f1'].value:.3f}", f"{test['auroc'].value:.3f}"]
    for figure in [*expected, "3.1 min", "1,234", "62.0 k", "no"]:
        assert figure in block, figure
    flowing = " ".join(text.split())
    assert "ranked by validation accuracy" in flowing
    assert "train n = 120, valid n = 60, test n = 100" in flowing
    assert "[low, high]: 95 % intervals" in flowing
    assert "…" not in "".join(lines[: row + 3]), "nothing is cut off"


def test_a_wide_terminal_has_one_line_a_run(ladder):
    lines = show(build(ladder), 120).splitlines()
    assert any("cnn-small" in line and "0.850 [0.767, 0.907]" in line and "3.1 min" in line for line in lines)


def test_many_classes_have_no_auroc_column(write_run):
    runs = [write_run("svm", classes=tuple("abcde"), valid=50, test=80)]
    assert "AUROC" not in show(build(runs))
    assert "AUROC" not in build(runs)._repr_html_()


def test_a_split_of_another_size_shows_its_n(ladder):
    board = build(ladder)
    odd = replace(board.rows[0], test={**board.rows[0].test, "accuracy": Score(0.8, 97, 0.7, 0.9)})
    assert "0.800 [0.700, 0.900] n=97" in show(replace(board, rows=(odd,)), 140)


def test_names_are_never_markup(write_run):
    board = build([write_run("[red]<script>")])
    assert "[red]<script>" in show(board)
    assert "<script>" not in board._repr_html_()


def test_html_is_well_formed_and_complete(ladder):
    seen: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag != "br":
                seen.append(tag)

        def handle_endtag(self, tag):
            assert tag in seen

    page = build(ladder)._repr_html_()
    Reader().feed(page)
    assert seen.count("tr") == 4
    assert "0.850 [0.767, 0.907]" in page
    assert "test n = 100" in page
    assert "Test opened once." in page


def test_log_loss_ranking_is_visible(ladder):
    board = build(ladder, "log-loss")
    text = show(board)
    assert "valid log-loss" in text
    assert f"{board.rows[0].valid['log-loss'].value:.3f}" in text
    assert rich_view(board).renderables
    assert np.isfinite(board.rows[0].valid["log-loss"].high)


def opened_before(run, times):
    """The run, as if it had been started after so many openings of the test split."""
    write_json(run.folder / "environment.json", {"device": "cpu", "opened_before": times})
    return Run(run.folder)


def test_every_run_stands_against_the_first_with_holms_correction(ladder):
    cnn, svm, null = build(ladder).rows
    assert cnn.vs_first is None
    alone = [binomtest(5, 5).pvalue, binomtest(33, 33).pvalue]
    assert [row.vs_first.p_alone for row in (svm, null)] == pytest.approx(alone)
    assert svm.vs_first.p_value == pytest.approx(max(alone[0], 2 * alone[1]))
    assert null.vs_first.p_value == pytest.approx(2 * alone[1])
    assert svm.vs_first.difference.value == pytest.approx(0.05) and svm.not_significant
    assert null.vs_first.difference.value == pytest.approx(-0.33) and not null.not_significant


def test_the_table_says_who_is_tied_by_which_test_and_what_n_can_show(ladder):
    board = build(ladder)
    text = " ".join(show(board, 150).split())
    assert "≈ +5.0 p = 0.062" in text and "−33.0 p < 0.001" in text
    assert (
        "vs first: points of accuracy on test; exact McNemar, Holm's correction for 2 comparisons; "
        "≈: not significantly different (p ≥ 0.05)." in text
    )
    assert "The minimum detectable difference for n = 100 images is unknown, as there are too few images." in text
    for width in (120, 80):
        assert "≈ +5.0" in show(board, width), "the mark stays where the p-value has no room"


def test_what_n_can_show_is_said(write_run):
    runs = [write_run("svm", valid=45, test=80), write_run("mlp", valid=40, test=np.arange(100) >= 30)]
    needed = minimum_detectable_difference(100, 0.5)
    text = " ".join(show(build(runs)).split())
    size = f"{100 * needed:.1f} points of accuracy"
    assert f"smallest difference that a test on n = 100 images detects with 80 % power is {size}" in text
    assert "(exactly one of svm and mlp is right on 50.0 % of them)" in text
    assert build(runs).to_dict()["against_first"]["detectable_difference"] == pytest.approx(needed)


def test_validation_decides_until_all_are_opened_and_that_is_said(write_run):
    board = build([write_run("metadata", valid=30, test=50), write_run("svm", valid=50, test=80), write_run("mlp", valid=45)])
    assert (board.comparisons.split, board.comparisons.n) == ("valid", 60)
    assert board.rows[1].vs_first.difference.value == pytest.approx(-5 / 60)
    assert "on validation, which also ranked the runs (test not opened for all)" in " ".join(show(board).split())


def test_runs_that_answer_alike_can_show_nothing(write_run):
    board = build([write_run("a", test=50), write_run("b", test=50)])
    assert board.rows[1].vs_first.p_value == 1
    assert "all runs are right on the same images" in " ".join(show(board).split())
    assert board.to_dict()["against_first"]["detectable_difference"] is None


def test_groups_are_the_units_against_the_first(write_run):
    runs = [write_run("metadata", valid=30, test=50, groups=20), write_run("svm", valid=50, test=90, groups=20)]
    board = build(runs)
    contrast = board.rows[1].vs_first
    assert contrast.test == "exact sign-flip test over groups" and contrast.counts.groups == 20
    assert "a test on n = 100 images in 20 groups detects with 80 % power is" in " ".join(show(board).split())


def test_ranked_by_auroc_the_test_is_delongs_and_that_is_said(ladder):
    board = build(ladder, "auroc")
    areas = [row.test["auroc"].value for row in board.rows]
    for row in board.rows[1:]:
        assert row.vs_first.difference.value == pytest.approx(row.test["auroc"].value - areas[0])
        test = delong_test(board.runs[row.rank - 1].predictions("test"), board.runs[0].predictions("test"), "fake")
        assert row.vs_first.p_alone == pytest.approx(test.p_value)
    text = " ".join(show(board).split())
    assert "hundredths of AUROC on test; DeLong" in text and "The AUROC is " in text


@pytest.mark.parametrize("rank_by", ["balanced-accuracy", "matthews", "brier", "ece"])
def test_newer_rankings(ladder, rank_by):
    board = build(ladder, rank_by)
    values = [row.valid[rank_by].value for row in board.rows]
    assert values == sorted(values, reverse=board.rows[0].valid[rank_by].higher_is_better)
    assert board.comparisons.metric == "accuracy"


def test_many_classes_rank_by_macro_auroc(write_run):
    runs = [write_run("svm", classes=tuple("abc"), valid=40), write_run("mlp", classes=tuple("abc"), valid=50)]
    assert [row.name for row in build(runs, "macro-auroc").rows] == ["mlp", "svm"]


def test_a_run_without_the_score_comes_last_and_that_is_said(write_run):
    """Matthews is not defined where all answers are one class."""
    one_class = np.arange(60) % 2 == 0  # right on every image of the first class: all answers are that class
    runs = [write_run("metadata", valid=one_class), write_run("svm", valid=20)]
    board = build(runs, "matthews")
    assert [row.name for row in board.rows] == ["svm", "metadata"]
    assert "metadata: matthews is undefined for its predictions, so it is ranked last" in board.notes
    assert "–" in show(board)


def test_runs_made_after_an_opening_are_marked_and_counted(write_run, reopen):
    first = opened_before(write_run("svm", valid=45, test=80), 0)
    late = opened_before(write_run("mlp", valid=50, test=85, session="two"), 2)
    rows = {row.name: row for row in build([first, late]).rows}
    assert (rows["svm"].late, rows["mlp"].late) == (0, 2)
    assert rows["mlp"].marks == ("made after the test was opened twice",)
    text = " ".join(show(build([first, late])).split())
    note = "its test score is optimistic if chosen by an earlier test score"
    assert "mlp †" in text and f"† made after the test was opened twice: 1 of 2 runs (mlp); {note}" in text
    assert build([first, late]).to_dict()["runs"][0]["made_after_openings"] == 2
    assert "†" not in show(build([first]))


def test_a_note_of_a_late_ensemble_is_not_said_twice(write_run):
    run = write_run("mean", cost={"notes": ["made after the test was opened once", "else"]})
    assert build([run]).notes[0] == "mean: else"


def test_pairs_are_all_tested_and_shown(ladder):
    board = build(ladder)
    pairs = board.pairs()
    assert list(pairs) == [(0, 1), (0, 2), (1, 2)]
    theirs = holm([binomtest(n, n).pvalue for n in (5, 33, 38)])
    assert [pair.p_value for pair in pairs.values()] == pytest.approx(theirs)
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        console.print(pairs_view(board))
    text = " ".join(capture.get().split())
    assert "All pairs, accuracy on test, n = 100" in text and "2 of 3 pairs differ significantly" in text
    content = board.to_dict()
    assert (content["pairs"][0]["a"], content["pairs"][0]["b"]) == (board.runs[0].id, board.runs[1].id)
    assert content["pairs"][0]["only_b"] == 5 and content["against_first"]["comparisons"] == 2
    json.dumps(content, allow_nan=False)


def test_the_command_prints_pairs_on_request_and_all_of_it_as_json(ladder):
    app, runs = typer.Typer(), str(ladder[0].runs)
    app.command()(cli.run)
    plain, pairs, as_json = (CliRunner().invoke(app, ["--runs", runs, *more]) for more in ([], ["--pairs"], ["--json"]))
    assert plain.exit_code == pairs.exit_code == as_json.exit_code == 0
    assert "All pairs" not in plain.stdout and "All pairs, accuracy on test, n = 100" in pairs.stdout
    (content,) = json.loads(as_json.stdout)
    assert [len(content["pairs"]), content["runs"][1]["vs_first"]["significant"]] == [3, False]


def test_one_run_has_no_pairs(write_run):
    board = build([write_run("svm", test=80)])
    assert board.pairs() == {} and board.rows[0].vs_first is None
    assert board.to_dict()["pairs"] == [] and "vs first:" not in show(board)
    console = Console(width=80)
    with console.capture() as capture:
        console.print(pairs_view(board))
    assert "there is only one run" in capture.get()


def test_an_ensemble_stands_with_its_parents_cost_and_gain(write_run):
    one, two = write_run("svm", valid=45), write_run("mlp", valid=40)
    both = write_run("mean-2", valid=47, family="ensemble", data={"parents": [one.id, two.id]}, cost={"fit_seconds": 31.0})
    test = {"only_a": 3, "only_b": 1, "n": 60, "p_value": 0.625, "groups": None}
    difference = {"value": 2 / 60, "n": 60, "low": -0.04, "high": 0.1, "higher_is_better": True, "unit": ""}
    members = [{"member": run.id, "valid": {}, "weight": None} for run in (one, two)]
    content = {"members": members, "best": one.id, "split": "valid", "result": "no evidence of a gain", "summary": "-"}
    write_json(both.folder / "gain.json", content | {"test": test, "difference": difference})
    board = build([one, two, both])
    assert board.rows[0].parents == (one.id, two.id)
    assert board.lineage == (
        "mean-2 of svm, mlp: no evidence of a gain over svm, the best of them, on validation (right on 3 images where that is "
        "wrong, wrong on 1 where it is right, of 60: exact McNemar p = 0.62; +3.3 points, 95 % CI −4.0 … +10.0); 31 s to fit, "
        "members included.",
    )
    assert "mean-2 of svm, mlp: no evidence of a gain" in " ".join(show(board).split())
    pooled = {"value": 0.8, "n": 180, "low": 0.7, "high": 0.9, "higher_is_better": True, "unit": ""}
    folds = {
        "folds": 3,
        "each": [{}] * 6,
        "over_folds": {"accuracy": {"mean": 0.81, "sd": 0.02}},
        "pooled": {"accuracy": pooled},
    }
    write_json(two.folder / "kfold.json", folds)
    effect = {"split": "valid", "result": "no evidence that calibration helped", "p_value": 0.4, "summary": "log loss +0.001"}
    write_json(write_run("temperature-svm", data={"parents": [one.id]}).folder / "effect.json", effect)
    assert set(build([*(one, two), Run(both.folder.parent / "temperature-svm-0000")]).lineage) == {
        "mlp: 6 models of 3 folds, accuracy 0.810 ± 0.020 (sd) over folds, out of fold 0.800 (95 % interval 0.700–0.900, "
        "n = 180); 12 s to fit, all models together.",
        "temperature-svm is svm with calibrated probabilities: no evidence that calibration helped on validation (log loss "
        "+0.001 p = 0.40).",
    }
    (two.folder / "kfold.json").unlink()
    (both.folder / "gain.json").unlink()
    assert build([one, two, both]).lineage == ("mean-2 combines svm, mlp; 31 s to fit, members included.",)
