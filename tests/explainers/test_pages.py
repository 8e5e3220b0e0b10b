"""Every explainer and every view has its page and its picture."""

from __future__ import annotations

import re
from pathlib import Path

from tellapart import registry
from tellapart.workflows.explain import VIEWS

PAGES = Path(__file__).parents[2] / "docs" / "explainers"


def test_every_explainer_and_view_has_a_page() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} == {*registry.names("explainers"), *VIEWS}


def test_every_page_shows_its_picture_and_its_options() -> None:
    for name in (*registry.names("explainers"), *VIEWS):
        text = (PAGES / f"{name}.md").read_text("utf-8")
        assert f"({name}.jpg)" in text and (PAGES / f"{name}.jpg").stat().st_size > 5_000
        cls = registry.find("explainers", name).__name__ if name not in VIEWS else ""
        assert name in VIEWS or re.search(rf"generated: options tellapart\.explainers\.{name}:{cls}\.Options", text)
        assert f"](explainers/{name}.md)" in (PAGES.parent / "explain.md").read_text("utf-8")
