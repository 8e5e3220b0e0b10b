"""Augmentation: batched tensors against Pillow and torchvision v2, image by image, with the same parameters.

    python benchmarks/augmentation.py [--rounds 7] [--threads 2] > augmentation.json

The chain is rotation, affine, colors, crop with reflected padding and mirror, as a list of torchvision's transforms on Pillow
images, in one process; what comes out is a uint8 batch. torchvision samples to the nearest pixel unless told otherwise; we
sample between pixels, so `bilinear` is the equal footing. `ours, 1 thread` is what compares with one worker of a data loader;
several workers multiply the rates of the others, as threads do ours. The settings alternate; medians over rounds. Ratios
under 1 say that ours was slower. RandAugment and TrivialAugment are compared with torchvision's on Pillow images and on
tensors, which give the same pixels as ours. Single operations of ours stand below: the codecs are slow, and slow is what they
are.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, v2

from tellapart import registry
from tellapart.augmentations.base import Pipeline
from tellapart.data.sample_photos import PHOTOGRAPHS
from tellapart.nets._allocator import tune_allocator
from tellapart.runs.environment import describe_environment

SIDES, BATCH = (32, 100, 224), 64
NEEDED = {
    "five_crop": {"size": 88},
    "center_crop": {"size": 88},
    "compose": {"of": [{"flip": {}}]},
    "one_of": {"of": [{"rotate90": {}}, {"flip": {}}]},
    "union": {"of": [[], [{"rotate90": {}}]]},
}
Rates = dict[str, dict[str, list[float]]]


def tiles(side: int) -> np.ndarray:
    """(BATCH, side, side, 3) uint8, cut out of photographs."""
    generator, found = np.random.default_rng(0), []
    color = [p.load() for p in PHOTOGRAPHS if p.color]
    while len(found) < BATCH:
        photograph = color[len(found) % len(color)]
        top, left = (generator.integers(0, length - side + 1) for length in photograph.shape[:2])
        found.append(photograph[top : top + side, left : left + side])
    return np.stack(found)


def theirs(pixels: np.ndarray, interpolation: InterpolationMode) -> Callable[[], object]:
    """A list of transforms on Pillow images."""
    side = pixels.shape[1]
    transform = v2.Compose(
        [
            v2.RandomRotation(15, interpolation=interpolation),
            v2.RandomAffine(0, translate=(0.1, 0.1), scale=(0.9, 1.1), interpolation=interpolation),
            v2.ColorJitter(0.2, 0.2, 0.2, 0.02),
            v2.RandomCrop(side, padding=side // 12, padding_mode="reflect"),
            v2.RandomHorizontalFlip(),
            v2.PILToTensor(),
        ]
    )
    pictures = [Image.fromarray(image) for image in pixels]
    return lambda: torch.stack([transform(picture) for picture in pictures])


def ours(pixels: np.ndarray, threads: int) -> Callable[[], object]:
    """The same as a recipe."""
    pipeline = Pipeline(
        [
            {"rotate": {"degrees": 15}},
            {"affine": {"shift": 0.1, "scale": [0.9, 1.1]}},
            {"color_jitter": {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.02}},
            {"random_crop": {"shift": pixels.shape[1] // 12}},
            {"flip": {}},
        ]
    )
    return _on_batch(pipeline, pixels, threads)


def _on_batch(pipeline: Pipeline, pixels: np.ndarray, threads: int) -> Callable[[], object]:
    images, generator = torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.Generator().manual_seed(0)

    def step() -> object:
        torch.set_num_threads(threads)
        made = pipeline(images, generator)
        return pipeline.mix(made, generator) or made

    return step


def rate(step: Callable[[], object], seconds: float = 0.4) -> float:
    """Images a second, over at least so many seconds, after one batch to warm up."""
    step()
    start, batches = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        step()
        batches += 1
    return batches * BATCH / (time.perf_counter() - start)


def chains(rounds: int, threads: int) -> Rates:
    """Images a second of the chain, for every side and way."""

    def ways(pixels: np.ndarray) -> dict[str, Callable[[], object]]:
        return {
            "pillow + torchvision, bilinear": theirs(pixels, InterpolationMode.BILINEAR),
            "pillow + torchvision, nearest": theirs(pixels, InterpolationMode.NEAREST),
            "ours, 1 thread": ours(pixels, 1),
            f"ours, {threads} threads": ours(pixels, threads),
        }

    return alternated(ways, rounds)


def policies(name: str, rounds: int) -> dict[str, dict[str, float]]:
    """Median milliseconds per image of RandAugment or TrivialAugment, one thread, for every side and way."""
    transform = {"rand_augment": v2.RandAugment(), "trivial_augment": v2.TrivialAugmentWide()}[name]

    def ways(pixels: np.ndarray) -> dict[str, Callable[[], object]]:
        pictures = [Image.fromarray(image) for image in pixels]
        tensors = list(torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous())
        back = v2.PILToTensor()
        return {
            "pillow + torchvision": lambda: torch.stack([back(transform(picture)) for picture in pictures]),
            "tensors + torchvision": lambda: torch.stack([transform(tensor) for tensor in tensors]),
            "ours": _on_batch(Pipeline([{name: {}}]), pixels, 1),
        }

    torch.set_num_threads(1)
    rates = alternated(ways, rounds)
    return {side: {way: round(1000 / statistics.median(v), 3) for way, v in ways.items()} for side, ways in rates.items()}


def alternated(ways_of: Callable[[np.ndarray], dict[str, Callable[[], object]]], rounds: int) -> Rates:
    """Images a second of every way, for every side."""
    rates: Rates = {}
    for side in SIDES:
        ways = ways_of(tiles(side))
        found = rates.setdefault(f"{side} px", {way: [] for way in ways})
        for _ in range(rounds):
            for way, step in ways.items():
                found[way].append(rate(step))
    return rates


def operations(rounds: int) -> dict[str, float]:
    """Images a second of each augmentation alone, at 100 px, one thread; those for some images do all of them."""
    pixels = tiles(100)
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name in registry.names("augmentations"):
            options = dict(NEEDED.get(name, {}))
            if "probability" in registry.find("augmentations", name).Options.model_fields:
                options["probability"] = 1
            step = _on_batch(Pipeline([{name: options}]), pixels, 1)
            found.setdefault(name, []).append(rate(step, 0.1))
    return {name: round(statistics.median(values)) for name, values in found.items()}


def main(rounds: int, threads: int) -> None:
    """Alternate and print medians, ranges and ratios."""
    tune_allocator()
    rates = chains(rounds, threads)
    medians = {side: {way: statistics.median(v) for way, v in ways.items()} for side, ways in rates.items()}
    print(
        json.dumps(
            {
                "machine": describe_environment("cpu"),
                "rounds": rounds,
                "batch": BATCH,
                "images_per_second": {s: {w: round(m) for w, m in ways.items()} for s, ways in medians.items()},
                "range": {s: {w: [round(min(v)), round(max(v))] for w, v in ways.items()} for s, ways in rates.items()},
                "ratio to pillow + torchvision, bilinear": {
                    side: {way: round(m / ways["pillow + torchvision, bilinear"], 1) for way, m in ways.items()}
                    for side, ways in medians.items()
                },
                "milliseconds per image": {name: policies(name, rounds) for name in ("rand_augment", "trivial_augment")},
                "single operations at 100 px, 1 thread": operations(min(rounds, 3)),
            },
            indent=2,
            ensure_ascii=False,
        )
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    if "GOMP_SPINCOUNT" not in os.environ:  # as the command line sets it; it is read when torch starts
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"GOMP_SPINCOUNT": "10000"})
    main(arguments.rounds, arguments.threads)
