"""`tellapart recipes`: what can be trained."""

from __future__ import annotations

from typing import Annotated

import typer

from tellapart.cli import _shared as shared


def run(
    name: Annotated[str | None, typer.Argument(help="Show this recipe's YAML.")] = None,
    overrides: shared.Overrides = None,
    resolved: Annotated[bool, typer.Option("--resolved", help="With every default filled in.")] = False,
    as_json: shared.AsJson = False,
    verbose: shared.Verbose = False,
) -> None:
    """List the recipes, or show one."""
    from tellapart import recipe

    if name is None:
        rows = [(n, summary(recipe.text(n))) for n in recipe.names()]
        if as_json:
            shared.print_json([{"recipe": n, "summary": s} for n, s in rows])
            return
        for recipe_name, line in rows:
            print(f"{recipe_name:<18} {line}")
        return
    if as_json:
        shared.print_json(recipe.load(name, overrides or ()).model_dump(mode="json"))
    elif resolved or overrides:
        print(recipe.load(name, overrides or ()).dump(), end="")
    else:
        print(recipe.text(name), end="")


def summary(text: str) -> str:
    """The first line of the header comment."""
    return text.splitlines()[0].lstrip("# ") if text.startswith("#") else ""
