"""CSV cells that a spreadsheet does not run, and that are read back as they were."""

from __future__ import annotations

import csv
import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tellapart.spreadsheet import csv_text, frame_csv, guard, runs, unguard

CELLS = st.text(st.sampled_from("=+-@'\"\t\r\n,;. 0a\uff1d\uff20") | st.characters(exclude_categories=["Cs"]), max_size=8)


@given(CELLS)
@example("'=1")
@example("''-a")
def test_every_cell_is_read_back(text: str) -> None:
    assert unguard(guard(text)) == text
    assert not runs(guard(text))


@pytest.mark.parametrize("text", ["=1+1", "+a", "-a", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1", "-", "=", "--1", "-0.5a"])
def test_what_a_spreadsheet_runs_gets_a_quote(text: str) -> None:
    assert runs(text) and guard(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "a", "0.5", "-0.5", "+3", "-1e-5", "-.5", "-inf", "a=1", "'", "'a'", " =1"])
def test_numbers_and_other_texts_stay_as_they_are(text: str) -> None:
    assert not runs(text) and guard(text) == text == unguard(text)


@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=4), st.booleans(), st.sampled_from(",;\t|"))
def test_rows_are_read_back_by_any_reader_of_csv(rows: list[list[str]], guarded: bool, delimiter: str) -> None:
    text = csv_text(rows, guarded=guarded, delimiter=delimiter)
    found = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    assert [[unguard(cell) if guarded else cell for cell in row] for row in found] == rows


def test_a_file_without_guards_is_as_that_of_the_standard_library() -> None:
    rows = [["id", "label"], ["=1+1", 'a "b"'], ["-x;y", "c,d"], ["", ""]]
    target = io.StringIO()
    csv.writer(target, lineterminator="\n").writerows(rows)
    assert csv_text(rows, guarded=False) == target.getvalue()
    assert csv_text([[""], ["a"]]) == '""\na\n'  # an empty line would be no row


def test_other_separators_open_no_cell_in_a_spreadsheet() -> None:
    assert csv_text([["a;=1+1", "b\t=1"]]) == '"a;=1+1","b\t=1"\n'


def test_a_frame_keeps_its_numbers() -> None:
    frame = pd.DataFrame({"=id": ["=1", "-a", "b\rc"], "x": [-0.5, np.nan, 1e-9], "n": [-1, 2, 3], "flag": [True, False, True]})
    assert frame_csv(frame) == "'=id,x,n,flag\n'=1,-0.5,-1,True\n'-a,,2,False\n\"b\rc\",1e-09,3,True\n"
    assert frame_csv(frame.iloc[:1], guarded=False, header=False, float_format="%.2f") == "=1,-0.50,-1,True\n"
