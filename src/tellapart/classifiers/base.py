"""The contract of a classifier family.

A family is one file with one final class. `__init__` only stores its arguments; `fit` does not depend on earlier fits;
`predict` gives the same probabilities in any order and batch size and does not use labels; `save` and `load` use safetensors,
JSON and skops, never pickle. `tests/contract/` tests every family against this contract.

Two abilities are optional and stated by base classes: `Differentiable` (a network with gradients) and `Exportable` (a torch
module that an exporter can trace).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, final

import numpy as np

from tellapart.data.cache import DecodedImages, PixelCache
from tellapart.errors import RunError
from tellapart.io import write_json, write_text_atomically
from tellapart.plain_data import read_json
from tellapart.progress import SILENT, Progress
from tellapart.recipe.load import Recipe
from tellapart.recipe.schema import OptionsModel
from tellapart.types import ImageTable, Predictions

if TYPE_CHECKING:
    from torch import nn

    from tellapart.classifiers._torch_inference import InferenceModule


@dataclass
class Context:
    """Resources for a fit or a prediction, besides its images.

    Attributes:
        cache: Decodes images, each once.
        progress: Reports the progress of long work.
        device: A torch device: "cpu", "cuda", "mps", …
        folder: Folder for the training state, to resume from; None: the state is not stored.
        log: Called once per epoch with a dict of figures.
        notes: Sentences reported with the result ("stopped by hand after epoch 7").
        facts: Figures of the fit stored beside its cost, as `Run.cost` names them, such as `precision`.
        stopped_by_hand: True after a fit that Ctrl-C ended early; the best weights so far are kept.
        parents: Maps the name of a finished run to its folder; raises RunError.
        checkpoints: Folder for the weights of the best epochs; None: they are not stored.
    """

    cache: PixelCache = field(default_factory=PixelCache)
    progress: Progress = SILENT
    device: str = "cpu"
    folder: Path | None = None
    log: Callable[[dict[str, Any]], None] = lambda _: None
    notes: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    stopped_by_hand: bool = False
    parents: Callable[[str], Path] = Path
    checkpoints: Path | None = None


class Classifier(ABC):
    """A classifier of one family, built from a resolved recipe.

    Attributes:
        recipe: The resolved recipe.
        classes: Names of the C classes; empty before `fit`.
    """

    #: Sections of a recipe that this family uses, besides inputs, classifier and seed.
    sections: ClassVar[frozenset[str]] = frozenset()
    #: Sections that it uses only if a recipe has them.
    optional: ClassVar[frozenset[str]] = frozenset()

    class Options(OptionsModel):
        """Options under `classifier:`, besides `family`."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.classes: tuple[str, ...] = ()

    @classmethod
    def options_model(cls, raw: dict[str, Any]) -> type[OptionsModel]:
        """The options model that validates `raw`; override it if the options depend on one of them."""
        del raw
        return cls.Options

    @classmethod
    def check(cls, recipe: Recipe) -> None:
        """Raise RecipeError if a resolved recipe is invalid for any data; called before images are decoded."""
        del recipe

    @property
    def options(self) -> OptionsModel:
        """The checked options."""
        raw = self.recipe.classifier.options
        return self.options_model(raw).model_validate(raw)

    @final
    def fit(self, train: ImageTable, valid: ImageTable, context: Context) -> Self:
        """Fit to `train`. `valid` is used only for selection (a checkpoint, a temperature) and may lack classes."""
        self.classes = train.classes
        self._fit(train, valid, context)
        return self

    @final
    def predict(self, table: ImageTable, context: Context, run_id: str = "") -> Predictions:
        """Predict probabilities for every row of `table`, in its order. Labels are passed through, not used."""
        if not self.classes:
            raise RunError("this classifier has not been fitted yet", hint="call fit(train, valid, context) first")
        proba = self._proba(table, context).astype(np.float64)
        proba = (proba / proba.sum(axis=1, keepdims=True)).astype(np.float32)
        return Predictions(table.ids, proba, table.labels, self.classes, run_id, groups_of(table))

    @final
    def save(self, folder: Path) -> None:
        """Write everything that `load` needs."""
        folder.mkdir(parents=True, exist_ok=True)
        write_text_atomically(folder / "recipe.yaml", self.recipe.dump(), durable=False)
        write_json(folder / "classifier.json", {"classes": self.classes})
        self._save(folder)

    @final
    @classmethod
    def load(cls, folder: Path, recipe: Recipe) -> Self:
        """Load a classifier from the folder that `save` wrote."""
        classifier = cls(recipe)
        classifier.classes = tuple(read_json(folder / "classifier.json")["classes"])
        classifier._load(folder)
        return classifier

    @property
    def parameters(self) -> int:
        """Number of fitted or stored values."""
        return 0

    @property
    def pretrained(self) -> str:
        """Source of the pretrained weights; "no" if there are none."""
        return "no"

    @abstractmethod
    def _fit(self, train: ImageTable, valid: ImageTable, context: Context) -> None:
        """Fit; overwrite every attribute of an earlier fit. `self.classes` is set already."""

    @abstractmethod
    def _proba(self, table: ImageTable, context: Context) -> np.ndarray:
        """Predict (N, C) values, non-negative and finite; the caller scales the rows to sum to 1."""

    @abstractmethod
    def _save(self, folder: Path) -> None:
        """Write the fitted attributes; recipe and classes are written already."""

    @abstractmethod
    def _load(self, folder: Path) -> None:
        """Read what `_save` wrote."""

    def _images(self, table: ImageTable, context: Context) -> DecodedImages:
        """The decoded images of a table, (N, H, W, C) uint8, as the recipe's `inputs` section says."""
        return context.cache.images(table, self.recipe.inputs)


