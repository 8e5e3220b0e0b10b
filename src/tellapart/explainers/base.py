"""The contract of explainers: for an image and a class, a map of the evidence for the class.

A map shows what the classifier reacts to, not what is true; `faithfulness.py` measures how faithful it is to the classifier.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from tellapart.explainers._model import ExplainedModel
from tellapart.recipe.schema import OptionsModel


@dataclass(frozen=True, eq=False)
class Heatmap:
    """The importance of each pixel of an image for a class.

    Attributes:
        values: (H, W) float32 in [0, 1], at the size of the image; all 0 if there is no evidence for the class.
        class_name: The class.
        method: The explainer's name.
    """

    values: np.ndarray
    class_name: str
    method: str


class Explainer(ABC):
    """Base class of all explainers. One file each; the file name is the name for `--method`."""

    class Options(OptionsModel):
        """Options of the method."""

    def __init__(self, options: OptionsModel | None = None, seed: int = 0) -> None:
        self.options: Any = options or self.Options()  # a method with options narrows this: `options: Options`
        self.seed = seed

    @final
    def __call__(self, model: ExplainedModel, image: np.ndarray, label: int) -> Heatmap:
        """Explain one prediction.

        Args:
            model: The classifier.
            image: (H, W, 3) uint8 RGB, at its original size.
            label: The class to explain.

        Raises:
            RunError: The method needs a network, and the classifier is not one.
        """
        found = np.maximum(np.nan_to_num(self._values(model, image, label)), 0).astype(np.float32)
        most = float(found.max(initial=0))
        return Heatmap(found / most if most > 0 else found, model.classes[label], type(self).name())

    @classmethod
    def name(cls) -> str:
        """The registered name: the name of the module."""
        return cls.__module__.rpartition(".")[2]

    @abstractmethod
    def _values(self, model: ExplainedModel, image: np.ndarray, label: int) -> np.ndarray:
        """Compute the map: (H, W) float of any scale; values below 0 are set to 0."""
