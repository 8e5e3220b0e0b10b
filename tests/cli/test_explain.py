"""`tellapart explain` and `tellapart submit`: what they print and write, and what they say to bad input."""

from __future__ import annotations

import json

import pytest
from PIL import Image


@pytest.fixture
def trained(tell, photos):
    assert tell("train", photos, "-r", "knn", "-q").code == 0
    return photos


def test_explain_writes_a_picture_and_says_where(tell, trained, tmp_path):
    found = tell("explain", "knn", trained / "dark", "--class", "light", "-s", "window=0.5", "-o", "maps", "-q")
    assert found.code == 0, found.err
    assert "occlusion" in found.out and "20 figures in maps" in found.out
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
    found = tell("explain", "knn", image, "-m", "occlusion", "-m", "rise", "--masks", masks, "--judge", "-q", "--json")
    assert found.code == 0, found.err
    content = json.loads(found.out)
    assert [one["method"] for one in content] == ["occlusion", "rise"]
    for one in content:
        assert set(one["scores"]) == set(one["pointing"]) == {one["method"], "noise"} and one["mask_share"] == 0.5
        assert set(one["scores"]["noise"]) == {"deletion", "insertion", "road"}
    shown = tell("explain", "knn", image, "--masks", masks, "--judge", "-q")
    assert "occlusion, means and 95 % intervals" in shown.out and "pointing" in shown.out and "noise" in shown.out


def test_explain_refuses_in_words(tell, trained, tmp_path):
    image = min((trained / "dark").iterdir())
    masks = tmp_path / "masks"
    masks.mkdir()
    Image.new("L", (3, 3)).save(masks / image.name)
    for arguments, code, message in (
        ((image, "--class", "drak"), 3, "did you mean 'dark'"),
        ((image, "-m", "grad_cam"), 5, "is not a network"),
        ((image, "-m", "grad_com"), 4, "did you mean 'grad_cam'"),
        ((image, "-s", "windov=1"), 4, "did you mean 'window'"),
        ((image, "--masks", masks), 3, f"{image.name}: the mask is 3×3 (height × width), but {image.name} is 8×8"),
        (("nowhere.png",), 3, "no such file"),
    ):
        found = tell("explain", "knn", *arguments, "-q")
        assert found.code == code and message in found.err and "Traceback" not in found.err, (arguments, found)


def test_explain_views_stand_beside_maps_or_alone(tell, trained, tmp_path, monkeypatch):
    image = min((trained / "dark").iterdir())
    found = tell("explain", "knn", image, "-m", "occlusion", "--view", "nearest", "--view", "frequency", "-q", "--json")
    assert found.code == 0, found.err
    content = json.loads(found.out)
    assert [one.get("method") or one["view"] for one in content] == ["occlusion", "nearest", "frequency"]
    assert len({one["picture"] for one in content}) == 1 and len(content[1]["nearest"]) == 5
    with Image.open(tmp_path / "here" / content[0]["picture"]) as picture:
        both = picture.height
    shown = tell("explain", "knn", image, "--view", "nearest", "-q", "-o", "alone")
    assert "nearest by the run's own descriptors: " in shown.out and "(dark)" in shown.out and "occlusion" not in shown.out
    with Image.open(tmp_path / "here" / "alone" / f"{image.stem}.png") as picture:
        assert picture.height < both / 2
    wrong = tell("explain", "knn", image, "--view", "nearst", "-q")
    assert wrong.code == 3 and "did you mean 'nearest'" in wrong.err and "Traceback" not in wrong.err
    for path in (trained / "light").iterdir():
        path.unlink()
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "empty"))  # else the decoded pixels are still there
    gone = tell("explain", "knn", image, "--view", "frequency", "-q")
    assert gone.code == 3 and "cannot be decoded" in gone.err and "Traceback" not in gone.err


def test_explain_means_of_a_set(tell, trained, tmp_path):
    arguments = ("explain", "knn", trained, "--mean", "-s", "window=0.5", "-q")
    found = tell(*arguments)
    assert found.code == 0, found.err
    assert "predicted" in found.out and "figure: explained/means.png" in found.out
    content = json.loads(tell(*arguments, "--json").out)
    assert [one["class"] for one in content] == ["dark", "light"] and [one["n"] for one in content] == [20, 20]
    assert len(content[0]["grid"]) == 8 and content[0]["size"] == [8, 8]
    wrong = tell(*arguments, "--judge")
    assert wrong.code == 2 and "--mean and --judge" in wrong.err


def test_explain_says_where_it_cannot_write(tell, trained, tmp_path):
    image = min((trained / "dark").iterdir())
    (tmp_path / "here" / "file").write_text("")
    found = tell("explain", "knn", image, "--view", "nearest", "-o", "file/maps", "-q")
    assert found.code == 6 and "Traceback" not in found.err and "file" in found.err
    missing = tell("explain", "knn", image, "--masks", "nowhere", "-q")
    assert missing.code == 3 and "nowhere: no such folder" in missing.err and "masks are files" in missing.err


def test_submit_copies_the_sample(tell, trained, tmp_path):
    names = sorted(p.stem for p in (trained / "light").iterdir())[:3]
    sample = tmp_path / "sample.csv"
    sample.write_text("id,label\n" + "".join(f"{name},0\n" for name in reversed(names)))
    arguments = ("submit", "knn", "--test", trained / "light", "--sample", sample, "-o", "out.csv", "-q")
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
