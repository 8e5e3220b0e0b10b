"""The program of a decoding process: the one place of a server where uploaded files are parsed.

    python -m tellapart.server.decode_worker ALLOWANCE NICE

It imports Pillow and NumPy, neither torch nor pandas. Tasks arrive on standard input, one at a time; the replies go to
standard output. Each message is a line of JSON and as many bytes as its `size` says. The process ends when standard input
ends, so also when the server is killed.

Limits that the operating system enforces, whatever a decoder does:

- `seconds` of CPU time for each task (ITIMER_PROF, whose signal ends the process);
- the address space, ALLOWANCE bytes above what the imports take, so an oversized picture is a MemoryError and an error reply;
- 32 open files, no file may be written, no core dump. Under memory pressure, Linux ends this process before the server.

Standard input and output are the pipes of `tellapart.server.decoding_process`, which never unpickles what this process says.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from tellapart.data.decode import bytes_per_pixel, decode_image, decode_to, header
from tellapart.data.metadata import read_metadata
from tellapart.data.open_image import open_image, quiet
from tellapart.errors import ImageError
from tellapart.perturbations.recompression import recompress_once
from tellapart.recipe.schema import Inputs

_OPEN_FILES = 32
_KEPT = 48 * 2**20  # bytes of resident memory above the start after which a process is replaced
_PAGE = resource.getpagesize()
_NO_MEMORY = "decoding it needs more memory than the server allows"
Task = dict[str, Any]


def main() -> None:
    """Limit this process, then work until standard input ends."""
    tasks, replies = sys.stdin.buffer, sys.stdout.buffer
    Image.init()  # read the plug-ins before the limits stand
    _limit(int(sys.argv[1]), int(sys.argv[2]))
    base = _memory()[1]
    while line := tasks.readline():
        task = json.loads(line)
        content = tasks.read(task["size"])
        signal.setitimer(signal.ITIMER_PROF, task["seconds"])
        value, payload = _reply(content, task)
        signal.setitimer(signal.ITIMER_PROF, 0)
        del content
        last = _memory()[1] - base > _KEPT + len(payload)
        _send(replies, {**value, "size": len(payload), "last": last}, payload)


def _send(replies: BinaryIO, value: Task, payload: bytes | memoryview) -> None:
    replies.write(json.dumps(value).encode() + b"\n")
    replies.write(payload)
    replies.flush()


def _reply(content: bytes, task: Task) -> tuple[Task, bytes | memoryview]:
    try:
        with quiet():
            return _WORK[task["work"]](content, task)
    except ImageError as error:
        return {"error": error.reason}, b""
    except MemoryError:
        return {"error": _NO_MEMORY}, b""


def _header(content: bytes, task: Task) -> tuple[Task, bytes]:
    """Size of the picture, and the bytes that decoding it takes."""
    height, width, _ = header(content, task["name"])
    memory = height * width * bytes_per_pixel(open_image(content, task["name"]))
    return {"height": height, "width": width, "memory": memory}, b""


def _metadata(content: bytes, task: Task) -> tuple[Task, bytes]:
    """What the file says about itself."""
    items = read_metadata(content, task["name"])
    return {"items": [[item.name, item.value, bool(item.notable)] for item in items]}, b""


def _file(content: bytes, task: Task) -> tuple[Task, bytes]:
    """The file, or a version of it, after it was decoded once within the limits."""
    content = _version(content, task)
    decode_image(content, task["name"], task["max_pixels"])
    return {}, content if task["version"] else b""


def _pixels(content: bytes, task: Task) -> tuple[Task, bytes | memoryview]:
    """Pixels for a classifier: at the size of its inputs, or as the file holds them."""
    content = _version(content, task)
    if task["inputs"] is None:
        pixels = np.asarray(decode_image(content, task["name"], task["max_pixels"]))
    else:
        pixels = decode_to(content, Inputs.model_validate(task["inputs"]), task["name"])
        pixels = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    return _array(pixels)


def _picture(content: bytes, task: Task) -> tuple[Task, bytes | memoryview]:
    """RGB pixels of a bounded size to show or to explain: shrunk, or with `crop` the middle, at its own resolution."""
    image = decode_image(content, task["name"], task["max_pixels"])
    side, (width, height) = task["side"], image.size
    note = ""
    if max(width, height) > side:
        if task["crop"]:
            left, top = max(0, (width - side) // 2), max(0, (height - side) // 2)
            image = image.crop((left, top, min(width, left + side), min(height, top + side)))
            note = f"the middle of the image, {image.width} × {image.height}"
        else:
            scale = side / max(width, height)
            size = max(1, round(width * scale)), max(1, round(height * scale))
            image = image.resize(size, Image.Resampling.BICUBIC)
            note = f"image shrunk to {size[0]} × {size[1]}"
    value, payload = _array(np.asarray(image.convert("RGB")))
    return {**value, "note": note}, payload


def _version(content: bytes, task: Task) -> bytes:
    """The file itself, or as it is after compression or scaling, see `perturbations.recompression`."""
    return recompress_once(content, task["name"], task["version"], task["max_pixels"]) if task["version"] else content


def _array(pixels: np.ndarray) -> tuple[Task, memoryview]:
    pixels = np.ascontiguousarray(pixels)
    return {"shape": list(pixels.shape)}, pixels.data.cast("B")


def _limit(allowance: int, nice: int) -> None:
    """Set the limits of this process; they cannot be raised again."""
    with contextlib.suppress(OSError):  # not Linux
        Path("/proc/self/oom_score_adj").write_text("1000")
    with contextlib.suppress(ValueError, OSError):  # macOS has no limit of the address space
        space = _memory()[0] + allowance
        resource.setrlimit(resource.RLIMIT_AS, (space, space))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.chdir("/")
    os.nice(nice)


def _memory() -> tuple[int, int]:
    """Bytes of address space, and of resident memory."""
    try:
        space, resident = Path("/proc/self/statm").read_text().split()[:2]
    except OSError:  # not Linux
        return 0, 0
    return int(space) * _PAGE, int(resident) * _PAGE


_WORK = {"header": _header, "metadata": _metadata, "file": _file, "pixels": _pixels, "picture": _picture}

if __name__ == "__main__":
    main()
