"""Run folders: found by name, never half-read, never written twice at once."""

from __future__ import annotations

import errno
import functools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tellapart.errors import RunError, SystemLimitError
from tellapart.io import append_durably, atomic_path, write_bytes_atomically, write_json, write_text_atomically
from tellapart.os_errors import translate_os_errors
from tellapart.plain_data import read_json
from tellapart.runs import ledger, store
from tellapart.runs.store import Run, lock_run, open_run, select_runs
from tellapart.types import Predictions


def test_a_run_is_opened_by_path_id_or_beginning(write_run):
    run = write_run("svm")
    for name in (run.folder, str(run.folder), "svm-0000", "svm", "sv"):
        assert open_run(name, run.runs) == run


def test_an_exact_id_wins_over_longer_ones(write_run):
    run = write_run("svm")
    run.folder.rename(run.folder.with_name("svm-0000-stopped"))
    short = write_run("svm")
    assert open_run("svm-0000", short.runs) == short
    with pytest.raises(RunError, match="'svm' is ambiguous: svm-0000-stopped, svm-0000") as caught:
        open_run("svm", short.runs)
    assert caught.value.exit_code == 5


def test_a_run_of_an_older_version_is_refused(write_run):
    run = write_run("svm")
    environment = read_json(run.folder / "environment.json") if (run.folder / "environment.json").exists() else {}
    write_json(run.folder / "environment.json", environment | {"packages": {"tellapart": "0.1.0"}})
    for opened in (lambda: open_run(run.id, run.runs), lambda: select_runs([], run.runs)):
        with pytest.raises(RunError, match="was written by tellapart 0.1.0, whose runs this version cannot read") as caught:
            opened()
        assert "train it again" in (caught.value.hint or "")


def test_an_unknown_run_names_the_closest(write_run, tmp_path):
    run = write_run("svm")
    with pytest.raises(RunError, match=r"unknown run 'smv-0000': did you mean 'svm-0000'\? \(looked in .*runs\)"):
        open_run("smv-0000", run.runs)
    with pytest.raises(RunError, match="unknown run 'svm': there are none"):
        open_run("svm", tmp_path / "nowhere")


def test_an_unfinished_run_is_never_read(write_run):
    run = write_run("svm")
    (run.folder / "done").unlink()
    for name in (run.folder, "svm-0000"):
        with pytest.raises(RunError, match="is not finished"):
            open_run(name, run.runs)
    assert store.list_runs(run.runs) == []
    with pytest.raises(RunError, match="expected finished runs, found none"):
        select_runs([], run.runs)


def test_runs_are_listed_oldest_first(write_run):
    runs = [write_run(name, test=50) for name in ("b", "c", "a")]
    for second, run in zip((10, 30, 20), runs, strict=True):
        (run.folder / "done").write_text(f"2026-11-03T10:05:{second}.000001Z\n", encoding="utf-8")
        os.utime(run.folder / "done", (1e9 - second, 1e9 - second))  # a copy has other times; the marker stays what it was
    assert [run.recipe_name for run in store.list_runs(runs[0].runs)] == ["b", "a", "c"]
    assert select_runs(["a", "b"], runs[0].runs) == [runs[2], runs[0]]


def test_what_a_run_says(write_run):
    run = write_run("svm", valid=45, family="svm")
    assert (run.id, run.recipe_name, run.family, run.positive) == ("svm-0000", "svm", "svm", "fake")
    assert run.classes == ("real", "fake")
    assert run.scores("valid")["accuracy"].value == 0.75
    assert run.cost["parameters"] == 62_006
    assert run.scores("test") == {}
    assert run.predictions("test") is None
    assert run.predictions("elsewhere") is None
    assert run.log == []


def test_only_complete_openings_count(write_run, reopen):
    run = write_run("svm", test=70)
    reopen(run, 80, session="two")
    half = ledger.next_evaluation(run)
    assert half.name == "3"
    assert [e.number for e in run.evaluations] == [1, 2]
    assert run.scores("test")["accuracy"].value == 0.8
    assert run.evaluations[0].scores["accuracy"].value == 0.7
    assert run.evaluations[0].images_per_second == 1234.5
    assert ledger.next_evaluation(run).name == "4", "a number is never used twice"


def test_openings_are_sorted_as_numbers(write_run, reopen):
    run = write_run("svm", test=50)
    for right in range(51, 61):
        reopen(run, right)
    assert [e.number for e in run.evaluations] == list(range(1, 12))
    assert run.scores("test")["accuracy"].value == 0.6


