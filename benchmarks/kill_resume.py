"""`kill -9` at random moments, resume, compare: are the final weights those of a run that was never killed, bit by bit?

    python benchmarks/kill_resume.py [--kills 20] [--seed 0] [--optimizer muon] > kill_resume.json

The same small training, of every kind of state there is to lose (momentum, average, norms, dropout, augmentation, plateau),
runs once undisturbed; then again in processes of its own that are killed at random moments and started again until one of them
reaches the end. Exit code 1 if a single bit differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

RECIPE = {
    "inputs": {"size": 16, "mode": "rgb"},
    "augment": [{"flip": {}}, {"random_crop": {"shift": 2}}],
    "classifier": {"family": "network", "net": "staged", "stages": [{"widths": [16], "dropout": 0.2}, {"widths": [32]}]},
    "train": {
        "epochs": 30, "batch": 16, "average": {"name": "ema", "decay": 0.9},
        "schedule": {"name": "plateau", "patience": 1, "warmup": 0}, "keep_best": 3, "label_smoothing": 0.1,
    },
    "seed": 3,
}  # fmt: skip


def child(runs: str, optimizer: str) -> None:
    """Train, or go on."""
    import tellapart as ta
    from tellapart.progress import Silent
    from tellapart.recipe.load import parse

    class Announcing(Silent):
        """Says when an epoch begins: a kill before the first would prove nothing."""

        def task(self, name, total, unit):
            print(name, flush=True)
            return super().task(name, total, unit)

    count = 1200
    images = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    labels = np.arange(count) % 4
    images[np.arange(count), labels * 4, :, 0] = 255
    settings = ta.Settings(runs=Path(runs), device="cpu", progress=Announcing())
    overrides = {"train": RECIPE["train"] | {"optimizer": {"name": optimizer, "lr": 0.01}}}
    ta.train(ta.from_arrays(images, labels), parse(RECIPE | overrides), settings=settings)


def digest(runs: Path) -> str:
    """Of the final weights and of every checkpoint that is kept; their metadata hold timings, which may differ."""
    from safetensors.numpy import load_file

    (done,) = runs.glob("*/done")
    seen = hashlib.sha256()
    for file in sorted([done.parent / "weights.safetensors", *(done.parent / "checkpoints").glob("*")]):
        seen.update(file.name.encode())
        for name, tensor in sorted(load_file(file).items()):
            seen.update(name.encode() + tensor.tobytes())
    return seen.hexdigest()


def start(runs: Path, optimizer: str) -> subprocess.Popen:
    """The training in a process of its own, which prints what it begins."""
    command = [sys.executable, __file__, "--child", str(runs), "--optimizer", optimizer]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def main(kills: int, seed: int, optimizer: str) -> int:
    """Kill and compare."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        start(whole, optimizer).wait()
        wanted, points, finished, same = digest(whole), [], 0, True
        while len(points) < kills:
            runs = Path(folder) / f"cut{finished}"
            while True:
                process = start(runs, optimizer)
                assert process.stdout
                while (line := process.stdout.readline()) and not line.startswith(b"epoch"):
                    pass
                wait = draw.uniform(0, 3)
                try:
                    process.wait(wait if len(points) < kills else None)
                    break
                except subprocess.TimeoutExpired:
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                    epochs = sum(len(log.read_text("utf-8").splitlines()) for log in runs.glob("*/log.jsonl"))
                    points.append({"seconds": round(wait, 2), "epochs_done": epochs})
            finished += 1
            same &= digest(runs) == wanted
    print(
        json.dumps(
            {"optimizer": optimizer, "kills": len(points), "runs": finished, "bit_equal": same, "points": points}, indent=1
        )
    )
    return 0 if same else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--optimizer", default="muon")
    parser.add_argument("--child")
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.optimizer)
    else:
        sys.exit(main(arguments.kills, arguments.seed, arguments.optimizer))
