"""The report against scikit-learn, and against everything that could break it or make it load something."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, precision_recall_fscore_support, roc_auc_score

from tellapart.errors import RunError
from tellapart.reports.report import write_report
from tellapart.runs.store import Run

VOID = {"meta", "img", "br", "link", "input", "hr", "path", "use", "rect", "image", "col"}
VILE = ["<script>alert(1)</script>", '"><img src=x onerror=alert(2)>']


class Page(HTMLParser):
    """Elements of a page: (tag, attributes, ids of the elements around it, text inside)."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[dict] = []
        self._open: list[dict] = []
        self.feed(text)
        self.close()
        assert not [e["tag"] for e in self._open], "elements left open"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        around = {e["attrs"].get("id") for e in self._open} | {e["attrs"].get("class") for e in self._open}
        element = {"tag": tag, "attrs": dict(attrs), "around": around, "text": "", "parents": list(self._open)}
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open[-1]["tag"] == tag, f"</{tag}> closes <{self._open[-1]['tag']}>"
            self._open.pop()

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element["text"] += data

    def find(self, tag: str, within: str | None = None, **attrs: str) -> list[dict]:
        """Elements with these attributes, inside an element with the id or class `within`."""
        return [
            e
            for e in self.elements
            if e["tag"] == tag
            and (within is None or within in e["around"])
            and all(e["attrs"].get(k.rstrip("_")) == v for k, v in attrs.items())
        ]

    def rows(self, table: dict) -> list[list[str]]:
        """Texts of the cells of a table's body, row by row."""
        inside = [e for e in self.elements if table in e["parents"]]
        bodies = [e for e in inside if e["tag"] == "tr" and any(p["tag"] == "tbody" for p in e["parents"])]
        return [[c["text"].strip() for c in inside if c["tag"] in ("td", "th") and row in c["parents"]] for row in bodies]


@pytest.fixture(scope="module")
def ladder(new_world, run, tmp_path_factory):
    """Four runs on three classes, one with a log. No test may change them."""
    place = new_world(tmp_path_factory.mktemp("ladder"), ["cat", "dog", "hare"], per_class=60)
    return [
        run(place, "cnn-small", skill=2.4, epochs=9, seed=1),
        run(place, "svm", family="svm", skill=1.5, seed=2),
        run(place, "knn", family="knn", skill=0.0, seed=3),
        run(place, "metadata", family="metadata", skill=0.2, seed=4),
    ]


@pytest.fixture(scope="module")
def report(ladder, tmp_path_factory):
    """The report on the ladder, with its figures as PNG beside it."""
    folder = tmp_path_factory.mktemp("report")
    return write_report(ladder, folder / "report.html", png=folder / "png")


@pytest.fixture(scope="module")
def text(report):
    """The report as text."""
    return report.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text):
    """The report, parsed."""
    return Page(text)


def page_of(runs, path: Path, **options) -> Page:
    return Page(write_report(runs, path, **options).read_text(encoding="utf-8"))


def test_numbers_equal_scikit_learn_on_the_stored_predictions(ladder, page):
    keys = {link["text"]: link["attrs"]["href"][1:] for link in page.find("a", within="board")}
    for run in ladder:
        frame = pd.read_parquet(run.evaluations[-1].folder / "predictions" / "test.parquet")
        truth, proba = frame["label"], frame[[c for c in frame if c.startswith("p.")]].to_numpy()
        answers = proba.argmax(axis=1)
        key = keys[run.recipe_name]
        counts = confusion_matrix(truth, answers, labels=range(3))
        shown = [
            [page.find("g", within=key, id=f"{key}-confusion-n-{i}-{j}")[0]["text"].strip() for j in range(3)] for i in range(3)
        ]
        assert np.array_equal(np.array(shown, dtype=int), counts)
        expected = precision_recall_fscore_support(truth, answers, labels=range(3), zero_division=0)
        (table,) = page.find("table", within=key, class_="classes")
        for c, row in enumerate(page.rows(table)):
            assert [row[0], *(cell[:5] for cell in row[1:4])] == [run.classes[c], *(f"{expected[k][c]:.3f}" for k in range(3))]
            hits = int(counts[c, c])
            for cell, n in zip(row[1:3], (int(counts[:, c].sum()), int(counts[c].sum())), strict=True):
                theirs = binomtest(hits, n).proportion_ci(method="wilson")
                assert cell[5:] == f"{theirs.low:.3f}–{theirs.high:.3f}"
            assert row[4:] == [str(expected[3][c]), str(counts[:, c].sum())]
        macro = precision_recall_fscore_support(truth, answers, labels=range(3), average="macro", zero_division=0)
        wanted = {
            "accuracy": accuracy_score(truth, answers), "macro-precision": macro[0], "macro-recall": macro[1],
            "macro-f1": macro[2], "log-loss": log_loss(truth, proba, labels=range(3)),
        }  # fmt: skip
        for metric, value in wanted.items():
            (line,) = [e for e in page.find("tr", within=key) if e["attrs"].get("data-metric") == metric]
            cells = [e["text"].strip() for e in page.find("td") if line in e["parents"]]
            assert cells[-1].startswith(f"{value:.3f}"), (run.id, metric, cells)
        board = next(row for row in page.rows(page.find("table", class_="board")[0]) if row[1].startswith(run.recipe_name))
        assert board[3].startswith(f"{wanted['accuracy']:.3f}")
        wrong = re.search(r"([\d,]+) of ([\d,]+) predictions are wrong", next(e["text"] for e in page.find("details", id=key)))
        assert wrong and int(wrong[1]) == counts.sum() - counts.trace() and int(wrong[2]) == len(truth)


