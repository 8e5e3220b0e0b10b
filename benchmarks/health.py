"""How long do the health checks of many images take, and how much memory?

Claim: of 100,000 images the metadata checks (headers only) take <= 60 s, the perceptual duplicates (decoding included) <= 5
minutes, on 2 threads, with <= 2 GiB of resident memory. Conditions: JPEGs of 64 to 128 pixels, quality 70 to 95, that are
windows of the photographs which scikit-image and scikit-learn carry, each at its own place, scale and turn, so that no two are
the same; 1 % of them are near-duplicates planted on purpose (saved again, halved, cropped, mirrored), and recall is counted.
All lie in one uncompressed .tar. Each part runs in a process of its own with 2 threads; seconds are wall time from a scanned
table, imports excluded; processor seconds stand beside them, since others may use the machine.

    python benchmarks/health.py [--count 100000] [--where DIR] [--parts headers near]

Prints JSON. Everything made is removed again.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from tellapart.data.sample_photos import PHOTOGRAPHS

PLANTED = 0.01
LIMITS = {"headers": 60, "near": 300, "peak_gib": 2}

_CHILD = """
import json, resource, sys, time
from tellapart.checks._dataset_view import DatasetView
from tellapart.checks.duplicates import Duplicates
from tellapart.checks.near_duplicates import NearDuplicates
from tellapart.data.scan import scan
table = scan(sys.argv[1])
view, parts = DatasetView(table, traces=False), {}  # as `check --only duplicates --only near_duplicates` has it
def timed(name, work):
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    parts[name] = [time.perf_counter() - wall, time.process_time() - cpu]
    return found
if sys.argv[2] == "headers":
    timed("headers", lambda: view.metadata)
    found = None
else:
    timed("decoding", lambda: view.pixel_stats)
    timed("exact copies", lambda: Duplicates()(view))
    found = timed("near duplicates", lambda: NearDuplicates()(view))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
pairs = [] if found is None or found.pairs is None else [[str(table.ids[a]), str(table.ids[b])] for a, b in found.pairs]
print(json.dumps({"parts": parts, "peak": peak, "pairs": pairs, "details": {} if found is None else found.details}))
"""


def main() -> None:
    """Make the images, check them, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--where", type=Path, default=None, help="where to make the temporary folder")
    parser.add_argument("--parts", nargs="+", choices=("headers", "near"), default=["headers", "near"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.where) as folder:
        start = time.perf_counter()
        archive = Path(folder) / "images.tar"
        truth = make(archive, options.count)
        made = time.perf_counter() - start
        found = {part: run(archive, part) for part in options.parts}
    print(json.dumps(summarize(found, truth, options.count, made), indent=2))


def make(archive: Path, count: int) -> set[tuple[str, str]]:
    """Write the archive; gives the planted pairs, names in order."""
    draw = np.random.default_rng(0)
    photographs = [Image.open(one.path).convert("RGB") for one in PHOTOGRAPHS if min(Image.open(one.path).size) >= 300]
    truth: set[tuple[str, str]] = set()
    planted = int(count * PLANTED)
    with tarfile.open(archive, "w") as tar:
        for number in range(count - planted):
            image = window(photographs, draw)
            name = f"{('real', 'fake')[number % 2]}/{number:06}.jpg"
            add(tar, name, image, int(draw.integers(70, 96)))
            if number < planted:
                twin = f"{('fake', 'real')[number % 2]}/{number:06}-again.jpg"
                add(tar, twin, damaged(image, number % 4, draw), int(draw.integers(50, 96)))
                truth.add((min(name, twin), max(name, twin)))
    return truth


def window(photographs: list[Image.Image], draw: np.random.Generator) -> Image.Image:
    """A window of a photograph at a random place, scale and turn, 64 to 128 pixels a side."""
    photograph = photographs[int(draw.integers(len(photographs)))]
    side = int(draw.integers(64, 129))
    scale = float(draw.uniform(0.5, min(2.0, min(photograph.size) / side / 1.5)))
    reach = side * scale * 0.75
    x, y = (float(draw.uniform(reach, length - reach)) for length in photograph.size)
    turn = float(draw.uniform(0, 2 * np.pi))
    a, b = scale * np.cos(turn), scale * np.sin(turn)
    middle = side / 2
    place = (a, b, x - (a + b) * middle, -b, a, y - (a - b) * middle)
    return photograph.transform((side, side), Image.Transform.AFFINE, place, Image.Resampling.BILINEAR)


def damaged(image: Image.Image, kind: int, draw: np.random.Generator) -> Image.Image:
    """As it is (it is saved again), halved, cropped by 5 %, mirrored."""
    if kind == 1:
        return image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC)
    if kind == 2:
        side = round(0.95 * image.width)
        left, top = draw.integers(image.width - side + 1, size=2).tolist()
        return image.crop((left, top, left + side, top + side))
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if kind == 3 else image


def add(tar: tarfile.TarFile, name: str, image: Image.Image, quality: int) -> None:
    """One JPEG into the archive."""
    content = io.BytesIO()
    image.save(content, "JPEG", quality=quality)
    info = tarfile.TarInfo(name)
    info.size = content.tell()
    content.seek(0)
    tar.addfile(info, content)


def run(archive: Path, part: str) -> dict:
    """One part in a fresh process with 2 threads."""
    threads = {f"{name}_NUM_THREADS": "2" for name in ("OMP", "OPENBLAS", "MKL")}
    command = [sys.executable, "-c", _CHILD, str(archive), part]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **threads})
    return json.loads(done.stdout)


def summarize(found: dict[str, dict], truth: set[tuple[str, str]], count: int, made: float) -> dict:
    """Seconds, memory, what of the planted pairs was found, and what it ran on."""
    parts = {name: {"seconds": round(wall, 1), "processor_seconds": round(cpu, 1)}
             for one in found.values() for name, (wall, cpu) in one["parts"].items()}  # fmt: skip
    answer: dict = {
        "what": "health checks", "n": count, "parts": parts,
        "peak_gib": {name: round(one["peak"] / 2**30, 2) for name, one in found.items()},
        "limits_at_100000": LIMITS, "making_the_images_seconds": round(made, 1), "load_after": os.getloadavg()[0],
        "python": platform.python_version(), "numpy": np.__version__, "cores": len(os.sched_getaffinity(0)),
        "machine": platform.machine(), "system": platform.platform(),
    }  # fmt: skip
    if "near" in found:
        pairs = {(min(pair), max(pair)) for pair in found["near"]["pairs"]}
        answer |= {"planted": len(truth), "planted_found": len(truth & pairs), "pairs_found": len(pairs),
                   "details": found["near"]["details"]}  # fmt: skip
    return answer


if __name__ == "__main__":
    main()
