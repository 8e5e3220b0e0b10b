"""Locators, and loose files whose path looks like one."""

from __future__ import annotations

import pytest

from tellapart.data.locator import loose_locator, parse_locator
from tellapart.data.reader import ImageReader
from tellapart.data.scan import scan
from tellapart.data.summary import summarize


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz", "tgz", "tar.zst", "npz", "ZIP"])
def test_members_of_archives(ending):
    assert parse_locator(f"d/a.{ending}::x/y.png") == (f"d/a.{ending}", "x/y.png", None)
    assert parse_locator(f"a.{ending}::x.npy#3") == (f"a.{ending}", "x.npy", 3)


@pytest.mark.parametrize("path", ["x.zip::y/1.png", "a/x.tar.gz::1.png", "p.parquet#3", "memory#1", "a/x-idx3-ubyte#0"])
def test_a_loose_file_stays_one(path):
    assert parse_locator(loose_locator(path)) == ("", path, None)


def test_folders_that_look_like_archives(tree):
    names = ("x.zip::y/1.png", "x.zip::y/2.png", "cat/x.zip::y.png", "cat/p.npz::q#1.png", "memory#1/0.png")
    top = tree(*names)
    table = scan(top)
    assert table.ids.tolist() == sorted(names) and table.classes == ("cat", "memory#1", "x.zip::y")
    with ImageReader(table) as reader:
        assert [reader.get(locator) for locator in table.paths] == [(top / name).read_bytes() for name in sorted(names)]
    assert not summarize(table).headers.unreadable and summarize(table).root == str(top)
