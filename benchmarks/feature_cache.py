"""What does it cost to keep feature vectors, and how fast are they read?

    python benchmarks/feature_cache.py [--rows 100000] [--width 1695] [--rounds 3] [--json results/feature_cache.json] [--figure F.svg]

Vectors of random numbers in blocks of 1,024, as a feature pipeline asks for them. Making them takes 1 ms an image, about what
the four forensic descriptors take on two cores for 100×100 pixels. Each round: a tenth is made alone; all are made and stored;
all are read again, from the store of another object (warm: the file is in memory). Medians over the rounds, and the median of
the ratios of seconds per vector, stored : alone. Memory is resident memory that is not the mapped file, after each block.
"""  # noqa: E501

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from tellapart.features._store import VectorStore
from tellapart.features.lbp import LBP
from tellapart.reports.figures import INK, PAPER, STYLE, TEST, TRAIN, VALID
from tellapart.runs.environment import describe_environment

BLOCK = 1024
COST = 1e-3  # seconds an image


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


def measured(rows: int, width: int, rounds: int) -> dict[str, Any]:
    """All rounds."""
    keys = np.random.default_rng(0).integers(1, 2**63, rows, dtype=np.uint64)
    descriptor, few, found = LBP(LBP.Options()), keys[: max(BLOCK, rows // 10)], []

    def make(some: np.ndarray) -> np.ndarray:
        end = time.perf_counter() + COST * len(some)
        vectors = np.random.default_rng(int(some[0])).random((len(some), width), dtype=np.float32)
        while time.perf_counter() < end:
            np.sort(vectors[:8], axis=1)
        return vectors

    for number in range(rounds):
        with tempfile.TemporaryDirectory() as name:
            alone, _ = filled(None, few, make)
            written, memory = filled(VectorStore(Path(name), f"way {number}", "lbp", descriptor), keys, make)
            read, _ = filled(VectorStore(Path(name), f"way {number}", "lbp", descriptor), keys, make)
            found.append((alone / len(few), written / rows, read / rows, memory))
    alone, written, read = (statistics.median(one[i] for one in found) for i in range(3))
    size, memory = width * 4, found[0][3]
    return {
        "machine": describe_environment("cpu"), "load": os.getloadavg()[0],
        "rows": rows, "width": width, "rounds": rounds, "GB": round(rows * size / 1e9, 3),
        "made alone, ms": round(alone * 1e3, 4), "made and stored, ms": round(written * 1e3, 4),
        "ratio": round(statistics.median(one[1] / one[0] for one in found), 3),
        "ratios": [round(one[1] / one[0], 3) for one in found],
        "read again, ms": round(read * 1e3, 4), "read again, GB/s": round(size / read / 1e9, 2),
        "each read, GB/s": [round(size / one[2] / 1e9, 2) for one in found],
        "memory without mapped files, MiB": {
            "a tenth": round(max(memory[: len(memory) // 10])), "all": round(max(memory)), "blocks": [round(m) for m in memory],
        },
    }  # fmt: skip


def draw(result: dict[str, Any], path: Path) -> None:
    """Milliseconds per vector, and memory while the store grows."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 3.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        names = ("made alone", "made and stored", "read again")
        values = [result[f"{name}, ms"] for name in names]
        left.barh(names[::-1], values[::-1], color=[TEST, VALID, TRAIN])
        for place, value in enumerate(values[::-1]):
            left.annotate(f"{value:.3g} ms", (value, place), xytext=(4, -3), textcoords="offset points", color=INK)
        left.set(xlim=(0, max(values) * 1.25), xlabel=f"ms per vector of {result['width']:,} values")
        memory = result["memory without mapped files, MiB"]["blocks"]
        right.plot(np.arange(1, len(memory) + 1) * BLOCK, memory, color=TEST)
        right.set(ylim=(0, max(memory) * 1.2), xlabel="vectors stored", ylabel="memory, MiB")
        figure.savefig(path, facecolor=PAPER)


def main() -> None:
    """Measure, or draw what was measured before; print the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=1_695)
    parser.add_argument("--rounds", type=int, default=3, help="0: draw the figure of what --json holds")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--figure", type=Path, help="file for the plot")
    asked = parser.parse_args()
    result = measured(asked.rows, asked.width, asked.rounds) if asked.rounds else json.loads(asked.json.read_text("utf-8"))
    text = json.dumps(result, ensure_ascii=False)
    if asked.json:
        asked.json.write_text(text + "\n", encoding="utf-8")
    if asked.figure:
        draw(result, asked.figure)
    print(text)


if __name__ == "__main__":
    main()
