"""Vectors of images block by block, from the stores as far as they have them, else computed and stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tellapart.data.cache import DecodedImages
from tellapart.errors import DataError
from tellapart.features._store import VectorStore
from tellapart.features.base import Descriptor

#: A descriptor and its name in recipes.
Named = tuple[str, Descriptor]


def vector_blocks(described: Sequence[Named], images: DecodedImages, notes: list[str]) -> Iterator[np.ndarray]:
    """The vectors of all images, the descriptors side by side, block by block: (B, D) float32, new arrays.

    What was computed is stored, also if the work is interrupted.

    Args:
        described: Fitted descriptors.
        images: N decoded images; only those of the cache have stored vectors.
        notes: Gets a sentence, once, if vectors cannot be stored.

    Raises:
        DataError: A descriptor returns values that are not finite.
    """
    origin = images.origin
    stores = [
        VectorStore(origin.folder, origin.way, name, descriptor) if origin and descriptor.stored else None
        for name, descriptor in described
    ]
    try:
        for start in range(0, len(images), images.block):
            yield side_by_side(described, _parts(described, images, slice(start, start + images.block), stores))
    finally:
        failures = []
        for store in filter(None, stores):
            store.flush()
            failures += [f"feature vectors are not kept: {store.failure}"] if store.failure else []
        notes += [note for note in failures[:1] if note not in notes]


def side_by_side(described: Sequence[Named], parts: Sequence[np.ndarray]) -> np.ndarray:
    """(B, D) float32, a new array, of the vectors of each descriptor.

    Raises:
        DataError: Some values are not finite.
    """
    for part, (name, _) in zip(parts, described, strict=True):
        if not np.isfinite(part).all():
            rows = int((~np.isfinite(part)).any(axis=1).sum())
            raise DataError(
                f"features: {name} returned values that are not finite for {rows:,} of {len(part):,} images",
                hint="remove this descriptor from the recipe, or fix its code",
            )
    return np.concatenate(parts, axis=1)


def _parts(
    described: Sequence[Named], images: DecodedImages, rows: slice, stores: Sequence[VectorStore | None]
) -> list[np.ndarray]:
    """The vectors of some rows, one array per descriptor."""
    positions, parts = np.arange(len(images))[rows], []
    pixels: np.ndarray | None = None  # read when the first vector is missing
    for (_, descriptor), store in zip(described, stores, strict=True):

        def compute(missing: np.ndarray, descriptor: Descriptor = descriptor) -> np.ndarray:
            nonlocal pixels
            pixels = images.get(rows) if pixels is None else pixels
            return descriptor(pixels if len(missing) == len(pixels) else pixels[missing])

        keys = images.origin.keys[rows] if images.origin else positions
        parts.append(compute(positions) if store is None else store.get(keys, compute))
    return parts
