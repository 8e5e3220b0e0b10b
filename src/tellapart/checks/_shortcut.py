"""Find shortcuts: features that separate the classes, one by one with exact tests and jointly with a cross-validated model.

A finding must be significant at 1e-4 among all tests of the check, and large enough to matter. So clean data raise no alarm,
and neither do effects in large data sets that are too small for a classifier to use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from tellapart.checks._associations import Association, Feature, class_distributions, find_associations
from tellapart.checks._shortcut_model import ShortcutScore, fit_shortcut_model
from tellapart.checks.base import CheckResult, Severity, passed
from tellapart.metrics.intervals import UNDEFINED
from tellapart.types import ImageTable, Score

#: From this AUROC on a shortcut should be fixed, not only known.
STRONG = 0.6
#: What an AUROC far below one half is, and what to do about it.
REVERSED = "far below one half: each image resembles one of another class, as an edited copy does its original"
REVERSED_ADVICE = (
    "images that belong together lie in different folds, so the label of one predicts the opposite for the other: see "
    "near_duplicates, and keep them together with `--group COLUMN` or `tellapart split DATA -o split.csv`"
)
_MIN_CONFIDENCE = 0.5  # rows from this confidence on are flagged


@dataclass(frozen=True, eq=False)
class ShortcutResult:
    """How well features separate the classes.

    Attributes:
        associations: Single features, the strongest first.
        score: All features jointly; None if there are too few groups to fit a model.
        strong: Whether features that do not depend on the content separate the classes with an AUROC of STRONG or more.
        names: Label → name of the class in a sentence: "'fake'", or "test".
        labels: (N,) int64, as given to `find_shortcuts`.
    """

    associations: list[Association]
    score: ShortcutScore | None
    strong: bool
    names: Mapping[int, str]
    labels: np.ndarray

    @property
    def found(self) -> bool:
        """Whether any association or the joint model is significant."""
        return bool(self.associations) or (self.score is not None and self.score.significant)

    @property
    def strongest(self) -> float:
        """The highest AUROC of a class, by one feature or by all."""
        areas = [] if self.score is None else self.score.by_class[np.isfinite(self.score.by_class)].tolist()
        return max([0.5, *areas, *(c.effect for c in self.associations)])

    @property
    def is_reversed(self) -> bool:
        """Whether the joint model predicts the opposite of the classes."""
        return not self.found and self.score is not None and self.score.is_reversed


def find_shortcuts(
    features: Sequence[Feature], labels: np.ndarray, groups: np.ndarray, names: Mapping[int, str], seed: int = 0
) -> ShortcutResult:  # fmt: skip
    """Find features that separate the classes.

    Args:
        features: Features of N images.
        labels: (N,) int64; rows with −1 are ignored.
        groups: (N,) int64: images with equal numbers are not independent.
        names: Label → name of the class in a sentence.
        seed: Random seed for folds and trees.
    """
    associations = find_associations(features, labels, groups)
    score = fit_shortcut_model(features, labels, groups, seed)
    strong = any(c.effect >= STRONG and not c.feature.content_dependent for c in associations)
    if not strong and score is not None and score.significant:
        of_file = [feature for feature in features if not feature.content_dependent]
        alone = score if len(of_file) == len(features) else fit_shortcut_model(of_file, labels, groups, seed)
        strong = alone is not None and alone.significant and float(np.nanmax(alone.by_class)) >= STRONG
    return ShortcutResult(associations, score, strong, names, labels)


def find_class_shortcuts(
    features: Sequence[Feature], labels: np.ndarray, content: np.ndarray, table: ImageTable, seed: int = 0
) -> ShortcutResult:
    """Find features that separate the classes of a table, as `find_shortcuts` does; `content` as of `independent_groups`."""
    names = {int(label): repr(table.classes[label]) for label in np.unique(labels[labels >= 0])}
    return find_shortcuts(features, labels, independent_groups(table, content), names, seed)


def independent_groups(table: ImageTable, content: np.ndarray) -> np.ndarray:
    """Number the groups of dependent images, by the `group` column and by equal content: (N,) int64 in 0 … G−1.

    Args:
        table: With or without a `group` column; a row with an empty cell is a group of its own.
        content: (N,) or (N, D), equal rows for images with the same content.
    """
    frame = pd.DataFrame(content)
    keys: np.ndarray = frame.groupby(list(frame.columns), sort=False).ngroup().to_numpy()
    if "group" not in table.frame:
        return keys.astype(np.int64)
    names = table.frame["group"].astype(object)
    codes = pd.factorize(names.where(names != ""))[0]
    return _merge_numberings(keys, np.where(codes < 0, codes.max(initial=-1) + 1 + np.arange(len(codes)), codes))


def summarize(result: ShortcutResult, subject: str) -> str:
    """One sentence: the strongest feature, then the AUROC of all features jointly. `subject`: "file metadata"."""
    by_feature: dict[str, list[Association]] = {}
    for association in result.associations:
        by_feature.setdefault(association.feature.name, []).append(association)
    parts = [_feature_text(of, result.names) for of in list(by_feature.values())[:1]]
    if len(by_feature) > 1:
        parts = [f"{parts[0]}, and {len(by_feature) - 1} more"]
    if result.score is not None:
        text = f"{subject} {'alone' if parts else 'together'}: AUROC {result.score.auroc}, out of fold"
        parts.append(f"{text}, {REVERSED}" if result.is_reversed else text)
    return "; ".join(parts) or f"too few images to test {subject} together"


def conclude(result: ShortcutResult, subject: str, severity: Severity, advice: str, *first: str) -> CheckResult:
    """The result of a check whose subject are shortcuts between classes.

    Args:
        result: Of `find_class_shortcuts`.
        subject: "file metadata".
        severity: The severity where the classes are separated; else as of `only_reversed`.
        advice: The advice then.
        first: Findings that are named before the others.
    """
    text, details = summarize(result, subject), shortcut_details(result)
    if not result.found:
        return only_reversed(result, len(result.labels), f"{subject} do not separate the classes ({text})", **details)
    return CheckResult(severity, "; ".join([*first, text]), advice, *rows_explained(result, subject), details=details)


def only_reversed(result: ShortcutResult, count: int, text: str, **details: Any) -> CheckResult:
    """The result for `count` images where nothing was found: "fine", or a notice if the joint model is reversed."""
    if not result.is_reversed:
        return passed(count, text, **details)
    return replace(passed(count, text, "notice", **details), advice=REVERSED_ADVICE)


def describe(association: Association, names: Mapping[int, str]) -> str:
    """Describe one association, with its figures."""
    name, feature = names[association.label], association.feature
    if association.value is None:
        return f"{feature.name}: {'higher' if association.more else 'lower'} in {name} (AUROC {association.auroc} alone)"
    what, share = feature.words[association.value], f"{association.inside:,} of {association.size:,}"
    if not association.others:
        return f"{what} occurs only in {name} ({share})"
    if association.inside == association.size:
        return f"{what} in all of {name} ({association.size:,}), elsewhere in {association.others:,} of {association.rest:,}"
    elsewhere = f"elsewhere in {association.others / association.rest:.0%}"
    return f"{what} in {association.inside / association.size:.0%} of {name} ({share}), {elsewhere}"


def rows_explained(result: ShortcutResult, subject: str) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
    """Score, flag and reason of each row: (N,) float32, (N,) bool, and position → text.

    Args:
        result: The result of `find_shortcuts` on N images.
        subject: "file metadata".
    """
    labels = result.labels
    scores = np.zeros(len(labels), np.float32) if result.score is None else result.score.confidence.copy()
    if not result.found:
        return np.zeros_like(scores), np.zeros(len(labels), bool), {}
    reasons: dict[int, str] = {}
    for association in reversed(result.associations):
        if association.value is not None:
            has = (association.feature.values == association.value) & (labels == association.label)
            scores[has] = np.maximum(scores[has], _confidence(association))
            text = describe(association, result.names)
            reasons |= {int(row): text for row in np.flatnonzero(has)}
    flagged = scores >= _MIN_CONFIDENCE
    texts = {
        int(row): reasons.get(int(row), f"{subject} indicate {result.names[int(labels[row])]}")
        for row in np.flatnonzero(flagged)
    }
    return scores, flagged, texts


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
                "class": result.names[c.label], "auroc": round(c.effect, 4),
                "interval": None if c.auroc is None else [round(c.auroc.low, 4), round(c.auroc.high, 4)],
                "p_value": c.p_value, "inside": c.inside, "class_size": c.size, "others": c.others,
                "others_size": c.rest, "words": describe(c, result.names),
            }
            for c in result.associations
        ],
        "distributions": class_distributions(result.associations, result.labels, result.names),
    }  # fmt: skip


def _feature_text(associations: list[Association], names: Mapping[int, str]) -> str:
    """Describe the strongest association of a feature, and its strongest one with another class."""
    first = associations[0]
    other = next(
        (c for c in associations[1:] if c.label != first.label and c.value is not None and c.value != first.value), None
    )
    shown = [first] if other is None or first.value is None else [first, other]
    text = ", ".join(describe(c, names) for c in shown)
    more = len({c.label for c in associations} - {c.label for c in shown})
    return text + (f", and {more} more classes" if more > 1 else "") if len(names) > 2 else text


def _confidence(association: Association) -> float:
    """Confidence in [0, 1] that a value indicates its class, if the class and the others had equally many images."""
    here, there = association.inside / association.size, association.others / association.rest
    return max(0.0, 2 * here / (here + there) - 1)


def _merge_numberings(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Number the rows that are connected by equal numbers in `a` or `b`: (N,) int64. `a`, `b`: (N,) int64, from 0."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    offset = int(a.max(initial=-1)) + 1
    size = offset + int(b.max(initial=-1)) + 1
    edges = coo_array((np.ones(len(a)), (a, offset + b)), shape=(size, size))
    return connected_components(edges, directed=False)[1][a].astype(np.int64)
