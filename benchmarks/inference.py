"""How fast does a finished network answer on a CPU: torch as it is, torch set up well, and our path on ONNX Runtime?

Claims, on two cores at 224×224, batch 1 and 32, medians: ONNX Runtime >= 1.8 × torch eager for `resnet18`, >= 2.4 × for
`efficientnet_b0`, and no slower than torch with channels_last and the tuned allocator.

    python benchmarks/inference.py [--rounds 7] [--seconds 1.5] [--batches 1 32] [--threads 2] [--output inference.json]

Conditions: random weights, two classes; all three get the same decoded pictures, uint8 in memory, and give probabilities, so
that scaling and softmax count for everyone. `eager`: contiguous NCHW, inference mode, nothing else. `tuned`: channels_last
weights and pictures, `tune_allocator`. `onnx`: the graph that `predict` and `serve` ask, exported and proved first. Each has a
process of its own, since the allocator's setting cannot be taken back; they take turns, two wait while one works, each round in
another order. A turn lasts `--seconds` after one answer that does not count, and gives its median. Ratios are medians over the
rounds of seconds by turns of one round. The load before each net is given: above 0.3, measure again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tellapart.classifiers.network import Network
from tellapart.data.decode import decode_to
from tellapart.exporters.onnx_session import Session, threads
from tellapart.exporters.parity import golden_images, largest_difference
from tellapart.inference.context import Settings
from tellapart.inference.onnx_model import memory_context, reference, trace_model
from tellapart.nets._allocator import tune_allocator
from tellapart.recipe.load import parse
from tellapart.runs.environment import describe_environment

SIZE = 224
NETS = {
    "resnet18": ({"net": "torchvision", "model": "resnet18"}, 1.8),
    "efficientnet_b0": ({"net": "timm", "model": "efficientnet_b0"}, 2.4),
}
SIDES = ("eager", "tuned", "onnx")


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # read by every child
    cases = [case for net in options.nets for case in measure(net, options)]
    content = {
        "environment": describe_environment("cpu"), "threads": options.threads, "rounds": options.rounds,
        "seconds_a_turn": options.seconds, "size": SIZE, "cases": cases,
    }  # fmt: skip
    for case in cases:
        print(in_words(case))
    if options.output:
        options.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def measure(net: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """All batch lengths of one net."""
    load, spawn = os.getloadavg()[0], multiprocessing.get_context("spawn")
    ends, workers = {}, []
    for side in SIDES:
        ends[side], theirs = spawn.Pipe()
        workers.append(spawn.Process(target=work, args=(theirs, net, side), daemon=True))
        workers[-1].start()
    apart = {side: ends[side].recv() for side in SIDES}["onnx"]  # built; the largest difference from torch
    found = []
    for batch in options.batches:
        turns: dict[str, list[float]] = {side: [] for side in SIDES}
        for number in range(options.rounds):
            for place in range(len(SIDES)):
                side = SIDES[(place + number) % len(SIDES)]
                ends[side].send((batch, options.seconds))
                turns[side].append(ends[side].recv())
        found.append(case_of(net, batch, turns) | {"load_before": load, "largest_difference": apart})
    for side in SIDES:
        ends[side].send(None)
    for worker in workers:
        worker.join()
    return found


def case_of(net: str, batch: int, turns: dict[str, list[float]]) -> dict[str, Any]:
    """The figures of one table row. `turns`: of each side the median seconds of a call, round by round."""
    bar, rows = NETS[net][1], {}
    for side, seconds in turns.items():
        rows[side] = {
            "ms": round(1000 * statistics.median(seconds), 2), "spread_ms": [round(1000 * of(seconds), 2) for of in (min, max)],
            "images_per_second": round(batch / statistics.median(seconds), 1),
        }  # fmt: skip
    ratios = {side: [a / b for a, b in zip(turns[side], turns["onnx"], strict=True)] for side in ("eager", "tuned")}
    over = {
        side: {"median": round(statistics.median(of), 3), "rounds": [round(one, 3) for one in of]}
        for side, of in ratios.items()
    }
    holds = over["eager"]["median"] >= bar and over["tuned"]["median"] >= 1
    return {"net": net, "batch": batch, "sides": rows, "onnx_times_as_fast_as": over, "bar_over_eager": bar, "holds": holds}


def in_words(case: dict[str, Any]) -> str:
    """One line."""
    sides = ", ".join(f"{side} {row['ms']:.1f} ms ({row['images_per_second']:.0f}/s)" for side, row in case["sides"].items())
    over = case["onnx_times_as_fast_as"]
    return (
        f"{case['net']:<16} batch {case['batch']:>2}: {sides}; onnx {over['eager']['median']:.2f} × eager "
        f"(bar {case['bar_over_eager']}), {over['tuned']['median']:.2f} × tuned: "
        f"{'holds' if case['holds'] else 'DOES NOT HOLD'}"
    )


def work(pipe: Any, net: str, side: str) -> None:
    """One side in its own process: says when it is built, then answers (batch, seconds) with its median seconds a call."""
    if side == "tuned":
        tune_allocator()
    call, apart = built(net, side)
    pipe.send(apart)
    while (asked := pipe.recv()) is not None:
        batch, seconds = asked
        pixels = np.random.default_rng(0).integers(0, 256, (batch, SIZE, SIZE, 3), dtype=np.uint8)
        pipe.send(median_of(lambda pixels=pixels: call(pixels), seconds))


def median_of(call: Callable[[], object], seconds: float) -> float:
    """Median seconds of a call, repeated for so long, three times at least, after one that does not count."""
    call()
    found: list[float] = []
    start = time.perf_counter()
    while len(found) < 3 or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        call()
        found.append(time.perf_counter() - before)
    return statistics.median(found)


def built(net: str, side: str) -> tuple[Callable[[np.ndarray], np.ndarray], float]:
    """(B, H, W, 3) uint8 → (B, 2) probabilities; and for onnx the largest difference from torch."""
    content = {"inputs": {"size": SIZE, "mode": "rgb"}, "classifier": {"family": "network", "weights": "none", **NETS[net][0]}}
    torch.manual_seed(0)
    torch.set_num_threads(threads())
    made = Network(parse(content, net))
    made.classes, made.net_options = ("a", "b"), made.options
    made.model = made._build().eval()
    if side == "onnx":
        return with_onnx(made)
    if side == "tuned":
        made.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def call(pixels: np.ndarray) -> np.ndarray:
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        with torch.inference_mode():
            return made.model(images if side == "tuned" else images.contiguous()).softmax(1).numpy()

    return call, 0.0


def with_onnx(made: Network) -> tuple[Callable[[np.ndarray], np.ndarray], float]:
    """As `predict` and `serve` have it."""
    context = memory_context(Settings())
    model, inputs = trace_model(made, context)
    session = Session(model.SerializeToString(), "benchmark")

    def ask(images: np.ndarray) -> np.ndarray:
        return session.run({"pixels": np.stack([decode_to(image, inputs[0]) for image in images])})

    apart = largest_difference(ask, reference(made, context), golden_images(inputs)[1::3])
    return lambda pixels: session.run({"pixels": pixels}), apart


if __name__ == "__main__":
    main()
