"""Scores of a robustness sweep: for each perturbation and strength the scores, the flips, and a paired test.

Every cell is compared with the unperturbed images by a paired test: exact McNemar (over groups: the exact sign-flip test),
corrected for the number of cells by Holm. A flip is an image whose predicted class differs from that of the unperturbed image,
right or wrong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tellapart.errors import unknown_name
from tellapart.metrics.intervals import UNDEFINED, group_codes, share_interval
from tellapart.metrics.mcnemar import LEVEL, compare
from tellapart.metrics.pairwise import holm
from tellapart.metrics.score_all import score_all
from tellapart.perturbations.kinds import PERTURBATIONS
from tellapart.types import Predictions, Score

if TYPE_CHECKING:
    from tellapart.perturbations._predict import PredictionsOrReason

#: The scores of a cell, if they are defined.
KEPT = ("accuracy", "macro-f1", "auroc", "log-loss")
#: A run is called stable in a cell that is not significantly worse and whose interval of the flips lies below this share.
STABLE = 0.10


@dataclass(frozen=True)
class RobustnessCell:
    """One perturbation at one strength.

    Attributes:
        perturbation: Name of the perturbation.
        strength: Strength of the perturbation.
        n: Number of images.
        scores: The scores of `KEPT` that are defined; empty if the run cannot predict the images.
        flips: Share of the predictions that differ from those on the unperturbed images; None without predictions.
        flips_by_class: The same for the images of each class that occurs.
        change: Accuracy minus accuracy on the unperturbed images: below 0 is a loss.
        p_value: p-value of the paired test, not corrected; NaN without predictions.
        p_holm: p-value corrected for all cells of the sweep.
        reason: Why the run cannot predict the images; "" if it can.
    """

    perturbation: str
    strength: float
    n: int
    scores: dict[str, Score]
    flips: Score | None = None
    flips_by_class: dict[str, Score] | None = None
    change: Score | None = None
    p_value: float = math.nan
    p_holm: float = math.nan
    reason: str = ""

    @property
    def text(self) -> str:
        """The perturbation with its strength: "jpeg 50"."""
        return f"{self.perturbation} {PERTURBATIONS[self.perturbation].text(self.strength)}".rstrip()

    @property
    def sentence(self) -> str:
        """The perturbation with its strength in a sentence: "JPEG at quality 50"."""
        return PERTURBATIONS[self.perturbation].sentence(self.strength)

    @property
    def worse(self) -> bool:
        """Whether accuracy is significantly lower than on the unperturbed images: corrected p < 0.05."""
        return self.change is not None and self.p_holm < LEVEL and self.change.value < 0

    @property
    def stable(self) -> bool:
        """Whether the cell is not significantly worse, and the interval of the flips lies below `STABLE`."""
        return self.flips is not None and not self.worse and self.flips.high < STABLE

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; undefined values are None."""
        return {
            "perturbation": self.perturbation, "strength": self.strength, "n": self.n,
            "scores": {name: score.to_dict() for name, score in self.scores.items()},
            "flips": _plain(self.flips), "change": _plain(self.change),
            "flips_by_class": {name: score.to_dict() for name, score in (self.flips_by_class or {}).items()},
            "p_value": None if math.isnan(self.p_value) else self.p_value,
            "p_holm": None if math.isnan(self.p_holm) else self.p_holm,
            "significantly_worse": self.worse, "reason": self.reason,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> RobustnessCell:
        """Read what `to_dict` wrote."""
        if content["perturbation"] not in PERTURBATIONS:
            raise ValueError(unknown_name("perturbation", str(content["perturbation"])[:100], PERTURBATIONS))
        return cls(
            content["perturbation"], content["strength"], content["n"], _scores(content["scores"]), _score(content["flips"]),
            _scores(content["flips_by_class"]), _score(content["change"]),
            _number(content["p_value"]), _number(content["p_holm"]), content["reason"],
        )  # fmt: skip


@dataclass(frozen=True)
class Robustness:
    """A robustness sweep.

    Attributes:
        run: Id of the run.
        data: Display name of the images.
        split: "valid" or "test" of the run's own data, or "other".
        n: Number of images in the sweep.
        total: Number of images in the split; larger than n for a sample.
        classes: Class names in label order.
        clean: Scores on the unperturbed images, processed in the same way: decoded and encoded as PNG.
        recoded: Share of the predictions on them that differ from those on the original files.
        cells: One for each perturbation and strength, in the order of `PERTURBATIONS`.
        opened: Number of openings of the test split of the run's data.
        notes: Excluded images, and remarks.
        folder: The folder of predictions and results.
    """

    run: str
    data: str
    split: str
    n: int
    total: int
    classes: tuple[str, ...]
    clean: dict[str, Score]
    recoded: Score
    cells: tuple[RobustnessCell, ...]
    opened: int
    notes: tuple[str, ...]
    folder: Path

    def cells_of(self, name: str) -> tuple[RobustnessCell, ...]:
        """The cells of one perturbation, from weak to strong."""
        return tuple(cell for cell in self.cells if cell.perturbation == name)

    @property
    def perturbations(self) -> tuple[str, ...]:
        """The perturbations of the sweep."""
        return tuple(dict.fromkeys(cell.perturbation for cell in self.cells))

    @property
    def worst(self) -> RobustnessCell | None:
        """The cell with the largest significant loss; None if no loss is significant."""
        return min((c for c in self.cells if c.worse), key=lambda c: c.change.value if c.change else 0.0, default=None)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "run": self.run, "data": self.data, "split": self.split, "n": self.n, "available": self.total,
            "classes": list(self.classes), "unperturbed": {name: score.to_dict() for name, score in self.clean.items()},
            "recoded": self.recoded.to_dict(), "cells": [cell.to_dict() for cell in self.cells],
            "summary": describe(self), "test_opened": self.opened, "notes": list(self.notes), "folder": str(self.folder),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], folder: Path, opened: int) -> Robustness:
        """Read what `to_dict` wrote; the folder and the ledger may have changed since."""
        return cls(
            content["run"], content["data"], content["split"], content["n"], content["available"], tuple(content["classes"]),
            _scores(content["unperturbed"]), Score.from_dict(content["recoded"]),
            tuple(RobustnessCell.from_dict(cell) for cell in content["cells"]), opened, tuple(content["notes"]), folder,
        )  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """One row per cell: perturbation, strength, n, each score with its interval, change, flips, p_value, p_holm, worse."""
        return pd.DataFrame([_row(cell, self.classes) for cell in self.cells])


