"""The main job from the command line, with the quickest recipes."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from tellapart.runs.store import open_run

QUICK = ("-r", "knn", "-q")


def shot(seed: int, top: Path) -> Path:
    return sorted((top / "light").glob("*.png"))[seed]


def test_data_shows_what_was_understood(tell, photos):
    code, out, err = tell("data", photos)
    assert code == 0 and err == ""
    assert "dark" in out and "light" in out and "20" in out and "8×8" in out
    code, out, err = tell("data", photos, "--json")
    assert code == 0 and err == "" and list(json.loads(out)["classes"]) == ["dark", "light"]


def test_train_scores_train_and_validation_only(tell, photos):
    code, out, err = tell("train", photos, "-r", "knn")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[:2]] == ["train", "valid"]
    assert "run knn-" in out and "valid accuracy 1.000" in err
    (run,) = [p for p in Path("runs").iterdir() if (p / "done").exists()]
    assert not Path("runs/evaluations").exists() and not (run / "predictions" / "test.parquet").exists()
    again = tell("train", photos, *QUICK, "--json")
    assert again.err == "" and json.loads(again.out)["run"] == run.name
    assert set(json.loads(again.out)["scores"]) == {"train", "valid"}


def test_settings_from_the_command_line_reach_the_run(tell, photos):
    found = json.loads(tell("train", photos, *QUICK, "-s", "classifier.k=1", "-s", "inputs.size=4", "--json").out)
    recipe = open_run(found["run"]).recipe
    assert recipe["classifier"]["k"] == 1 and recipe["inputs"]["size"] == 4


def test_a_fresh_run_is_another_run(tell, photos):
    first = json.loads(tell("train", photos, "-r", "metadata", "-q", "--json").out)["run"]
    fresh = json.loads(tell("train", photos, "-r", "metadata", "-q", "--json", "--overwrite").out)["run"]
    assert fresh != first and fresh.startswith(first)


def test_the_main_job(tell, photos):
    code, out, err = tell("compare", photos, *QUICK, "-o", "out/report.html")
    assert code == 0 and err == ""
    assert "metadata" in out and "knn" in out and "report: out/report.html" in out
    assert "<html" in Path("out/report.html").read_text(encoding="utf-8")

    code, out, err = tell("leaderboard", "--json")
    (board,) = json.loads(out)
    assert code == 0 and err == ""
    assert "knn" in json.dumps(board) and "metadata" in json.dumps(board)
    assert tell("leaderboard").out.count("knn") >= 1

    again = tell("compare", photos, *QUICK, "--json")
    assert again.code == 0 and json.loads(again.out)["report"] == "report.html"
    assert len(list(Path("runs").glob("knn-*"))) == 1
    assert len(Path("runs/ledger.jsonl").read_text().splitlines()) == 2  # one opening of each run, by the first command

    code, out, _ = tell("report", "knn", "-o", "two.html", "--json")
    assert code == 0 and json.loads(out) == {"report": "two.html"} and Path("two.html").exists()


def test_progress_goes_to_standard_error(tell, photos):
    code, out, err = tell("compare", photos, "-r", "knn", "--json")
    assert code == 0 and "1/2 metadata" in err and "2/2 knn" in err
    json.loads(out)


def test_predict(tell, photos, tmp_path):
    run = json.loads(tell("train", photos, *QUICK, "--json").out)["run"]
    odd = tmp_path / "new pictures [" / "bold] [red]straße.png"  # together, the path holds a closing tag of rich markup
    odd.parent.mkdir()
    shutil.copy(shot(0, photos), odd)
    code, out, err = tell("predict", run, odd, photos / "dark" / "03.png", "-q")
    assert (code, err) == (0, "")
    assert out == f"{odd}: light 100.0%\n{photos / 'dark' / '03.png'}: dark 100.0%\n"

    code, out, _ = tell("predict", "knn", photos / "light", "-q", "--json")
    entries = json.loads(out)
    assert code == 0 and len(entries) == 20 and {e["predicted"] for e in entries} == {"light"}
    assert all(abs(sum(e["probabilities"].values()) - 1) < 1e-5 for e in entries)

    code, out, _ = tell("predict", "knn", photos, "-q", "--csv")
    rows = list(csv.reader(io.StringIO(out)))
    assert code == 0 and rows[0] == ["image", "predicted", "dark", "light"] and len(rows) == 41


def test_predict_and_what_it_cannot_read(tell, photos, tmp_path):
    tell("train", photos, *QUICK)
    (tmp_path / "broken.png").write_bytes(b"no image")
    code, out, err = tell("predict", "knn", tmp_path / "broken.png", shot(1, photos), "-q")
    assert code == 3 and out == "" and "broken.png: not an image" in err
    code, out, _ = tell("predict", "knn", tmp_path / "broken.png", shot(1, photos), "-q", "--skip-bad", "--json")
    assert code == 0 and len(json.loads(out)) == 1
    assert tell("predict", "knn", tmp_path / "nothing.png", "-q").code == 3
    (tmp_path / "empty").mkdir()
    assert tell("predict", "knn", tmp_path / "empty", "-q").code == 3


@pytest.mark.parametrize("arguments", [["leaderboard"], ["report"], ["leaderboard", "svm"], ["predict", "svm", "x.png"]])
def test_no_runs_is_5(tell, arguments):
    code, out, err = tell(*arguments)
    assert code == 5 and out == "" and err.startswith("error: ") and "Traceback" not in err


def test_unknown_and_ambiguous_runs(tell, photos):
    run = json.loads(tell("train", photos, "-r", "metadata", "-q", "--json").out)["run"]
    tell("train", photos, "-r", "metadata", "-q", "--seed", "1")
    assert f"did you mean '{run}'" in tell("leaderboard", run.replace("metadata", "nul")).err
    assert "is ambiguous" in tell("leaderboard", "metadata").err
    code, _, err = tell("train", photos, *QUICK, "--split-from", "svm")
    assert code == 5 and "unknown run 'svm'" in err


def test_an_unfinished_run_is_no_run(tell, photos):
    run = json.loads(tell("train", photos, "-r", "metadata", "-q", "--json").out)["run"]
    (Path("runs") / run / "done").unlink()
    assert tell("leaderboard").code == 5
    code, _, err = tell("leaderboard", run)
    assert code == 5 and "is not finished" in err
    assert tell("train", photos, "-r", "metadata", "-q").code == 0
    assert tell("leaderboard", run).code == 0


def test_the_split_of_a_run_is_used_again(tell, photos):
    first = json.loads(tell("train", photos, *QUICK, "--seed", "3", "--json").out)["run"]
    other = json.loads(tell("train", photos, *QUICK, "-s", "classifier.k=1", "--split-from", first, "--json").out)["run"]
    parts = [open_run(run).table().frame["split"].tolist() for run in (first, other)]
    assert parts[0] == parts[1]


def test_cache_is_shown_and_cleared(tell, photos):
    assert json.loads(tell("cache", "--json").out)["bytes"] == 0
    tell("train", photos, *QUICK)
    found = json.loads(tell("cache", "--json").out)
    assert found["bytes"] == found["files"][0]["bytes"] == 40 * 8 * 8 * 3 + 128
    assert "1 files" not in tell("cache").out and "1 file, " in tell("cache").out
    assert found["kinds"]["images"] == {"files": 1, "bytes": found["bytes"], "used": found["files"][0]["used"]}
    assert found["kinds"]["vectors"] == {"files": 0, "bytes": 0, "used": None}
    shown = tell("cache", "images").out.splitlines()
    assert shown[1].split() == ["kind", "files", "size", "last", "used"] and shown[2].split()[:4] == ["images", "1", "8", "KiB"]
    assert json.loads(tell("cache", "vectors", "--json").out)["files"] == []
    assert json.loads(tell("cache", "vectors", "--clear", "--json").out)["freed"] == 0
    assert json.loads(tell("cache", "--json").out)["bytes"] == found["bytes"]
    code, out, err = tell("cache", "--clear", "--json")
    assert code == 0 and err == "" and json.loads(out)["freed"] == found["bytes"]
    assert json.loads(tell("cache", "--json").out)["files"] == []


def test_interrupting_is_130_and_leaves_no_run(tell, photos, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("tellapart.classifiers.knn.Knn._fit", interrupt)
    code, out, err = tell("train", photos, *QUICK)
    assert code == 130 and out == "" and "stopped" in err and "Traceback" not in err
    assert not list(Path("runs").glob("*/done"))


def test_a_report_that_cannot_be_written_is_known_before_any_work(tell, photos, tmp_path):
    (tmp_path / "file").write_text("")
    for output in (tmp_path / "file" / "report.html", tmp_path):
        code, out, err = tell("compare", photos, *QUICK, "-o", output)
        assert code == 6 and out == "" and "-o" in err
    assert not Path("runs").exists()


def test_no_place_for_runs_is_6(tell, photos, tmp_path):
    """As root nothing is forbidden, so the folder lies below a file."""
    (tmp_path / "file").write_text("")
    for command in (["train", photos, *QUICK], ["compare", photos, *QUICK]):
        code, out, err = tell(*command, "--runs", tmp_path / "file" / "runs")
        assert code == 6 and out == "" and "--runs" in err and "Traceback" not in err


def test_no_place_for_the_cache_is_6(tell, photos, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "file" / "cache"))
    code, _, err = tell("train", photos, *QUICK)
    assert code == 6 and "TELLAPART_CACHE" in err
    monkeypatch.setenv("TELLAPART_CACHE_GIB", "plenty")
    assert tell("cache").code == 6


@pytest.mark.parametrize("device", ["gpu7", "cuda:99"])
def test_a_device_that_is_not_there_is_an_error(tell, photos, device):
    code, _, err = tell("train", photos, "-r", "mlp", "-q", "-s", "train.epochs=1", "--device", device)
    assert code in (2, 6) and "Traceback" not in err and device in err


def test_one_gray_picture_of_another_size_is_answered_too(tell, photos, tmp_path):
    tell("train", photos, *QUICK)
    Image.new("L", (300, 20), 200).save(tmp_path / "long.png")
    code, out, _ = tell("predict", "knn", tmp_path / "long.png", "-q", "--json")
    assert code == 0 and json.loads(out)[0]["predicted"] == "light"
