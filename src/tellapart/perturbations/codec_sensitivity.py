"""Codec bias or fragility: how predictions change when the images of one class, of the other, or of both are re-encoded.

Predictions are made image by image, so "only this class" combines the predictions on its re-encoded images with the original
predictions on all others. For a class c against the others:

    shift       mean change of the probability of c, for the images of c and for the others; paired, with its interval
    counted     the interval excludes 0, and the shift is at least a tenth of the distance between the two means
    direction   of a transform: towards c (+), away from c (−), or 0 if the two counted shifts disagree or there is none

How the two are distinguished: JPEG adds the traces of a codec, rescaling removes them, and both remove fine detail. If a run
depends on the codec, the two transforms shift its predictions in opposite directions; if it loses what it relied on, both shift
them in the same direction, or towards the middle. A run whose predictions change although no pixel does depends on the file.

    file        a lossless copy, as PNG, shifts the probabilities or flips predictions
    codec       JPEG and rescaling shift in opposite directions; or JPEG shifts both classes in one direction, rescaling does
                not, and the AUROC that is lost when one class is re-encoded recovers when both are
    suspect     none of these, but JPEG shifts towards the class that carries more traces of JPEG already: on such data
                dependence on the codec, and on something that compression destroys, look the same
    fragile     none of these, and accuracy is significantly lower when both classes are re-encoded
    steady      none of these, and a relevant loss of accuracy is ruled out
    open        none of these: too few images, or groups, to rule a loss out
    nothing     the run does not separate this class from the others on the original files
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tellapart.metrics.intervals import difference_interval, group_codes, share_interval, variance_within
from tellapart.metrics.mcnemar import paired_difference
from tellapart.metrics.score_all import score_all
from tellapart.types import Predictions, Score

if TYPE_CHECKING:
    from tellapart.perturbations._predict import PredictionsOrReason

#: Transforms that re-encode an image; "png" changes no pixel.
RESAVED, COMPRESSED, RESCALED = "png", "jpeg", "scale"
TRANSFORMS = (RESAVED, COMPRESSED, RESCALED)
#: The worst first.
FINDINGS = ("file", "codec", "suspect", "fragile", "open", "steady", "nothing")
_NOTICEABLE = 0.1  # of the distance between the classes
_LOSS = 0.02  # accuracy: a smaller loss is not reported, even if it is significant
_RULED_OUT = 0.1  # accuracy: a run whose loss may be larger is not called steady
_FLIPS = 0.05  # share of predictions, by the lower end of its interval
_MARKED = 0.6  # AUROC: below this the classes do not differ in their compression
_BACK = 0.05  # AUROC that recovers when both classes are re-encoded


@dataclass(frozen=True)
class ClassShift:
    """The images of one class, or of all others, before and after they are re-encoded.

    Attributes:
        n: Number of images.
        before: Mean probability of the class in question on the original files.
        shift: Mean change of this probability.
        counted: Direction of a counted shift, −1 or +1; else 0.
        right_before: Binary accuracy (the class, or any of the others) on the original files.
        right: The same on the re-encoded files.
    """

    n: int
    before: float
    shift: Score
    counted: int
    right_before: Score
    right: Score

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        scores = {"shift": self.shift, "right_before": self.right_before, "right": self.right}
        return {"n": self.n, "before": self.before, "counted": self.counted} | {
            name: score.to_dict() for name, score in scores.items()
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> ClassShift:
        """Read what `to_dict` wrote."""
        shift, right_before, right = (Score.from_dict(content[name]) for name in ("shift", "right_before", "right"))
        return cls(content["n"], content["before"], shift, content["counted"], right_before, right)


@dataclass(frozen=True)
class TransformResult:
    """The effect of one transform on one class against all others.

    Attributes:
        transform: "png", "jpeg" or "scale".
        own: The images of the class.
        others: All other images.
        aurocs: AUROC of the class against the others, if "none", "own", "others" or "both" are re-encoded.
        change: Change of the binary accuracy if both are re-encoded.
        flips: Share of the images whose binary prediction changes if both are re-encoded.
    """

    transform: str
    own: ClassShift
    others: ClassShift
    aurocs: dict[str, Score]
    change: Score
    flips: Score

    @property
    def direction(self) -> int:
        """+1 towards the class, −1 away from it, 0 for neither or for opposite shifts."""
        return 0 if self.own.counted * self.others.counted < 0 else self.own.counted or self.others.counted

    @property
    def together(self) -> bool:
        """Whether both sides shift, in the same direction."""
        return self.own.counted * self.others.counted > 0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "transform": self.transform, "own": self.own.to_dict(), "others": self.others.to_dict(),
            "aurocs": {name: score.to_dict() for name, score in self.aurocs.items()},
            "change": self.change.to_dict(), "flips": self.flips.to_dict(), "direction": self.direction,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> TransformResult:
        """Read what `to_dict` wrote."""
        return cls(
            content["transform"], ClassShift.from_dict(content["own"]), ClassShift.from_dict(content["others"]),
            {name: Score.from_dict(score) for name, score in content["aurocs"].items()},
            Score.from_dict(content["change"]), Score.from_dict(content["flips"]),
        )  # fmt: skip


@dataclass(frozen=True)
class CodecSensitivity:
    """The finding for one class.

    Attributes:
        name: The class.
        transforms: Results of the transforms whose images the run can predict.
        compressed: AUROC of the traces of JPEG in the original pixels: above ½ this class has more of them.
        finding: "file", "codec", "suspect", "fragile", "steady", "open" or "nothing".
    """

    name: str
    transforms: tuple[TransformResult, ...]
    compressed: Score
    finding: str

    def find(self, transform: str) -> TransformResult | None:
        """The result of one transform; None if the run cannot predict its images."""
        return next((one for one in self.transforms if one.transform == transform), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        transforms = [one.to_dict() for one in self.transforms]
        return {"class": self.name, "result": self.finding, "compressed": self.compressed.to_dict(), "transforms": transforms}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> CodecSensitivity:
        """Read what `to_dict` wrote."""
        transforms = tuple(TransformResult.from_dict(one) for one in content["transforms"])
        return cls(content["class"], transforms, Score.from_dict(content["compressed"]), content["result"])


def measure_sensitivity(
    files: Predictions, recompressed: Mapping[str, PredictionsOrReason], marks: np.ndarray, label: int
) -> CodecSensitivity:
    """Measure the codec sensitivity of one class against all others.

    Args:
        files: Labeled predictions on the original files, with images of the class and of others.
        recompressed: Transform → predictions on the same images, all re-encoded; or the reason why there are none.
        marks: (N,) float64, amount of JPEG traces in the pixels of each original image.
        label: The class.
    """
    own = files.labels == label
    distance = float(files.proba[own, label].mean() - files.proba[~own, label].mean())
    found = tuple(
        _transform_result(transform, files, after, label, distance)
        for transform, after in recompressed.items()
        if isinstance(after, Predictions)
    )
    known = found[0].aurocs["none"].low > 0.5 if found else False
    ranks = np.unique(marks, return_inverse=True)[1]  # as shares: a score need not be a probability
    compressed = _auroc(files, (ranks + 0.5) / len(marks), own)
    finding = _finding({one.transform: one for one in found}, compressed) if known else "nothing"
    return CodecSensitivity(files.classes[label], found, compressed, finding)


def _finding(found: Mapping[str, TransformResult], compressed: Score) -> str:
    resaved, jpeg, scale = (found.get(transform) for transform in TRANSFORMS)
    if resaved is not None and (resaved.direction or resaved.flips.low > _FLIPS):
        return "file"
    pushes = (jpeg.direction if jpeg else 0, scale.direction if scale else 0)
    if pushes[0] * pushes[1] < 0 or (jpeg is not None and jpeg.together and not pushes[1] and _comes_back(jpeg)):
        return "codec"
    if pushes[0] and pushes[0] == int(compressed.low > _MARKED) - int(compressed.high < 1 - _MARKED):
        return "suspect"
    changes = [one.change for one in (jpeg, scale) if one is not None]
    if any(change.high < 0 and change.value <= -_LOSS for change in changes):
        return "fragile"
    return "steady" if changes and all(change.low > -_RULED_OUT for change in changes) else "open"


def _comes_back(found: TransformResult) -> bool:
    """Whether the AUROC drops if one class is re-encoded, and less if both are."""
    return min(found.aurocs["own"].value, found.aurocs["others"].value) + _BACK <= found.aurocs["both"].value


def _transform_result(transform: str, files: Predictions, after: Predictions, label: int, distance: float) -> TransformResult:
    own = files.labels == label
    before, now = (of.proba[:, label].astype(np.float64) for of in (files, after))
    was_right, right = ((of.predicted == label) == own for of in (files, after))

    def side(rows: np.ndarray) -> ClassShift:
        groups, shift = _groups(files, rows), _mean(now[rows] - before[rows], _groups(files, rows))
        shares = _share(was_right[rows], groups), _share(right[rows], groups)
        return ClassShift(int(rows.sum()), float(before[rows].mean()), shift, _counted_direction(shift, distance), *shares)

    chosen = {"none": np.zeros(len(own), bool), "own": own, "others": ~own, "both": np.ones(len(own), bool)}
    aurocs = {name: _auroc(files, np.where(rows, now, before), own) for name, rows in chosen.items()}
    change = paired_difference(right, was_right, files.groups)
    return TransformResult(
        transform, side(own), side(~own), aurocs, change, _share(right != was_right, files.groups, worse=True)
    )


def _counted_direction(shift: Score, distance: float) -> int:
    """The direction of a counted shift, else 0."""
    if distance <= 0 or abs(shift.value) < _NOTICEABLE * distance:
        return 0
    return int(shift.low > 0) - int(shift.high < 0)


def _groups(predictions: Predictions, rows: np.ndarray) -> np.ndarray | None:
    return None if predictions.groups is None else predictions.groups[rows]


def _mean(values: np.ndarray, groups: np.ndarray | None) -> Score:
    """A mean with its t interval, over groups if there are any."""
    codes = group_codes(groups)
    codes = np.arange(len(values)) if codes is None else codes
    mean = float(values.mean())
    parts = np.bincount(codes, weights=(values - mean) / len(values))
    strata = np.zeros(len(parts), np.int64)
    return Score(mean, len(values), *difference_interval(mean, variance_within(parts, strata), strata))


def _share(flags: np.ndarray, groups: np.ndarray | None, *, worse: bool = False) -> Score:
    """A share with Wilson's interval; with groups, for the effective number of images."""
    return Score(float(flags.mean()), len(flags), *share_interval(flags, group_codes(groups)), higher_is_better=not worse)


def _auroc(files: Predictions, p: np.ndarray, own: np.ndarray) -> Score:
    """AUROC of one class against the others. `p`: (N,) its probability; `own`: (N,) bool."""
    proba = np.stack([1 - p, p], axis=1).astype(np.float32)
    return score_all(Predictions(files.ids, proba, own.astype(np.int64), ("others", "own"), groups=files.groups), "own")[
        "auroc"
    ]
