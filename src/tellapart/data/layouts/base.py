"""What a reader of one layout hands to `scan`: rows with class names, before labels are numbered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from tellapart.types import Problem


class ColumnOptions(NamedTuple):
    """What the user said about columns; None means "guess"."""

    id_column: str | None = None
    label_column: str | None = None
    group: str | None = None


@dataclass(frozen=True, eq=False)
class LayoutRows:
    """N rows of one layout.

    Attributes:
        ids: N unique names.
        locators: N, relative to the root.
        class_names: (N,) object: str, or None for a row without a label. In a validation or test part that has no
            labels at all such rows are kept; elsewhere `scan` leaves them out.
        sizes: (N,) int64, bytes; 0 where unknown.
        stamps: (N,) int64.
        where: Row number → the place to name when something is wrong with it.
        layout: What was understood, in words.
        problems: What was left out.
        group, source: (N,) object (str) or None.
        split: (N,) object, "train", "valid", "test" or "".
        more: Further columns of a table by name, (N,) object (str, "" where not given): to slice scores by.
    """

    ids: list[str]
    locators: list[str]
    class_names: np.ndarray
    sizes: np.ndarray
    stamps: np.ndarray
    where: Callable[[int], str]
    layout: str
    problems: list[Problem]
    split: np.ndarray
    group: np.ndarray | None = None
    source: np.ndarray | None = None
    more: Mapping[str, np.ndarray] = field(default_factory=dict)
