"""Rewrite the generated blocks of the documentation: `python docs/generate.py`; `--check` only says what is stale.

A block stands between `<!-- generated: KIND ARGUMENT -->` and `<!-- end -->`. Kinds:

    options tellapart.recipe.load:Train    every option of a pydantic model
    recipes                           the recipes that come with the package
    rows                              the recipes that answer a row of SYSTEMS: what was reported, what was measured here
    sections                          which family uses which sections of a recipe
    command compare                   one command of the command line; `command` alone: the root
    commands                          all commands with what they do, in the panels of `tellapart --help`
    spellings                         the folder and table names that mean train, valid or test
    columns                           the column names that need no flag
    layers                            which package may import which
    tree                              the packages of tellapart, each with the first line of its docstring
    modules                           the same for every module

`tests/test_docs.py` fails while a block differs from what this program writes.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import inspect
import json
import re
import sys
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from source_tree import layer_list, module_tables, table, tree

from tellapart import registry
from tellapart.recipe import load as recipes

DOCS = Path(__file__).parent
ROWS = DOCS.parent / "benchmarks" / "results" / "rows.json"
BLOCK = re.compile(r"(<!-- generated: (?P<what>[^\n]+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> int:
    """Rewrite, or with `--check` compare; gives the exit code."""
    parser = argparse.ArgumentParser(description="Rewrite the generated blocks of the documentation.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a block is out of date")
    check = parser.parse_args().check
    stale = [path for path in pages() if regenerate(path.read_text("utf-8")) != path.read_text("utf-8")]
    for path in stale:
        print(f"{path.relative_to(DOCS)}: {'out of date' if check else 'rewritten'}")
        if not check:
            path.write_text(regenerate(path.read_text("utf-8")), encoding="utf-8")
    return int(check and bool(stale))


def pages() -> list[Path]:
    """Every page of the documentation."""
    return sorted(DOCS.rglob("*.md"))


def regenerate(text: str) -> str:
    """A page with its generated blocks rewritten."""
    return BLOCK.sub(lambda block: f"{block[1]}\n{make(block['what'])}\n\n{block[3]}", text)


def make(what: str) -> str:
    """The content of one block."""
    kind, _, argument = what.partition(" ")
    makers: dict[str, Callable[[str], str]] = {
        "options": lambda place: option_table(locate(place)),
        "recipes": lambda _: recipe_table(),
        "rows": lambda _: row_table(),
        "sections": lambda _: section_table(),
        "command": command,
        "commands": lambda _: command_list(),
        "spellings": lambda _: spellings(),
        "columns": lambda _: columns(),
        "layers": lambda _: layer_list(),
        "tree": lambda _: tree(),
        "modules": lambda _: module_tables(),
    }
    return makers[kind](argument)


# --- options ----------------------------------------------------------------------------------------------------------


def locate(place: str) -> Any:
    """`tellapart.classifiers.svm:SVM.Options` → the class."""
    module, _, path = place.partition(":")
    found = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    return found


def option_table(model: type[BaseModel]) -> str:
    """Name, values, default and meaning of every option."""
    rows = [(f"`{n}`", values(i), default(i), i.description or "") for n, i in model.model_fields.items()]
    return table(("option", "values", "default", "meaning"), rows) if rows else "No options."


def values(info: FieldInfo) -> str:
    """What an option takes, in words: "`rbf`, `linear`", "integer ≥ 1", "number > 0 or none"."""
    bounds = [bound for found in info.metadata if (bound := _bound(found))]
    first, *others = _alternatives(info.annotation)
    return " or ".join([" ".join([_kind(first), *bounds]), *map(_kind, others)])


def default(info: FieldInfo) -> str:
    """The default as YAML writes it."""
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "its defaults"
    return "none" if value is None else f"`{_yaml(value)}`"


def _yaml(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(_yaml(v) for v in value)}]"
    if isinstance(value, BaseModel):
        return _yaml(value.model_dump(exclude_defaults=True))
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k}: {_yaml(v)}' for k, v in value.items())}}}"
    return value if isinstance(value, str) else json.dumps(value)


def _kind(annotation: Any) -> str:
    names = {int: "integer", float: "number", str: "text", bool: "true, false", type(None): "none"}
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in names:
        return names[annotation]
    if origin is typing.Annotated:
        return " ".join([_kind(arguments[0]), *(b for part in arguments[1:] for b in _bounds(part))])
    if origin is typing.Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if len(alternatives := _alternatives(annotation)) > 1:
        return " or ".join(map(_kind, alternatives))
    if origin is tuple:
        return f"[{', '.join(_kind(argument) for argument in arguments)}]"
    if origin is list:
        return f"list of {_kind(arguments[0])}"
    if origin is dict:
        return "{name: options}"
    return annotation.__name__


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """The members of a union; anything else alone."""
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return typing.get_args(annotation) if is_union else (annotation,)


def _bounds(part: Any) -> list[str]:
    return [bound for found in (part.metadata if isinstance(part, FieldInfo) else [part]) if (bound := _bound(found))]


def _bound(found: Any) -> str:
    """One of annotated_types' bounds."""
    signs = {"Ge": "≥ {.ge}", "Gt": "> {.gt}", "Le": "≤ {.le}", "Lt": "< {.lt}", "MinLen": "(at least {.min_length})"}
    return signs.get(type(found).__name__, "").format(found)


# --- recipes, descriptors, augmentations ------------------------------------------------------------------------------


def recipe_table() -> str:
    """Every recipe that comes with the package: its family and the first line of its header."""
    rows = []
    for name in recipes.names():
        summary = recipes.text(name).splitlines()[0].lstrip("# ")
        rows.append((f"`{name}`", f"`{recipes.load(name).classifier.family}`", summary))
    return table(("recipe", "family", "what it is"), rows)


