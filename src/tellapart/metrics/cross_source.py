"""Cross-source evaluation: scores on a source that is excluded from training, and scores for every pair of sources.

If all images of a source belong to one class, the accuracy on it is the recall of that class only. It is therefore reported
together with the accuracy on the common images (mostly the real ones) and with the AUROC on both.
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
    """Scores of one classifier on one source.

    Attributes:
        trained_on: The sources in its training split.
        evaluated_on: The source that it is evaluated on.
        accuracy: Accuracy on the images of that source.
        auroc: AUROC on these images, together with the common images if they are all of one class; None if undefined.
        undefined: Why the AUROC is undefined; "" if it is defined.
    """

    trained_on: tuple[str, ...]
    evaluated_on: str
    accuracy: Score
    auroc: Score | None
    undefined: str = ""

    @property
    def seen(self) -> bool:
        """Whether the source is in the training split."""
        return self.evaluated_on in self.trained_on

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        auroc = None if self.auroc is None else self.auroc.to_dict()
        about = {
            "trained_on": list(self.trained_on), "evaluated_on": self.evaluated_on,
            "includes_own_validation": self.seen, "undefined": self.undefined,
        }  # fmt: skip
        return {**about, "accuracy": self.accuracy.to_dict(), "auroc": auroc}


@dataclass(frozen=True)
class LeaveOneOutResult:
    """Result of excluding one source from training.

    Attributes:
        source: The excluded source.
        unseen: The classifier trained on all other sources, evaluated on all images of the source.
        seen: The classifier trained on all sources, evaluated on the validation images of the source.
        paired: Comparison of both on these validation images (excluded minus included).
        common: Accuracy of the classifier trained on all other sources on the held-out common images, or None.
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
    """Result of a cross-source evaluation.

    Attributes:
        title: A title such as "forensic-lda on deepfake5.tar".
        by: "source" or "class".
        sources: Names of the sources, in order.
        classes: Names of the classes.
        one_sided: Sources whose images are all of one class.
        left_out: One result for each source that can be excluded.
        matrix: Scores of the classifiers trained on one source (and the common images), on every source; may be empty.
        notes: What could not be computed, and why.
        folder: Folder of the runs.
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

    def cell(self, trained_on: str, evaluated_on: str) -> Cell | None:
        """Cell of the matrix; None if it could not be computed."""
        return next((c for c in self.matrix if c.trained_on == (trained_on,) and c.evaluated_on == evaluated_on), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "title": self.title, "by": self.by, "sources": list(self.sources), "classes": list(self.classes),
            "one_sided": list(self.one_sided), "left_out": [one.to_dict() for one in self.left_out],
            "matrix": [cell.to_dict() for cell in self.matrix], "notes": list(self.notes), "folder": str(self.folder),
        }  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """Table with one row per cell; the excluded sources come first.

        Columns: `trained_on`, `evaluated_on`, `n`, `accuracy`, `low`, `high`, `auroc`.
        """
        cells = [*(one.unseen for one in self.left_out), *self.matrix]
        rows = [
            (", ".join(c.trained_on), c.evaluated_on, c.accuracy.n, c.accuracy.value, c.accuracy.low, c.accuracy.high)
            for c in cells
        ]
        found = pd.DataFrame(rows, columns=["trained_on", "evaluated_on", "n", "accuracy", "low", "high"])
        return found.assign(auroc=[np.nan if c.auroc is None else c.auroc.value for c in cells])


def score_cell(
    trained_on: tuple[str, ...],
    evaluated_on: str,
    predictions: Predictions,
    of_source: np.ndarray,
    common: np.ndarray,
    positive: str | None,
) -> Cell | None:
    """Score one classifier on one source; None if there are no predictions for that source.

    Args:
        trained_on: The sources in its training split.
        evaluated_on: The source to evaluate on.
        predictions: Predictions for all held-out images.
        of_source: (N,) bool, which of them belong to the source.
        common: (N,) bool, which of them are common to all sources.
        positive: The positive class, as for `score_all`.
    """
    if not of_source.any():
        return None
    own = subset(predictions, of_source)
    scores = score_all(own, positive)
    if len(predictions.classes) != 2:
        return Cell(trained_on, evaluated_on, scores["accuracy"], None, "defined for two classes only")
    auroc = scores.get("auroc")
    if auroc is None and common.any():
        auroc = score_all(subset(predictions, of_source | common), positive).get("auroc")
    missing = (
        "" if auroc is not None else f"all images are of class {own.classes[own.labels[0]]}, and there are no common images"
    )
    return Cell(trained_on, evaluated_on, scores["accuracy"], auroc, missing)


def compare_shared(a: Predictions, b: Predictions) -> Comparison:
    """Compare two classifiers on the images that both have predicted."""
    both = np.intersect1d(a.ids, b.ids)
    return compare(subset(a, np.isin(a.ids, both)), subset(b, np.isin(b.ids, both)))


def subset(predictions: Predictions, rows: np.ndarray) -> Predictions:
    """Select rows of predictions. `rows`: (N,) bool."""
    groups = None if predictions.groups is None else predictions.groups[rows]
    return Predictions(
        predictions.ids[rows],
        predictions.proba[rows],
        predictions.labels[rows],
        predictions.classes,
        predictions.run_id,
        groups,
    )
