"""`tellapart check` and `tellapart split`: what they print, write and answer, and what they say to bad input."""

from __future__ import annotations

import base64
import csv
import hashlib
import html
import io
import json
import re
import shlex
import shutil

import numpy as np
import pytest

#: The checks of files and copies: the others learn from the images, and are tested elsewhere.
ONLY = [word for name in ("files", "duplicates", "near_duplicates", "groups", "balance") for word in ("--only", name)]


@pytest.fixture
def leaky(photos):
    """The forty pictures of `photos`, one of them in both classes, one file cut off."""
    shutil.copy(photos / "dark" / "03.png", photos / "light" / "also.png")
    content = (photos / "dark" / "05.png").read_bytes()
    (photos / "dark" / "05.png").write_bytes(content[: len(content) // 2])
    return photos


def test_check_names_what_is_wrong_and_what_to_do(tell, leaky):
    found = tell("check", leaky, *ONLY, "-q")
    assert found.code == 7, found.err
    assert "leak" in found.out and "2 images have an exact duplicate" in found.out and "1 unreadable" in found.out
    assert "→" in found.out and "41 images, 2 classes: 1 leak, 1 problem" in found.out
    assert "Traceback" not in found.err


def test_no_cell_is_longer_than_two_lines(tell, photos, monkeypatch):
    """Names, sizes, colors and files all differ by class; the table stays short, and the advice stands below it."""
    for path in (photos / "light").iterdir():
        path.rename(path.with_name(f"a very long name of a bright image, number {path.name}"))
    monkeypatch.setenv("COLUMNS", "80")
    found = tell("check", photos, "-q")
    table = found.out.partition("\n→")[0].splitlines()[1:]
    starts = [i for i, line in enumerate(table) if line[:1].strip()]
    heights = np.diff([*starts, len(table)])
    assert len(starts) == 14 and heights.max() == 2, found.out
    assert "→ names: the classifiers of tellapart do not read names" in found.out


def test_class_properties_are_no_entries_of_a_fix_list(tell, photos, tmp_path):
    for path in (photos / "light").iterdir():
        path.rename(path.with_name(f"light_{path.name}"))
    found = tell("check", photos, "--only", "names", "--fix-list", "fix.csv", "--list", "lists", "-q")
    assert found.code == 0 and "a name that begins with no letter occurs only in 'dark'" in found.out
    folder = tmp_path / "here"
    assert len((folder / "fix.csv").read_text("utf-8").splitlines()) == 1
    assert len((folder / "lists" / "names.csv").read_text("utf-8").splitlines()) > 20


def test_a_sound_set_is_fine(tell, photos):
    found = tell("check", photos, *ONLY, "-q")
    assert found.code == 0 and "no problems found" in found.out


def test_strict_minds_notices(tell, photos):
    (photos / "dark" / "notes.txt").write_text("no image")
    assert tell("check", photos, "--only", "files", "-q").code == 0
    assert tell("check", photos, "--only", "files", "-q", "--strict").code == 7


def test_json_and_lists(tell, leaky, tmp_path):
    found = tell("check", leaky, *ONLY, "--list", "lists", "--fix-list", "fix.csv", "--json", "-q")
    content = json.loads(found.out)
    assert found.code == 7 and content["worst"] == "leak" and content["images"] == 41
    by_name = {one["check"]: one for one in content["checks"]}
    assert by_name["duplicates"]["details"]["across_classes"] == 1 and by_name["files"]["severity"] == "problem"
    assert {"lists/duplicates.csv", "lists/files.csv", "fix.csv"} == set(content["written"])
    rows = list(csv.DictReader(io.StringIO((tmp_path / "here" / "fix.csv").read_text("utf-8"))))
    assert [(row["id"], row["check"], row["action"]) for row in rows] == [
        ("dark/03.png", "duplicates", "review"), ("light/also.png", "duplicates", "review"), ("dark/05.png", "files", "drop"),
    ]  # fmt: skip


def test_a_review_round_trip(tell, leaky, tmp_path):
    tell("check", leaky, *ONLY, "--fix-list", "fix.csv", "-q")
    path = tmp_path / "here" / "fix.csv"
    path.write_text(path.read_text("utf-8").replace("review", "keep"), encoding="utf-8")
    found = tell("check", leaky, *ONLY, "--reviewed", "fix.csv", "-q")
    assert found.code == 0 and "accepted by the review" in found.out and "40 images" in found.out
    cut = tell("split", leaky, "--reviewed", "fix.csv", "--exact-only", "-q")
    assert cut.code == 0, cut.err
    assert len((tmp_path / "here" / "split.csv").read_text("utf-8").splitlines()) == 41


def test_the_page_stands_alone(tell, leaky, tmp_path):
    found = tell("check", leaky, *ONLY, "-o", "health.html", "--review", "review.html", "-q")
    assert found.code == 7 and "wrote health.html" in found.out
    for name in ("health.html", "review.html"):
        page = (tmp_path / "here" / name).read_text("utf-8")
        assert "also.png" in page and not re.findall(r"(?:src|href)=\"(?!data:|#)[^\"]*\"", page)
        allowed = re.findall(r"sha256-([A-Za-z0-9+/=]+)", page.partition("</head>")[0])
        for script in re.findall(r"<script>(.*?)</script>", page, re.DOTALL):
            assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in allowed
    page = (tmp_path / "here" / "health.html").read_text("utf-8")
    assert page.count('<img src="data:image/png') == 2 and "no image" in page


def test_names_cannot_write_into_the_pages(tell, photos, tmp_path):
    evil = "<img onerror=x src=y>&\"'.png"
    shutil.copy(photos / "dark" / "03.png", photos / "light" / evil)
    assert tell("check", photos, *ONLY, "-o", "health.html", "--review", "review.html", "-q").code == 7
    for name in ("health.html", "review.html"):
        page = (tmp_path / "here" / name).read_text("utf-8")
        assert "<img onerror" not in page and html.escape("<img onerror") in page


def test_the_review_page_knows_every_row(tell, leaky, tmp_path):
    tell("check", leaky, *ONLY, "--review", "review.html", "--fix-list", "fix.csv", "-q")
    page = (tmp_path / "here" / "review.html").read_text("utf-8")
    values = [json.loads(html.unescape(found)) for found in re.findall(r'data-values="([^"]*)"', page)]
    rows = list(csv.reader(io.StringIO((tmp_path / "here" / "fix.csv").read_text("utf-8"))))
    assert [value[:3] for value in values] == [row[:3] for row in rows[1:]]
    assert page.count('type="radio"') == 3 * len(values) == 3 * page.count("<fieldset>")
    checked = re.findall(r'value="(\w+)" checked', page)
    assert checked == [row[5] for row in rows[1:]]


def test_no_labels_one_class_and_nothing(tell, photos, tmp_path):
    flat = tell("check", photos / "dark", *ONLY, "-q")
    assert flat.code == 0 and "20 images, no labels" in flat.out
    shutil.rmtree(photos / "light")
    one = tell("check", photos, *ONLY, "-q")
    assert one.code == 7 and "only one class, 'dark'" in one.out
    (tmp_path / "empty").mkdir()
    nothing = tell("check", tmp_path / "empty", "-q")
    assert nothing.code == 3 and "no images in it" in nothing.err and "Traceback" not in nothing.err


def test_bad_input_is_said(tell, photos, tmp_path):
    for arguments, code, message in (
        (("--only", "fils"), 4, "did you mean 'files'"),
        (("-s", "balance.leest=3"), 4, "did you mean 'least'"),
        (("-s", "least"), 2, "KEY=VALUE"),
        (("--reviewed", "nowhere.csv"), 3, "cannot be read"),
        (("-o", tmp_path), 6, "is a folder"),
    ):
        found = tell("check", photos, *arguments, "-q")
        assert found.code == code and message in found.err and "Traceback" not in found.err, (arguments, found)
    assert tell("check", tmp_path / "nowhere", "-q").code == 3


def test_split_keeps_twins_together_and_says_how_to_go_on(tell, photos, tmp_path):
    shutil.copy(photos / "dark" / "03.png", photos / "dark" / "again.png")
    found = tell("split", photos, "--shares", "60,20,20", "--seed", "3", "-q")
    assert found.code == 0, found.err
    assert "2 images with an exact duplicate" in found.out and "1 set of images kept together" in found.out
    rows = list(csv.DictReader(io.StringIO((tmp_path / "here" / "split.csv").read_text("utf-8"))))
    sides = {row["path"]: row["split"] for row in rows}
    assert sides["dark/03.png"] == sides["dark/again.png"] and set(sides.values()) == {"train", "valid", "test"}
    use = re.search(r"next: (tellapart compare .*)", found.out)
    assert use and tell("data", *shlex.split(use[1])[2:]).code == 0
    content = json.loads(tell("split", photos, "-o", "two.csv", "--json", "-q").out)
    assert content["images"] == 41 and content["exact_duplicates"] == 2 and content["written"] == "two.csv"


def test_split_says_what_it_cannot_do(tell, photos, tmp_path):
    for arguments, code, message in (
        (("--shares", "70,20"), 2, "expected three numbers"),
        (("--shares", "70,0,30"), 2, "expected three numbers"),
        (("-o", tmp_path), 6, "is a folder"),
        (("--group", "person"), 3, "no columns"),
    ):
        found = tell("split", photos, *arguments, "-q")
        assert found.code == code and message in found.err and "Traceback" not in found.err, (arguments, found)


def test_a_run_helps_to_find_near_duplicates(tell, photos, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    assert tell("train", photos, "-r", "color-lda", "--runs", tmp_path / "elsewhere", "-q").code == 0
    embedding = ("-s", "near_duplicates.embedding=color-lda", "--only", "near_duplicates", "-q")
    assert tell("check", photos, *embedding, "--runs", tmp_path / "elsewhere").code == 0
    unknown = tell("check", photos, *embedding, "--runs", tmp_path / "nowhere")
    assert unknown.code == 1 and "the check failed" in unknown.out
    options = ("-o", tmp_path / "split.csv", "--embedding", "color-lda", "-q")
    assert tell("split", photos, *options, "--runs", tmp_path / "elsewhere").code == 0 and (tmp_path / "split.csv").exists()
    both = tell("split", photos, *options, "--exact-only")
    assert both.code == 2 and "--exact-only and --embedding" in both.err


def test_help_lists_every_check():
    from tellapart import registry
    from tellapart.cli.check import _CHECKS

    assert _CHECKS.replace(" or ", ", ").split(", ") == registry.names("checks")
