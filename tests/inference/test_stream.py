"""A file of answers: the same in every format, the same after any interruption, and never half a file under the final name."""

from __future__ import annotations

import csv
import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tellapart.data.listing import from_paths
from tellapart.errors import DataError, Interrupted, RunError, SystemLimitError
from tellapart.inference import resumable_output, writers
from tellapart.inference.image_sources.base import SourceOptions
from tellapart.inference.prefetch import Batch, BatchLimit
from tellapart.workflows import _batch_predictor as module
from tellapart.workflows._batch_predictor import BatchPredictor
from tellapart.workflows.calibrate import calibrate
from tellapart.workflows.predict import predict, predict_iter, predict_to_file

ENDINGS = ("csv", "jsonl", "parquet")


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture(autouse=True)
def small_portions(monkeypatch):
    """Of three images, each of them kept at once."""
    monkeypatch.setattr(module, "PLAIN", BatchLimit(3, 2**20))
    monkeypatch.setattr(resumable_output, "_SYNC_INTERVAL", 0.0)


@pytest.fixture
def dying(monkeypatch) -> Callable[[int, BaseException], None]:
    """`dying(2, Killed())`: the third portion is not answered."""
    real = BatchPredictor.predict

    def after(portions: int, error: BaseException) -> None:
        left = iter(range(portions))

        def predicted(self: BatchPredictor, batch: Batch) -> list:
            if next(left, None) is None:
                raise error
            return real(self, batch)

        monkeypatch.setattr(BatchPredictor, "predict", predicted)

    return after


def read(path: Path) -> list[dict]:
    """The rows of any format; empty cells are left out, numbers are numbers."""
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    if path.suffix == ".parquet":
        rows = pq.read_table(path).to_pylist()
    else:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    return [{name: value for name, value in row.items() if value not in (None, "")} for row in rows]


# --- formats ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_holds_the_predictions_of_predict(run, settings, shots, tmp_path, ending):
    (shots / "b" / "01.png").write_bytes(b"no image")
    images = [shots / "a", shots / "b", shots / "a" / "00.png"]
    kept = replace(settings, skip_bad=True)
    wanted = predict(run, from_paths(images[:2], run.classes), settings=kept)
    done = predict_to_file(run, images, tmp_path / "new" / f"o.{ending}", settings=settings)
    rows = read(done.path)
    whole = [row for row in rows if "error" not in row]
    assert [row["image"] for row in whole] == wanted.ids.tolist()
    assert [row["predicted"] for row in whole] == [run.classes[label] for label in wanted.predicted]
    for name, column in zip(run.classes, wanted.proba.T, strict=True):
        shares = [float(row["probabilities"][name] if ending == "jsonl" else row[name if ending == "csv" else f"p.{name}"])
                  for row in whole]  # fmt: skip
        np.testing.assert_allclose(shares, column, atol=1e-6)
    (bad,) = (row for row in rows if "error" in row)
    assert bad == {"image": str(shots / "b" / "01.png"), "error": "not an image that can be read"}
    assert (done.images, done.unreadable, done.duplicates, done.resumed_from) == (7, 1, 1, 0)
    assert done.problems == (f"{shots / 'b' / '01.png'}: not an image that can be read",)
    assert done.counts == {name: sum(row["predicted"] == name for row in whole) for name in run.classes}
    assert os.listdir(tmp_path / "new") == [f"o.{ending}"]  # noqa: PTH208

    done = predict_to_file(run, images, done.path, settings=kept)
    assert [row["image"] for row in read(done.path)] == wanted.ids.tolist() and (done.images, done.unreadable) == (7, 1)
    header = done.path.read_text().splitlines()[0] if ending == "csv" else ""
    assert "error" not in header


