"""Does a feature pass need memory for its batch or for the set? Peak memory beside the matrix it fills, at two sizes.

    python benchmarks/feature_memory.py ../shared/data --json feature_memory.json [-d hog …]

Each descriptor is fitted on, and describes, 10,000 and then 60,000 images of Fashion-MNIST in a fresh process each. From the
highest resident memory (`ru_maxrss`) are taken: what the process needed before, after one block of images had been described
(libraries, threads); the matrix of results, which must hold a row an image; and the decoded images, a memory map that the
system may drop at any time. What is left is the pass's own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
from pathlib import Path
from typing import Any

import numpy as np

import tellapart as ta
from tellapart import registry
from tellapart.data.cache import DecodedImages, PixelCache
from tellapart.features.pipeline import FeaturePipeline
from tellapart.recipe.schema import Features, Inputs
from tellapart.runs.environment import describe_environment

SIZES = (10_000, 60_000)
ASKS_FOR_A_RUN = {"embedding"}


def peak() -> float:
    """Highest resident memory so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def one(data: Path, descriptor: str, count: int) -> dict[str, float]:
    """MiB of one pass."""
    table = ta.scan(data / "fashion-mnist")
    table = table.take(np.flatnonzero(table.frame["split"].to_numpy(dtype=object) == "train")[:count])
    images = PixelCache().images(table, Inputs(size=28, mode="gray"))
    features = Features(descriptors=[{descriptor: {}}], standardize=True)
    few = DecodedImages(images.pixels, images.positions[:1024])
    FeaturePipeline(features, 0).fit_transform(few, table.labels[:1024])
    before = peak()
    X = FeaturePipeline(features, 0).fit_transform(images, table.labels)
    mapped = len(images) * int(np.prod(images.shape)) / 2**20
    return {"matrix": X.nbytes / 2**20, "own": max(peak() - before - X.nbytes / 2**20 - mapped, 0.0)}


def measure(data: Path, descriptor: str) -> dict[str, Any]:
    """Both sizes, each in a process of its own."""
    found: dict[str, Any] = {"descriptor": descriptor}
    for count in SIZES:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            sizes = pool.apply(one, (data, descriptor, count))
        found[f"{count:,} images, MiB"] = {name: round(value, 1) for name, value in sizes.items()}
    return found


def main() -> None:
    """Measure all descriptors and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-d", "--descriptor", action="append")
    parser.add_argument("--json", type=Path, default=Path("feature_memory.json"))
    asked = parser.parse_args()
    names = asked.descriptor or [n for n in registry.names("features") if n not in ASKS_FOR_A_RUN]
    content = {"machine": describe_environment("cpu"), "passes": [measure(asked.data, name) for name in names]}
    asked.json.write_text(json.dumps(content, indent=1), encoding="utf-8")
    print(json.dumps(content["passes"], indent=1))


if __name__ == "__main__":
    main()
