"""Names that are formulas: no CSV that we write makes a spreadsheet run one, and every name is read back."""

from __future__ import annotations

import ast
import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import tellapart
from tellapart.checks.review import read_review
from tellapart.data.scan import scan
from tellapart.spreadsheet import guard, runs

SOURCE = Path(tellapart.__file__).parent
NAMES = ("=cmd|' C'!A0", "+1+1", "-1+1", "@SUM(1)", "'=1", "a;=1+1", "plain")
CLASSES = ("=1+1", "-real")
Tell = Callable[..., str]


@pytest.fixture
def tell(command: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tell:
    """Standard output of a command that succeeds."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> str:
        code, out, err = command(*arguments)
        assert code in (0, 7), err
        return out

    return run


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number, name in enumerate(CLASSES):
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for i in range(14):
            pixels = np.random.default_rng(100 * number + i).integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{NAMES[i % 7]}{'' if i < 7 else ' again'}.png")
    return tmp_path / "photos"


def cells(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


def test_tables_that_we_write_run_nothing_and_are_read_back(tell: Tell, photos: Path, tmp_path: Path) -> None:
    tell("split", photos, "-o", "split.csv", "--exact-only")
    text = (tmp_path / "split.csv").read_text("utf-8")
    assert not any(runs(cell) for row in cells(text) for cell in row) and "'=1+1" in text
    table, direct = scan(str(tmp_path / "split.csv"), images=photos), scan(str(photos))
    assert sorted(table.classes) == sorted(direct.classes) == sorted(CLASSES)
    assert sorted(map(str, table.paths)) == sorted(map(str, direct.paths))
    tell("split", photos, "-o", "raw.csv", "--exact-only", "--raw-csv")
    assert {row[1] for row in cells((tmp_path / "raw.csv").read_text("utf-8"))[1:]} == set(CLASSES)


def test_a_fix_list_is_read_back(tell: Tell, photos: Path, tmp_path: Path) -> None:
    for name in CLASSES:  # exact duplicates
        content = (photos / name / "plain.png").read_bytes()
        (photos / name / "=copy.png").write_bytes(content)
        (photos / name / "-copy.png").write_bytes(content)
    tell("check", photos, "--only", "duplicates", "--fix-list", "fix.csv", "--list", "lists")
    for path in (tmp_path / "fix.csv", *(tmp_path / "lists").iterdir()):
        assert not any(runs(cell) for row in cells(path.read_text("utf-8")) for cell in row)
    table = scan(str(photos))
    dropped = read_review(tmp_path / "fix.csv", table).drop
    assert dropped and dropped <= set(table.ids.astype(str))


def test_predictions_run_nothing_and_their_ids_are_read_back(tell: Tell, photos: Path, tmp_path: Path) -> None:
    tell("train", photos, "-r", "metadata")
    printed = tell("predict", "metadata", photos, "--csv")
    tell("predict", "metadata", photos, "-o", "out.csv")
    for text in (printed, (tmp_path / "out.csv").read_text("utf-8")):
        rows = cells(text)
        assert len(rows) == 29 and not any(runs(cell) for row in rows for cell in row)
        assert {"'=1+1", "'-real"} <= set(rows[0])  # classes are headings, too
    raw = tell("predict", "metadata", photos, "--csv", "--raw-csv")
    tell("predict", "metadata", photos, "-o", "raw.csv", "--raw-csv")
    assert raw.splitlines()[0].startswith("image,predicted") and "=1+1" in cells(raw)[0]
    names = [row[0] for row in cells(raw)[1:]]
    assert names == [row[0] for row in cells((tmp_path / "raw.csv").read_text("utf-8"))[1:]]
    assert any(map(runs, names)) or all("/" in name for name in names)
    again = tell("predict", "metadata", "out.csv", "--images", photos, "--id-column", "image", "--csv", "--raw-csv")
    assert [row[0] for row in cells(again)[1:]] == names  # the ids of the guarded file


def test_a_relative_folder_gives_names_that_are_formulas(
    tell: Tell, photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """F20: `cd 'data/=1+1'; tellapart predict RUN . --csv`."""
    tell("train", photos, "-r", "metadata")
    monkeypatch.chdir(photos / CLASSES[0])
    name = min(path.name for path in (photos / CLASSES[0]).iterdir() if runs(path.name))
    printed = tell("predict", "metadata", name, "--runs", tmp_path / "runs", "--csv")
    assert cells(printed)[1][0].startswith("'") and not runs(cells(printed)[1][0])


def test_a_submission_keeps_the_ids_of_its_sample(tell: Tell, photos: Path, tmp_path: Path) -> None:
    """A competition compares ids byte by byte; a note tells about those that a spreadsheet would run."""
    tell("train", photos, "-r", "metadata")
    folder = photos / CLASSES[0]
    ids = sorted(path.name for path in folder.iterdir())
    sample = "id;label\r\n" + "".join(f'"{name}";-real\r\n' for name in ids)
    (tmp_path / "sample.csv").write_bytes(sample.encode())
    out = tell("submit", "metadata", "--test", folder, "--sample", "sample.csv", "-o", "answers.csv")
    rows = list(csv.reader(io.StringIO((tmp_path / "answers.csv").read_bytes().decode(), newline=""), delimiter=";"))
    assert [row[0] for row in rows[1:]] == ids and {row[1] for row in rows[1:]} <= set(CLASSES)
    assert "begin with =, +, - or @" in out and "must stay as in the sample" in out


def test_a_table_of_others_may_hold_quotes(photos: Path, tmp_path: Path) -> None:
    """A quote that begins any other cell belongs to the cell."""
    frame = pd.DataFrame({"path": [f"{CLASSES[0]}/plain.png", f"{CLASSES[1]}/plain.png"], "label": ["'quoted'", "'"]})
    frame.to_csv(tmp_path / "train.csv", index=False)
    assert sorted(scan(str(tmp_path / "train.csv"), images=photos).classes) == ["'", "'quoted'"]


def test_there_is_one_writer() -> None:
    """No module but `spreadsheet` writes CSV."""
    wrong = [
        f"{path.relative_to(SOURCE)}:{node.lineno}"
        for path in sorted(SOURCE.rglob("*.py"))
        if path.name != "spreadsheet.py"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and (node.attr == "to_csv" or ast.unparse(node) in ("csv.writer", "csv.DictWriter"))
    ]
    assert not wrong, wrong


def test_the_review_page_guards_as_the_writer_does() -> None:
    """Its script writes `reviewed.csv` in the browser; both patterns are the same."""
    script = (SOURCE / "reports" / "templates" / "check_review.js").read_text("utf-8")
    number = re.search(r"number = /\^(.+)\$/i;", script)
    begins = re.search(r"guard = \(text\) => \(/\^(.+?)/\.test", script)
    assert number and begins
    texts = [
        *NAMES,
        *CLASSES,
        "-0.5",
        "+1e-5",
        "-inf",
        "''-a",
        "'a",
        "\t",
        "\r",
        "\n=",
        "\uff1d1",
        "\uff0b",
        "\uff0d",
        "\uff20",
        ".5",
    ]
    for text in texts:
        guarded = re.match(begins[1], text) and not re.fullmatch(number[1], text, re.IGNORECASE)
        assert bool(guarded) == (guard(text) != text), text


def test_the_review_page_keeps_every_character_of_an_id() -> None:
    """Rows that are not shown are copied from an attribute: nothing in it is made visible."""
    from tellapart.reports.templating import environment

    source = environment().loader.get_source(environment(), "check_review.html")[0]  # pyright: ignore[reportOptionalMemberAccess]
    tag = next(line for line in source.splitlines() if "data-rest" in line)
    made = environment().from_string(tag).render(columns=("id",), rest='"\x1b\u202e"')
    assert "\x1b\u202e" in made and "&#34;" in made
