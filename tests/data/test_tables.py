"""Labels from CSV and TSV."""

from __future__ import annotations

import unicodedata

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tellapart.data.layouts._csv import read_text_table
from tellapart.data.reader import ImageReader
from tellapart.data.scan import scan
from tellapart.errors import DataError

LABELS = "id,label\n1,cat\n2,dog\n3,cat\n"


def pairs(table):
    """id → (class name, path)."""
    names = [table.classes[n] if n >= 0 else None for n in table.labels]
    return {i: (n, p) for i, n, p in zip(table.ids, names, table.paths, strict=True)}


def problems(table):
    return [(p.kind, p.where) for p in table.problems if p.kind != "image without a row"]


def refused(*arguments, **options):
    with pytest.raises(DataError) as caught:
        scan(*arguments, **options)
    return str(caught.value)


def test_ids_without_endings_in_the_folder_of_the_table(tree):
    table = scan(tree("Train/1.png", "Train/2.jpg", "Train/3.png", files={"train.csv": LABELS}))
    assert pairs(table) == {"1": ("cat", "Train/1.png"), "2": ("dog", "Train/2.jpg"), "3": ("cat", "Train/3.png")}
    assert table.problems == () and "split" not in table.frame
    assert "3 of 3 rows used, images in Train/" in table.layout


@pytest.mark.parametrize("name", ["id", "image", "image_id", "name", "filename", "path", "file", "Image ID", "FileName"])
@pytest.mark.parametrize("label", ["label", "target", "class", "Category"])
def test_column_names(tree, name, label):
    text = f"extra,{name},{label}\nx,a.png,0\ny,b.png,1\n"
    assert scan(tree("a.png", "b.png", files={"train.csv": text})).classes == ("0", "1")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_the_same_from_an_archive(tree, pack, kind):
    top = tree("train/1.png", "train/2.png", "train/3.png", files={"train.csv": LABELS})
    loose, packed = scan(top), scan(pack(top, kind))
    assert loose.ids.tolist() == packed.ids.tolist() and loose.labels.tolist() == packed.labels.tolist()
    with ImageReader(loose) as a, ImageReader(packed) as b:
        assert [a.get(p) for p in loose.paths] == [b.get(p) for p in packed.paths]


def test_validation_and_unlabeled_test(tree):
    files = {
        "train.csv": "id,label\na,x\nb,y\n",
        "validation.csv": "id,label\nc,x\nd,zebra\n",
        "test.csv": "id\ne\nf\n",
        "sample_submission.csv": "id,label\ne,x\nf,x\n",
    }
    names = ("train/a.png", "train/b.png", "validation/c.png", "validation/d.png", "test/e.png", "test/f.png")
    table = scan(tree(*names, files=files))
    assert table.ids.tolist() == list("abcef")
    assert table.frame["split"].tolist() == ["train", "train", "valid", "", ""]
    assert table.labels.tolist() == [0, 1, 0, -1, -1] and len(table.unlabeled()) == 2
    assert problems(table) == [("unknown label", "validation.csv:3")]
    assert "Not used: sample_submission.csv." in table.layout and "test.csv (columns id; no labels)" in table.layout


def test_labeled_test_table(tree):
    files = {"train.csv": "id,label\na,x\nb,y\n", "test.csv": "id,label\nc,y\nd,\n"}
    table = scan(tree("a.png", "b.png", "c.png", "d.png", files=files))
    assert table.frame["split"].tolist() == ["train", "train", "test"]
    assert problems(table) == [("unlabeled row", "test.csv:3")]


def test_ids_that_count_from_one_in_both_tables(tree):
    files = {"train.csv": LABELS, "test.csv": "id\n1\n2\n"}
    names = ("train/1.png", "train/2.png", "train/3.png", "test/1.png", "test/2.png")
    table = scan(tree(*names, files=files))
    assert table.ids.tolist() == ["1", "2", "3", "test/1", "test/2"]
    assert table.paths.tolist() == list(names) and "they get the prefix test/" in table.layout


def test_a_file_in_two_tables_is_refused(tree):
    files = {"train.csv": LABELS, "val.csv": "id,label\n2,dog\n"}
    told = refused(tree("1.png", "2.png", "3.png", files=files))
    assert "val.csv:2" in told and "train.csv:3" in told and "'2'" in told


