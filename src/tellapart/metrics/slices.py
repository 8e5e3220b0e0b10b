"""Scores by slice: scores on the images of one source, one format, one size, or one value of any column.

Each slice is compared with all other images of the split, with Holm's correction over all slices: without it, one of twenty
slices of a uniformly good classifier differs "significantly" by chance. A slice that does not differ significantly is too small
if the power to detect a difference of 10 points from the rest is below 80 %, even without the correction
(`two_proportions.power_to_detect`). Images without a value are a slice of their own, "not given".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tellapart.errors import DataError, unknown_name
from tellapart.metrics.intervals import group_codes
from tellapart.metrics.mcnemar import LEVEL
from tellapart.metrics.pairwise import holm
from tellapart.metrics.score_all import score_all
from tellapart.metrics.slice_columns import COLUMNS, describe_columns
from tellapart.metrics.two_proportions import ProportionDifference, power_to_detect, unpaired_difference
from tellapart.types import UNLABELED, Predictions, Score

POINTS, POWER = 0.1, 0.8  # a slice is too small if the power to detect a difference of POINTS is below POWER


@dataclass(frozen=True)
class Slice:
    """Scores on the images with one value, or one range of values, of a column.

    Attributes:
        column, name: Column and value, such as "format" and "png".
        n: Number of images.
        accuracy: Accuracy with interval.
        macro_f1, auroc: Scores with interval; None if undefined.
        undefined: Undefined score → reason.
        difference: Accuracy on the slice minus accuracy on all other images, in [−1, 1]; its n counts both.
        p_value: p-value of the difference, corrected for all slices (Holm).
        power: Power to detect a true difference of 10 points.
    """

    column: str
    name: str
    n: int
    accuracy: Score
    macro_f1: Score | None
    auroc: Score | None
    undefined: dict[str, str]
    difference: Score
    p_value: float
    power: float

    @property
    def too_small(self) -> bool:
        """Whether the power is too low; False if the difference is significant."""
        return self.power < POWER and not self.significant

    @property
    def significant(self) -> bool:
        """Whether the corrected p < 0.05."""
        return self.p_value < LEVEL

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        scores = {name: None if score is None else score.to_dict() for name, score in self._scores().items()}
        about = {"p": self.p_value, "power": self.power, "too_small": self.too_small, "undefined": self.undefined}
        return {"column": self.column, "slice": self.name, "n": self.n, **scores, **about}

    def _scores(self) -> dict[str, Score | None]:
        return {
            "accuracy": self.accuracy, "macro-f1": self.macro_f1, "auroc": self.auroc, "difference": self.difference,
        }  # fmt: skip


@dataclass(frozen=True)
class SliceReport:
    """Scores by slice.

    Attributes:
        overall: Accuracy on all images.
        slices: Slices by column; numbers in increasing order, other values by decreasing frequency.
        notes: Excluded columns, with the reason.
        groups: Number of independent groups of images; None if images are independent.
    """

    overall: Score
    slices: tuple[Slice, ...]
    notes: tuple[str, ...]
    groups: int | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns with slices."""
        return tuple(dict.fromkeys(one.column for one in self.slices))

    def worst(self) -> Slice | None:
        """Slice with the largest significant loss against the rest; None if no slice is significantly worse."""
        below = [one for one in self.slices if one.significant and one.difference.value < 0]
        return min(below, key=lambda one: one.difference.value, default=None)

    def describe(self) -> str:
        """Describe the worst slice in one sentence."""
        small = sum(one.too_small for one in self.slices)
        tested = f"{len(self.slices)} slices of {', '.join(self.columns)}"
        tested += f"; {small} of them too small for a conclusion" if small else ""
        worst = self.worst()
        if not self.slices:
            return "There are no columns to slice by."
        if worst is None:
            return f"No slice is significantly worse than the rest (Holm over {tested})."
        points = f"{100 * -worst.difference.value:.1f} points"
        return f"Worst: {worst.column} {worst.name}, {points} below the rest (p = {worst.p_value:.2g}, Holm over {tested})."

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "accuracy": self.overall.to_dict(), "slices": [one.to_dict() for one in self.slices], "notes": list(self.notes),
            "groups": self.groups, "in_words": self.describe(),
        }  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """Table with one row per slice; undefined scores are NaN."""
        rows = []
        for one in self.slices:
            row: dict[str, Any] = {"column": one.column, "slice": one.name, "n": one.n}
            for name, score in one._scores().items():
                ends = (math.nan,) * 3 if score is None else (score.value, score.low, score.high)
                row |= dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
            rows.append(row | {"p": one.p_value, "too_small": one.too_small})
        return pd.DataFrame(rows)


