"""The folder of an unfinished copy: its journal survives a crash, and what others wrote into it is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tellapart.alignment.provenance import trace_origins
from tellapart.alignment.writer import CopyLog, locked_folder
from tellapart.errors import DataError
from tellapart.workflows.align import align


def test_a_torn_line_of_the_journal_costs_no_other(tmp_path: Path) -> None:
    """Written again and again after a crash: what was noted after a torn line is read, too."""
    for number in range(3):
        with locked_folder(tmp_path / "out") as unfinished:
            unfinished.begin({"made": "of this"}, 3)
            assert sorted(unfinished.written) == list(range(number))
            unfinished.add(f"images/{number}.png", b"x")
            unfinished.note({f"images/{number}.png": CopyLog(number, "d", (0.5, 0.0, 1.0, 0.0))})
            assert unfinished.written[number].traces == (0.5, 0.0, 1.0, 0.0)
        journal = tmp_path / "out" / ".unfinished" / "journal.jsonl"
        journal.write_text(journal.read_text() + '{"number": 9, "digest": "e", "tra')


#: Lines that `note` does not write: it appends whole lines of this very copy.
WRONG_LINES = [
    "{}", "[]", "7", "null", '{"number": 1}', '{"number": 80, "digest": "d", "traces": [0.1, 0.1, 0.1, 0.1]}',
    '{"number": -1, "digest": "d", "traces": [0.1, 0.1, 0.1, 0.1]}', '{"number": 1, "digest": "d", "traces": [0.1]}',
    '{"number": 1, "digest": 7, "traces": [0.1, 0.1, 0.1, 0.1]}', "\0\0\0",
    '{"number": 1, "digest": "d", "traces": [1e999, 0.1, 0.1, 0.1]}',
]  # fmt: skip


@pytest.mark.parametrize("line", WRONG_LINES)
def test_a_damaged_line_of_the_journal_is_named_and_the_hint_works(tmp_path: Path, line: str) -> None:
    journal = tmp_path / "out" / ".unfinished" / "journal.jsonl"
    with locked_folder(tmp_path / "out") as unfinished:
        unfinished.begin({"made": "of this"}, 80)
        unfinished.add("images/0.png", b"x")
        unfinished.note({"images/0.png": CopyLog(0, "d", (0.5, 0.0, 1.0, 0.0))})
        journal.write_text(f"{journal.read_text()}{line}\n")
        with pytest.raises(DataError, match=f"{journal}: line 2") as caught:
            unfinished.begin({"made": "of this"}, 80)
    assert caught.value.hint == f"remove {journal}: all images are then written again"
    journal.unlink()
    with locked_folder(tmp_path / "out") as unfinished:
        unfinished.begin({"made": "of this"}, 80)
        assert not unfinished.written


@pytest.mark.parametrize("marker", ["{}", "[]", "7", '{"identity": {}}'])
def test_a_marker_of_something_else_is_an_error_and_the_hint_works(plant, tmp_path: Path, marker: str) -> None:
    source, out = plant(12), tmp_path / "out"
    out.mkdir()
    (out / "align.json").write_text(marker)
    with pytest.raises(DataError, match="contains a copy of other data, or with other settings") as caught:
        align(source, out)
    assert caught.value.hint == f"remove {out}, or choose another folder"
    with pytest.raises(DataError, match="name the folder of the sources, or align the data again"):
        (out / "manifest.csv").write_text("id,digest,original_path,original_digest,left,top,width,height,format\n")
        trace_origins(out)


def test_a_marker_without_results_is_an_error(plant, tmp_path: Path) -> None:
    source, out = plant(12), tmp_path / "out"
    align(source, out)
    marker = json.loads((out / "align.json").read_text())
    (out / "align.json").write_text(json.dumps({"identity": marker["identity"]}))
    with pytest.raises(DataError, match=f"{out / 'align.json'}: not what tellapart writes"):
        align(source, out)
