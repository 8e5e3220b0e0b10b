"""docs/architecture.md names only modules, classes and functions that exist; its tree is complete; the front page is short."""

from __future__ import annotations

import importlib.util
import pkgutil
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
PACKAGE = ROOT / "src" / "tellapart"
#: Sections that follow one command from call to call.
WALKS = ("compare", "predict", "check")


@pytest.mark.parametrize("command", WALKS)
def test_what_a_walk_names_exists(command: str) -> None:
    named = names_in(section(f"What `{command}` does"))
    assert len(named) >= 10
    for name in named:
        pkgutil.resolve_name(f"tellapart.{name}")


@pytest.mark.parametrize("command", WALKS)
def test_a_walk_has_at_most_ten_steps_and_begins_at_the_command(command: str) -> None:
    steps = re.findall(r"^\d+\. .+$", section(f"What `{command}` does"), re.MULTILINE)
    assert 1 <= len(steps) <= 10
    assert names_in(steps[0])[0] == f"cli.{command}.run"
    assert f"workflows.{command}." in "\n".join(steps)


def test_a_name_that_does_not_exist_is_noticed() -> None:
    assert names_in("`data.scan.scan`, `split.parquet`, `-o` and `metrics.nothing.here`") == [
        "data.scan.scan", "metrics.nothing.here",
    ]  # fmt: skip
    with pytest.raises((ImportError, AttributeError)):
        pkgutil.resolve_name("tellapart.metrics.nothing.here")


def test_the_tree_is_complete() -> None:
    shown = set(re.findall(r"^\| `([^`]+)` \|", section("The tree"), re.MULTILINE))
    packages = {f"{p.parent.relative_to(PACKAGE).as_posix()}/" for p in PACKAGE.glob("**/__init__.py") if p.parent != PACKAGE}
    assert shown >= packages | {path.name for path in PACKAGE.glob("*.py")}


def test_every_line_of_the_tree_has_a_description() -> None:
    for page in (PAGE, ROOT / "docs" / "modules.md"):
        empty = re.findall(r"^\| `([^`]+)` \| *(?:TODO\.? *)?\|$", page.read_text("utf-8"), re.MULTILINE)
        assert not empty, f"{page.name}: {empty}"


def test_the_readme_is_short_and_shows_the_recording() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.splitlines()) <= 200
    assert "](docs/recording.svg)" in text


def test_the_recording_shows_the_commands_of_its_script() -> None:
    recording = load_recording()
    title = re.search("<title>(.*)</title>", recording.PICTURE.read_text("utf-8"))
    assert title is not None
    assert title[1] == " · ".join(recording.COMMANDS)


def test_the_screen_of_the_recording_follows_erased_lines_and_colors() -> None:
    screen = load_recording().Screen()
    screen.feed("one\r\n\x1b[1;31mtwo\x1b[0m\r\n 50 %", 1.0)
    screen.feed("\r\x1b[2K\x1b[1A\x1b[2Kdone\r\n", 2.0)
    assert [line.text for line in screen.lines] == ["one", "done", ""]
    assert [line.when for line in screen.lines] == [1.0, 2.0, 2.0]
    screen.feed("\x1b[32mok\x1b[0m", 3.0)
    assert screen.lines[2].cells[0][1].color == load_recording().PALETTE[2]


def test_the_citation_file_names_this_version() -> None:
    content = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert content["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(content)
    assert (content["version"], content["license"]) == (project["version"], project["license"])
    assert [author["name"] for author in content["authors"]] == [author["name"] for author in project["authors"]]


def load_recording() -> Any:
    """The script docs/recording.py as a module."""
    spec = importlib.util.spec_from_file_location("recording", ROOT / "docs" / "recording.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["recording"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def section(title: str) -> str:
    """The text below one heading of the page, up to the next heading."""
    _, found, rest = PAGE.read_text("utf-8").partition(f"## {title}\n")
    assert found, f"docs/architecture.md has no section {title!r}"
    return rest.partition("\n## ")[0]


def names_in(text: str) -> list[str]:
    """Dotted names in backticks whose first part is a module or package of tellapart."""
    top = {path.name.removesuffix(".py") for path in PACKAGE.iterdir()}
    spans = re.findall(r"`([a-z_]+(?:\.\w+)+)`", text)
    return [span for span in spans if span.partition(".")[0] in top]
