"""What is said of pictures that are the same: pairs across splits, across classes, and within.

A pair across splits is a leak: what is judged was learnt. A pair across classes is one whatever the split: a picture and its
edited twin share everything but the edit, so the side on which the twin falls decides what a classifier can know; or a label is
wrong.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tellapart.checks._dataset_view import DatasetView
from tellapart.checks.base import CheckResult, Severity, passed
from tellapart.types import SPLITS, ImageTable

_RANK = {name: rank for rank, name in enumerate(SPLITS)}


@dataclass(frozen=True, eq=False)
class Pairs:
    """P pairs of the same picture.

    Attributes:
        rows: (P, 2) int64, positions, the lower first.
        scores: (P,) float32 in [0, 1].
        mirror: (P,) bool: one is the mirror image.
    """

    rows: np.ndarray
    scores: np.ndarray
    mirror: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, chosen: np.ndarray) -> Pairs:
        """Some of them; positions or a mask."""
        return replace(self, rows=self.rows[chosen], scores=self.scores[chosen], mirror=self.mirror[chosen])


def connect_pairs(count: int, rows: np.ndarray) -> np.ndarray:
    """Numbers of what hangs together by pairs: (N,) int64. rows: (P, 2) int64."""
    edges = coo_array((np.ones(len(rows), np.int8), (rows[:, 0], rows[:, 1])), shape=(count, count))
    return connected_components(edges, directed=False)[1].astype(np.int64)


def chain_pairs(cluster: np.ndarray, table: ImageTable) -> np.ndarray:
    """Pairs that hold each cluster together, (P, 2) int64: neighbors by split, then class, so that crossings are among them.

    Args:
        cluster: (N,) int64, equal for pictures that are the same.
        table: The N pictures.
    """
    order = np.lexsort((np.arange(len(table)), table.labels, _ranks(table), cluster))
    same = cluster[order[:-1]] == cluster[order[1:]]
    return np.sort(np.stack([order[:-1][same], order[1:][same]], axis=1), axis=1)


def pairs_result(view: DatasetView, pairs: Pairs, noun: str, exact: bool, details: dict[str, Any]) -> CheckResult:
    """What a check of duplicates says.

    Args:
        view: Of N images.
        pairs: What was found.
        noun: "an exact copy", "a near-duplicate".
        exact: Whether of several in one split and class all but one can be dropped unseen.
        details: Added to the figures.
    """
    table = view.table
    if not len(pairs):
        return passed(len(table), f"no image has {noun}", **details)
    splits, classes = pairs_across_splits(table, pairs.rows)
    half = (table.labels[pairs.rows] >= 0).sum(axis=1) == 1
    within = ~(splits | classes | half)
    scores, is_issue = np.zeros(len(table), np.float32), np.zeros(len(table), bool)
    np.maximum.at(scores, pairs.rows.ravel(), np.repeat(pairs.scores, 2))
    is_issue[pairs.rows.ravel()] = True
    order = np.lexsort((-pairs.scores, within, ~classes, ~splits))
    kinds = {
        "across_splits": splits,
        "across_classes": classes,
        "to_unlabeled": half,
        "within": within,
        "mirrored": pairs.mirror,
    }
    counts: dict[str, Any] = {"images": int(is_issue.sum()), "pairs": len(pairs), "parts": _parts(table, pairs.rows[splits])}
    counts |= {kind: int(mask.sum()) for kind, mask in kinds.items()}
    severity = _severity(table, splits, classes)
    drops = _drops(table, pairs.rows, splits, classes, exact)
    return CheckResult(
        severity, _summary(counts, noun), _advice(counts, severity), scores, is_issue,
        _reasons(table, pairs.take(order)), pairs.rows[order], counts | details, drops,
    )  # fmt: skip


def pairs_across_splits(table: ImageTable, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which pairs stand in two splits, and which bear two labels: (P,) bool each."""
    ranks, labels = _ranks(table)[rows], table.labels[rows]
    splits = (ranks[:, 0] != ranks[:, 1]) & (ranks >= 0).all(axis=1)
    return splits, (labels[:, 0] != labels[:, 1]) & (labels >= 0).all(axis=1)


