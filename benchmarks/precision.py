"""Where is a training step in bf16 faster than one in 32 bits? The rule of `train.precision: auto` follows these figures.

    python benchmarks/precision.py [--rounds 5] [--cases mlp quick …] > precision.json

Conditions: forward, backward and optimizer step of a net of `nets/` on random images in channels_last, with the tuned
allocator and torch's own number of threads. Both precisions alternate step by step in one process; the medians and the range
of the ratio 32 : bf16 are printed with the multiplications of one image's forward pass. Every instruction set that oneDNN can
be limited to on this machine has a process of its own (`ONEDNN_MAX_CPU_ISA`), so one machine shows several kinds.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

INSTRUCTIONS = {"AVX512": "AVX512_CORE_VNNI", "AVX512_BF16": "AVX512_CORE_BF16", "AMX": "AVX512_CORE_AMX"}
STAGES = [{"widths": [16]}, {"widths": [32]}, {"widths": [64, 64]}, {"widths": [128, 128], "pool": 1}]
CASES = {
    "mlp 28×28×1": ("mlp", {"widths": [256, 128]}, (128, 1, 28, 28)),
    "mlp 32×32×3": ("mlp", {"widths": [256, 128]}, (128, 3, 32, 32)),
    "mlp 1024 wide": ("mlp", {"widths": [1024, 1024]}, (128, 3, 32, 32)),
    "staged 6-8 12×12": ("staged", {"stages": [{"widths": [6]}, {"widths": [8]}]}, (16, 3, 12, 12)),
    "staged 28×28×1": ("staged", {"stages": STAGES, "ending": "average"}, (64, 1, 28, 28)),
    "staged 64×64×3": ("staged", {"stages": STAGES, "ending": "average"}, (64, 3, 64, 64)),
    "quick 28×28×1": ("quick", {"width": 24, "depth": 2}, (64, 1, 28, 28)),
    "quick 64×64×3": ("quick", {"width": 24, "depth": 2}, (64, 3, 64, 64)),
    "resnet20 32×32": ("resnet_cifar", {"depth": 20}, (64, 3, 32, 32)),
    "resnet18 32×32": ("resnet_cifar", {"depth": 18}, (16, 3, 32, 32)),
    "mobilenetv3 96×96": ("timm", {"model": "mobilenetv3_small_100", "weights": "none"}, (16, 3, 96, 96)),
    "efficientnet 128×128": ("timm", {"model": "efficientnet_lite0", "weights": "none"}, (8, 3, 128, 128)),
    "vit-tiny 96×96": ("timm", {"model": "vit_tiny_patch16_224", "weights": "none"}, (16, 3, 96, 96)),
    "convnext 64×64": ("timm", {"model": "convnext_atto", "weights": "none"}, (16, 3, 64, 64)),
}
WARM_UP, STEPS = 3, 5  # steps of each precision before the clock, and in each round


def child(cases: list[str], rounds: int) -> None:
    """Measure on one instruction set, and print JSON."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from tellapart import registry
    from tellapart.nets._allocator import tune_allocator

    tune_allocator()
    found = {}
    for name in cases:
        kind, options, shape = CASES[name]
        torch.manual_seed(0)
        factory = registry.find("nets", kind)
        options = factory.Options.model_validate({"net": kind, **options})
        net = factory.build(shape[1:], 10, options).to(memory_format=torch.channels_last)
        images = torch.rand(shape).contiguous(memory_format=torch.channels_last)
        labels = torch.arange(shape[0]) % 10
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True)

        step = functools.partial(_step, net, images, labels, optimizer)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            net.eval()(images[:1])
        net.train()
        for _ in range(WARM_UP):
            step(False), step(True)
        singles, halves, ratios = [], [], []
        for _ in range(rounds):
            pairs = [(step(False), step(True)) for _ in range(STEPS)]
            single, half = (min(times) for times in zip(*pairs, strict=True))
            singles.append(single), halves.append(half), ratios.append(single / half)
        found[name] = {
            "multiplications": counter.get_total_flops() // 2,
            "parameters": sum(p.numel() for p in net.parameters()),
            "ms_32": round(1000 * statistics.median(singles), 2), "ms_bf16": round(1000 * statistics.median(halves), 2),
            "ratio": round(statistics.median(ratios), 2), "range": [round(min(ratios), 2), round(max(ratios), 2)],
        }  # fmt: skip
        print(name, found[name], file=sys.stderr, flush=True)
    print(json.dumps({"threads": torch.get_num_threads(), "cases": found}))


def _step(net: Any, images: Any, labels: Any, optimizer: Any, bf16: bool) -> float:
    """Seconds of one training step."""
    import torch

    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        loss = torch.nn.functional.cross_entropy(net(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return time.perf_counter() - start


def main(cases: list[str], rounds: int) -> None:
    """One process per instruction set that this machine has."""
    import torch

    has = torch.cpu.get_capabilities()
    kinds = ["AVX512", *(["AVX512_BF16"] if has.get("avx512_bf16") else []), *(["AMX"] if has.get("amx_bf16") else [])]
    found = {}
    for kind in kinds:
        print(kind, file=sys.stderr)
        command = [sys.executable, __file__, "--child", "--rounds", str(rounds), "--cases", *cases]
        environment = os.environ | {"ONEDNN_MAX_CPU_ISA": INSTRUCTIONS[kind]}
        result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        found[kind] = json.loads(result.stdout)
    from tellapart.runs.environment import describe_environment

    print(
        json.dumps(
            {"machine": describe_environment("cpu"), "rounds": rounds, "instructions": found}, indent=2, ensure_ascii=False
        )
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--child", action="store_true")
    arguments = parser.parse_args()
    (child if arguments.child else main)(arguments.cases, arguments.rounds)
