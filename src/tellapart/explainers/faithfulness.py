"""How far a map can be believed: what happens to the answer when the pixels that it marks are taken away, or left alone.

deletion    The marked pixels go first; the area under the class's probability. Lower is better.
insertion   From a blur, the marked pixels come first; the area under the probability. Higher is better.
road        The probability when the least marked pixels go, less that when the most marked go, mean over several shares; the
            gaps are filled from their neighbors with a little noise, so that their shape gives nothing away. Higher is better,
            about 0 for a map that says nothing.
pointing    Whether the highest pixel lies in a given mask.
iou         Of the mask and as many of the highest pixels as it has.

None of them means anything alone: beside each stands the same for a map of noise, and for the map of the same net with random
weights.

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

_SIDE = 128  # pixels: pictures are judged at this size at most, or ROAD's equations take minutes
_STEPS = 17  # points of the two curves, from nothing to everything
_SHARES = (0.2, 0.4, 0.6, 0.8)
_NOISE = 0.01 * 255
#: Weights of direct and of diagonal neighbors, equation 5 of Rong et al.
_NEIGHBORS = (*(((dy, dx), 1 / 6) for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0))),
               *(((dy, dx), 1 / 12) for dy in (-1, 1) for dx in (-1, 1)))  # fmt: skip
_OF_MAPS = ("deletion", "insertion", "road")


@dataclass(frozen=True, eq=False)
class Explanation:
    """One map of one picture.

    Attributes:
        image: What the picture was called.
        pixels: (H, W, 3) uint8; of a very large picture a smaller version, at which it was explained.
        answer: The most probable class.
        proba: Class name → probability.
        heatmap: The map, of the class that it names.
        scores: Of this map and of the controls "noise" and "untrained", where asked for and possible.
        pointing: Whether the highest pixel lies in the given mask, of each of them; empty without a mask.
        iou: Of the mask and as many of the highest pixels, of each of them; empty without a mask.
        mask_share: The share of the picture that the mask covers; None without one.
        shrunk_from: (height, width) of what was explained, where it was too large to be explained at its own size.
        part: Left, top, right and bottom of what was explained, in pixels of the picture, where the run reads a part only.
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
        """Plain JSON values, without pixels and map."""
        return {
            "image": self.image, "answer": self.predicted, "probabilities": self.proba, "class": self.heatmap.class_name,
            "method": self.heatmap.method, "scores": {name: s.to_dict() for name, s in self.scores.items()},
            "pointing": self.pointing, "iou": self.iou, "mask_share": self.mask_share,
            "shrunk_from": list(self.shrunk_from) if self.shrunk_from else None,
            "part": list(self.crop) if self.crop else None,
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
        model: Who answered.
        image: (H, W, 3) uint8.
        values: (H, W) float, the map.
        label: The class that it is for.
        seed: Of ties and of noise.
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
    """A map that knows nothing, as coarse as that of a net's last stage: (height, width) float32 in [0, 1]."""
    return resample(np.random.default_rng(seed).random((cells, cells)), height, width)


def pointing_game(values: np.ndarray, mask: np.ndarray) -> bool:
    """Whether the highest pixel, of several the first, lies in `mask`. Both (H, W); an empty map points nowhere."""
    return bool(values.max() > 0 and mask.ravel()[values.argmax()])


def mask_iou(values: np.ndarray, mask: np.ndarray) -> float:
    """Intersection over union of `mask`, (H, W) bool, and as many of the highest pixels of `values`, (H, W).

    >>> overlap(np.array([[3.0, 2.0], [1.0, 0.0]]), np.array([[True, False], [True, False]]))
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
    """Map → score → mean over the pictures.

    Shares have Wilson's interval, means Student's; one picture has none.

    Args:
        found: Maps of one method, a picture each.

    Returns:
        Rows for the method, "noise" and "untrained", where there are such; "pointing" and "iou" count the pictures with a mask.
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
    """Each missing pixel the weighted mean of its neighbors, missing ones included: one linear system, and noise on top.

    Args:
        image: (H, W, 3) uint8.
        which: (M,) int64, numbers of the missing pixels, row by row; not all of them.
        rng: Of the noise.
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
    """`image` with some pixels, by their number, of `other`."""
    found = image.reshape(-1, 3).copy()
    found[which] = other.reshape(-1, 3)[which]
    return found.reshape(image.shape)


def _roads(image: np.ndarray, order: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """For each share the picture without its most marked pixels, then without its least marked."""
    for share in _SHARES:
        count = round(share * len(order))
        for which in (order[:count], order[len(order) - count :]):
            yield fill_from_neighbors(image, which, rng)
