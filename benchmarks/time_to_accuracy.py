"""Accuracy against seconds of training: `quick` beside the `bottleneck` recipe that people start from, on Fashion-MNIST.

    python benchmarks/time_to_accuracy.py ../shared/data/fashion-mnist --minutes 4 --minutes 10 --minutes 30 --seeds 3 \
        --json time_to_accuracy.json --figure docs/time-to-accuracy.svg

Each line of the table is one recipe within one bound on training, over seeds. Settings were chosen on the validation part, cut
from the training images; the 10,000 test images are opened once, at the end, by the verb that opens them for everybody. Seconds
are training alone, as the log of the run has them; validation after each epoch is not counted. Runs are kept: a benchmark that
is cut off goes on. With `--figure` alone a figure is drawn from runs that are there.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

import tellapart as ta
from tellapart.recipe import load as recipes
from tellapart.reports.figures import INK, PAPER, STYLE, TEST, VALID
from tellapart.runs.environment import describe_environment


def variants(folder: Path, name: str, minutes: list[float], seeds: int) -> list[Path]:
    """One recipe file for each bound and seed."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for bound in minutes:
        for seed in range(seeds):
            changes = [f"train.minutes={bound}", "train.epochs=1000", "train.images=null", f"seed={seed}"]
            paths.append(folder / f"{name}-{bound:g}min-seed{seed}.yaml")
            paths[-1].write_text(recipes.load(name, changes).dump(), encoding="utf-8")
    return paths


def curve(run: ta.Run) -> dict[str, Any]:
    """Validation accuracy against seconds of training, and the test score."""
    log = [json.loads(line) for line in (run.folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    seconds = [sum(e["seconds"] for e in log[: i + 1]) for i in range(len(log))]
    score = run.scores("test")["accuracy"]
    return {
        "run": run.id,
        "seconds": [round(s, 1) for s in seconds],
        "valid": [round(e["valid_accuracy"], 4) for e in log],
        "test": score.to_dict(),
        "epochs": len(log),
        "parameters": run.cost["parameters"],
    }


def draw(curves: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Both recipes in one figure: curves of validation, points of test."""
    with rc_context(STYLE):
        figure = Figure(figsize=(7.4, 3.4), layout="constrained")
        axes = figure.subplots()
        for label, found in curves.items():
            color = TEST if label.startswith("quick") else VALID
            for one in found:
                axes.plot(one["seconds"], one["valid"], color=color, alpha=0.55, linewidth=1.2)
                axes.plot(one["seconds"][-1], one["test"]["value"], "o", color=color, markersize=4)
            last = found[0]
            axes.annotate(
                label, (last["seconds"][-1], last["valid"][-1]), xytext=(5, -3), textcoords="offset points", color=INK
            )
        axes.set(xscale="log", xlabel="seconds of training, 2 cores", ylabel="accuracy", ylim=(0.55, 0.97))
        longest = max(c["seconds"][-1] for found in curves.values() for c in found)
        ticks = [t for t in (30, 60, 120, 240, 480, 960, 1920) if t <= longest * 1.1]
        axes.set_xticks(ticks, [f"{t}" for t in ticks])
        axes.set_xticks([], minor=True)
        axes.set_title("Fashion-MNIST: validation (lines) and test (points) against time", loc="left")
        axes.grid(axis="y")
        figure.savefig(path, facecolor=PAPER)


def main() -> None:
    """Train what is missing, open the test part once, write JSON and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--minutes", type=float, action="append", required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--recipe", default="quick")
    parser.add_argument("--reference", default="bottleneck-augmented")
    parser.add_argument("--reference-minutes", type=float, default=24)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--json", type=Path, default=Path("time_to_accuracy.json"))
    parser.add_argument("--figure", type=Path)
    asked = parser.parse_args()
    paths = variants(asked.runs / "recipes", asked.recipe, asked.minutes, asked.seeds)
    if asked.reference_minutes:
        paths += variants(asked.runs / "recipes", asked.reference, [asked.reference_minutes], 1)
    from tellapart.cli.options import progress

    board = ta.compare(asked.data, paths, settings=ta.Settings(runs=asked.runs, device="cpu", progress=progress(quiet=False)))
    curves: dict[str, list[dict[str, Any]]] = {}
    for run in board.runs:
        if run.id.startswith("metadata"):
            continue
        name = run.data["recipe_name"].rpartition("-seed")[0].replace("-", " ").replace("min", " min")
        curves.setdefault(name, []).append(curve(run))
    summary = {
        label: {
            "seeds": len(found),
            "test_median": round(statistics.median(c["test"]["value"] for c in found), 4),
            "test_range": [min(c["test"]["value"] for c in found), max(c["test"]["value"] for c in found)],
            "seconds_median": statistics.median(c["seconds"][-1] for c in found),
        }
        for label, found in curves.items()
    }
    content = {"machine": describe_environment("cpu"), "summary": summary, "curves": curves}
    asked.json.write_text(json.dumps(content, indent=1), encoding="utf-8")
    if asked.figure:
        draw(curves, asked.figure)
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
