"""Hints of `submit`: from what is there, and without options that the command lacks (cases d and e)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import tellapart as ta
from tellapart.cli.main import app
from tellapart.data.cache import CorruptImages
from tellapart.data.test_images import AskedIds, find_test_images
from tellapart.errors import DataError
from tellapart.inference.context import Settings


def _picture(path: Path, level: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 4, 3), level, np.uint8)).save(path)


def test_a_corrupt_picture_cannot_be_left_out_of_a_submission(tmp_path) -> None:
    for c, name in enumerate(("real", "fake")):
        for i in range(10):
            _picture(tmp_path / "d" / name / f"{i}.png", 120 * c + i)
    run = ta.train(tmp_path / "d", "knn", settings=Settings(runs=tmp_path / "runs", device="cpu"))
    _picture(tmp_path / "t" / "0.png", 3)
    (tmp_path / "t" / "1.png").write_bytes(b"<html>")
    (tmp_path / "s.csv").write_text("id,label\n0,0.5\n1,0.5\n")
    command = ["submit", str(run.folder), "--test", str(tmp_path / "t"), "--sample", str(tmp_path / "s.csv")]
    found = CliRunner().invoke(app, [*command, "-o", str(tmp_path / "o.csv"), "-q"])
    assert isinstance(found.exception, CorruptImages) and "1.png: not an image" in found.exception.message
    assert found.exception.hint == "restore them: every row of a submission needs a prediction, so none can be left out"
    _picture(tmp_path / "t" / "1.png", 150)
    assert CliRunner().invoke(app, [*command, "-o", str(tmp_path / "o.csv"), "-q"]).exit_code == 0


@pytest.mark.parametrize(
    ("name", "wrong", "hint", "right"),
    [
        ("IMG_7.png", "img_7", "the ids differ in upper and lower case; write them as the files are called", "IMG_7"),
        ("a.png", "a.jpg", "the ids have another ending; leave the ending out of the ids", "a"),
        ("00007.png", "7", "the ids lost their leading zeros; write them as text with all digits", "00007"),
        ("7.png", "7.0", "the ids are floats; write them as whole numbers", "7"),
        ("8.heic", "8", "8.heic is there, which is no image that can be read: convert it to .png", None),
    ],
)
def test_an_id_that_fits_no_image_is_explained_by_what_is_there(tmp_path, name, wrong, hint, right) -> None:
    _picture(tmp_path / "t" / "other.png", 9)
    if name.endswith(".heic"):
        (tmp_path / "t" / name).write_bytes(b"\0\0\0\x18ftypheic")
    else:
        _picture(tmp_path / "t" / name, 1)
    with pytest.raises(DataError) as caught:
        find_test_images(AskedIds([wrong], "id", "s.csv:{}".format), tmp_path / "t")
    assert hint in str(caught.value.hint) and name in str(caught.value.hint)
    if right is None:
        _picture(tmp_path / "t" / "8.png", 1)
    found = find_test_images(AskedIds([right or wrong], "id", "s.csv:{}".format), tmp_path / "t")
    assert found.table.paths.tolist() == [name.replace(".heic", ".png")]
