"""`calibrate` end to end on a tiny folder of real image files: the new run, its honesty, its verdicts, and what it refuses."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

import tellapart as ta
from tellapart.calibration.thresholds import correct_prior
from tellapart.data.listing import from_paths
from tellapart.errors import DataError, RecipeError, RunError
from tellapart.inference.context import Settings
from tellapart.inference.decision import decision, has_decision
from tellapart.io import write_json
from tellapart.metrics.cross_validation import deal_folds
from tellapart.runs import ledger
from tellapart.runs.store import Run
from tellapart.types import Predictions
from tellapart.workflows.calibrate import ABOUT, HELPED, NO_EVIDENCE, calibrate, calibration_effect, decide, score_decisions


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folder of 200 images of two classes that overlap, 80 of them for validation, and three runs on it."""
    top = tmp_path_factory.mktemp("calibrate")
    generator = np.random.default_rng(0)
    for part, count in (("train", 40), ("valid", 40), ("test", 20)):
        for name, level in (("real", 110), ("fake", 120)):
            (top / "data" / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = (level + generator.normal(0, 25, (8, 8, 3)) + generator.normal(0, 8)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(top / "data" / part / name / f"{i}.png")
    settings = Settings(runs=top / "runs", device="cpu")
    for recipe in ("metadata", "knn", "spectrum-linear"):
        ta.train(top / "data", recipe, settings=settings)
    return top / "data", top / "runs"


@pytest.fixture
def settings(made: tuple[Path, Path], tmp_path: Path) -> Settings:
    """A copy of the runs, so that tests do not see each other's."""
    shutil.copytree(made[1], tmp_path / "runs")
    return Settings(runs=tmp_path / "runs", device="cpu")


def of(settings: Settings, name: str) -> Run:
    return ta.open_run(name, settings.runs)


def valid(run: Run) -> Predictions:
    found = run.predictions("valid")
    assert found is not None
    return found


def rewrite(run: Run, frame: pd.DataFrame) -> None:
    frame.to_parquet(run.folder / "predictions" / "valid.parquet", index=False)


def test_a_calibrated_run_is_a_run_and_the_parent_stays(settings):
    parent = of(settings, "knn")
    before = {p: p.read_bytes() for p in parent.folder.rglob("*") if p.is_file()}
    run = calibrate("knn", settings=settings)
    assert before == {p: p.read_bytes() for p in parent.folder.rglob("*") if p.is_file()}
    assert run.family == "calibrated" and run.recipe_name == "temperature-knn" and run.data["parents"] == [parent.id]
    assert run.id in [row.run_id for row in ta.leaderboard(ta.list_runs(settings.runs)).rows]
    assert run.cost["fit_seconds"] > parent.cost["fit_seconds"] and run.cost["parameters"] == parent.cost["parameters"] + 1
    assert has_decision(run) and not has_decision(parent)
    assert not ledger.openings(settings.runs, run.data["fingerprint"]) and run.predictions("test") is None
    assert calibrate("knn", settings=settings).id == run.id, "the same work lands in the same folder"
    assert calibrate("knn", settings=replace(settings, overwrite=True)).id != run.id


def test_it_answers_images_as_it_answered_stored_ones(made, settings):
    run = calibrate("knn", how="platt", prior={"fake": 0.1}, settings=settings)
    files = sorted((made[0] / "train" / "real").glob("*.png"))[:8]
    answers = ta.predict(run, from_paths(list(map(str, files))), settings=settings)
    train = run.predictions("train")
    stored = dict(zip(train.ids, train.proba, strict=True))
    wanted = [stored[next(name for name in stored if name.endswith(f"train/real/{file.name}"))] for file in files]
    np.testing.assert_allclose(answers.proba, wanted, atol=1e-5)
    raw = ta.predict("knn", from_paths(list(map(str, files))), settings=settings)
    np.testing.assert_allclose(decision(run)(raw.proba), answers.proba, atol=1e-6)


def test_validation_scores_are_cross_fitted(settings):
    """Each fifth by scikit-learn's logistic regression of the log-odds, learnt from the others."""
    parent = valid(of(settings, "knn"))
    run = calibrate("knn", how="platt", settings=settings)
    fold = deal_folds(parent.labels, parent.groups, 0)
    p = np.clip(parent.proba.astype(float), np.finfo(np.float32).eps, 1)
    x, wanted = np.log(p[:, [1]] / p[:, [0]]), np.empty(len(parent))
    for one in range(5):
        learnt = fold != one
        n = np.bincount(parent.labels[learnt])[parent.labels[learnt]]
        right, wrong = (n + 1) / (n + 2), 1 / (n + 2)  # Platt's targets, as weights of both classes
        y = np.concatenate([parent.labels[learnt], 1 - parent.labels[learnt]])
        fitted = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(
            np.tile(x[learnt], (2, 1)), y, np.concatenate([right, wrong])
        )
        wanted[~learnt] = fitted.predict_proba(x[~learnt])[:, 1]
    np.testing.assert_allclose(valid(run).proba[:, 1], wanted, atol=2e-4)
    everything = decision(run)(parent.proba)
    assert np.abs(everything - valid(run).proba).max() > 1e-4, "what is kept has learnt from all of validation"


def test_whether_it_helped_is_tested_on_the_same_images(settings):
    """A run that is right in 80 % gains where it says 99.9 %, and does not where it says 80 %."""
    parent, run = valid(of(settings, "knn")), calibrate("knn", how="platt", settings=settings)
    found = calibration_effect(run)
    assert set(found["before"]) == set(found["after"]) == set(ABOUT)
    for name, answers in (("before", parent), ("after", valid(run))):
        reference = log_loss(answers.labels, np.clip(answers.proba[:, 1].astype(float), 2**-23, 1 - 2**-23))
        assert found[name]["log-loss"]["value"] == pytest.approx(reference, abs=1e-6)
    rigged = of(settings, "metadata")
    frame = pd.read_parquet(rigged.folder / "predictions" / "valid.parquet")
    right = np.where(np.arange(len(frame)) % 5 == 0, 1 - frame["label"], frame["label"])
    for sure, wanted in ((0.999, HELPED), (0.8, NO_EVIDENCE)):
        columns = {f"p.{name}": np.where(right == c, sure, 1 - sure).astype("f4") for c, name in enumerate(rigged.classes)}
        rewrite(rigged, frame.assign(**columns))
        found = calibration_effect(calibrate(rigged, settings=replace(settings, overwrite=True)))
        assert found["result"] == wanted, found["summary"]
        gains = found["p_value"] < 0.05 and found["difference"]["high"] < 0
        assert gains == (wanted == HELPED)


def test_a_prior_is_applied_after_the_map_and_said(settings):
    plain = calibrate("spectrum", how="platt", settings=settings)
    moved = calibrate("spectrum", how="platt", prior={"fake": 0.02}, settings=settings)
    found = decision(moved)
    assert found.prior is not None and found.seen is not None
    wanted = correct_prior(valid(plain).proba, np.array(found.seen), np.array(found.prior))
    np.testing.assert_allclose(valid(moved).proba, wanted, atol=1e-6)
    assert calibration_effect(moved)["after"] == calibration_effect(plain)["after"], (
        "whether it helped is asked before the correction"
    )
    assert any("for the requested class frequencies" in note for note in moved.cost["notes"])
    assert not any("class frequencies" in note for note in plain.cost["notes"])


def test_thresholds_and_their_judgment(settings):
    run = calibrate("spectrum", fpr=0.2, prior={"fake": 0.1}, settings=settings)
    at = decision(run).threshold
    assert at is not None and at.fpr.value <= 0.2
    answers = valid(run)
    fake = answers.labels == run.classes.index("fake")
    scores = answers.proba[:, run.classes.index("fake")]
    report, said = score_decisions(run, answers), decide(run, answers)
    assert report.fpr.value == (scores >= at.threshold)[~fake].mean() and report.fpr.n == (~fake).sum()
    assert report.tpr.value == (scores >= at.threshold)[fake].mean()
    assert list(said.names) == ["fake" if s >= at.threshold else "real" for s in scores]
    dear = decision(calibrate("spectrum", cost=(20, 1), settings=settings)).threshold
    cheap = decision(calibrate("spectrum", cost=(1, 20), settings=settings)).threshold
    assert dear.threshold < cheap.threshold and dear.tpr.value >= cheap.tpr.value


@pytest.mark.parametrize("method", ["lac", "aps"])
def test_unsure_by_sets(settings, method):
    run = calibrate("spectrum", how="none", unsure=0.8, method=method, settings=settings)
    answers = valid(run)
    np.testing.assert_array_equal(answers.proba, valid(of(settings, "spectrum")).proba)
    report = score_decisions(run, answers)
    assert report.target_coverage == 0.8 and report.sets.covered.value >= 0.8
    assert decide(run, answers).unsure == round((1 - report.decided.value) * len(answers))
    assert calibration_effect(run)["after"] is None and run.recipe_name == "decision-spectrum-linear"


def test_unsure_by_a_band(settings):
    run = calibrate("spectrum", band=(0.3, 0.7), settings=settings)
    answers = valid(run)
    scores = answers.proba[:, run.classes.index("fake")]
    assert list(decide(run, answers).names == "unsure") == list((scores >= 0.3) & (scores < 0.7))


def test_the_null_and_an_ensemble_can_be_calibrated(made, settings):
    ensemble = ta.combine(["knn", "spectrum"], settings=settings)
    for parent in (ensemble.id, "metadata"):
        run = calibrate(parent, how="beta", settings=settings)
        answer = ta.predict(run, from_paths([str(made[0] / "train" / "fake" / "3.png")]), settings=settings)
        raw = ta.predict(parent, from_paths([str(made[0] / "train" / "fake" / "3.png")]), settings=settings)
        np.testing.assert_allclose(answer.proba, decision(run)(raw.proba), atol=1e-6)


def test_a_calibrated_run_can_be_a_member_and_opens_its_own_test_part(made, settings):
    run = calibrate("knn", how="platt", settings=settings)
    both = ta.combine([run, "spectrum"], settings=settings)
    assert len(ta.predict(both, from_paths([str(made[0] / "train" / "fake" / "3.png")]), settings=settings)) == 1
    found = ta.evaluate(run, open_test=True, settings=settings)
    assert found.opened == 1 and score_decisions(run, found.predictions).decided.n == found.scores["accuracy"].n
    again = calibrate("knn", how="beta", settings=settings)
    assert any("opened once" in note for note in again.cost["notes"])


def test_labels_of_test_rows_are_never_read(settings):
    """Other labels in the test part of the parent: the same run, the same decision."""
    first = calibrate("knn", how="platt", unsure=0.8, settings=settings)
    parent = of(settings, "knn")
    frame = pd.read_parquet(parent.folder / "split.parquet")
    frame.loc[frame["split"] == "test", "label"] = 0
    frame.to_parquet(parent.folder / "split.parquet", index=False)
    again = calibrate("knn", how="platt", unsure=0.8, settings=replace(settings, overwrite=True))
    assert decision(again) == decision(first)
    np.testing.assert_array_equal(valid(again).proba, valid(first).proba)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"how": "plat"}, RecipeError, "'temperature', 'platt'"),
        ({"prior": {"fak": 0.1}}, DataError, "the prior names 'fak', which is not one of fake, real"),
        ({"prior": {"fake": 0.7, "real": 0.7}}, DataError, "a sum of at most 1"),
        ({"prior": {"fake": -0.1}}, DataError, "between 0 and 1"),
        ({"fpr": 0.1, "cost": (1, 2)}, RecipeError, "not both"),
        ({"unsure": 0.9, "band": (0.2, 0.8)}, RecipeError, "not both"),
        ({"unsure": 1.5}, RecipeError, "below 1"),
        ({"method": "apps", "unsure": 0.9}, RecipeError, "'lac'"),
        ({"fpr": 0.1, "band": (0.999, 1.0)}, DataError, "is outside the band"),
    ],
)
def test_what_is_asked_wrongly(settings, options, error, message):
    with pytest.raises(error, match=message):
        calibrate("knn", settings=settings, **options)
    assert len(list(settings.runs.glob("*knn-*"))) == 1, "nothing was left behind"


