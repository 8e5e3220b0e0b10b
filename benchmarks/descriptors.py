"""How fast are the four forensic descriptors, per image and core, and how much faster than at an earlier commit?

    python benchmarks/descriptors.py [--against 135c55a] [--rounds 3] [--json results/descriptors.json] [--figure F.svg]

Tiles of a photograph of scikit-image (chelsea), RGB, from 100×100 to 4,000×4,000. One thread. Each round describes all tiles by
each side in a process of its own, the sides alternate; processor time (the machine may be busy), the median over the rounds,
and the median of the ratios earlier : now. The largest tiles are described in the first round only. `memory` is the peak of the
resident memory above that before the call. The largest difference of the values is given in absolute terms and as a share of
the earlier value. Functions are compiled before the clock starts; `cold start` is the first call in a process whose folder of
compiled code is empty.
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
COUNTS = {100: 104, 512: 6, 1024: 2, 4000: 1}  # side in pixels → number of tiles
PASSES = {100: 3, 512: 2, 1024: 1, 4000: 1}  # over them, in a round
COLORS = {"spectrum": "#0072b2", "noise_residual": "#d55e00", "cooccurrence": "#009e73", "lbp": "#1c2126"}


def tiles(side: int) -> np.ndarray:
    """(N, side, side, 3) uint8 pieces of a photograph; larger ones are put together from shifted copies."""
    from skimage.data import chelsea

    picture = np.tile(chelsea(), (1 + side // 300, 1 + side // 451, 1))
    rng = np.random.default_rng(0)
    corners = zip(*(rng.integers(0, picture.shape[axis] - side, COUNTS[side]) for axis in (0, 1)), strict=True)
    return np.stack([picture[top : top + side, left : left + side] for top, left in corners])


def child(out: Path, largest: int) -> None:
    """Describe the tiles of up to `largest` pixels a side; save the values, and print seconds of processor time and MiB per
    image.
    """
    from tellapart import registry
    from tellapart.features import _blocks

    _blocks._CORES = 1
    found: dict[str, float] = {}
    for side in (side for side in COUNTS if side <= largest):
        images = tiles(side)
        for name, options in DESCRIPTORS.items():
            kind = registry.find("features", name)
            descriptor = kind(kind.Options.model_validate(options))
            start = time.perf_counter()
            descriptor(images[:2, :100, :100])
            found[f"first call {name} {side}"] = time.perf_counter() - start
            before, taken = resident(reset=True), []
            for _ in range(PASSES[side]):
                start = time.process_time()
                values = descriptor(images)
                taken.append((time.process_time() - start) / len(images))
            found[f"{name} {side}"], found[f"memory {name} {side}"] = statistics.median(taken), resident() - before
            np.save(out / f"{name} {side}.npy", values)
    print(json.dumps(found))


def resident(*, reset: bool = False) -> float:
    """The peak of the resident memory since the last reset, MiB."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def run(source: Path, out: Path, compiled: Path, largest: int) -> dict[str, float]:
    """One side in a process of its own."""
    out.mkdir(exist_ok=True)
    around = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1", "NUMBA_CACHE_DIR": str(compiled)}
    command = [sys.executable, __file__, "--child", str(out), str(largest)]
    return json.loads(subprocess.run(command, env=around, capture_output=True, text=True, check=True).stdout)