def score_robustness(
    clean: Predictions, perturbed: Mapping[tuple[str, float], PredictionsOrReason], positive: str | None
) -> tuple[RobustnessCell, ...]:
    """Compute all cells of a sweep.

    Args:
        clean: Labeled predictions on the unperturbed images.
        perturbed: (perturbation, strength) → predictions on the same images, or the reason why there are none.
        positive: The positive class, with two classes.
    """
    cells = [_cell(perturbation, strength, clean, found, positive) for (perturbation, strength), found in perturbed.items()]
    tested = [place for place, cell in enumerate(cells) if not cell.reason]
    corrected = holm([cells[place].p_value for place in tested])
    for place, p in zip(tested, corrected, strict=True):
        cells[place] = replace(cells[place], p_holm=float(p))
    return tuple(cells)


def flip_share(before: Predictions, after: Predictions, rows: np.ndarray | slice = slice(None)) -> Score:
    """The share of images whose predicted class changed, with Wilson's interval over images or groups.

    Args:
        before: N predictions.
        after: N predictions on the same images in the same order.
        rows: (N,) bool, the images to compare; default: all.
    """
    flipped = (before.predicted != after.predicted)[rows]
    if not len(flipped):
        return Score(math.nan, 0, *UNDEFINED, higher_is_better=False)
    ends = share_interval(flipped, group_codes(None if before.groups is None else before.groups[rows]))
    return Score(float(flipped.mean()), len(flipped), *ends, higher_is_better=False)


def retained_scores(predictions: Predictions, positive: str | None) -> dict[str, Score]:
    """The scores of `KEPT` that are defined."""
    found = score_all(predictions, positive)
    return {name: found[name] for name in KEPT if name in found}


