"""Walks of folders with links that loop and folders that may not be entered."""

from __future__ import annotations

import os

import pytest

from tellapart.data.folder_walk import walk, walk_images
from tellapart.data.scan import scan
from tellapart.errors import DataError
from tellapart.inference.image_sources import open_sources


def problems(top):
    return [(p.kind, p.where) for folder in walk(str(top)) for p in folder.problems]


def test_a_link_to_itself_is_named(tree):
    top = tree("a/1.png", "b/1.png")
    (top / "a" / "loop.png").symlink_to("loop.png")
    (top / "b" / "one").symlink_to("two")
    (top / "b" / "two").symlink_to("one")
    assert problems(top) == [("missing file", "a/loop.png"), ("missing file", "b/one"), ("missing file", "b/two")]
    assert len(scan(top)) == 2 and "Too many levels" in str(scan(top).problems[0])
    reasons = {ref.name.rpartition("/")[2]: ref.reason for ref in open_sources([top])[0].items()}
    assert "Too many levels" in reasons["loop.png"] and reasons["1.png"] == ""


def test_a_link_to_a_folder_above_is_a_loop_and_harmless(tree):
    from tellapart.data.left_out import HARMLESS

    top = tree("a/1.png", "b/1.png")
    (top / "a" / "up").symlink_to(top)
    (top / "b" / "self").symlink_to(top / "b")
    assert problems(top) == [("loop of links", "a/up/"), ("loop of links", "b/self/")]
    assert len(scan(top)) == 2 and "loop of links" in HARMLESS
    assert [path for path, _ in walk_images(str(top))] == [f"{top}/a/1.png", f"{top}/b/1.png"]


def test_a_folder_that_is_linked_is_read_once_and_the_link_is_named(tree):
    top = tree("pool/a/1.png", "pool/b/1.png")
    (top / "train").mkdir()
    (top / "train" / "a").symlink_to(top / "pool" / "a")
    table = scan(top)
    assert table.ids.tolist() == ["a/1.png", "b/1.png"]
    assert [(p.kind, p.where, p.message) for p in table.problems] == [
        ("linked folder", "train/a/", "is a link to pool/a/, which is read there: not followed")
    ]


def test_links_out_of_the_tree_are_followed(tree):
    outside, top = tree("1.png"), tree("a/1.png")
    (top / "b").symlink_to(outside)
    assert scan(top).classes == ("a", "b") and not scan(top).problems


def refuse(monkeypatch, ending, error):
    real = os.scandir

    def scandir(path):
        if str(path).endswith(ending):
            raise error
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PermissionError(13, "Permission denied"), "no permission to list"),
        (FileNotFoundError(2, "No such"), "No such"),
    ],
)
def test_a_folder_that_cannot_be_read_is_a_problem(tree, monkeypatch, error, told):
    top = tree("a/1.png", "b/1.png", "c/1.png", "a/below/2.png")
    refuse(monkeypatch, "/c", error)
    table = scan(top)
    assert len(table) == 3 and [(p.kind, p.where) for p in table.problems] == [("unreadable folder", "c/")]
    assert told in table.problems[0].message
    assert [told in reason for _, reason in walk_images(str(top)) if reason] == [True]
    refuse(monkeypatch, "/data", error)
    with pytest.raises(DataError, match="data: "):
        scan(top)


def test_entries_whose_kind_cannot_be_read(tree, monkeypatch):
    """As in a folder that may be listed but not entered."""
    top = tree("a/1.png", "b/1.png")

    class Closed:
        def __init__(self, entry):
            self.name, self.path = entry.name, entry.path

        def is_dir(self):
            raise PermissionError(13, "Permission denied")

        is_file = stat = is_symlink = is_dir

    real = os.scandir

    class Listed:
        def __init__(self, path):
            self.entries = [Closed(e) if str(path).endswith("/b") else e for e in real(path)]

        def __enter__(self):
            return self.entries

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(os, "scandir", Listed)
    assert [(p.kind, p.where) for p in scan(top, least=1).problems] == [("missing file", "b/1.png"), ("empty class", "b")]
