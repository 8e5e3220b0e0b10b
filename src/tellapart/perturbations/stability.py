"""Does a run say the same of a picture when the picture arrives another way? One photo, five deliveries.

    as is       the file itself
    JPEG 90     decoded, written again as JPEG at quality 90
    JPEG 70     likewise at quality 70
    scaled 3/4  both sides times 0.75 and back, as PNG
    scaled 1/2  both sides times 0.5 and back, as PNG

The damages are those of `perturbations/kinds.py`. What a run says is its verdict where it has one, else its most probable
class. A picture is stable when of all four others the same is said as of the file itself. That is no promise of being right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tellapart.data.decode import decode, header, quiet
from tellapart.errors import ImageError
from tellapart.inference.decision import DecisionRule
from tellapart.inference.prediction import Recompression, Stability
from tellapart.inference.predictor import Predictor
from tellapart.perturbations.kinds import PERTURBATIONS
from tellapart.recipe.schema import Inputs

AS_IS = "as is"
_JPEG, _SCALE = PERTURBATIONS["jpeg"].apply, PERTURBATIONS["scale"].apply
_WAYS: dict[str, Callable[[np.ndarray], bytes]] = {
    "JPEG 90": lambda pixels: _JPEG(pixels, 90, ""),
    "JPEG 70": lambda pixels: _JPEG(pixels, 70, ""),
    "scaled 3/4": lambda pixels: _SCALE(pixels, 0.75, ""),
    "scaled 1/2": lambda pixels: _SCALE(pixels, 0.5, ""),
}
#: Names of the deliveries; the file itself comes first.
RECOMPRESSIONS = (AS_IS, *_WAYS)


def stability(answerer: Predictor, content: bytes, name: str = "image", judge: DecisionRule | None = None) -> Stability:
    """Ask about one picture in all deliveries.

    Args:
        answerer: A run.
        content: An encoded file.
        name: For errors.
        judge: Of that run; None: it is read from the run.

    Raises:
        ImageError: The file cannot be decoded.
    """
    with quiet():
        files = recompress(content, name, Inputs.model_validate(answerer.run.recipe["inputs"]))
    answers = answerer.predict_batch(files, [name] * len(files))
    if answers.problems:
        raise ImageError(name, answers.problems[0].message)
    return summarize(answers.proba, DecisionRule(answerer.run) if judge is None else judge)


def recompress(content: bytes, name: str, inputs: Inputs) -> list[bytes]:
    """The files of all `DELIVERIES` of one picture. Threads may call it, inside `quiet`.

    Args:
        content: An encoded file.
        name: For errors.
        inputs: Of the run: how many pixels an image may have.

    Raises:
        ImageError: It cannot be decoded.
    """
    gray = header(content, name)[2]
    pixels = decode(content, mode="gray" if gray else "rgb", path=name, max_pixels=inputs.max_pixels)
    return [content, *(way(pixels) for way in _WAYS.values())]


def summarize(proba: np.ndarray, judge: DecisionRule) -> Stability:
    """What the answers to one picture's deliveries come to.

    Args:
        proba: (D, C) float32, in the order of `DELIVERIES`.
        judge: Of the run that answered.
    """
    said = _said(proba, judge)
    labels = proba.argmax(axis=1)
    deliveries = tuple(
        Recompression(name, judge.classes[label], word, row)
        for name, label, word, row in zip(RECOMPRESSIONS, labels, said, proba, strict=True)
    )
    of_class = proba[:, labels[0]]
    kept = sum(word == said[0] for word in said[1:])
    return Stability(deliveries, kept, len(said) - 1, float(of_class.min()), float(of_class.max()))


def _said(proba: np.ndarray, judge: DecisionRule) -> Sequence[str]:
    """D verdicts, or most probable classes."""
    verdicts = judge(proba)
    if verdicts is None:
        return [judge.classes[label] for label in proba.argmax(axis=1)]
    return [str(name) for name in verdicts.names]
