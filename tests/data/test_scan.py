"""Layouts of folders, and the six real data sets."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tellapart.data.layouts._aliases import parse_split
from tellapart.data.memory import from_arrays, from_bytes
from tellapart.data.reader import ImageReader
from tellapart.data.scan import scan
from tellapart.errors import DataError


def rows(table):
    """What a table says, as (id, class, split, source)."""
    frame = table.frame
    blank = [""] * len(frame)
    return sorted(
        zip(
            frame["id"],
            [table.classes[n] if n >= 0 else None for n in frame["label"]],
            frame.get("split", blank),
            frame.get("source", blank),
            strict=True,
        ),
        key=str,
    )


def kinds(table):
    return sorted(p.kind for p in table.problems)


def test_one_folder_per_class(tree):
    top = tree("cats/1.png", "cats/2.JPG", "dogs/1.png", "10/x.webp")
    table = scan(top)
    assert table.classes == ("10", "cats", "dogs")
    assert rows(table) == [
        ("10/x.webp", "10", "", ""),
        ("cats/1.png", "cats", "", ""),
        ("cats/2.JPG", "cats", "", ""),
        ("dogs/1.png", "dogs", "", ""),
    ]
    assert "split" not in table.frame and "source" not in table.frame
    assert table.root == str(top) and table.problems == () and table.has_files
    assert table.frame["size"].tolist() == [(top / p).stat().st_size for p in table.paths]
    assert table.frame["label"].dtype == np.int64 and table.frame["id"].dtype == object


def test_integer_classes_are_in_numeric_order(tree):
    assert scan(tree("10/a.png", "9/a.png", "0/a.png")).classes == ("0", "9", "10")


@pytest.mark.parametrize(
    ("train", "valid", "test"),
    [
        ("train", "val", "test"),
        ("Training", "validation", "Test"),
        ("Trening", "Walidacja", "Testowy"),
        ("treino", "validação", "teste"),
        ("entrenamiento", "validación", "prueba"),
        ("TRAIN_SET", "valid", "testing"),
        ("train images", "dev", "test-images"),
    ],
)
def test_split_folders_in_many_spellings(tree, train, valid, test):
    table = scan(tree(f"{train}/a/1.png", f"{train}/b/1.png", f"{valid}/a/2.png", f"{test}/b/3.png"))
    assert [(r[1], r[2]) for r in sorted(rows(table), key=lambda r: r[0][-5:])] == [
        ("a", "train"),
        ("b", "train"),
        ("a", "valid"),
        ("b", "test"),
    ]


def test_split_below_the_class(tree):
    table = scan(tree("real/train/1.png", "fake/train/1.png", "real/test/2.png", "fake/test/2.png"))
    assert [(r[1], r[2]) for r in rows(table)] == [
        ("fake", "test"),
        ("fake", "train"),
        ("real", "test"),
        ("real", "train"),
    ]


def test_a_train_is_also_a_vehicle(tree):
    table = scan(tree("car/1.png", "train/1.png", "bus/1.png"))
    assert table.classes == ("bus", "car", "train") and "split" not in table.frame


def test_test_folder_alone_is_no_split(tree):
    assert "split" not in scan(tree("test/a/1.png", "test/b/1.png")).frame


def test_training_folder_alone_makes_no_split_column(tree):
    table = scan(tree("train/a/1.png", "train/b/1.png", "test/1.png", "test/2.png"))
    assert "split" not in table.frame
    assert table.labels.tolist() == [-1, -1, 0, 1] and table.problems == ()
    assert "unlabeled" in table.layout


def test_images_beside_the_split_folders_are_left_out(tree):
    table = scan(tree("train/a/1.png", "train/b/1.png", "test/a/1.png", "extra/a/1.png", "train/lost.png"))
    assert len(table) == 3
    assert [(p.kind, p.where) for p in table.problems] == [
        ("no class folder", "extra/a/1.png"),
        ("no class folder", "train/lost.png"),
    ]


def test_generators_with_real_and_fake(tree):
    table = scan(tree("progan/0_real/1.png", "progan/1_fake/1.png", "biggan/0_real/x/1.png", "biggan/1_fake/1.png"))
    assert table.classes == ("fake", "real") and table.positive == "fake"
    assert {(r[1], r[3]) for r in rows(table)} == {
        ("real", "progan"),
        ("fake", "progan"),
        ("real", "biggan/x"),
        ("fake", "biggan"),
    }


def test_real_and_fake_on_top_keep_their_spelling(tree):
    table = scan(tree("REAL/cam1/1.png", "REAL/cam2/1.png", "Fake/gan/a/1.png"))
    assert table.classes == ("Fake", "REAL") and table.positive == "Fake"
    assert [r[3] for r in rows(table)] == ["gan/a", "cam1", "cam2"]


def test_real_fake_with_splits_and_generators(tree):
    paths = [f"{s}/{g}/{c}/1.png" for s in ("train", "val", "test") for g in ("p", "q") for c in ("0_real", "1_fake")]
    table = scan(tree(*paths))
    assert table.split_counts() == {"train": 4, "valid": 4, "test": 4}
    assert set(table.frame["source"]) == {"p", "q"} and table.classes == ("fake", "real")


def test_a_third_class_beside_real_and_fake_is_a_class(tree):
    assert scan(tree("real/1.png", "fake/1.png", "unsure/1.png")).classes == ("fake", "real", "unsure")


def test_deeper_folders_of_ordinary_classes_become_source(tree):
    table = scan(tree("cat/siam/1.png", "cat/2.png", "dog/pug/1.png"), group="source")
    assert [(r[1], r[3]) for r in rows(table)] == [("cat", ""), ("cat", "siam"), ("dog", "pug")]
    assert table.frame["group"].tolist() == table.frame["source"].tolist()


def test_leading_folders_are_stripped(tree):
    plain = scan(tree("Training/a/1.png", "Training/b/1.png", "Test/a/1.png"))
    deep = scan(tree("x/fruits/Training/a/1.png", "x/fruits/Training/b/1.png", "x/fruits/Test/a/1.png"))
    assert deep.ids.tolist() == plain.ids.tolist()
    assert deep.paths[0] == "x/fruits/Test/a/1.png"


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_archives_say_the_same_as_the_folder(tree, pack, kind):
    top = tree("train/a/1.png", "train/b é/2 .png", "test/a/3.png", files={"train/README.txt": "x", "train/c": None})
    folder, archive = scan(top), scan(pack(top, kind))
    assert rows(folder) == rows(archive) and kinds(folder) == kinds(archive) == ["empty class", "other file"]
    assert archive.root == str(top.parent) and archive.paths[0] == f"data.{kind}::data/test/a/3.png"
    with ImageReader(folder) as loose, ImageReader(archive) as packed:
        assert [loose.get(p) for p in folder.paths] == [packed.get(p) for p in archive.paths]


def test_hidden_and_system_files_are_skipped(tree):
    top = tree("a/1.png", "b/1.png", "a/._1.png", ".git/x/1.png", "__MACOSX/a/1.png", files={"a/Thumbs.db": "x"})
    table = scan(top)
    assert table.ids.tolist() == ["a/1.png", "b/1.png"] and table.problems == ()


def test_our_own_runs_are_not_data(tree):
    table = scan(tree("a/1.png", "b/1.png", "runs/x/figure.png", files={"runs/ledger.jsonl": ""}))
    assert table.classes == ("a", "b")


def test_problems_of_folders(tree):
    files = {"a/0.png": b"", "c": None, "notes.txt": "x", "a/more.txt": "x", "LICENSE": "x"}
    table = scan(tree("a/1.png", "b/1.png", "top.png", files=files))
    assert [(p.kind, p.where) for p in table.problems] == [
        ("no class folder", "top.png"),
        ("empty file", "a/0.png"),
        ("empty class", "c"),
        ("other file", "LICENSE"),
        ("other file", "notes.txt"),
    ]
    assert "2 files with the ending .txt" in str(table.problems[-1])


def test_unknown_label_in_validation_is_left_out(tree):
    table = scan(tree("train/a/1.png", "train/b/1.png", "val/a/1.png", "val/zebra/1.png"))
    assert len(table) == 3 and table.classes == ("a", "b")
    assert [(p.kind, p.where) for p in table.problems] == [("unknown label", "val/zebra/1.png")]
    assert "zebra" in table.problems[0].message


@pytest.mark.parametrize(
    ("images", "files", "told"),
    [
        ((), {}, "it is empty"),
        ((), {"a.txt": "x"}, "1 .txt"),
        ((), {"x/set.zip": "x"}, "set.zip"),
        (("a/1.png", "a/2.png"), {}, "only one class, 'a'"),
        (("1.png", "2.png"), {}, "lies in no class folder"),
        (("1.png", "2.png"), {"deep/labels.csv": "id,label\n"}, "deep/labels.csv"),
    ],
)
def test_unusable_folders(tree, images, files, told):
    with pytest.raises(DataError, match=r"(?s).*") as caught:
        scan(tree(*images, files=files))
    assert told in str(caught.value) and caught.value.hint


def test_not_found_and_wrong_kind(tree, tmp_path):
    with pytest.raises(DataError, match="not found"):
        scan(tmp_path / "nowhere")
    top = tree("a/1.png", files={"x.docx": "x"})
    with pytest.raises(DataError, match="one image"):
        scan(top / "a" / "1.png")
    with pytest.raises(DataError, match=r"\.docx"):
        scan(top / "x.docx")


def test_positive(tree):
    top = tree("cat/1.png", "dog/1.png")
    assert scan(top).positive is None and scan(top, positive="dog").positive == "dog"
    with pytest.raises(DataError, match="did you mean 'dog'"):
        scan(top, positive="dogs")
    with pytest.raises(DataError, match="two classes"):
        scan(tree("a/1.png", "b/1.png", "c/1.png"), positive="a")


def test_group_needs_a_column(tree):
    with pytest.raises(DataError, match="--group photo"):
        scan(tree("a/1.png", "b/1.png"), group="photo")
    with pytest.raises(DataError, match="no folders besides"):
        scan(tree("a/1.png", "b/1.png"), group="source")


def test_linked_folders_are_followed_once(tree):
    top = tree("a/1.png", "b/1.png")
    (top / "a" / "loop").symlink_to(top)
    (top / "c").symlink_to(top / "b")
    table = scan(top)
    assert table.ids.tolist() == ["a/1.png", "b/1.png"]
    outside = tree("1.png")
    (top / "c").unlink()
    (top / "c").symlink_to(outside)
    assert scan(top).ids.tolist() == ["a/1.png", "b/1.png", "c/1.png"]


def test_dead_links_and_names_that_are_no_text(tree):
    top = tree("a/1.png", "b/1.png")
    (top / "a" / "dead.png").symlink_to(top / "nothing.png")
    (top / "a" / os.fsdecode(b"\xff.png")).write_bytes(b"x")
    table = scan(top)
    assert table.ids.tolist() == ["a/1.png", "b/1.png"] and kinds(table) == ["bad name", "missing file"]


def test_a_pipe_is_no_image(tree):
    top = tree("a/1.png", "b/1.png")
    os.mkfifo(top / "a" / "2.png")
    assert [(p.kind, p.where) for p in scan(top).problems] == [("missing file", "a/2.png")]


def test_no_permission(tree, monkeypatch):
    top = tree("a/1.png", "b/1.png")
    real = os.scandir

    def refuse(path):
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match="only one class, 'a'") as caught:
        scan(top)
    assert "b/: no permission to list this folder" in caught.value.hint
    with pytest.raises(DataError, match="b: no permission"):
        scan(top / "b")


NAMES = st.sampled_from(["a", "b", "ü ber", "C#1", "x.y", "日本"])


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(paths=st.sets(st.tuples(NAMES, NAMES, st.sampled_from(["1.png", "2.JPEG", "n.txt"])), min_size=1))
def test_class_folders_against_pathlib(tree, pack, paths):
    top = tree(*["/".join(p) for p in paths])
    expected = {
        (p.relative_to(top).as_posix(), p.relative_to(top).parts[0], p.parent.name)
        for p in top.rglob("*")
        if p.suffix in (".png", ".JPEG")
    }
    folders = {name for _, name, _ in expected}
    if len(folders) < 2:
        return
    for table in (scan(top), scan(pack(top, "zip")), scan(pack(top, "tar"))):
        assert {(r[0], r[1], r[3]) for r in rows(table)} == expected
        assert table.classes == tuple(sorted(folders))


def test_from_arrays():
    images = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
    table = from_arrays(images, [1, 0, -1], classes=["cat", "dog"], split=["train", "test", ""])
    assert table.classes == ("cat", "dog") and table.labels.tolist() == [1, 0, -1] and not table.has_files
    with ImageReader(table.take(np.array([2, 0]))) as reader:
        assert (reader.get("memory#2") == images[2]).all()
    same = from_arrays(images.copy(), [1, 0, -1], classes=["cat", "dog"])
    assert table.fingerprint == same.fingerprint
    assert table.fingerprint != from_arrays(images + 1, [1, 0, -1], classes=["cat", "dog"]).fingerprint
    assert from_arrays(images, [7, 10, 7]).classes == ("7", "10")
    assert from_arrays(images, np.array(["b", "a", "b"]), groups=["g", "g", "h"]).frame["group"].tolist() == list("ggh")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"images": np.zeros((2, 4, 4), np.float32)}, "uint8"),
        ({"images": np.zeros((2, 4, 4, 4), np.uint8)}, "channels last"),
        ({"labels": ["a"]}, "2 images but 1 labels"),
        ({"labels": ["a", "x"], "classes": ["a", "b"]}, "unknown class 'x'"),
        ({"labels": [0, 2], "classes": ["a", "b"]}, "label 2"),
        ({"split": ["train", "dev"]}, "unknown split"),
        ({"ids": ["a", "a"]}, "unique"),
    ],
)
def test_from_arrays_refuses(changes, told):
    arguments = {"images": np.zeros((2, 4, 4), np.uint8), "labels": ["a", "b"]} | changes
    with pytest.raises(DataError) as caught:
        from_arrays(**arguments)
    assert told in str(caught.value)


def test_from_bytes(tree):
    top = tree("a/1.png", "b/1.png")
    blobs = [(top / "a/1.png").read_bytes(), (top / "b/1.png").read_bytes()]
    table = from_bytes(blobs, ["a", "b"], ids=["x", "y"])
    assert table.has_files and table.frame["size"].tolist() == [len(b) for b in blobs]
    with ImageReader(table) as reader:
        assert reader.get("memory#1") == blobs[1]
    with pytest.raises(DataError, match=r"blobs\[0\]"):
        from_bytes(["text"], ["a"])


def test_split_spellings_do_not_fit_other_words():
    assert [parse_split(w) for w in ("trained", "contest", "evaluate this", "1", "", "labels")] == [""] * 6


REAL = {
    "deepfake5.tar": (4000, tuple("01234"), {}),
    "cifake.zip": (12000, ("FAKE", "REAL"), {"train": 10000, "test": 2000}),
    "scenes.tar": (120, ("editada", "real"), {}),
    "fruits.tar": (3200, None, {"train": 2400, "test": 800}),
    "fashion-mnist": (70000, tuple("0123456789"), {"train": 60000, "test": 10000}),
    "cifar10-train.parquet": (50000, tuple("0123456789"), {}),
}


@pytest.mark.parametrize("name", REAL)
def test_real_data(shared_data, name):
    count, classes, splits = REAL[name]
    table = scan(shared_data(name))
    assert len(table) == count and table.problems == () and table.split_counts() == splits
    assert table.classes == classes if classes else len(table.classes) == 40
    assert table.positive == {"cifake.zip": "FAKE", "scenes.tar": "editada"}.get(name)
    with ImageReader(table) as reader:
        for path, size in list(zip(table.paths, table.frame["size"], strict=True))[:: count // 7]:
            content = reader.get(path)
            if name == "fashion-mnist":
                assert content.shape == (28, 28) and content.dtype == np.uint8
            else:
                assert len(content) == size and content[:2] in (b"\xff\xd8", b"\x89P")


def test_scan_takes_strings_and_home(tree, monkeypatch):
    top = tree("a/1.png", "b/1.png")
    monkeypatch.setenv("HOME", str(top.parent))
    monkeypatch.chdir(top)
    assert scan("~/data").root == scan(".").root == scan(Path("x/..")).root == str(top)
