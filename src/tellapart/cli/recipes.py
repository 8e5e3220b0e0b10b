"""`tellapart recipes`: list or show the recipes."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Annotated, Any

import typer

from tellapart.cli import options as opt
from tellapart.terminal import plain_writer

_COLUMNS = 100


Name = Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show the YAML of this recipe.")]
Resolved = Annotated[bool, typer.Option("--resolved", help="Show every default value, too.")]
Tree = Annotated[bool, typer.Option("--tree", help="Group the list by family, then by network or descriptor.")]


def run(
    name: Name = None, overrides: opt.Overrides = None, resolved: Resolved = False, tree: Tree = False,
    as_json: opt.AsJson = False, verbose: opt.Verbose = False,
) -> None:  # fmt: skip
    """List the recipes, or show one.

    Letters and numbers in brackets name the published systems that a recipe rebuilds.
    """
    from tellapart.recipe import load as recipes

    if name is None:
        _list(tree, as_json)
    elif as_json:
        opt.print_json(recipes.load(name, overrides or ()).model_dump(mode="json"))
    elif resolved or overrides:
        plain_writer()(recipes.load(name, overrides or ()).dump())
    else:
        plain_writer()(recipes.text(name))


def summary(text: str) -> str:
    """The first line of the header comment."""
    return text.splitlines()[0].lstrip("# ") if text.startswith("#") else ""


def header(text: str) -> dict[str, Any]:
    """The fields of a header comment: its first line, `# Row: A5` or `# Rows: B2, B4`, and `# Reported: …`.

    >>> header("# A net.\\n# Rows: B2, B4\\n# Reported: .67 (96 classes,\\n# n = 1,000)\\n# Ours: 3×3.\\nseed: 0")
    {'rows': ['B2', 'B4'], 'reported': '.67 (96 classes, n = 1,000)', 'summary': 'A net.'}
    """
    rows = re.search(r"^# Rows?: (.+)$", text, re.MULTILINE)
    reported = re.search(r"^# Reported: (.+(?:\n# [a-z].*)*)$", text, re.MULTILINE)  # continues in lines without a capital
    return {
        "rows": [row.strip() for row in rows[1].split(",")] if rows else [],
        "reported": " ".join(reported[1].replace("\n#", " ").split()) if reported else None,
        "summary": summary(text),
    }


def _list(tree: bool, as_json: bool) -> None:
    from tellapart.recipe import load as recipes

    entries = [{"recipe": n, **_kind(n), **header(recipes.text(n))} for n in recipes.names()]
    if as_json:
        opt.print_json(entries)
        return
    wide = max(len(e["recipe"]) for e in entries)
    opt.print_lines(*(_tree(entries, wide) if tree else [f"{e['recipe']:<{wide}}  {e['summary']}{_rows(e)}" for e in entries]))


def _kind(name: str) -> dict[str, str | None]:
    """Family and net of a packaged recipe, read from its file and the one it extends: nothing heavy is imported for a list.

    `net` is the descriptor, or several joined by " + ", for families that are fitted on features; None: neither.
    """
    content = _merged(name)
    classifier, features = content.get("classifier") or {}, content.get("features") or {}
    descriptors = [d for entry in features.get("descriptors") or () for d in entry]
    return {"family": str(classifier.get("family")), "net": classifier.get("net") or " + ".join(descriptors) or None}


def _merged(name: str) -> dict[str, Any]:
    import yaml

    from tellapart.recipe import load as recipes

    content = yaml.safe_load(recipes.text(name))
    below = _merged(str(content["extends"])) if "extends" in content else {}
    both = {k: {**(below.get(k) or {}), **(content.get(k) or {})} for k in ("classifier", "features")}
    return below | content | both


def _tree(entries: list[dict[str, Any]], wide: int) -> Iterator[str]:
    """Lines of at most 100 characters."""

    def place(entry: Mapping[str, Any]) -> tuple[str, str]:
        return entry["family"], entry["net"] or ""

    families = list(dict.fromkeys(e["family"] for e in entries))  # the ladder's order: from the metadata baseline upwards
    entries = sorted(entries, key=lambda e: (families.index(e["family"]), e["net"] or ""))
    for family, of_family in groupby(entries, key=lambda e: e["family"]):
        yield family
        for (_, net), members in groupby(of_family, key=place):
            if net:
                yield f"  {net}"
            for entry in members:
                head = f"    {entry['recipe']:<{wide}}  "
                shown = f"{entry['summary']}{_rows(entry)}"
                yield from textwrap.wrap(head + shown, _COLUMNS, subsequent_indent=" " * len(head))


def _rows(entry: Mapping[str, Any]) -> str:
    return f" [{', '.join(entry['rows'])}]" if entry["rows"] else ""
