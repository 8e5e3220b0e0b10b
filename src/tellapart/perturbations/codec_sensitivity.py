"""Does a run read the codec, or is it merely fragile? What is found when one class is written anew, then the other, then both.

Answers are given image by image, so "only this class" is the answers on its images written anew, beside the old answers on all
others. Of a class c against the others:

    shift       mean change of the probability of c, of the images of c and of the others; paired, with its interval
    counted     the interval leaves out 0, and the shift is at least a tenth of the distance between the two means
    push        of a way: towards c (+), away from c (−), or neither, where the two counted shifts disagree or there is none

What tells the two apart: JPEG brings the marks of a codec, rescaling takes them away, and both take fine detail. A run that
reads the codec is pushed one way by the one and the other way by the other; a run that has lost what it saw is pushed the same
way by both, or towards the middle. A run that changes its mind when not one pixel does reads the file.

    file        a lossless copy, as PNG, shifts the answers or turns verdicts
    codec       JPEG and rescaling push in opposite directions; or JPEG moves both classes one way, rescaling does not, and
                what ranking loses when one class is written anew it gets back when both are
    suspect     neither, but JPEG pushes towards the class that carries more traces of JPEG already: on such data reading the
                codec, and going by something that compression destroys, look the same
    fragile     not so, and more answers are wrong when both classes are written anew
    steady      none of these, and a loss of right answers worth speaking of is ruled out
    open        none of these: too few images, or groups, to rule it out
    nothing     the run does not tell this class from the others to begin with
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tellapart.metrics.intervals import Interval, difference_interval, group_codes, variance_within, wilson
from tellapart.metrics.mcnemar import paired_difference
from tellapart.metrics.score_all import score_all
from tellapart.types import Predictions, Score

if TYPE_CHECKING:
    from tellapart.perturbations._predict import PredictionsOrReason

#: Ways of writing an image anew: "png" changes no pixel.
RESAVED, COMPRESSED, RESCALED = "png", "jpeg", "scale"
TRANSFORMS = (RESAVED, COMPRESSED, RESCALED)
#: Worst first.
FINDINGS = ("file", "codec", "suspect", "fragile", "open", "steady", "nothing")
_NOTICEABLE = 0.1  # of the distance between the classes
_LOSS = 0.02  # of the answers: a smaller loss is not called one, however sure it is
_RULED_OUT = 0.1  # of the answers: a run whose loss may be larger is not called steady
_FLIPS = 0.05  # of the verdicts, by the lower end of their interval
_MARKED = 0.6  # AUROC: with less the classes do not differ in how they were compressed
_BACK = 0.05  # of AUROC, when both are written anew


@dataclass(frozen=True)
class ClassShift:
    """The images of one side, before and after they are written anew.

    Attributes:
        n: Images.
        before: Mean probability of the class in question, as the files are.
        shift: Mean change of it.
        counted: Direction of a shift that counts, −1 or +1; else 0.
        right_before: Share answered right: as the class, or as any of the others.
        right: The same afterwards.
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
    """One way of writing anew, seen from one class.

    Attributes:
        way: "png", "jpeg" or "scale".
        own: The images of the class.
        others: All other images.
        aurocs: Of the class against the others, when "none", "own", "others" or "both" are written anew.
        change: Right answers when both are written anew, less those as the files are.
        flips: Share of the images whose side changes when both are.
    """

    transform: str
    own: ClassShift
    others: ClassShift
    aurocs: dict[str, Score]
    change: Score
    flips: Score

    @property
    def direction(self) -> int:
        """+1 towards the class, −1 away from it, 0 neither, or each side another way."""
        return 0 if self.own.counted * self.others.counted < 0 else self.own.counted or self.others.counted

    @property
    def together(self) -> bool:
        """Whether both sides are shifted, and the same way."""
        return self.own.counted * self.others.counted > 0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "way": self.transform, "own": self.own.to_dict(), "others": self.others.to_dict(),
            "aurocs": {name: score.to_dict() for name, score in self.aurocs.items()},
            "change": self.change.to_dict(), "flips": self.flips.to_dict(), "push": self.direction,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> TransformResult:
        """Read what `to_dict` wrote."""
        return cls(
            content["way"], ClassShift.from_dict(content["own"]), ClassShift.from_dict(content["others"]),
            {name: Score.from_dict(score) for name, score in content["aurocs"].items()},
            Score.from_dict(content["change"]), Score.from_dict(content["flips"]),
        )  # fmt: skip