def test_three_views_of_the_confusion_matrix_equal_scikit_learn_and_need_no_script(ladder, page, text):
    predictions = ladder[0].predictions("test")
    (block,) = page.find("fieldset", within="d0-r1", class_="views")
    inside = [e for e in page.elements if block in e["parents"]]
    radios = [e["attrs"] for e in inside if e["tag"] == "input"]
    assert ["checked" in attrs for attrs in radios] == [True, False, False]
    assert {e["attrs"]["for"] for e in inside if e["tag"] == "label"} == {attrs["id"] for attrs in radios}
    assert re.search(r"\.views input:nth-of-type\(3\):checked ~ \.view:nth-of-type\(3\)", text)
    for by, normalize in (("row", "true"), ("column", "pred")):
        theirs = confusion_matrix(predictions.labels, predictions.predicted, labels=range(3), normalize=normalize)
        (view,) = [e for e in inside if e["attrs"].get("data-view") == by]
        for i, j in itertools.product(range(3), repeat=2):
            (cell,) = [e for e in page.find("g", id=f"d0-r1-confusion-{by}-s-{i}-{j}") if view in e["parents"]]
            assert cell["text"].strip() == f"{100 * theirs[i, j]:.1f}"


def test_every_part_of_a_run_is_in_its_list_of_parts(page):
    (nav,) = page.find("nav", within="d0-r1")
    links = [e for e in page.find("a") if nav in e["parents"]]
    assert [e["text"] for e in links] == [
        "scores",
        "training curves",
        "errors",
        "calibration",
        "recipe",
    ]
    targets = {e["attrs"].get("id") for e in page.elements if "d0-r1" in e["around"]}
    assert {e["attrs"]["href"][1:] for e in links} <= targets


def test_a_class_without_an_answer_has_no_precision(world, run, tmp_path):
    place = world(["cat", "dog", "hare"], per_class=10)
    one = run(place, "svm", skill=9.0)
    path = one.evaluations[-1].folder / "predictions" / "test.parquet"
    frame = pd.read_parquet(path)
    frame[["p.cat", "p.dog", "p.hare"]] = [1.0, 0.0, 0.0]
    frame.astype({c: "float32" for c in frame if c.startswith("p.")}).to_parquet(path, index=False)
    page = page_of([one], tmp_path / "report.html")
    rows = page.rows(page.find("table", class_="classes")[0])
    assert [row[1] for row in rows[1:]] == ["–", "–"]
    assert [row[2][:5] for row in rows] == ["1.000", "0.000", "0.000"]


def test_runs_stand_against_the_first_and_a_late_one_is_marked(ladder, page, world, run, tmp_path):
    rows = page.rows(page.find("table", class_="board")[0])
    answers = {of.recipe_name: of.predictions("test") for of in ladder}
    first = answers["cnn-small"]
    for row in rows[1:]:
        other = next(of for name, of in answers.items() if row[1].startswith(name))
        points = 100 * (np.mean(other.predicted == other.labels) - np.mean(first.predicted == first.labels))
        assert f"{points:+.1f}".replace("-", "−") in row[8]
    assert rows[1][8].startswith("≈") and not rows[3][8].startswith("≈")
    said = " ".join(e["text"] for e in page.find("li"))
    assert "exact McNemar, Holm's correction for 3 comparisons" in said and "detects with 80" in said
    place = world(["cat", "dog"])
    early, late = run(place, "svm"), run(place, "mlp", seed=2, test=False)
    for of, opened in ((early, 0), (late, 1)):
        path = of.folder / "environment.json"
        path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"opened_before": opened}), encoding="utf-8")
    page = page_of([Run(early.folder), Run(late.folder)], tmp_path / "report.html")
    badges = {e["text"] for e in page.find("span", class_="badge")}
    assert badges == {"made after the test was opened once"}
    assert "1 of 2 runs (mlp)" in " ".join(e["text"] for e in page.find("li"))


