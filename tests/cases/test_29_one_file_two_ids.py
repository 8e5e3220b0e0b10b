"""One image under two names is found by its file, not by the text of its ids."""

from __future__ import annotations

import pytest

from tellapart.data.scan import scan
from tellapart.errors import DataError


@pytest.fixture
def top(tmp_path):
    (tmp_path / "images").mkdir()
    for i in range(4):
        (tmp_path / "images" / f"{i}.png").write_bytes(b"image %d" % i)
    return tmp_path


ROWS = "id,label\n0.png,cat\n1.png,dog\n2.png,cat\n"


@pytest.mark.parametrize("again", ["images/0.png", "0", "./images/0.png", "C:\\x\\images\\0.png", "images/0"])
def test_in_one_table(top, again):
    (top / "labels.csv").write_text(f"{ROWS}{again},dog\n")
    with pytest.raises(DataError) as caught:
        scan(top)
    told = f"labels.csv:5: the id {again!r} names the same image file as '0.png' in line 2"
    assert told in str(caught.value) and "with another label ('cat' there, 'dog' here)" in str(caught.value)
    (top / "labels.csv").write_text(ROWS)  # the hint: delete one of the two rows
    assert len(scan(top)) == 3


def test_in_two_tables(top):
    (top / "train.csv").write_text(ROWS)
    (top / "test.csv").write_text("id,label\n3.png,cat\nimages/1.png,dog\n")
    with pytest.raises(
        DataError, match=r"test.csv:3: the id 'images/1.png' names the same image file as '1.png' in train.csv:3 *"
    ):
        scan(top)


def test_different_files_of_one_name_are_fine(top):
    (top / "more").mkdir()
    (top / "more" / "0.png").write_bytes(b"another")
    (top / "labels.csv").write_text("id,label\nimages/0.png,cat\nmore/0.png,dog\n")
    assert len(scan(top)) == 2 and {problem.kind for problem in scan(top).problems} == {"image without a row"}
