"""Tables of images that are already in memory: arrays of pixels, or encoded bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from tellapart.data.identity import digest_of
from tellapart.data.layouts._aliases import class_texts, order_classes
from tellapart.errors import DataError, unknown_name
from tellapart.types import SPLITS, UNLABELED, ImageTable, guess_positive


def from_arrays(
    images: np.ndarray,
    labels: Sequence[Any] | np.ndarray,
    classes: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    split: Sequence[str] | None = None,
) -> ImageTable:
    """A table of decoded images.

    Args:
        images: (N, H, W) or (N, H, W, 3) uint8, gray or RGB.
        labels: (N,) class names, or integers; −1 or None for unknown.
        classes: C names; integer labels index them. Left out: the labels that occur.
        ids: (N,) unique names; left out: "0", "1", ….
        groups: (N,) names of groups that must stay on one side of a split.
        split: (N,) "train", "valid", "test" or "".

    Raises:
        DataError: Wrong shape, type or length; an unknown label or split.

    >>> from_arrays(np.zeros((2, 8, 8), np.uint8), ["dog", "cat"]).classes
    ('cat', 'dog')
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] != 3):
        raise DataError(
            f"images must be (N, H, W) or (N, H, W, 3) uint8; got {images.shape} {images.dtype}",
            hint="scale floats in [0, 1] with (x * 255).round().astype('uint8'); put channels last",
        )
    return _table(images, np.zeros(len(images), dtype=np.int64), labels, classes, ids, groups, split)


def from_bytes(
    blobs: Sequence[bytes],
    labels: Sequence[Any] | np.ndarray,
    classes: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    split: Sequence[str] | None = None,
) -> ImageTable:
    """A table of encoded images (PNG, JPEG, …). Arguments as in `from_arrays`; `blobs`: N encoded images."""
    wrong = next((i for i, blob in enumerate(blobs) if not isinstance(blob, bytes)), None)
    if wrong is not None:
        raise DataError(f"blobs[{wrong}] must be bytes; got {type(blobs[wrong]).__name__}")
    sizes = np.array([len(blob) for blob in blobs], dtype=np.int64)
    return _table(tuple(blobs), sizes, labels, classes, ids, groups, split)


def _table(
    memory: Any,
    sizes: np.ndarray,
    labels: Sequence[Any] | np.ndarray,
    classes: Sequence[str] | None,
    ids: Sequence[str] | None,
    groups: Sequence[str] | None,
    split: Sequence[str] | None,
) -> ImageTable:
    count = len(memory)
    for name, values in (("labels", labels), ("ids", ids), ("groups", groups), ("split", split)):
        if values is not None and len(values) != count:
            raise DataError(f"{count} images but {len(values)} {name}")
    names, numbers = _number(labels, classes)
    columns: dict[str, Any] = {
        "id": np.array([str(i) for i in (range(count) if ids is None else ids)], dtype=object),
        "path": np.array([f"memory#{i}" for i in range(count)], dtype=object),
        "label": numbers,
        "size": sizes,
        "digest": np.array([digest_of(image) for image in memory], dtype=object),
    }
    if groups is not None:
        columns["group"] = np.array([str(g) for g in groups], dtype=object)
    if split is not None:
        wrong = next((s for s in split if s not in ("", *SPLITS)), None)
        if wrong is not None:
            raise DataError(unknown_name("split", str(wrong), SPLITS))
        columns["split"] = np.array([str(s) for s in split], dtype=object)
    return ImageTable(
        pd.DataFrame({name: pd.Series(values, dtype=values.dtype) for name, values in columns.items()}),
        names,
        root="memory",
        positive=guess_positive(names),
        layout=f"{count:,} images in memory.",
        memory=memory,
    )


def _number(labels: Sequence[Any] | np.ndarray, classes: Sequence[str] | None) -> tuple[tuple[str, ...], np.ndarray]:
    """Class names in label order, and labels (N,) int64."""
    values = labels.tolist() if isinstance(labels, np.ndarray) else list(labels)
    unknown = [v is None or v == UNLABELED or v != v for v in values]
    if classes is not None and all(isinstance(v, int) for v, u in zip(values, unknown, strict=True) if not u):
        names = tuple(str(name) for name in classes)
        wrong = next((v for v, u in zip(values, unknown, strict=True) if not u and not 0 <= v < len(names)), None)
        if wrong is not None:
            raise DataError(f"the label {wrong} is no index into {len(names)} classes")
        return names, np.array([UNLABELED if u else v for v, u in zip(values, unknown, strict=True)], dtype=np.int64)
    texts = class_texts(str(v) for v, u in zip(values, unknown, strict=True) if not u)
    names = order_classes(texts.values()) if classes is None else tuple(str(name) for name in classes)
    number = {name: i for i, name in enumerate(names)}
    wrong = next((text for text in texts.values() if text not in number), None)
    if wrong is not None:
        raise DataError(unknown_name("class", wrong, names))
    return names, np.array(
        [UNLABELED if u else number[texts[str(v)]] for v, u in zip(values, unknown, strict=True)], dtype=np.int64
    )
