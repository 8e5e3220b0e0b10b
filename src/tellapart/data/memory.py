"""Tables of images that are already in memory: arrays of pixels, or encoded bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd

from tellapart.data.class_names import guess_positive
from tellapart.data.identity import digest_of
from tellapart.data.layouts._aliases import class_texts, order_classes
from tellapart.errors import DataError, unknown_name
from tellapart.types import SPLITS, UNLABELED, ImageTable


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
        images: (N, H, W) or (N, H, W, 3) uint8, gray or RGB: an array of numpy or torch, or anything that numpy understands.
        labels: (N,) class names, or integers; −1 or None for unknown.
        classes: C names; integer labels index them. Left out: the labels that occur.
        ids: (N,) unique names; left out: "0", "1", ….
        groups: (N,) names of groups that must stay on one side of a split.
        split: (N,) "train", "valid", "test", or "" or None for an image in no split yet.

    Raises:
        DataError: Wrong shape, type or length; an unknown label or split.

    >>> from_arrays(np.zeros((2, 8, 8), np.uint8), ["dog", "cat"]).classes
    ('cat', 'dog')
    """
    images = _array("images", images)
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
    given = {name: None if of is None else _values(name, of, count)
             for name, of in (("labels", labels), ("ids", ids), ("groups", groups), ("split", split))}  # fmt: skip
    names, numbers = _number(given["labels"] or [], None if classes is None else _values("classes", classes))
    columns: dict[str, Any] = {
        "id": _texts("ids", given["ids"] or range(count)),
        "path": np.array([f"memory#{i}" for i in range(count)], dtype=object),
        "label": numbers,
        "size": sizes,
        "digest": np.array([digest_of(image) for image in memory], dtype=object),
    }
    if given["groups"] is not None:
        columns["group"] = _texts("groups", given["groups"], missing="")
    if given["split"] is not None:
        columns["split"] = _texts("split", given["split"], missing="")
        wrong = next((s for s in columns["split"].tolist() if s not in ("", *SPLITS)), None)
        if wrong is not None:
            raise DataError(unknown_name("split", wrong, SPLITS), hint='"" or None: the image is in no split yet')
    return ImageTable(
        pd.DataFrame({name: pd.Series(values, dtype=values.dtype) for name, values in columns.items()}),
        names,
        root="memory",
        positive=guess_positive(names),
        layout=f"{count:,} images in memory.",
        memory=memory,
    )


def _array(name: str, given: Any) -> np.ndarray:
    """What numpy makes of an array of another library, of a list or of a series.

    Raises:
        DataError: It makes nothing of it, as of a tensor on a GPU.
    """
    try:
        return np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{name} cannot be converted to an array: {str(error).splitlines()[0]}") from error


def _values(name: str, given: Any, count: int | None = None) -> list[Any]:
    """The elements of a sequence, scalars of arrays and tensors as Python's own.

    Raises:
        DataError: The length is wrong, or an element is a list, a mapping or bytes.
    """
    if isinstance(given, SupportsArray):
        array = _array(name, given)
        if array.ndim != 1:
            raise DataError(f"{name} must be one-dimensional; got {array.shape}")
        given = array.tolist()
    values = [_scalar(f"{name}[{i}]", value) for i, value in enumerate(given)]
    if count is not None and len(values) != count:
        raise DataError(f"{count} images but {len(values)} {name}")
    wrong = next((i for i, value in enumerate(values) if isinstance(value, list | tuple | dict | set | bytes)), None)
    if wrong is not None:
        raise DataError(f"{name}[{wrong}] must be one word or number; got {type(values[wrong]).__name__}")
    return values


def _scalar(name: str, value: Any) -> Any:
    """A scalar of numpy or torch as Python's own, a longer array as a list; anything else as it is."""
    if isinstance(value, str | int | float) or not isinstance(value, SupportsArray):
        return value.item() if isinstance(value, np.generic) else value
    array = _array(name, value)
    return array.item() if array.size == 1 else array.tolist()


@runtime_checkable
class SupportsArray(Protocol):
    """An array of any library, or a scalar of one."""

    def __array__(self) -> np.ndarray:
        """The same as numpy."""
        ...


def _is_missing(value: Any) -> bool:
    return bool(pd.isna(value))


def _texts(name: str, values: Iterable[Any], missing: str | None = None) -> np.ndarray:
    """Each value as text, `missing` for None and NaN: (N,) object.

    Raises:
        DataError: A value is missing that must not be.
    """
    texts = [missing if _is_missing(value) else str(value) for value in values]
    if None in texts:
        raise DataError(f"{name}[{texts.index(None)}] is missing; expected a name")
    return np.array(texts, dtype=object)


def _number(values: list[Any], classes: list[Any] | None) -> tuple[tuple[str, ...], np.ndarray]:
    """Class names in label order, and labels (N,) int64.

    Raises:
        DataError: A label that is no class, or −1 beside 1 alone, which may be a class or an unknown label.
    """
    unknown = [_is_missing(v) or v == UNLABELED for v in values]
    known = [v for v, missing in zip(values, unknown, strict=True) if not missing]
    if classes is not None and all(isinstance(v, int) for v in known):
        names = tuple(str(name) for name in classes)
        wrong = next((v for v in known if not 0 <= v < len(names)), None)
        if wrong is not None:
            raise DataError(f"the label {wrong} is no index into {len(names)} classes")
        return names, np.array([UNLABELED if u else v for v, u in zip(values, unknown, strict=True)], dtype=np.int64)
    if classes is None and set(map(str, known)) in ({"1"}, {"1.0"}) and UNLABELED in values:
        raise DataError(
            "the labels are −1 and 1, and −1 means that the label is unknown",
            hint='for two classes write 0 and 1, or words; for unknown labels name the class: classes=["…"] and labels from 0',
        )
    texts = class_texts(str(v) for v in known)
    names = order_classes(texts.values()) if classes is None else tuple(str(name) for name in classes)
    number = {name: i for i, name in enumerate(names)}
    wrong = next((text for text in texts.values() if text not in number), None)
    if wrong is not None:
        raise DataError(unknown_name("class", wrong, names))
    return names, np.array(
        [UNLABELED if u else number[texts[str(v)]] for v, u in zip(values, unknown, strict=True)], dtype=np.int64
    )