def test_two_classes_show_auroc_as_scikit_learn_has_it(world, run, tmp_path):
    place = world(["real", "fake"], per_class=60)
    one = run(place, "svm", family="svm", skill=1.0)
    page = page_of([one], tmp_path / "report.html")
    frame = pd.read_parquet(one.evaluations[-1].folder / "predictions" / "test.parquet")
    (line,) = [e for e in page.find("tr", within="d0-r1") if e["attrs"].get("data-metric") == "auroc"]
    cells = [e["text"].strip() for e in page.find("td") if line in e["parents"]]
    assert cells[-1].startswith(f"{roc_auc_score(frame['label'] == 1, frame['p.fake']):.3f}")


def test_surest_mistakes_are_the_surest(ladder, page):
    predictions = ladder[0].predictions("test")
    wrong = predictions.predicted != predictions.labels
    expected = np.sort(predictions.proba.max(axis=1)[wrong])[::-1][:12]
    shown = [
        e["text"]
        for e in page.find("dd", within="d0-r1")
        if any(c["attrs"].get("class") == "said" for c in page.elements if e in c["parents"])
    ]
    assert len(expected) >= 3
    assert [text.split()[-1] for text in shown] == [f"{p:.3f}" for p in expected]
    assert len([e for e in page.find("img", within="d0-r1") if "mistakes" in e["around"]]) == len(expected)


def test_it_loads_nothing(report, text, page):
    for element in page.elements:
        for name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
            value = element["attrs"].get(name)
            assert value is None or value.startswith(("#", "data:image/")), (element["tag"], name, value)
    assert not page.find("link")
    assert "http://" not in text and "https://" not in text and "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert report.stat().st_size < 6_000_000


def test_the_policy_allows_the_page_its_own_script_only(text):
    (script,) = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text and "default-src 'none'" in text


def test_both_themes_and_print_are_styled(text):
    assert "@media (prefers-color-scheme: dark)" in text and ':root[data-theme="dark"]' in text
    assert "@media print" in text and "@media (max-width" in text
    drawn = text[text.index("</style>") :]
    assert "var(--ink)" in drawn
    assert not re.search(r"(?:fill|stroke): (?:#000000|black)", drawn), "ink that does not follow the theme"


def test_headings_tables_and_pictures_are_accessible(page):
    levels = [int(e["tag"][1]) for e in page.elements if re.fullmatch(r"h[1-6]", e["tag"])]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels)), "a heading level is skipped"
    assert all(e["attrs"].get("alt") for e in page.find("img"))
    assert all(e["attrs"].get("aria-label") and e["attrs"].get("role") == "img" for e in page.find("svg"))
    assert all(e["attrs"].get("scope") in ("col", "row") for e in page.find("th"))
    ids = [e["attrs"]["id"] for e in page.elements if "id" in e["attrs"]]
    assert len(ids) == len(set(ids))
    links = {e["attrs"]["href"][1:] for e in page.find("a")} | {e["attrs"]["href"][1:] for e in page.find("use")}
    assert links <= set(ids)
    assert [("open" in e["attrs"]) for e in page.find("details", class_="run")] == [True, False, False, False]


def test_vile_names_stay_text(world, run, tmp_path):
    place = world(VILE)
    runs = [
        run(place, "r<b>", skill=1.0, data={"layout": "<script>alert(3)</script>"}),
        run(place, "metadata", family="metadata", seed=2),
    ]
    page = page_of(runs, tmp_path / "report.html")
    assert len(page.find("script")) == 1
    assert not [e for e in page.elements if any(name.startswith("on") for name in e["attrs"])]
    assert not [e for e in page.find("img") if not e["attrs"]["src"].startswith("data:")]
    assert VILE[0] in [e["text"] for e in page.find("th", scope="row")]
    assert not page.find("b", within="board")


def test_without_an_opening_it_shows_validation_and_says_so(world, run, tmp_path):
    place = world(["cat", "dog"])
    one = run(place, "svm", test=False)
    page = page_of([one], tmp_path / "report.html")
    said = " ".join(e["text"] for e in page.find("p"))
    assert "The test split of these data has not been opened" in said
    assert "On the validation images, as the test split was not opened for this run" in said
    (matrix,) = page.find("figure", **{"data-split": "valid"})
    predictions = one.predictions("valid")
    total = sum(
        int(e["text"]) for e in page.find("g") if re.search(r"-n-\d+-\d+$", e["attrs"].get("id", "")) and matrix in e["parents"]
    )
    assert total == len(predictions)


def test_without_a_log_there_are_no_curves(page):
    headings = [e["text"] for e in page.find("h4")]
    assert headings.count("Training curves") == 1
    assert "epoch 6 of 9" in " ".join(e["text"] for e in page.find("td"))


