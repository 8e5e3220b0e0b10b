"""Scores of many maps as one table: means with intervals, the method beside its controls."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import t as student

from tellapart.explainers.base import Explanation
from tellapart.metrics.intervals import wilson
from tellapart.types import Score

_OF_MAPS = ("deletion", "insertion", "road")


def summary(found: Sequence[Explanation]) -> dict[str, dict[str, Score]]:
    """Map → score → mean over the pictures.

    Shares have Wilson's interval, means Student's; one picture has none.

    Args:
        found: Maps of one method, a picture each.

    Returns:
        Rows for the method, "noise" and "untrained", where there are such; "pointing" and "iou" count the pictures with a mask.
    """
    rows: dict[str, dict[str, Score]] = {}
    for name in dict.fromkeys(name for one in found for name in (*one.scores, *one.pointing)):
        scored = [one.scores[name].to_dict() for one in found if name in one.scores]
        row = {s: mean_score([of[s] for of in scored], s != "deletion") for s in _OF_MAPS} if scored else {}
        hits = [one.pointing[name] for one in found if name in one.pointing]
        if hits:
            row["pointing"] = Score(sum(hits) / len(hits), len(hits), *wilson(sum(hits), len(hits)))
        shares = [one.iou[name] for one in found if not math.isnan(one.iou.get(name, math.nan))]
        if shares:
            row["iou"] = mean_score(shares)
        rows[name] = row
    return rows


def mean_score(values: Sequence[float], higher_is_better: bool = True) -> Score:
    """The mean with Student's 95 % interval: x̄ ± t₀.₉₇₅(n−1) s/√n. `values`: at least one."""
    mean, n = float(np.mean(values)), len(values)
    if n < 2:
        return Score(mean, n, math.nan, math.nan, higher_is_better=higher_is_better)
    half = float(student.ppf(0.975, n - 1) * np.std(values, ddof=1) / math.sqrt(n))
    return Score(mean, n, mean - half, mean + half, higher_is_better=higher_is_better)
