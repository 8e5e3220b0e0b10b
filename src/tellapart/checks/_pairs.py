"""The result of a duplicate check: pairs of duplicates across splits, across classes, and within one split and class.

A pair across splits is a leak: the model is evaluated on an image that it was trained on. A pair across classes is a leak
whatever the split: an image and its edited near-duplicate differ by the edit alone, so the split that the near-duplicate falls
into decides what a classifier can learn; or one of the two labels is wrong.
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
    """P pairs of duplicates or near-duplicates.

    Attributes:
        rows: (P, 2) int64, positions, the lower first.
        scores: (P,) float32 in [0, 1]: the similarity.
        mirror: (P,) bool: one image is the mirror image of the other.
    """

    rows: np.ndarray
    scores: np.ndarray
    mirror: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, chosen: np.ndarray) -> Pairs:
        """Select some pairs. `chosen`: (Q,) int64 positions or (P,) bool mask."""
        return replace(self, rows=self.rows[chosen], scores=self.scores[chosen], mirror=self.mirror[chosen])


def connect_pairs(count: int, rows: np.ndarray) -> np.ndarray:
    """Number the connected components of the graph of pairs: (N,) int64. `rows`: (P, 2) int64."""
    edges = coo_array((np.ones(len(rows), np.int8), (rows[:, 0], rows[:, 1])), shape=(count, count))
    return connected_components(edges, directed=False)[1].astype(np.int64)


def chain_pairs(cluster: np.ndarray, table: ImageTable) -> np.ndarray:
    """Pairs that connect each cluster, (P, 2) int64: neighbors by split, then class, so that pairs across both are included.

    Args:
        cluster: (N,) int64, equal for images that are duplicates of each other.
        table: The N images.
    """
    order = np.lexsort((np.arange(len(table)), table.labels, _ranks(table), cluster))
    same = cluster[order[:-1]] == cluster[order[1:]]
    return np.sort(np.stack([order[:-1][same], order[1:][same]], axis=1), axis=1)


def pairs_result(
    view: DatasetView, pairs: Pairs, noun: str, exact: bool, details: dict[str, Any], note: str = ""
) -> CheckResult:
    """Build the result of a duplicate check, and add its pairs to `view.pairs`.

    Args:
        view: The N images.
        pairs: The pairs that were found.
        noun: "an exact duplicate" or "a near-duplicate".
        exact: Whether all but one of several in the same split and class can be dropped without review.
        details: Further figures for `CheckResult.details`.
        note: What else the summary should say.
    """
    table = view.table
    view.pairs.append(pairs.rows)
    if not len(pairs):
        return passed(len(table), "; ".join(filter(None, (f"no image has {noun}", note))), **details)
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
        severity, "; ".join(filter(None, (_summary(counts, noun), note))), _advice(counts, severity), scores, is_issue,
        _reasons(table, pairs.take(order)), pairs.rows[order], counts | details, drops,
    )  # fmt: skip


def pairs_across_splits(table: ImageTable, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which pairs lie in two splits, and which have two labels: (P,) bool each."""
    ranks, labels = _ranks(table)[rows], table.labels[rows]
    splits = (ranks[:, 0] != ranks[:, 1]) & (ranks >= 0).all(axis=1)
    return splits, (labels[:, 0] != labels[:, 1]) & (labels >= 0).all(axis=1)


def _ranks(table: ImageTable) -> np.ndarray:
    """The split of each image: 0 train, 1 valid, 2 test, −1 none. (N,) int64."""
    if "split" not in table.frame:
        return np.full(len(table), -1)
    return np.array([_RANK.get(name, -1) for name in table.frame["split"]], np.int64)


def _parts(table: ImageTable, rows: np.ndarray) -> dict[str, int]:
    """Number of pairs by the two splits they lie in: "train and test" → 12."""
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
    by_kind = ", ".join(f"{counts[key]:,} {words}" for key, words in kinds.items() if counts[key])
    by_splits = "; ".join(f"{n:,} between {names}" for names, n in counts["parts"].items())
    count = f"{pairs:,} pair{'s' if pairs > 1 else ''}"
    return f"{images:,} images have {noun}: {count}, {by_kind}{f' ({by_splits})' if by_splits else ''}"


def _advice(counts: dict[str, Any], severity: Severity) -> str:
    split = "`tellapart split DATA -o split.csv` keeps them in one split"
    if counts["across_splits"]:
        return f"Drop the duplicates in the training split (--fix-list), or split the data again: {split}."
    if counts["across_classes"]:
        return f"Review the pairs: either a label is wrong, or one image is an edited version of the other; {split}."
    random = f"A random split would put them into different splits; {split}."
    return random if severity == "problem" else "They are counted twice; drop all but one."


def _drops(table: ImageTable, rows: np.ndarray, splits: np.ndarray, classes: np.ndarray, exact: bool) -> frozenset[int]:
    """Rows that can be dropped: of a pair across splits the row in the earlier split; of exact duplicates within one split and
    class, all but the first. Never a row of a pair across classes."""
    ranks = _ranks(table)[rows]
    earlier = rows[np.arange(len(rows)), ranks.argmin(axis=1)][splits & ~classes]
    one_kind = (table.labels[rows[:, 0]] == table.labels[rows[:, 1]]) & ~splits
    repeated = rows[one_kind, 1] if exact else rows[:0, 1]
    doubtful = set(rows[classes].ravel().tolist())
    return frozenset({*earlier.tolist(), *repeated.tolist()} - doubtful)


def _reasons(table: ImageTable, pairs: Pairs) -> dict[int, str]:
    """Describe the worst pair of each row. `pairs`: the worst first."""
    ids, labels, ranks = table.ids, table.labels, _ranks(table)
    found: dict[int, str] = {}
    for (first, second), mirror in zip(pairs.rows.tolist(), pairs.mirror.tolist(), strict=True):
        for row, other in ((first, second), (second, first)):
            if row not in found:
                where = [SPLITS[ranks[other]]] if ranks[other] >= 0 else []
                where += [f"labeled {table.classes[labels[other]]}"] if labels[other] >= 0 else []
                words = "mirror image of" if mirror else "duplicate of"
                found[row] = " ".join([words, str(ids[other]), *([f"({', '.join(where)})"] if where else [])])
    return found
