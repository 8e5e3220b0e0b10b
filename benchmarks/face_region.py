"""What reading the face alone is worth where the evidence lies in the face, on pictures made here.

    python benchmarks/face_region.py --json benchmarks/results/face_region.json

No set of faces is at hand, so pictures are made of scikit-image's `lfw_subset`: 100 gray faces of 25×25 pixels, enlarged four
times and laid, with soft rims, at random places over photographs that scikit-image carries. All faces get grain; in half of
the pictures the face is smoothed a little after that. Eight pictures of each face; those of one face are a group. Everything is
resized to 64×64, or the face is cut out first. This shows that the parts work together and the kind of gain; it says nothing of
real fakes.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

import tellapart as ta
from tellapart.metrics.mcnemar import compare
from tellapart.metrics.score_all import score_all
from tellapart.recipe import load as recipes
from tellapart.runs.environment import describe_environment

GROUNDS = ("chelsea.png", "coffee.png", "rocket.jpg", "hubble_deep_field.jpg", "brick.png", "grass.png", "gravel.png")
READINGS: dict[str, dict[str, Any]] = {
    "whole": {},
    "center, 0.5 of each side": {"keep": 0.5},
    "face, margin 0": {"region": {"face": {"margin": 0}}},
    "face, margin 0.3": {"region": "face"},
}


def make(folder: Path, each: int, seed: int = 0) -> None:
    """Write pictures and train.csv."""
    spec = importlib.util.find_spec("skimage")
    assert spec is not None and spec.origin is not None
    home, generator = Path(spec.origin).parent / "data", np.random.default_rng(seed)
    faces = np.load(home / "lfw_subset.npy")[:100].clip(0, 1) * 255
    grounds = [np.asarray(Image.open(home / name).convert("L"), dtype=np.float64) for name in GROUNDS]
    window = np.clip(4 * np.minimum(*np.meshgrid(*[np.minimum(np.arange(100), 99 - np.arange(100)) / 50] * 2)), 0, 1)
    lines = ["id,label,group"]
    for number in range(len(faces) * each):
        face, smooth = number // each, number % 2
        large = np.asarray(Image.fromarray(faces[face]).resize((100, 100), Image.Resampling.BICUBIC))
        large = large + generator.normal(0, 6, large.shape)  # grain, which an enlarged face has lost
        large = ndimage.gaussian_filter(large, 0.8) if smooth else large
        ground = grounds[generator.integers(len(grounds))]
        y, x = (generator.integers(0, side - 256) for side in ground.shape)
        picture = ground[y : y + 256, x : x + 256].copy()
        y, x = generator.integers(0, 156, 2)
        part = picture[y : y + 100, x : x + 100]
        picture[y : y + 100, x : x + 100] = window * large + (1 - window) * part
        Image.fromarray(np.rint(picture).clip(0, 255).astype(np.uint8)).save(folder / f"{number:04d}.png")
        lines.append(f"{number:04d},{'smoothed' if smooth else 'real'},face {face}")
    (folder / "train.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=8, help="pictures of one face")
    parser.add_argument("--keep", type=Path, help="write the pictures here, and keep them")
    parser.add_argument("--json", type=Path, default=Path("face_region.json"))
    asked = parser.parse_args()
    content: dict[str, Any] = {"machine": describe_environment("cpu"), "rows": []}
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.keep or Path(scratch) / "faces"
        folder.mkdir(parents=True, exist_ok=True)
        make(folder, asked.each)
        table, first = ta.split(ta.scan(folder)), None
        settings = ta.Settings(runs=Path(scratch) / "runs", device="cpu")
        for name, inputs in READINGS.items():
            spectrum = {"descriptors": [{"spectrum": {"block": 16}}]}
            inputs = {"size": 64, "mode": "gray", **inputs}
            made = {"inputs": inputs, "features": spectrum, "classifier": {"family": "linear"}}
            run = ta.train(table, recipes.parse(made), settings=settings)
            found = ta.predict(run, table.where(split="test"), settings=settings)
            content["rows"].append(_row(name, run, found, first))
            first = first or found
            print(json.dumps(content["rows"][-1]), flush=True)
            asked.json.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _row(name: str, run: Any, found: Any, first: Any) -> dict[str, Any]:
    accuracy = score_all(found, None)["accuracy"]
    row = {"reading": name, "accuracy": accuracy.to_dict(), "notes": [n for n in run.cost["notes"] if "found" in n]}
    if first is not None:
        by = compare(found, first)
        row |= {"better_by": by.difference.to_dict(), "p": by.test.p_value}
    return row


if __name__ == "__main__":
    main()
