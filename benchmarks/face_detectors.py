"""How many faces Haar's cascade and CenterFace find, how often they are wrong, and what a picture costs.

    python benchmarks/face_detectors.py --json benchmarks/results/face_detectors.json

Faces: scikit-image's `lfw_subset`, 100 gray faces of 25×25 pixels and 100 pictures of other things, enlarged four times, alone
or within surroundings of as much again; and its photograph of an astronaut at sizes from 64 to 1,024 pixels. Other things: the
other photographs that scikit-learn and scikit-image carry, and the data sets of $TELLAPART_DATA, which hold animals, scenes and
fruit. In `deepfake5` there are a few people; look at what was found before you call it wrong. Seconds are processor time of one
thread, a median of three.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import tellapart as ta
from tellapart.data.decode import decode
from tellapart.data.faces import find_face, identity
from tellapart.data.reader import ImageReader
from tellapart.data.sample_photos import PHOTOGRAPHS
from tellapart.metrics.intervals import share_interval
from tellapart.recipe.schema import FaceRegion
from tellapart.runs.environment import describe_environment

RULES = {"haar": FaceRegion(), "centerface": FaceRegion(detector="centerface")}
SURROUNDINGS: dict[str, dict[str, Any] | None] = {
    "alone": None,
    "within gray": {"constant_values": 128},
    "within black": {"constant_values": 0},
    "within its mirror image": {"mode": "symmetric"},
}
SETS = {"deepfake5.tar": 600, "cifake.zip": 600, "scenes.tar": 120, "fruits.tar": 300}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path("face_detectors.json"))
    asked = parser.parse_args()
    content: dict[str, Any] = {
        "machine": describe_environment("cpu"),
        "detectors": {name: identity(rule) for name, rule in RULES.items()},
        "rows": [],
    }
    for name, pictures in _sets():
        content["rows"] += [row := measured(name, pictures)]
        print(json.dumps(row), flush=True)
        asked.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def measured(name: str, pictures: Sequence[np.ndarray]) -> dict[str, Any]:
    """Of one set of pictures, (H, W, 3) uint8 each: in how many each detector found a face, and milliseconds a picture."""
    row: dict[str, Any] = {"set": name, "n": len(pictures)}
    for detector, rule in RULES.items():
        rounds, found = [], np.zeros(len(pictures), bool)
        for _ in range(3):
            start = time.process_time()
            found = np.array([not np.isnan(find_face(one, rule)).any() for one in pictures])
            rounds.append((time.process_time() - start) / len(pictures))
        low, high = share_interval(found, None)
        rows = np.flatnonzero(found).tolist() if found.mean() < 0.5 else []
        row[detector] = {
            "found": int(found.sum()), "low": round(low, 4), "high": round(high, 4),
            "ms": round(1000 * statistics.median(rounds), 2), "rows": rows,
        }  # fmt: skip
    return row


def _sets() -> Any:
    spec = importlib.util.find_spec("skimage")
    assert spec is not None and spec.origin is not None
    faces = (np.load(Path(spec.origin).parent / "data" / "lfw_subset.npy").clip(0, 1) * 255).astype(np.uint8)
    for around, options in SURROUNDINGS.items():
        large = [_scaled(one, 100) if options is None else np.pad(_scaled(one, 100), 50, **options) for one in faces]
        pictures = [np.repeat(one[..., None], 3, axis=2) for one in large]
        yield f"lfw_subset, faces, {around}", pictures[:100]
        yield f"lfw_subset, other things, {around}", pictures[100:]
    photographs = {one.name: np.broadcast_to(pixels := one.load(), (*pixels.shape[:2], 3)) for one in PHOTOGRAPHS}
    portrait = np.ascontiguousarray(photographs.pop("astronaut"))
    yield "astronaut, 20 sizes from 64 to 1,024", [_scaled(portrait, round(side)) for side in np.geomspace(64, 1024, 20)]
    yield "photographs without a frontal face", [np.ascontiguousarray(one) for one in photographs.values()]
    for side in (100, 256, 512, 1024, 4000):
        yield f"astronaut, {side}", [_scaled(portrait, side)]
    data = os.environ.get("TELLAPART_DATA")
    for name, most in SETS.items() if data else ():
        table = ta.scan(Path(data or "") / name)
        rows = np.arange(0, len(table), max(len(table) // most, 1))[:most]
        with ImageReader(table) as reader:
            yield name, [decode(reader.get(str(path)), path=str(path)) for path in table.take(rows).paths]


def _scaled(pixels: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC))


if __name__ == "__main__":
    main()
