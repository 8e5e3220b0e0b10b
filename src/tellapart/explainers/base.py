"""What an explainer promises: for a picture and a class, a map of where the evidence for the class lies.

A map says what the classifier reacts to, not what is true; `_faithfulness` measures how far it can be believed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np

from tellapart.data.regions import Cut
from tellapart.explainers._model import ExplainedModel
from tellapart.explainers.faithfulness import Faithfulness
from tellapart.recipe.schema import OptionsModel


@dataclass(frozen=True, eq=False)
class Heatmap:
    """How much each pixel of a picture speaks for a class.

    Attributes:
        values: (H, W) float32 in [0, 1], of the picture's own size; all 0 where nothing speaks for the class.
        class_name: The class.
        method: The explainer's name.
    """

    values: np.ndarray
    class_name: str
    method: str


class Explainer(ABC):
    """One method. One file each; the file name is the name for `--method`."""

    class Options(OptionsModel):
        """Options of the method."""

    def __init__(self, options: OptionsModel | None = None, seed: int = 0) -> None:
        self.options: Any = options or self.Options()
        self.seed = seed

    @final
    def __call__(self, subject: ExplainedModel, image: np.ndarray, label: int) -> Heatmap:
        """Explain one answer.

        Args:
            subject: The classifier.
            image: (H, W, 3) uint8 RGB, at its own size.
            label: The class whose evidence is asked for.

        Raises:
            RunError: The method needs a network, and this is none.
        """
        found = np.maximum(np.nan_to_num(self._values(subject, image, label)), 0).astype(np.float32)
        most = float(found.max(initial=0))
        return Heatmap(found / most if most > 0 else found, subject.classes[label], type(self).name())

    @classmethod
    def name(cls) -> str:
        """The name under which it is registered."""
        return cls.__module__.rpartition(".")[2]

    @abstractmethod
    def _values(self, subject: ExplainedModel, image: np.ndarray, label: int) -> np.ndarray:
        """(H, W) float of any scale; what is below 0 counts as 0."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """One map of one picture.

    Attributes:
        image: What the picture was called.
        pixels: (H, W, 3) uint8; of a very large picture a smaller version, at which it was explained.
        answer: The most probable class.
        proba: Class name → probability.
        heatmap: The map, of the class that it names.
        scores: Of this map and of the controls "noise" and "untrained", where asked for and possible.
        pointing: Whether the highest pixel lies in the given mask, of each of them; empty without a mask.
        iou: Of the mask and as many of the highest pixels, of each of them; empty without a mask.
        mask_share: The share of the picture that the mask covers; None without one.
        shrunk_from: (height, width) of what was explained, where it was too large to be explained at its own size.
        part: Left, top, right and bottom of what was explained, in pixels of the picture, where the run reads a part only.
    """

    image: str
    pixels: np.ndarray
    answer: str
    proba: dict[str, float]
    heatmap: Heatmap
    scores: dict[str, Faithfulness] = field(default_factory=dict)
    pointing: dict[str, bool] = field(default_factory=dict)
    iou: dict[str, float] = field(default_factory=dict)
    mask_share: float | None = None
    shrunk_from: tuple[int, int] | None = None
    part: Cut | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without pixels and map."""
        return {
            "image": self.image, "answer": self.answer, "probabilities": self.proba, "class": self.heatmap.class_name,
            "method": self.heatmap.method, "scores": {name: s.to_dict() for name, s in self.scores.items()},
            "pointing": self.pointing, "iou": self.iou, "mask_share": self.mask_share,
            "shrunk_from": list(self.shrunk_from) if self.shrunk_from else None,
            "part": list(self.part) if self.part else None,
        }  # fmt: skip