def test_a_missing_test_image_is_not_found_in_the_training_folder(tree):
    files = {"train.csv": LABELS, "test.csv": "id\n9\n3\n"}
    table = scan(tree("train/1.png", "train/2.png", "train/3.png", "test/9.png", files=files))
    assert problems(table) == [("missing file", "test.csv:3")]


def test_validation_images_may_lie_in_the_training_folder(tree):
    files = {"train.csv": "id,label\n1,a\n2,b\n", "val.csv": "id,label\n3,a\n"}
    table = scan(tree("train/1.png", "train/2.png", "train/3.png", files=files))
    assert table.frame["split"].tolist() == ["train", "train", "valid"] and table.problems == ()


def test_duplicate_ids_name_both_rows(tree):
    told = refused(tree("1.png", "2.png", files={"train.csv": "id,label\n1,a\n2,b\n\n1,b\n"}))
    assert "train.csv:5" in told and "line 2" in told and "'1'" in told


def test_problems_name_the_line(tree):
    text = "id,label\n1,a\n\n2,b\n3,a\n4,\n5,b\n,a\n6, \n"
    top = tree("1.png", "2.png", "4.png", "x/5.png", "y/5.png", "6.png", files={"train.csv": text})
    table = scan(top)
    assert table.ids.tolist() == ["1", "2"]
    assert problems(table) == [
        ("missing file", "train.csv:5"),
        ("ambiguous file", "train.csv:7"),
        ("missing id", "train.csv:8"),
        ("unlabeled row", "train.csv:6"),
        ("unlabeled row", "train.csv:9"),
    ]
    assert "x/5.png and y/5.png" in table.problems[1].message


def test_empty_files_are_left_out(tree):
    table = scan(tree("1.png", "2.png", files={"train.csv": "id,label\n1,a\n2,b\n3,b\n", "3.png": b""}))
    assert problems(table) == [("empty file", "train.csv:4")]


def test_a_missing_file_is_not_replaced_by_a_namesake(tree):
    text = "path,label\ncats/1.png,cat\ndogs/1.png,dog\ncats/2.png,cat\ndogs/3.png,dog\n"
    table = scan(tree("cats/1.png", "dogs/1.png", "dogs/2.png", "dogs/3.png", files={"train.csv": text}))
    assert problems(table) == [("missing file", "train.csv:4")]


def test_paths_written_elsewhere(tree):
    text = "path,label\nC:\\data\\set\\a\\1.png,x\n/home/me/a/2.png,y\n../a/3.png,x\n.\\a\\4.png,y\nold_name/5.png,x\n"
    table = scan(tree("a/1.png", "a/2.png", "a/3.png", "a/4.png", "a/5.png", files={"train.csv": text}))
    assert table.paths.tolist() == [f"a/{i}.png" for i in range(1, 6)] and table.problems == ()
    assert table.ids[0] == "C:\\data\\set\\a\\1.png"


def test_images_elsewhere(tree, pack):
    top, elsewhere = tree(files={"train.csv": "id,label\n1,a\nx/2,b\n"}), tree("1.png", "x/2.png")
    assert "--images" in refused(top)
    table = scan(top / "train.csv", images=elsewhere)
    assert table.root == str(elsewhere) and table.paths.tolist() == ["1.png", "x/2.png"]
    packed = scan(top, images=pack(elsewhere, "zip"))
    assert packed.paths.tolist() == ["data.zip::data/1.png", "data.zip::data/x/2.png"]
    for one in (table, packed):
        with ImageReader(one) as reader:
            assert reader.get(one.paths[1]) == (elsewhere / "x/2.png").read_bytes()
    assert "not found" in refused(top, images=top / "nowhere")
    assert "expected a folder" in refused(top, images=top / "train.csv")


def test_bom_semicolons_quotes_unicode_and_spaces(tree):
    text = '\ufeffid;label\r\n"zażółć 1.png";"kot; domowy"\r\n" two  words ";pies\r\n'
    table = scan(tree("zażółć 1.png", "d/ two  words .png", files={"train.csv": text}))
    assert table.classes == ("kot; domowy", "pies") and table.problems == ()


