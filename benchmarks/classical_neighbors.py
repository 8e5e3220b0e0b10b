"""The neighbors study of row B1, three distances by five k on pixels: one search a distance here, fifteen in scikit-learn.

    python benchmarks/classical_neighbors.py ../shared/data --rounds 3 --json neighbors.json [--queries 1000]

Fashion-MNIST, 60,000 training images of 784 pixels as they are (0 … 255), asked about the 10,000 test images or the first
`--queries` of them, the same for both sides. Both get the same float32 vectors, read beforehand, and all cores. Ours: the
search is built, the 11 nearest are found and the five k vote, for each distance; median of rounds, each in a process of its
own, whose peak of resident memory is given (vectors included). The reference: `KNeighborsClassifier(k, algorithm="brute",
n_jobs=-1)`, fit and predict, fifteen times, once each. It is asked at most 500 queries where Manhattan distance takes a quarter
of an hour: those seconds are extrapolated on a line through a quarter and all of the queries it was asked, and "queries timed"
says so. Equal answers are counted over the queries that both answered.
"""

from __future__ import annotations

import argparse
import gzip
import json
import multiprocessing
import resource
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.classifiers.knn import Knn
from tellapart.recipe import load as recipes
from tellapart.runs.environment import describe_environment

METRICS, KS = ("euclidean", "manhattan", "cosine"), (3, 5, 6, 9, 11)
TIMED = {"manhattan": 500}  # queries that the reference is asked at most
CLASSES = tuple(str(c) for c in range(10))
Parts = tuple[np.ndarray, np.ndarray, np.ndarray]


def parts(data: Path, queries: int | None) -> Parts:
    """(60,000, 784) float32, whole numbers in [0, 255], their labels, and (queries, 784)."""

    def read(name: str, header: int) -> np.ndarray:
        return np.frombuffer(gzip.decompress((data / "fashion-mnist" / name).read_bytes()), np.uint8, offset=header)

    train, asked = (read(f"{part}-images-idx3-ubyte.gz", 16).reshape(-1, 784).astype(np.float32) for part in ("train", "t10k"))
    return train, read("train-labels-idx1-ubyte.gz", 8).astype(np.int64), asked[:queries]


def member(metric: str, k: int) -> Knn:
    """A classifier of one cell, not fitted."""
    options = [f"classifier.k={k}", f"classifier.metric={metric}", "classifier.weights=uniform"]
    found = Knn(recipes.load("knn", options))
    found.classes, found.notes = CLASSES, []
    return found


def ours(data: Path, queries: int | None, metric: str) -> dict[str, Any]:
    """Seconds of one distance, peak memory in GB, and the answers for each k."""
    X, y, asked = parts(data, queries)
    start = time.perf_counter()
    widest = member(metric, max(KS))
    widest._learn(X, y, asked[:0], y[:0])
    nearest = widest._nearest(asked)
    answers = {}
    for k in KS:
        voter = member(metric, k)
        voter._keep(widest.X, y)
        answers[k] = voter._vote(nearest).argmax(axis=1)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, "answers": answers}


def reference(data: Path, queries: int | None, metric: str) -> dict[str, Any]:
    """Seconds of each k and its answers; Manhattan's of the first queries only, and extrapolated."""
    from sklearn.neighbors import KNeighborsClassifier

    X, y, asked = parts(data, queries)
    timed = min(len(asked), TIMED.get(metric, len(asked)))
    seconds, answers = [], {}
    for k in KS:
        start = time.perf_counter()
        model = KNeighborsClassifier(k, metric=metric, algorithm="brute", n_jobs=-1).fit(X, y)
        fitted, quarter = time.perf_counter() - start, 0.0
        if timed < len(asked):
            quarter = _seconds(model, asked[: timed // 4])[0]
        whole, answers[k] = _seconds(model, asked[:timed])
        rate = (whole - quarter) / (timed - timed // 4) if timed < len(asked) else 0.0
        seconds.append(fitted + whole + rate * (len(asked) - timed))
    return {"seconds": seconds, "timed": timed, "answers": answers}


def _seconds(model: Any, asked: np.ndarray) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    found = model.predict(asked)
    return time.perf_counter() - start, found


def apart(work: Any, *arguments: Any) -> dict[str, Any]:
    """The result of `work` in a fresh process; not a daemon, which scikit-learn would not let use all cores."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def measure(data: Path, queries: int | None, rounds: int = 3) -> dict[str, Any]:
    """Both sides of the three distances, and how many answers are the same."""
    cells: dict[str, Any] = {}
    count = 0
    for metric in METRICS:
        mine = [apart(ours, data, queries, metric) for _ in range(rounds)]
        theirs = apart(reference, data, queries, metric)
        answers, timed = mine[0]["answers"], theirs["timed"]
        count = len(answers[KS[0]])
        cells[metric] = {
            "seconds, one search": [round(m["seconds"], 2) for m in mine],
            "seconds, scikit-learn, each k": [round(s, 2) for s in theirs["seconds"]],
            "queries timed, scikit-learn": timed,
            "peak memory, GB": round(max(m["peak"] for m in mine), 2),
            "same answers": {str(k): int((answers[k][:timed] == theirs["answers"][k]).sum()) for k in KS},
        }
    total = sum(statistics.median(c["seconds, one search"]) for c in cells.values())
    fifteen = sum(sum(c["seconds, scikit-learn, each k"]) for c in cells.values())
    return {
        "training images": 60_000, "queries": count, "distances": cells, "seconds": round(total, 1),
        "seconds, scikit-learn": round(fifteen, 1), "times as fast": round(fifteen / total, 1),
    }  # fmt: skip


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--queries", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=Path("neighbors.json"))
    asked = parser.parse_args()
    content = {"machine": describe_environment("cpu"), "rounds": asked.rounds}
    content |= measure(asked.data, asked.queries, asked.rounds)
    asked.json.write_text(json.dumps(content, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