@dataclass(frozen=True)
class CodecSensitivity:
    """What one class depends on.

    Attributes:
        name: The class.
        ways: One each that the run can answer.
        compressed: AUROC of the traces of JPEG in the pixels as they are: above ½ this class has more of them.
        verdict: "file", "codec", "suspect", "fragile", "steady", "open" or "nothing".
    """

    name: str
    transforms: tuple[TransformResult, ...]
    compressed: Score
    finding: str

    def find(self, way: str) -> TransformResult | None:
        """One way; None where the run could not answer."""
        return next((one for one in self.transforms if one.transform == way), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        ways = [one.to_dict() for one in self.transforms]
        return {"class": self.name, "verdict": self.finding, "compressed": self.compressed.to_dict(), "ways": ways}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> CodecSensitivity:
        """Read what `to_dict` wrote."""
        ways = tuple(TransformResult.from_dict(one) for one in content["ways"])
        return cls(content["class"], ways, Score.from_dict(content["compressed"]), content["verdict"])


def measure_sensitivity(
    files: Predictions, recompressed: Mapping[str, PredictionsOrReason], marks: np.ndarray, label: int
) -> CodecSensitivity:
    """One class against all others.

    Args:
        files: Labeled answers on the files as they are; both sides occur.
        answers: Way → answers on the same images, all written anew; or why there are none.
        marks: (N,) float64, the more, the more traces of JPEG in the pixels of each image as it is.
        label: The class.
    """
    own = files.labels == label
    distance = float(files.proba[own, label].mean() - files.proba[~own, label].mean())
    found = tuple(
        _transform_result(way, files, after, label, distance)
        for way, after in recompressed.items()
        if isinstance(after, Predictions)
    )
    known = found[0].aurocs["none"].low > 0.5 if found else False
    ranks = np.unique(marks, return_inverse=True)[1]  # as shares: what ranks need not be a probability
    compressed = _auroc(files, (ranks + 0.5) / len(marks), own)
    verdict = _finding({one.transform: one for one in found}, compressed) if known else "nothing"
    return CodecSensitivity(files.classes[label], found, compressed, verdict)


def _finding(found: Mapping[str, TransformResult], compressed: Score) -> str:
    resaved, jpeg, scale = (found.get(way) for way in TRANSFORMS)
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
    """Whether ranking suffers when one class is written anew, and less so when both are."""
    return min(found.aurocs["own"].value, found.aurocs["others"].value) + _BACK <= found.aurocs["both"].value


def _transform_result(way: str, files: Predictions, after: Predictions, label: int, distance: float) -> TransformResult:
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
    return TransformResult(way, side(own), side(~own), aurocs, change, _share(right != was_right, files.groups, worse=True))


def _counted_direction(shift: Score, distance: float) -> int:
    """The direction of a shift that counts, else 0."""
    if distance <= 0 or abs(shift.value) < _NOTICEABLE * distance:
        return 0
    return int(shift.low > 0) - int(shift.high < 0)


# --- figures ----------------------------------------------------------------------------------------------------------


def _groups(predictions: Predictions, rows: np.ndarray) -> np.ndarray | None:
    return None if predictions.groups is None else predictions.groups[rows]


def _mean(values: np.ndarray, groups: np.ndarray | None) -> Score:
    """A mean with its t interval; groups are what varies, where there are any."""
    codes = group_codes(groups)
    codes = np.arange(len(values)) if codes is None else codes
    mean = float(values.mean())
    parts = np.bincount(codes, weights=(values - mean) / len(values))
    strata = np.zeros(len(parts), np.int64)
    return Score(mean, len(values), *difference_interval(mean, variance_within(parts, strata), strata))


def _share(flags: np.ndarray, groups: np.ndarray | None, *, worse: bool = False) -> Score:
    """A share: Wilson's interval; over groups the t interval, cut to [0, 1]."""
    found = _mean(flags.astype(np.float64), groups)
    ends: Interval = (max(0.0, found.low), min(1.0, found.high))
    if group_codes(groups) is None:
        ends = wilson(int(flags.sum()), len(flags))
    return Score(found.value, len(flags), *ends, higher_is_better=not worse)


def _auroc(files: Predictions, p: np.ndarray, own: np.ndarray) -> Score:
    """Of one class against the others. `p`: (N,) its probability; `own`: (N,) bool."""
    proba = np.stack([1 - p, p], axis=1).astype(np.float32)
    return score_all(Predictions(files.ids, proba, own.astype(np.int64), ("others", "own"), groups=files.groups), "own")[
        "auroc"
    ]