@pytest.mark.parametrize("ending", ENDINGS)
def test_decisions_and_stability(run, settings, shots, tmp_path, ending):
    judged = calibrate(run, how="none", band=(0.2, 0.99), settings=settings)
    wanted = list(predict_iter(judged, [shots], stability=True, settings=settings))
    done = predict_to_file(judged, [shots], tmp_path / f"o.{ending}", stability=True, settings=settings)
    for row, one in zip(read(done.path), wanted, strict=True):
        found = row["stability"] if ending == "jsonl" else row
        assert one.stability is not None
        assert (int(found["unchanged"]), int(found["resaved"])) == (one.stability.unchanged, 4)
        assert float(found["lowest"]) == pytest.approx(one.stability.lowest, abs=1e-6)
        assert row["decision"] == one.decision and row["reason"] == one.reason
    assert done.unsure == sum(one.decision == "unsure" for one in wanted)
    assert done.unstable == sum(not one.stability.stable for one in wanted if one.stability)
    assert sum(done.counts.values()) == done.images == 11


def test_a_class_that_is_called_like_a_column(run):
    class Odd:
        classes, decides = ("error", "image", "cat"), False

    head = writers.CsvWriter(Odd(), stability=False).head()  # pyright: ignore[reportArgumentType]
    assert head == b"image,predicted,p.error,p.image,cat,error\n"


def test_parquet_has_types_and_equal_row_groups(run, settings, shots, tmp_path, monkeypatch):
    monkeypatch.setattr(writers, "_GROUP", 4)
    done = predict_to_file(run, [shots], tmp_path / "o.parquet", settings=settings)
    file = pq.ParquetFile(done.path)
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [4, 4, 3]
    assert pd.read_parquet(done.path)[[f"p.{name}" for name in run.classes]].dtypes.eq("float32").all()


def test_the_format_by_ending_or_by_name(run, settings, shots, tmp_path):
    assert read(predict_to_file(run, [shots], tmp_path / "o.JSONL", settings=settings).path.rename(tmp_path / "a.jsonl"))
    path = predict_to_file(run, [shots], tmp_path / "o.txt", format="csv", settings=settings).path
    assert path.read_text().startswith("image,predicted,")
    for name, kind, said in (("o.txt", None, "unknown format"), ("o.csv", "parquet", "means csv, but --parquet")):
        with pytest.raises(DataError, match=said):
            predict_to_file(run, [shots], tmp_path / name, format=kind, settings=settings)


def test_an_arrow_stream_is_regrouped_a_group_at_a_time(monkeypatch):
    """Only then is memory flat: the writer itself would cut one large table just so."""
    monkeypatch.setattr(writers, "_GROUP", 4)
    batches = [pa.record_batch({"x": list(range(3 * n, 3 * n + 3))}) for n in range(5)]
    found = list(writers._groups(pa.RecordBatchReader.from_batches(batches[0].schema, batches)))
    assert [table.num_rows for table in found] == [4, 4, 4, 3]
    assert [x for table in found for x in table["x"].to_pylist()] == list(range(15))


# --- interruptions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("portions", [0, 1, 3])
def test_a_killed_one_goes_on_and_comes_out_the_same(run, settings, shots, tmp_path, dying, ending, portions):
    (shots / "b" / "01.png").write_bytes(b"no image")
    images, out = [shots, shots / "a"], tmp_path / f"o.{ending}"
    wanted = predict_to_file(run, images, tmp_path / f"wanted.{ending}", settings=settings)
    out.write_bytes(b"an older file")
    with pytest.MonkeyPatch.context():
        dying(portions, Killed())
        with pytest.raises(Killed):
            predict_to_file(run, images, out, settings=settings)
    assert out.read_bytes() == b"an older file"
    with out.with_name(f"{out.name}.partial").open("ab") as file:
        file.write(b"half a row that no note speaks of, more of it than a portion has" * 50)
    dying(99, Killed())
    done = predict_to_file(run, images, out, settings=settings)
    assert done.resumed_from == 3 * portions and replace(done, resumed_from=0, path=wanted.path) == wanted
    assert out.read_bytes() == wanted.path.read_bytes()
    assert sorted(p.name for p in tmp_path.glob("o.*")) == [out.name]


