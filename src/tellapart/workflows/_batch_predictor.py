"""Predict any number of images in their order, batch by batch: a batch is read ahead, predicted, and dropped."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, final

import numpy as np

from tellapart.data.decode import quiet, target_size
from tellapart.errors import ImageError
from tellapart.inference.decision import DecisionRule
from tellapart.inference.image_sources.base import ImageRef, Source
from tellapart.inference.prediction import ImagePrediction
from tellapart.inference.predictor import Predictor
from tellapart.inference.prefetch import Batch, BatchLimit, prefetch
from tellapart.perturbations.kinds import as_png
from tellapart.perturbations.recompression import RECOMPRESSIONS, recompress
from tellapart.perturbations.stability import summarize
from tellapart.recipe.schema import Inputs

#: Without stability: several of a predictor's own batches, which decodes one while it computes another.
PLAIN = BatchLimit(1024, 64 * 2**20)
#: With five versions of each image, two of them PNG, 10 × as large as the JPEG they were made from.
WITH_STABILITY = BatchLimit(16, 8 * 2**20)
_PIXELS = 128 * 2**20  # bytes at the input size of the run: a predictor may hold a batch decoded


@final
class BatchPredictor:
    """Predicts batches of images with one run.

    Args:
        predictor: The loaded run.
        stability: Whether to predict re-saved versions of each image, too.

    Attributes:
        rule: The decision rule of the run.
        limit: Size of a batch.
    """

    def __init__(self, predictor: Predictor, stability: bool = False) -> None:
        self.predictor, self.rule = predictor, DecisionRule(predictor.run)
        self._predict = self._with_stability if stability else self._plain
        self._inputs = Inputs.model_validate(predictor.run.recipe["inputs"])
        self.limit = WITH_STABILITY if stability else _plain_limit(self._inputs)

    def batches(self, items: Iterable[ImageRef | Source]) -> Generator[list[ImagePrediction]]:
        """Predictions for images, a batch at a time, unreadable images included."""
        with prefetch(items, self.limit) as read:
            for batch in read:
                yield self.predict(batch)

    def predict(self, batch: Batch) -> list[ImagePrediction]:
        """Predictions for one batch, in its order."""
        found: dict[int, ImagePrediction] = {}
        for kind in (bytes, np.ndarray):  # a predictor takes encoded images, or decoded ones
            rows = [row for row, content in enumerate(batch.contents) if isinstance(content, kind)]
            if rows:
                names = [batch.names[row] for row in rows]
                predictions = self._predict([batch.contents[row] for row in rows], names)
                found |= dict(zip(rows, predictions, strict=True))
        for row, content in enumerate(batch.contents):
            if isinstance(content, ImageError):
                found[row] = ImagePrediction.unreadable(batch.names[row], content.reason)
        return [found[row] for row in range(len(batch.names))]

    def _plain(self, contents: Sequence[Any], names: list[str]) -> list[ImagePrediction]:
        """Predictions for the images as they are."""
        output = self.predictor.predict_batch(contents, names)
        reasons = {problem.where: problem.message for problem in output.problems}
        place = {int(row): at for at, row in enumerate(output.rows)}
        decisions = self.rule(output.proba)
        words = [] if decisions is None else list(zip(decisions.names, decisions.reasons, strict=True))
        found = []
        for row, name in enumerate(names):
            if row not in place:
                found.append(ImagePrediction.unreadable(name, reasons.get(name, "cannot be decoded")))
                continue
            proba = output.proba[place[row]]
            decision, reason = map(str, words[place[row]]) if words else ("", "")
            face = None if output.face_found is None else bool(output.face_found[place[row]])
            found.append(ImagePrediction(name, self.rule.classes[proba.argmax()], proba, decision, reason, face_found=face))
        return found

    def _with_stability(self, contents: Sequence[Any], names: list[str]) -> list[ImagePrediction]:
        """Predictions for the images, each with the stability over its re-saved versions."""
        with quiet(), ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            made = list(pool.map(self._versions, contents, names))
        files = [file for versions in made if not isinstance(versions, ImageError) for file in versions]
        readable = [name for name, versions in zip(names, made, strict=True) if not isinstance(versions, ImageError)]
        several = iter(self._plain(files, [name for name in readable for _ in RECOMPRESSIONS]))
        return [
            ImagePrediction.unreadable(name, versions.reason)
            if isinstance(versions, ImageError)
            else self._summarized([next(several) for _ in RECOMPRESSIONS])
            for name, versions in zip(names, made, strict=True)
        ]

    def _versions(self, content: bytes | np.ndarray, name: str) -> list[bytes] | ImageError:
        if isinstance(content, np.ndarray):
            content = as_png(content if content.ndim == 3 else content[:, :, None])
        try:
            return recompress(content, name, self._inputs.max_pixels)
        except ImageError as error:
            return error

    def _summarized(self, versions: Sequence[ImagePrediction]) -> ImagePrediction:
        """The prediction for the file itself, with the stability over all versions."""
        first = next((one for one in versions if one.error), versions[0])
        if first.error:
            return first
        stability = summarize(np.stack([one.proba for one in versions]), self.rule)
        return replace(first, stability=stability)


def _plain_limit(inputs: Inputs) -> BatchLimit:
    """Size of a batch without stability."""
    if inputs.size == "auto":
        return PLAIN
    height, width = target_size(inputs)
    return BatchLimit(max(1, min(PLAIN.images, _PIXELS // (3 * height * width))), PLAIN.bytes)
