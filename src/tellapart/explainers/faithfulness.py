"""Faithfulness of a map: how the prediction changes when the most important pixels are removed, or only they are kept.

deletion    Remove the most important pixels first; the area under the curve of the class's probability. Lower is better.
insertion   Start from a blur and insert the most important pixels first; the area under the curve. Higher is better.
road        The probability without the least important pixels minus that without the most important ones, mean over several
            shares; the gaps are filled from their neighbors with a little noise, so that their shape reveals nothing. Higher is
            better, about 0 for an uninformative map.
pointing    Whether the highest pixel lies in a given mask.
iou         Intersection over union of the mask and equally many of the highest pixels.

The scores have no meaning alone: each is compared with that of a noise map, and of the map of the same net with random weights.

Sources:
    Petsiuk, Das & Saenko (2018), "RISE" (deletion, insertion).
    Rong et al. (2022), "A consistent and efficient evaluation strategy for attribution methods" (ROAD).
    Zhang et al. (2018), "Top-down neural attention by excitation backprop" (the pointing game).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from PIL import Image
from scipy.sparse import csc_array
from scipy.sparse.linalg import splu
from scipy.stats import t as student

from tellapart.data.regions import Cut
from tellapart.explainers._baselines import blur, mean
from tellapart.explainers._geometry import resample
from tellapart.explainers._model import ExplainedModel
from tellapart.explainers.base import Heatmap
from tellapart.metrics.intervals import wilson
from tellapart.types import Score

_SIDE = 128  # pixels: images are scored at this size at most; above it the equations of ROAD take minutes
_STEPS = 17  # points of the two curves, from nothing to everything
_SHARES = (0.2, 0.4, 0.6, 0.8)
_NOISE = 0.01 * 255
#: Weights of direct and of diagonal neighbors, equation 5 of Rong et al.
_NEIGHBORS = (*(((dy, dx), 1 / 6) for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0))),
               *(((dy, dx), 1 / 12) for dy in (-1, 1) for dx in (-1, 1)))  # fmt: skip
_OF_MAPS = ("deletion", "insertion", "road")


@dataclass(frozen=True, eq=False)
class Explanation:
    """One map of one image.

    Attributes:
        image: Name of the image.
        pixels: (H, W, 3) uint8; downsampled for a very large image.
        predicted: The most probable class.
        proba: Class name → probability.
        heatmap: The map, with the explained class.
        scores: Name → scores of the map and of the controls "noise" and "untrained", if requested and possible.
        pointing: Name → whether the highest pixel lies in the mask; empty without a mask.
        iou: Name → intersection over union of the mask and equally many of the highest pixels; empty without a mask.
        mask_share: Share of the image that the mask covers; None without a mask.
        shrunk_from: (height, width) before downsampling; None if the image was not downsampled.
        crop: Left, top, right and bottom of the explained region, in pixels of the image; None: the whole image.
    """

    image: str
    pixels: np.ndarray
    predicted: str
    proba: dict[str, float]
    heatmap: Heatmap
    scores: dict[str, Faithfulness] = field(default_factory=dict)
    pointing: dict[str, bool] = field(default_factory=dict)
    iou: dict[str, float] = field(default_factory=dict)
    mask_share: float | None = None
    shrunk_from: tuple[int, int] | None = None
    crop: Cut | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the pixels and the map."""
        return {
            "image": self.image, "predicted": self.predicted, "probabilities": self.proba, "class": self.heatmap.class_name,
            "method": self.heatmap.method, "scores": {name: s.to_dict() for name, s in self.scores.items()},
            "pointing": self.pointing, "iou": self.iou, "mask_share": self.mask_share,
            "shrunk_from": list(self.shrunk_from) if self.shrunk_from else None,
            "crop": list(self.crop) if self.crop else None,
        }  # fmt: skip


@dataclass(frozen=True)
class Faithfulness:
    """Three scores of one map, in units of probability."""

    deletion: float
    insertion: float
    road: float

    def to_dict(self) -> dict[str, float]:
        """Plain JSON values."""
        return asdict(self)


def faithfulness(model: ExplainedModel, image: np.ndarray, values: np.ndarray, label: int, seed: int = 0) -> Faithfulness:
    """Score a map.

    Args:
        model: The classifier.
        image: (H, W, 3) uint8.
        values: (H, W) float, the map.
        label: The explained class.
        seed: Random seed for ties and noise.
    """
    rng = np.random.default_rng(seed)
    image, values = _small(image, values)
    order = np.lexsort((rng.random(values.size), -values.ravel()))
    counts = np.rint(np.linspace(0, values.size, _STEPS)).astype(int)
    gone, bare = mean(image), blur(image)
    curves = [
        *(_exchanged(image, gone, order[:count]) for count in counts),
        *(_exchanged(bare, image, order[:count]) for count in counts),
    ]
    roads = list(_roads(image, order, rng))
    p = model.predict([*curves, *roads])[:, label].astype(np.float64)
    deletion, insertion = (float(np.trapezoid(p[at : at + _STEPS], dx=1 / (_STEPS - 1))) for at in (0, _STEPS))
    most, least = p[2 * _STEPS :: 2], p[2 * _STEPS + 1 :: 2]
    return Faithfulness(deletion, insertion, float(np.mean(least - most)))


