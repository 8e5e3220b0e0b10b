"""Before the first step: device, threads, allocator."""

from __future__ import annotations

import contextlib
import ctypes
import sys
import warnings
from typing import Any

from tellapart.errors import SystemLimitError

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # malloc.h


def open_fabric(device: str, precision: str = "32-true") -> Any:
    """A Lightning Fabric on one device: "cpu", "cuda", "cuda:1", "mps" or "auto".

    Raises:
        SystemLimitError: No such device here.
    """
    from lightning_fabric import Fabric

    kind, _, index = device.partition(":")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Fabric remarks on idle accelerators; the choice is the user's
            return Fabric(accelerator=kind, devices=[int(index)] if index else 1, precision=precision)  # type: ignore[arg-type]
    except Exception as error:  # Fabric raises its own, RuntimeError and ValueError for the same thing
        hint = "--device cpu works everywhere"
        raise SystemLimitError(f"the device {device!r} cannot be used here ({error})", hint=hint) from None


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