def test_what_is_left_out_counts_as_done(run, settings, shots, tmp_path, dying):
    """Rows and images are not the same number: the first two portions have a row less."""
    for name in ("a/00.png", "a/03.png"):
        (shots / name).write_bytes(b"no image")
    kept = replace(settings, skip_bad=True)
    wanted = predict_to_file(run, [shots], tmp_path / "wanted.csv", settings=kept)
    dying(2, Killed())
    with pytest.raises(Killed):
        predict_to_file(run, [shots], tmp_path / "o.csv", settings=kept)
    dying(99, Killed())
    done = predict_to_file(run, [shots], tmp_path / "o.csv", settings=kept)
    assert done.resumed_from == 6 and done.unreadable == 2 and done.path.read_bytes() == wanted.path.read_bytes()


def test_ctrl_c_says_how_to_go_on(run, settings, shots, tmp_path, dying):
    dying(2, KeyboardInterrupt())
    with pytest.raises(Interrupted, match=r"6 images are in .*o\.csv\.partial") as caught:
        predict_to_file(run, [shots], tmp_path / "o.csv", settings=settings)
    assert caught.value.exit_code == 130
    dying(99, Killed())
    assert predict_to_file(run, [shots], tmp_path / "o.csv", settings=settings).resumed_from == 6


def test_ctrl_c_while_it_finds_its_place_loses_nothing(run, settings, shots, tmp_path, dying, monkeypatch):
    dying(2, Killed())
    with pytest.raises(Killed):
        predict_to_file(run, [shots], tmp_path / "o.csv", settings=settings)
    dying(99, Killed())
    with monkeypatch.context() as patch:
        patch.setattr(resumable_output.ResumableFile, "check", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(Interrupted):
            predict_to_file(run, [shots], tmp_path / "o.csv", settings=settings)
    assert predict_to_file(run, [shots], tmp_path / "o.csv", settings=settings).resumed_from == 6


def test_another_command_is_refused(run, settings, shots, tmp_path, dying):
    dying(2, Killed())
    out = tmp_path / "o.csv"
    with pytest.raises(Killed):
        predict_to_file(run, [shots], out, settings=settings)
    dying(99, Killed())
    judged = calibrate(run, how="none", band=(0.2, 0.9), settings=settings)
    changed: Sequence[tuple[dict, str]] = (
        ({"run": judged}, "run was 'knn-"),
        ({"images": [shots / "a"]}, "images was"),
        ({"format": "csv", "stability": True}, "--stability was False and is True"),
        ({"settings": replace(settings, skip_bad=True)}, "--skip-bad was False"),
        ({"options": SourceOptions(id_column="x")}, "--id-column was None and is 'x'"),
    )
    for change, said in changed:
        with pytest.raises(RunError, match=said) as caught:
            predict_to_file(**{"run": run, "images": [shots], "out": out, "settings": settings, **change})
        assert "--overwrite" in str(caught.value)
    assert predict_to_file(run, [shots / "a"], out, settings=replace(settings, overwrite=True)).resumed_from == 0
    assert len(read(out)) == 4


@pytest.mark.parametrize("change", ["added", "removed", "fewer"])
def test_changed_images_are_refused(run, settings, shots, tmp_path, dying, change):
    dying(2, Killed())
    with pytest.raises(Killed):
        predict_to_file(run, [shots], tmp_path / "o.csv", settings=settings)
    dying(99, Killed())
    if change == "added":
        shutil.copy(shots / "02.png", shots / "00.png")
    elif change == "removed":
        (shots / "02.png").unlink()
    else:
        for path in sorted(shots.rglob("*.png"))[3:]:
            path.unlink()
    with pytest.raises(DataError, match="not the first 6 that are named now"):
        predict_to_file(run, [shots], tmp_path / "o.csv", settings=settings)
    assert (tmp_path / "o.csv.partial").exists() and not (tmp_path / "o.csv").exists()


def test_images_that_come_later_in_the_order_may_be_added(run, settings, shots, tmp_path, dying):
    dying(2, Killed())
    with pytest.raises(Killed):
        predict_to_file(run, [shots], tmp_path / "o.csv", settings=settings)
    dying(99, Killed())
    shutil.copy(shots / "02.png", shots / "b" / "zz.png")
    assert predict_to_file(run, [shots], tmp_path / "o.csv", settings=settings).images == 12


def test_a_note_that_cannot_be_read_means_to_begin_anew(run, settings, shots, tmp_path, dying):
    dying(2, Killed())
    with pytest.raises(Killed):
        predict_to_file(run, [shots], tmp_path / "o.csv", settings=settings)
    dying(99, Killed())
    (tmp_path / "o.csv.partial.json").write_text("{")
    done = predict_to_file(run, [shots], tmp_path / "o.csv", settings=settings)
    assert done.resumed_from == 0 and len(read(done.path)) == 11


# --- what the machine refuses -----------------------------------------------------------------------------------------


def test_two_at_once_are_refused(run, settings, shots, tmp_path):
    with (tmp_path / "o.csv.partial").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="another process"):
            predict_to_file(run, [shots], tmp_path / "o.csv", settings=settings)


