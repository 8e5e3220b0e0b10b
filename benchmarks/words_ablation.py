"""What limits a bag of visual words: one setting changed at a time, from row C1 as it was built to a dense grid.

    python benchmarks/words_ablation.py ../shared/data --json words_ablation.json

Fashion-MNIST (6,000 images to learn from, 2,000 to judge by) and fruits (three quarters and one quarter), all out of the
training parts: the test parts are never opened. One judge for all: ridge regression onto the classes, standardized columns, the
best of three penalties, chosen by the images it is judged by, so all rows are a little flattered. Row C1's own net is in its
recipe.
Rows are written as they come: a run that is ended early keeps what it has.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

import tellapart as ta
from tellapart.data.cache import DecodedImages, PixelCache, resolve_inputs
from tellapart.features._patches import describe_blocks
from tellapart.features.base import FitContext
from tellapart.features.visual_words import VisualWords
from tellapart.recipe import load as recipes
from tellapart.runs.environment import describe_environment

ORB: dict[str, Any] = {"enlarge": 64, "detector": "orb", "edge": 25, "patches": [31], "vocabulary": "batches", "norm": "range"}
GRID: dict[str, Any] = {"words": 300, "step": 2, "patches": [8], "norm": "power"}
ROWS: list[tuple[str, dict[str, Any]]] = [
    ("C1 as built: ORB, 1,500 words, 64 kept", ORB | {"select": [256, 64]}),
    ("C1, patches of 16 instead of 31", ORB | {"patches": [16], "select": [256, 64]}),
    ("C1, nothing selected", ORB),
    ("C1, each patch to its 32 nearest words", ORB | {"select": [256, 64], "histogram": "soft", "nearest": 32}),
    ("C1, one vocabulary of 1,500, nothing selected", ORB | {"vocabulary": "sample"}),
    ("C1, one vocabulary of 100, nothing selected", ORB | {"vocabulary": "sample", "words": 100}),
    ("the same, edge 36", ORB | {"vocabulary": "sample", "words": 100, "edge": 36}),
    ("the same, edge 31", ORB | {"vocabulary": "sample", "words": 100, "edge": 31}),
    ("the same, edge 12", ORB | {"vocabulary": "sample", "words": 100, "edge": 12}),
    ("the same, edge 12, corners of contrast 5", ORB | {"vocabulary": "sample", "words": 100, "edge": 12, "fast_threshold": 5}),
    ("C1 on a grid of 8 pixels, 64 kept", ORB | {"detector": "dense", "step": 8, "select": [256, 64]}),
    ("C1 on a grid of 8 pixels, nothing selected", ORB | {"detector": "dense", "step": 8}),
    ("grid: 300 words", GRID),
    ("grid: 100 words", GRID | {"words": 100}),
    ("grid: 1,000 words", GRID | {"words": 1000}),
    ("grid: counts as they are", GRID | {"norm": "none"}),
    ("grid: sum 1", GRID | {"norm": "l1"}),
    ("grid: length 1", GRID | {"norm": "l2"}),
    ("grid: tfidf", GRID | {"histogram": "tfidf"}),
    ("grid: soft", GRID | {"histogram": "soft"}),
    ("grid: 64 kept", GRID | {"select": [64]}),
    ("grid: parts 1, 2", GRID | {"pyramid": [1, 2]}),
    ("grid: parts 3", GRID | {"pyramid": [3]}),
    ("grid: soft, parts 1, 3", GRID | {"pyramid": [1, 3], "histogram": "soft"}),
    ("grid: soft, parts 1, 3, patches of 6 and 12", GRID | {"pyramid": [1, 3], "histogram": "soft", "patches": [6, 12]}),
]  # fmt: skip


def fashion(data: Path, counts: tuple[int, int]) -> list[tuple[DecodedImages, np.ndarray]]:
    """Images and labels to learn from, and to judge by."""
    table = ta.scan(data / "fashion-mnist")
    return _split(table.where(split="train"), counts, {"size": 28, "mode": "gray"})


def fruits(data: Path, mode: str = "gray") -> list[tuple[DecodedImages, np.ndarray]]:
    """The same of the 2,400 training fruits, at a size of 64."""
    table = ta.scan(data / "fruits.tar").where(split="train")
    return _split(table, (len(table) * 3 // 4, len(table) - len(table) * 3 // 4), {"size": 64, "mode": mode})


def _split(table: ta.ImageTable, counts: tuple[int, int], inputs: dict[str, Any]) -> list[tuple[DecodedImages, np.ndarray]]:
    order = np.random.default_rng(0).permutation(len(table))
    parts = []
    for rows in (order[: counts[0]], order[counts[0] : sum(counts)]):
        part = table.take(np.sort(rows))
        parts.append((PixelCache().images(part, resolve_inputs(recipes.Inputs(**inputs), part)), part.labels))
    return parts


def measure(options: dict[str, Any], train: tuple[DecodedImages, np.ndarray], valid: tuple[DecodedImages, np.ndarray]) -> Any:
    """One row of the table."""
    words, around, start = VisualWords(VisualWords.Options(**options)), FitContext(0), time.perf_counter()
    words.fit(*train, around)
    X, Z = (np.concatenate([words(block) for block in part[0].blocks()]) for part in (train, valid))
    seconds = time.perf_counter() - start
    per_image, missing = count_patches(words, valid[0])
    share = judge(X, train[1], Z, valid[1])
    return {
        "accuracy": round(share, 4), "half interval": round(1.96 * (share * (1 - share) / len(Z)) ** 0.5, 4), "n": len(Z),
        "columns": X.shape[1], "patches per image": round(per_image, 1), "without keypoint": round(missing, 4),
        "rows all zero": round(float((~Z.any(axis=1)).mean()), 4), "seconds": round(seconds, 1),
        "images a second": round((len(X) + len(Z)) / seconds), "notes": around.notes,
    }  # fmt: skip


def count_patches(words: VisualWords, images: DecodedImages) -> tuple[float, float]:
    """Patches an image, stand-ins not counted, and the share of images without any."""
    found = list(describe_blocks(images.blocks(), words.options, 2))
    missing = sum(int(p.missing.sum()) for p in found)
    return (sum(len(p.owner) for p in found) - missing) / len(images), missing / len(images)


def judge(X: np.ndarray, y: np.ndarray, Z: np.ndarray, z: np.ndarray) -> float:
    """Accuracy of ridge regression onto ±1 by class, the best of three penalties."""
    mean, spread = X.mean(axis=0), X.std(axis=0) + 1e-6
    X, Z = (X - mean) / spread, (Z - mean) / spread
    target = np.eye(int(y.max()) + 1, dtype=np.float32)[y] * 2 - 1
    offset = target.mean(axis=0)
    gram, right = X.T @ X, X.T @ (target - offset)
    scores = []
    for penalty in (0.003, 0.03, 0.3):
        weight = np.linalg.solve(gram + penalty * len(X) * np.eye(X.shape[1], dtype=np.float32), right)
        scores.append(float(((Z @ weight + offset).argmax(axis=1) == z).mean()))
    return max(scores)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--train", type=int, default=6_000)
    parser.add_argument("--only", nargs="*", type=int, help="rows of the table, from 0")
    parser.add_argument("--sets", nargs="*", default=["fashion", "fruits"])
    parser.add_argument("--json", type=Path, default=Path("words_ablation.json"))
    asked = parser.parse_args()
    content: dict[str, Any] = {
        "machine": describe_environment("cpu"),
        "judge": "ridge regression, best of 3 penalties",
        "rows": [],
    }
    for name in asked.sets:
        train, valid = fashion(asked.data, (asked.train, asked.train // 3)) if name == "fashion" else fruits(asked.data)
        for what, options in [ROWS[i] for i in asked.only] if asked.only else ROWS:
            row = {"set": name, "what": what, "train": len(train[1]), **measure(options, train, valid), "options": options}
            content["rows"].append(row)
            print(json.dumps(row), flush=True)
            asked.json.write_text(json.dumps(content, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
