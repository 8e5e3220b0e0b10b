"""Run folders in the format of `runs.store`, made up in milliseconds: nothing is trained."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from tellapart.io import write_json
from tellapart.metrics.score_all import score_all
from tellapart.runs import ledger
from tellapart.runs.ledger import next_evaluation
from tellapart.runs.store import Run, mark_done, scores_to_dict
from tellapart.types import ImageTable, Predictions, Problem


@dataclass(frozen=True)
class World:
    """A data set on disk and the folder its runs go to."""

    table: ImageTable
    runs: Path


def make_world(folder: Path, classes: Sequence[str], *, per_class: int = 20, side: int = 24, pictures: bool = True) -> World:
    """`per_class` images a class, 60/20/20, as PNG files of noise around the class's own color."""
    rng = np.random.default_rng(0)
    names = [f"{c:03d}/{i:03d}.png" for c in range(len(classes)) for i in range(per_class)]
    labels = np.repeat(np.arange(len(classes)), per_class)
    root = folder / "images"
    for name, label in zip(names, labels, strict=True) if pictures else ():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        color = np.array([37 * label % 256, 91 * label % 256, 173 * label % 256])
        pixels = np.clip(color + rng.normal(0, 30, (side, side, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(target)
    place = np.tile(np.arange(per_class), len(classes)) / per_class
    split = np.where(place < 0.6, "train", np.where(place < 0.8, "valid", "test"))
    frame = pd.DataFrame({"id": names, "path": names, "label": labels, "size": 700, "digest": names, "split": split})
    problems = (Problem("corrupt image", "images/bad.png", "not an image that can be read"),)
    positive = classes[1] if len(classes) == 2 else None
    layout = f"one folder per class, {len(classes)} classes"
    table = ImageTable(frame, tuple(classes), str(root), positive=positive, problems=problems, layout=layout)
    return World(table, folder / "runs")


def answer(table: ImageTable, skill: float, seed: int, run_id: str) -> Predictions:
    """Probabilities that lean to the truth by `skill`: 0 is guessing."""
    rng = np.random.default_rng([seed, len(table)])
    logits = rng.normal(0, 1, (len(table), len(table.classes)))
    logits[np.arange(len(table)), table.labels] += skill
    proba = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Predictions(table.ids, proba.astype(np.float32), table.labels, table.classes, run_id)


def make_run(
    world: World,
    name: str,
    *,
    family: str = "network",
    skill: float = 2.0,
    test: bool = True,
    epochs: int = 0,
    seed: int = 1,
    session: str = "one",
    data: dict[str, Any] | None = None,
) -> Run:
    """A finished run of `name` whose answers are as good as `skill`; the test part opened unless `test` is false."""
    table = world.table
    folder = world.runs / f"{name}-{seed:04x}"
    (folder / "predictions").mkdir(parents=True)
    counts = {
        s: {
            c: int(n)
            for c, n in zip(table.classes, np.bincount(table.where(split=s).labels, minlength=len(table.classes)), strict=True)
        }
        for s in table.split_counts()
    }
    recipe = {"inputs": {"size": 24, "mode": "rgb"}, "classifier": {"family": family}, "seed": seed}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    content = {
        "recipe_name": name, "fingerprint": table.fingerprint, "split_fingerprint": "5911745eed000000",
        "duplicates": {"images": 0, "across_splits": 0, "across_classes": 0, "examples": []},
        "root": table.root, "name": table.name, "layout": table.layout,
        "classes": list(table.classes), "positive": table.positive, "counts": counts,
        "problems": [asdict(p) for p in table.problems], **(data or {}),
    }  # fmt: skip
    write_json(folder / "data.json", content)
    environment = {
        "python": "3.11.7", "packages": {"tellapart": "0.2.0", "torch": "2.15.0", "numpy": "2.3.1"},
        "system": "Linux x86_64", "processor": "a processor", "cores": 2, "device": "cpu", "decoder": "pillow-13.0.0/1",
        "git": "0123abcd4567", "command": f"tellapart compare images -r {name}",
    }  # fmt: skip
    write_json(folder / "environment.json", environment)
    table.frame.to_parquet(folder / "split.parquet", index=False)
    scores = {}
    for split in ("train", "valid"):
        predictions = answer(table.where(split=split), skill, seed, folder.name)
        predictions.to_parquet(folder / "predictions" / f"{split}.parquet")
        scores[split] = scores_to_dict(score_all(predictions, table.positive))
    cost = {
        "fit_seconds": 62.4 * skill, "images_per_second": 5301.0 / (1 + seed), "parameters": 123_456 if epochs else 0,
        "pretrained": "no", "bytes": 512_000, "notes": ["PCA: 300 components were asked for, 240 rows allow 239"],
    }  # fmt: skip
    write_json(folder / "scores.json", {**scores, "cost": cost})
    if epochs:
        (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in make_log(epochs)), encoding="utf-8")
    run = mark_done(folder)
    if test:
        open_test(world, run, skill, seed, session)
    return run


def make_log(epochs: int) -> list[dict[str, Any]]:
    """A plausible history whose best validation accuracy comes at two thirds."""
    best, log = max(1, 2 * epochs // 3), []
    for epoch in range(1, epochs + 1):
        x = epoch / epochs
        log.append({
            "epoch": epoch, "train_loss": 1.6 * np.exp(-3 * x), "valid_loss": 1.6 * np.exp(-2.4 * x) + 0.25 * x**2,
            "train_accuracy": 1 - 0.75 * np.exp(-3 * x),
            "valid_accuracy": 0.9 - 0.6 * np.exp(-3 * x) - 0.03 * abs(epoch - best) / epochs,
            "lr": 1e-3 * (1 - x), "seconds": 3.1, "images_per_second": 1290.0,
            **({"best": True} if epoch == best else {}),
        })  # fmt: skip
    return log


def open_test(world: World, run: Run, skill: float, seed: int, session: str) -> None:
    """One opening of the test part, entered in the ledger."""
    folder = next_evaluation(run)
    predictions = answer(world.table.where(split="test"), skill, seed + 100, run.id)
    predictions.to_parquet(folder / "predictions" / "test.parquet")
    scores = scores_to_dict(score_all(predictions, world.table.positive))
    cost = {"images_per_second": 5301.0 / (1 + seed)}
    write_json(folder / "scores.json", {"test": scores, "cost": cost, "opened": "2026-11-03T10:05:00Z"})
    (folder / "done").write_text("2026-11-03T10:05:00Z\n", encoding="utf-8")
    ledger.record(world.runs, run.id, world.table.fingerprint, len(predictions), "compare", session)


@pytest.fixture(scope="session")
def new_world() -> Callable[..., World]:
    """`new_world(folder, ["cat", "dog"])`, for fixtures that outlive one test."""
    return make_world


@pytest.fixture
def world(tmp_path: Path) -> Callable[..., World]:
    """Make a data set: `world(["cat", "dog"])`."""
    return lambda classes, name="data", **options: make_world(tmp_path / name, classes, **options)


@pytest.fixture(scope="session")
def run() -> Callable[..., Run]:
    """Make a run in a world: `run(world, "cnn-small", skill=3)`."""
    return make_run
