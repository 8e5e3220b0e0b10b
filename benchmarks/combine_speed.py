"""How long do the combiners take on many runs?

Claim: greedy selection among 100 runs with 10,000 images and 100 classes takes at most 60 s and 4 GiB (resident memory of the
whole process at its highest, the answers of all runs included, 0.37 GiB). Conditions: synthetic voters of 60 to 80 % accuracy
that share their mistakes in part; the answers lie in memory; the first call counts.

    python benchmarks/combine_speed.py [--runs 100] [--images 10000] [--classes 100] [--how greedy …]

Prints JSON: seconds to fit and to answer, how many voters got a weight, and the peak of the memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time

import numpy as np

from tellapart import registry

HOW = {
    "greedy (accuracy)": ("greedy", {"metric": "accuracy"}),
    "greedy (log-loss)": ("greedy", {"metric": "log-loss"}),
    "greedy (accuracy, 10 bags)": ("greedy", {"metric": "accuracy", "bags": 10}),
    "weighted": ("weighted", {}),
    "vote": ("vote", {}),
    "mean": ("mean", {}),
    "geometric_mean": ("geometric_mean", {}),
    "rank": ("rank", {}),
    "confident": ("confident", {}),
}


def main() -> None:
    """Time every combiner and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--how", nargs="+", choices=HOW, default=list(HOW))
    options = parser.parse_args()
    voters, labels = synthetic(options.runs, options.images, options.classes)
    rows = [measure(name, voters, labels) for name in options.how]
    sizes = {"runs": options.runs, "images": options.images, "classes": options.classes}
    print(json.dumps({**sizes, "load": os.getloadavg()[0], "peak_gib": peak_gib(), "combiners": rows}, indent=1))


def measure(name: str, voters: np.ndarray, labels: np.ndarray) -> dict:
    """Seconds of one combiner, once."""
    how, options = HOW[name]
    family = registry.find("combiners", how)
    combiner = family(family.Options(**options))
    start = time.perf_counter()
    combiner.fit(voters, labels)
    fitted = time.perf_counter()
    right = (combiner(voters).argmax(axis=1) == labels).mean()
    found = {"how": name, "fit_seconds": round(fitted - start, 2), "answer_seconds": round(time.perf_counter() - fitted, 2)}
    used = None if combiner.weights is None else int(np.count_nonzero(combiner.weights))
    return found | {"voters_with_weight": used, "accuracy": round(float(right), 4), "peak_gib": peak_gib()}


def synthetic(runs: int, images: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(K, N, C) float32 probabilities, (N,) int64 labels."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, images)
    shared = generator.normal(0, 1, (images, classes)).astype(np.float32)
    voters = np.empty((runs, images, classes), dtype=np.float32)
    for k in range(runs):
        logits = shared + generator.standard_normal((images, classes), dtype=np.float32)
        logits[np.arange(images), labels] += 3.9 + 0.9 * k / runs
        np.exp(logits, out=logits)
        voters[k] = logits / logits.sum(axis=1, keepdims=True)
    return voters, labels


def peak_gib() -> float:
    """The highest resident memory of this process so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)


if __name__ == "__main__":
    main()