def test_utf16_and_tabs(tree):
    text = "id\tlabel\n1\ta,b\n2\tc\n"
    assert scan(tree("1.png", "2.png", files={"train.tsv": text})).classes == ("a,b", "c")
    assert scan(tree("1.png", "2.png", files={"train.csv": text.encode("utf-16")})).classes == ("a,b", "c")


def test_composed_and_decomposed_letters_are_the_same(tree):
    composed, decomposed = (unicodedata.normalize(f, "żółw é") for f in ("NFC", "NFD"))
    assert composed != decomposed
    table = scan(
        tree(
            f"x/{decomposed}.png",
            f"{composed}2.png",
            files={"train.csv": f"id,label\n{composed},a\n{decomposed}2.png,b\n"},
        )
    )
    assert table.problems == () and table.ids.tolist() == [composed, f"{decomposed}2.png"]


def test_integers_written_as_floats(tree):
    files = {"train.csv": "id,label\n1,10.0\n2,9.0\n3,\n", "val.csv": "id,label\n4,9\n"}
    table = scan(tree("1.png", "2.png", "3.png", "4.png", files=files))
    assert table.classes == ("9", "10") and problems(table) == [("unlabeled row", "train.csv:4")]


def test_optional_columns(tree):
    text = "id,label,group,source,split,photo\n1,a,g,cam,train,p\n2,b,g,,Validation,p\n3,a,,cam,TEST,q\n4,b,h,cam,,q\n"
    top = tree("1.png", "2.png", "3.png", "4.png", files={"train.csv": text})
    frame = scan(top).frame
    assert frame["group"].tolist() == ["g", "g", "", "h"] and frame["source"].tolist() == ["cam", "", "cam", "cam"]
    assert frame["split"].tolist() == ["train", "valid", "test", "train"]
    assert scan(top, group="photo").frame["group"].tolist() == list("ppqq")
    assert "--group no" in refused(top, group="no")
    assert "photo" in refused(top, group="no")


def test_split_column_with_empty_cells_in_a_lone_table(tree):
    text = "id,label,split\n1,a,train\n2,b,\n3,a,test\n4,b,train\n5,,test\n"
    table = scan(tree("1.png", "2.png", "3.png", "4.png", "5.png", files={"labels.csv": text}))
    assert table.frame["split"].tolist() == ["train", "", "test", "train"]
    assert problems(table) == [("unlabeled row", "labels.csv:6")]
    wrong = "id,label,split\n1,a,train\n2,b,fold 1\n"
    assert "train.csv:3: 'fold 1' in the column 'split' is no split" in refused(tree("1.png", files={"train.csv": wrong}))


def test_split_column_chooses_the_folder(tree):
    text = "id,label,split\n1,a,train\n2,b,train\n01,a,test\n1.png,b,test\n"
    table = scan(tree("train/1.png", "train/2.png", "test/1.png", "test/01.png", files={"labels.csv": text}))
    assert table.paths.tolist() == ["train/1.png", "train/2.png", "test/01.png", "test/1.png"]


def test_ambiguous_columns(tree):
    top = tree("1.png", "2.png", files={"train.csv": "id,path,label,class\n1,1.png,a,x\n2,2.png,b,y\n"})
    told = refused(top)
    assert "'id' or 'path'" in told and "--id-column id" in told
    told = refused(top, id_column="path")
    assert "'label' or 'class'" in told and "--label-column label" in told
    assert scan(top, id_column="path", label_column="class").classes == ("x", "y")
    assert "--id-column no" in refused(top, id_column="no")
    assert "--label-column no" in refused(top, id_column="id", label_column="no")


def test_other_names_of_tables(tree):
    names = ("1.png", "2.png")
    text = "id,label\n1,a\n2,b\n"
    for name in ("labels.csv", "data.tsv", "train_v2.csv", "Metadata.CSV"):
        assert len(scan(tree(*names, files={name: text.replace(",", "\t") if "tsv" in name else text}))) == 2
    assert "labels.csv or other.csv" in refused(tree(*names, files={"labels.csv": text, "other.csv": text}))
    assert "train_a.csv or train_b.csv" in refused(tree(*names, files={"train_a.csv": text, "train_b.csv": text}))
    both = scan(tree(*names, files={"train.csv": text, "train_b.csv": text}))
    assert "Not used: train_b.csv" in both.layout


