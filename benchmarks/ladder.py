"""The default ladder on a data set: total time, peak memory and every score.

    python benchmarks/ladder.py DATA [DATA …] > ladder.json

Each data set is compared in a fresh process with an empty cache and an empty runs folder, as a new user would; seconds
include the imports, decoding and the report.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tellapart.runs.environment import describe_environment


def measure(data: str) -> dict:
    """One ladder on one data set."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tellapart.cli.main", "compare", str(Path(data).resolve()), "--json", "-q"]
        environment = {**os.environ, "TELLAPART_CACHE": f"{folder}/cache"}
        start = time.perf_counter()
        result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - start
    if result.returncode:
        return {"data": Path(data).name, "error": result.stderr.strip()}
    board = json.loads(result.stdout)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    return {"data": Path(data).name, "seconds": round(seconds, 1), "peak_gib_so_far": round(peak, 2), **board}


if __name__ == "__main__":
    print(json.dumps({"machine": describe_environment("cpu"), "ladders": [measure(d) for d in sys.argv[1:]]}, indent=2))
