"""How well does a classifier do on a source that it never saw? One source left out at a time, and every pair of sources.

Accuracy on a source whose images are all of one class is the share of them that is called so: beside it stand the share of
the common images (mostly the real ones) that are called right, and the AUROC of both together. Neither alone says enough.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tellapart.metrics.mcnemar import Comparison, compare
from tellapart.metrics.score_all import score_all
from tellapart.types import Predictions, Score


@dataclass(frozen=True)
class Cell:
    """One classifier on one source.

    Attributes:
        learnt: The sources it learnt from.
        asked: The source it was asked about.
        accuracy: On the images of that source.
        auroc: On them, and where all are of one class with the common images; None where undefined.
        undefined: Why there is no AUROC.
    """

    trained_on: tuple[str, ...]
    tested_on: str
    accuracy: Score
    auroc: Score | None
    undefined: str = ""

    @property
    def seen(self) -> bool:
        """Whether it learnt from this source."""
        return self.tested_on in self.trained_on

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        auroc = None if self.auroc is None else self.auroc.to_dict()
        about = {"learnt": list(self.trained_on), "asked": self.tested_on, "seen": self.seen, "undefined": self.undefined}
        return {**about, "accuracy": self.accuracy.to_dict(), "auroc": auroc}


@dataclass(frozen=True)
class LeaveOneOutResult:
    """One source left out.

    Attributes:
        source: Which.
        unseen: The classifier that learnt from all others, on all images of the source.
        seen: The classifier that learnt from all, on the validation images of the source.
        paired: Both on these validation images (left out less learnt from).
        common: The classifier that learnt from all others on the common images that it did not learn from, or None.
    """

    source: str
    unseen: Cell
    seen: Cell
    paired: Comparison
    common: Score | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "source": self.source, "unseen": self.unseen.to_dict(), "seen": self.seen.to_dict(),
            "paired": self.paired.test.to_dict(), "difference": self.paired.difference.to_dict(),
            "common": None if self.common is None else self.common.to_dict(),
        }  # fmt: skip


@dataclass(frozen=True)
class CrossSourceMatrix:
    """What came out.

    Attributes:
        title: Such as "forensic-lda on deepfake5.tar".
        by: "source" or "class".
        sources: In order.
        classes: Of the question that was asked.
        one_sided: Sources whose images are all of one class.
        left_out: One a source that could be left out.
        matrix: Every classifier that learnt from one source alone (and what is common), on every source; may be empty.
        notes: What could not be done, and why.
        folder: Where the runs lie.
    """

    title: str
    by: str
    sources: tuple[str, ...]
    classes: tuple[str, ...]
    one_sided: tuple[str, ...]
    left_out: tuple[LeaveOneOutResult, ...]
    matrix: tuple[Cell, ...]
    notes: tuple[str, ...]
    folder: Path = field(default=Path())

    def cell(self, trained_on: str, tested_on: str) -> Cell | None:
        """The cell of the matrix; None where it could not be made."""
        return next((c for c in self.matrix if c.trained_on == (trained_on,) and c.tested_on == tested_on), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "title": self.title, "by": self.by, "sources": list(self.sources), "classes": list(self.classes),
            "one_sided": list(self.one_sided), "left_out": [one.to_dict() for one in self.left_out],
            "matrix": [cell.to_dict() for cell in self.matrix], "notes": list(self.notes), "folder": str(self.folder),
        }  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """One row a cell: `learnt`, `asked`, `n`, `accuracy`, `low`, `high`, `auroc`; those left out first."""
        cells = [*(one.unseen for one in self.left_out), *self.matrix]
        rows = [(", ".join(c.trained_on), c.tested_on, c.accuracy.n, c.accuracy.value, c.accuracy.low, c.accuracy.high) for c in cells]
        found = pd.DataFrame(rows, columns=["learnt", "asked", "n", "accuracy", "low", "high"])
        return found.assign(auroc=[np.nan if c.auroc is None else c.auroc.value for c in cells])


def score_cell(
    trained_on: tuple[str, ...], tested_on: str, predictions: Predictions, of_source: np.ndarray, common: np.ndarray, positive: str | None
) -> Cell | None:
    """The scores of one classifier on one source; None where it has no image there.

    Args:
        learnt: The sources it learnt from.
        asked: The source.
        answers: On everything that was held out.
        mine: (N,) bool, which of them are of the source.
        common: (N,) bool, which are common.
        positive: As of `score_all`.
    """
    if not of_source.any():
        return None
    own = subset(predictions, of_source)
    scores = score_all(own, positive)
    if len(predictions.classes) != 2:
        return Cell(trained_on, tested_on, scores["accuracy"], None, "it is for two classes")
    auroc = scores.get("auroc")
    if auroc is None and common.any():
        auroc = score_all(subset(predictions, of_source | common), positive).get("auroc")
    missing = "" if auroc is not None else f"all images are {own.classes[own.labels[0]]}, and there are no common ones"
    return Cell(trained_on, tested_on, scores["accuracy"], auroc, missing)


def compare_shared(a: Predictions, b: Predictions) -> Comparison:
    """Compare on the images that both answered."""
    both = np.intersect1d(a.ids, b.ids)
    return compare(subset(a, np.isin(a.ids, both)), subset(b, np.isin(b.ids, both)))


def subset(predictions: Predictions, rows: np.ndarray) -> Predictions:
    """Some answers. `rows`: (N,) bool."""
    groups = None if predictions.groups is None else predictions.groups[rows]
    return Predictions(predictions.ids[rows], predictions.proba[rows], predictions.labels[rows], predictions.classes, predictions.run_id, groups)
