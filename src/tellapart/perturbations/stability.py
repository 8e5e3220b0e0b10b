"""Stability of a prediction: does it change when the image is compressed or scaled again?

The five versions of an image are those of `perturbations/recompression.py`.

The decision of a run is that of its rules if it has any, else its
most probable class. An image is stable if all four other versions get the same decision as the file itself. A stable decision
may still be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tellapart.data.decode import quiet
from tellapart.errors import ImageError
from tellapart.inference.decision import DecisionRule
from tellapart.inference.prediction import Recompression, Stability
from tellapart.inference.predictor import Predictor
from tellapart.perturbations.recompression import RECOMPRESSIONS, recompress
from tellapart.recipe.schema import Inputs


def stability(predictor: Predictor, content: bytes, name: str = "image", rule: DecisionRule | None = None) -> Stability:
    """Predict all versions of one image.

    Args:
        predictor: A loaded run.
        content: An encoded file.
        name: Name of the image in errors.
        rule: The decision rule of that run; None: it is read from the run.

    Raises:
        ImageError: The file cannot be decoded.
    """
    with quiet():
        files = recompress(content, name, Inputs.model_validate(predictor.run.recipe["inputs"]).max_pixels)
    output = predictor.predict_batch(files, [name] * len(files))
    if output.problems:
        raise ImageError(name, output.problems[0].message)
    return summarize(output.proba, DecisionRule(predictor.run) if rule is None else rule)


def summarize(proba: np.ndarray, rule: DecisionRule) -> Stability:
    """The stability of the predictions for the versions of one image.

    Args:
        proba: (V, C) float32, rows sum to 1, in the order of `RECOMPRESSIONS`.
        rule: The decision rule of the run.
    """
    decided = _decided(proba, rule)
    labels = proba.argmax(axis=1)
    versions = tuple(
        Recompression(name, rule.classes[label], decision, row)
        for name, label, decision, row in zip(RECOMPRESSIONS, labels, decided, proba, strict=True)
    )
    of_class = proba[:, labels[0]]
    unchanged = sum(decision == decided[0] for decision in decided[1:])
    return Stability(versions, unchanged, len(decided) - 1, float(of_class.min()), float(of_class.max()))


def _decided(proba: np.ndarray, rule: DecisionRule) -> Sequence[str]:
    """V decisions, or most probable classes."""
    decisions = rule(proba)
    if decisions is None:
        return [rule.classes[label] for label in proba.argmax(axis=1)]
    return [str(name) for name in decisions.names]