@pytest.mark.parametrize("groups", [None, np.array(["x", "x", "y"], dtype=object)])
def test_predictions_come_back_exactly(tmp_path, groups):
    raw = np.random.default_rng(0).random((3, 2)).astype(np.float32)
    proba = raw / raw.sum(axis=1, keepdims=True)
    ids = np.array(["ä/1.png", "17", "b c"], dtype=object)
    before = Predictions(ids, proba, np.array([0, 1, -1]), ("p.real", "label"), "svm-0000", groups)
    before.to_parquet(tmp_path / "test.parquet")
    after = Predictions.from_parquet(tmp_path / "test.parquet")
    np.testing.assert_array_equal(after.proba, before.proba)
    assert after.proba.dtype == np.float32
    assert list(after.ids) == list(ids)
    assert list(after.labels) == [0, 1, -1]
    assert (after.classes, after.run_id) == (before.classes, before.run_id)
    assert after.groups is None if groups is None else list(after.groups) == list(groups)
    assert list(pd.read_parquet(tmp_path / "test.parquet").columns)[-2:] == ["p.p.real", "p.label"]


def test_json_is_whole_or_absent(tmp_path, monkeypatch):
    path = tmp_path / "scores.json"
    write_json(path, {"ü": 1})
    assert read_json(path) == {"ü": 1}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"bad": float("nan")})

    def crash(self: Path, *_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        write_json(path, {"ü": 2})
    assert json.loads(path.read_text(encoding="utf-8")) == {"ü": 1}


def test_broken_json_is_named(write_run):
    run = write_run("svm")
    (run.folder / "scores.json").write_text('{"valid": ', encoding="utf-8")
    with pytest.raises(RunError, match=r"scores\.json: cannot be read as JSON"):
        run.scores("valid")
    (run.folder / "environment.json").unlink()
    with pytest.raises(RunError, match=r"environment\.json: cannot be read"):
        _ = run.environment


def test_a_second_process_waits_for_the_first(tmp_path):
    child = (
        "import sys, pathlib; from tellapart.runs.store import lock_run\n"
        "with lock_run(pathlib.Path(sys.argv[1]), 'svm', lambda: print('waiting', flush=True)) as folder:\n"
        "    print((folder / 'result').read_text(), flush=True)\n"
    )
    with lock_run(tmp_path, "svm") as folder:
        process = subprocess.Popen([sys.executable, "-c", child, tmp_path], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        time.sleep(0.2)
        assert process.poll() is None
        (folder / "result").write_text("the work of the first")
    assert process.communicate(timeout=60)[0] == "the work of the first\n"
    assert process.returncode == 0


def test_other_runs_do_not_wait(tmp_path):
    never = functools.partial(pytest.fail, "waited")
    with lock_run(tmp_path, "one", never) as one, lock_run(tmp_path, "two", never) as two:
        assert one != two


def test_an_error_inside_lets_the_next_one_in(tmp_path):
    with pytest.raises(ZeroDivisionError), lock_run(tmp_path, "svm"):
        _ = 1 / 0
    with lock_run(tmp_path, "svm"):
        pass


def test_finish_sets_the_marker_last(tmp_path):
    with lock_run(tmp_path, "svm") as folder:
        (folder / "resume").mkdir()
        (folder / "resume" / "state").write_text("x")
        run = store.mark_done(folder)
    assert run == Run(folder.resolve())
    assert not (folder / "resume").exists()
    assert (folder / "done").read_text().endswith("Z\n")


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "the disk is full"), (errno.EACCES, "no permission"), (errno.EROFS, "read-only")],
)
def test_the_limits_of_the_machine_are_named(number, words):
    with pytest.raises(SystemLimitError, match=f"runs/svm: .*{words}") as caught, translate_os_errors("runs/svm"):
        raise OSError(number, os.strerror(number))
    assert caught.value.exit_code == 6
    assert caught.value.hint


def test_other_failures_are_not_dressed_up():
    with pytest.raises(FileNotFoundError), translate_os_errors("runs/svm"):
        Path("no such file").read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux only")
def test_a_full_disk():
    with pytest.raises(SystemLimitError, match="the disk is full"), translate_os_errors("runs/svm"):
        Path("/dev/full").write_text("x" * 10_000)


def test_a_full_disk_as_safetensors_says_it():
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    with pytest.raises(SystemLimitError, match="runs/svm: the disk is full"), translate_os_errors("runs/svm"):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    with pytest.raises(SafetensorError), translate_os_errors("runs/svm"):  # the words are what this version says
        save_file({"x": np.zeros(3)}, "no such folder/x.safetensors")


def test_safetensors_still_tells_the_number_of_the_error(tmp_path):
    """In a process of its own, that may write 10 kB a file: `ulimit -f` is the one full disk that a test can have."""
    code = (
        "import resource, numpy as np; from safetensors.numpy import save_file\n"
        "from tellapart.os_errors import translate_os_errors\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "with translate_os_errors('runs/svm'): save_file({'x': np.zeros(10_000)}, 'x.safetensors')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "SystemLimitError: runs/svm: files as large as this are not allowed here" in done.stderr


def test_a_write_that_fails_leaves_nothing_beside(tmp_path):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OSError):
        write_text_atomically(tmp_path / "report.html", "page", durable=False)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize("durable", [False, True])
