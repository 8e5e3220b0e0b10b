"""The prediction for one image, and how stable it is when the image is compressed or scaled again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class ImagePrediction:
    """What a run says of one image; of one that could not be read, why.

    Attributes:
        image: Its name.
        answer: The most probable class; "" of one that could not be read.
        proba: (C,) float32; empty likewise.
        verdict: Of a run that has rules: a class, or "unsure"; else "".
        because: The rule that said so; else "".
        stability: Over deliveries, where it was asked for.
        error: Why it could not be read; else "".
    """

    image: str
    answer: str
    proba: np.ndarray
    verdict: str = ""
    because: str = ""
    stability: Stability | None = None
    error: str = ""

    def to_dict(self, classes: Sequence[str]) -> dict[str, Any]:
        """Plain JSON values; only what there is. `classes`: C names."""
        if self.error:
            return {"image": self.image, "error": self.error}
        said = {"verdict": self.verdict, "because": self.because} if self.verdict else {}
        found = {} if self.stability is None else {"stability": self.stability.to_dict()}
        proba = dict(zip(classes, map(float, self.proba), strict=True))
        return {"image": self.image, "answer": self.answer, **said, "probabilities": proba, **found}


@dataclass(frozen=True, eq=False)
class Recompression:
    """One way in which a picture arrived.

    Attributes:
        name: One of `DELIVERIES`.
        answer: The most probable class.
        said: The verdict of a run that has one, else the answer.
        proba: (C,) float32.
    """

    name: str
    answer: str
    said: str
    proba: np.ndarray


@dataclass(frozen=True, eq=False)
class Stability:
    """What a run says of all deliveries of one picture.

    Attributes:
        deliveries: The file itself first.
        kept: In how many of the others the run says the same as of the file itself.
        of: How many others there are.
        lowest, highest: Probability, over all deliveries, of the class that is most probable for the file itself.
    """

    deliveries: tuple[Recompression, ...]
    kept: int
    of: int
    lowest: float
    highest: float

    @property
    def stable(self) -> bool:
        """Whether nothing changed sides."""
        return self.kept == self.of

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; of each delivery what was said and the probability of the class in question."""
        first = self.deliveries[0]
        label = int(first.proba.argmax())
        said = [{"delivery": d.name, "said": d.said, "probability": float(d.proba[label])} for d in self.deliveries]
        found = {"kept": self.kept, "of": self.of, "stable": self.stable, "lowest": self.lowest, "highest": self.highest}
        return {**found, "class": first.answer, "deliveries": said}
