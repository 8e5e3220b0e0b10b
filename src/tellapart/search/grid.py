"""Every combination of the listed values, the last setting varying fastest."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from tellapart.search.space import Setting, Space


def grid_points(space: Space) -> Iterator[Setting]:
    """All cells of a grid.

    >>> list(cells(Space({"a": ("1", "2"), "b": ("3",)})))
    [{'a': '1', 'b': '3'}, {'a': '2', 'b': '3'}]
    """
    for values in itertools.product(*space.choices.values()):
        yield dict(zip(space.choices, values, strict=True))
