"""Patches of an image, on a grid or at keypoints, each described by a vector.

Detectors: ORB (Rublee et al. 2011, "ORB: an efficient alternative to SIFT or SURF") and SIFT (Lowe 2004, "Distinctive Image
Features from Scale-Invariant Keypoints"), by OpenCV; or a dense grid (Fei-Fei & Perona 2005). Descriptions: HOG of cells ×
cells parts of the patch, or SIFT, both upright. All values are integers in 0 … 255, and the squares of one vector sum to about
512² at most, as in SIFT. Products of such vectors are exact in single precision, so the nearest word of a patch does not depend
on the other patches of the batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from tellapart.features._gradients import gradient_bins, gradients
from tellapart.recipe.schema import OptionsModel

_Side = Annotated[int, Field(ge=4)]
_PIXELS = 1 << 18  # pixels of a batch: gradient maps of 8 directions then take 8 MiB
_LENGTH = 512.0  # length of a description, as in SIFT
_CLIP = 0.2  # bound on one value of a vector of length 1, as in SIFT and HOG
_FINE = 16  # steps of the running sums per gray level
_FAINT = 2.0  # mean gradient of a patch, in gray levels per pixel, at which its weight is half: weaker ones are noise
_SIFT_WINDOW = 6  # side of the window that SIFT describes, in keypoint sizes: 4 bins of 3 × half the size


class PatchOptions(OptionsModel):
    """Options for where patches are placed and how each is described."""

    enlarge: int | None = Field(
        default=None, ge=8, description="resize images to this side first, in pixels; none: keep their size"
    )
    detector: Literal["dense", "orb", "sift"] = Field(
        default="dense", description="place patches on a grid (dense), or at ORB or SIFT keypoints"
    )
    step: int = Field(default=4, ge=1, description="dense: distance between neighboring patches, in pixels")
    patches: list[_Side] = Field(
        default=[16],
        min_length=1,
        description="dense, orb: sides of the square patches at every position, in pixels",
    )
    keypoints: int = Field(
        default=500, ge=1, description="orb, sift: maximum number of keypoints per image; the strongest are kept"
    )
    edge: int = Field(
        default=31, ge=1, description="orb: minimum distance of a keypoint from the border, in pixels (edgeThreshold)"
    )
    fast_threshold: int = Field(
        default=20, ge=1, description="orb: minimum contrast of a corner, in gray levels (fastThreshold)"
    )
    description: Literal["hog", "sift"] = Field(default="hog", description="descriptor of a patch: hog, or sift (128 values)")
    cells: int = Field(
        default=2, ge=1, le=8, description="hog: cells along the side of a patch; it has cells² · orientations values"
    )
    orientations: int = Field(default=8, ge=2, le=36, description="hog: number of orientation bins")


@dataclass(frozen=True)
class Patches:
    """The patches of B images.

    Attributes:
        owner: (K,) int64, index of the image that each patch belongs to, in ascending order.
        centers: (K, 2) float32 in [0, 1], row and column as fractions of height and width.
        vectors: (K, E) float32, integers in 0 … 255.
        missing: (B,) bool, True for an image without a keypoint; it is described as one patch.
    """

    owner: np.ndarray
    centers: np.ndarray
    vectors: np.ndarray
    missing: np.ndarray


def describe_blocks(blocks: Iterator[np.ndarray], options: PatchOptions, workers: int) -> Iterator[Patches]:
    """Yield the patches of blocks of images, in order, batch by batch, computed on `workers` threads."""
    with ThreadPoolExecutor(workers) as pool:
        for block in blocks:
            yield from pool.map(lambda batch: find_patches(batch, options), split_block(block, options.enlarge))


def split_block(images: np.ndarray, enlarge: int | None) -> list[np.ndarray]:
    """Split a block into batches whose gradient maps stay small; at least one batch."""
    pixels = enlarge**2 if enlarge else int(np.prod(images.shape[1:3]))
    size = max(1, _PIXELS // pixels)
    return [images[start : start + size] for start in range(0, max(1, len(images)), size)]


def find_patches(images: np.ndarray, options: PatchOptions) -> Patches:
    """Detect patches and describe them.

    Args:
        images: (B, H, W, C) uint8.
        options: Options of the patches.
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


def _grid(shape: tuple[int, ...], o: PatchOptions) -> tuple[np.ndarray, np.ndarray]:
    """Owners and boxes (row, column, height, width) of a centered grid on every image."""
    count, height, width, _ = shape
    boxes = []
    for wanted in o.patches:
        side = min(wanted, height, width)
        down, across = (np.arange((n - side) % o.step // 2, n - side + 1, o.step) for n in (height, width))
        places = np.stack(np.meshgrid(down, across, indexing="ij"), axis=-1).reshape(-1, 2)
        boxes.append(np.hstack([places, np.full_like(places, side)]))
    one = np.concatenate(boxes)
    return np.repeat(np.arange(count), len(one)), np.tile(one, (count, 1))


def _keypoints(images: np.ndarray, o: PatchOptions) -> tuple[np.ndarray, np.ndarray]:
    """Owners and boxes around keypoints, moved inside the image where they would cross its border."""
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


def _hog(images: np.ndarray, owner: np.ndarray, boxes: np.ndarray, o: PatchOptions) -> np.ndarray:
    """Orientation histogram of every cell of every box, from running sums: (K, cells² · orientations)."""
    sums, height, width = _running_sums(images, o.orientations)
    parts = np.arange(o.cells + 1)
    down, across = (boxes[:, [axis]] + boxes[:, [axis + 2]] * parts // o.cells for axis in (0, 1))
    corners = (owner[:, None, None] * (height + 1) + down[:, :, None]) * (width + 1) + across[:, None]
    votes = np.diff(np.diff(sums[corners], axis=1), axis=2)  # exact although the sums overflow: int32 wraps around
    area = np.diff(down)[:, :, None] * np.diff(across)[:, None]
    values = (votes / (np.maximum(area, 1) * _FINE)[..., None]).astype(np.float32)
    return _scaled(values.reshape(len(boxes), o.cells**2 * o.orientations))


def _running_sums(images: np.ndarray, orientations: int) -> tuple[np.ndarray, int, int]:
    """Sums of the gradient magnitudes above and left of each corner, modulo 2³², and H, W.

    Integers in steps of 1/16 gray level, so differences of sums are exact for images of any size.

    Returns:
        (B · (H + 1) · (W + 1), orientations) int32, H, W.
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
    """(K, E) mean magnitudes → integers, clipped as in SIFT; vectors of weak gradients are shorter, of flat patches 0."""
    norm = np.sqrt(np.einsum("ij,ij->i", x, x))[:, None]
    unit = np.minimum(x / np.maximum(norm, 1e-6), _CLIP)
    unit /= np.maximum(np.sqrt(np.einsum("ij,ij->i", unit, unit))[:, None], 1e-6)
    unit *= _LENGTH * norm / np.sqrt(norm**2 + _FAINT**2)
    return np.minimum(np.rint(unit), 255)


def _sift(images: np.ndarray, owner: np.ndarray, boxes: np.ndarray, o: PatchOptions) -> np.ndarray:
    """SIFT description of the upright keypoint whose window is the box: (K, 128)."""
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
