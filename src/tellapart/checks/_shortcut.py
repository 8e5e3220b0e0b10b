"""From columns to a finding: single carriers by exact tests, all together by a model out of fold, then words.

What is found must be significant at 1e-4 among all tests of the check, and large enough to matter. So a clean set is left in
peace, and a large one is not accused of what nobody could use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tellapart.checks._associations import Association, Feature, class_distributions, find_associations
from tellapart.checks._shortcut_model import ShortcutScore, fit_shortcut_model
from tellapart.metrics.intervals import UNDEFINED
from tellapart.types import ImageTable, Score

#: From this AUROC on a shortcut is worth mending, not only knowing.
STRONG = 0.6
_GIVEN_AWAY = 0.5  # a row from this surety on is listed
_SHOWN = 3  # columns named in a summary


@dataclass(frozen=True, eq=False)
class ShortcutResult:
    """What columns say of the classes.

    Attributes:
        carriers: The most telling first.
        told: All columns together; None where there is too little to learn from.
        strong: Whether something that the picture's content does not explain tells the classes apart by STRONG or more.
        names: Label → how a sentence calls it: "'fake'", or "test".
        labels: (N,) int64, as `judge` had them.
    """

    associations: list[Association]
    score: ShortcutScore | None
    strong: bool
    names: Mapping[int, str]
    labels: np.ndarray

    @property
    def found(self) -> bool:
        """Whether there is anything to say."""
        return bool(self.associations) or (self.score is not None and self.score.significant)


def find_shortcuts(
    features: Sequence[Feature], labels: np.ndarray, groups: np.ndarray, names: Mapping[int, str], seed: int = 0
) -> ShortcutResult:  # fmt: skip
    """Look for what tells the classes apart.

    Args:
        columns: What to look at.
        labels: (N,) int64; −1 is left out.
        units: (N,) int64: images with equal numbers are not independent.
        names: Label → how a sentence calls it.
        seed: Of folds and trees.
    """
    carriers = find_associations(features, labels, groups)
    told = fit_shortcut_model(features, labels, groups, seed)
    strong = any(c.effect >= STRONG and not c.feature.content_dependent for c in carriers)
    if not strong and told is not None and told.significant:
        of_file = [column for column in features if not column.content_dependent]
        alone = told if len(of_file) == len(features) else fit_shortcut_model(of_file, labels, groups, seed)
        strong = alone is not None and alone.significant and float(np.nanmax(alone.by_class)) >= STRONG
    return ShortcutResult(carriers, told, strong, names, labels)


def summarize(result: ShortcutResult, subject: str) -> str:
    """One sentence: the carriers in words, then how far all columns together reach. `subject`: "file metadata"."""
    by_column: dict[str, list[Association]] = {}
    for carrier in result.associations:
        by_column.setdefault(carrier.feature.name, []).append(carrier)
    parts = [_column_words(of, result.names) for of in list(by_column.values())[:_SHOWN]]
    if len(by_column) > _SHOWN:
        parts.append("also " + ", ".join(list(by_column)[_SHOWN : _SHOWN + 4]))
    if result.score is not None:
        parts.append(f"{subject} {'alone' if parts else 'together'}: AUROC {result.score.auroc}, out of fold")
    return "; ".join(parts)


def _column_words(carriers: list[Association], names: Mapping[int, str]) -> str:
    """The best carrier of a column, and the best one of another class beside it."""
    first = carriers[0]
    other = next((c for c in carriers[1:] if c.label != first.label and c.value is not None and c.value != first.value), None)
    shown = [first] if other is None or first.value is None else [first, other]
    text = ", ".join(describe(c, names) for c in shown)
    more = len({c.label for c in carriers} - {c.label for c in shown})
    return text + (f", and {more} classes more" if more > 1 else "") if len(names) > 2 else text


def describe(carrier: Association, names: Mapping[int, str]) -> str:
    """One carrier in words."""
    name, column = names[carrier.label], carrier.feature
    if carrier.value is None:
        return f"{column.name}: {'higher' if carrier.more else 'lower'} in {name} (AUROC {carrier.effect:.2f} alone)"
    what, share = column.words[carrier.value], f"{carrier.inside:,} of {carrier.size:,}"
    if not carrier.others:
        return f"{what} occurs only in {name} ({share})"
    if carrier.inside == carrier.size:
        return f"{what} in all of {name} ({carrier.size:,}), else in {carrier.others:,} of {carrier.rest:,}"
    return f"{what} in {carrier.inside / carrier.size:.0%} of {name} ({share}), else in {carrier.others / carrier.rest:.0%}"


def rows_explained(result: ShortcutResult, subject: str) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
    """Score, fault and reason of each row: (N,) float32, (N,) bool, by position.

    Args:
        verdict: As `judge` gave it.
        subject: "file metadata".
    """
    labels = result.labels
    scores = np.zeros(len(labels), np.float32) if result.score is None else result.score.confidence.copy()
    if not result.found:
        return np.zeros_like(scores), np.zeros(len(labels), bool), {}
    reasons: dict[int, str] = {}
    for carrier in reversed(result.associations):
        if carrier.value is not None:
            has = (carrier.feature.values == carrier.value) & (labels == carrier.label)
            scores[has] = np.maximum(scores[has], _surety(carrier))
            text = describe(carrier, result.names)
            reasons |= {int(row): text for row in np.flatnonzero(has)}
    at_fault = scores >= _GIVEN_AWAY
    return scores, at_fault, {
        int(row): reasons.get(int(row), f"{subject} say {result.names[int(labels[row])]}") for row in np.flatnonzero(at_fault)
    }  # fmt: skip


def _surety(carrier: Association) -> float:
    """How surely a value means its class, were all images shared out as the class and the others are, half and half."""
    here, there = carrier.inside / carrier.size, carrier.others / carrier.rest
    return max(0.0, 2 * here / (here + there) - 1)


def shortcut_details(result: ShortcutResult) -> dict[str, Any]:
    """Plain JSON values."""
    return {
        "auroc": (result.score.auroc if result.score else Score(float("nan"), 0, *UNDEFINED)).to_dict(),
        "by_class": {} if result.score is None else {
            result.names[label]: round(float(area), 4)
            for label, area in enumerate(result.score.by_class) if np.isfinite(area)
        },
        "carriers": [
            {
                "by": c.feature.name, "value": None if c.value is None else c.feature.words[c.value],
                "class": result.names[c.label], "auroc": round(c.effect, 4), "p_value": c.p_value, "inside": c.inside,
                "class_size": c.size, "others": c.others, "others_size": c.rest, "words": describe(c, result.names),
            }
            for c in result.associations
        ],
        "distributions": class_distributions(result.associations, result.labels, result.names),
    }  # fmt: skip


# --- which images are independent of each other: those of one group, and those with the same content, are not ---------


def independent_groups(table: ImageTable, content: np.ndarray) -> np.ndarray:
    """Numbers of units, equal for images that belong together: (N,) int64 in 0 … U−1.

    Args:
        table: With a `group` column or not; an empty cell is a unit of its own.
        content: (N,) or (N, D), equal rows for images with the same content.
    """
    frame = pd.DataFrame(content)
    keys: np.ndarray = frame.groupby(list(frame.columns), sort=False).ngroup().to_numpy()
    if "group" not in table.frame:
        return keys.astype(np.int64)
    names = table.frame["group"].astype(object)
    codes = pd.factorize(names.where(names != ""))[0]
    return _joined(keys, np.where(codes < 0, codes.max(initial=-1) + 1 + np.arange(len(codes)), codes))


def _joined(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """What hangs together by either numbering. a, b: (N,) int64, from 0."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    offset = int(a.max(initial=-1)) + 1
    size = offset + int(b.max(initial=-1)) + 1
    edges = coo_array((np.ones(len(a)), (a, offset + b)), shape=(size, size))
    return connected_components(edges, directed=False)[1][a].astype(np.int64)
