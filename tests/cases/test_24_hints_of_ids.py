"""(c) and (e): ids that fit no file because they lost zeros, became floats, or differ in case or ending: the hint says so, and
following it works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tellapart.data.scan import scan
from tellapart.data.test_images import AskedIds, find_test_images
from tellapart.errors import DataError


def make(top: Path, files: list[str], ids: list[str]) -> Path:
    top.mkdir(exist_ok=True)
    for i, name in enumerate(files):
        (top / name).parent.mkdir(exist_ok=True)
        (top / name).write_bytes(b"image %d" % i)
    (top / "labels.csv").write_text("id,label\n" + "".join(f"{name},{'ab'[i % 2]}\n" for i, name in enumerate(ids)))
    return top


CASES = [
    (["00001.png", "00002.png"], ["1", "2"], "lost their leading zeros", ["00001", "00002"]),
    (["x/img_0001.png", "x/img_0002.png"], ["img_1", "img_2"], "lost their leading zeros", ["img_0001", "img_0002"]),
    (["1.png", "2.png"], ["001", "002"], "have leading zeros that the files do not have", ["1", "2"]),
    (["1.png", "2.png"], ["1.0", "2.0"], "are floats", ["1", "2"]),
    (["0001.png", "0002.png"], ["1.0", "2.0"], "are floats", ["0001", "0002"]),
    (["img1.png", "img2.png"], ["IMG1.PNG", "IMG2.PNG"], "differ in upper and lower case", ["img1", "img2"]),
    (["a1.png", "a2.png"], ["a1.jpg", "a2.jpg"], "have another ending", ["a1", "a2"]),
    (["a1.png", "a2.png"], [" a1.png", " a2.png"], "have other blanks", ["a1", "a2"]),
]


@pytest.mark.parametrize(("files", "ids", "why", "mended"), CASES)
def test_the_hint_says_what_the_files_are_called(tmp_path, files, ids, why, mended):
    with pytest.raises(DataError) as caught:
        scan(make(tmp_path, files, ids))
    told = str(caught.value)
    assert f"there is {files[0]}: the ids {why}" in told and "--images" not in told
    if written := re.search(r"\((\S+) for ", told):
        assert written[1] == mended[0]
    assert len(scan(make(tmp_path, files, mended))) == 2  # what the hint says to do


@pytest.mark.parametrize(("files", "ids", "why", "mended"), CASES)
def test_one_such_row_among_good_ones(tmp_path, files, ids, why, mended):
    table = scan(make(tmp_path, [*files, "good1.png", "good2.png"], [ids[0], "good1", "good2"]))
    (problem,) = [problem for problem in table.problems if problem.kind == "missing file"]
    assert problem.message == f"no image file fits the id {ids[0]!r}; there is {files[0]} (the ids {why})"


@pytest.mark.parametrize(("files", "ids", "why", "mended"), CASES)
def test_the_same_in_a_submission(tmp_path, files, ids, why, mended):
    top = make(tmp_path, files, [])
    with pytest.raises(DataError) as caught:
        find_test_images(AskedIds(ids, "id", lambda row: f"sample.csv:{row + 2}"), top)
    assert why in str(caught.value) and "--images" not in str(caught.value)
    assert len(find_test_images(AskedIds(mended, "id", str), top).table) == 2


def test_without_such_a_file_the_folder_is_asked_for(tmp_path):
    with pytest.raises(DataError, match="--images DIR"):
        scan(make(tmp_path, ["1.png"], ["9", "8"]))
