"""Read damaged files: `python tests/hostile/fuzz.py images FIRST COUNT`, or `containers`.

File number `i` is made from one of the sound `seeds` by the random numbers of `[SEED, i]`, so its number names it for good.
Each passes through everything that reads such a file. What comes out must be pixels, or an error of the project.

The files are read in a process of its own, which a hang or a bomb may take down: a file that takes more than `CPU` seconds ends
it by SIGPROF, one that needs too much address space by a MemoryError. Then another process goes on with the next file.
Printed as JSON: the faults, and what the worst file took.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mutations import mutate
from seeds import containers, images, loose_images

from tellapart.data.decode import decode_rgb, decode_to, header
from tellapart.data.identity import digest_of
from tellapart.data.metadata import read_header, read_metadata
from tellapart.data.open_image import open_file, quiet
from tellapart.data.reader import ImageReader
from tellapart.data.scan import scan
from tellapart.errors import ImageError, TellapartError
from tellapart.recipe.schema import Inputs

SEED = 16
CPU = 3  # seconds of one file, of all threads together
MEMORY = 2**30  # bytes of one file, beyond what the process had before
_ADDRESSES = 8 * 2**30  # bytes that the process may map; libraries map far more than they use
_INPUTS = Inputs(size=32)


def read_image(content: bytes, name: str) -> str:
    """Read one image in every way; what came out, in a word."""
    path = Path(tempfile.gettempdir()) / name
    path.write_bytes(content)
    found = []
    with quiet():
        for way in (_decoded, _decoded_to, _opened, _described, read_header, read_metadata):
            try:
                way(content, str(path))
                found.append(True)
            except ImageError as error:
                if not error.reason:
                    raise ValueError("an error without a reason") from error
                found.append(False)
    if found[0] != found[1]:
        raise ValueError("`decode_rgb` and `decode_to` disagree")
    return "read" if found[0] else "refused"


def _decoded(content: bytes, path: str) -> None:
    pixels = decode_rgb(content, path, Inputs().max_pixels)
    if pixels.dtype != np.uint8 or pixels.shape[2:] not in ((), (3,)) or header(content, path)[:2] != pixels.shape[:2]:
        raise ValueError(f"{pixels.dtype} of shape {pixels.shape}, by the header {header(content, path)}")
    digest_of(pixels)


def _decoded_to(content: bytes, path: str) -> None:
    pixels = decode_to(content, _INPUTS, path)
    if pixels.dtype != np.uint8 or pixels.shape != (32, 32, 3):
        raise ValueError(f"{pixels.dtype} of shape {pixels.shape}")


def _opened(content: bytes, path: str) -> None:
    del content
    with open_file(Path(path), path) as image:
        image.size  # noqa: B018


def _described(content: bytes, path: str) -> None:
    height, width, _ = header(content, path)
    if min(height, width) < 0:
        raise ValueError(f"{width}×{height}")


def read_container(content: bytes, name: str) -> str:
    """List one container and read all that it holds; what came out, in a word."""
    path = Path(tempfile.gettempdir()) / name
    path.write_bytes(content)
    try:
        table = scan(path)
    except TellapartError:
        return "refused"
    with ImageReader(table) as reader:
        for locator in table.paths:
            try:
                found = reader.get(locator)
                if isinstance(found, bytes):
                    decode_to(found, _INPUTS, locator)
            except TellapartError:
                continue
    return "read"


def peak() -> int:
    """The most memory that this process ever held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def read_all(seeds: dict[str, bytes], read: Callable[[bytes, str], str], first: int, end: int) -> None:
    """Read the files from number `first` on; prints the number of each, the faults, and a summary."""
    names = list(seeds)
    for name in names:  # everything is imported and allocated before anything is measured
        if read(seeds[name], name) == "refused" and name not in REFUSED:
            _say(number=-1, name=name, fault="the sound file is refused")
    base = peak()
    for number in range(first, end):
        draw = np.random.default_rng([SEED, number])
        name, other = names[number % len(names)], names[draw.integers(len(names))]
        content = mutate(seeds[name], seeds[other], draw)
        _say(number=number, name=name)
        signal.setitimer(signal.ITIMER_PROF, CPU)
        before, fault, outcome = time.process_time(), "", ""
        try:
            outcome = read(content, name)
        except BaseException:
            fault = traceback.format_exc()
        signal.setitimer(signal.ITIMER_PROF, 0)
        more = peak() - base
        if not fault and more > MEMORY:
            fault, base = f"{more >> 20:,} MiB", peak()
        _say(outcome=outcome, fault=fault, cpu=round(time.process_time() - before, 3), mib=more >> 20)


def _say(**content: object) -> None:
    os.write(1, json.dumps(content).encode() + b"\n")  # at once: the process may be ended


#: Seeds that are refused as they are.
REFUSED = ("arithmetic.jpg",)


def _child(kind: str, first: int, end: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TELLAPART_CACHE"] = f"{folder}/cache"
        tempfile.tempdir = f"{folder}/data"
        Path(tempfile.tempdir).mkdir()
        if kind == "images":
            return read_all(images(), read_image, first, end)
        for name, content in loose_images().items():
            file = Path(tempfile.tempdir) / name
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(content)
        return read_all(containers(), read_container, first, end)


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESSES, _ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(kind: str, first: int, count: int) -> dict[str, Any]:
    """Read files in processes that may end; the summary."""
    faults: list[dict[str, Any]] = []
    outcomes: Counter[str] = Counter()
    worst = {"cpu": 0.0, "mib": 0}
    end, place = first + count, first
    while place < end:
        command = [sys.executable, __file__, kind, str(place), str(end), "child"]
        done = subprocess.run(command, capture_output=True, preexec_fn=_limit, check=False)
        reading: dict[str, Any] = {}
        for line in map(json.loads, done.stdout.splitlines()):
            if line.get("fault"):
                faults.append(reading | line)
            if "cpu" in line:
                worst = {key: max(worst[key], line[key]) for key in worst}
                outcomes[line["outcome"]] += 1
                reading = {}
            elif line["number"] >= 0:
                reading = line
        place = reading.get("number", end) + 1
        if done.returncode:
            said = done.stderr.decode(errors="replace")[-2000:]
            faults.append(reading | {"fault": f"the process ended with {done.returncode}: {said}"})
            place = place if reading else end
    return {"files": count, **outcomes, **worst, "faults": faults}


if __name__ == "__main__":
    if sys.argv[4:] == ["child"]:
        _child(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    else:
        print(json.dumps(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])), indent=1))
