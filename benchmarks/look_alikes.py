"""How many near-duplicates does `check` find among images that all look alike, and how many of its pairs are wrong?

Sets, each with a fixed seed:

- *faces*: 1,000 aligned face-like crops of 128 × 128 pixels as JPEG: 800 originals and 200 edited copies. No set of
  photographs of faces is at hand, so these are composites: a random mixture of three of the 100 faces (25 × 25, gray) that
  scikit-image carries from Labeled Faces in the Wild, enlarged, tinted, with drawn eyes, brows and mouth, a texture from
  photographs on the skin, and a background of a blurred photograph. They are aligned, and they resemble each other more than
  photographs of faces do, since every mixture lies near the mean face.
- *trousers*: 2,000 trousers of fashion-mnist (28 × 28, gray) and edited copies of 200 of them. The data contain pairs of their
own.
- *fruits*: frames of fruits on a turntable (100 × 100, JPEG) and edited copies of 200 of them. Neighboring frames are
  near-duplicates by themselves.
- *deepfake5, cifake, scenes, fruits-planted, fashion-mnist, tiles*: 600 images and 200 copies that are saved again, halved,
cropped,
  mirrored and edited, in turn.

An edit covers 3 to 15 % of the image: a region of another image of the set (`paste`, at the same place, as a swap of eyes or
a mouth), of the same image (`move`), a blur, an inpainted region, or another color. Every copy is saved again with another
quality. Recall is over the planted pairs. A pair is *wrong* if neither its images nor their originals are the same; pairs
among the originals, which the data contain by themselves, are counted apart as *own*, and are to be looked at (`--show DIR`).

    python benchmarks/look_alikes.py [--sets faces trousers …] [--seed 0] [--show DIR] [-s OPTION=VALUE …]

Prints JSON.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tellapart.checks._dataset_view import DatasetView
from tellapart.checks.near_duplicates import NearDuplicates
from tellapart.data.decode import decode
from tellapart.data.memory import from_bytes
from tellapart.data.reader import ImageReader
from tellapart.data.sample_photos import PHOTOGRAPHS
from tellapart.data.scan import scan
from tellapart.metrics.intervals import wilson

#: Side of a face-like crop, and the share of an image that an edit covers.
SIDE, AREA = 128, (0.03, 0.15)
Edit = Callable[[np.ndarray, np.ndarray, np.ndarray, np.random.Generator], np.ndarray]


# --- face-like crops ---------------------------------------------------------------------------------------------------


def faces(count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Aligned face-like crops, (128, 128, 3) uint8 each; no two mix the same three faces."""
    photographs = [one.load() for one in PHOTOGRAPHS if one.color and one.name not in ("ihc", "retina", "hubble")]
    folder = next(one.path for one in PHOTOGRAPHS if one.library == "scikit-image").parent
    real = np.load(folder / "lfw_subset.npy")[:100].astype(np.float32)
    seen: set[tuple[int, ...]] = set()
    found = []
    while len(found) < count:
        three = tuple(sorted(rng.choice(100, 3, replace=False).tolist()))
        if three not in seen:
            seen.add(three)
            found.append(face(real[list(three)], photographs, rng))
    return found


