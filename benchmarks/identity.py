"""How long does it take to know the identity of many image files: to read and digest them, and to find nothing changed?

Claim: `identify` knows 100,000 files of 20 kB in <= 30 s when none was read before ("cold") and in <= 3 s when none has changed
since ("warm"), on two cores.
Conditions: random bytes in 100 folders of a temporary folder, made more than 2 s before; each repeat is a fresh process, timed
from the call of `identify` to its return, without `scan` (given, too) and without imports. Cold: the store of digests is empty
and the files are evicted from the page cache (`posix_fadvise`). Verified: `verify_files`, pages in memory.

    python benchmarks/identity.py [--files 100000] [--bytes 20000] [--repeats 3] [--where DIR]

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

_FOLDERS = 100
_CHILD = """
import json, resource, sys, time
from tellapart.data.identity import identify
from tellapart.data.scan import scan
start = time.perf_counter()
table = scan(sys.argv[1])
scanned = time.perf_counter()
found = identify(table, verify_files=sys.argv[2] == "verified")
done = time.perf_counter()
assert all(found.digests)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"n": len(table), "fingerprint": found.fingerprint, "seconds": done - scanned,
                  "scan_seconds": scanned - start, "peak_bytes": peak}))
"""


def main() -> None:
    """Make the files, identify them, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--bytes", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--where", type=Path, default=None, help="where to make the temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.where) as folder:
        top = Path(folder)
        make_files(top / "data", options.files, options.bytes)
        runs: dict[str, list[dict[str, float]]] = {"cold": [], "warm": [], "verified": []}
        for _ in range(options.repeats):
            (top / "cache" / "digests.sqlite").unlink(missing_ok=True)
            evict(top / "data")
            for state, found in runs.items():
                found.append(identify_once(top, state))
    print(json.dumps(summarize(runs, options.bytes), indent=2))


def make_files(folder: Path, count: int, size: int) -> None:
    """`count` files of random bytes, two classes of folders; their digests do not depend on what the bytes mean."""
    rng = random.Random(0)
    for number in range(min(_FOLDERS, count)):
        below = folder / ("real" if number % 2 else "fake") / f"{number:03d}"
        below.mkdir(parents=True)
        for i in range(number, count, _FOLDERS):
            (below / f"{i:07d}.png").write_bytes(rng.randbytes(size))
    time.sleep(2.5)  # a file that has just changed is read again, see `digest_store.SETTLED_NS`


def evict(folder: Path) -> None:
    """Drop the files from the page cache, so that they are read from the disk."""
    os.sync()
    for path in folder.rglob("*.png"):
        number = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(number)


def identify_once(top: Path, state: str) -> dict[str, float]:
    """One call in a fresh process."""
    surroundings = {**os.environ, "TELLAPART_CACHE": str(top / "cache")}
    command = [sys.executable, "-c", _CHILD, str(top / "data"), state]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, env=surroundings).stdout)


def summarize(runs: dict[str, list[dict[str, float]]], size: int) -> dict[str, object]:
    """Medians, all repeats, and what it ran on."""
    groups = list(runs.items())
    every = [run for _, found in groups for run in found]
    return {
        "what": "identify files",
        "n": every[0]["n"],
        "bytes": size,
        "all_equal": len({run["fingerprint"] for run in every}) == 1,
        "seconds_median": {
            state: round(statistics.median(run["seconds"] for run in found), 2) for state, found in runs.items()
        },
        "seconds_all": {state: [round(run["seconds"], 2) for run in found] for state, found in groups},
        "scan_seconds_median": round(statistics.median(run["scan_seconds"] for run in every), 2),
        "peak_gib_max": round(max(run["peak_bytes"] for run in every) / 2**30, 3),
        "limits": {"cold": 30, "warm": 3},
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        "machine": platform.machine(),
        "system": platform.platform(),
    }


if __name__ == "__main__":
    main()