def measured(against: str, rounds: int) -> dict[str, Any]:
    """Both sides, alternating."""
    from tellapart.runs.environment import describe_environment

    root = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archive = subprocess.run(["git", "archive", against, "src"], cwd=root, capture_output=True, check=True).stdout
        (folder / "earlier.tar").write_bytes(archive)
        with tarfile.open(folder / "earlier.tar") as tar:
            tar.extractall(folder / "earlier", filter="data")
        cold = run(root / "src", folder / "now", folder / "compiled", 100)
        sides = ((folder / "earlier" / "src", folder / "then"), (root / "src", folder / "now"))
        both = [
            tuple(run(source, out, folder / "compiled", 1024 if number else max(COUNTS)) for source, out in sides)
            for number in range(rounds)
        ]
        result: dict[str, Any] = {"machine": describe_environment("cpu"), "load": os.getloadavg()[0]}
        result |= {"against": against, "rounds": rounds, "ms per image": {}}
        for side in COUNTS:
            enough = [pair for pair in both if f"lbp {side}" in pair[0]]
            rows = {name: [[one[f"{name} {side}"] for one in pair] for pair in enough] for name in DESCRIPTORS}
            rows["all four"] = np.sum(list(rows.values()), axis=0).tolist()
            for label, pairs in rows.items():
                then, now = (statistics.median(pair[i] for pair in pairs) * 1e3 for i in (0, 1))
                ratio = statistics.median(a / b for a, b in pairs)
                entry: dict[str, Any] = {
                    "earlier": round(then, 3),
                    "now": round(now, 3),
                    "ratio": round(ratio, 2),
                    "n": len(pairs),
                }
                if label in DESCRIPTORS:
                    a, b = (np.load(folder / part / f"{label} {side}.npy").astype(float) for part in ("then", "now"))
                    entry["largest difference"] = float(f"{np.abs(a - b).max():.2g}")
                    for i, part in enumerate(("earlier", "now")):
                        peaks = [pair[i][f"memory {label} {side}"] for pair in enough]
                        entry[f"memory {part}, MiB"] = round(statistics.median(peaks))
                    entry["relative"] = float(f"{(np.abs(a - b) / np.maximum(np.abs(a), 1e-3)).max():.2g}")
                result["ms per image"][f"{label}, {side}×{side}"] = entry
        result["cold start, s"] = {name: round(cold[f"first call {name} 100"], 2) for name in DESCRIPTORS}
        result["warm start, s"] = {name: round(both[0][1][f"first call {name} 100"], 2) for name in DESCRIPTORS}
        return result


def draw(result: dict[str, Any], path: Path) -> None:
    """A log-log plot of milliseconds against the side of the image; dashed: the earlier commit."""
    import matplotlib
    from matplotlib.figure import Figure

    from tellapart.reports.figures import INK, PAPER, STYLE

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7, 3.8), layout="constrained")
        axes = figure.subplots()
        for name, color in COLORS.items():
            for part, line in (("earlier", "--"), ("now", "-")):
                ms = [result["ms per image"][f"{name}, {side}×{side}"][part] for side in COUNTS]
                axes.plot(list(COUNTS), ms, line, color=color, marker="o", markersize=3.5)
            up = {"noise_residual": 1, "cooccurrence": -8}.get(name, -3)  # points: these two are nearly as fast as each other
            axes.annotate(name, (max(COUNTS), ms[-1]), xytext=(6, up), textcoords="offset points", color=INK)
        axes.set(xscale="log", yscale="log", xlabel="side of the image, pixels", ylabel="ms per image, one core")
        axes.set_xticks(list(COUNTS), [f"{side:,}" for side in COUNTS])
        axes.set_xticks([], minor=True)
        axes.set_yticks([0.1, 1, 10, 100, 1000, 10_000], ["0.1", "1", "10", "100", "1,000", "10,000"])
        axes.set_yticks([], minor=True)
        axes.set_xlim(80, 12_000)
        axes.set_title(f"Descriptors now (solid) and at {result['against']} (dashed)", loc="left")
        axes.grid(axis="y")
        figure.savefig(path, facecolor=PAPER)


def main() -> None:
    """Measure, or draw what was measured before; print the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", default="135c55a", help="commit of the other side")
    parser.add_argument("--rounds", type=int, default=3, help="0: draw the figure of what --json holds")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--figure", type=Path, help="file for the plot")
    options = parser.parse_args()
    result = measured(options.against, options.rounds) if options.rounds else json.loads(options.json.read_text("utf-8"))
    text = json.dumps(result, indent=1, ensure_ascii=False)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")
    if options.figure:
        draw(result, options.figure)
    print(text)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
