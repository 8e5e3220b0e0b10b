"""`combine` end to end on a tiny folder of real image files: what it makes, how it is judged, and what it refuses."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import binomtest

import tellapart as ta
from tellapart.classifiers.base import groups_of
from tellapart.combiners.greedy import Greedy
from tellapart.combiners.stack import Stack
from tellapart.data.listing import from_paths
from tellapart.data.memory import from_arrays
from tellapart.errors import RecipeError, RunError, TellapartError
from tellapart.inference.context import Settings
from tellapart.metrics.cross_validation import deal_folds
from tellapart.runs import ledger
from tellapart.runs.store import Run
from tellapart.types import ImageTable, Predictions
from tellapart.workflows.combine import ensemble_gain
from tellapart.workflows.kfold import kfold

CNN = ("classifier.stages=[{widths: [4]}]", "train.epochs=4", "train.images=null", "train.keep_best=3", "inputs.size=12")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folder of 120 images of two classes that overlap, and the runs of four families on it."""
    top = tmp_path_factory.mktemp("combine")
    generator = np.random.default_rng(0)
    for name, level in (("real", 110), ("fake", 120)):
        (top / "data" / name).mkdir(parents=True)
        for i in range(60):
            pixels = (level + generator.normal(0, 25, (12, 12, 3)) + generator.normal(0, 8)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(top / "data" / name / f"{i}.png")
    settings = Settings(runs=top / "runs", device="cpu")
    for recipe in ("metadata", "knn", "spectrum-linear"):
        ta.train(top / "data", recipe, settings=settings)
    ta.train(top / "data", "cnn-small", overrides=CNN, settings=settings)
    return top / "data", top / "runs"


@pytest.fixture
def settings(made: tuple[Path, Path], tmp_path: Path) -> Settings:
    """A copy of the runs, so that tests do not see each other's."""
    shutil.copytree(made[1], tmp_path / "runs")
    return Settings(runs=tmp_path / "runs", device="cpu")


def _folds(table: ImageTable, seed: int) -> np.ndarray:
    return deal_folds(table.labels, groups_of(table), seed)


def of(settings: Settings, name: str) -> Run:
    return ta.open_run(name, settings.runs)


def test_a_combination_is_a_run_that_stands_beside_its_members(made, settings):
    run = ta.combine(["knn", "spectrum", "cnn"], how="vote", settings=settings)
    assert run.family == "ensemble" and run.recipe_name == "vote-3"
    assert sorted(run.data["parents"]) == sorted(of(settings, n).id for n in ("knn", "spectrum", "cnn"))
    board = ta.leaderboard(ta.list_runs(settings.runs))
    assert run.id in [row.run_id for row in board.rows] and len(board.rows) == 5
    parents = [of(settings, n).cost for n in ("knn", "spectrum", "cnn")]
    assert run.cost["fit_seconds"] > sum(p["fit_seconds"] for p in parents)
    assert run.cost["parameters"] == sum(p["parameters"] for p in parents)
    assert run.cost["images_per_second"] == pytest.approx(1 / sum(1 / p["images_per_second"] for p in parents))
    assert "vote" in (run.folder / "card.md").read_text("utf-8")


def test_its_answers_are_those_of_the_stored_votes(settings):
    run = ta.combine(["knn", "spectrum", "cnn"], how="mean", settings=settings)
    for part in ("train", "valid"):
        stored = [of(settings, n).predictions(part) for n in ("knn", "spectrum", "cnn")]
        np.testing.assert_allclose(run.predictions(part).proba, np.mean([s.proba for s in stored], axis=0), atol=1e-6)
        assert list(run.predictions(part).ids) == list(stored[0].ids)
        assert run.predictions(part).run_id == run.id


@pytest.mark.parametrize("how", ["vote", "stack", {"greedy": {"rounds": 5}}])
def test_it_answers_new_images_as_it_answered_stored_ones(made, settings, how):
    """Through the members' classifiers, from the image files; of one that learns, by the final combiner."""
    run = ta.combine(["knn", "spectrum"], how=how, settings=settings)
    files = sorted((made[0] / "real").glob("*.png"))[:6]
    answers = ta.predict(run, from_paths(list(map(str, files))), settings=settings)
    train = run.predictions("train")
    stored = {Path(name).name: p for name, p in zip(train.ids, train.proba, strict=True) if name.startswith("real")}
    known = [(a, stored[Path(i).name]) for i, a in zip(answers.ids, answers.proba, strict=True) if Path(i).name in stored]
    assert len(known) >= 2
    np.testing.assert_allclose([a for a, _ in known], [s for _, s in known], atol=1e-5)


def test_it_is_found_by_its_members_wherever_the_verb_is_called(made, settings, monkeypatch, tmp_path):
    """Members are opened beside the ensemble; other settings than those it was made with do not matter."""
    run = ta.combine(["knn", "spectrum"], settings=settings)
    monkeypatch.chdir(tmp_path)
    images = from_paths([str(next((made[0] / "real").glob("*.png")))])
    assert len(ta.predict(run, images, settings=Settings(device="cpu"))) == 1


def test_a_missing_member_is_named(made, settings):
    run = ta.combine(["knn", "spectrum"], settings=settings)
    gone = of(settings, "knn")
    shutil.rmtree(gone.folder)
    with pytest.raises(RunError, match=f"{gone.id}, a member of the ensemble, is missing") as error:
        ta.predict(run, from_paths([str(next((made[0] / "real").glob("*.png")))]), settings=settings)
    assert "copy the run back" in str(error.value)


def test_the_gain_is_scipys_exact_test_against_the_best_member(settings):
    run = ta.combine(["knn", "spectrum", "metadata"], how="geometric-mean", settings=settings)
    found = ensemble_gain(run)
    members = {of(settings, n).id: of(settings, n).predictions("valid") for n in ("knn", "spectrum", "metadata")}
    accuracy = {name: (p.predicted == p.labels).mean() for name, p in members.items()}
    assert accuracy[found["best"]] == max(accuracy.values())
    ours, best = run.predictions("valid"), members[found["best"]]
    only_ours = int(((ours.predicted == ours.labels) & (best.predicted != best.labels)).sum())
    only_best = int(((ours.predicted != ours.labels) & (best.predicted == best.labels)).sum())
    wanted = binomtest(only_ours, only_ours + only_best).pvalue if only_ours + only_best else 1.0
    assert found["test"]["p_value"] == pytest.approx(wanted, abs=1e-9)
    assert found["result"] == ("no evidence of a gain" if wanted >= 0.05 else found["result"])


def test_what_learns_is_judged_on_what_it_did_not_learn_from(settings):
    """The stored validation answers of a selection are cross-fitted; each fold by a selection that never saw it."""
    run = ta.combine(["knn", "spectrum", "cnn"], how={"greedy": {"rounds": 4}}, settings=settings)
    members = [of(settings, n).predictions("valid") for n in ("knn", "spectrum", "cnn")]
    voters, labels = np.stack([m.proba for m in members]), members[0].labels
    options = Greedy.Options(rounds=4)
    final = Greedy(options).fit(voters, labels)
    assert [m["weight"] for m in ensemble_gain(run)["members"]] == pytest.approx(final.weights.tolist())
    stored = run.predictions("valid").proba
    fold = _folds(of(settings, "metadata").table().where(split="valid"), 0)
    for one in range(5):
        learnt, asked = fold != one, fold == one
        wanted = Greedy(options).fit(voters[:, learnt], labels[learnt])(voters[:, asked])
        np.testing.assert_allclose(stored[asked], wanted, atol=1e-6)
    assert any("each predicting the fifth that it was not fitted on" in note for note in run.cost["notes"])


# --- out of fold ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folded(made: tuple[Path, Path]) -> list[str]:
    """Ids of two k-fold runs, in the same folder as the others."""
    settings = Settings(runs=made[1].parent / "folded", device="cpu")
    shutil.copytree(made[1], settings.runs)
    return [kfold(made[0], recipe, folds=3, settings=settings).id for recipe in ("knn", "spectrum-linear")]


@pytest.fixture
def aside(made: tuple[Path, Path], folded: list[str], tmp_path: Path) -> Settings:
    """A copy of the runs, the k-fold runs among them."""
    shutil.copytree(made[1].parent / "folded", tmp_path / "aside")
    return Settings(runs=tmp_path / "aside", device="cpu")


@pytest.mark.parametrize("options", [{}, {"learner": "boosting", "rounds": 5}], ids=["logistic", "boosting"])
def test_a_stack_of_k_fold_runs_learns_from_their_out_of_fold_answers(made, folded, aside, options):
    run = ta.combine(folded, how={"stack": options}, settings=aside)
    voters = np.stack([of(aside, name).predictions("oof").proba for name in folded])
    first = of(aside, folded[0]).predictions("oof")
    labels, table = first.labels, of(aside, folded[0]).table()
    rows = table.take(table.frame["split"].isin(["train", "valid"]).to_numpy())
    assert len(labels) == 96 and list(rows.ids) == list(first.ids)
    fold, wanted = _folds(rows, 0), np.empty(voters.shape[1:], dtype=np.float32)
    for one in range(5):
        learnt, asked = fold != one, fold == one
        wanted[asked] = Stack(Stack.Options(**options)).fit(voters[:, learnt], labels[learnt])(voters[:, asked])
    np.testing.assert_allclose(run.predictions("oof").proba, wanted, atol=1e-6)
    for part in ("train", "valid"):
        mask = (rows.frame["split"] == part).to_numpy()
        np.testing.assert_allclose(run.predictions(part).proba, wanted[mask], atol=1e-6)
        assert list(run.predictions(part).ids) == list(rows.ids[mask])
        assert run.scores(part)["accuracy"].value == (wanted[mask].argmax(1) == labels[mask]).mean()
    assert any(
        "stack was fitted on out-of-fold predictions for 96 training and validation images" in n for n in run.cost["notes"]
    )
    best, found = voters[folded.index(ensemble_gain(run)["best"])], ensemble_gain(run)["out_of_fold"]["test"]
    ours, theirs = wanted.argmax(1) == labels, best.argmax(1) == labels
    only = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    assert found["p_value"] == pytest.approx(binomtest(only[0], sum(only)).pvalue if sum(only) else 1.0, abs=1e-9)
    files = from_paths([str(p) for p in sorted((made[0] / "real").glob("*.png"))[:3]])
    final = Stack(Stack.Options(**options)).fit(voters, labels)
    given = np.stack([ta.predict(name, files, settings=aside).proba for name in folded])
    np.testing.assert_allclose(ta.predict(run, files, settings=aside).proba, final(given), atol=1e-5)


@pytest.mark.parametrize("how", ["weighted", "greedy"])
def test_weights_and_selections_learn_out_of_fold_too(folded, aside, how):
    run = ta.combine(folded, how=how, settings=aside)
    assert any(f"{how} was fitted on out-of-fold predictions" in note for note in run.cost["notes"])
    found = [of(aside, name).predictions("oof") for name in folded]
    if how == "greedy":
        wanted = Greedy(Greedy.Options()).fit(np.stack([p.proba for p in found]), found[0].labels).weights
        assert [m["weight"] for m in ensemble_gain(run)["members"]] == pytest.approx(wanted.tolist())
    stored = run.predictions("oof")
    assert list(stored.ids) == list(found[0].ids) and set(run.predictions("valid").ids) < set(stored.ids)


def test_a_mean_of_k_fold_runs_has_out_of_fold_answers_and_may_be_stacked(folded, aside):
    mean = ta.combine(folded, settings=aside)
    found = [of(aside, name).predictions("oof").proba for name in folded]
    np.testing.assert_allclose(mean.predictions("oof").proba, np.mean(found, axis=0), atol=1e-6)
    stack = ta.combine([mean, folded[0]], how="stack", settings=aside)
    assert any("was fitted on out-of-fold predictions" in note for note in stack.cost["notes"])


def test_one_member_without_out_of_fold_answers_and_validation_is_what_teaches(folded, aside):
    plain = of(aside, "cnn")
    run = ta.combine([*folded, plain], how="stack", settings=aside)
    assert any(f"was fitted on validation predictions, since {plain.id} has none out of fold" in n for n in run.cost["notes"])
    assert run.predictions("oof") is None and len(run.predictions("valid")) == 12


def test_turned_labels_of_the_test_part_change_no_stack_of_k_fold_runs(folded, aside):
    first = ta.combine(folded, how="stack", settings=aside)
    for name in folded:
        path = of(aside, name).folder / "split.parquet"
        _blank_test(pd.read_parquet(path)).to_parquet(path, index=False)
    second = ta.combine(folded, how="stack", settings=replace(aside, overwrite=True))
    np.testing.assert_array_equal(first.predictions("oof").proba, second.predictions("oof").proba)


def test_folds_are_stratified_and_keep_groups_whole():
    images, labels = np.zeros((100, 2, 2), np.uint8), np.arange(100) % 2
    table = from_arrays(images, labels, ["a", "b"])
    fold = _folds(table, 0)
    assert np.bincount(fold).tolist() == [20] * 5
    assert all(abs(labels[fold == f].sum() - 10) <= 1 for f in range(5))
    grouped = replace(table, frame=table.frame.assign(group=[f"g{i // 7}" for i in range(100)]))
    fold = _folds(grouped, 0)
    assert all(len(set(fold[i : i + 7])) == 1 for i in range(0, 98, 7))


@pytest.mark.parametrize("how", ["vote", "weighted", "greedy", "stack", "rank"])
def test_the_test_part_is_never_looked_at(settings, how):
    """Blanked test labels, and then no test rows at all, change nothing; and nothing is entered in the ledger."""
    names, runs = ("knn", "spectrum"), []
    for change in (lambda f: f, _blank_test, _drop_test):
        for name in names:
            path = of(settings, name).folder / "split.parquet"
            change(pd.read_parquet(path)).to_parquet(path, index=False)
        runs.append(ta.combine(names, how=how, settings=Settings(runs=settings.runs, device="cpu", overwrite=True)))
    for other in runs[1:]:
        for part in ("train", "valid"):
            np.testing.assert_array_equal(other.predictions(part).proba, runs[0].predictions(part).proba)
        weights = [{m["member"]: m["weight"] for m in ensemble_gain(run)["members"]} for run in (runs[0], other)]
        assert weights[0] == weights[1]
    assert all(run.predictions("test") is None for run in runs)
    assert not ledger.openings(settings.runs, runs[0].data["fingerprint"])


def _blank_test(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(label=frame["label"].where(frame["split"] != "test", -1))


def _drop_test(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["split"] != "test"]


def test_made_after_an_opening_says_so(made, settings):
    ta.compare(made[0], ["knn"], settings=settings)
    run = ta.combine(["knn", "spectrum"], settings=settings)
    assert any("made after the test was opened once" in note for note in run.cost["notes"])


def test_an_ensemble_can_be_scored_on_the_test_part_later(settings):
    run = ta.combine(["knn", "spectrum"], settings=settings)
    ta.evaluate(run, open_test=True, settings=settings)
    tested = run.predictions("test")
    assert tested is not None and len(tested) == 24


# --- who votes --------------------------------------------------------------------------------------------------------


def test_all_runs_but_null_and_combinations_when_none_is_named(settings):
    first = ta.combine(how="mean", settings=settings)
    second = ta.combine(how="vote", settings=settings)
    assert sorted(second.data["parents"]) == sorted(first.data["parents"])
    assert {of(settings, p).family for p in second.data["parents"]} == {"knn", "linear", "network"}


def test_top_and_between_choose_by_validation(settings):
    everyone = ("metadata", "knn", "spectrum", "cnn")
    accuracy = {of(settings, n).id: of(settings, n).scores("valid")["accuracy"].value for n in everyone}
    best = sorted(accuracy, key=lambda n: -accuracy[n])[:2]
    run = ta.combine(everyone, top=2, settings=settings)
    assert accuracy[run.data["parents"][0]] + accuracy[run.data["parents"][1]] == sum(accuracy[b] for b in best)
    low, high = sorted(accuracy.values())[0], sorted(accuracy.values())[1]
    chosen = ta.combine(everyone, between=(low, high), settings=settings)
    assert all(low <= accuracy[p] <= high for p in chosen.data["parents"])
    assert any("chosen by validation accuracy" in note for note in chosen.cost["notes"])
    with pytest.raises(RunError, match="0 of 4 members are left"):
        ta.combine(everyone, between=(1.5, 2), settings=settings)


def test_the_same_combination_is_made_once(settings):
    one, two = (ta.combine(["knn", "spectrum"], how="vote", settings=settings) for _ in range(2))
    assert one.folder == two.folder
    assert ta.combine(["knn", "spectrum"], how={"confident": {"sure": 0.7}}, settings=settings).id != one.id


def test_an_ensemble_may_be_a_member(made, settings):
    inner = ta.combine(["knn", "spectrum"], settings=settings)
    outer = ta.combine([inner, "cnn"], how="mean", settings=settings)
    images = from_paths([str(next((made[0] / "real").glob("*.png")))])
    given = [ta.predict(r, images, settings=settings).proba for r in (inner, of(settings, "cnn"), outer)]
    np.testing.assert_allclose(given[2], (given[0] + given[1]) / 2, atol=1e-5)


# --- checkpoints and soups --------------------------------------------------------------------------------------------


def test_checkpoints_of_one_run_vote(made, settings):
    run = ta.combine(["cnn"], how="mean", checkpoints=True, settings=settings)
    parent = of(settings, "cnn")
    kept = sorted(p.stem for p in (parent.folder / "checkpoints").glob("*.safetensors"))
    assert [m["member"] for m in ensemble_gain(run)["members"]] == [f"{parent.id}@{int(k[-4:])}" for k in kept]
    assert run.data["parents"] == [parent.id] and len(kept) == 3
    best = parent.predictions("valid")
    assert max(m["valid"]["accuracy"]["value"] for m in ensemble_gain(run)["members"]) == (best.predicted == best.labels).mean()
    answers = ta.predict(run, parent.table().where(split="valid"), settings=settings)
    np.testing.assert_allclose(answers.proba, run.predictions("valid").proba, atol=1e-5)


def test_a_soup_is_the_mean_of_the_weights(settings):
    from safetensors.numpy import load_file

    run = ta.combine(["cnn"], how="soup", checkpoints=True, settings=settings)
    parent = of(settings, "cnn")
    states = [load_file(p) for p in sorted((parent.folder / "checkpoints").glob("*.safetensors"))]
    mixed = load_file(run.folder / "weights.safetensors")
    learnt = [k for k in mixed if "running" not in k and "num_batches" not in k]
    assert learnt
    for key in learnt:
        np.testing.assert_allclose(mixed[key], np.mean([s[key] for s in states], axis=0), atol=1e-6)
    assert run.family == "network" and run.data["parents"] == [parent.id]
    assert run.cost["parameters"] == parent.cost["parameters"]
    again = ta.predict(run, parent.table().where(split="valid"), settings=settings)
    np.testing.assert_allclose(again.proba, run.predictions("valid").proba, atol=1e-5)


def test_only_equal_networks_make_a_soup(made, settings):
    overrides = (*CNN, "train.keep_best=1", "classifier.stages=[{widths: [5]}]")
    other = ta.train(made[0], "cnn-small", overrides=overrides, settings=settings)
    small = next(r for r in ta.list_runs(settings.runs) if r.family == "network" and r.id != other.id)
    with pytest.raises(RunError, match=f"{small.id} and {other.id} differ in their options of the net"):
        ta.combine([small, other], how="soup", settings=settings)
    with pytest.raises(RunError, match="is not a network on images"):
        ta.combine(["knn", "spectrum"], how="soup", settings=settings)


# --- bad input --------------------------------------------------------------------------------------------------------


def test_runs_of_other_data_splits_or_classes_are_refused_by_name(made, settings, tmp_path):
    first = of(settings, "knn")
    for change, message in (
        ({"fingerprint": "0"}, "were trained on different data"),
        ({"split_fingerprint": "0"}, "split the same data differently"),
        (
            {"classes": ["real", "edited"], "positive": None, "counts": {}},
            "have different classes: fake, real and real, edited",
        ),
    ):
        other = settings.runs / f"other-{next(iter(change))}"
        shutil.copytree(of(settings, "spectrum").folder, other)
        data = json.loads((other / "data.json").read_text("utf-8"))
        (other / "data.json").write_text(json.dumps(data | change), encoding="utf-8")
        if "classes" in change:
            (other / "classifier.json").write_text(json.dumps({"classes": change["classes"]}), encoding="utf-8")
        with pytest.raises(RunError, match=f"{first.id} and {other.name} .*{message}"):
            ta.combine([first, other.name], settings=settings)


def test_missing_rows_and_broken_probabilities_are_named(settings):
    broken = of(settings, "spectrum")
    path = broken.folder / "predictions" / "valid.parquet"
    whole = pd.read_parquet(path)
    whole.iloc[1:].to_parquet(path)
    with pytest.raises(TellapartError, match=f"{broken.id} has no prediction for '{whole['id'][0]}'"):
        ta.combine(["knn", "spectrum"], settings=settings)
    whole.assign(**{"p.real": np.nan}).to_parquet(path)
    with pytest.raises(RunError, match=rf"{broken.id}: .*valid.parquet cannot be used \(probabilities must be finite"):
        ta.combine(["knn", "spectrum"], settings=settings)


def test_what_cannot_be_combined_says_why(settings):
    with pytest.raises(RunError, match="1 of 1 members are left: expected at least two"):
        ta.combine(["knn", "knn"], settings=settings)
    with pytest.raises(RecipeError, match="unknown combiner 'vot': did you mean 'vote'"):
        ta.combine(["knn", "spectrum"], how="vot", settings=settings)
    with pytest.raises(RecipeError, match="how: greedy: .*unknown option 'bag': did you mean 'bags'"):
        ta.combine(["knn", "spectrum"], how={"greedy": {"bag": 3}}, settings=settings)
    with pytest.raises(RunError, match="has no stored epochs"):
        ta.combine(["knn", "spectrum"], checkpoints=True, settings=settings)
    with pytest.raises(RunError, match="is not a combination of runs"):
        ensemble_gain(of(settings, "knn"))
    with pytest.raises(RunError, match="expected finished runs, found none"):
        ta.combine(settings=Settings(runs=settings.runs / "nothing"))


def test_predictions_of_a_combination_round_trip(settings):
    run = ta.combine(["knn", "spectrum"], how="rank", settings=settings)
    stored = Predictions.from_parquet(run.folder / "predictions" / "valid.parquet")
    assert stored.classes == run.classes and np.isfinite(stored.proba).all()
