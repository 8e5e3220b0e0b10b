"""Classes that a reader takes for one are named; words for nothing are classes; no cell is read in silence."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

import tellapart as ta
from tellapart.checks._dataset_view import DatasetView
from tellapart.checks.class_names import ClassNames
from tellapart.cli.main import app
from tellapart.data.prepare import prepare
from tellapart.data.scan import scan
from tellapart.errors import DataError

PNG = b"\x89PNG no more is read"


def folders(top: Path, *paths: str) -> Path:
    for number, path in enumerate(paths):
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_bytes(PNG + bytes([number]))
    return top


def table_of(top: Path, kind: str, labels: list, **options):
    """The scanned table of some labels, of a CSV or a parquet file."""
    top.mkdir(exist_ok=True)
    if kind == "parquet":
        pd.DataFrame({"label": labels, "image": [PNG + bytes([i]) for i in range(len(labels))]}).to_parquet(top / "all.parquet")
    else:
        folders(top, *(f"{i}.png" for i in range(len(labels))))
        pd.DataFrame({"id": range(len(labels)), "label": labels}).to_csv(top / "labels.csv", index=False)
    return scan(top, **options)


@pytest.mark.parametrize(
    ("names", "differ"),
    [(("Cat", "cat"), "case"), (("dog", "dog "), "blanks"), (("Ｃat", "Cat"), "the form"), (("ca\u200bt", "cat"), "the form")],
)
def test_folders_that_look_alike_are_named_and_stop_nothing(tmp_path, names, differ):
    top = folders(tmp_path, *(f"{name}/{i}.png" for name in (*names, "other") for i in range(12)))
    table = scan(top)
    (problem,) = table.problems
    assert problem.kind == "look-alike classes" and differ in problem.message
    assert all(repr(name) in problem.message for name in names)
    assert len(prepare(table).table) == 36  # A and a may be two classes
    found = ClassNames()(DatasetView(table))
    assert found.severity == "problem" and found.is_issue.sum() == 12 and all(repr(name) in found.summary for name in names)
    for i in range(12):  # the advice leads out
        (top / names[1] / f"{i}.png").rename(top / names[0] / f"again{i}.png")
    (top / names[1]).rmdir()
    again = scan(top)
    assert again.problems == () and ClassNames()(DatasetView(again)).severity == "fine"


def test_cells_that_look_alike(tmp_path):
    table = table_of(tmp_path, "csv", ["True", "TRUE", "False", "true "])
    (problem,) = table.problems
    assert problem.where == "labels.csv:5" and "'TRUE' (1 image) and 'True' (1 image) and 'true' (1 image)" in problem.message
    assert table_of(tmp_path, "csv", ["pâte", "pate", "1 a", "1a"]).problems == ()


def test_one_class_in_two_unicode_forms(tmp_path):
    for split, form in (("train", "NFC"), ("test", "NFD")):
        folders(
            tmp_path / split, *(f"{unicodedata.normalize(form, name)}/{i}.png" for name in ("café", "thé") for i in range(3))
        )
    table = scan(tmp_path)
    assert table.classes == ("café", "thé") and table.problems == () and table.split_counts() == {"train": 6, "test": 6}
    assert "'café' is written in 2 Unicode forms" in table.notes[0]


def test_a_strange_class_that_looks_like_a_trained_one(tmp_path):
    table = scan(folders(tmp_path, "train/Cat/1.png", "train/dog/2.png", "test/cat/3.png", "test/dog/4.png"))
    assert table.problems[0].message == "the class 'cat' does not occur in the training split, but 'Cat' does"


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("word", ["NA", "null", "None", "nan", "N/A", "-1"])
def test_words_for_nothing_are_classes_beside_words(tmp_path, kind, word):
    labels = ["cat", word, "dog", ""]
    table = table_of(tmp_path, kind, labels)
    assert set(table.classes) == {"cat", "dog", word} and [p.kind for p in table.problems] == ["unlabeled row"]
    (note,) = table.notes
    assert f"{word!r} in the column 'label' (1 row)" in note and f"--unlabeled {word}" in note
    table = table_of(tmp_path, kind, labels, unlabeled=word)  # the option of the note
    assert table.classes == ("cat", "dog") and [p.kind for p in table.problems] == ["unlabeled row"] * 2 and table.notes == ()
    with pytest.raises(DataError, match="--unlabeled no: no cell"):
        table_of(tmp_path, kind, labels, unlabeled="no")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_words_for_nothing_among_numbers_are_missing(tmp_path, kind):
    table = table_of(tmp_path, kind, ["0", "1", "NaN", "1"])
    assert table.classes == ("0", "1") and [p.kind for p in table.problems] == ["unlabeled row"] and table.notes == ()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_minus_one(tmp_path, kind):
    two = table_of(tmp_path, kind, [-1, 1, -1, 1])
    assert two.classes == ("-1", "1") and two.notes == () and two.problems == ()
    three = table_of(tmp_path, kind, [-1, 0, 1, 1])
    assert three.classes == ("-1", "0", "1") and "--unlabeled -1" in three.notes[0]
    assert table_of(tmp_path, kind, [-1, 0, 1, 1], unlabeled="-1").classes == ("0", "1")


def test_minus_one_throughout_a_test_table_is_no_label(tmp_path):
    folders(tmp_path, "1.png", "2.png", "3.png", "4.png")
    (tmp_path / "train.csv").write_text("id,label\n1,0\n2,1\n")
    (tmp_path / "test.csv").write_text("id,label\n3,-1\n4,-1\n")
    table = scan(tmp_path)
    assert table.labels.tolist() == [0, 1, -1, -1] and table.problems == () and table.notes == ()


@pytest.mark.parametrize("cells", [[["a"], ["b", "c"]], [{"x": 1}, {"x": 2}], [b"a", b"b"]])
def test_labels_that_are_lists_structs_or_bytes_are_refused(tmp_path, cells):
    pd.DataFrame({"label": cells, "kind": ["a", "b"], "image": [PNG, PNG + b"1"]}).to_parquet(tmp_path / "all.parquet")
    with pytest.raises(DataError, match="all.parquet#0: the column 'label' holds") as caught:
        scan(tmp_path)
    assert "--label-column" in str(caught.value) and scan(tmp_path, label_column="kind").classes == ("a", "b")


@pytest.mark.parametrize("cell", ["['cat', 'dog']", '{"a": 1}', "b'cat'"])
def test_cells_of_a_csv_that_hold_lists_are_refused(tmp_path, cell):
    with pytest.raises(DataError, match="labels.csv:3: the column 'label' holds"):
        table_of(tmp_path, "csv", ["cat", cell])


@pytest.mark.parametrize(
    ("one", "other", "positive"),
    [
        ("training_real", "training_fake", "training_fake"),
        ("human", "ai_generated", "ai_generated"),
        ("AiArtData", "RealArt", "AiArtData"),
        ("youtube", "deepfakes", "deepfakes"),
        ("Real images", "Fake images", "Fake images"),
        ("Real images", "midjourney v5", "midjourney v5"),
        ("progan", "real", "progan"),
        ("fake", "not_fake", "fake"),
        ("real", "not_real", "not_real"),
        ("0_real", "1_fake", "1_fake"),
        ("StyleGAN2", "FFHQ", "StyleGAN2"),
        ("realistic", "surreal", None),
        ("cat", "dog", None),
        ("real_fake", "fake_real", None),
    ],
)
def test_the_positive_class_by_a_word_of_its_name(one, other, positive):
    for names in ((one, other), (other, one)):
        assert ta.from_arrays(np.zeros((2, 2, 2), np.uint8), names).positive == positive


def said(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_the_positive_class_is_printed_and_check_takes_the_option(tmp_path):
    draw = np.random.default_rng(0)
    for name in ("youtube", "deepfakes"):
        (tmp_path / name).mkdir()
        for i in range(12):
            Image.fromarray(draw.integers(0, 256, (8, 8, 3)).astype(np.uint8)).save(tmp_path / name / f"{i}.png")
    only = ("--only", "class-names", "-q")
    assert re.search(r"positive +deepfakes", said("data", tmp_path)[1])
    assert said("check", tmp_path, *only) == said("check", tmp_path, *only, "--positive", "youtube")
    assert said("check", tmp_path, *only)[0] == 0
    result = CliRunner().invoke(app, ["check", str(tmp_path), *only, "--positive", "no"])
    assert "unknown class 'no'" in str(result.exception)
    trained = said("train", tmp_path, "-r", "metadata", "-q", "--runs", tmp_path / "runs", "--device", "cpu")[1]
    assert "positive class: deepfakes" in trained


def test_two_classes_that_say_nothing_are_told_which_counts(tmp_path):
    table = folders(tmp_path, "cat/1.png", "dog/2.png")
    assert "positive    dog (the second class; choose with --positive)" in said("data", table)[1]
