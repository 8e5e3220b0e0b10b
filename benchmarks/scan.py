"""How long does it take to understand a CSV that names a million image files?

Claim: `scan` reads a table of 1,000,000 paths, and finds and measures every file, in <= 60 s and <= 2 GiB on two cores.
Conditions: the files are hard links of 32 small PNGs in 1,000 folders of a temporary folder on the local disk, made
just before (so directory entries are in the page cache); each repeat is a fresh process, timed from the call of `scan`
to its return, imports excluded and also given; peak resident memory is that of the whole process.

    python benchmarks/scan.py [--files 1000000] [--ids paths|stems] [--once] [--where DIR]

Prints JSON. Everything made is removed again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_CHILD = """
import json, resource, sys, time
start = time.perf_counter()
import tellapart.data.scan as module
imported = time.perf_counter()
table = module.scan(sys.argv[1])
done = time.perf_counter()
assert not table.problems, table.problems[:3]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"n": len(table), "classes": len(table.classes), "seconds": done - imported,
                  "import_seconds": imported - start, "peak_bytes": peak}))
"""


def main() -> None:
    """Make the files, scan them, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--ids", choices=("paths", "stems"), default="paths", help="stems: names without folder and ending")
    parser.add_argument("--once", action="store_true", help="one repeat instead of three")
    parser.add_argument("--where", type=Path, default=None, help="where to make the temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.where) as folder:
        start = time.perf_counter()
        make_files(Path(folder), options.files, options.ids)
        made = time.perf_counter() - start
        runs = [scan_once(Path(folder)) for _ in range(1 if options.once else 3)]
    print(json.dumps({"ids": options.ids} | summarize(runs, made), indent=2))


def make_files(folder: Path, count: int, ids: str) -> None:
    """`count` hard links of 32 small images in up to 1,000 folders, and train.csv that names them, shuffled."""
    from PIL import Image

    rng = random.Random(0)
    originals = []
    for i in range(32):
        path = folder / f"original-{i:02d}.png"
        Image.frombytes("RGB", (8, 8), rng.randbytes(192)).save(path)
        originals.append(str(path))
    folders = min(1000, count)
    paths = []
    for number in range(folders):
        below = f"images/{number:03d}"
        (folder / below).mkdir(parents=True)
        for i in range(number, count, folders):
            paths.append(f"{below}/{i:07d}.png")
            os.link(originals[i % 32], folder / paths[-1])
    for path in originals:
        os.unlink(path)  # noqa: PTH108
    rng.shuffle(paths)
    shown = slice(None) if ids == "paths" else slice(-11, -4)
    rows = (f"{path[shown]},{int(path[-8:-4]) % 10}\n" for path in paths)
    with (folder / "train.csv").open("w") as file:
        file.write("path,label\n")
        file.writelines(rows)


def scan_once(folder: Path) -> dict[str, float]:
    """One scan in a fresh process."""
    done = subprocess.run([sys.executable, "-c", _CHILD, str(folder)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def summarize(runs: list[dict[str, float]], made: float) -> dict[str, object]:
    """Medians, all repeats, and what it ran on."""
    import numpy
    import pandas

    return {
        "what": "scan of a CSV of paths",
        "n": runs[0]["n"],
        "seconds_median": round(statistics.median(run["seconds"] for run in runs), 2),
        "seconds_all": [round(run["seconds"], 2) for run in runs],
        "peak_gib_max": round(max(run["peak_bytes"] for run in runs) / 2**30, 3),
        "import_seconds_median": round(statistics.median(run["import_seconds"] for run in runs), 2),
        "making_the_files_seconds": round(made, 1),
        "limits": {"seconds": 60, "peak_gib": 2},
        "python": platform.python_version(),
        "pandas": pandas.__version__,
        "numpy": numpy.__version__,
        "cores": len(os.sched_getaffinity(0)),
        "machine": platform.machine(),
        "system": platform.platform(),
    }


if __name__ == "__main__":
    main()