def _ranks(table: ImageTable) -> np.ndarray:
    """Of the splits: 0 train, 1 valid, 2 test, −1 none. (N,) int64."""
    if "split" not in table.frame:
        return np.full(len(table), -1)
    return np.array([_RANK.get(name, -1) for name in table.frame["split"]], np.int64)


def _parts(table: ImageTable, rows: np.ndarray) -> dict[str, int]:
    """Pairs by the two splits they stand in: "train and test" → 12."""
    names = table.frame["split"].to_numpy(dtype=object)[rows] if len(rows) else ()
    return dict(Counter(" and ".join(sorted(pair, key=_RANK.__getitem__)) for pair in names))


def _severity(table: ImageTable, splits: np.ndarray, classes: np.ndarray) -> Severity:
    if splits.any() or classes.any():
        return "leak"
    return "notice" if (_ranks(table) >= 0).any() else "problem"


def _summary(counts: dict[str, Any], noun: str) -> str:
    images, pairs = counts["images"], counts["pairs"]
    kinds = {
        "across_splits": "across splits", "across_classes": "across classes", "within": "within one split and class",
        "to_unlabeled": "of a labeled and an unlabeled image",
    }  # fmt: skip
    said = ", ".join(f"{counts[key]:,} {words}" for key, words in kinds.items() if counts[key])
    parts = "; ".join(f"{n:,} between {names}" for names, n in counts["parts"].items())
    count = f"{pairs:,} pair{'s' if pairs > 1 else ''}"
    return f"{images:,} images have {noun}: {count}, {said}{f' ({parts})' if parts else ''}"


def _advice(counts: dict[str, Any], severity: Severity) -> str:
    cut = "`tellapart split DATA --by-twins -o split.csv` keeps them on one side"
    if counts["across_splits"]:
        return f"Drop the training copies (--fix-list), or cut anew: {cut}."
    if counts["across_classes"]:
        return f"Look at the pairs: a wrong label, or an edit and its original; {cut}."
    random = f"A random split would put them on both sides; {cut}."
    return random if severity == "problem" else "They count twice; drop all but one."


def _drops(table: ImageTable, rows: np.ndarray, splits: np.ndarray, classes: np.ndarray, exact: bool) -> frozenset[int]:
    """Of a pair across splits the row in the earlier one; of exact copies within, all but the first. Never across classes."""
    ranks = _ranks(table)[rows]
    earlier = rows[np.arange(len(rows)), ranks.argmin(axis=1)][splits & ~classes]
    one_kind = (table.labels[rows[:, 0]] == table.labels[rows[:, 1]]) & ~splits
    copies = rows[one_kind, 1] if exact else rows[:0, 1]
    doubtful = set(rows[classes].ravel().tolist())
    return frozenset({*earlier.tolist(), *copies.tolist()} - doubtful)


def _reasons(table: ImageTable, pairs: Pairs) -> dict[int, str]:
    """For each row its worst pair. `pairs`: the worst first."""
    ids, labels, ranks = table.ids, table.labels, _ranks(table)
    found: dict[int, str] = {}
    for (first, second), mirror in zip(pairs.rows.tolist(), pairs.mirror.tolist(), strict=True):
        for row, other in ((first, second), (second, first)):
            if row not in found:
                where = [SPLITS[ranks[other]]] if ranks[other] >= 0 else []
                where += [f"labeled {table.classes[labels[other]]}"] if labels[other] >= 0 else []
                words = "the mirror image of" if mirror else "the same as"
                found[row] = " ".join([words, str(ids[other]), *([f"({', '.join(where)})"] if where else [])])
    return found
