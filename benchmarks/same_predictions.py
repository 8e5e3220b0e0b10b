"""Do two versions of the code predict the same, bit for bit?

    python benchmarks/same_predictions.py record before.json      # with the old version
    python benchmarks/same_predictions.py compare before.json     # with the new one; exit code 1 where a prediction differs

Trains a fixed set of runs of every classifier family on the tiles of `tellapart demo` (768 tiles), with the six recipes of the
ladder among them, plus an ensemble, a calibrated run, a k-fold run and predictions through the embedding of a network. The
SHA-256 of each array of probabilities is kept. Networks train in float32, since `precision: auto` may choose by a measurement.
Both records must come from the same kind of machine and the same number of BLAS threads (OMP_NUM_THREADS,
OPENBLAS_NUM_THREADS): other instruction sets and other partitions of a sum round differently (seen: `hog-svm`).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

import tellapart as ta

#: Recipe → overrides. A recipe that was renamed keeps its first name here.
RECIPES: dict[str, tuple[str, ...]] = {
    "null": (), "neighbors": (), "spectrum-linear": (), "svm-pca-rbf": (),
    "mlp": ("train.epochs=3", "train.precision=32"),
    "cnn-small": ("train.epochs=2", "train.precision=32"),
    "quick": ("train.epochs=2", "train.precision=32"),
    "pixels-bayes": (), "hog-svm": (), "words": (), "colours-forest": (), "colours-boosting": (), "residual-svm": (),
    "cooccurrence-lda": (), "forensic-lda": (), "lbp-forest": (), "spectrum-crops": (),
    "resnet20-cifar": ("train.epochs=1", "train.precision=32"),
}  # fmt: skip
#: Old name → new name.
RENAMED = {"null": "metadata", "neighbors": "knn", "residual-svm": "noise-residual-svm",
           "pixels-bayes": "pixels-naive-bayes", "colours-forest": "color-forest",
           "colours-boosting": "color-boosting", "words": "visual-words"}  # fmt: skip


def main() -> None:
    """Record, or compare and say what differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("record", "compare"))
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        found = dict(digests(Path(folder)))
    if arguments.action == "record":
        arguments.file.write_text(
            json.dumps({"machine": platform.processor() or platform.machine(), "sha256": found}, indent=1)
        )
        return
    expected = json.loads(arguments.file.read_text("utf-8"))["sha256"]
    different = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    print(f"{len(expected) - len(different)} of {len(expected)} arrays of probabilities are equal bit for bit")
    if different:
        sys.exit("different: " + ", ".join(different))


def digests(folder: Path) -> Iterator[tuple[str, str]]:
    """(name of a run and its split, SHA-256 of its probabilities), for every run that is made below `folder`."""
    settings = ta.Settings(runs=folder / "runs", device="cpu")
    table = ta.scan(demo_tiles(folder / "tiles"))
    runs = {}
    for name, overrides in RECIPES.items():
        runs[name] = ta.train(table, known_name(name), overrides=overrides, settings=settings)
        yield from of_run(name, runs[name])
        rows = table.take(np.flatnonzero(table.frame["split"] == "test"))
        yield f"{name} predict", digest(ta.predict(runs[name], rows, settings=settings).proba)
    members = [runs["spectrum-linear"], runs["cnn-small"], runs["forensic-lda"]]
    for how in ("mean", "stack"):
        yield from of_run(f"combine {how}", ta.combine(members, how=how, settings=settings))
    yield from of_run("calibrate", ta.calibrate(runs["forensic-lda"], how="platt", settings=settings))
    yield from of_run("kfold", ta.kfold(table, "spectrum-linear", folds=3, settings=settings))


def of_run(name: str, run: ta.Run) -> Iterator[tuple[str, str]]:
    """The stored predictions of a run."""
    for split in ("train", "valid"):
        predictions = run.predictions(split)
        if predictions is not None:
            yield f"{name} {split}", digest(predictions.proba)


def digest(proba: np.ndarray) -> str:
    """SHA-256 of shape and bytes."""
    return hashlib.sha256(str(proba.shape).encode() + np.ascontiguousarray(proba, np.float32).tobytes()).hexdigest()


def known_name(name: str) -> str:
    """The name that this version has for a recipe."""
    recipes = Path(ta.__file__).parent / "recipes"
    return name if (recipes / f"{name}.yaml").exists() else RENAMED[name]


def demo_tiles(folder: Path) -> Path:
    """The images of `tellapart demo`, a quarter of them."""
    try:
        from tellapart.workflows.demo import make
    except ImportError:
        from tellapart.workflows.demo import make
    return make(folder, tiles_per_scene=24)


if __name__ == "__main__":
    main()
