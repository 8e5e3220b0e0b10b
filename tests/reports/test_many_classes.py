"""With many classes a page shows some of them, says so, and costs no memory that grows with the square of their number."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.metrics.classification import confused_pairs, confusion_matrix
from tellapart.reports import figures, run_section
from tellapart.reports.report import write_report


def test_tables_list_the_largest_classes_and_the_page_says_so(world, run, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(run_section, "MOST_LISTED", 5)
    monkeypatch.setattr(run_section, "MATRIX_UP_TO", 20)
    made = world([f"class {number:02}" for number in range(24)])
    page = write_report([run(made, "svm")], tmp_path / "report.html").read_text("utf-8")
    text = " ".join(page.split())
    assert "The 5 of 24 classes with the most images" in text
    assert "The largest 5 of 24 classes." in text and "<summary>The largest 5 classes as a table</summary>" in text
    assert "There are too many classes for a confusion matrix; the table lists the most frequent confusions." in text
    assert "Most frequent confusions" in text and 'class="view scroll"' not in text
    table = page[page.index('<table class="classes">') :].partition("<tfoot>")[0]
    assert table.count('<th scope="row"') == 5


def test_with_few_classes_nothing_is_left_out(world, run, tmp_path) -> None:
    made = world([f"class {number:02}" for number in range(24)])
    page = write_report([run(made, "svm")], tmp_path / "report.html").read_text("utf-8")
    assert "<summary>All 24 classes as a table</summary>" in page and "classes with the most images" not in page
    assert "too many classes for a confusion matrix" not in page
    assert page[page.index('<table class="classes">') :].partition("<tfoot>")[0].count('<th scope="row"') == 24


def test_no_matrix_of_all_classes_is_made(world, run, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(run_section, "MATRIX_UP_TO", 20)
    for module, name in ((run_section, "confusion_matrix"), (figures, "confusion")):
        monkeypatch.setattr(module, name, lambda *_: pytest.fail("a matrix of all classes"))
    made = world([f"class {number:02}" for number in range(24)])
    assert write_report([run(made, "svm")], tmp_path / "report.html").exists()


@pytest.mark.parametrize("seed", range(5))
def test_pairs_are_those_of_the_matrix(seed: int) -> None:
    draw = np.random.default_rng(seed)
    labels, predicted = draw.integers(0, 6, (2, 80))
    counts = confusion_matrix(labels, predicted, 6)
    np.fill_diagonal(counts, 0)
    order = [divmod(int(place), 6) for place in np.argsort(-counts, axis=None, kind="stable")]
    assert confused_pairs(labels, predicted).tolist() == [[i, j, counts[i, j]] for i, j in order if counts[i, j]]


def test_without_confusions_there_are_no_pairs() -> None:
    assert confused_pairs(np.arange(3), np.arange(3)).shape == (0, 3)
