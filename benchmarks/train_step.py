"""What the tuned allocator and a bounded spin are worth in a training step of the ladder's CNN.

    python benchmarks/train_step.py [--rounds 5] [--busy] > train_step.json

Each figure is a fresh process (both settings work only before the first large allocation or OpenMP region), the settings
alternate, medians over rounds. `--busy` runs one single-threaded process beside them, as a browser or a second run would.
Losses stand beside wins: a ratio under 1 says that the setting was slower.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys

SETTINGS = {
    "as is": {"allocator": False, "GOMP_SPINCOUNT": None},
    "allocator": {"allocator": True, "GOMP_SPINCOUNT": None},
    "bounded spin": {"allocator": False, "GOMP_SPINCOUNT": "10000"},
    "both": {"allocator": True, "GOMP_SPINCOUNT": "10000"},
}
SHAPES = {"28×28×1, batch 64": (64, 1, 28, 28), "64×64×3, batch 64": (64, 3, 64, 64), "mlp 3072, batch 128": (128, 3, 32, 32)}
STEPS, WARM_UP = 20, 5


def child(allocator: bool) -> None:
    """Print images a second for every shape."""
    import time

    import torch

    from tellapart import registry
    from tellapart.nets._allocator import tune_allocator
    from tellapart.recipe import load as recipes

    if allocator:
        tune_allocator()
    found = {}
    for name, shape in SHAPES.items():
        options = recipes.load("mlp" if name.startswith("mlp") else "cnn-small").classifier.options
        kind = registry.find("nets", options["net"])
        net = kind.build(shape[1:], 10, kind.Options.model_validate(options)).to(memory_format=torch.channels_last)
        images = torch.rand(shape).contiguous(memory_format=torch.channels_last)
        labels = torch.randint(10, (shape[0],))
        optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
        for step in range(STEPS + WARM_UP):
            if step == WARM_UP:
                start = time.perf_counter()
            loss = torch.nn.functional.cross_entropy(net(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        found[name] = STEPS * shape[0] / (time.perf_counter() - start)
    print(json.dumps(found))


def main(rounds: int, busy: bool) -> None:
    """Alternate the settings and print medians and ratios."""
    rates: dict[str, dict[str, list[float]]] = {name: {shape: [] for shape in SHAPES} for name in SETTINGS}
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
    try:
        for _ in range(rounds):
            for name, setting in SETTINGS.items():
                spin = setting["GOMP_SPINCOUNT"]
                environment = os.environ | ({"GOMP_SPINCOUNT": str(spin)} if spin else {})
                command = [sys.executable, __file__, "--child", str(int(bool(setting["allocator"])))]
                result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
                for shape, rate in json.loads(result.stdout).items():
                    rates[name][shape].append(rate)
    finally:
        if other is not None:
            other.kill()
    medians = {name: {s: statistics.median(r) for s, r in shapes.items()} for name, shapes in rates.items()}
    ratios = {name: {s: round(m / medians["as is"][s], 2) for s, m in shapes.items()} for name, shapes in medians.items()}
    spread = {n: {s: [round(min(r)), round(max(r))] for s, r in shapes.items()} for n, shapes in rates.items()}
    from tellapart.runs.environment import describe_environment

    content = {"machine": describe_environment("cpu"), "rounds": rounds, "busy": busy}
    print(json.dumps(content | {"images_per_second": medians, "range": spread, "ratio to as is": ratios}, indent=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--child", type=int)
    arguments = parser.parse_args()
    if arguments.child is None:
        main(arguments.rounds, arguments.busy)
    else:
        child(bool(arguments.child))
