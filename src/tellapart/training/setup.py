"""Setup of training: device, precision, memory allocator, and the error for exhausted memory."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any

from tellapart.errors import SystemLimitError

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # malloc.h


_PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
_WARM_UP, _TIMED, _TRIED = 2, 4, 32  # untimed and timed steps of a trial; images per step
_SHORT = {"cpu": 0.01, "cuda": 0.0}  # seconds per step below which the choice is not made by measurement
_GAIN = 1.1  # minimum speed-up at which bf16 is chosen


def open_fabric(device: str, precision: str = "32") -> Any:
    """Open a Lightning Fabric on one device: "cpu", "cuda", "cuda:1", "mps" or "auto"; precision "32", "bf16" or "16".

    Raises:
        SystemLimitError: The device is not available.
    """
    from lightning_fabric import Fabric

    kind, _, index = device.partition(":")
    if kind == "cpu" and precision == "16":
        raise SystemLimitError("precision 16 needs a GPU", hint="use train.precision=32 on a CPU")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Fabric warns about unused accelerators; the choice is the user's
            return Fabric(accelerator=kind, devices=[int(index)] if index else 1, precision=_PRECISIONS[precision])  # type: ignore[arg-type]
    except Exception as error:  # Fabric raises its own exceptions, RuntimeError and ValueError for this
        hint = "use --device cpu, which is always available"
        raise SystemLimitError(f"the device {device!r} is not available ({error})", hint=hint) from None


def faster_precision(model: Any, images: Any, classes: int) -> str:
    """Choose the precision: "bf16" if the device has bf16 instructions and a measured training step is faster; otherwise "32".

    What a device claims to support is not enough: a CPU without the instructions takes 17 to 120 times as long with bf16. One
    with AVX512_BF16 was 1.5 to 2.1 times as fast (single trials of three nets, 47 ms to 1.9 s a step; AMX untried). For short
    steps the choice is "32": a measurement could choose either.

    Args:
        model: Model on the device; a copy is trained.
        images: A batch, (B, C, H, W) uint8 or (B, D) float32, on the device.
        classes: Number of logits.
    """
    import torch

    if not _multiplies_bf16(images.device):
        return "32"
    images = images[:_TRIED]
    with torch.random.fork_rng(devices=[images.device] if images.device.type == "cuda" else []):  # dropout draws random numbers
        seconds = {name: _seconds_of_a_step(model, images, classes, name == "bf16") for name in ("32", "bf16")}
    worth_it = seconds["32"] >= _SHORT[images.device.type] and seconds["32"] >= _GAIN * seconds["bf16"]
    return "bf16" if worth_it else "32"


def _multiplies_bf16(device: Any) -> bool:
    import torch

    if device.type == "cuda":
        return True
    abilities = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))


def _seconds_of_a_step(model: Any, images: Any, classes: int, bf16: bool) -> float:
    """Time of the fastest of a few training steps of a copy of `model`."""
    import torch

    def now() -> float:
        if images.device.type == "cuda":
            torch.cuda.synchronize(images.device)
        return time.perf_counter()

    labels = torch.arange(len(images), device=images.device) % classes
    trial, times = copy.deepcopy(model).train(), []
    for _ in range(_WARM_UP + _TIMED):
        start = now()
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
            loss = torch.nn.functional.cross_entropy(trial(images), labels)
        trial.zero_grad(set_to_none=True)
        loss.backward()
        times.append(now() - start)
    return min(times[_WARM_UP:])


@contextlib.contextmanager
def explain_oom(batch: int) -> Iterator[None]:
    """Turn an out-of-memory error into one that suggests a batch size.

    Raises:
        SystemLimitError: Out of memory inside the block.
    """
    import torch

    try:
        yield
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        if (
            isinstance(error, RuntimeError)
            and not isinstance(error, torch.OutOfMemoryError)
            and "allocate memory" not in str(error)
        ):
            raise
        smaller = max(batch // 2, 2)
        hint = f"try -s train.batch={smaller}, a smaller inputs.size, or a smaller net" if batch > 2 else "try a smaller net"
        raise SystemLimitError(f"out of memory with {batch} images a step", hint=hint) from error


def tune_allocator() -> bool:
    """Let glibc keep freed activations instead of returning them to the system after every step.

    Otherwise every large tensor causes page faults again: 1.1 to 1.2 × the time of a convolutional training step, none of an
    MLP's (`benchmarks/train_step.py`). For training, not for serving: resident memory stays at its high-water mark.
    Returns False if the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        return all(
            [
                libc.mallopt(_M_MMAP_MAX, 0),
                libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1),
                libc.mallopt(_M_TOP_PAD, 64 << 20),
            ]
        )
    return False
