"""Cells of a space as recipes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tellapart import registry
from tellapart.recipe.load import Recipe, load
from tellapart.recipe.schema import Inputs
from tellapart.search.space import Setting


@dataclass(frozen=True)
class Candidate:
    """One recipe to try.

    Attributes:
        key: 16 hex digits over every setting of the recipe.
        cell: What was varied, as YAML text.
        values: The same, as the recipe understood it; lists and mappings stay text.
        recipe: Resolved, but for its inputs.
    """

    key: str
    cell: Setting
    values: dict[str, Any]
    recipe: Recipe

    def with_inputs(self, inputs: Inputs) -> Candidate:
        """The same, with its inputs resolved against the data."""
        return replace(self, recipe=self.recipe.model_copy(update={"inputs": inputs}))


def candidates(name: str, overrides: Sequence[str], cells: Iterable[Setting]) -> list[Candidate]:
    """The recipe in each cell, in order; cells that mean the same recipe (`1`, `1.0`) give one candidate.

    Args:
        name: Of the recipe, or a path to it.
        overrides: What all cells change.
        cells: What each changes beside that.

    Raises:
        RecipeError: A setting that the recipe does not have, or a value out of range; says which.
    """
    found: dict[str, Candidate] = {}
    for cell in cells:
        made = candidate(name, overrides, cell)
        found.setdefault(made.key, made)
    return list(found.values())


def candidate(name: str, overrides: Sequence[str], cell: Setting) -> Candidate:
    """The recipe in one cell; checked as far as it can be without the data."""
    recipe = load(name, [*overrides, *(f"{setting}={text}" for setting, text in cell.items())])
    registry.find("classifiers", recipe.classifier.family).check(recipe)
    key = hashlib.blake2b(recipe.model_dump_json().encode(), digest_size=8).hexdigest()
    content = recipe.model_dump(mode="json")
    return Candidate(key, cell, {setting: _value(content, setting, text) for setting, text in cell.items()}, recipe)


def _value(content: Any, setting: str, text: str) -> Any:
    for part in setting.split("."):
        content = content.get(part) if isinstance(content, dict) else None
    return content if isinstance(content, str | int | float) else text
