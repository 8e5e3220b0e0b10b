"""Bad input: a clear error with file and row, or a named, counted exclusion; never a traceback, never half a run."""

from __future__ import annotations

import json
import shutil
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest

from tellapart.errors import DataError
from tellapart.runs.store import open_run

QUICK = ("-r", "knn", "-q")


def finished() -> list[str]:
    return [p.parent.name for p in Path("runs").glob("*/done")]


def fails(tell, code: int, *arguments, says: str) -> str:
    """The command fails with `code`, says `says`, prints nothing else, and leaves no finished run."""
    answer = tell(*arguments)
    assert answer.code == code, answer
    assert says in answer.err, answer.err
    assert answer.out == "" and answer.err.startswith("error: ") and "Traceback" not in answer.err
    assert finished() == []
    return answer.err


def table_csv(top: Path, header: str = "id,label", *, bom: bool = False, rows: list[str] | None = None) -> Path:
    """`train.csv` beside the images of `photos`."""
    if rows is None:
        rows = [f"{name}/{i:02}.png,{name}" for name in ("dark", "light") for i in range(20)]
    text = "\n".join([header, *rows]) + "\n"
    (top / "train.csv").write_text(text, encoding="utf-8-sig" if bom else "utf-8")
    return top / "train.csv"


ROWS = [f"{name}/{i:02}.png,{name}" for name in ("dark", "light") for i in range(20)]


@pytest.mark.parametrize("verb", [["data"], ["train", "-r", "metadata", "-q"], ["compare", *QUICK]])
def test_nothing_there(tell, tmp_path, verb):
    (tmp_path / "empty").mkdir()
    fails(tell, 3, *verb, tmp_path / "empty", says="no images in it (it is empty)")
    fails(tell, 3, *verb, tmp_path / "nowhere", says="nowhere: not found")


@pytest.mark.parametrize("verb", [["data"], ["train", *QUICK]])
def test_one_class(tell, photos, verb):
    fails(tell, 3, *verb, photos / "dark", says="20 images but no labels")
    shutil.rmtree(photos / "dark")
    fails(tell, 3, *verb, photos, says="only one class, 'light', with 20 images; at least two classes are needed")


def test_an_empty_class_is_named(tell, photos):
    (photos / "empty").mkdir()
    fails(tell, 3, "train", photos, *QUICK, says="empty: the folder of class 'empty' holds no image")
    assert "empty class" in tell("data", photos).out
    assert tell("train", photos, *QUICK, "--skip-bad").code == 0


def test_a_class_too_small_to_split(tell, photos):
    (photos / "rare").mkdir()
    (photos / "dark" / "00.png").rename(photos / "rare" / "0.png")
    fails(tell, 3, "compare", photos, *QUICK, says="the class 'rare' is too small to be split: 1 image")


def test_missing_files_are_named_by_row(tell, photos):
    path = table_csv(photos, rows=[*ROWS[:5], "dark/99.png,dark", *ROWS[5:], "light/77.png,light"])
    err = fails(tell, 3, "train", path, *QUICK, says="train.csv:7: no image file fits the id 'dark/99.png'")
    assert "train.csv:43" in err and "missing file: 2" in err and "--skip-bad" in err
    code, out, _ = tell("train", path, *QUICK, "--skip-bad", "--json")
    problems = open_run(json.loads(out)["run"]).data["problems"]
    assert code == 0 and [p["where"] for p in problems] == ["train.csv:7", "train.csv:43"]


def test_duplicate_ids_are_named_by_row(tell, photos):
    err = fails(tell, 3, "train", table_csv(photos, rows=[*ROWS, ROWS[3]]), *QUICK, says="dark/03.png")
    assert "train.csv:42" in err and "5" in err


def test_an_unlabeled_row_in_training(tell, photos):
    path = table_csv(photos, rows=[*ROWS[:-1], "light/19.png,"])
    fails(tell, 3, "train", path, *QUICK, says="train.csv:41")
    assert tell("train", path, *QUICK, "--skip-bad").code == 0


def test_unknown_labels_in_validation(tell, photos):
    table_csv(photos, rows=ROWS[:12] + ROWS[20:32])
    (photos / "val.csv").write_text("id,label\n" + "\n".join([*ROWS[12:16], *ROWS[32:35], "light/15.png,bright"]) + "\n")
    fails(tell, 3, "train", photos, *QUICK, says="val.csv:9: the class 'bright' does not occur in the training split")


def test_a_bom_and_windows_paths_are_understood(tell, photos):
    rows = [row.replace("/", "\\") for row in ROWS]
    code, out, err = tell("train", table_csv(photos, bom=True, rows=rows), *QUICK, "--json")
    assert code == 0, err
    assert open_run(json.loads(out)["run"]).data["problems"] == []


def test_names_with_spaces_brackets_and_other_alphabets(tell, photos):
    odd = photos.rename(photos.parent / "фото [x] 写真 ñ[")
    (odd / "dark").rename(odd / "b] très [bold] foncé")
    (odd / "light").rename(odd / "明るい '\"")
    (odd / "明るい '\"" / "00.png").rename(odd / "明るい '\"" / "[red]a b\u0301.png")
    code, out, err = tell("compare", odd, "-r", "knn", "-o", "r [/b].html")
    assert code == 0, err
    assert "report: r [/b].html" in out
    answer = tell("predict", "knn", odd / "明るい '\"", "-q")
    assert answer.code == 0 and answer.out.count(": 明るい '\" ") == 20 and "[red]a b\u0301.png" in answer.out
    assert tell("leaderboard").code == tell("data", odd).code == 0