def test_images_that_moved_are_named_not_shown(world, run, tmp_path):
    place = world(["cat", "dog"])
    shutil.rmtree(place.table.root)
    page = page_of([run(place, "svm", skill=0.5)], tmp_path / "report.html")
    assert not page.find("img")
    assert "cannot be shown" in " ".join(e["text"] for e in page.find("p", class_="warning"))
    assert "no image" in " ".join(e["text"] for e in page.find("div", class_="frame"))


def test_many_classes(world, run, tmp_path):
    names = [f"fruit {i:03d}" for i in range(141)]
    place = world(names, per_class=5, side=8)
    runs = [run(place, f"r{i}", skill=2.5, seed=i) for i in range(2)]
    path = write_report(runs, tmp_path / "report.html")
    page = Page(path.read_text(encoding="utf-8"))
    assert len(page.rows(page.find("table", within="d0-r1", class_="classes")[0])) == 141
    assert not [e for e in page.find("g") if re.search(r"-n-\d+-\d+$", e["attrs"].get("id", ""))]
    assert len(page.find("div", class_="strip")) == 12
    confused = page.rows(page.find("table", within="d0-r1", class_="confused")[0])
    predictions = next(r for r in runs if r.id in str(page.find("details", id="d0-r1")[0]["text"])).predictions("test")
    counts = confusion_matrix(predictions.labels, predictions.predicted, labels=range(141))
    np.fill_diagonal(counts, 0)
    assert int(confused[0][2]) == counts.max()
    assert path.stat().st_size < 3_000_000


def test_several_data_sets_get_a_part_each(world, run, tmp_path):
    first, second = world(["cat", "dog"], "one"), world(["a", "b", "c"], "two")
    runs = [run(first, "svm"), run(second, "svm"), run(first, "metadata", family="metadata", seed=2)]
    page = page_of(runs, tmp_path / "report.html", png=tmp_path / "png")
    assert len(page.find("table", class_="board")) == 2
    assert page.find("h1")[0]["text"] == "2 data sets"
    assert len([e for e in page.find("h2") if "dataset" in e["around"]]) == 2


def test_png_files(ladder, report):
    found = {p.name for p in (report.parent / "png").iterdir()}
    matrices = {f"{run.id}-confusion{view}.png" for run in ladder for view in ("", "-row", "-column")}
    calibration = {f"{run.id}-{figure}.png" for run in ladder for figure in ("reliability", "risk-coverage")}
    assert found == {"leaderboard.png", f"{ladder[0].id}-curves.png", *matrices, *calibration}
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in (report.parent / "png").iterdir())


def test_duplicates_and_problems_are_told(world, run, tmp_path):
    place = world(["cat", "dog"])
    one = run(
        place,
        "svm",
        data={"duplicates": {"images": 8, "across_splits": 3, "across_classes": 0, "examples": [["a", "b"]]}},
    )
    page = page_of([one], tmp_path / "report.html")
    lines = [e["text"] for e in page.find("li")]
    assert "3 validation or test images with a duplicate in an earlier split" in lines
    assert not [line for line in lines if "another label" in line]
    assert [line for line in lines if line.startswith("corrupt image: 1")]


def test_the_verdict_names_winner_duel_null_and_openings(ladder, page):
    said = [e["text"] for e in page.find("p", within="verdict")]
    accuracy = ladder[0].scores("test")["accuracy"]
    assert said[0].startswith("cnn-small is the best of 4 runs by validation accuracy")
    assert f"{accuracy.value:.3f}" in said[0] and f"n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{accuracy.n}" in said[0]
    assert "cnn-small is right on" in said[1] and said[2].startswith("The metadata baseline, which uses no pixels")
    assert said[3].startswith("Not significantly different from cnn-small on the 36 test images") and said[3].endswith(": svm.")
    assert said[4] == "The test split of these data has been opened once."
    assert "not shown to look at the pixels" in " ".join(e["text"] for e in page.find("span", class_="badge"))


def test_the_same_runs_give_the_same_figures(ladder, text, tmp_path):
    again = write_report(ladder, tmp_path / "again.html").read_text(encoding="utf-8")
    drawn = [re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL) for page in (text, again)]
    assert drawn[0] == drawn[1] and len(drawn[0]) == 2 + (3 + 2) * 4


def test_no_runs_is_a_clear_error(tmp_path):
    with pytest.raises(RunError, match="no runs"):
        write_report([], tmp_path / "report.html")


def test_a_failed_write_leaves_the_old_report(world, run, tmp_path):
    one = run(world(["cat", "dog"]), "svm")
    path = write_report([one], tmp_path / "report.html")
    before = path.read_bytes()
    broken = one.folder / "scores.json"
    broken.write_text(json.dumps({"valid": {}, "cost": {}}), encoding="utf-8")
    with pytest.raises(RunError):
        write_report([Run(one.folder)], path)
    assert path.read_bytes() == before