def slices(
    predictions: Predictions, frame: pd.DataFrame, columns: Sequence[str] | None = None, positive: str | None = None
) -> SliceReport:
    """Compute scores by the values of columns.

    Macro F1 requires an image of every class, AUROC two classes with an image of each; otherwise they are undefined. The
    difference in accuracy is tested by Fisher's exact test; with groups, by a t test over groups.

    Args:
        predictions: Labeled predictions; rows without a label are excluded.
        frame: Table with one row per image, with `id` and any further columns, such as the `split.parquet` of a run.
        columns: Columns to slice by; None: all informative ones. `format` is derived from `path`, `size` is in bytes.
        positive: The positive class, as for `score_all`.

    Raises:
        DataError: There is no labeled image, a column is unknown, or an image is not in the table.

    >>> proba = np.array([[.9, .1], [.2, .8], [.6, .4], [.7, .3]], dtype=np.float32)
    >>> ids, labels = np.array(list("abcd"), dtype=object), np.array([0, 1, 1, 0])
    >>> frame = pd.DataFrame({"id": list("dcba"), "source": ["camera", "web", "web", "camera"]})
    >>> report = slices(Predictions(ids, proba, labels, ("real", "fake")), frame)
    >>> [(one.name, one.n, one.accuracy.value, one.too_small) for one in report.slices]
    [('camera', 2, 1.0, True), ('web', 2, 0.5, True)]
    >>> report.slices[0].undefined["auroc"]
    'no image of fake'
    """
    labeled = np.flatnonzero(predictions.labels != UNLABELED)
    if not len(labeled):
        raise DataError("no image has a label: slices need labeled images", hint="give predictions on labeled images")
    predictions = _take(predictions, labeled)
    frame = _rows_of(predictions.ids, frame)
    wanted = list(columns) if columns else None
    known = [c for c in (*COLUMNS, *frame) if c in frame or (c == "format" and "path" in frame)]
    for name in wanted or ():
        if name not in known:
            raise DataError(unknown_name("column", name, dict.fromkeys(known)), hint="use a column of split.parquet")
    parts, notes = describe_columns(frame, wanted)
    codes = group_codes(predictions.groups)
    right = predictions.predicted == predictions.labels
    requested = [(part.column, name, inside) for part in parts for name, inside in part.values]
    differences = [unpaired_difference(right, inside, codes) for _, _, inside in requested]
    corrected = _corrected([column for column, _, _ in requested], differences)
    scored = [
        _slice(predictions, positive, one, difference, p, codes)
        for one, difference, p in zip(requested, differences, corrected, strict=True)
    ]
    overall = score_all(predictions, positive)["accuracy"]
    return SliceReport(overall, tuple(scored), tuple(notes), None if codes is None else int(codes.max()) + 1)


def _slice(
    predictions: Predictions, positive: str | None, requested: tuple[str, str, np.ndarray],
    difference: ProportionDifference, p: float,
    codes: np.ndarray | None,
) -> Slice:  # fmt: skip
    column, name, inside = requested
    part = _take(predictions, np.flatnonzero(inside))
    scores = score_all(part, positive)
    absent = [predictions.classes[c] for c in np.setdiff1d(np.arange(len(predictions.classes)), part.labels)]
    undefined = {}
    if absent:
        more = f" and {len(absent) - 3} more classes" if len(absent) > 3 else ""
        undefined["macro-f1"] = f"no image of {', '.join(absent[:3])}{more}"
    if len(predictions.classes) == 2 and absent:
        undefined["auroc"] = undefined["macro-f1"]
    elif len(predictions.classes) > 2:
        undefined["auroc"] = "defined for two classes only"
    right = predictions.predicted == predictions.labels
    return Slice(
        column, name, len(part), scores["accuracy"],
        None if "macro-f1" in undefined else scores["macro-f1"], None if "auroc" in undefined else scores["auroc"],
        undefined, difference.value, p, _power(right, inside, codes),
    )  # fmt: skip


def _power(right: np.ndarray, inside: np.ndarray, codes: np.ndarray | None) -> float:
    """Power to detect a difference of 10 points between the slice and the rest; with groups, based on the number of groups."""
    larger = ~inside if inside.sum() <= len(inside) / 2 else inside
    n, m = int((~larger).sum()), int(larger.sum())
    if codes is not None:
        n, m = len(np.unique(codes[~larger])), len(np.unique(codes[larger]))
    return power_to_detect(n, round(float(right[larger].mean()) * m), m, POINTS)


def _corrected(columns: Sequence[str], differences: Sequence[ProportionDifference]) -> list[float]:
    """p-values with Holm's correction over all slices; the two slices of a column with two values are one test."""
    first = [i for i, c in enumerate(columns) if columns.count(c) != 2 or columns.index(c) == i]
    found = dict(zip(first, holm([differences[i].p_value for i in first]).tolist(), strict=True))
    return [found[i] if i in found else found[i - 1] for i in range(len(columns))]


def _rows_of(ids: np.ndarray, frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of `frame` for `ids`, in that order."""
    if "id" not in frame:
        raise DataError("the table to slice by has no column 'id'", hint="give the frame of a table, or split.parquet")
    row = pd.Index(frame["id"].astype(object)).get_indexer(pd.Index(ids, dtype=object))
    if (row < 0).any():
        raise DataError(
            f"{int((row < 0).sum()):,} images are not in the table to slice by, the first is {ids[np.argmin(row)]!r}",
            hint="give the table that the predictions were made from",
        )
    return frame.iloc[row].reset_index(drop=True)


def _take(p: Predictions, rows: np.ndarray) -> Predictions:
    groups = None if p.groups is None else p.groups[rows]
    return Predictions(p.ids[rows], p.proba[rows], p.labels[rows], p.classes, p.run_id, groups)
