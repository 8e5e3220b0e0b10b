"""What does it cost to keep feature vectors, and how fast are they read?

    python benchmarks/feature_cache.py [--rows 100000] [--width 1695] > benchmarks/results/feature_cache.json

Vectors of random numbers in blocks of 1,024, as a feature pipeline asks for them: made alone, made and stored, and read again
from the store of another object (warm: the file is in memory). Medians of three; the peak of the resident memory that is not
the mapped file, over a first tenth and over all of the blocks.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tellapart.features._store import VectorStore
from tellapart.features.lbp import LBP

BLOCK = 1024


def anonymous() -> float:
    """Resident memory without mapped files, MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def filled(store: VectorStore | None, keys: np.ndarray, make: Callable[[np.ndarray], np.ndarray]) -> tuple[float, list[float]]:
    """Seconds for all vectors, and the memory after each block."""
    start, memory = time.perf_counter(), []
    for first in range(0, len(keys), BLOCK):
        some = keys[first : first + BLOCK]
        if store is None:
            make(some)
        else:
            store.get(some, lambda rows, some=some: make(some[rows]))
        memory.append(anonymous())
    if store is not None:
        store.flush()
    return time.perf_counter() - start, memory


def main(rows: int, width: int) -> None:
    """Three rounds."""
    keys = np.random.default_rng(0).integers(1, 2**63, rows, dtype=np.uint64)
    descriptor = LBP(LBP.Options())

    def make(some: np.ndarray) -> np.ndarray:
        """About what a descriptor of a picture of 100×100 costs: 1 ms an image."""
        found = np.random.default_rng(int(some[0])).random((len(some), width), dtype=np.float32)
        end = time.perf_counter() + 1e-3 * len(some)
        while time.perf_counter() < end:
            np.sort(found[:8], axis=1)
        return found

    rounds = []
    for number in range(3):
        with tempfile.TemporaryDirectory() as name:
            alone, _ = filled(None, keys, make)
            written, memory = filled(VectorStore(Path(name), f"way {number}", "lbp", descriptor), keys, make)
            read, _ = filled(VectorStore(Path(name), f"way {number}", "lbp", descriptor), keys, make)
            rounds.append((alone, written, read, max(memory[: len(memory) // 10]), max(memory)))
    alone, written, read, early, peak = (statistics.median(column) for column in zip(*rounds, strict=True))
    size = rows * width * 4
    print(json.dumps({
        "rows": rows, "width": width, "GB": round(size / 1e9, 3),
        "made alone, s": round(alone, 1), "made and stored, s": round(written, 1),
        "ratio": round(statistics.median(w / a for a, w, *_ in rounds), 3),
        "read again, s": round(read, 2), "read again, GB/s": round(size / read / 1e9, 2),
        "memory without mapped files after a tenth, MiB": round(early), "at most, MiB": round(peak),
    }, indent=1))  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=1_695)
    options = parser.parse_args()
    main(options.rows, options.width)
