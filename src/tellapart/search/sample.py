"""Random draws (Bergstra & Bengio 2012, "Random Search for Hyper-Parameter Optimization").

Draw i depends on the seed and on i alone: twenty draws begin with the ten that ten draws are.
"""

from __future__ import annotations

import math

import numpy as np

from tellapart.search.space import Range, Setting, Space

_TRIES = 20  # draws for one that is new, on average, before the space counts as used up


def random_points(space: Space, seed: int) -> list[Setting]:
    """`space.count` distinct cells, or fewer where the space has no more."""
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
    """Of whole numbers, each has the cell from itself to the next."""
    low, high = found.low, found.high + (1 if found.integer else 0)
    value = math.exp(generator.uniform(math.log(low), math.log(high))) if found.log else generator.uniform(low, high)
    return min(math.floor(value), found.high) if found.integer else value