def groups_of(table: ImageTable) -> np.ndarray | None:
    """The group of each row, (N,) object, or None without such a column; an empty cell is a group of its own, as in `split`."""
    if "group" not in table.frame:
        return None
    groups = table.frame["group"].astype(object)
    return groups.where(groups.notna() & (groups != ""), "\0" + table.frame["id"].astype(object)).to_numpy(dtype=object)


class Differentiable(ABC):
    """A classifier with a network, whose gradients can be used to explain predictions."""

    @abstractmethod
    def module(self) -> nn.Module:
        """The network in evaluation mode, on the CPU: (B, C, H, W) uint8, or float in 0 … 255 → (B, classes) logits.

        Raises:
            RunError: The network was trained on features, so no gradient reaches the pixels.
        """

    @abstractmethod
    def reinitialized(self, seed: int) -> Classifier:
        """A copy with random weights, for sanity checks of explanations."""


class Exportable(ABC):
    """A classifier that can be one torch module, from pixels to probabilities, that an exporter can trace.

    This module imports torch nowhere: ensembles and calibrated runs are created without it.
    """

    @abstractmethod
    def inference_module(self, context: Context) -> InferenceModule:
        """The module in evaluation mode, on the CPU; it shares the weights of the classifier.

        Args:
            context: Finds other runs.

        Raises:
            RunError: A component cannot be exported as a graph; the message says which, and what to do instead.
        """


def as_module(classifier: Classifier, context: Context, whose: str = "") -> InferenceModule:
    """The inference module of any classifier.

    Args:
        classifier: Fitted.
        context: Finds other runs.
        whose: Prefix of the error message.

    Raises:
        RunError: The family has no network on whole images, or a component cannot be exported as a graph.
    """
    if isinstance(classifier, Exportable):
        return classifier.inference_module(context)
    family = classifier.recipe.classifier.family
    reason = "does not use pixels" if family == "metadata" else "has no network on whole images"
    raise RunError(
        f"{whose}the family {family} {reason}, so there is no graph to export",
        hint="export a run of the family network; this one can be used with `tellapart predict` and `serve`, or from Python",
    )
