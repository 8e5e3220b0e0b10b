"""The ability to leave tellapart as a graph. No torch here: ensembles and calibrations of runs are made without it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from tellapart.classifiers.base import Classifier, Context

if TYPE_CHECKING:
    from tellapart.classifiers._torch_inference import InferenceModule


class Exportable(ABC):
    """It can answer as one torch module, from pixels to probabilities, that an exporter can trace."""

    @abstractmethod
    def answering(self, context: Context) -> InferenceModule:
        """The module, in evaluation mode, on the CPU; its weights are those of the classifier, not copies.

        Args:
            context: For finding other runs.

        Raises:
            RunError: A part of it cannot be written as a graph; says which, and what to do instead.
        """


def as_module(classifier: Classifier, context: Context, whose: str = "") -> InferenceModule:
    """The module of any classifier. `whose`: begins what is said where there is none.

    Raises:
        RunError: Its family answers without a network, or a part of it cannot be written as a graph.
    """
    from tellapart.errors import RunError

    if isinstance(classifier, Exportable):
        return classifier.answering(context)
    family = classifier.recipe.classifier.family
    reason = "never looks at pixels" if family == "metadata" else "answers without a network on whole pictures"
    raise RunError(
        f"{whose}the family {family} {reason}, so there is no graph to export",
        hint="export a run of the family network; this one can be used with `tellapart predict` and `serve`, or from Python",
    )