def test_a_failure_before_the_replacement_leaves_the_old_file(tmp_path, monkeypatch, durable):
    path = tmp_path / "train.csv"
    write_text_atomically(path, "old", durable=durable)

    def crash(self: Path, *_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        write_bytes_atomically(path, b"new", durable=durable)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["train.csv"]


def test_a_failure_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), atomic_path(path, durable=True) as temporary:
        temporary.write_bytes(b"half")
        assert temporary.parent == path.parent
        _ = 1 / 0
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["weights.safetensors"]


def test_an_error_names_the_file_and_not_the_temporary_one(tmp_path):
    path = tmp_path / "missing" / "report.html"
    with pytest.raises(FileNotFoundError) as caught:
        write_text_atomically(path, "page", durable=False)
    assert caught.value.filename == str(path)


@pytest.fixture
def flushed(monkeypatch) -> list[tuple[str, bool]]:
    """What os.fsync was called on, in order: (file name, does the folder have its marker by then)."""
    calls: list[tuple[str, bool]] = []
    real = os.fsync

    def record(number: int) -> None:
        path = Path(f"/proc/self/fd/{number}").readlink()
        folder = path if path.is_dir() else path.parent
        calls.append((path.name, any((f / "done").exists() for f in (folder, folder.parent))))
        real(number)

    monkeypatch.setattr(os, "fsync", record)
    return calls


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="Linux only")
def test_the_marker_is_written_after_everything_else_is_on_the_disk(tmp_path, flushed):
    with lock_run(tmp_path, "svm") as folder:
        for name in ("weights.safetensors", "scores.json", "predictions/valid.parquet"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text("x")
        store.mark_done(folder)
    before = [name for name, has_marker in flushed if not has_marker]
    after = [name for name, has_marker in flushed if has_marker]
    assert {"weights.safetensors", "scores.json", "valid.parquet", "predictions", "svm"} <= set(before)
    assert before[-1].startswith(".done.")  # the marker itself, before it gets its name
    assert after == ["svm"]  # the entry of the marker


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="Linux only")
def test_only_durable_files_are_flushed(tmp_path, flushed):
    write_text_atomically(tmp_path / "cache", "x", durable=False)
    assert flushed == []
    write_text_atomically(tmp_path / "submission.csv", "x", durable=True)
    assert len(flushed) == 2 and flushed[0][0].startswith(".submission.csv.") and flushed[1][0] == tmp_path.name
    append_durably(tmp_path / "trials.jsonl", b"1\n")
    append_durably(tmp_path / "trials.jsonl", b"2\n")
    assert (tmp_path / "trials.jsonl").read_bytes() == b"1\n2\n"
    assert flushed[-1][0] == "trials.jsonl"


def test_runs_below_a_file_are_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemLimitError, match="a component of this path is a file"), lock_run(tmp_path / "file", "svm"):
        pass


@pytest.mark.parametrize("where", ["svm", "exports/svm"])
def test_a_folder_that_is_a_link_is_not_written(tmp_path, where):
    """A stranger's folder of runs may hold links to any folder of the user."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / ".weights.tellapart.tmp").touch()
    runs, name = (tmp_path / "runs" / where).parent, Path(where).name
    runs.mkdir(parents=True)
    (runs / name).symlink_to(theirs)
    with pytest.raises(SystemLimitError, match="is reached by a link") as caught, lock_run(runs, name):
        pass
    assert [path.name for path in theirs.iterdir()] == [".weights.tellapart.tmp"]
    assert caught.value.hint == "remove the link"
    (runs / name).unlink()
    with lock_run(runs, name) as folder:
        assert folder == runs / name


def test_a_lock_that_is_a_link_is_not_emptied(tmp_path):
    (tmp_path / "theirs").write_text("kept")
    (tmp_path / "runs" / "svm").mkdir(parents=True)
    (tmp_path / "runs" / "svm" / ".lock").symlink_to(tmp_path / "theirs")
    with pytest.raises(SystemLimitError, match="is a link, expected a file"), lock_run(tmp_path / "runs", "svm"):
        pass
    assert (tmp_path / "theirs").read_text() == "kept"


@pytest.mark.parametrize("where", ["evaluations", "evaluations/svm-0000", "evaluations/svm-0000/7"])
def test_links_to_evaluations_are_not_emptied(write_run, tmp_path, where):
    run, theirs = write_run("svm"), tmp_path / "theirs"
    (theirs / "3").mkdir(parents=True)
    (theirs / "3" / "file").write_text("kept")
    link = run.runs / where
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(theirs)
    with pytest.raises(SystemLimitError, match="is reached by a link"):
        ledger.next_evaluation(run)
    assert (theirs / "3" / "file").read_text() == "kept"


def test_the_ledger_is_not_written_through_a_link(tmp_path):
    (tmp_path / "theirs").write_text("kept")
    (tmp_path / "ledger.jsonl").symlink_to(tmp_path / "theirs")
    with pytest.raises(SystemLimitError, match="is a link, expected a file"):
        ledger.record(tmp_path, "svm-1", "d474", 100, "compare", "s1")
    assert (tmp_path / "theirs").read_text() == "kept"