def test_the_path_of_a_table_settles_it(tree):
    files = {"train.csv": "id,label\n1,a\n2,b\n", "test.csv": "id,label\n3,a\n4,b\n", "x.csv": "id,label\n1,b\n"}
    top = tree("train/1.png", "train/2.png", "test/3.png", "test/4.png", files=files)
    assert scan(top / "train.csv").ids.tolist() == ["1", "2"]
    test = scan(top / "test.csv")
    assert test.ids.tolist() == ["3", "4"] and "split" not in test.frame


def test_tables_without_labels_beside_class_folders(tree):
    table = scan(tree("a/1.png", "b/1.png", files={"sizes.csv": "id,bytes\n1,2\n"}))
    assert table.classes == ("a", "b") and problems(table) == [("other file", "sizes.csv")]
    assert "no table" in refused(tree("a/1.png", "b/1.png"), label_column="kind")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "the table is empty"),
        (b"\n\n", "the table is empty"),
        (b"id,label\n", "no rows"),
        (b"id,id,label\n1,1,a\n", "duplicate column 'id'"),
        (b"1,a\n2,b\n", "found 1, a"),
        (b"id,what\n1,a\n", "--label-column"),
        (b"id,label\n1,a\n2,b,c\n", "train.csv:3: expected 2 cells, found 3"),
        (b"\n\nid,label\n1,a\n2,b,c\n", "train.csv:5: expected 2 cells"),
        (b'id,label\n1,a\n2,"b\n', "train.csv:3: a quote that opens here"),
        (b"id,label\n1,caf\xe9\n", "train.csv:2"),
        (b"id,label\n1,a\0\n", "zero bytes"),
        (b"id,label\n1,a\n2,a\n", "only one class"),
        (b"id,label\n7,a\n8,b\n", "none of 2 ids"),
        (b"id,label\n1,\n2,\n", "no image has a label"),
    ],
)
def test_bad_tables(tree, text, told):
    assert told in refused(tree("1.png", "2.png", files={"train.csv": text}))


def test_no_permission_for_the_table(tree, monkeypatch):
    import os

    def refuse(path, *rest, **words):
        if str(path).endswith("train.csv"):
            raise PermissionError(13, "Permission denied", str(path))
        return unrestricted(path, *rest, **words)

    top, unrestricted = tree("1.png", files={"train.csv": LABELS}), os.open
    monkeypatch.setattr(os, "open", refuse)
    assert "train.csv: no permission" in refused(top)


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n", exclude_categories=["Cs"]), max_size=8)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(cells=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=6), separator=st.sampled_from(",;\t|"))
def test_any_text_survives_csv(cells, separator):
    frame = pd.DataFrame(cells, columns=["first", "second"])
    table = read_text_table(frame.to_csv(index=False, sep=separator).encode(), "t.csv")
    kept = [pair for pair in cells if pair != ("", "")]
    assert list(zip(table.column("first"), table.column("second"), strict=True)) == kept
    assert table.lines.tolist() == [i + 2 for i, pair in enumerate(cells) if pair != ("", "")]


NAMES = st.text("ab1 .é", min_size=1, max_size=3).map(lambda s: s.strip(" .") or "x")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    files=st.sets(st.tuples(st.sampled_from(["", "a/", "b/", "train/"]), NAMES), min_size=2, max_size=8),
    stems=st.booleans(),
    bare=st.booleans(),
)
def test_ids_find_the_only_file_that_fits(tree, files, stems, bare):
    """Whatever is found ends like the id; what is left out is missing or fits several."""
    paths = sorted(f"{folder}{name}.png" for folder, name in files)
    ids = {(p.rpartition("/")[2] if bare else p).removesuffix(".png" if stems else "") for p in paths}
    text = pd.DataFrame({"id": sorted(ids), "label": np.arange(len(ids))}).to_csv(index=False)
    try:
        table = scan(tree(*paths, files={"train.csv": text}))
    except DataError as error:
        assert "none of" in str(error) or "only one class" in str(error)
        return
    for name, path in zip(table.ids, table.paths, strict=True):
        assert path in paths and f"/{path}".removesuffix("" if not stems else ".png").endswith(f"/{name}")
    assert len(table) + len(problems(table)) == len(ids)
    assert {kind for kind, _ in problems(table)} <= {"ambiguous file"}
    if not bare:
        assert len(table) == len(ids)
