"""Is training with tellapart faster than a plain script, and what do its input pipeline and its loop cost?

Claims, on two cores, medians: steps/s of `staged` at 28×28 and at 100×100 and of `resnet18` >= 1.4 × `reference_training.py`,
and >= 3 × where augmentation bounds it (28×28); input pipeline <= 8 % of a step at 28 px, <= 5 % above; the loop's own overhead
over a bare PyTorch step <= 5 % at steps >= 7 ms.

    python benchmarks/training_speed.py [--rounds 5] [--quick] [--data FOLDER] [--output speed.json] [--figure speed.svg]

Conditions: both sides read the same folder of PNG files and train the same net (same class, same seed) with AdamW, the same
batch and the same distribution of augmentations. Ours is what `fit` runs: decode-once cache (made before the clock starts; its
seconds are given), batched augmentation, channels_last, tuned allocator. The reference runs with 0 and with 2 workers; the
faster counts. Each side has a process of its own, since the allocator's setting cannot be taken back; both get the bounded spin
of our command line, so that a busy neighbor does not stall one and spare the other. Blocks of steps alternate, one process
waits while the other works; the first steps of a block (workers start) and its last (their queue runs dry) do not count. For
share and overhead the blocks alternate inside our process. The load before each case is given: above 0.3, measure again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from matplotlib.figure import Figure

import reference_training as reference
from tellapart import registry
from tellapart.augmentations.base import Pipeline
from tellapart.classifiers.base import Context
from tellapart.classifiers.network import Network
from tellapart.data.cache import PixelCache
from tellapart.data.scan import scan
from tellapart.progress import Silent, Task
from tellapart.recipe import load as recipes
from tellapart.reports.figures import INK, LINE, MUTED, PAPER, TEST, styled
from tellapart.runs.environment import describe_environment
from tellapart.training.loop import train
from tellapart.training.state import Outcome
from tellapart.types import ImageTable

OVERHEAD_BATCHES, OVERHEAD_BLOCKS = (8, 16, 32, 128), 5  # blocks of each a round
STILL = 1e-7  # learning rate on one batch again and again: learnt by heart, its gradients would be denormal and slow
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@dataclass(frozen=True)
class Case:
    """One comparison. `mode`: of Pillow. `claim`: how many times as fast; `share`: what the input may take of a step."""

    name: str
    data: str
    size: int
    mode: str
    net: dict[str, Any]
    batch: int
    steps: int
    claim: float
    share: float

    @property
    def block(self) -> int:
        """Steps, those included that do not count."""
        return self.steps + reference.WARM_UP + reference.TAIL


CASES = [
    Case("staged 28×28", "fashion-mnist", 28, "L", {"net": "staged"}, 128, 24, 3.0, 0.08),
    Case("staged 100×100", "deepfake5.tar", 100, "RGB", {"net": "staged"}, 64, 10, 1.4, 0.05),
    Case("resnet18 100×100", "deepfake5.tar", 100, "RGB", {"net": "torchvision", "model": "resnet18"}, 32, 6, 1.4, 0.05),
]
Send = Callable[..., Any]


class Stopwatch(Silent, Task):
    """Notes when each step of the loop ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    @contextmanager
    def task(self, name: str, total: int, unit: str) -> Iterator[Task]:
        """Every task is this one."""
        del name, total, unit
        yield self

    def advance(self, steps: int = 1, note: str = "") -> None:
        """The loop calls this at the end of a step."""
        del note
        if steps:
            self.ends.append(time.perf_counter())


