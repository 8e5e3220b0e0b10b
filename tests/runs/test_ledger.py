"""The ledger counts how often a test part was looked at."""

from __future__ import annotations

import json

from tellapart.runs.ledger import Opening, openings, record, times_opened


def test_an_opening_is_one_line(tmp_path):
    opening = record(tmp_path, "svm-1", "d474", 100, "compare", "s1")
    assert openings(tmp_path, "d474") == [opening]
    (line,) = (tmp_path / "ledger.jsonl").read_text(encoding="utf-8").splitlines()
    assert Opening(**json.loads(line)) == opening
    assert opening.time.endswith("Z")
    assert (opening.run, opening.data, opening.n, opening.by, opening.session) == (
        "svm-1",
        "d474",
        100,
        "compare",
        "s1",
    )


def test_one_invocation_counts_once_for_all_its_runs(tmp_path):
    for run in ("metadata-1", "svm-1", "cnn-1"):
        record(tmp_path, run, "d474", 100, "compare", "s1")
    assert times_opened(tmp_path, "d474") == 1
    record(tmp_path, "svm-2", "d474", 100, "compare", "s2")
    assert times_opened(tmp_path, "d474") == 2
    assert [o.run for o in openings(tmp_path, "d474")] == ["metadata-1", "svm-1", "cnn-1", "svm-2"]


def test_other_data_do_not_count(tmp_path):
    record(tmp_path, "svm-1", "d474", 100, "compare", "s1")
    assert times_opened(tmp_path, "0ther") == 0


def test_without_a_ledger_nothing_was_opened(tmp_path):
    assert openings(tmp_path, "d474") == []
    assert times_opened(tmp_path / "nowhere", "d474") == 0


def test_a_line_that_a_full_disk_cut_short_costs_no_other(tmp_path):
    record(tmp_path, "svm-1", "d474", 100, "compare", "s1")
    with (tmp_path / "ledger.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"time": "2026-11')
    assert times_opened(tmp_path, "d474") == 1
    record(tmp_path, "svm-1", "d474", 100, "compare", "s2")
    assert times_opened(tmp_path, "d474") == 2
