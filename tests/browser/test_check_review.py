"""The page for reviewing findings: chosen with the keyboard, saved as a CSV that `check` reads."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from tellapart.checks.review import read_review
from tellapart.data.memory import from_arrays
from tellapart.reports.health_report import write_review
from tellapart.workflows.check import check

from .chromium import Chromium

pytestmark = pytest.mark.browser
#: The saved file is caught where the page would hand it to the browser.
CATCH = "URL.createObjectURL = (blob) => { blob.text().then((text) => { window.saved = text; }); return '#'; }; true"


def test_decisions_are_saved(browser: Chromium, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(30, 220, (12, 24, 24, 3)).astype(np.uint8)
    images[8], images[9] = images[0], images[3]
    ids = [f'a, "{number}"' for number in range(12)]
    table = from_arrays(images, [0, 1] * 6, ["real", "fake"], ids=ids)
    health = check(table, only=["duplicates"])
    browser.open(write_review(health, tmp_path / "review.html").as_uri())
    assert browser.run("document.getElementById('count').textContent") == "2 to drop, 0 kept, 2 undecided"
    browser.run("document.querySelectorAll('.decide')[2].querySelector('input[value=keep]').focus(); true")
    browser.press(" ")
    assert browser.run("document.getElementById('count').textContent") == "2 to drop, 1 kept, 1 undecided"
    browser.run(CATCH)
    browser.run("document.querySelector('.save button').click(); true")
    saved = browser.until("window.saved || ''")
    rows = list(csv.DictReader(io.StringIO(saved)))
    assert [row["id"] for row in rows] == health.rows()["id"].tolist()
    assert [row["action"] for row in rows] == ["drop", "drop", "keep", "review"]
    path = tmp_path / "reviewed.csv"
    path.write_text(saved, encoding="utf-8")
    review = read_review(path, table)
    assert review.drop == {rows[0]["id"], rows[1]["id"]} and review.keep == {(rows[2]["id"], "duplicates")}
