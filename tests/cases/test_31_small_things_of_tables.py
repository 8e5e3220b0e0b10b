"""(a) Excel's first line `sep=;`; (b) a table of pixels, whose 785 columns are not all listed."""

from __future__ import annotations

import pytest

from tellapart.data.scan import scan
from tellapart.errors import DataError
from tellapart.inference.image_sources import open_sources
from tellapart.inference.image_sources.base import SourceOptions


@pytest.fixture
def top(tmp_path):
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(b"image %d" % i)
    return tmp_path


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "\n\nsep=;", "SEP=;\n", "\ufeffsep=;", "sep=;\r"])
def test_the_line_sep(top, first):
    (top / "labels.csv").write_text(f"{first}\nid;label\n0;a,x\n1;b\n2;\n", encoding="utf-8", newline="")
    table = scan(top)
    assert table.classes == ("a,x", "b")
    line = 5 + first.lstrip("\ufeff").count("\n")
    assert [p.where for p in table.problems] == [f"labels.csv:{line}"]
    assert [ref.name for source in open_sources([str(top / "labels.csv")], SourceOptions()) for ref in source.items()]


def test_another_separator_than_the_usual_ones(top):
    (top / "labels.csv").write_text("sep=^\nid^label\n0^a\n1^b\n")
    assert scan(top).classes == ("a", "b")
    (top / "labels.csv").write_text("sep=\t\nid\tlabel\n0\ta\n1\tb\n")
    assert scan(top).classes == ("a", "b")


def test_a_column_that_begins_with_sep_is_a_column(top):
    (top / "labels.csv").write_text("sep,id,label\nx,0,a\ny,1,b\n")
    assert scan(top).classes == ("a", "b")


@pytest.mark.parametrize("encoding", ["latin-1", "cp1250", "utf-16-le"])
def test_another_encoding_is_named_and_the_hint_leads_out(top, encoding):
    text = "id,label\n0,żółw\n1,ąę\n" if encoding == "cp1250" else "id,label\n0,café\n1,thé\n"
    (top / "labels.csv").write_text(text, encoding=encoding)
    with pytest.raises(DataError, match="save the table as CSV UTF-8"):
        scan(top / "labels.csv")
    (top / "labels.csv").write_text(text, encoding="utf-8")
    assert len(scan(top)) == 2


def test_a_table_of_pixels(top):
    header = ",".join(["label", *(f"pixel{i}" for i in range(784))])
    (top / "train.csv").write_text(f"{header}\n1,{','.join('0' * 784)}\n")
    with pytest.raises(DataError) as caught:
        scan(top)
    told = str(caught.value)
    assert "found label, pixel0," in told and "pixel8, … (785 in all)" in told and "pixel9," not in told
    assert "tellapart.from_arrays" in told and len(told) < 600
    for option in ("id_column", "label_column"):
        with pytest.raises(DataError, match="785 in all"):
            scan(top, **{"id_column": "label", option: "no"})
