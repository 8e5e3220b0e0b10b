"""Before the first step: device, threads, allocator."""

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
_WARM_UP, _TIMED = 3, 8  # steps


def open_fabric(device: str, precision: str = "32") -> Any:
    """A Lightning Fabric on one device: "cpu", "cuda", "cuda:1", "mps" or "auto"; precision "32", "bf16" or "16".

    Raises:
        SystemLimitError: No such device here.
    """
    from lightning_fabric import Fabric

    kind, _, index = device.partition(":")
    if kind == "cpu" and precision == "16":
        raise SystemLimitError("precision 16 needs a GPU", hint="use train.precision=32 on a CPU")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Fabric remarks on idle accelerators; the choice is the user's
            return Fabric(accelerator=kind, devices=[int(index)] if index else 1, precision=_PRECISIONS[precision])  # type: ignore[arg-type]
    except Exception as error:  # Fabric raises its own, RuntimeError and ValueError for the same thing
        hint = "--device cpu works everywhere"
        raise SystemLimitError(f"the device {device!r} cannot be used here ({error})", hint=hint) from None


def faster_precision(model: Any, images: Any, classes: int) -> str:
    """ "bf16" where a measured training step is faster with it than with "32", on a GPU; "32" on anything else.

    Not by what a device claims to support: on the CPUs measured for this project bf16 was 17 to 120 times slower.

    Args:
        model: On the device; a copy is trained.
        images: (B, C, H, W) uint8 or (B, D) float32 on the device, a batch.
        classes: How many logits the model gives.
    """
    import torch

    if images.device.type != "cuda":
        return "32"
    labels = torch.arange(len(images), device=images.device) % classes
    seconds = {}
    for name, enabled in (("32", False), ("bf16", True)):
        trial = copy.deepcopy(model).train()
        for step in range(_WARM_UP + _TIMED):
            if step == _WARM_UP:
                torch.cuda.synchronize(images.device)
                start = time.perf_counter()
            with torch.autocast("cuda", torch.bfloat16, enabled=enabled):
                loss = torch.nn.functional.cross_entropy(trial(images), labels)
            trial.zero_grad(set_to_none=True)
            loss.backward()
        torch.cuda.synchronize(images.device)
        seconds[name] = time.perf_counter() - start
    return min(seconds, key=lambda name: seconds[name])


@contextlib.contextmanager
def naming_memory(batch: int) -> Iterator[None]:
    """Say, when memory runs out, which batch size to try.

    Raises:
        SystemLimitError: Memory ran out inside.
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

    Each large tensor otherwise pays page faults anew: 1.1 to 1.2 × the time of a convolutional training step, none of an
    MLP's (`benchmarks/train_step.py`). For training, not for serving: resident memory stays at its high-water mark.
    Gives False where the C library is not glibc.
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
