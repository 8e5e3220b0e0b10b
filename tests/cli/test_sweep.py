"""`tellapart sweep`: table, JSON, files, and what is refused."""

from __future__ import annotations

import builtins
import json
from pathlib import Path

import pytest

SVM = ("-r", "svm-pca-rbf", "--grid", "features.pca=2,4", "--grid", "classifier.C=0.1,1,10")


def test_it_prints_a_table_and_names_the_best(tell, photos):
    code, out, err = tell("sweep", photos, *SVM, "-q")
    assert code == 0 and err == ""
    header = next(line for line in out.splitlines() if "features.pca" in line)
    assert header.split() == "features.pca classifier.C explained train valid 95 % interval gap seconds".split()
    assert "the test split was not used" in out and "5 of 5 others lie within its interval" in out
    (folder,) = Path("runs/sweeps").iterdir()
    assert folder.name.startswith("svm-pca-rbf-") and f"table and figures: {folder.resolve()}" in out
    names = {"trials.jsonl", "table.csv", "table.json", "heatmap.svg", "heatmap.png", "curves.svg", "curves.png"}
    assert names <= {path.name for path in folder.iterdir()}
    (run,) = Path("runs").glob("*/done")
    assert f"run {run.parent.name} in" in out and not Path("runs/ledger.jsonl").exists()


def test_progress_says_what_is_there_already(tell, photos):
    assert "6 candidates" in tell("sweep", photos, *SVM).err
    again = tell("sweep", photos, *SVM)
    assert again.code == 0 and "6 candidates, 6 of them there already" in again.err


def test_json_is_one_document(tell, photos):
    code, out, err = tell("sweep", photos, *SVM, "-q", "--json")
    found = json.loads(out)
    assert code == 0 and err == "" and len(found["trials"]) == 6 and len(found["pictures"]) == 4
    assert found["settings"] == ["features.pca", "classifier.C"] and found["run"].startswith("svm-pca-rbf-")
    assert {"train", "valid", "valid_low", "valid_high", "valid_n", "gap", "seconds"} <= set(found["trials"][0])


def test_one_setting_gives_curves_only(tell, photos):
    code, out, _ = tell("sweep", photos, "-r", "knn", "--grid", "classifier.k=1,3", "-q", "--json")
    assert code == 0 and [Path(p).name for p in json.loads(out)["pictures"]] == ["curves.svg", "curves.png"]


def test_draws(tell, photos):
    asked = ("-r", "svm-pca-rbf", "--range", "classifier.C=1e-2..1e2:log", "--grid", "classifier.kernel=rbf,linear")
    code, out, err = tell("sweep", photos, *asked, "--random", "5", "-q", "--json")
    assert code == 0 and err == "" and len(json.loads(out)["trials"]) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no setting to vary"),
        (["--grid", "features.pcs=1"], "did you mean 'pca'"),
        (["--grid", "features.pca"], "expected KEY=VALUE"),
        (["--grid", "features.pca=[1"], "expected YAML values"),
        (["--grid", "features.pca=0"], "at least 1"),
        (["--range", "features.pca=1..5:int"], "add --random 20"),
        (["--range", "features.pca=5..1", "--random", "2"], "LOW below HIGH"),
        (["--grid", "features.pca=1,2", "-s", "features.pca=3"], "both set for all candidates and varied"),
    ],
)
def test_what_makes_no_sense_is_refused(tell, photos, arguments, message):
    code, out, err = tell("sweep", photos, "-r", "svm-pca-rbf", *arguments, "-q")
    assert code == 4 and out == "" and message in err and "Traceback" not in err
    assert not Path("runs").exists()


def test_optuna_that_is_not_installed_is_named_with_its_extra(tell, photos, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.partition(".")[0] == "optuna":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    code, _, err = tell("sweep", photos, "-r", "knn", "--grid", "classifier.k=1,3", "--optuna", "2", "-q")
    assert code == 6 and ".[search]" in err