def test_a_calibrated_run_is_not_calibrated_again(settings):
    run = calibrate("knn", settings=settings)
    with pytest.raises(RunError, match="calibrated already") as error:
        calibrate(run, how="platt", settings=settings)
    assert f"tellapart calibrate {run.data['parents'][0]}" in str(error.value)


def test_runs_without_usable_validation_answers(settings):
    parent = of(settings, "knn")
    file = parent.folder / "predictions" / "valid.parquet"
    frame = pd.read_parquet(file)
    name = f"p.{parent.classes[0]}"
    rewrite(parent, frame.assign(**{name: frame[name].where(frame.index != 2)}))
    with pytest.raises(RunError, match=r"valid.parquet: cannot be read \(probabilities must be finite"):
        calibrate(parent, settings=settings)
    rewrite(parent, frame[frame["label"] == 0])
    with pytest.raises(DataError, match="validation images are of one class, fake"):
        calibrate(parent, settings=settings)
    rewrite(parent, frame[:0])
    with pytest.raises(RunError, match="no predictions on its validation split"):
        calibrate(parent, settings=settings)
    file.unlink()
    with pytest.raises(RunError, match="no predictions on its validation split"):
        calibrate(parent, settings=settings)


def test_a_run_without_a_decision_rule_has_none(settings):
    parent = of(settings, "knn")
    for ask in (decision, calibration_effect):
        with pytest.raises(RunError, match=f"tellapart calibrate {parent.id}"):
            ask(parent)
    run = calibrate(parent, settings=settings)
    (run.folder / "decision.json").write_text("{", "utf-8")
    with pytest.raises(RunError, match=r"decision\.json: cannot be read as JSON"):
        decision(run)


def test_a_missing_parent_is_named(made, settings):
    run = calibrate("knn", settings=settings)
    shutil.rmtree(of(settings, run.data["parents"][0]).folder)
    with pytest.raises(RunError, match="which was calibrated, is missing") as error:
        ta.predict(run, from_paths([str(made[0] / "train" / "fake" / "3.png")]), settings=settings)
    assert "copy the run back" in str(error.value)


def test_everything_decided_is_in_one_file(settings):
    run = calibrate("spectrum", how="beta", prior={"fake": 0.05}, fpr=0.2, unsure=0.8, settings=settings)
    content = json.loads((run.folder / "decision.json").read_text("utf-8"))
    assert {"map", "seen", "prior", "threshold", "sets", "band", "n", "positive"} <= set(content)
    assert content["threshold"]["fpr"]["n"] > 0 and content["sets"]["coverage"] == 0.8 and content["positive"] == "fake"
    write_json(run.folder / "decision.json", content)
    assert decision(run).to_dict() == {k: v for k, v in content.items() if k != "beneath"}