class Ours:
    """Model, parts, plan, Fabric and pipeline as `fit` hands them to the training loop."""

    def __init__(self, case: Case, table: ImageTable, cache: PixelCache) -> None:
        self.case = case
        with mock.patch("tellapart.classifiers.network.train", return_value=Outcome()) as called:
            Network(our_recipe(case)).fit(table, table.take(np.arange(0)), Context(cache=cache))
        (self.model, self.parts, self.plan, self.fabric), self.options = called.call_args
        self.augment = self.options["augment"]

    def loop(self, fixed: bool = False, batch: int = 0) -> tuple[float, float]:
        """Seconds of a step, and the mean loss, of one epoch of the training loop; `fixed`: on one batch that is ready."""
        watch, lines = Stopwatch(), []
        part, plan = self.parts[0], self.plan.model_copy(update={"batch": batch or self.case.batch})
        options = self.options | {"progress": watch, "log": lines.append, "folder": None}
        if fixed:
            images = self.ready_batch(plan.batch)[0]
            part = replace(part, get=lambda _: images, labels=part.labels[: plan.batch * self.case.block])
            options["augment"] = Pipeline([])
            plan = plan.model_copy(update={"optimizer": plan.optimizer.model_copy(update={"lr": STILL})})
        train(self.model, (part, self.parts[1]), plan, self.fabric, **options)
        return reference.seconds_of_a_step(watch.ends), lines[-1]["train_loss"]

    def bare(self, batch: int = 0) -> tuple[float, float]:
        """The same of the same model in four lines of PyTorch, on one batch that is ready."""
        images, labels = self.ready_batch(batch or self.case.batch)
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=STILL)
        self.model.train()
        watch = Stopwatch()
        for _ in range(self.case.block):
            optimizer.zero_grad()
            with self.fabric.autocast():
                loss = torch.nn.functional.cross_entropy(self.model(images), labels)
            loss.backward()
            optimizer.step()
            watch.advance()
        return reference.seconds_of_a_step(watch.ends), loss.item()

    def pipeline(self) -> tuple[float, float]:
        """Seconds that a step's images take to fetch, and to augment."""
        generator, fetched, augmented = torch.Generator().manual_seed(0), [], []
        for rows in np.random.default_rng(0).permutation(len(self.parts[0])).reshape(-1, self.case.batch):
            start = time.perf_counter()
            images = self.parts[0].get(rows)
            fetched.append(time.perf_counter() - start)
            self.augment(images, generator)
            augmented.append(time.perf_counter() - start - fetched[-1])
        return statistics.fmean(fetched[reference.WARM_UP :]), statistics.fmean(augmented[reference.WARM_UP :])

    def ready_batch(self, batch: int) -> tuple[Any, Any]:
        """Augmented images (batch, C, H, W) uint8 and labels."""
        rows = np.arange(batch)
        images = self.augment(self.parts[0].get(rows), torch.Generator().manual_seed(0))
        return images, torch.from_numpy(self.parts[0].labels[rows])


def our_recipe(case: Case) -> Any:
    """The recipe that does what `reference_training.py` does."""
    moved = {"degrees": reference.DEGREES, "shift": reference.SHIFT, "scale": reference.SCALE}
    jitter = dict.fromkeys(("brightness", "contrast", "saturation"), reference.JITTER) | {"hue": reference.HUE}
    optimizer = {"name": "adamw", "lr": reference.LEARNING_RATE, "weight_decay": reference.WEIGHT_DECAY}
    schedule = {"name": "constant", "warmup": 0}
    content = {
        "inputs": {"size": case.size, "mode": "gray" if case.mode == "L" else "rgb"},
        "augment": [
            *({"flip": {}}, {"affine": moved}, {"random_crop": {"shift": reference.PADDING[case.size]}}),
            *([{"color_jitter": jitter}] if case.mode == "RGB" else []),
        ],
        "classifier": {"family": "network", **case.net},
        "train": {"epochs": 1, "batch": case.batch, "optimizer": optimizer, "schedule": schedule},
    }
    return recipes.parse(content, "training_speed")


def their_side(case: Case, table: ImageTable) -> Any:
    """The reference script on the same files, with the same kind of net."""
    kind = registry.find("nets", case.net["net"])
    torch.manual_seed(0)
    net = kind.build((len(case.mode), case.size, case.size), len(table.classes), kind.Options.model_validate(case.net))
    return reference.Reference(table, net, case.size, case.mode, case.batch)


