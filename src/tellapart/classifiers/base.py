"""What every classifier family promises, and what it is given.

A family is one file with one final class. `__init__` only stores; `fit` forgets earlier fits; `predict` gives the same answer
in any order and batch size, and never looks at labels; `save` and `load` use safetensors, JSON and skops, never pickle.
`tests/contract/` holds every family to this.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, final

import numpy as np

from tellapart.data.cache import DecodedImages, PixelCache
from tellapart.errors import RunError
from tellapart.progress import SILENT, Progress
from tellapart.recipe.load import Recipe
from tellapart.recipe.schema import OptionsModel
from tellapart.types import ImageTable, Predictions

if TYPE_CHECKING:
    from torch import nn

if TYPE_CHECKING:
    from tellapart.classifiers._torch_inference import InferenceModule


@dataclass
class Context:
    """The surroundings of a fit or a prediction.

    Attributes:
        cache: Where decoded images come from.
        progress: Where long work is reported.
        device: "cpu", "cuda", "mps", … as torch names them.
        folder: The unfinished run, for checkpoints to resume from; None: nothing is kept.
        log: Called with one dict an epoch.
        notes: Sentences that belong beside the result ("stopped by hand after epoch 7").
        stopped_by_hand: Set by a fit that Ctrl-C ended early, with the best so far kept.
        parents: From the name of a finished run to its folder; raises RunError.
        checkpoints: Where the weights of the best epochs are kept for good; None: nowhere.
    """

    cache: PixelCache = field(default_factory=PixelCache)
    progress: Progress = SILENT
    device: str = "cpu"
    folder: Path | None = None
    log: Callable[[dict[str, Any]], None] = lambda _: None
    notes: list[str] = field(default_factory=list)
    stopped_by_hand: bool = False
    parents: Callable[[str], Path] = Path
    checkpoints: Path | None = None


class Classifier(ABC):
    """A classifier of one family, made from a resolved recipe."""

    #: Sections of a recipe that this family uses, beside inputs, classifier and seed.
    sections: ClassVar[frozenset[str]] = frozenset()
    #: Sections that it uses only where a recipe has them.
    optional: ClassVar[frozenset[str]] = frozenset()

    class Options(OptionsModel):
        """Options under `classifier:`, beside `family`."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.classes: tuple[str, ...] = ()

    @classmethod
    def options_model(cls, raw: dict[str, Any]) -> type[OptionsModel]:
        """The model that checks `raw`; families whose options depend on one of them override it."""
        del raw
        return cls.Options

    @classmethod
    def check(cls, recipe: Recipe) -> None:
        """Raise RecipeError for what is wrong with a resolved recipe whatever the data, before any image is decoded."""
        del recipe

    @property
    def options(self) -> Any:
        """The checked options."""
        raw = self.recipe.classifier.options
        return self.options_model(raw).model_validate(raw)

    @final
    def fit(self, train: ImageTable, valid: ImageTable, context: Context) -> Self:
        """Learn from `train`; `valid` may only choose (a checkpoint, a temperature), and may lack classes."""
        self.classes = train.classes
        self._fit(train, valid, context)
        return self

    @final
    def predict(self, table: ImageTable, context: Context, run_id: str = "") -> Predictions:
        """Probabilities for every row of `table`, in its order. Labels are passed through, never used."""
        if not self.classes:
            raise RunError("this classifier has not been fitted yet", hint="call fit(train, valid, context) first")
        proba = self._proba(table, context).astype(np.float64)
        proba = (proba / proba.sum(axis=1, keepdims=True)).astype(np.float32)
        return Predictions(table.ids, proba, table.labels, self.classes, run_id, groups_of(table))

    @final
    def save(self, folder: Path) -> None:
        """Write everything that `load` needs."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "recipe.yaml").write_text(self.recipe.dump(), encoding="utf-8")
        (folder / "classifier.json").write_text(json.dumps({"classes": self.classes}, ensure_ascii=False), encoding="utf-8")
        self._save(folder)

    @final
    @classmethod
    def load(cls, folder: Path, recipe: Recipe) -> Self:
        """Read what `save` wrote."""
        classifier = cls(recipe)
        classifier.classes = tuple(json.loads((folder / "classifier.json").read_text(encoding="utf-8"))["classes"])
        classifier._load(folder)
        return classifier

    @property
    def parameters(self) -> int:
        """Numbers that were learnt or stored to answer."""
        return 0

    @property
    def pretrained(self) -> str:
        """Whose weights it started from; "no" when from none."""
        return "no"

    @abstractmethod
    def _fit(self, train: ImageTable, valid: ImageTable, context: Context) -> None: ...

    @abstractmethod
    def _proba(self, table: ImageTable, context: Context) -> np.ndarray:
        """(N, C) non-negative, finite; rows are scaled to sum to 1 by the caller."""

    @abstractmethod
    def _save(self, folder: Path) -> None: ...

    @abstractmethod
    def _load(self, folder: Path) -> None: ...

    def _images(self, table: ImageTable, context: Context) -> DecodedImages:
        return context.cache.images(table, self.recipe.inputs)


def groups_of(table: ImageTable) -> np.ndarray | None:
    """(N,) object, or None without a column. An image whose cell is empty is a group of its own, as `split` has it."""
    if "group" not in table.frame:
        return None
    groups = table.frame["group"].astype(object)
    return groups.where(groups.notna() & (groups != ""), "\0" + table.frame["id"].astype(object)).to_numpy(dtype=object)


# --- what some families can do beyond answering. A family that can says so by its bases; nothing asks with `h ---------


class Differentiable(ABC):
    """It has a network whose gradients say what it looks at."""

    @abstractmethod
    def module(self) -> nn.Module:
        """The network in evaluation mode, on the CPU: (B, C, H, W) uint8, or float in 0 … 255 → (B, classes) logits.

        Raises:
            RunError: It learnt from descriptors, through which no gradient reaches the pixels.
        """

    @abstractmethod
    def reinitialized(self, seed: int) -> Classifier:
        """The same with random weights: what its maps show without having learnt anything."""


# --- the ability to leave tellapart as a graph. No torch here: ensembles and calibrations of runs are made wi ---------


class Exportable(ABC):
    """It can answer as one torch module, from pixels to probabilities, that an exporter can trace."""

    @abstractmethod
    def inference_module(self, context: Context) -> InferenceModule:
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
        return classifier.inference_module(context)
    family = classifier.recipe.classifier.family
    reason = "never looks at pixels" if family == "metadata" else "answers without a network on whole pictures"
    raise RunError(
        f"{whose}the family {family} {reason}, so there is no graph to export",
        hint="export a run of the family network; this one can be used with `tellapart predict` and `serve`, or from Python",
    )
