"""The members of an ensemble: finished runs by id, and `id@12`, a run with the weights of its epoch 12.

The predictions of a run for its own training and validation images are read from its folder; for other images, and for single
epochs, the classifier is loaded and predicts. Runs of other data or of another split are refused, since their images differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tellapart import registry
from tellapart.classifiers.base import Classifier, Context
from tellapart.combiners.base import reorder
from tellapart.errors import RunError, TellapartError
from tellapart.recipe.load import load
from tellapart.types import ImageTable, Predictions

Find = Callable[[str], Path]
#: The name under which a k-fold run stores its out-of-fold predictions for all rows of train and valid.
OUT_OF_FOLD = "oof"


@dataclass(frozen=True)
class Member:
    """One member.

    Attributes:
        run: Id or folder of a finished run.
        epoch: Epoch whose weights are used; None: the final weights of the run.
    """

    run: str
    epoch: int | None = None

    @classmethod
    def parse(cls, name: str) -> Member:
        """Parse the text that `str` writes.

        >>> Member.parse("cnn-small-1a2b@12"), str(Member("svm-3c4d"))
        (Member(run='cnn-small-1a2b', epoch=12), 'svm-3c4d')
        """
        run, _, epoch = name.rpartition("@")
        return cls(run, int(epoch)) if run and epoch.isdigit() else cls(name)

    def __str__(self) -> str:
        return self.run if self.epoch is None else f"{self.run}@{self.epoch}"

    def folder(self, find: Find) -> Path:
        """The folder of the run.

        Raises:
            RunError: The run is missing.
        """
        hint = "an ensemble needs its members to predict: copy the run back, or combine again without it"
        try:
            folder = find(self.run)
        except RunError as error:
            raise RunError(f"{self}, a member of the ensemble, is missing: {error.message}", hint=hint) from None
        if not (folder / "classifier.json").exists():
            raise RunError(f"{self}, a member of the ensemble, is missing: no finished run in {folder}", hint=hint)
        return folder

    def weights(self, find: Find) -> Path:
        """The file of a network's weights."""
        folder = self.folder(find)
        if self.epoch is None:
            return folder / "weights.safetensors"
        file = folder / "checkpoints" / f"epoch-{self.epoch:04d}.safetensors"
        if not file.exists():
            kept = ", ".join(map(str, epochs(folder))) or "none"
            raise RunError(f"{self}: the run has no weights of epoch {self.epoch}; stored epochs: {kept}")
        return file

    def load_classifier(self, find: Find) -> Classifier:
        """Load the classifier, ready to predict."""
        folder = self.folder(find)
        recipe = load(str(folder / "recipe.yaml"))
        try:
            found: Classifier = registry.find("classifiers", recipe.classifier.family).load(folder, recipe)
        except TellapartError:
            raise
        except Exception as error:  # damaged or missing files raise many errors, depending on the library that reads them
            raise RunError(f"{self}: the classifier cannot be loaded ({error})") from error
        if self.epoch is not None:
            _take_weights(found, self.weights(find), self.run)
        return found

    def has_out_of_fold(self, find: Find) -> bool:
        """Whether the member stored out-of-fold predictions for training images, as k-fold runs do."""
        return self.epoch is None and (self.folder(find) / "predictions" / f"{OUT_OF_FOLD}.parquet").exists()

    def stored_predictions(self, part: str, rows: ImageTable, find: Find) -> np.ndarray:
        """Stored predictions of the member for `rows`, images of its own data: (N, C) float32.

        Raises:
            RunError: The predictions cannot be read.
            DataError: The predictions are for other images.
        """
        path = self.folder(find) / "predictions" / f"{part}.parquet"
        try:
            stored = Predictions.from_parquet(path)
        except (OSError, ValueError, KeyError) as error:
            raise RunError(f"{self}: {path} cannot be used ({error})", hint="train the run again with --overwrite") from None
        blank = np.full((len(rows), len(rows.classes)), 1 / len(rows.classes), dtype=np.float32)
        wanted = Predictions(rows.ids, blank, rows.labels, rows.classes, f"the {part} split here")
        return reorder(wanted, Predictions(**{**vars(stored), "run_id": str(self)})).proba


def epochs(folder: Path) -> list[int]:
    """The epochs whose weights a run stored (`train.keep_best`), ascending."""
    return sorted(int(file.stem.partition("-")[2]) for file in (folder / "checkpoints").glob("epoch-*.safetensors"))


def member_predictions(members: Sequence[Member], part: str, rows: ImageTable, find: Find, context: Context) -> np.ndarray:
    """Predictions of K members for `rows` of the split `part`, read where they are stored: (K, N, C) float32."""
    stored = (m.stored_predictions(part, rows, find) if m.epoch is None else None for m in members)
    pairs = zip(members, stored, strict=True)
    return np.stack([m.load_classifier(find).predict(rows, context).proba if p is None else p for m, p in pairs])


def _take_weights(classifier: Any, file: Path, run: str) -> None:
    from safetensors.torch import load_file

    from tellapart.classifiers.network import Network

    if not isinstance(classifier, Network):
        raise RunError(f"{run} is not a network: only networks store the weights of epochs")
    classifier.model.load_state_dict(load_file(file))
