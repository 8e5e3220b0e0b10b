"""Does a detector that saw only forged fakes (`tellapart synth`) find real ones? On cifake and on scenes, with intervals.

    python benchmarks/synth_transfer.py ../shared/data --json benchmarks/results/synth_transfer.json [--minutes 3] [-r RECIPE …]

cifake: 3,000 real training photographs are forged by all kinds; each recipe learns from these alone and answers cifake's own
test part, 1,000 real photographs and 1,000 pictures of a diffusion model. scenes: half of the 60 real road scenes go through
synth; the other half and the 60 edited scenes, some of them twins of the first half, are answered. The metadata baseline shows
that headers tell nothing on the forged set.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import tellapart as ta
from tellapart.cli.options import progress
from tellapart.metrics.score_all import score_all
from tellapart.runs.environment import describe_environment
from tellapart.workflows.synth import synth

REALS = 3_000
RECIPES = ("spectrum-linear", "noise-residual-linear", "cnn-small")


def halves(table: ta.ImageTable, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the real class, divided by lot."""
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(table.labels == table.classes.index("real")))
    return rows[: len(rows) // 2], rows[len(rows) // 2 :]


def cifake(data: Path) -> tuple[ta.ImageTable, ta.ImageTable]:
    """Real training photographs, and the labeled test part."""
    table = ta.scan(data / "cifake.zip")
    split = table.frame["split"].to_numpy(dtype=object)
    reals = np.flatnonzero((split == "train") & (table.labels == table.classes.index("REAL")))
    reals = np.random.default_rng(0).permutation(reals)[:REALS]
    learnt = table.take(np.sort(reals))
    return replace(learnt, frame=learnt.frame.drop(columns="split")), table.take(np.flatnonzero(split == "test"))


def measure(recipe: str, forged: Path, judged: ta.ImageTable, names: dict[str, str], asked: Any) -> dict[str, Any]:
    """One recipe: on forged pictures that it never saw, and on real fakes."""
    changes = [f"train.minutes={asked.minutes:g}"] if recipe.startswith(("cnn", "quick")) else []
    settings = ta.Settings(runs=asked.runs, device="cpu", progress=progress(quiet=False))
    run = ta.train(forged, recipe, overrides=changes, settings=settings)
    own = ta.evaluate(run, open_test=True, settings=settings)
    other = ta.evaluate(run, judged, mapping=names, settings=settings)
    wanted = ("accuracy", "auroc")
    return {
        "recipe": recipe, "run": run.id,
        "forged": {name: own.scores[name].to_dict() for name in wanted},
        "real_fakes": {name: score_all(other.predictions, "fake")[name].to_dict() for name in wanted},
    }  # fmt: skip


def main() -> None:
    """Both sets, every recipe and the metadata baseline; the JSON is written after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("-r", "--recipe", action="append")
    parser.add_argument("--work", type=Path, default=Path("synth-transfer"))
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/synth_transfer.json"))
    asked = parser.parse_args()
    found: dict[str, Any] = {"machine": describe_environment("cpu"), "minutes": asked.minutes, "cifake": [], "scenes": []}
    settings = ta.Settings(progress=progress(quiet=False))
    scenes = ta.scan(asked.data / "scenes.tar")
    first, second = halves(scenes)
    edited = np.flatnonzero(scenes.labels != scenes.classes.index("real"))
    sets = {
        "cifake": (*cifake(asked.data), {"REAL": "real", "FAKE": "fake"}),
        "scenes": (scenes.take(first), scenes.take(np.concatenate([second, edited])), {"editada": "fake"}),
    }
    for name, (reals, judged, names) in sets.items():
        forged = synth(reals, asked.work / name, settings=settings).folder
        asked.runs = asked.work / f"{name}-runs"
        for recipe in ("metadata", *(asked.recipe or RECIPES)):
            found[name].append(measure(recipe, forged, judged, names, asked))
            asked.json.parent.mkdir(parents=True, exist_ok=True)
            asked.json.write_text(json.dumps(found, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
