"""The pages: whole without a script, nothing unescaped, nothing from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tellapart.runs.store import Run

from .conftest import encoded, form, noise

HTML = {"accept": "text/html,application/xhtml+xml"}


class Page(HTMLParser):
    """Elements of a page, and that they are nested as they should be."""

    VOID = frozenset("meta link img input br hr rect".split())

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.open.pop(), f"</{tag}>"

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def get(client: TestClient, path: str, status: int = 200) -> Page:
    reply = client.get(path, headers=HTML)
    assert reply.status_code == status, reply.text
    return checked(reply.text)


def checked(text: str) -> Page:
    """A page that breaks none of the rules."""
    page = Page(text)
    for tag, attributes in page.elements:
        assert "style" not in attributes, (tag, attributes)
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "action"):
            assert re.match(r"/(?!/)|#|data:image/|$", attributes.get(name) or ""), attributes
    assert all(of.get("src") for of in page.of("script"))
    assert all(of.get("alt") for of in page.of("img"))
    labeled = {of["for"] for of in page.of("label") if of.get("for")}
    for control in page.of("select") + [of for of in page.of("input") if of.get("type") in ("file", "range")]:
        assert control["id"] in labeled
    ids = [of["id"] for _, of in page.elements if of.get("id")]
    assert len(ids) == len(set(ids))
    return page


def test_a_plain_form_gives_the_whole_answer(client: TestClient, runs: dict[str, Run]) -> None:
    net, picture = runs["net"].id, encoded(noise(4, True, 40), "jpeg")
    fields = {"run": net, "map": "yes", "stability": "yes", "nearest": "yes"}
    ask = get(client, "/")
    (sent,) = list(ask.of("form"))
    assert (sent["method"], sent["action"], sent["enctype"]) == ("post", "/", "multipart/form-data")
    assert {of["value"] for of in ask.of("option")} == {runs[n].id for n in ("linear", "net", "calibrated")}
    reply = client.post("/", headers=HTML, **form(picture, **fields))
    page = checked(reply.text)
    said = client.post("/api/predict", params={"run": net}, **form(picture)).json()
    assert said["summary"] in page.text
    assert {"Metadata of the file", "Heatmap", "Nearest training images", "Stability"} <= {
        line.strip() for line in page.text.splitlines()
    }
    assert [of["width"] for of in page.of("rect") if of.get("class") == "level"][:2] == [
        f"{100 * p:.2f}" for p in sorted(said["probabilities"].values(), reverse=True)
    ]
    assert "JPEG, RGB" in page.text and page.text.count("distance ") == 6
    (chosen,) = [of for of in page.of("option") if "selected" in of]
    assert chosen["value"] == net


def test_parts_are_left_out_when_not_asked_for(client: TestClient) -> None:
    page = checked(client.post("/", headers=HTML, **form(encoded(noise(4, True)))).text)
    assert "Heatmap" not in page.text and "Metadata of the file" in page.text


@pytest.mark.parametrize("part", ["prediction", "map", "stability", "nearest"])
def test_each_part_is_a_fragment(client: TestClient, part: str) -> None:
    reply = client.post(f"/parts/{part}", headers=HTML, **form(encoded(noise(4, True))))
    assert reply.status_code == 200 and reply.text.startswith("<section")
    checked(reply.text)


def test_nothing_that_is_sent_is_markup(client: TestClient) -> None:
    exif = Image.Exif()
    exif[0x0131] = "<img src=x onerror=alert(1)>"
    file = encoded(noise(1, True, 40), "jpeg", exif=exif)
    files = [("image", ("<b onclick=x>\"'.jpg", file, "image/jpeg"))]
    text = client.post("/", headers=HTML, files=files).text
    assert "<b " not in text and "<img src=x" not in text and "&lt;img src=x onerror" in text
    checked(text)
    assert "<script>x" not in client.get("/runs/<script>x", headers=HTML).text
    assert "<script>x" not in client.get("/compare?a=<script>x&b=y", headers=HTML).text


def test_a_class_name_is_no_markup_either(other: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "classes", ("<i>edited</i>", "real"))
    monkeypatch.setattr(Run, "predictions", lambda run, split: None)  # those stored have the other name
    client = other()
    text = client.post("/", headers=HTML, **form(encoded(noise(1, False)))).text
    assert "<i>" not in text and "&lt;i&gt;edited" in text


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [(b"nothing", 415, "not an image"), (b"", 400, "is empty"), (encoded(noise(1, True, 64), "jpeg")[:700], 422, "truncated")],
)  # fmt: skip
def test_errors_are_a_page_or_a_fragment(client: TestClient, content: bytes, status: int, message: str) -> None:
    for path, whole in (("/", True), ("/parts/prediction", False)):
        reply = client.post(path, headers=HTML, **form(content))
        assert reply.status_code == status and message in reply.text
        assert ("<html" in reply.text) == whole and 'role="alert"' in reply.text
        checked(reply.text)


def test_a_missing_part_names_the_reason(
    client: TestClient, home: Any, monkeypatch: pytest.MonkeyPatch, other: Callable[..., TestClient]
) -> None:
    away = other()
    (home / "photos").rename(home / "moved")
    try:
        reply = away.post("/parts/nearest", headers=HTML, **form(encoded(noise(4, True))))
    finally:
        (home / "moved").rename(home / "photos")
    assert reply.status_code == 200 and "Not shown: " in reply.text and "gone" in reply.text
    assert away.post("/parts/prediction", headers=HTML, **form(encoded(noise(4, True)))).status_code == 200


def test_the_leaderboard_lists_all_runs_and_leads_to_them(client: TestClient, runs: dict[str, Run]) -> None:
    page = get(client, "/leaderboard")
    links = [of["href"] for of in page.of("a")]
    assert {f"/runs/{run.id}" for run in runs.values()} <= set(links)
    assert [of["data-first"] for of in page.of("th") if of.get("data-first")][:3] == ["ascending", "ascending", "descending"]
    accuracy = runs["net"].scores("valid")["accuracy"]
    assert f"{accuracy.value:.3f}" in page.text
    shown = get(client, f"/runs/{runs['net'].id}")
    drawings = [of["aria-label"] for of in shown.of("svg") if of.get("role") == "img"]
    assert [name.partition(" ")[0] for name in drawings] == ["Training", "Confusion"]  # type: ignore[union-attr]
    assert len(get(client, f"/runs/{runs['linear'].id}").of("svg")) == 1  # no epochs, no curves
    get(client, "/runs/nothing", 404)
    get(client, "/runs/..%2F..%2Fetc%2Fpasswd", 404)


def test_no_matrix_is_drawn_of_very_many_classes(
    other: Callable[..., TestClient], runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tellapart.server.leaderboards.MATRIX_UP_TO", 1)
    shown = get(other(), f"/runs/{runs['linear'].id}")
    assert not shown.of("svg") and "No confusion matrix: this run has 2 classes, too many to draw." in shown.text


def test_two_runs_are_compared_on_the_same_images(client: TestClient, runs: dict[str, Run]) -> None:
    a, b = runs["linear"], runs["metadata"]
    page = get(client, f"/compare?a={a.id}&b={b.id}")
    ours, theirs = a.predictions("valid"), b.predictions("valid")
    assert ours is not None and theirs is not None
    right = [dict(zip(p.ids, p.predicted == p.labels, strict=True)) for p in (ours, theirs)]
    counts = [
        sum(bool(right[0][i]) == x and bool(right[1][i]) == y for i in right[0]) for x in (True, False) for y in (True, False)
    ]
    cells = re.findall(r"<td>(\d+)</td>", client.get(f"/compare?a={a.id}&b={b.id}", headers=HTML).text)
    assert [int(cell) for cell in cells] == counts
    differ = sum(x != y for x, y in zip(ours.predicted, theirs.predicted, strict=True))
    assert f"different classes for {differ:,} images" in page.text
    assert len(list(page.of("img"))) == min(differ, 24)
    get(client, "/compare")
    get(client, f"/compare?a={a.id}&b=nothing", 404)


def test_static_files_are_those_that_there_are(client: TestClient) -> None:
    assert client.get("/static/page.css").headers["content-type"].startswith("text/css")
    assert client.get("/static/page.js").headers["content-type"].startswith("text/javascript")
    assert client.get("/favicon.ico").headers["content-type"] == "image/svg+xml"
    for path in ("/static/app.py", "/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/app.py", "/static//etc/passwd"):
        assert client.get(path).status_code == 404
