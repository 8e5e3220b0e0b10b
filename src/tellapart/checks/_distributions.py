"""How the values of a telling column are spread over the classes: what a figure of a finding shows, as plain JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tellapart.checks._associations import Association

#: Columns that are shown, classes told apart in one picture, values of a kind.
MOST_COLUMNS, MOST_CLASSES, MOST_KINDS = 4, 6, 8
_BINS = 24
_OUTLIERS = 0.5  # per cent at either end, shown in the outermost bins


def distributions(carriers: Sequence[Association], labels: np.ndarray, names: Mapping[int, str]) -> list[dict[str, Any]]:
    """Of each column that carries something, the most telling first, at most `MOST_COLUMNS`.

    Args:
        carriers: The most telling first.
        labels: (N,) int64; −1 is left out.
        names: Label → how a sentence calls it.

    Returns:
        `by`: the column; `shares`: class → shares of its images, which add up to 1; and where they lie: `edges`, one more than
        shares, of a measure, `values` in words of a kind. Of many classes the carrier's stands against "the others".
    """
    first: dict[str, Association] = {}
    for carrier in carriers:
        first.setdefault(carrier.column.name, carrier)
    return [_spread(carrier, labels, names) for carrier in list(first.values())[:MOST_COLUMNS]]


def _spread(carrier: Association, labels: np.ndarray, names: Mapping[int, str]) -> dict[str, Any]:
    column = carrier.column
    known = (labels >= 0) & np.isfinite(column.values)
    values, groups = column.values[known], _groups(carrier, labels[known], names)
    if not column.words:
        low, high = np.percentile(values, [_OUTLIERS, 100 - _OUTLIERS])
        edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
        places = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, _BINS - 1)
        return {"by": column.name, "edges": edges.tolist(), "shares": _shares(places, groups, _BINS)}
    places, words = _kinds(carrier, values)
    return {"by": column.name, "values": words, "shares": _shares(places, groups, len(words))}


def _groups(carrier: Association, labels: np.ndarray, names: Mapping[int, str]) -> dict[str, np.ndarray]:
    """Name → which images: every class, or of many the one in question and the others."""
    present = [label for label in names if (labels == label).any()]
    if len(present) <= MOST_CLASSES:
        return {names[label]: labels == label for label in present}
    return {names[carrier.label]: labels == carrier.label, "the others": labels != carrier.label}


def _kinds(carrier: Association, values: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The place of each value, the carrier's own first, then the most frequent, and their words; the rest stands together."""
    kinds, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    order = np.lexsort((-counts, kinds != carrier.value))
    place = np.empty(len(kinds), np.int64)
    place[order] = np.minimum(np.arange(len(kinds)), MOST_KINDS)
    more = ["other"] if len(kinds) > MOST_KINDS else []
    return place[inverse], [carrier.column.words.get(float(kinds[k]), "") for k in order[:MOST_KINDS]] + more


def _shares(places: np.ndarray, groups: Mapping[str, np.ndarray], count: int) -> dict[str, list[float]]:
    return {
        name: (np.bincount(places[rows], minlength=count) / max(int(rows.sum()), 1)).round(4).tolist()
        for name, rows in groups.items()
    }