def _cell(
    perturbation: str, strength: float, clean: Predictions, found: PredictionsOrReason, positive: str | None
) -> RobustnessCell:
    n = len(clean)
    if isinstance(found, str):
        return RobustnessCell(perturbation, strength, n, {}, reason=found)
    compared = compare(found, clean)
    by_class = {
        name: flip_share(clean, found, clean.labels == label)
        for label, name in enumerate(clean.classes)
        if (clean.labels == label).any()
    }
    scores, flips = retained_scores(found, positive), flip_share(clean, found)
    return RobustnessCell(perturbation, strength, n, scores, flips, by_class, compared.difference, compared.test.p_value)


def describe(found: Robustness) -> str:
    """One or two sentences: the worst cell, the class that flips there, and the cells in which the run is stable."""
    worst, answered = found.worst, [cell for cell in found.cells if cell.flips is not None]
    if not answered:
        return "The run cannot predict any of the perturbed images."
    sentences = [_worst_in_words(worst)] if worst else [_no_loss(answered)]
    firm = [words for name in found.perturbations if (words := _stable_in_words(found.cells_of(name)))]
    if firm:
        sentences.append(
            f"Stable (no significant loss, fewer than {STABLE:.0%} of the predictions flip) under {'; '.join(firm)}."
        )
    else:
        sentences.append(f"Not shown to be stable under any perturbation: {STABLE:.0%} or more of the predictions may flip.")
    return " ".join(sentences)


def _worst_in_words(worst: RobustnessCell) -> str:
    change, flips = worst.change, worst.flips
    if change is None or flips is None:
        raise ValueError(f"{worst.text} has no predictions")
    text = f"Worst is {worst.sentence}: {100 * change.value:+.1f} points".replace("-", "−")
    text += f", {flips.value:.0%} of the predictions flip"
    shares = {name: score.value for name, score in (worst.flips_by_class or {}).items()}
    if len(shares) < 2:
        return f"{text}."
    most, *_, least = sorted(shares, key=lambda name: -shares[name])
    if len(shares) == 2:
        return f"{text}: {shares[most]:.0%} of {most}, {shares[least]:.0%} of {least}."
    return f"{text}, most of all {most} ({shares[most]:.0%})."


def _no_loss(answered: list[RobustnessCell]) -> str:
    most = max(answered, key=lambda cell: cell.flips.value if cell.flips else 0.0)
    share = most.flips.value if most.flips else 0.0
    if not share:
        return "No loss is significant, and no prediction flips."
    return f"No loss is significant; most flips ({share:.0%} of the predictions) occur under {most.sentence}."


def _stable_in_words(cells: tuple[RobustnessCell, ...]) -> str:
    """The strongest stable cell of one perturbation: "jpeg down to 50"; "" if even the weakest is not stable."""
    firm = [c for place, c in enumerate(cells) if all(before.stable for before in cells[: place + 1])]
    if cells[0].perturbation == "brightness":  # its strengths go in both directions
        firm = [cell for cell in cells if cell.stable]
    texts = [PERTURBATIONS[cell.perturbation].text(cell.strength) for cell in firm]
    if not firm:
        return ""
    if len(cells) == 1 or cells[0].perturbation == "brightness":
        return f"{firm[0].perturbation} {', '.join(texts)}".rstrip()
    direction = "down" if cells[0].strength > cells[-1].strength else "up"
    return f"{firm[0].perturbation} {direction} to {texts[-1]}"


def _row(cell: RobustnessCell, classes: tuple[str, ...]) -> dict[str, Any]:
    row: dict[str, Any] = {"perturbation": cell.perturbation, "strength": cell.strength, "n": cell.n}
    named = {**{name: cell.scores.get(name) for name in KEPT}, "change": cell.change, "flips": cell.flips}
    named |= {f"flips {name}": (cell.flips_by_class or {}).get(name) for name in classes}
    for name, score in named.items():
        of = score or Score(math.nan, 0, math.nan, math.nan)
        row |= {name: of.value, f"{name} low": of.low, f"{name} high": of.high}
    return row | {"p_value": cell.p_value, "p_holm": cell.p_holm, "worse": cell.worse, "reason": cell.reason}


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _plain(score: Score | None) -> dict[str, Any] | None:
    return None if score is None else score.to_dict()


def _score(content: Mapping[str, Any] | None) -> Score | None:
    return None if content is None else Score.from_dict(content)


def _scores(content: Mapping[str, Any]) -> dict[str, Score]:
    return {name: Score.from_dict(score) for name, score in content.items()}
