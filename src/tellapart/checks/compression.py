"""Traces of earlier JPEG compression in the pixels, by class: images of one class were compressed before, or more strongly.

Such traces survive another file format, and `tellapart align` cannot remove them; it measures them in the same way. Where one
class means "not real", a classifier may predict by them alone. Small images of objects at a fixed position have weak traces
through their content, so a weak separation is a notice.
"""

from __future__ import annotations

from dataclasses import replace
from typing import final

import numpy as np

from tellapart.checks._associations import Feature
from tellapart.checks._dataset_view import DatasetView
from tellapart.checks._shortcut import ShortcutResult, conclude, find_class_shortcuts
from tellapart.checks.base import CheckResult, HealthCheck, passed
from tellapart.features._jpeg_traces import NAMES
from tellapart.types import ImageTable, Score

_LEAK = 0.75  # AUROC; content explains less than this


@final
class Compression(HealthCheck):
    """Whether traces of earlier JPEG compression separate the classes."""

    per_image = False

    def _run(self, view: DatasetView) -> CheckResult:
        table = view.table
        labels = np.where(view.readable, table.labels, -1)
        if len(np.unique(labels[labels >= 0])) < 2:
            return passed(len(table), "fewer than two classes have images", "skipped")
        result = _separate(view.pixel_stats.compression, table, labels, view.pixel_stats.digests, view.seed)
        leak = table.positive is not None and result.strongest >= _LEAK
        return conclude(result, "traces of earlier compression", "leak" if leak else "notice", _ADVICE[leak])


_ADVICE = {
    True: "nothing removes these traces: prefer images that were all saved in the same way; else `tellapart align DATA -o DIR "
    "--format jpeg --quality 60-90` compresses all images once more, and reports how well the traces still separate them",
    False: "the content may explain weak traces, as of objects at a fixed position; if the classes were saved in different "
    "ways, a classifier may rely on it",
}


def trace_separation(values: np.ndarray, table: ImageTable, content: np.ndarray, seed: int = 0) -> Score | None:
    """AUROC of the traces alone, out of fold, as the check reports it; None if there are too few images.

    Args:
        values: (N, 3) float64, from `features._jpeg_traces.traces`; NaN where not defined.
        table: N images; those without a label are ignored.
        content: (N,) or (N, D), equal rows for images with the same content.
        seed: Random seed of the folds.
    """
    score = _separate(values, table, table.labels, content, seed).score
    return None if score is None else score.auroc


def _separate(values: np.ndarray, table: ImageTable, labels: np.ndarray, content: np.ndarray, seed: int) -> ShortcutResult:
    features = [Feature(name, values[:, i], ordered=True) for i, name in enumerate(NAMES)]
    result = find_class_shortcuts(features, labels, content, table, seed)
    return replace(result, associations=result.associations[:1])  # one cause, so one carrier is named
