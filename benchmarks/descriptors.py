"""How fast are the four forensic descriptors, per image and core, and how much faster than at an earlier commit?

    python benchmarks/descriptors.py [--against 135c55a] [--rounds 3] > benchmarks/results/descriptors.json

Tiles of a photograph of scikit-image (chelsea), 100×100 and 512×512, RGB. One thread. Each round describes all tiles by each
side in a process of its own, the sides alternate; processor time (the machine may be busy), the median over the rounds, and the
ratio earlier : now. The largest difference of the values is given in absolute terms and as a share of the earlier value.
Functions are compiled before the clock starts; `cold start` is the first call in a process whose folder of compiled code is
empty.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

DESCRIPTORS: dict[str, dict[str, Any]] = {
    "spectrum": {"block": 8}, "noise_residual": {},
    "cooccurrence": {"of": ["first", "second", "square"], "channels": True}, "lbp": {},
}  # fmt: skip
COUNTS = {100: 104, 512: 6}  # side in pixels → number of tiles


def tiles(side: int) -> np.ndarray:
    """(N, side, side, 3) uint8 pieces of a photograph; larger ones are put together from shifted copies."""
    from skimage.data import chelsea

    picture = np.tile(chelsea(), (1 + side // 300, 1 + side // 451, 1))
    rng = np.random.default_rng(0)
    corners = zip(*(rng.integers(0, picture.shape[axis] - side, COUNTS[side]) for axis in (0, 1)), strict=True)
    return np.stack([picture[top : top + side, left : left + side] for top, left in corners])


def child(out: Path, passes: int) -> None:
    """Describe the tiles; save the values, and print seconds of processor time per image."""
    from tellapart import registry
    from tellapart.features import _blocks

    _blocks._CORES = 1
    found: dict[str, float] = {}
    for side in COUNTS:
        images = tiles(side)
        for name, options in DESCRIPTORS.items():
            kind = registry.find("features", name)
            descriptor = kind(kind.Options.model_validate(options))
            start = time.perf_counter()
            descriptor(images[:2])
            found[f"first call {name} {side}"] = time.perf_counter() - start
            taken = []
            for _ in range(passes):
                start = time.process_time()
                values = descriptor(images)
                taken.append((time.process_time() - start) / len(images))
            found[f"{name} {side}"] = statistics.median(taken)
            np.save(out / f"{name} {side}.npy", values)
    print(json.dumps(found))


def run(source: Path, out: Path, compiled: Path) -> dict[str, float]:
    """One side in a process of its own."""
    out.mkdir(exist_ok=True)
    around = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1", "NUMBA_CACHE_DIR": str(compiled)}
    command = [sys.executable, __file__, "--child", str(out)]
    return json.loads(subprocess.run(command, env=around, capture_output=True, text=True, check=True).stdout)


def main(against: str, rounds: int) -> None:
    """Both sides, alternating."""
    root = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archive = subprocess.run(["git", "archive", against, "src"], cwd=root, capture_output=True, check=True).stdout
        (folder / "earlier.tar").write_bytes(archive)
        with tarfile.open(folder / "earlier.tar") as tar:
            tar.extractall(folder / "earlier", filter="data")
        cold = run(root / "src", folder / "now", folder / "compiled")
        sides = ((folder / "earlier" / "src", folder / "then"), (root / "src", folder / "now"))
        both = [tuple(run(source, out, folder / "compiled") for source, out in sides) for _ in range(rounds)]
        result: dict[str, Any] = {"against": against, "rounds": rounds, "ms per image": {}}
        for side in COUNTS:
            rows = {name: [[one[f"{name} {side}"] for one in pair] for pair in both] for name in DESCRIPTORS}
            rows["all four"] = np.sum(list(rows.values()), axis=0).tolist()
            for label, pairs in rows.items():
                then, now = (statistics.median(pair[i] for pair in pairs) * 1e3 for i in (0, 1))
                ratio = statistics.median(a / b for a, b in pairs)
                entry: dict[str, Any] = {"earlier": round(then, 3), "now": round(now, 3), "ratio": round(ratio, 2)}
                if label in DESCRIPTORS:
                    a, b = (np.load(folder / part / f"{label} {side}.npy").astype(float) for part in ("then", "now"))
                    entry["largest difference"] = float(f"{np.abs(a - b).max():.2g}")
                    entry["relative"] = float(f"{(np.abs(a - b) / np.maximum(np.abs(a), 1e-3)).max():.2g}")
                result["ms per image"][f"{label}, {side}×{side}"] = entry
        result["cold start, s"] = {name: round(cold[f"first call {name} 100"], 2) for name in DESCRIPTORS}
        result["warm start, s"] = {name: round(both[0][1][f"first call {name} 100"], 2) for name in DESCRIPTORS}
        print(json.dumps(result, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", default="135c55a", help="commit of the other side")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, 3)
    else:
        main(options.against, options.rounds)
