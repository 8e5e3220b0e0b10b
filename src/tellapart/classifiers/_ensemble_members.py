"""The voters of an ensemble: finished runs by id, and `id@12`, a run with the weights of its epoch 12.

A run's answers to its own training and validation images are stored in its folder and are read there; for other images, and for
single epochs, the classifier is loaded and asked. Runs of other data or of another split have other images, and are refused.
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
#: The name under which a k-fold run stores its answers to all rows of train and valid.
OUT_OF_FOLD = "oof"


@dataclass(frozen=True)
class Member:
    """One voter.

    Attributes:
        run: The id of a finished run, or its folder.
        epoch: Whose weights are meant; None: those that the run ended with.
    """

    run: str
    epoch: int | None = None

    @classmethod
    def parse(cls, name: str) -> Member:
        """Read what `str` writes.

        >>> Member.named("cnn-small-1a2b@12"), str(Member("svm-3c4d"))
        (Member(run='cnn-small-1a2b', epoch=12), 'svm-3c4d')
        """
        run, _, epoch = name.rpartition("@")
        return cls(run, int(epoch)) if run and epoch.isdigit() else cls(name)

    def __str__(self) -> str:
        return self.run if self.epoch is None else f"{self.run}@{self.epoch}"

    def folder(self, find: Find) -> Path:
        """Where the run lies.

        Raises:
            RunError: It is not there.
        """
        hint = "an ensemble opens its members whenever it answers: copy the run back, or combine anew without it"
        try:
            folder = find(self.run)
        except RunError as error:
            raise RunError(f"{self}, a member of the ensemble, is missing: {error.message}", hint=hint) from None
        if not (folder / "classifier.json").exists():
            raise RunError(f"{self}, a member of the ensemble, is missing: {folder} holds no finished run", hint=hint)
        return folder

    def weights(self, find: Find) -> Path:
        """The file of a network's weights."""
        folder = self.folder(find)
        if self.epoch is None:
            return folder / "weights.safetensors"
        file = folder / "checkpoints" / f"epoch-{self.epoch:04d}.safetensors"
        if not file.exists():
            kept = ", ".join(map(str, epochs(folder))) or "none"
            raise RunError(f"{self}: the run kept no weights of epoch {self.epoch}; kept are: {kept}")
        return file

    def load_classifier(self, find: Find) -> Classifier:
        """Loaded, ready to answer."""
        folder = self.folder(find)
        recipe = load(str(folder / "recipe.yaml"))
        try:
            found: Classifier = registry.find("classifiers", recipe.classifier.family).load(folder, recipe)
        except TellapartError:
            raise
        except Exception as error:  # damaged or missing files raise nearly anything, by the library that reads them
            raise RunError(f"{self}: the classifier cannot be loaded ({error})") from error
        if self.epoch is not None:
            _take_weights(found, self.weights(find), self.run)
        return found

    def has_out_of_fold(self, find: Find) -> bool:
        """Whether it stored answers to training images that it did not learn from, as k-fold makes them."""
        return self.epoch is None and (self.folder(find) / "predictions" / f"{OUT_OF_FOLD}.parquet").exists()

    def stored_predictions(self, part: str, rows: ImageTable, find: Find) -> np.ndarray:
        """Its answers to `rows` of its own data as they were stored: (N, C) float32.

        Raises:
            RunError: They cannot be read.
            DataError: They are of other images.
        """
        path = self.folder(find) / "predictions" / f"{part}.parquet"
        try:
            answers = Predictions.from_parquet(path)
        except (OSError, ValueError, KeyError) as error:
            raise RunError(f"{self}: {path} cannot be used ({error})", hint="train the run again with --fresh") from None
        blank = np.full((len(rows), len(rows.classes)), 1 / len(rows.classes), dtype=np.float32)
        wanted = Predictions(rows.ids, blank, rows.labels, rows.classes, f"the {part} part here")
        return reorder(wanted, Predictions(**{**vars(answers), "run_id": str(self)})).proba


def epochs(folder: Path) -> list[int]:
    """The epochs whose weights a run kept (`train.keep_best`), ascending."""
    return sorted(int(file.stem.partition("-")[2]) for file in (folder / "checkpoints").glob("epoch-*.safetensors"))


def member_predictions(members: Sequence[Member], part: str, rows: ImageTable, find: Find, context: Context) -> np.ndarray:
    """What each member says of `rows`, images of a part that it stored answers to: (K, N, C) float32; stored where it is."""
    return np.stack([
        member.stored_predictions(part, rows, find) if member.epoch is None else member.load_classifier(find).predict(rows, context).proba
        for member in members
    ])  # fmt: skip


def _take_weights(classifier: Any, file: Path, run: str) -> None:
    from safetensors.torch import load_file

    from tellapart.classifiers.network import Network

    if not isinstance(classifier, Network):
        raise RunError(f"{run} is no network: only networks keep the weights of epochs")
    classifier.model.load_state_dict(load_file(file))
