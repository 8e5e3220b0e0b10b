"""Many clients at once on `tellapart serve`: errors, waiting times, memory.

    python benchmarks/serve_load.py [RUN] [--runs runs] [--seconds 120] [--clients 32] [--warm-up 5] [--hostile] [-o FILE.json]

Starts the server as a process of its own on a free port, and as many clients as asked for, each of which sends the next
picture as soon as it has an answer. The pictures are photographs that scikit-image carries, scaled to sides of 48 to 1,024
pixels, as JPEG and PNG; every twentieth upload is one that must be refused (truncated, not an image, empty, 500 megapixels,
100 MB), and every fiftieth a batch of eight. A good upload that is not answered with 200, and a bad one that is not answered
with its 4xx, is an error; a 503 ("busy") is counted apart and asked again after the time that it names. Times are from the
first byte sent to the last one read, so of 100 MB they hold the sending; `refusals_alone` are measured before the load.

Without RUN, a small network is trained first, on noise, in a temporary folder; nothing else is needed. With `--hostile` every
tenth upload is one of `hostile_uploads.py` instead (bombs, scans, slow conversions, half headers, huge forms, explanations and
batches of 50 megapixels), for which any refusal is right but no internal error and no lost connection. The time of a good
request then includes the waits after a 503, and the figures go to `benchmarks/results/serve_load_hostile.json`.

Resident memory is that of the server's process and of its children, together, every half second, in MiB: at the start (after
the warm-up), in the middle, at the end, and the slope of a line through the second half. A page that several of them share
counts once (Linux: the proportional set size); `most_with_shared_pages_counted_for_each` is the sum of what `ps` prints.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
from PIL import Image

from hostile_uploads import ALLOWED, Hostile, bomb, hostile_uploads
from tellapart.data.sample_photos import PHOTOGRAPHS
from tellapart.runs.environment import describe_environment

SIDES = (48, 64, 100, 224, 320, 512, 720, 1024)
#: What is wrong, the body or its length in bytes, and the status that it must get.
BAD_EVERY, HOSTILE_EVERY, BATCH_EVERY, BATCH = 20, 10, 50, 8
RESULTS = Path(__file__).parent / "results"
PROGRAM = "import typer; from tellapart.cli import serve; typer.run(serve.run)"


@dataclass
class Tally:
    """What the clients have seen."""

    good: list[float] = field(default_factory=list)
    batches: list[float] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    images: int = 0
    busy: int = 0
    errors: list[str] = field(default_factory=list)


def pictures(seed: int = 0) -> list[bytes]:
    """Encoded pictures of all sides, three of each."""
    rng = np.random.default_rng(seed)
    photographs = [of.load() for of in PHOTOGRAPHS]
    found = []
    for number, side in enumerate(SIDES * 3):
        pixels = photographs[int(rng.integers(len(photographs)))]
        image = Image.fromarray(pixels.squeeze()).convert("RGB").resize((side, max(1, side * 3 // 4)), Image.Resampling.BICUBIC)
        target = io.BytesIO()
        image.save(target, "png" if number % 4 == 0 else "jpeg", **({} if number % 4 == 0 else {"quality": 88}))
        found.append(target.getvalue())
    return found


def wrong(good: bytes) -> list[tuple[str, bytes | int, int]]:
    """Uploads that must be refused: a name, the body or the length of one of zeros, the status."""
    truncated = good[: len(good) // 2]
    return [
        ("truncated", truncated, 422), ("not an image", b"<html>no</html>" * 50, 415), ("empty", b"", 400),
        ("500 megapixels", bomb(25_000, 20_000), 413), ("100 MB", 100_000_000, 413),
    ]  # fmt: skip


async def refused(client: httpx.AsyncClient, name: str, body: bytes | int, status: int, tally: Tally) -> None:
    """One upload that must get its 4xx."""

    async def zeros(length: int) -> Any:
        for _ in range(length // 1_000_000):
            yield bytes(1_000_000)

    headers = {"content-type": "image/jpeg"}
    content: Any = body
    if isinstance(body, int):
        headers["content-length"], content = str(body), zeros(body)
    began = time.perf_counter()
    reply = await client.post("/api/predict", content=content, headers=headers)
    tally.refusals.append(time.perf_counter() - began)
    tally.statuses[f"{name}: {reply.status_code}"] += 1
    if reply.status_code != status:
        tally.errors.append(f"{name}: {reply.status_code} in place of {status}: {reply.text[:200]}")


async def attacked(client: httpx.AsyncClient, upload: Hostile, tally: Tally) -> None:
    """One hostile upload: any refusal is right."""
    began = time.perf_counter()
    reply = await client.post(upload.path, **upload.arguments())
    tally.refusals.append(time.perf_counter() - began)
    tally.statuses[f"{upload.name}: {reply.status_code}"] += 1
    if reply.status_code not in ALLOWED:
        tally.errors.append(f"{upload.name}: {reply.status_code}: {reply.text[:200]}")


async def asked(client: httpx.AsyncClient, contents: list[bytes], tally: Tally) -> None:
    """One good upload, of one picture or a batch; asked again while the server is busy."""
    files = [("image", (f"{i}.jpg", content, "image/jpeg")) for i, content in enumerate(contents)]
    path = "/api/predict" if len(contents) == 1 else "/api/predict/batch"
    began = time.perf_counter()
    while True:
        reply = await client.post(path, files=files)
        seconds = time.perf_counter() - began
        tally.statuses[f"good: {reply.status_code}"] += 1
        if reply.status_code == 503:
            tally.busy += 1
            await asyncio.sleep(float(reply.headers["retry-after"]))
            continue
        break
    (tally.good if len(contents) == 1 else tally.batches).append(seconds)
    tally.images += len(contents)
    if reply.status_code != 200:
        tally.errors.append(f"good: {reply.status_code}: {reply.text[:200]}")
    elif len(contents) > 1 and reply.json()["failed"]:
        tally.errors.append("a picture of a batch failed")


async def loaded(client: httpx.AsyncClient, body: bytes) -> None:
    """Wait until the server has loaded everything, maps included, which it does after it began to answer."""
    while (await client.post("/api/explain", content=body, headers={"content-type": "image/jpeg"})).status_code in (503, 504):
        await asyncio.sleep(1)


async def one_client(
    address: str, seed: int, until: float, bodies: list[bytes], bad: list[tuple[str, bytes | int, int]],
    hostile: list[Hostile], tally: Tally,
) -> None:  # fmt: skip
    """Send until the time is over."""
    draw, number = random.Random(seed), seed
    async with httpx.AsyncClient(base_url=address, timeout=60) as client:
        while time.perf_counter() < until:
            number += 1
            try:
                if hostile and number % HOSTILE_EVERY == 0:
                    await attacked(client, draw.choice(hostile), tally)
                elif not hostile and number % BAD_EVERY == 0:
                    await refused(client, *draw.choice(bad), tally)
                else:
                    count = BATCH if number % BATCH_EVERY == 1 else 1
                    await asked(client, [draw.choice(bodies) for _ in range(count)], tally)
            except httpx.HTTPError as error:
                tally.errors.append(f"{type(error).__name__}: {error}")


def tree(pid: int) -> list[int]:
    """A process and its descendants."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def resident(pids: list[int]) -> tuple[float, float]:
    """Resident memory of processes together, MiB: shared pages counted once, and for each process."""
    once = each = 0
    for one in pids:
        with contextlib.suppress(OSError):
            values = dict(line.split()[:2] for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()[1:])
            once, each = once + int(values["Pss:"]), each + int(values["Rss:"])
    return once / 1024, each / 1024


