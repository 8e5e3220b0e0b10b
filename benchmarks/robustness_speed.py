"""What does it cost to damage an image, and to write it as a file again?

Claim: no damage costs more than three times what writing the undamaged picture as PNG costs; JPEG costs less. Conditions:
synthetic photographs of the sides asked for; processor time of one thread, so that others on the machine count little; median
over repetitions and strengths.

    python benchmarks/robustness_speed.py [--sides 32 100 720] [--repeat 5]

Prints JSON: for each side and damage milliseconds of processor time an image, beside decoding a JPEG of that side.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable

import numpy as np

from tellapart.data.decode import decode
from tellapart.perturbations.kinds import PERTURBATIONS, as_png


def main() -> None:
    """Time every damage and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[32, 100, 720])
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    rows = [measure(side, options.repeat) for side in options.sides]
    print(json.dumps({"load": os.getloadavg()[0], "repeat": options.repeat, "milliseconds": rows}, indent=1))


def measure(side: int, repeat: int) -> dict:
    """Milliseconds an image of `side` × `side`."""
    pixels = photograph(side)
    jpeg = PERTURBATIONS["jpeg"].apply(pixels, 85, "a")
    found: dict = {"side": side, "decode jpeg": spread([lambda: decode(jpeg)], repeat)}
    found["undamaged png"] = spread([lambda: as_png(pixels)], repeat)
    for name, damage in PERTURBATIONS.items():
        found[name] = spread([lambda d=damage, s=s: d.apply(pixels, s, "a") for s in damage.strengths], repeat)
    return found


def spread(works: list[Callable[[], object]], repeat: int) -> dict:
    """Of some pieces of work, each done `repeat` times after one that does not count."""
    seconds = []
    for work in works:
        work()
        for _ in range(repeat):
            start = time.thread_time()
            work()
            seconds.append(time.thread_time() - start)
    median, best, worst = (1000 * of(seconds) for of in (statistics.median, min, max))
    return {"median": round(median, 3), "best": round(best, 3), "worst": round(worst, 3)}


def photograph(side: int) -> np.ndarray:
    """Shapes with grain, (side, side, 3) uint8: compresses about as a photograph does."""
    y, x = np.mgrid[:side, :side] / side
    waves = np.stack([np.sin(7 * x + c) * np.cos(5 * y - c) for c in range(3)], axis=2)
    grain = np.random.default_rng(0).normal(0, 6, (side, side, 3))
    return np.clip(127 + 90 * waves + grain, 0, 255).astype(np.uint8)


if __name__ == "__main__":
    main()
