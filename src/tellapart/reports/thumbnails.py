"""Thumbnails embedded in the page: samples of each class, and the most confident errors of a run.

Images of up to 64 pixels are embedded unchanged (PNG); larger images are downsampled to 192 pixels on their longest side
(JPEG), up to two device pixels per displayed pixel. An image that cannot be read is listed with the reason.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from types import TracebackType
from typing import Self, final

import numpy as np
from PIL import Image

from tellapart.data.decode import decode
from tellapart.data.reader import ImageReader
from tellapart.errors import ImageError
from tellapart.types import ImageTable, Predictions

TINY, LONGEST = 64, 192
MOST_CLASSES, PER_CLASS, MOST_MISTAKES = 12, 6, 12


@dataclass(frozen=True)
class Picture:
    """One image of the table, ready for the page.

    Attributes:
        id: Id of the image.
        uri: `data:` URI; "" if the image cannot be read.
        width, height: Size of the thumbnail in pixels.
        reason: Why there is no thumbnail.
    """

    id: str
    uri: str = ""
    width: int = 0
    height: int = 0
    reason: str = ""

    @property
    def tiny(self) -> bool:
        """Whether pixels are displayed as squares."""
        return max(self.width, self.height) <= TINY


@dataclass(frozen=True)
class Mistake:
    """A wrong prediction of a run."""

    picture: Picture
    true: str
    predicted: str
    proba: float  # of the predicted class
    proba_true: float


@dataclass(frozen=True)
class Samples:
    """Sample images of one class."""

    name: str
    count: int
    pictures: list[Picture]

    @property
    def shown(self) -> list[Picture]:
        """Thumbnails of the images that could be read."""
        return [picture for picture in self.pictures if picture.uri]


@final
class ThumbnailCache:
    """Thumbnails of the images of a table; each image is read once, and files remain open until the album is closed."""

    def __init__(self, table: ImageTable) -> None:
        self.table = table
        self._reader = ImageReader(table)
        self._rows = {image_id: row for row, image_id in enumerate(table.ids)}
        self._known: dict[str, Picture] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._reader.close()

    def picture(self, image_id: str) -> Picture:
        """Thumbnail of one image, by id."""
        if image_id not in self._known:
            self._known[image_id] = self._read(image_id)
        return self._known[image_id]

    def missing(self) -> list[Picture]:
        """Requested images that could not be read."""
        return [picture for picture in self._known.values() if not picture.uri]

    def _read(self, image_id: str) -> Picture:
        if image_id not in self._rows:
            return Picture(image_id, reason="not among the images of this run")
        locator = str(self.table.paths[self._rows[image_id]])
        try:
            pixels = decode(self._reader.get(locator), path=locator)
        except ImageError as error:
            return Picture(image_id, reason=error.reason)
        return embed(pixels, image_id)


def embed(pixels: np.ndarray, image_id: str = "") -> Picture:
    """Encode (H, W, 3) uint8 RGB as a thumbnail."""
    image = Image.fromarray(pixels)
    image.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    target = io.BytesIO()
    kind = "png" if max(image.size) <= TINY else "jpeg"
    image.save(target, kind, **({"optimize": True} if kind == "png" else {"quality": 80}))
    content = base64.b64encode(target.getvalue()).decode()
    return Picture(image_id, f"data:image/{kind};base64,{content}", *image.size)


def samples(album: ThumbnailCache) -> list[Samples]:
    """Select up to `PER_CLASS` images of each of the first `MOST_CLASSES` classes, evenly spaced in the training split."""
    table = album.table
    part = "train" if "train" in table.split_counts() else next(iter(table.split_counts()), None)
    source = table.where(split=part) if part else table
    found = []
    for label, name in list(enumerate(table.classes))[:MOST_CLASSES]:
        ids = source.ids[source.labels == label]
        chosen = np.unique(np.linspace(0, len(ids) - 1, min(PER_CLASS, len(ids))).round().astype(int))
        found.append(Samples(name, int((table.labels == label).sum()), [album.picture(i) for i in ids[chosen]]))
    return found


def mistakes(predictions: Predictions, album: ThumbnailCache, most: int = MOST_MISTAKES) -> list[Mistake]:
    """Find wrong predictions, the highest probability first; ties in the order of the table."""
    sure = predictions.proba.max(axis=1)
    wrong = np.flatnonzero((predictions.predicted != predictions.labels) & (predictions.labels >= 0))
    rows = wrong[np.argsort(-sure[wrong], kind="stable")][:most]
    return [
        Mistake(
            picture=album.picture(str(predictions.ids[row])),
            true=predictions.classes[predictions.labels[row]],
            predicted=predictions.classes[predictions.predicted[row]],
            proba=float(sure[row]),
            proba_true=float(predictions.proba[row, predictions.labels[row]]),
        )
        for row in rows
    ]