def face(three: np.ndarray, photographs: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """One crop from three faces, (3, 25, 25) float32 in [0, 1]."""
    import cv2

    low = np.tensordot(mixture(rng), three, 1).astype(np.float32)
    low = low[:, ::-1] if rng.random() < 0.5 else low
    gray = cv2.resize(np.ascontiguousarray(low), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) * 255
    features(gray, rng)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    texture = patch(photographs, rng).mean(axis=2)
    gray += rng.uniform(0.03, 0.15) * (texture - cv2.GaussianBlur(texture, (0, 0), 3))
    skin = gray[..., None] * np.array([1.1, 0.92, 0.8]) * rng.uniform(0.9, 1.1, 3)
    behind = cv2.GaussianBlur(patch(photographs, rng), (0, 0), 10)
    middle, reach = SIDE / 2 + rng.normal(0, 1.5, 2), (SIDE * rng.uniform(0.52, 0.6), SIDE * rng.uniform(0.42, 0.48))
    outside = np.hypot((y - middle[0]) / reach[0], (x - middle[1]) / reach[1])
    share = np.clip((outside - 0.95) / 0.1, 0, 1)[..., None]
    return np.clip(skin * (1 - share) + behind * share, 0, 255).astype(np.uint8)


def mixture(rng: np.random.Generator) -> np.ndarray:
    """Shares of three faces, (3,): none above 0.6, else two crops of one dominant photograph would be near-duplicates."""
    while True:
        shares = rng.dirichlet(np.ones(3))
        if shares.max() <= 0.6:
            return shares


def features(gray: np.ndarray, rng: np.random.Generator) -> None:
    """Draw eyes, brows and a mouth, near the places they have in the faces, into (128, 128) float32."""
    import cv2

    over = np.zeros_like(gray)
    shade = float(rng.uniform(15, 60))

    def at(across: float, down: float) -> tuple[int, int]:
        return round(SIDE * across + rng.normal(0, 1.5)), round(SIDE * down + rng.normal(0, 1.5))

    for across in (0.32, 0.68):
        size = (round(rng.uniform(7, 10)), round(rng.uniform(3, 5)))
        middle = at(across, 0.42)
        cv2.ellipse(over, middle, size, 0, 0, 360, shade / 2, -1, cv2.LINE_AA)
        cv2.circle(over, middle, round(rng.uniform(2, 4)), -shade, -1, cv2.LINE_AA)
        brow = at(across, 0.32)
        cv2.ellipse(over, brow, (size[0] + 3, 4), rng.uniform(-10, 10), 180, 360, -shade, int(rng.integers(1, 4)), cv2.LINE_AA)
    mouth, wide = at(0.5, 0.78), round(rng.uniform(12, 20))
    cv2.ellipse(over, mouth, (wide, round(rng.uniform(2, 7))), 0, 0, 180, -shade, int(rng.integers(1, 4)), cv2.LINE_AA)
    gray += cv2.GaussianBlur(over, (0, 0), 1)


def patch(photographs: list[np.ndarray], rng: np.random.Generator, side: int = SIDE) -> np.ndarray:
    """A window of a photograph: (side, side, 3) float32."""
    whole = photographs[int(rng.integers(len(photographs)))]
    top, left = (int(rng.integers(length - side + 1)) for length in whole.shape[:2])
    return whole[top : top + side, left : left + side].astype(np.float32)


# --- local edits -------------------------------------------------------------------------------------------------------


def edited(pixels: np.ndarray, other: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """A copy with one local edit: (H, W, 3) uint8. `other`: another image of the set."""
    height, width = pixels.shape[:2]
    area, shape = rng.uniform(*AREA) * height * width, np.exp(rng.uniform(-0.7, 0.7))
    tall, wide = (max(2, int(side)) for side in (min(np.sqrt(area * shape), height - 2), min(np.sqrt(area / shape), width - 2)))
    top, left = int(rng.integers(1, height - tall)), int(rng.integers(1, width - wide))
    region = (slice(top, top + tall), slice(left, left + wide))
    found = pixels.copy()
    found[region] = EDITS[kind](pixels, other, np.array([top, left, tall, wide]), rng)
    return found


def _paste(pixels: np.ndarray, other: np.ndarray, box: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    del rng
    other = other if other.shape == pixels.shape else np.asarray(Image.fromarray(other).resize(pixels.shape[1::-1]))
    return other[box[0] : box[0] + box[2], box[1] : box[1] + box[3]]


def _move(pixels: np.ndarray, other: np.ndarray, box: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    del other
    top, left = (int(rng.integers(length - side + 1)) for length, side in zip(pixels.shape[:2], box[2:], strict=True))
    return pixels[top : top + box[2], left : left + box[3]]


def _blur(pixels: np.ndarray, other: np.ndarray, box: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    import cv2

    del other
    soft = cv2.GaussianBlur(pixels, (0, 0), float(rng.uniform(0.02, 0.06)) * len(pixels))
    return soft[box[0] : box[0] + box[2], box[1] : box[1] + box[3]]


def _inpaint(pixels: np.ndarray, other: np.ndarray, box: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    import cv2

    del other, rng
    mask = np.zeros(pixels.shape[:2], np.uint8)
    inside = (slice(box[0], box[0] + box[2]), slice(box[1], box[1] + box[3]))
    mask[inside] = 255
    return cv2.inpaint(pixels, mask, 3, cv2.INPAINT_TELEA)[inside]


def _recolor(pixels: np.ndarray, other: np.ndarray, box: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    del other
    inside = pixels[box[0] : box[0] + box[2], box[1] : box[1] + box[3]].astype(np.float32)
    return np.clip(inside * rng.uniform(0.6, 1.4, 3), 0, 255).astype(np.uint8)


EDITS: dict[str, Edit] = {"paste": _paste, "move": _move, "blur": _blur, "inpaint": _inpaint, "recolor": _recolor}


def damaged(pixels: np.ndarray, other: np.ndarray, kind: str, rng: np.random.Generator) -> np.ndarray:
    """A copy as it is (`saved`), halved, cropped by 5 %, mirrored, or edited."""
    if kind in EDITS:
        return edited(pixels, other, kind, rng)
    image = Image.fromarray(pixels)
    if kind == "halved":
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC)
    if kind == "cropped":
        width, height = round(0.95 * image.width), round(0.95 * image.height)
        left, top = int(rng.integers(image.width - width + 1)), int(rng.integers(image.height - height + 1))
        image = image.crop((left, top, left + width, top + height))
    return np.ascontiguousarray(np.asarray(image)[:, :: -1 if kind == "mirrored" else 1])


# --- sets --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Planted:
    """Encoded images; `origin`: (N,) int64, the number of the original of each; `kinds`: how each copy was changed."""

    blobs: list[bytes]
    origin: np.ndarray
    kinds: dict[int, str]


def plant(pictures: list[np.ndarray], copies: int, kinds: tuple[str, ...], rng: np.random.Generator, png: bool) -> Planted:
    """Add changed copies of the first images. `png`: originals as they are, else as JPEG of quality 75 to 95."""
    copies = min(copies, len(pictures))
    changed = {len(pictures) + n: kinds[n % len(kinds)] for n in range(copies)}
    blobs = [encoded(p, None if png else int(rng.integers(75, 96))) for p in pictures]
    for row, kind in changed.items():
        other = pictures[int(rng.integers(len(pictures)))]
        blobs.append(encoded(damaged(pictures[row - len(pictures)], other, kind, rng), int(rng.integers(60, 96))))
    return Planted(blobs, np.concatenate([np.arange(len(pictures)), np.arange(copies)]), changed)


def encoded(pixels: np.ndarray, quality: int | None) -> bytes:
    """As PNG, or as JPEG of a quality."""
    target = io.BytesIO()
    image = Image.fromarray(pixels)
    image.save(target, "PNG") if quality is None else image.save(target, "JPEG", quality=quality)
    return target.getvalue()


def pictures_of(name: str, count: int, rng: np.random.Generator, label: int | None = None) -> list[np.ndarray]:
    """Images of a set of the shared data, (H, W, 3) uint8; `label`: of one class only."""
    table = scan(Path(os.environ.get("TELLAPART_DATA", Path(__file__).parents[2] / "shared" / "data")) / name)
    rows = np.arange(len(table)) if label is None else np.flatnonzero(table.labels == label)
    table = table.take(rng.permutation(rows)[:count])
    with ImageReader(table) as reader:
        return [decode(reader.get(path)) for path in table.paths]


LOCAL = tuple(EDITS)
ALL_KINDS = ("saved", "halved", "cropped", "mirrored", *LOCAL)


def make(name: str, rng: np.random.Generator) -> Planted:
    """One set by name."""
    if name == "faces":
        return plant(faces(800, rng), 200, LOCAL, rng, png=False)
    if name == "faces-all":
        return plant(faces(800, rng), 200, ALL_KINDS, rng, png=False)
    if name == "trousers":
        return plant(pictures_of("fashion-mnist", 2000, rng, label=1), 200, LOCAL, rng, png=True)
    if name == "shirts":
        return plant(pictures_of("fashion-mnist", 2000, rng, label=6), 200, LOCAL, rng, png=True)
    if name == "turntable":
        return plant(pictures_of("fruits.tar", 3200, rng), 200, LOCAL, rng, png=True)
    file = {"deepfake5": "deepfake5.tar", "cifake": "cifake.zip", "scenes": "scenes.tar", "fruits": "fruits.tar"}.get(
        name, name
    )
    return plant(pictures_of(file, 600, rng, label=0 if name == "scenes" else None), 200, ALL_KINDS, rng, png=True)


SETS = ("faces", "faces-all", "trousers", "shirts", "turntable", "deepfake5", "cifake", "scenes", "fruits", "fashion-mnist")


# --- figures -----------------------------------------------------------------------------------------------------------


def figures(planted: Planted, options: NearDuplicates.Options, show: Path | None = None) -> dict:
    """What the check finds of one set."""
    table = from_bytes(planted.blobs, np.zeros(len(planted.blobs), int), ["image"])
    view = DatasetView(table, traces=False)
    start = time.process_time()
    view.thumbnails.sum()  # decode before the search is timed
    decoded = time.process_time()
    result = NearDuplicates(options)(view)
    spent = time.process_time() - decoded
    pairs = np.zeros((0, 2), int) if result.pairs is None else result.pairs
    same = planted.origin[pairs[:, 0]] == planted.origin[pairs[:, 1]]
    own = ~same & (pairs < len(pairs_origin(planted))).all(axis=1)
    found = {int(row) for row in pairs[same].max(axis=1)}
    groups = {kind: [row for row, of in planted.kinds.items() if of == kind] for kind in dict.fromkeys(planted.kinds.values())}
    if show is not None:
        show_pairs(planted, pairs[~same], show)
    wrong = int((~same & ~own).sum())
    return {
        "images": len(table), "planted": len(planted.kinds), "found": len(found),
        "recall": interval(len(found), len(planted.kinds)),
        "wrong": wrong, "own": int(own.sum()),
        "precision, own pairs left out": interval(int(same.sum()), int(same.sum()) + wrong),
        "precision, own pairs counted as wrong": interval(int(same.sum()), len(pairs)),
        "missed by kind": {kind: f"{sum(row not in found for row in rows)} of {len(rows)}" for kind, rows in groups.items()},
        "decode_processor_seconds": round(decoded - start, 1), "search_processor_seconds": round(spent, 1),
        "details": {k: v for k, v in result.details.items() if isinstance(v, int)}, "summary": result.summary,
    }  # fmt: skip


def pairs_origin(planted: Planted) -> np.ndarray:
    """The originals."""
    return planted.origin[: len(planted.blobs) - len(planted.kinds)]


def interval(k: int, n: int) -> list[float] | None:
    """Share and its 95 % interval (Wilson)."""
    if not n:
        return None
    low, high = wilson(k, n)
    return [round(v, 4) for v in (k / n, low, high)]


def show_pairs(planted: Planted, pairs: np.ndarray, file: Path) -> None:
    """Write pairs side by side into one image, at most 100."""
    both = [
        [Image.open(io.BytesIO(planted.blobs[row])).convert("RGB").resize((96, 96)) for row in pair] for pair in pairs[:100]
    ]
    sheet = Image.new("RGB", (10 * 200, max(1, -(-len(both) // 10)) * 100), "white")
    for n, (left, right) in enumerate(both):
        sheet.paste(left, (n % 10 * 200, n // 10 * 100))
        sheet.paste(right, (n % 10 * 200 + 97, n // 10 * 100))
    sheet.save(file)


def main() -> None:
    """Make the sets, check them, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=Path, default=None, help="folder for pictures of the pairs that were not planted")
    parser.add_argument("--everywhere", action="store_true", help="without the rule for look-alikes")
    options = parser.parse_args()
    if options.show:
        options.show.mkdir(parents=True, exist_ok=True)
    found = {}
    for name in options.sets:
        planted = make(name, np.random.default_rng(options.seed))
        show = options.show / f"{name}.png" if options.show else None
        found[name] = figures(planted, NearDuplicates.Options(everywhere=options.everywhere), show)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
