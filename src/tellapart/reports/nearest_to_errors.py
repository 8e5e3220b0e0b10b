"""The nearest training image to each mistake: what the classifier may have taken it for.

Distances are Euclidean, between the vectors of `tellapart.inference.embedding`. A nearest image of the wrong class that looks
the same speaks for a wrong label or a twin; one that looks like nothing of the kind, for vectors that see something else.

    runs/evaluations/<run>/nearest-<part>/nearest.json      what was found, used again; a run folder is never rewritten
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
from tellapart.io import read_json, translate_os_errors, write_json
from tellapart.runs.store import Run
from tellapart.types import ImageTable, Predictions

MOST = 12


@dataclass(frozen=True)
class NearestToError:
    """A mistake and the training image nearest to it.

    Attributes:
        id, true, said: The mistake: its id, its class, and what it was taken for.
        proba: Of what it was taken for.
        nearest: The training image.
        nearest_class: Its class.
        distance: Between the two, ≥ 0, in the units of the vectors.
        closer: Share of the training part that is nearer to the mistake than the nearest image of its true class.
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
    """What was found for one part.

    Attributes:
        part: "valid" or "test".
        by: The distance, in words.
        training: Images that were searched, all of the training part.
        found: The surest mistakes first.
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
    """Search the whole training part for the neighbors of the surest mistakes, and keep what was found.

    Args:
        run: With stored predictions on the part.
        part: "valid", or "test" once it was opened: nothing is answered here.
        most: Mistakes at most.
        by: "pixels" in place of the run's own vectors.
        settings: Device and progress.

    Raises:
        DataError: No predictions on the part, or an unknown `by`.
        CorruptImages: Images that cannot be read, because they moved or are damaged.
    """
    if by not in (None, "pixels"):
        raise DataError(f"by {by!r}: expected pixels, or None for the run's own vectors")
    predictions = run.predictions(part)
    if predictions is None or not len(predictions):
        raise DataError(f"{run.id} has no predictions on its {part} part")
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
    """What `nearest_training` kept; None when it was not asked."""
    path = run.runs / "evaluations" / run.id / f"nearest-{part}" / "nearest.json"
    if not path.exists():
        return None
    content = read_json(path)
    return Nearest(**content | {"found": tuple(NearestToError(**one) for one in content["found"])})


def _near(
    predictions: Predictions, rows: np.ndarray, train: ImageTable, X: np.ndarray, Q: np.ndarray
) -> Sequence[NearestToError]:
    """One a mistake. `X`: (N, D), `Q`: (len(rows), D) float32."""
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
    """Rows of wrong answers, the surest first: as `pictures.mistakes`."""
    sure = predictions.proba.max(axis=1)
    wrong = np.flatnonzero((predictions.predicted != predictions.labels) & (predictions.labels >= 0))
    return wrong[np.argsort(-sure[wrong], kind="stable")][:most]


def _places(table: ImageTable, ids: np.ndarray) -> np.ndarray:
    place = {image_id: row for row, image_id in enumerate(table.ids)}
    return np.array([place[image_id] for image_id in ids], dtype=np.int64)
