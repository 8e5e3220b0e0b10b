"""`tellapart explain` and `tellapart submit`: what they print and write, and what they say to bad input."""

from __future__ import annotations

import json

import pytest
from PIL import Image


@pytest.fixture
def trained(tell, photos):
    assert tell("train", photos, "-r", "neighbors", "-q").code == 0
    return photos


def test_explain_writes_a_picture_and_says_where(tell, trained, tmp_path):
    found = tell("explain", "neighbors", trained / "dark", "--class", "light", "-s", "window=0.5", "-o", "maps", "-q")
    assert found.code == 0, found.err
    assert "occlusion" in found.out and "20 pictures in maps" in found.out
    pictures = sorted((tmp_path / "here" / "maps").glob("*.png"))
    with Image.open(pictures[0]) as picture:
        assert len(pictures) == 20 and picture.width > 300


def test_explain_judges_and_points(tell, trained, tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    image = min((trained / "dark").iterdir())
    mask = Image.new("L", (8, 8))
    mask.paste(255, (0, 0, 4, 8))
    mask.save(masks / image.name)
    found = tell("explain", "neighbors", image, "-m", "occlusion", "-m", "rise", "--masks", masks, "--judge", "-q", "--json")
    assert found.code == 0, found.err
    content = json.loads(found.out)
    assert [one["method"] for one in content] == ["occlusion", "rise"]
    for one in content:
        assert set(one["scores"]) == set(one["pointing"]) == {one["method"], "noise"} and one["mask_share"] == 0.5
        assert set(one["scores"]["noise"]) == {"deletion", "insertion", "road"}
    shown = tell("explain", "neighbors", image, "--masks", masks, "--judge", "-q")
    assert "occlusion, means and 95 % intervals" in shown.out and "pointing" in shown.out and "noise" in shown.out


def test_explain_refuses_in_words(tell, trained, tmp_path):
    image = min((trained / "dark").iterdir())
    masks = tmp_path / "masks"
    masks.mkdir()
    Image.new("L", (3, 3)).save(masks / image.name)
    for arguments, code, message in (
        ((image, "--class", "drak"), 3, "did you mean 'dark'"),
        ((image, "-m", "grad_cam"), 5, "is no network"),
        ((image, "-m", "grad_com"), 4, "did you mean 'grad_cam'"),
        ((image, "-s", "windov=1"), 4, "did you mean 'window'"),
        ((image, "--masks", masks), 3, "is 3×3, but"),
        (("nowhere.png",), 3, "no such file"),
    ):
        found = tell("explain", "neighbors", *arguments, "-q")
        assert found.code == code and message in found.err and "Traceback" not in found.err, (arguments, found)


def test_submit_copies_the_sample(tell, trained, tmp_path):
    names = sorted(p.stem for p in (trained / "light").iterdir())[:3]
    sample = tmp_path / "sample.csv"
    sample.write_text("id,label\n" + "".join(f"{name},0\n" for name in reversed(names)))
    arguments = ("submit", "neighbors", "--test", trained / "light", "--sample", sample, "-o", "out.csv", "-q")
    found = tell(*arguments, "--map", "light=1,dark=0")
    assert found.code == 0, found.err
    assert "out.csv: 3 rows, label: one of 0, 1" in found.out and "17 test images are not in the sample" in found.out
    written = (tmp_path / "here" / "out.csv").read_text().splitlines()
    assert written[0] == "id,label" and [line.partition(",")[0] for line in written[1:]] == names[::-1]
    content = json.loads(tell(*arguments, "--map", "light=1", "--map", "dark=0", "--json").out)
    assert content["kind"] == "label" and content["rows"] == 3
    wrong = tell(*arguments)
    assert wrong.code == 3 and "--map" in wrong.err and "Traceback" not in wrong.err
    assert tell(*arguments, "--map", "light").code == 2 and tell(*arguments, "--as", "both").code == 2