def spoil(photos: Path) -> None:
    """One file that is no image, one that ends early."""
    (photos / "dark" / "03.png").write_bytes(b"a text, whatever its name says")
    whole = (photos / "light" / "07.png").read_bytes()
    (photos / "light" / "07.png").write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize("verb", [["train", *QUICK], ["compare", *QUICK]])
def test_corrupt_images_stop_the_work_or_are_left_out(tell, photos, verb):
    spoil(photos)
    err = fails(tell, 3, verb[0], photos, *verb[1:], says="2 images cannot be decoded")
    assert "dark/03.png: not an image" in err and "light/07.png: the file is truncated" in err and "--skip-bad" in err
    code, _, err = tell(verb[0], photos, *verb[1:], "--skip-bad", "--json")
    assert code == 0, err
    data = open_run("knn").data
    assert [p["where"] for p in data["problems"]] == ["dark/03.png", "light/07.png"]
    assert sum(n for part in data["counts"].values() for n in part.values()) == 38


def test_the_null_alone_leaves_out_what_has_no_header(tell, photos):
    spoil(photos)
    fails(tell, 3, "train", photos, "-r", "metadata", "-q", says="dark/03.png: not an image")
    code, _, err = tell("train", photos, "-r", "metadata", "-q", "--skip-bad")
    assert code == 0, err


def bomb() -> bytes:
    """A PNG that says it is 20,000 × 20,000."""
    head = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks
    )


def test_a_decompression_bomb_is_refused(tell, photos):
    (photos / "dark" / "03.png").write_bytes(bomb())
    fails(tell, 3, "train", photos, *QUICK, says="dark/03.png: 20000×20000 is 400 megapixels, over the limit of 179")
    assert tell("train", photos, *QUICK, "--skip-bad").code == 0
    answer = tell("predict", "knn", photos / "dark" / "03.png", "-q")
    assert answer.code == 3 and "400 megapixels" in answer.err


def test_archives_that_point_outside(tell, photos, tmp_path):
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.write(photos / "dark" / "00.png", "../dark/00.png")
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        archive.add(photos / "dark" / "00.png", "x/../../dark/00.png")
    for name in ("bad.zip", "bad.tar"):
        fails(tell, 3, "train", tmp_path / name, *QUICK, says="points outside the archive")


def test_an_archive_cut_short(tell, photos, tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for path in sorted(photos.rglob("*.png")):
            archive.write(path, path.relative_to(photos))
    content = (tmp_path / "all.zip").read_bytes()
    assert tell("train", tmp_path / "all.zip", *QUICK).code == 0
    (tmp_path / "half.zip").write_bytes(content[: len(content) // 2])
    answer = tell("train", tmp_path / "half.zip", *QUICK)
    assert answer.code == 3 and "half.zip: not a readable archive" in answer.err


def test_a_disk_that_fills_up_leaves_no_run_that_looks_whole(tell, photos, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "runs/x/weights.safetensors")

    monkeypatch.setattr("tellapart.classifiers.knn.write_arrays", full)
    err = fails(tell, 6, "train", photos, *QUICK, says="the disk is full")
    assert "it resumes" in err
    assert tell("leaderboard").code == 5
    monkeypatch.undo()


def test_columns_that_cannot_be_guessed(tell, photos):
    path = table_csv(photos, "picture,kind")
    fails(tell, 3, "data", path, says="--id-column")
    assert tell("train", path, *QUICK, "--id-column", "picture", "--label-column", "kind").code == 0


def test_groups_torn_by_a_given_split(tell, photos):
    rows = [f"{row},{'train' if i % 3 else 'valid' if i % 2 else 'test'},g{i // 2}" for i, row in enumerate(ROWS)]
    path = table_csv(photos, "id,label,split,patient", rows=rows)
    fails(tell, 3, "train", path, *QUICK, "--group", "patient", says="divided by the given split")
    assert tell("train", path, *QUICK).code == 0


def test_what_one_recipe_refuses_is_known_before_any_training(tell, photos, tmp_path):
    strict = tmp_path / "strict [x].yaml"
    strict.write_text("inputs: {size: 5, resize: none}\nclassifier: {family: knn}")
    err = fails(tell, 3, "compare", photos, "-q", "-r", "knn", "-r", strict, says="40 images cannot be decoded")
    assert "is 8×8, but resize: none expects 5×5" in err


def test_a_recipe_that_fails_is_named_and_costs_the_others_nothing(tell, photos, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise DataError("a[/b].png: something is wrong with [x]")

    monkeypatch.setattr("tellapart.classifiers.svm.SVM._fit_vectors", fail)
    code, out, err = tell("compare", photos, "-r", "knn", "-r", "svm-pca-rbf")
    assert code == 0 and "svm-pca-rbf could not be trained: a[/b].png: something is wrong with [x]" in err
    assert "svm-pca-rbf could not be trained: a[/b].png" in " ".join(out.split())
    assert [run.partition("-")[0] for run in sorted(finished())] == ["knn", "metadata"]
