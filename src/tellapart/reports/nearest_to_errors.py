"""The nearest training image to each error, as a possible cause of the error.

Distances are Euclidean, between the features of `tellapart.inference.embedding`. A nearest image of the wrong class that looks
the same suggests a wrong label or a near-duplicate; one that looks different suggests that the features describe something
else.

    runs/evaluations/<run>/nearest-<part>/nearest.json      stored result, which is reused; a run folder is never rewritten
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tellapart.classifiers._knn_search import search_by
from tellapart.errors import DataError
from tellapart.inference.context import DEFAULTS, Settings
from tellapart.inference.embedding import PLAIN, Embedder
from tellapart.io import write_json
from tellapart.os_errors import translate_os_errors
from tellapart.runs._fields import read_typed
from tellapart.runs.store import Run
from tellapart.types import ImageTable, Predictions

MOST = 12


@dataclass(frozen=True)
class NearestToError:
    """An error and its nearest training image.

    Attributes:
        id, true, said: Id, true class and predicted class of the error.
        proba: Probability of the predicted class.
        nearest: Id of the training image.
        nearest_class: Class of the training image.
        distance: Distance between the two, ≥ 0, in the units of the features.
        closer: Share of the training split that is nearer to the error than the nearest image of its true class.
    """

    id: str
    true: str
    said: str
    proba: float
    nearest: str
    nearest_class: str
    distance: float
    closer: float


@dataclass(frozen=True)
class Nearest:
    """Results for one split.

    Attributes:
        part: "valid" or "test".
        by: Description of the features.
        training: Number of images that were searched, the whole training split.
        found: The errors, the most confident first.
    """

    part: str
    by: str
    training: int
    found: tuple[NearestToError, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def nearest_training(
    run: Run, part: str = "valid", *, most: int = MOST, by: str | None = None, settings: Settings = DEFAULTS
) -> Nearest:
    """Search the training split for the nearest images to the most confident errors, and store the result.

    Args:
        run: A run with stored predictions for the split.
        part: "valid", or "test" if it was opened; nothing is predicted here.
        most: Maximum number of errors.
        by: "pixels" to use pixels instead of the features of the run.
        settings: Device and progress.

    Raises:
        DataError: There are no predictions for the split, or `by` is unknown.
        CorruptImages: Images that cannot be read, because they moved or are damaged.
    """
    if by not in (None, "pixels"):
        raise DataError(f"by {by!r}: expected pixels, or None for the features of the run")
    predictions = run.predictions(part)
    if predictions is None or not len(predictions):
        raise DataError(f"{run.id} has no predictions on its {part} split")
    table, rows = run.table(), _mistakes(predictions, most)
    train = table.where(split="train")
    asked = table.take(_places(table, predictions.ids[rows]))
    near = Nearest(part, PLAIN, len(train), ())
    if len(rows):
        vectors = Embedder(run, settings, by)
        X, Q = vectors.embed(train), vectors.embed(asked)
        near = Nearest(part, vectors.by, len(train), tuple(_near(predictions, rows, train, X, Q)))
    folder = run.runs / "evaluations" / run.id / f"nearest-{part}"
    with translate_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "nearest.json", near.to_dict())
    return near


def stored(run: Run, part: str) -> Nearest | None:
    """Read the result stored by `nearest_training`; None if there is none."""
    path = run.runs / "evaluations" / run.id / f"nearest-{part}" / "nearest.json"
    if not path.exists():
        return None
    return read_typed(path, lambda content: Nearest(**{**content, "found": tuple(map(_error, content["found"]))}))


def _error(content: dict[str, Any]) -> NearestToError:
    return NearestToError(**content)


def _near(
    predictions: Predictions, rows: np.ndarray, train: ImageTable, X: np.ndarray, Q: np.ndarray
) -> Sequence[NearestToError]:
    """Find the nearest training image to each error. `X`: (N, D), `Q`: (len(rows), D) float32."""
    distance, index = (found[:, 0] for found in search_by("euclidean", X).nearest(Q, 1))
    names, labels, found = predictions.classes, train.labels, []
    for place, row in enumerate(rows):
        true, said = int(predictions.labels[row]), int(predictions.predicted[row])
        apart = np.linalg.norm(X - Q[place], axis=1)
        own = apart[labels == true]
        closer = float(np.mean(apart < own.min())) if len(own) else 1.0
        near = int(index[place])
        found.append(
            NearestToError(
                str(predictions.ids[row]), names[true], names[said], float(predictions.proba[row, said]),
                str(train.ids[near]), names[labels[near]], float(distance[place]), closer,
            )
        )  # fmt: skip
    return found


def _mistakes(predictions: Predictions, most: int) -> np.ndarray:
    """Rows of wrong predictions, the most confident first, as in `thumbnails.mistakes`."""
    sure = predictions.proba.max(axis=1)
    wrong = np.flatnonzero((predictions.predicted != predictions.labels) & (predictions.labels >= 0))
    return wrong[np.argsort(-sure[wrong], kind="stable")][:most]


def _places(table: ImageTable, ids: np.ndarray) -> np.ndarray:
    place = {image_id: row for row, image_id in enumerate(table.ids)}
    return np.array([place[image_id] for image_id in ids], dtype=np.int64)
