"""Does a net that has seen CIFAR-10 learn other things from fewer images? ResNet-20, transferred against from scratch.

    python benchmarks/transfer.py ../shared/data --images 300000 --epochs 5 --epochs 30 --json transfer.json

Pretrains `resnet20-cifar` on `cifar10-train.parquet`, then trains it twice on 115 images per class of Fashion-MNIST (100 after
the validation part is cut off), and on fruits: from that run's weights (`classifier.init_from`) and from scratch, with the same
epochs, batches and seeds. The test parts are opened once; the two are compared on the same images by an exact McNemar test.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import tellapart as ta
from tellapart.cli._shared import progress
from tellapart.evaluate.compare import compare, in_words
from tellapart.runs.environment import describe_environment


def few(table: ta.ImageTable, per_class: int) -> ta.ImageTable:
    """The test images, and the first `per_class` training images of each class that a seeded shuffle gives."""
    order = np.random.default_rng(0).permutation(len(table))
    split, labels = table.frame["split"].to_numpy(), table.labels
    taken = [order[(labels[order] == c) & (split[order] == "train")][:per_class] for c in range(len(table.classes))]
    return table.take(np.sort(np.concatenate([*taken, np.flatnonzero(split == "test")])))


def duel(table: ta.ImageTable, parent: ta.Run, changes: dict[str, Any], settings: ta.Settings, name: str) -> dict[str, Any]:
    """Both trainings on one table, their test scores and the paired test."""
    folder = settings.runs / "recipes"
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for kind, init_from in (("transferred", parent.id), ("scratch", None)):
        content = {"extends": "resnet20-cifar", "classifier": {"init_from": init_from}, "train": changes}
        paths.append(folder / f"{name}-{changes['epochs']}-{kind}.yaml")
        paths[-1].write_text(yaml.safe_dump(content), encoding="utf-8")
    board = ta.compare(table, paths, settings=settings)
    runs = {run.data["recipe_name"].rpartition("-")[2]: run for run in board.runs if not run.id.startswith("null")}
    transferred, scratch = runs["transferred"], runs["scratch"]
    tests = [
        ta.Predictions.from_parquet(r.evaluations[-1].folder / "predictions" / "test.parquet") for r in (transferred, scratch)
    ]
    return {
        "train_images": table.split_counts(),
        "transferred": transferred.scores("test")["accuracy"].to_dict() | {"seconds": transferred.cost["fit_seconds"]},
        "scratch": scratch.scores("test")["accuracy"].to_dict() | {"seconds": scratch.cost["fit_seconds"]},
        "paired": in_words("transferred", "scratch", compare(*tests)),
    }


def main() -> None:
    """Pretrain, then both duels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=400_000, help="images seen in pretraining")
    parser.add_argument("--epochs", type=int, action="append", required=True, help="budget of both; repeatable")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--json", type=Path, default=Path("transfer.json"))
    asked = parser.parse_args()
    settings = ta.Settings(runs=asked.runs, device="cpu", progress=progress(quiet=False))
    overrides = [f"train.images={asked.images}"]
    parent = ta.train(asked.data / "cifar10-train.parquet", "resnet20-cifar", overrides=overrides, settings=settings)
    content: dict[str, Any] = {
        "machine": describe_environment("cpu"),
        "pretraining": {
            "images": asked.images,
            "seconds": parent.cost["fit_seconds"],
            "valid": parent.scores("valid")["accuracy"].to_dict(),
        },
    }
    tables = {"fashion": few(ta.scan(asked.data / "fashion-mnist"), 115), "fruits": ta.scan(asked.data / "fruits.tar")}
    for epochs in asked.epochs:
        changes = {"epochs": epochs, "images": None, "batch": 64, "optimizer": {"lr": 0.02}}
        for name, table in tables.items():
            content[f"{name}, {epochs} epochs"] = duel(table, parent, changes, settings, name)
    asked.json.write_text(json.dumps(content, indent=1), encoding="utf-8")
    print(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
