"""The prediction for one image, and how stable it is when the image is compressed or scaled again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class ImagePrediction:
    """The prediction for one image, or why the image cannot be read.

    Attributes:
        image: Name of the image.
        predicted: The most probable class; "" if the image cannot be read.
        proba: (C,) float32, sums to 1; (0,) if the image cannot be read.
        decision: A class or "unsure", if the run has decision rules; else "".
        reason: The rule that decided; else "".
        stability: Stability over re-saved versions of the image, if requested.
        error: Why the image cannot be read; else "".
        face_found: Whether a face was found in the image; None if the run does not read faces.
    """

    image: str
    predicted: str
    proba: np.ndarray
    decision: str = ""
    reason: str = ""
    stability: Stability | None = None
    error: str = ""
    face_found: bool | None = None

    @classmethod
    def unreadable(cls, image: str, error: str) -> ImagePrediction:
        """Create the prediction for an image that cannot be read. `error`: the reason."""
        return cls(image, "", np.zeros(0, np.float32), error=error)

    def to_dict(self, classes: Sequence[str]) -> dict[str, Any]:
        """Plain JSON values, without the fields that are empty. `classes`: C names."""
        if self.error:
            return {"image": self.image, "error": self.error}
        decision = {"decision": self.decision, "reason": self.reason} if self.decision else {}
        stability = {} if self.stability is None else {"stability": self.stability.to_dict()}
        face = {} if self.face_found is None else {"face_found": self.face_found}
        proba = dict(zip(classes, map(float, self.proba), strict=True))
        return {"image": self.image, "predicted": self.predicted, **decision, "probabilities": proba, **face, **stability}


@dataclass(frozen=True, eq=False)
class Recompression:
    """The prediction for one re-saved version of an image.

    Attributes:
        name: One of `RECOMPRESSIONS`.
        predicted: The most probable class.
        decision: A class or "unsure" if the run has decision rules, else `predicted`.
        proba: (C,) float32, sums to 1.
    """

    name: str
    predicted: str
    decision: str
    proba: np.ndarray


@dataclass(frozen=True, eq=False)
class Stability:
    """The predictions for all re-saved versions of one image.

    Attributes:
        versions: The file itself first.
        unchanged: Number of the other versions that get the same decision as the file itself.
        resaved: Number of the other versions.
        lowest, highest: Probability, over all versions, of the class that is most probable for the file itself.
    """

    versions: tuple[Recompression, ...]
    unchanged: int
    resaved: int
    lowest: float
    highest: float

    @property
    def stable(self) -> bool:
        """Whether every version gets the same decision."""
        return self.unchanged == self.resaved

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; of each version its decision and the probability of the class of the file itself."""
        first = self.versions[0]
        label = int(first.proba.argmax())
        versions = [{"version": v.name, "decision": v.decision, "probability": float(v.proba[label])} for v in self.versions]
        return {
            "unchanged": self.unchanged, "resaved": self.resaved, "stable": self.stable, "lowest": self.lowest,
            "highest": self.highest, "class": first.predicted, "versions": versions,
        }  # fmt: skip
