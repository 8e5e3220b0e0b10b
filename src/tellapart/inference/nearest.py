"""The training images nearest to an image, in the feature space of a run.

Distances are Euclidean, between the features of `tellapart.inference.embedding`. Compare them with the usual distance: the
median, over training images, of the distance to the nearest other one. An image much farther than that from every training
image is unlike the training data, and its prediction deserves little trust.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

from tellapart.classifiers._knn_search import search_by
from tellapart.data.decode import decode
from tellapart.data.reader import ImageReader
from tellapart.errors import DataError
from tellapart.inference.context import Settings
from tellapart.inference.embedding import Embedder
from tellapart.recipe.schema import Inputs
from tellapart.runs.store import Run

NEIGHBORS = 5
_SAMPLED = 256  # training images that the usual distance is measured on


@dataclass(frozen=True)
class Neighbor:
    """One training image near an image.

    Attributes:
        id: Id of the training image.
        class_name: Class of the training image.
        distance: ≥ 0, in the units of the features.
    """

    id: str
    class_name: str
    distance: float


@dataclass(frozen=True, eq=False)
class Nearest:
    """The training images nearest to one image.

    Attributes:
        by: Description of the features.
        training: Number of training images that were searched: all of them.
        usual: Median distance of a training image to the nearest other one; nan if there is only one.
        found: The nearest first.
        pictures: Thumbnail of each, (H, W, 3) uint8.
    """

    by: str
    training: int
    usual: float
    found: tuple[Neighbor, ...]
    pictures: tuple[np.ndarray, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the thumbnails."""
        usual = None if np.isnan(self.usual) else self.usual
        found = [asdict(one) for one in self.found]
        return {"by": self.by, "training": self.training, "usual_distance": usual, "nearest": found}


class NearestImages:
    """Searches the training images of a run for those nearest to an image.

    Args:
        run: A finished run; its training images must still be readable.
        settings: Device and progress.

    Raises:
        CorruptImages: Training images that cannot be read, because they moved or are damaged.
        DataError: There are no training images.
    """

    def __init__(self, run: Run, settings: Settings) -> None:
        self.train = run.table().where(split="train")
        if not len(self.train):
            raise DataError(f"{run.id} has no training images to search", hint="choose another view")
        self._vectors = Embedder(run, settings)
        X = self._vectors.embed(self.train)
        self._search = search_by("euclidean", X)
        self._usual = float("nan")
        if len(X) > 1:
            sample = np.unique(np.linspace(0, len(X) - 1, min(len(X), _SAMPLED)).astype(np.int64))
            self._usual = float(np.median(self._search.nearest(X[sample], 2)[0][:, 1]))  # the nearest is the image itself

    @property
    def inputs(self) -> Inputs:
        """How an image is decoded to be searched for."""
        return self._vectors.inputs

    def search(self, content: bytes | np.ndarray, path: str, count: int = NEIGHBORS) -> Nearest:
        """The training images nearest to one image.

        Args:
            content: An encoded image, or (H, W) or (H, W, 3) uint8.
            path: Name of the image in errors.
            count: Maximum number of neighbors.

        Raises:
            ImageError: The image or one of its nearest training images cannot be decoded.
        """
        query = self._vectors.embed_one(content, path)[None]
        distance, index = (found[0] for found in self._search.nearest(query, min(count, len(self.train))))
        found = tuple(
            Neighbor(str(self.train.ids[row]), self.train.classes[self.train.labels[row]], float(apart))
            for row, apart in zip(index, distance, strict=True)
        )
        with ImageReader(self.train) as reader:
            paths = [str(self.train.paths[row]) for row in index]
            pictures = tuple(thumbnail(decode(reader.get(path), path=path)) for path in paths)
        return Nearest(self._vectors.by, len(self.train), self._usual, found, pictures)


_THUMBNAIL = 256  # pixels


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """A thumbnail: (H, W, 3) uint8 → the same with at most 256 pixels on the longer side."""
    return shrunk(pixels, min(1.0, _THUMBNAIL / max(pixels.shape[:2])))


def shrunk(pixels: np.ndarray, share: float) -> np.ndarray:
    """Scale each side by `share` ≤ 1, with antialiasing: (H, W, 3) uint8 → (h, w, 3) uint8."""
    if share >= 1:
        return pixels
    height, width = (max(round(side * share), 1) for side in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))