def serve(connection: Any, ours: bool, case: Case, folder: Path) -> None:
    """Answer (method, arguments) until None comes."""
    table = scan(folder / "images")
    side = Ours(case, table, PixelCache(folder / "cache")) if ours else their_side(case, table)
    connection.send(sum(p.numel() for p in side.model.parameters()))
    while (asked := connection.recv()) is not None:
        connection.send(getattr(side, asked[0])(*asked[1]))


@contextmanager
def process(ours: bool, case: Case, folder: Path) -> Iterator[tuple[int, Send]]:
    """A fresh process for one side: the parameters of its net, and how to ask it."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=serve, args=(there, ours, case, folder))
    with mock.patch.dict(os.environ, {"GOMP_SPINCOUNT": "10000"}):  # read once, when torch is loaded
        child.start()
    there.close()

    def ask(method: str, *arguments: Any) -> Any:
        here.send((method, arguments))
        return here.recv()  # EOFError when it has died; it has said why

    try:
        yield here.recv(), ask
        here.send(None)
        child.join(10)
    finally:
        child.kill()
        child.join()


def measure(case: Case, data: Path, rounds: int) -> dict[str, Any]:
    """Every figure of one case."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = reference.write_pictures(data / case.data, folder / "images", case.size, case.mode, case.batch * case.block)
        ours = our_recipe(case)
        start = time.perf_counter()
        PixelCache(folder / "cache").images(scan(folder / "images"), ours.inputs)
        seconds = round(time.perf_counter() - start, 2)
        found: dict[str, Any] = {"images": source, "batch": case.batch, "steps a block": case.steps, "augment": ours.augment}
        found |= {"decode-once cache, seconds": seconds, "load before": os.getloadavg()[0]}
        with process(False, case, folder) as (their_size, them), process(True, case, folder) as (our_size, us):
            found["parameters"] = {"ours": our_size, "reference": their_size}
            found |= compare(case, us, them, rounds)
            found["input pipeline"] = pipeline_share(case, us, rounds)
            if case.size == 28:
                found["loop overhead"] = [overhead(us, b, rounds) for b in OVERHEAD_BATCHES if b <= case.batch]
    return found


def compare(case: Case, us: Send, them: Send, rounds: int) -> dict[str, Any]:
    """Images a second of both sides, and the ratio to the faster setting of the reference."""
    sides = {
        "ours": lambda: us("loop"),
        "reference, 0 workers": lambda: them("loop", 0),
        "reference, 2 workers": lambda: them("loop", 2),
    }
    blocks = alternate(sides, rounds)
    rates = {name: [case.batch / seconds for seconds, _ in b] for name, b in blocks.items()}
    fastest = max(list(rates)[1:], key=lambda name: statistics.median(rates[name]))
    ratios = [a / b for a, b in zip(rates["ours"], rates[fastest], strict=True)]
    return {
        "images a second": {name: spread(r) for name, r in rates.items()},
        "last loss": {name: round(b[-1][1], 3) for name, b in blocks.items()},
        "faster reference": fastest,
        "times as fast": spread(ratios),
        "claimed": case.claim,
    }


def pipeline_share(case: Case, us: Send, rounds: int) -> dict[str, Any]:
    """What the input takes of a step, by itself and as the difference between two loops."""
    blocks = alternate({"loop": lambda: us("loop"), "ready": lambda: us("loop", True), "alone": lambda: us("pipeline")}, rounds)
    names = ("step, ms", "fetching, ms", "augmenting, ms", "share, timed alone", "share, loop less loop on a ready batch")
    found = [
        (1e3 * loop, 1e3 * get, 1e3 * augment, (get + augment) / loop, 1 - ready / loop)
        for (loop, _), (ready, _), (get, augment) in zip(*blocks.values(), strict=True)
    ]
    columns = zip(names, zip(*found, strict=True), strict=True)
    return {"allowed": case.share, **{name: spread(values) for name, values in columns}}


