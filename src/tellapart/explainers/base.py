"""What an explainer promises: for a picture and a class, a map of where the evidence for the class lies.

A map says what the classifier reacts to, not what is true; `_faithfulness` measures how far it can be believed.
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
    def __call__(self, model: ExplainedModel, image: np.ndarray, label: int) -> Heatmap:
        """Explain one answer.

        Args:
            model: The classifier.
            image: (H, W, 3) uint8 RGB, at its own size.
            label: The class whose evidence is asked for.

        Raises:
            RunError: The method needs a network, and this is none.
        """
        found = np.maximum(np.nan_to_num(self._values(model, image, label)), 0).astype(np.float32)
        most = float(found.max(initial=0))
        return Heatmap(found / most if most > 0 else found, model.classes[label], type(self).name())

    @classmethod
    def name(cls) -> str:
        """The name under which it is registered."""
        return cls.__module__.rpartition(".")[2]

    @abstractmethod
    def _values(self, model: ExplainedModel, image: np.ndarray, label: int) -> np.ndarray:
        """(H, W) float of any scale; what is below 0 counts as 0."""