def test_no_image_leaves_no_file(run, settings, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no image in"):
        predict_to_file(run, [tmp_path / "empty"], tmp_path / "new" / "o.csv", settings=settings)
    assert not list((tmp_path / "new").iterdir())


def test_a_full_disk_is_said_and_the_work_goes_on_later(run, settings, shots, tmp_path, monkeypatch):
    calls = iter(range(99))

    def fsync(number: int) -> None:
        if next(calls) == 6:  # each batch: the rows, then the note, then the folder
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(resumable_output.os, "fsync", fsync)
        with pytest.raises(SystemLimitError, match="the disk is full"):
            predict_to_file(run, [shots], tmp_path / "o.csv", settings=settings)
    done = predict_to_file(run, [shots], tmp_path / "o.csv", settings=settings)
    assert done.resumed_from == 6 and len(read(done.path)) == 11


def test_a_place_that_cannot_be_written(run, settings, shots, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemLimitError):
        predict_to_file(run, [shots], tmp_path / "file" / "o.csv", settings=settings)


@pytest.mark.slow
@pytest.mark.parametrize("ending", ENDINGS)
def test_kill_9_in_the_middle(run, settings, shots, tmp_path, ending):
    """The real thing: another process, killed while it writes."""
    for copy in range(600):
        shutil.copy(shots / "02.png", shots / f"x{copy:04}.png")
    out = tmp_path / f"o.{ending}"
    program = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from tellapart.inference import resumable_output\nfrom tellapart.inference.context import Settings\n"
        "from tellapart.workflows import _batch_predictor\nfrom tellapart.workflows.predict import predict_to_file\n"
        "_batch_predictor.PLAIN = _batch_predictor.BatchLimit(3, 2**20)\nresumable_output._SYNC_INTERVAL = 0.0\n"
        "def add(self, names, rows, done, add=resumable_output.ResumableFile.add):\n"
        "    if done.images < 66:\n        return add(self, names, rows, done)\n"
        "    self._file.write(rows[: len(rows) // 2])\n    self._file.flush()\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "resumable_output.ResumableFile.add = add\n"
        "predict_to_file(sys.argv[1], [sys.argv[2]], sys.argv[3], settings=Settings(runs=Path(sys.argv[1]).parent))\n"
    )
    process = subprocess.run([sys.executable, "-c", program, str(run.folder), str(shots), str(out)], check=False)
    assert process.returncode == -signal.SIGKILL and not out.exists()
    done = predict_to_file(run, [shots], out, settings=settings)
    assert 60 <= done.resumed_from < 611
    wanted = predict_to_file(run, [shots], tmp_path / f"wanted.{ending}", settings=settings)
    assert out.read_bytes() == wanted.path.read_bytes() and wanted.images == 611