async def watch(pid: int, memory: list[tuple[float, ...]]) -> None:
    """Note the memory every half second."""
    began = time.perf_counter()
    while True:
        memory.append((time.perf_counter() - began, *resident(tree(pid)), resident([pid])[1]))
        await asyncio.sleep(0.5)


async def load(address: str, pid: int, clients: int, warm_up: float, seconds: float, hostile: list[Hostile]) -> dict[str, Any]:
    """Refusals alone, a warm-up, then the load."""
    bodies, alone = pictures(), Tally()
    bad = wrong(bodies[5])
    async with httpx.AsyncClient(base_url=address, timeout=60) as client:
        await loaded(client, bodies[0])
        for _ in range(3):
            for name, body, status in bad:
                await refused(client, name, body, status, alone)
    for length, tally in ((warm_up, Tally()), (seconds, found := Tally())):
        memory: list[tuple[float, ...]] = []
        watching = asyncio.create_task(watch(pid, memory))
        began = time.perf_counter()
        await asyncio.gather(
            *(one_client(address, seed, began + length, bodies, bad, hostile, tally) for seed in range(clients))
        )
        took = time.perf_counter() - began
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
    async with httpx.AsyncClient(base_url=address, timeout=60) as client:
        health = (await client.get("/health")).json()
        answered = (await client.post("/api/predict", content=bodies[0], headers={"content-type": "image/jpeg"})).status_code
        metrics = (await client.get("/metrics")).text
    after = {"health_after": health, "good_after": answered, "batches": batch_sizes(metrics)}
    return summary(found, alone, memory, took) | after


