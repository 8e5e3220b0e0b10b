"""docs/architecture.md names only modules, classes and functions that exist, and the tree it shows is complete."""

from __future__ import annotations

import pkgutil
import re
from pathlib import Path

import pytest

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