def row_table() -> str:
    """Recipes by the row of SYSTEMS that they answer, with the figures of `benchmarks/rows.py`."""
    from tellapart.cli.recipes import header

    measured = json.loads(ROWS.read_text("utf-8"))["rows"] if ROWS.exists() else []
    found = {name: header(recipes.text(name)) for name in recipes.names()}
    listed = sorted((name for name in found if found[name]["rows"]), key=lambda name: (found[name]["rows"], name))
    rows = []
    for name in listed:
        ours = "<br>".join(_measured(m) for m in measured if m["recipe"] == name) or "not measured yet"
        rows.append((", ".join(found[name]["rows"]), f"`{name}`", found[name]["reported"], ours))
    return table(("row", "recipe", "reported", "here, on test"), rows)


def _measured(one: dict[str, Any]) -> str:
    """`deepfake5: .761 [.730, .789], n = 800, 300 s; inputs.size=64`."""
    name = one["data"].partition(".")[0]
    if "error" in one:
        return f"{name}: {one['error']}" if name else one["error"]
    test = one["test"]
    cut = [c for c in one["changes"] if not c.startswith(("train.minutes", "classifier.backbones", "augment="))]
    figures = f"{test['value']:.3f} [{test['low']:.3f}, {test['high']:.3f}], n = {test['n']:,}"
    course = f"{one['epochs']} epoch{'s' if one['epochs'] > 1 else ''} in " if one["epochs"] else ""
    return f"{name}: {figures}, {course}{one['seconds']:.0f} s{''.join(f'; {c}' for c in cut)}"


def section_table() -> str:
    """Families, and the sections that each uses."""
    sections = ("augment", "features", "train")
    rows = []
    for name in registry.names("classifiers"):
        used = registry.find("classifiers", name).sections
        rows.append((f"[`{name}`](classifiers/{name}.md)", *("yes" if section in used else "" for section in sections)))
    return table(("family", *(f"`{section}`" for section in sections)), rows)


def plain(docstring: str) -> str:
    """A docstring as Markdown: its lines joined into paragraphs."""
    return "\n\n".join(" ".join(part.split()) for part in docstring.split("\n\n"))


# --- the command line -------------------------------------------------------------------------------------------------


@functools.cache
def commands() -> dict[str, Any]:
    """Every command by name; "" is the root."""
    from tellapart.cli.main import app

    root: Any = typer.main.get_command(app)
    return {"": root, **root.commands}


def command(name: str) -> str:
    """Usage, help and options of one command."""
    found = commands()[name]
    arguments = [p for p in found.params if not is_option(p)]
    usage = " ".join(["tellapart", name or "COMMAND", *(_metavar(p) for p in arguments), "[OPTIONS]"])
    rows = [(_names(p), _default(p), p.help or "") for p in [*arguments, *(p for p in found.params if is_option(p))]]
    listed = table(("argument or option", "default", "meaning"), rows)
    help_text = plain(inspect.cleandoc(found.help or ""))
    return f"```\n{usage}\n```\n\n{help_text}\n\n{listed}"


def command_list() -> str:
    """A table per panel of `tellapart --help`: each command, with a link to its page, and the first sentence of its help."""
    panels: dict[str, list[tuple[str, ...]]] = {}
    for name, found in commands().items():
        if name:
            first = plain(inspect.cleandoc(found.help or "").split("\n\n")[0])
            panels.setdefault(found.rich_help_panel, []).append((f"[`{name}`]({name}.md)", first))
    return "\n\n".join(f"### {panel}\n\n{table(('command', 'what it does'), rows)}" for panel, rows in panels.items())


def is_option(parameter: Any) -> bool:
    """Whether a parameter is given by a flag."""
    return parameter.opts[0].startswith("-")


def _metavar(parameter: Any) -> str:
    shown = parameter.metavar or parameter.name.upper()
    return shown if parameter.required or shown.startswith("[") else f"[{shown}]"


def _names(parameter: Any) -> str:
    if not is_option(parameter):
        return f"`{_metavar(parameter)}`"
    value = "" if parameter.is_flag else f" {parameter.metavar or parameter.name.upper()}"
    return ", ".join(f"`{name}{value}`" for name in (*parameter.opts, *parameter.secondary_opts))


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if isinstance(parameter.default, bool):
        return f"`{parameter.opts[0]}`" if parameter.default else ""
    return "" if parameter.default is None else f"`{parameter.default}`"


# --- what data may be called ------------------------------------------------------------------------------------------


def spellings() -> str:
    """Names that mean train, valid and test."""
    from tellapart.data.layouts._aliases import _SPELLINGS

    return table(("part", "spellings"), [(part, ", ".join(words.split())) for part, words in _SPELLINGS.items()])


def columns() -> str:
    """Column names that are understood without a flag."""
    from tellapart.data.layouts._columns import ID_COLUMNS, LABEL_COLUMNS
    from tellapart.data.layouts._split_columns import FLAG_COLUMNS, SPLIT_COLUMNS

    rows = [
        ("the image", ID_COLUMNS, "`--id-column NAME`"),
        ("its class", LABEL_COLUMNS, "`--label-column NAME`"),
        ("its group: rows that stay on one side of a split", ("group",), "`--group NAME`"),
        ("where it comes from", ("source",), ""),
        ("its split: train, valid or test, in any spelling", SPLIT_COLUMNS, "`--split-column NAME`"),
        ("its split: yes or no", tuple(FLAG_COLUMNS), "`--split-column NAME`"),
    ]
    listed = [(what, ", ".join(f"`{name}`" for name in names), flag) for what, names, flag in rows]
    return table(("what the column says", "understood names", "another name"), listed)


if __name__ == "__main__":
    sys.exit(main())
