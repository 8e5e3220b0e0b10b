"""Search space of a sweep: lists of values, ranges, and the search strategy.

features.pca=200,300,400                  a list of YAML values, separated by commas; [64, 128] and 'a,b' are one value each
classifier.C=1e-3..1e3:log                a range; `log`: log-uniform, `int`: integers, both separated by a comma
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
import yaml

from tellapart import registry
from tellapart.errors import RecipeError
from tellapart.recipe.load import Recipe, load
from tellapart.recipe.schema import Inputs

#: Setting → value as YAML text, as `recipe.load` accepts for overrides.
Setting = dict[str, str]
Strategy = Literal["grid", "random", "optuna"]
_RANGE = re.compile(r"(?P<low>.+?)\.\.(?P<high>.+?)(?::(?P<kinds>[^:]*))?")


@dataclass(frozen=True)
class Range:
    """Range of numbers from `low` to `high`, both included.

    Attributes:
        log: Whether numbers are drawn log-uniformly.
        integer: Whether only integers are drawn.
    """

    low: float
    high: float
    log: bool = False
    integer: bool = False

    def text(self, value: float) -> str:
        """Round a number of this range: to an integer, or to six digits."""
        return str(round(value)) if self.integer else f"{value:.6g}"


@dataclass(frozen=True)
class Space:
    """A search space and a search strategy.

    Attributes:
        choices: Setting → values as YAML text, distinct.
        ranges: Setting → range.
        strategy: "grid": all combinations; "random": random draws; "optuna": draws that depend on earlier results.
        count: Number of draws, or of cells of a grid.
    """

    choices: Mapping[str, tuple[str, ...]]
    ranges: Mapping[str, Range] = field(default_factory=dict)
    strategy: Strategy = "grid"
    count: int = 0

    @property
    def settings(self) -> tuple[str, ...]:
        """Names of the varied settings."""
        return (*self.choices, *self.ranges)

    def corners(self) -> list[Setting]:
        """Two cells: first values and low ends; last values and high ends."""
        first = {k: v[0] for k, v in self.choices.items()} | {k: r.text(r.low) for k, r in self.ranges.items()}
        last = {k: v[-1] for k, v in self.choices.items()} | {k: r.text(r.high) for k, r in self.ranges.items()}
        return [first, last]

    def identity(self) -> str:
        """JSON of everything except the number of draws, so that a sweep can be resumed with more draws."""
        ranges = {name: asdict(found) for name, found in self.ranges.items()}
        return json.dumps([self.strategy, {k: list(v) for k, v in self.choices.items()}, ranges])


def space(
    grid: Mapping[str, Sequence[Any]], ranges: Mapping[str, Range | str], random: int | None, optuna: int | None
) -> Space:
    """Create a search space after checking the request.

    Args:
        grid: Setting → list of values.
        ranges: Setting → range, or its text.
        random: Number of random draws; None: no random search.
        optuna: Number of trials of Optuna; None: no Optuna.

    Raises:
        RecipeError: There is no setting to vary, there are two strategies, a range has no number of draws, or a setting is
            repeated.
    """
    if not grid and not ranges:
        raise RecipeError("no setting to vary", hint="pass --grid KEY=VALUE,VALUE or --range KEY=LOW..HIGH")
    if random is not None and optuna is not None:
        raise RecipeError("--random and --optuna exclude each other: pass one of them")
    if twice := sorted(set(grid) & set(ranges)):
        raise RecipeError(f"{twice[0]} has both values and a range: pass one of them")
    count = random if optuna is None else optuna
    if ranges and count is None:
        raise RecipeError(
            f"{next(iter(ranges))} is a range, which cannot be searched as a grid", hint="add --random 20 or --optuna 20"
        )
    if count is not None and count < 1:
        raise RecipeError(f"expected at least one draw, found {count}")
    choices = {name: _distinct(name, values) for name, values in grid.items()}
    spans = {name: r if isinstance(r, Range) else parse_range(name, r) for name, r in ranges.items()}
    if count is None:
        return Space(choices, spans, "grid", math.prod(len(values) for values in choices.values()))
    return Space(choices, spans, "random" if optuna is None else "optuna", count)


def parse_grid(entries: Iterable[str]) -> dict[str, list[Any]]:
    """Parse values by setting; values of a repeated setting are appended.

    >>> parse_grid(["features.pca=200,300", "classifier.stages=[{widths: [64, 128]}],[]"])
    {'features.pca': [200, 300], 'classifier.stages': [[{'widths': [64, 128]}], []]}

    Raises:
        RecipeError: An entry is not KEY=VALUE, or the values are not YAML.
    """
    found: dict[str, list[Any]] = {}
    for entry in entries:
        name, text = _sides("--grid", entry, "KEY=VALUE,VALUE,… such as features.pca=100,200")
        found.setdefault(name, []).extend(_values(entry, text))
    return found


def parse_ranges(entries: Iterable[str]) -> dict[str, Range]:
    """Parse ranges by setting.

    >>> parse_ranges(["train.batch=16..128:int,log"])
    {'train.batch': Range(low=16.0, high=128.0, log=True, integer=True)}

    Raises:
        RecipeError: An entry is not a range, or a setting is repeated.
    """
    found: dict[str, Range] = {}
    for entry in entries:
        name, text = _sides("--range", entry, "KEY=LOW..HIGH such as classifier.C=1e-3..1e3:log")
        if name in found:
            raise RecipeError(f"--range {entry}: {name} has a range already")
        found[name] = parse_range(name, text)
    return found


def parse_range(name: str, text: str) -> Range:
    """Parse one range: LOW..HIGH, optionally followed by :log, :int or :log,int.

    Raises:
        RecipeError: The range cannot be parsed, is empty, or has no logarithm.
    """
    parts = _RANGE.fullmatch(text.strip())
    kinds = set((parts["kinds"] or "").split(",")) - {""} if parts else set()
    low, high = (_number(parts["low"]), _number(parts["high"])) if parts else (math.nan, math.nan)
    if not (math.isfinite(low) and math.isfinite(high)) or kinds - {"log", "int"}:
        hint = "for example 1e-3..1e3:log"
        raise RecipeError(f"{name}={text}: expected LOW..HIGH, optionally followed by :log, :int or :log,int", hint=hint)
    if low >= high:
        raise RecipeError(f"{name}={text}: expected LOW below HIGH, found {low:g} and {high:g}")
    if "log" in kinds and low <= 0:
        raise RecipeError(f"{name}={text}: a logarithmic range must start above 0, found {low:g}")
    if "int" in kinds and not (low.is_integer() and high.is_integer()):
        raise RecipeError(f"{name}={text}: expected integers, found {low:g} and {high:g}")
    return Range(low, high, "log" in kinds, "int" in kinds)


def _sides(flag: str, entry: str, expected: str) -> tuple[str, str]:
    name, equals, text = entry.partition("=")
    if not (equals and name.strip() and text.strip()):
        raise RecipeError(f"{flag} {entry}: expected {expected}")
    return name.strip(), text


def _values(entry: str, text: str) -> list[Any]:
    """Parse values separated by commas, as a YAML list without brackets."""
    try:
        return yaml.safe_load(f"[{text}]")
    except yaml.YAMLError as error:
        reason = getattr(error, "problem", None) or str(error)
        raise RecipeError(f"--grid {entry}: expected YAML values separated by commas: {reason}") from None


def _distinct(name: str, values: Sequence[Any]) -> tuple[str, ...]:
    """Convert values to YAML text by JSON, which distinguishes strings and numbers."""
    if isinstance(values, str) or not len(values):
        raise RecipeError(f"{name}: expected a list of values, found {values!r}")
    return tuple(dict.fromkeys(json.dumps(value, ensure_ascii=False, default=str) for value in values))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


# --- cells of a space as recipes --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Candidate:
    """One candidate recipe.

    Attributes:
        key: 16 hex digits of a hash of all settings of the recipe.
        cell: Varied settings, as YAML text.
        values: The same settings as parsed by the recipe; lists and mappings remain text.
        recipe: Recipe, resolved except for its inputs.
    """

    key: str
    cell: Setting
    values: dict[str, Any]
    recipe: Recipe

    def with_inputs(self, inputs: Inputs) -> Candidate:
        """Return the candidate with its inputs resolved for the data."""
        return replace(self, recipe=self.recipe.model_copy(update={"inputs": inputs}))


def candidates(name: str, overrides: Sequence[str], cells: Iterable[Setting]) -> list[Candidate]:
    """Create the recipe of each cell, in order; cells that give the same recipe (`1`, `1.0`) are one candidate.

    Args:
        name: Name of the recipe, or a path to it.
        overrides: Overrides for all cells.
        cells: Settings of each cell.

    Raises:
        RecipeError: A setting is unknown, or a value is out of range; the message names it.
    """
    found: dict[str, Candidate] = {}
    for cell in cells:
        made = candidate(name, overrides, cell)
        found.setdefault(made.key, made)
    return list(found.values())


def candidate(name: str, overrides: Sequence[str], cell: Setting) -> Candidate:
    """Create the recipe of one cell; checked as far as possible without the data."""
    recipe = load(name, [*overrides, *(f"{setting}={text}" for setting, text in cell.items())])
    registry.find("classifiers", recipe.classifier.family).check(recipe)
    key = hashlib.blake2b(recipe.model_dump_json().encode(), digest_size=8).hexdigest()
    content = recipe.model_dump(mode="json")
    return Candidate(key, cell, {setting: _value(content, setting, text) for setting, text in cell.items()}, recipe)


def _value(content: Any, setting: str, text: str) -> Any:
    for part in setting.split("."):
        named = {str(place): entry for place, entry in enumerate(content)} if isinstance(content, list) else content
        content = named.get(part) if isinstance(named, dict) else None
    return content if isinstance(content, str | int | float) else text


# --- every combination of the listed values, the last setting varying fastest -----------------------------------------


def grid_points(space: Space) -> Iterator[Setting]:
    """All points of a grid.

    >>> list(grid_points(Space({"a": ("1", "2"), "b": ("3",)})))
    [{'a': '1', 'b': '3'}, {'a': '2', 'b': '3'}]
    """
    for values in itertools.product(*space.choices.values()):
        yield dict(zip(space.choices, values, strict=True))


# --- random draws (Bergstra & Bengio 2012, "Random Search for Hyper-Parameter Optimization") --------------------------


_TRIES = 20  # average number of draws per new cell at which the space counts as exhausted


def random_points(space: Space, seed: int) -> list[Setting]:
    """Draw `space.count` distinct cells, or fewer if the space is exhausted."""
    found: dict[tuple[str, ...], Setting] = {}
    for number in range(_TRIES * space.count):
        cell = _draw(space, np.random.default_rng([seed, number]))
        found.setdefault(tuple(cell.values()), cell)
        if len(found) == space.count:
            break
    return list(found.values())


def _draw(space: Space, generator: np.random.Generator) -> Setting:
    chosen = {name: values[generator.integers(len(values))] for name, values in space.choices.items()}
    return chosen | {name: found.text(_between(found, generator)) for name, found in space.ranges.items()}


def _between(found: Range, generator: np.random.Generator) -> float:
    """Draw a number from a range; each integer has the interval from itself to the next."""
    low, high = found.low, found.high + (1 if found.integer else 0)
    value = math.exp(generator.uniform(math.log(low), math.log(high))) if found.log else generator.uniform(low, high)
    return min(math.floor(value), found.high) if found.integer else value