def summary(found: Tally, alone: Tally, memory: list[tuple[float, ...]], took: float) -> dict[str, Any]:
    """The figures."""
    second = np.array(memory[len(memory) // 2 :])
    slope = float(np.polyfit(second[:, 0], second[:, 1], 1)[0] * 60) if len(second) > 2 else None
    return {
        "seconds": round(took, 1), "requests": sum(found.statuses.values()), "images": found.images,
        "images_per_second": round(found.images / took, 1), "errors": len(found.errors), "first_errors": found.errors[:5],
        "busy_503": found.busy, "statuses": dict(sorted(found.statuses.items())),
        "errors_of_good": sum("good" in error or "batch failed" in error for error in found.errors),
        "single": quantiles(found.good), "batch_of_8": quantiles(found.batches),
        "refused_or_hostile": quantiles(found.refusals),
        "refusals_alone": quantiles(alone.refusals) | {"errors": len(alone.errors)},
        "resident_mib": {
            "start": round(memory[0][1]), "middle": round(memory[len(memory) // 2][1]), "end": round(memory[-1][1]),
            "most": round(max(one[1] for one in memory)),
            "most_with_shared_pages_counted_for_each": round(max(one[2] for one in memory)),
            "most_of_server_alone": round(max(one[3] for one in memory)), "end_of_server_alone": round(memory[-1][3]),
            "slope_per_minute_in_second_half": slope and round(slope, 2),
        },
    }  # fmt: skip


def quantiles(seconds: list[float]) -> dict[str, Any]:
    """n, median, p95, p99 and the longest, in milliseconds."""
    if not seconds:
        return {"n": 0}
    ms = 1000 * np.array(seconds)
    named = {f"p{q}_ms": round(float(np.percentile(ms, q)), 1) for q in (50, 95, 99)}
    return {"n": len(ms), **named, "longest_ms": round(float(ms.max()), 1)}


def batch_sizes(metrics: str) -> dict[str, float]:
    """How many pictures the run was asked about at a time, on average, warm-up included."""
    values: dict[str, float] = {}
    for line in metrics.splitlines():
        for name in ("images_total", "batches_total"):
            if line.startswith(f"tellapart_{name}"):
                values[name] = values.get(name, 0.0) + float(line.rpartition(" ")[2])
    return {"times_asked": values["batches_total"], "mean_size": round(values["images_total"] / values["batches_total"], 2)}


def small_run(folder: Path) -> tuple[str, str]:
    """Train a small network on bright and dark noise: (name of the run, its folder of runs)."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(("bright", "dark")):
        (folder / "photos" / name).mkdir(parents=True)
        for index in range(60):
            pixels = rng.integers(0, 80, (64, 64, 3)) + 150 * (1 - number)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "photos" / name / f"{index}.png")
    command = [sys.executable, "-m", "tellapart", "train", str(folder / "photos"), "--runs", str(folder / "runs")]
    subprocess.run([*command, "-r", "cnn-small", "--set", "train.epochs=2", "-q"], check=True, stdout=subprocess.DEVNULL)
    return "cnn-small", str(folder / "runs")


def left_behind(pids: list[int]) -> int:
    """How many of the processes are still there, ten seconds after the server ended at the latest."""
    for _ in range(100):
        alive = [pid for pid in pids if b"decode_worker" in command_line(pid)]
        if not alive:
            return 0
        time.sleep(0.1)
    return len(alive)


def command_line(pid: int) -> bytes:
    """The command line of a process; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def measure(run: str, runs: str, given: argparse.Namespace) -> dict[str, Any]:
    """Start the server, load it, stop it."""
    hostile = hostile_uploads() if given.hostile else []
    with tempfile.TemporaryFile("w+") as said:
        command = [sys.executable, "-c", PROGRAM, run, "--runs", runs, "--port", "0", "--rate", "0", "-q"]
        began = time.perf_counter()
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True)
        assert server.stdout is not None
        pids: list[int] = []
        try:
            address = server.stdout.readline().strip()
            if not urlsplit(address).port:
                said.seek(0)
                sys.exit(f"the server did not start:\n{said.read()}")
            started = time.perf_counter() - began
            found = asyncio.run(load(address, server.pid, given.clients, given.warm_up, given.seconds, hostile))
            found |= {"seconds_to_start": round(started, 2), "alive": server.poll() is None}
            pids = tree(server.pid)[1:]
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(60)
        said.seek(0)
        return found | {"processes": len(pids), "left_behind": left_behind(pids), "server_said": said.read()[-500:]}


def main() -> None:
    """Measure, print and store the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?")
    parser.add_argument("--runs", default="runs")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--warm-up", type=float, default=5)
    parser.add_argument("--hostile", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run, runs = (given.run, given.runs) if given.run else small_run(Path(folder))
        found = measure(run, runs, given)
    content = {
        "machine": describe_environment("cpu"), "run": given.run or "cnn-small, trained on noise of 64×64 pixels",
        "clients": given.clients, "load_average": [round(value, 2) for value in os.getloadavg()], **found,
    }  # fmt: skip
    text = json.dumps(content, indent=2)
    print(text)
    output = given.output or (RESULTS / "serve_load_hostile.json" if given.hostile else None)
    if output:
        output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