def noise_map(height: int, width: int, seed: int, cells: int = 7) -> np.ndarray:
    """A random map, as coarse as that of the last stage of a net: (height, width) float32 in [0, 1]."""
    return resample(np.random.default_rng(seed).random((cells, cells)), height, width)


def pointing_game(values: np.ndarray, mask: np.ndarray) -> bool:
    """Whether the highest pixel, the first of several, lies in `mask`. Both (H, W); False for an empty map."""
    return bool(values.max() > 0 and mask.ravel()[values.argmax()])


def mask_iou(values: np.ndarray, mask: np.ndarray) -> float:
    """Intersection over union of `mask`, (H, W) bool, and equally many of the highest pixels of `values`, (H, W).

    >>> mask_iou(np.array([[3.0, 2.0], [1.0, 0.0]]), np.array([[True, False], [True, False]]))
    0.3333333333333333
    """
    count = int(mask.sum())
    if not count:
        return float("nan")
    chosen = np.zeros(mask.size, dtype=bool)
    chosen[np.argsort(-values.ravel(), kind="stable")[:count]] = True
    both = int((chosen & mask.ravel()).sum())
    return both / (2 * count - both)


def summarize(found: Sequence[Explanation]) -> dict[str, dict[str, Score]]:
    """Summarize the scores of many maps: map → score → mean over the images.

    Shares have Wilson's interval, means Student's; a single image has no interval.

    Args:
        found: Maps of one method, one per image.

    Returns:
        Rows for the method, "noise" and "untrained", if available; "pointing" and "iou" use the images with a mask.
    """
    rows: dict[str, dict[str, Score]] = {}
    for name in dict.fromkeys(name for one in found for name in (*one.scores, *one.pointing)):
        scored = [one.scores[name].to_dict() for one in found if name in one.scores]
        row = {s: mean_score([of[s] for of in scored], s != "deletion") for s in _OF_MAPS} if scored else {}
        hits = [one.pointing[name] for one in found if name in one.pointing]
        if hits:
            row["pointing"] = Score(sum(hits) / len(hits), len(hits), *wilson(sum(hits), len(hits)))
        shares = [one.iou[name] for one in found if not math.isnan(one.iou.get(name, math.nan))]
        if shares:
            row["iou"] = mean_score(shares)
        rows[name] = row
    return rows


def mean_score(values: Sequence[float], higher_is_better: bool = True) -> Score:
    """The mean with Student's 95 % interval: x̄ ± t₀.₉₇₅(n−1) s/√n. `values`: at least one."""
    mean, n = float(np.mean(values)), len(values)
    if n < 2:
        return Score(mean, n, math.nan, math.nan, higher_is_better=higher_is_better)
    half = float(student.ppf(0.975, n - 1) * np.std(values, ddof=1) / math.sqrt(n))
    return Score(mean, n, mean - half, mean + half, higher_is_better=higher_is_better)


def fill_from_neighbors(image: np.ndarray, which: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Fill each missing pixel with the weighted mean of its neighbors, missing ones included (one linear system), and add
    noise.

    Args:
        image: (H, W, 3) uint8.
        which: (M,) int64, numbers of the missing pixels, row by row; not all pixels.
        rng: Random generator of the noise.
    """
    height, width = image.shape[:2]
    place = np.full(height * width, -1)
    place[which] = np.arange(len(which))
    y, x = np.divmod(which, width)
    rows, columns, shares = [np.arange(len(which))], [np.arange(len(which))], [np.ones(len(which))]
    known, whole = np.zeros((len(which), 3)), np.zeros(len(which))
    pixels = image.reshape(-1, 3).astype(np.float64)
    near = []
    for (dy, dx), weight in _NEIGHBORS:
        inside = (y + dy >= 0) & (y + dy < height) & (x + dx >= 0) & (x + dx < width)
        whole += weight * inside
        near.append((np.flatnonzero(inside), ((y + dy) * width + x + dx)[inside], weight))
    for mine, theirs, weight in near:
        missing = place[theirs] >= 0
        rows.append(mine[missing])
        columns.append(place[theirs[missing]])
        shares.append(-weight / whole[mine[missing]])
        np.add.at(known, mine[~missing], weight / whole[mine[~missing], None] * pixels[theirs[~missing]])
    system = csc_array((np.concatenate(shares), (np.concatenate(rows), np.concatenate(columns))), shape=(len(which),) * 2)
    found = pixels.copy()
    found[which] = splu(system).solve(known) + rng.normal(0, _NOISE, (len(which), 3))
    return np.clip(np.rint(found), 0, 255).astype(np.uint8).reshape(image.shape)


def _small(image: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    shrink = _SIDE / max(image.shape[:2])
    if shrink >= 1:
        return image, values
    height, width = (max(round(side * shrink), 1) for side in image.shape[:2])
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC)), resample(values, height, width)


def _exchanged(image: np.ndarray, other: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Replace pixels of `image`, by their number, with those of `other`."""
    found = image.reshape(-1, 3).copy()
    found[which] = other.reshape(-1, 3)[which]
    return found.reshape(image.shape)


def _roads(image: np.ndarray, order: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield, for each share, the image without its most important pixels, then without its least important ones."""
    for share in _SHARES:
        count = round(share * len(order))
        for which in (order[:count], order[len(order) - count :]):
            yield fill_from_neighbors(image, which, rng)
