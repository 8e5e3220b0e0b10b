"""Does a net that has seen CIFAR-10 learn other things from fewer images? ResNet-20, transferred against from scratch.

    python benchmarks/transfer.py ../shared/data --images 300000 --epochs 5 --epochs 30 --json transfer.json

Pretrains `resnet20-cifar` on `cifar10-train.parquet`, then trains it on 115 images per class of Fashion-MNIST (100 after the
validation part is cut off), and on fruits: from that run's weights (`classifier.init_from`) and from scratch, with the same
epochs, batches and seeds. Weights that have grown in pretraining need other learning rates than fresh ones, so each side is
trained at every rate of `RATES`, and the validation part chooses. The test parts are opened once, by the two that were chosen;
they are compared on the same images by an exact McNemar test.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import tellapart as ta
from tellapart.cli.options import progress
from tellapart.metrics.mcnemar import compare, describe
from tellapart.runs.environment import describe_environment

#: Learning rates that both sides may choose from.
RATES = (0.02, 0.1, 0.3)


def few(table: ta.ImageTable, per_class: int) -> ta.ImageTable:
    """The test images, and the first `per_class` training images of each class that a seeded shuffle gives."""
    order = np.random.default_rng(0).permutation(len(table))
    split, labels = table.frame["split"].to_numpy(), table.labels
    taken = [order[(labels[order] == c) & (split[order] == "train")][:per_class] for c in range(len(table.classes))]
    return table.take(np.sort(np.concatenate([*taken, np.flatnonzero(split == "test")])))


def chosen(table: ta.ImageTable, kind: str, init_from: str | None, epochs: int, settings: ta.Settings) -> dict[str, Any]:
    """One side: the run that does best on validation of those at all rates, and what each of them reached there."""
    runs = {}
    for rate in RATES:
        changes = {"epochs": epochs, "images": None, "batch": 64, "optimizer": {"lr": rate}}
        path = settings.runs / "recipes" / f"{table.name}-{epochs}-{kind}-{rate:g}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"extends": "resnet20-cifar", "classifier": {"init_from": init_from}, "train": changes}
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        runs[rate] = ta.train(table, path, settings=settings)
    valid = {rate: run.scores("valid")["accuracy"].value for rate, run in runs.items()}
    rate = max(RATES, key=lambda rate: valid[rate])
    return {"run": runs[rate], "rate": rate, "valid": {f"{rate:g}": round(value, 4) for rate, value in valid.items()}}


def duel(table: ta.ImageTable, parent: ta.Run, epochs: int, settings: ta.Settings) -> dict[str, Any]:
    """Both sides on one table, their test scores and the paired test."""
    sides = {
        kind: chosen(table, kind, start, epochs, settings) for kind, start in (("transferred", parent.id), ("scratch", None))
    }
    answers = {kind: ta.evaluate(side["run"], open_test=True, settings=settings) for kind, side in sides.items()}
    found = {
        kind: answers[kind].scores["accuracy"].to_dict()
        | {"rate": side["rate"], "valid": side["valid"], "seconds": side["run"].cost["fit_seconds"]}
        for kind, side in sides.items()
    }
    paired = compare(answers["transferred"].predictions, answers["scratch"].predictions)
    return {"train_images": table.split_counts(), **found, "paired": describe("transferred", "scratch", paired)}


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
        for name, table in tables.items():
            content[f"{name}, {epochs} epochs"] = duel(table, parent, epochs, settings)
            asked.json.write_text(json.dumps(content, indent=1), encoding="utf-8")
    print(json.dumps(content, indent=1))


if __name__ == "__main__":
    main()
