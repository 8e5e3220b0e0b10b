"""Image registration: align two images, then compare them in detail to decide whether they are near-duplicates.

1. Registration: scale and shift, each horizontal and vertical, by Gauss–Newton on the gray values (Lucas & Kanade 1981), from
   16 × 16 over 32 × 32 to 64 × 64. This undoes a crop. A pair that does not agree after a coarse step is dropped there.
2. Comparison, at the resolution that both files have (64, 32 or 16 pixels; an image of 32 × 32 contains no more detail):
   *detail* is the correlation after a local mean is subtracted; *share* is how much of the image agrees, tile by tile: the
   share of tiles with structure, weighted by contrast, whose correlation exceeds 0.8. A tile that was painted over affects only
   itself, so a locally edited image remains a near-duplicate of its original. *trimmed* is the correlation of fine detail
   without the quarter of the tiles with structure that differ most: a local edit does not lower it (`_look_alikes`).

The thresholds lie between values measured at 64 pixels: of 100 images each of deepfake5 and scenes, saved as JPEG of quality
50, halved or cropped, 98 have detail ≥ 0.96 and share ≥ 0.97; of the 311 most similar pairs of different images in deepfake5
none exceeds 0.54 and 0.43. Small images contain less information, so they must agree more.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import final

import numpy as np
from scipy.ndimage import uniform_filter

from tellapart.progress import Task

#: (smallest file size in pixels, size of the comparison, lowest detail, lowest share, lowest detail of a certain pair)
Level = tuple[int, int, float, float, float]
LEVELS: tuple[Level, ...] = ((64, 64, 0.70, 0.75, 0.98), (24, 32, 0.85, 0.60, 0.99), (0, 16, 0.90, 0.85, 0.99))
#: Share, and shift at most, of a certain pair: its images are the same, however many others they resemble. (Outlines of clothes
#: or fruit on an empty background agree to 0.96 without being the same object; at 32 pixels different trousers reach 0.98.)
CERTAIN = (0.85, 8.0)
#: Share of the tiles with structure that may differ for another reason than that the images do: a local edit of 15 % of the
#: area touches up to 22 % of 16 × 16 tiles.
TRIMMED = 0.25
#: Images with a side of fewer pixels are not compared.
SMALLEST = 12
#: Standard deviation of gray values from which a tile has structure; share of such tiles that an image needs.
STRUCTURE, TILES_LEAST = 3.0, 0.15
_TILE_AGREES = 0.8
_COARSE = ((16, 6, 0.7), (32, 4, 0.75), (64, 4, -2.0))  # size, steps, agreement needed for the next level
_BATCH = 128
_UNIT, _DOUBLE = np.array([1, 0, 1, 0], np.float32), np.array([1, 2, 1, 2], np.float32)


@final
class Pyramid:
    """N gray images at 64, 32 and 16 pixels a side, uint8.

    Args:
        gray: (M, 64, 64) uint8; not copied.
        rows: (N,) int64, the rows of `gray` to use; None: all.
    """

    def __init__(self, gray: np.ndarray, rows: np.ndarray | None = None) -> None:
        self._rows = np.arange(len(gray)) if rows is None else rows
        self._gray = gray
        self._levels = {32: _halved(gray, self._rows)}
        self._levels[16] = _halved(self._levels[32], np.arange(len(self._rows)))

    def at(self, size: int, rows: np.ndarray, mirror: bool = False) -> np.ndarray:
        """Select images at one size: (len(rows), size, size) float32, as they are or mirrored."""
        found = (self._gray[self._rows[rows]] if size == 64 else self._levels[size][rows]).astype(np.float32)
        return found[:, :, ::-1] if mirror else found


def _halved(gray: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Means of 2 × 2 pixels, rounded: N rows of (M, S, S) uint8 → (N, S/2, S/2) uint8."""
    found = np.empty((len(rows), gray.shape[1] // 2, gray.shape[2] // 2), np.uint8)
    for start in range(0, len(rows), 4096):
        part = gray[rows[start : start + 4096]].astype(np.uint16)
        four = part[:, ::2, ::2] + part[:, 1::2, ::2] + part[:, ::2, 1::2] + part[:, 1::2, 1::2]
        found[start : start + 4096] = (four + 2) // 4
    return found


@dataclass(frozen=True, eq=False)
class RegistrationScore:
    """Similarity of P registered pairs: (P,) float32 each.

    Attributes:
        detail: Correlation of fine detail, −1 … 1; −1 for a pair that was dropped at a coarser level.
        share: Share of the structure that agrees, 0 … 1.
        trimmed: Correlation of fine detail without the quarter of the tiles that differ most; −1 as for `detail`.
        same: (P,) bool: whether detail and share reach the thresholds.
        certain: (P,) bool: whether the images are the same, however many others they resemble.
    """

    detail: np.ndarray
    share: np.ndarray
    trimmed: np.ndarray
    same: np.ndarray
    certain: np.ndarray

    @property
    def score(self) -> np.ndarray:
        """Similarity in [0, 1]: the lower of detail and share."""
        return np.clip(np.minimum(self.detail, self.share), 0, 1)


def has_structure(gray: np.ndarray) -> np.ndarray:
    """Whether images have enough structure to be compared: (N,) bool. `gray`: (N, 64, 64) uint8."""
    found = np.zeros(len(gray), bool)
    for start in range(0, len(gray), 4096):
        tiles = _tiles(gray[start : start + 4096].astype(np.float32), 8)
        found[start : start + 4096] = (tiles.std(axis=2) > STRUCTURE).mean(axis=1) >= TILES_LEAST
    return found


def compare(pyramid: Pyramid, pairs: np.ndarray, sides: np.ndarray, mirror: bool, task: Task) -> RegistrationScore:
    """Register and compare P pairs.

    Args:
        pyramid: All images.
        pairs: (P, 2) int64, positions.
        sides: (P,) int: the shorter side, in pixels, of the smaller file of each pair.
        mirror: Whether to mirror the second image of each pair.
        task: Progress, advanced by the pairs done.
    """
    count = len(pairs)
    detail, share, trimmed = np.full(count, -1, np.float32), np.zeros(count, np.float32), np.full(count, -1, np.float32)
    same, certain = np.zeros(count, bool), np.zeros(count, bool)
    batches = [(rows, level) for level in LEVELS for rows in _batches(sides, level[0])]

    def one(batch: tuple[np.ndarray, Level]) -> int:
        """Compare the pairs of one batch at one level, where they are aligned; gives their number."""
        rows, (_, level, detail_least, share_least, detail_certain) = batch
        kept, where = _register(pyramid, pairs[rows], mirror, max(level, 32))
        if len(kept):
            at = rows[kept]
            first, second = (pyramid.at(max(level, 32), pairs[at, n], mirror and n == 1) for n in (0, 1))
            detail[at], share[at], trimmed[at], shift = _compare_aligned(first, second, where, level)
            same[at] = (detail[at] >= detail_least) & (share[at] >= share_least)
            certain[at] = (detail[at] >= detail_certain) & (share[at] >= CERTAIN[0]) & (shift <= CERTAIN[1])
        return len(rows)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:  # numpy releases the interpreter lock in its loops
        for done in pool.map(one, batches):
            task.advance(done)
    return RegistrationScore(detail, share, trimmed, same, certain)


def _batches(sides: np.ndarray, least: int) -> Iterator[np.ndarray]:
    """Positions of the pairs of one level, `_BATCH` at a time. sides: (P,) int."""
    above = min((other[0] for other in LEVELS if other[0] > least), default=np.inf)
    here = np.flatnonzero((sides >= least) & (sides < above))
    for start in range(0, len(here), _BATCH):
        yield here[start : start + _BATCH]


def _register(pyramid: Pyramid, pairs: np.ndarray, mirror: bool, top: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs that agree after registration, (Q,) positions; their warp at `top` pixels, (Q, 4): scale, shift; rows, columns.

    An image of a single line can slide along it: where the steps do not improve the agreement, the warp is not changed.
    """
    kept, where = np.arange(len(pairs)), np.tile(_UNIT, (len(pairs), 1))
    for size, steps, least in _COARSE:
        if size > top or not len(kept):
            break
        a, b = pyramid.at(size, pairs[kept, 0]), pyramid.at(size, pairs[kept, 1], mirror)
        before = where if size == 16 else where * _DOUBLE
        after = _refine(a, b, before, steps)
        gained, stayed, untouched = (_correlation(*_with(a, b, at)) for at in (after, before, np.tile(_UNIT, (len(a), 1))))
        best = np.stack([gained, stayed, untouched]).argmax(axis=0)
        where = np.choose(best[:, None], [after, before, _UNIT])
        agrees = np.stack([gained, stayed, untouched]).max(axis=0) >= least
        kept, where = kept[agrees], where[agrees]
    return kept, where


def _with(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    moved, seen = _warped(a, where)
    return moved, b, seen


def _refine(a: np.ndarray, b: np.ndarray, where: np.ndarray, steps: int) -> np.ndarray:
    """Gauss–Newton steps from `where`, (P, 4), on (P, S, S) images; no side is scaled by more than a quarter."""
    size = a.shape[1]
    x = np.arange(size, dtype=np.float32) - (size - 1) / 2
    low, high = (np.array(ends * 2, np.float32) for ends in ([0.8, -0.15 * size], [1.25, 0.15 * size]))
    stride = np.array([0.08, 0.05 * size, 0.08, 0.05 * size], np.float32)
    for _ in range(steps):
        moved, seen = _warped(a, where)
        moved, target = _standardized(moved, seen), _standardized(b, seen)
        down, right = np.gradient((moved + target) / 2, axis=(1, 2))
        slopes = [down * x[:, None], down, right * x, right]
        directions = np.stack([slope * seen for slope in slopes], axis=1).reshape(len(a), 4, -1)
        curvature = directions @ directions.transpose(0, 2, 1)
        damping = np.trace(curvature, axis1=1, axis2=2)[:, None, None] * 1e-3 + 1e-6
        gap = directions @ (moved - target).reshape(len(a), -1, 1)
        step = np.linalg.solve(curvature + damping * np.eye(4, dtype=np.float32), gap)[..., 0]
        where = np.clip(where - np.clip(step, -stride, stride), low, high)
    return where


def _compare_aligned(
    a: np.ndarray, b: np.ndarray, where: np.ndarray, level: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(detail, share, trimmed, shift) of registered pairs, at `level` pixels a side."""
    moved, seen = _warped(a, where)
    moved, b, seen = _downsampled(moved, level), _downsampled(b, level), (_downsampled(seen, level) > 0.99).astype(np.float32)
    fine_a, fine_b = (picture - uniform_filter(picture, level // 8 + 1, mode="reflect", axes=(1, 2)) for picture in (moved, b))
    inside, p, q = (_tiles(picture, 8 if level > 16 else 4) for picture in (seen, moved, b))
    count = np.maximum(inside.sum(axis=2), 1)
    mean_p, mean_q = ((tile * inside).sum(axis=2) / count for tile in (p, q))
    p, q = (p - mean_p[..., None]) * inside, (q - mean_q[..., None]) * inside
    deviation_p, deviation_q = (np.sqrt((tile * tile).sum(axis=2) / count) for tile in (p, q))
    strong, weak = np.maximum(deviation_p, deviation_q), np.minimum(deviation_p, deviation_q)
    agrees = ((p * q).sum(axis=2) / count > _TILE_AGREES * (deviation_p * deviation_q + 1e-3)) & (weak > strong / 2)
    counted = (inside.mean(axis=2) > 0.7) & (strong > STRUCTURE)
    weight = np.minimum(strong, 3 * STRUCTURE) * counted
    share = (weight * agrees).sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-6)
    enough = counted.mean(axis=1) >= TILES_LEAST / 2
    shift = np.median(np.abs(mean_p - mean_q), axis=1)
    detail, trimmed = _correlation(fine_a, fine_b, seen), _trimmed(moved, b, fine_a, fine_b, seen)
    return np.where(enough, detail, -1), np.where(enough, share, 0), np.where(enough, trimmed, -1), shift


def _trimmed(a: np.ndarray, b: np.ndarray, fine_a: np.ndarray, fine_b: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Correlation of fine detail in the tiles with structure, without the share `TRIMMED` of them that differs most: (P,)."""
    across = 16 if a.shape[1] == 64 else 8
    inside, fine_p, fine_q = (_tiles(picture, across) for picture in (seen, fine_a, fine_b))
    strong = np.maximum(*(_tiles(picture, across).std(axis=2) for picture in (a, b)))
    counted = (inside.mean(axis=2) > 0.7) & (strong > STRUCTURE)
    difference = np.where(counted, ((fine_p - fine_q) ** 2 * inside).sum(axis=2), np.inf)
    rank = difference.argsort(axis=1).argsort(axis=1)
    kept = counted & (rank < np.ceil((1 - TRIMMED) * counted.sum(axis=1, keepdims=True)))
    products = ((p * q * inside).sum(axis=2) for p, q in ((fine_p, fine_q), (fine_p, fine_p), (fine_q, fine_q)))
    both, first, second = ((product * kept).sum(axis=1) for product in products)
    return both / np.maximum(np.sqrt(first * second), 1e-6)


def _warped(a: np.ndarray, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`a` scaled and shifted by linear interpolation, and a mask of where it is defined: (P, S, S) float32 each."""
    rows, seen_rows = _interpolation(where[:, 0], where[:, 1], a.shape[1])
    columns, seen_columns = _interpolation(where[:, 2], where[:, 3], a.shape[1])
    return rows @ a @ columns.transpose(0, 2, 1), seen_rows[:, :, None] * seen_columns[:, None, :]


def _interpolation(scale: np.ndarray, shift: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """One axis: weights (P, S, S) of the old pixels for each new one, and (P, S) whether it lies inside."""
    x = np.arange(size, dtype=np.float32)
    middle = np.float32((size - 1) / 2)
    place = (x - middle) * scale[:, None] + middle + shift[:, None]
    inside = (place >= -0.5) & (place <= size - 0.5)
    return np.maximum(0, 1 - np.abs(place[:, :, None] - x)), inside.astype(np.float32)


def _standardized(a: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Mean 0 and standard deviation 1 inside the mask `seen`; 0 elsewhere."""
    count = np.maximum(seen.sum(axis=(1, 2), keepdims=True), 1)
    a = (a - (a * seen).sum(axis=(1, 2), keepdims=True) / count) * seen
    return a / np.sqrt((a * a).sum(axis=(1, 2), keepdims=True) / count + np.float32(1e-3))


def _correlation(a: np.ndarray, b: np.ndarray, seen: np.ndarray) -> np.ndarray:
    return (_standardized(a, seen) * _standardized(b, seen)).sum(axis=(1, 2)) / np.maximum(seen.sum(axis=(1, 2)), 1)


def _downsampled(a: np.ndarray, size: int) -> np.ndarray:
    """(P, S, S) → (P, size, size): means over square blocks."""
    step = a.shape[1] // size
    return a if step == 1 else a.reshape(len(a), size, step, size, step).mean(axis=(2, 4))


def _tiles(a: np.ndarray, across: int) -> np.ndarray:
    """(P, S, S) → (P, across², pixels of a tile)."""
    step = a.shape[1] // across
    return a.reshape(len(a), across, step, across, step).transpose(0, 1, 3, 2, 4).reshape(len(a), across**2, step**2)