def overhead(us: Send, batch: int, rounds: int) -> dict[str, Any]:
    """Of the loop on a ready batch over a bare step on the same."""
    blocks = alternate({"bare": lambda: us("bare", batch), "loop": lambda: us("loop", True, batch)}, OVERHEAD_BLOCKS * rounds)
    found = [(1e3 * bare, loop / bare - 1) for (bare, _), (loop, _) in zip(*blocks.values(), strict=True)]
    bare, share = (spread(values) for values in zip(*found, strict=True))
    return {"batch": batch, "bare step, ms": bare, "overhead": share, "allowed": 0.05}


def alternate(sides: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[Any]]:
    """One block of each side, again and again, every second round in the other order; the first of several does not count."""
    found: dict[str, list[Any]] = {name: [] for name in sides}
    for turn in range(rounds + (rounds > 1)):
        for name in list(sides) if turn % 2 else reversed(sides):
            found[name].append(sides[name]())
    return {name: answers[-rounds:] for name, answers in found.items()}


def spread(values: list[float] | tuple[float, ...]) -> dict[str, float]:
    """Median and range."""
    digits = 1 if max(values) >= 100 else 4
    return {name: round(f(values), digits) for name, f in (("median", statistics.median), ("low", min), ("high", max))}


def claims(cases: dict[str, Any]) -> dict[str, bool]:
    """Which hold, by the medians."""
    found = {}
    for name, case in cases.items():
        found[f"{name}: times as fast >= {case['claimed']}"] = case["times as fast"]["median"] >= case["claimed"]
        pipeline = case["input pipeline"]
        found[f"{name}: input <= {pipeline['allowed']:.0%}"] = pipeline["share, timed alone"]["median"] <= pipeline["allowed"]
        for line in case.get("loop overhead", []):
            if line["bare step, ms"]["median"] >= 7:
                what = f"{name}, batch {line['batch']}: overhead <= {line['allowed']:.0%}"
                found[what] = line["overhead"]["median"] <= line["allowed"]
    return found


@styled
def draw(cases: dict[str, Any], path: Path) -> None:
    """One panel a case: images a second, medians and ranges."""
    figure = Figure(figsize=(8.6, 0.5 + 1.05 * len(cases)), layout="constrained")
    panels = figure.subplots(len(cases), 1, squeeze=False)[:, 0]
    for axes, (name, case) in zip(panels, cases.items(), strict=True):
        rates = case["images a second"]
        for y, (side, rate) in enumerate(rates.items()):
            axes.barh(y, rate["median"], 0.72, color=TEST if side == "ours" else LINE)
            axes.plot([rate["low"], rate["high"]], [y, y], color=INK, linewidth=1.2)
            axes.annotate(f"{rate['median']:,.0f}", (rate["high"], y), (5, 0), textcoords="offset points", va="center")
        axes.set_yticks(range(len(rates)), ["tellapart", *list(rates)[1:]], color=INK)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.12 * max(rate["high"] for rate in rates.values()))
        axes.set_title(f"{name}: {case['times as fast']['median']:.1f} × the faster reference", loc="left")
        axes.spines["left"].set_visible(False)
    panels[-1].set_xlabel("training images a second; lines: range over rounds", color=MUTED)
    figure.savefig(path, facecolor=PAPER, dpi=160, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    """Measure, print or write, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one round of few steps: does it run?")
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES], help="only this one; may be repeated")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with fashion-mnist and deepfake5.tar")
    parser.add_argument("--output", type=Path, help="where the JSON goes; left out: standard output")
    parser.add_argument("--figure", type=Path, help=".svg or .png")
    o = parser.parse_args()
    chosen = [case for case in CASES if not o.case or case.name in o.case]
    rounds = 1 if o.quick else o.rounds
    cases = {c.name: measure(replace(c, steps=2, batch=8) if o.quick else c, o.data, rounds) for c in chosen}
    content = {"machine": describe_environment("cpu"), "rounds": rounds, "cases": cases, "claims": claims(cases)}
    text = json.dumps(content, indent=2)
    print(text) if o.output is None else o.output.write_text(text + "\n", encoding="utf-8")
    if o.figure:
        draw(cases, o.figure)


if __name__ == "__main__":
    main()
