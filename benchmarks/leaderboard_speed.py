"""How long does the leaderboard of many runs take, with every score, interval and test?

Claim: 100 runs of 10,000 test images and 100 classes, scored from their predictions (20 scores of each run with intervals) and
ranked (each against the first and against the metadata baseline, Holm's correction; every pair besides), take at most 30 s on
one core. Conditions: synthetic run folders as `compare` leaves them, predictions as parquet, the test part opened for all;
answers of 60 to 80 % accuracy that share their mistakes in part. Writing the folders is not counted.

    taskset -c 1 python benchmarks/leaderboard_speed.py [--runs 100] [--images 10000] [--classes 100] [--groups 0] [-o FILE]

Prints JSON: seconds to read and score all predictions, to build the leaderboard from the folders, to test every pair, to print
it and to write its JSON, by the clock and of the processor (the same on a core that nobody else uses), and the peak of the
memory. One measurement each; the first call counts.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml
from rich.console import Console

from tellapart.io import write_json
from tellapart.leaderboards.leaderboard import build
from tellapart.metrics.score_all import score_all
from tellapart.runs import ledger
from tellapart.runs.store import Run, list_runs, mark_done, next_evaluation, scores_to_dict
from tellapart.types import Predictions

VALID = 2_000  # validation images of each run: stored, ranked by, not read again once the test part is opened


def main() -> None:
    """Make the folders, time every step, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--groups", type=int, default=0, help="images come in so many groups; 0: they are independent")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder) / "runs"
        write_runs(runs, options.runs, options.images, options.classes, options.groups)
        found = measure(runs)
    sizes = {"runs": options.runs, "images": options.images, "classes": options.classes, "groups": options.groups}
    machine = {"cores_used": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0], "python": platform.python_version()}
    text = json.dumps({**sizes, **found, **machine, "processor": processor()}, indent=1)
    print(text)
    if options.output:
        options.output.write_text(text + "\n", encoding="utf-8")


def measure(runs: Path) -> dict:
    """Seconds of each step, and the highest resident memory after it, in GiB."""
    found: dict[str, float] = {}
    start = last = _clocks()

    def step(name: str) -> None:
        nonlocal last
        found[f"{name}_seconds"], found[f"{name}_cpu_seconds"] = _since(last)
        found[f"{name}_peak_gib"], last = peak_gib(), _clocks()

    found["peak_gib_before"] = peak_gib()
    for run in list_runs(runs):
        predictions = run.predictions("test")
        if predictions is None:
            raise SystemExit(f"{run.id} has no test predictions")
        found["scores_of_a_run"] = len(score_all(predictions))
    step("score")
    board = build(list_runs(runs))
    step("build")
    found["pairs"] = len(board.pairs())
    step("pairs")
    Console(width=150, file=io.StringIO()).print(board)
    step("print")
    json.dumps(board.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
    step("json")
    found["all_seconds"], found["all_cpu_seconds"] = _since(start)
    return found


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(start: tuple[float, float]) -> tuple[float, float]:
    wall, cpu = (now - before for now, before in zip(_clocks(), start, strict=True))
    return round(wall, 2), round(cpu, 2)


def write_runs(runs: Path, count: int, images: int, classes: int, groups: int) -> None:
    """Finished runs, the first a null that guesses."""
    rng = np.random.default_rng(0)
    names = tuple(f"class{c:03d}" for c in range(classes))
    labels = {split: rng.integers(0, classes, n) for split, n in (("valid", VALID), ("test", images))}
    shared = {split: rng.standard_normal((len(of), classes), dtype=np.float32) for split, of in labels.items()}
    scores: dict[str, dict] = {}
    for number in range(count):
        skill = 0.0 if number == 0 else 3.9 + 0.9 * number / count
        folder = runs / f"{'metadata' if number == 0 else 'recipe'}-{number:04d}"
        (folder / "predictions").mkdir(parents=True)
        given: dict[str, Predictions] = {
            split: answers(rng, labels[split], shared[split], skill, names, split, groups) for split in labels
        }
        scores = scores or scores_to_dict(score_all(given["valid"]))
        describe(folder, number, names, {split: len(of) for split, of in labels.items()})
        given["valid"].to_parquet(folder / "predictions" / "valid.parquet")
        cost = {"fit_seconds": 10.0 + number, "images_per_second": 500.0, "parameters": 1000, "pretrained": "no", "notes": []}
        accuracy = float(np.mean(given["valid"].predicted == labels["valid"]))
        scores["accuracy"] |= {"value": accuracy}  # what ranks; the others are those of the first run in every folder
        write_json(folder / "scores.json", {"valid": scores, "cost": cost})
        open_test(mark_done(folder), given["test"], scores)


def answers(
    rng: np.random.Generator,
    labels: np.ndarray,
    shared: np.ndarray,
    skill: float,
    names: tuple[str, ...],
    split: str,
    groups: int,
) -> Predictions:
    """Probabilities that lean to the truth by `skill`."""
    logits = shared + rng.standard_normal(shared.shape, dtype=np.float32)
    logits[np.arange(len(labels)), labels] += skill
    np.exp(logits, out=logits)
    ids = np.array([f"{split}/{i:06d}.png" for i in range(len(labels))], dtype=object)
    of = np.array([f"scene{i % groups}" for i in range(len(labels))], dtype=object) if groups else None
    return Predictions(ids, logits / logits.sum(axis=1, keepdims=True), labels, names, groups=of)


def describe(folder: Path, number: int, names: tuple[str, ...], sizes: dict[str, int]) -> None:
    """The small files of a run."""
    family = "metadata" if number == 0 else "network"
    (folder / "recipe.yaml").write_text(yaml.safe_dump({"classifier": {"family": family}, "seed": number}), encoding="utf-8")
    write_json(folder / "environment.json", {"device": "cpu", "started": "2026-01-01T00:00:00Z"})
    counts = {split: {name: n // len(names) for name in names} for split, n in sizes.items()}
    twins = {"images": 0, "across_splits": 0, "across_classes": 0, "examples": []}
    content = {"recipe_name": family if number == 0 else f"recipe-{number:03d}", "fingerprint": "d474", "classes": list(names)}
    content |= {"split_fingerprint": "5911", "root": "synthetic", "name": "synthetic", "layout": "none", "positive": None}
    write_json(folder / "data.json", content | {"counts": counts, "problems": [], "duplicates": twins})


def open_test(run: Run, predictions: Predictions, scores: dict[str, dict]) -> None:
    """One opening of the test part. Its scores are stored: `build` reads them, and does not make them."""
    folder = next_evaluation(run)
    predictions.to_parquet(folder / "predictions" / "test.parquet")
    content = {"test": scores, "cost": {"images_per_second": 500.0}, "opened": "2026-02-01"}
    write_json(folder / "scores.json", content)
    (folder / "done").write_text("", encoding="utf-8")
    ledger.record(run.runs, run.id, run.data["fingerprint"], len(predictions), "compare", "one")


def processor() -> str:
    """What the kernel calls it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


def peak_gib() -> float:
    """The highest resident memory of this process so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)


if __name__ == "__main__":
    main()
