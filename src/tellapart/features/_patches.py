"""Where to look in a picture, and what is seen there: patches on a grid or at keypoints, each described by a vector.

Detectors: ORB (Rublee et al. 2011, "ORB: an efficient alternative to SIFT or SURF") and SIFT (Lowe 2004, "Distinctive Image
Features from Scale-Invariant Keypoints") as OpenCV has them; or a dense grid (Fei-Fei & Perona 2005). Descriptions: HOG of
cells × cells parts of the patch, or SIFT, both upright. All values are whole numbers in 0 … 255, and the squares of one vector
sum to about 512² at most, as in SIFT: products of such vectors are then exact in single precision, and which word is nearest
does not depend on what else is in the block.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.features._gradients import gradients, gradient_bins

_PIXELS = 1 << 18  # a portion: gradient maps of 8 directions then take 8 MiB
_LENGTH = 512.0  # of a described vector, as in SIFT
_CLIP = 0.2  # bound on one value of a vector of length 1, as in SIFT and HOG
_FINE = 16  # steps a gray level, of the sums
_FAINT = 2.0  # mean gradient of a patch, gray levels a pixel, that counts half: below it is noise
_SIFT_WINDOW = 6  # side of what SIFT describes, in sizes of its keypoint: 4 bins of 3 times half the size


@dataclass(frozen=True)
class Patches:
    """What was found in a block of images.

    Attributes:
        owner: (K,) int64, which image of the block; rising.
        centers: (K, 2) float32, down and across, as shares of the sides.
        vectors: (K, E) float32, whole numbers in 0 … 255.
        missing: (B,) bool: no keypoint was found, and the whole image is described instead.
    """

    owner: np.ndarray
    centers: np.ndarray
    vectors: np.ndarray
    missing: np.ndarray


def describe_blocks(blocks: Iterator[np.ndarray], options: Any, workers: int) -> Iterator[Patches]:
    """Patches of blocks of images, in order, a few portions at a time on `workers` threads; one result a portion."""
    with ThreadPoolExecutor(workers) as pool:
        for block in blocks:
            yield from pool.map(lambda part: find_patches(part, options), split_block(block, options.enlarge))


def split_block(images: np.ndarray, enlarge: int | None) -> list[np.ndarray]:
    """A block in parts whose maps stay small; at least one part."""
    pixels = enlarge**2 if enlarge else int(np.prod(images.shape[1:3]))
    size = max(1, _PIXELS // pixels)
    return [images[start : start + size] for start in range(0, max(1, len(images)), size)]


def find_patches(images: np.ndarray, options: Any) -> Patches:
    """Detect and describe.

    Args:
        images: (B, H, W, C) uint8.
        options: Those of `words`.
    """
    if options.enlarge:
        images = _resized(images, options.enlarge)
    owner, boxes = _grid(images.shape, options) if options.detector == "dense" else _keypoints(images, options)
    missing = np.bincount(owner, minlength=len(images)) == 0
    if missing.any():
        absent = np.flatnonzero(missing)
        whole = np.tile(np.array([[0, 0, *images.shape[1:3]]]), (len(absent), 1))
        order = np.argsort(np.concatenate([owner, absent]), kind="stable")
        owner, boxes = np.concatenate([owner, absent])[order], np.concatenate([boxes, whole])[order]
    see = _hog if options.description == "hog" else _sift
    centers = (boxes[:, :2] + boxes[:, 2:] / 2) / np.array(images.shape[1:3])
    return Patches(owner, centers.astype(np.float32), see(images, owner, boxes, options), missing)


def _resized(images: np.ndarray, side: int) -> np.ndarray:
    import cv2

    how = cv2.INTER_LINEAR if side >= max(images.shape[1:3]) else cv2.INTER_AREA
    found = [cv2.resize(image, (side, side), interpolation=how) for image in images]
    return np.stack(found).reshape(len(images), side, side, images.shape[3]) if found else images


def _grid(shape: tuple[int, ...], o: Any) -> tuple[np.ndarray, np.ndarray]:
    """Owners and boxes (down, across, height, width) of a grid on every image, centered."""
    count, height, width, _ = shape
    boxes = []
    for wanted in o.patches:
        side = min(wanted, height, width)
        down, across = (np.arange((n - side) % o.step // 2, n - side + 1, o.step) for n in (height, width))
        places = np.stack(np.meshgrid(down, across, indexing="ij"), axis=-1).reshape(-1, 2)
        boxes.append(np.hstack([places, np.full_like(places, side)]))
    one = np.concatenate(boxes)
    return np.repeat(np.arange(count), len(one)), np.tile(one, (count, 1))


def _keypoints(images: np.ndarray, o: Any) -> tuple[np.ndarray, np.ndarray]:
    """Owners and boxes around keypoints, pushed inside the image where they reach over its edge."""
    import cv2

    limit = o.keypoints
    if o.detector == "orb":
        detector: Any = cv2.ORB.create(nfeatures=limit, edgeThreshold=o.edge, fastThreshold=o.fast_threshold)
    else:
        detector = cv2.SIFT.create(nfeatures=limit)
    owners, boxes, sides = [], [], np.array(images.shape[1:3])
    for place, image in enumerate(_gray(images)):
        found = sorted(detector.detect(image, None), key=lambda k: -k.response)[:limit]
        for point in found:
            wanted = o.patches if o.detector == "orb" else [round(_SIFT_WINDOW * point.size)]
            for side in wanted:
                size = np.minimum(max(2 * o.cells, side), sides)
                start = np.clip(np.round(np.array(point.pt[::-1]) - (size - 1) / 2), 0, sides - size)
                boxes.append([*start, *size])
                owners.append(place)
    return np.array(owners, np.int64), np.array(boxes, np.int64).reshape(-1, 4)


def _gray(images: np.ndarray) -> np.ndarray:
    """(B, H, W, C) uint8 → (B, H, W) uint8."""
    if images.shape[3] == 1:
        return np.ascontiguousarray(images[..., 0])
    import cv2

    flat = np.ascontiguousarray(images).reshape(-1, images.shape[2], 3)
    return cv2.cvtColor(flat, cv2.COLOR_RGB2GRAY).reshape(images.shape[:3]) if len(images) else images[..., 0]


def _hog(images: np.ndarray, owner: np.ndarray, boxes: np.ndarray, o: Any) -> np.ndarray:
    """Votes of every part of every box, from sums over all pixels above and left: (K, cells² · orientations)."""
    sums, height, width = _running_sums(images, o.orientations)
    parts = np.arange(o.cells + 1)
    down, across = (boxes[:, [axis]] + boxes[:, [axis + 2]] * parts // o.cells for axis in (0, 1))
    corners = (owner[:, None, None] * (height + 1) + down[:, :, None]) * (width + 1) + across[:, None]
    votes = np.diff(np.diff(sums[corners], axis=1), axis=2)  # wraps around as the sums did, and is right
    area = np.diff(down)[:, :, None] * np.diff(across)[:, None]
    values = (votes / (np.maximum(area, 1) * _FINE)[..., None]).astype(np.float32)
    return _scaled(values.reshape(len(boxes), o.cells**2 * o.orientations))


def _running_sums(images: np.ndarray, orientations: int) -> tuple[np.ndarray, int, int]:
    """(B · (H + 1) · (W + 1), orientations) int32: of the votes above and left of each corner, modulo 2³²; and H, W.

    In whole steps of 1/16 gray level: differences of sums are then exact however large the image is.
    """
    table, index = gradient_bins(orientations, False, True), gradients(images)
    count, height, width = index.shape
    maps = np.zeros((count, height + 1, width + 1, orientations), np.int32)
    inner = maps[:, 1:, 1:]
    np.put_along_axis(inner, table.first[index][..., None], np.rint(table.weight * _FINE).astype(np.int32)[index][..., None], 3)
    np.put_along_axis(inner, table.second[index][..., None], np.rint(table.other * _FINE).astype(np.int32)[index][..., None], 3)
    np.cumsum(inner, axis=1, out=inner)
    np.cumsum(inner, axis=2, out=inner)
    return maps.reshape(-1, orientations), height, width


def _scaled(x: np.ndarray) -> np.ndarray:
    """(K, E) mean votes → whole numbers, clipped as SIFT's; faint patches are shorter, and flat ones 0."""
    norm = np.sqrt(np.einsum("ij,ij->i", x, x))[:, None]
    unit = np.minimum(x / np.maximum(norm, 1e-6), _CLIP)
    unit /= np.maximum(np.sqrt(np.einsum("ij,ij->i", unit, unit))[:, None], 1e-6)
    unit *= _LENGTH * norm / np.sqrt(norm**2 + _FAINT**2)
    return np.minimum(np.rint(unit), 255)


def _sift(images: np.ndarray, owner: np.ndarray, boxes: np.ndarray, o: Any) -> np.ndarray:
    """(K, 128), of the upright keypoint whose window the box is."""
    del o
    import cv2

    describe: Any = cv2.SIFT.create()
    found = [np.empty((0, 128), np.float32)]
    ends = np.searchsorted(owner, np.arange(len(images) + 1))
    for image, start, end in zip(_gray(images), ends, ends[1:], strict=False):
        points = [
            cv2.KeyPoint(float(x + (w - 1) / 2), float(y + (h - 1) / 2), max(h, w) / _SIFT_WINDOW, 0.0)
            for y, x, h, w in boxes[start:end]
        ]
        found.append(describe.compute(image, points)[1])
    return np.concatenate(found)
