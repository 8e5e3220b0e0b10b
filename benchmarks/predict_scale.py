"""Many images through a small net: images a second beside plain decoding, and memory from the first to the last.

Claims: `predict_to_file` predicts at least 80 % of the images a second that decoding alone reaches, for a net of 0.28 million
parameters at 64×64 on JPEGs of 512×512; and its memory is flat, at most 1.5 GiB, whatever the number of images.

    python benchmarks/predict_scale.py [--images 100000] [--rounds 5] [--segment 2000] [--distinct 200] [--format parquet]
                                       > predict_scale.json

200 distinct JPEGs (quality 90) are cut from the photographs that scikit-image and scikit-learn carry; hard links name them as
often as needed, so the disk is not filled and the page cache holds them all: reading is free, decoding is what there is to lose
against. Plain decoding is `decode_to` for the run's inputs in as many threads as the machine has processors, its pixels thrown
away: the same function, threads and files that prediction uses. The two take turns, `--segment` images each, after one turn
each that does not count. Then one `predict_to_file` over all images, in a process of its own, whose resident memory is looked
at twenty times a second. Processor seconds are those of the process, all threads: on a shared machine they vary less than
rates.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

import tellapart as ta
from tellapart.data.decode import decode_to, quiet
from tellapart.data.sample_photos import PHOTOGRAPHS
from tellapart.inference.image_sources import open_sources
from tellapart.inference.image_sources.base import ImageRef, UniqueImages
from tellapart.inference.predictor import load_predictor
from tellapart.recipe.schema import Inputs
from tellapart.runs.environment import describe_environment
from tellapart.runs.store import Run
from tellapart.workflows._batch_predictor import BatchPredictor
from tellapart.workflows.predict import predict_to_file

SIDE, QUALITY, SIZE = 512, 90, 64
_AT_ONCE = 256  # images between two looks at the threads, as in the cache


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--segment", type=int, default=2000)
    parser.add_argument("--distinct", type=int, default=200)
    parser.add_argument("--format", choices=["csv", "jsonl", "parquet"], default="parquet")
    parser.add_argument("--whole", nargs=3, metavar=("RUN", "IMAGES", "OUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.whole:
        print(json.dumps(whole(*options.whole)))
        return
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        run = trained(top)
        pictures = named(top, options.distinct, options.images)
        rounds = duel(run, pictures, options.rounds, options.segment)
        out = top / f"answers.{options.format}"
        command = [sys.executable, __file__, "--whole", str(run.folder), str(pictures), str(out)]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        size = statistics.mean(path.stat().st_size for path in (top / "distinct").iterdir())
        about = {"images": options.images, "distinct": options.distinct, "side": SIDE, "bytes an image": round(size)}
        about |= {"net": f"cnn-small at {SIZE}×{SIZE}", "parameters": run.cost["parameters"], "segment": options.segment}
        machine = describe_environment("cpu") | {"load": os.getloadavg()[0], "processors": os.cpu_count()}
        print(json.dumps({"machine": machine, **about, **summary(rounds), "whole": json.loads(told)}, indent=1))


def named(top: Path, distinct: int, images: int) -> Path:
    """A folder that names `distinct` photographs `images` times, a thousand in each folder below."""
    generator = np.random.default_rng(0)
    photographs = [np.asarray(Image.open(one.path).convert("RGB")) for one in PHOTOGRAPHS]
    (top / "distinct").mkdir()
    for number in range(distinct):
        pixels = photographs[number % len(photographs)]
        side = generator.integers(min(pixels.shape[:2]) // 2, min(pixels.shape[:2]) + 1)
        y, x = (int(generator.integers(length - side + 1)) for length in pixels.shape[:2])
        picture = Image.fromarray(pixels[y : y + side, x : x + side]).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        picture.save(top / "distinct" / f"{number}.jpg", quality=QUALITY)
    for number in range(images):
        link = top / "images" / f"{number // 1000:05}" / f"{number:08}.jpg"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.hardlink_to(top / "distinct" / f"{number % distinct}.jpg")
    return top / "images"


def trained(top: Path) -> Run:
    """The net, trained for a moment on noise: only its cost matters here."""
    images = np.random.default_rng(0).integers(0, 256, (200, SIZE, SIZE, 3), dtype=np.uint8)
    table = ta.from_arrays(images, ["real", "fake"] * 100)
    settings = ta.Settings(runs=top / "runs", device="cpu")
    return ta.train(table, "cnn-small", overrides=[f"inputs.size={SIZE}", "train.epochs=1"], settings=settings)


def duel(run: Run, pictures: Path, rounds: int, segment: int) -> list[dict]:
    """Rates of both, in turns; the first turn of each is thrown away."""
    predictor = BatchPredictor(load_predictor(run, ta.Settings(runs=run.runs, device="cpu")))
    inputs = Inputs.model_validate(run.recipe["inputs"])
    works: dict[str, Callable[[], None]] = {
        "decode": lambda: decode_alone(pictures, segment, inputs),
        "predict": lambda: predict(predictor, pictures, segment),
    }
    found = []
    for number in range(rounds + 1):
        row = {"runtime": predictor.predictor.runtime}
        for name in sorted(works, reverse=bool(number % 2)):
            wall, processor = time.perf_counter(), time.process_time()
            works[name]()
            row[name] = round(segment / (time.perf_counter() - wall), 1)
            row[f"{name} processor ms"] = round(1000 * (time.process_time() - processor) / segment, 3)
        found.append(row)
    return found[1:]


def decode_alone(pictures: Path, count: int, inputs: Inputs) -> None:
    """Read and decode, and no more."""

    def one(item: ImageRef) -> None:
        decode_to(item.read(), inputs)

    items = (item for item in UniqueImages(open_sources([pictures])) if isinstance(item, ImageRef))
    left = islice(items, count)
    with quiet(), ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        while some := list(islice(left, _AT_ONCE)):
            list(pool.map(one, some))


def predict(predictor: BatchPredictor, pictures: Path, count: int) -> None:
    """Predict as many images."""
    items = (item for item in UniqueImages(open_sources([pictures])) if isinstance(item, ImageRef))
    predicted = sum(len(batch) for batch in predictor.batches(islice(items, count)))
    assert predicted == count


def summary(rounds: list[dict]) -> dict:
    """Medians, and the ratio round by round."""
    found: dict = {"rounds": rounds}
    for name in ("decode", "predict"):
        rates = [row[name] for row in rounds]
        found[f"{name} images/s"] = {"median": statistics.median(rates), "low": min(rates), "high": max(rates)}
    for name, of in (("rate", lambda r: r["predict"] / r["decode"]), ("processor", _processor)):
        shares = [of(row) for row in rounds]
        spread = {"median": statistics.median(shares), "low": min(shares), "high": max(shares)}
        found[f"share of decoding, by {name}"] = {key: round(value, 3) for key, value in spread.items()}
    return found


def _processor(row: dict) -> float:
    return row["decode processor ms"] / row["predict processor ms"]


def whole(run: str, pictures: str, out: str) -> dict:
    """All images at once, and the memory they take; MiB."""
    seen: list[float] = []
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(seen, done))
    watcher.start()
    start = time.perf_counter()
    answered = predict_to_file(run, [pictures], out, settings=ta.Settings(runs=Path(run).parent, device="cpu"))
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    tenths = [round(max(part), 1) for part in np.array_split(np.array(seen), 10) if len(part)]
    # not getrusage: its high-water mark is that of the process that started this one, if that was larger
    peak = int(next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line).split()[1]) / 1024
    return {
        "images": answered.images, "seconds": round(seconds, 1), "images/s": round(answered.images / seconds, 1),
        "peak MiB": round(peak, 1), "peak MiB of each tenth": tenths, "file bytes": Path(out).stat().st_size,
    }  # fmt: skip


def _watch(seen: list[float], done: threading.Event) -> None:
    page = os.sysconf("SC_PAGE_SIZE") / 2**20
    while not done.wait(0.05):
        seen.append(int(Path("/proc/self/statm").read_text().split()[1]) * page)


if __name__ == "__main__":
    main()
