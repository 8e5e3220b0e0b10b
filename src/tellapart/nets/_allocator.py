"""The memory allocator, for nets whose activations are large."""

from __future__ import annotations

import contextlib
import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # malloc.h


def tune_allocator() -> bool:
    """Let glibc keep freed activations instead of returning them to the system after every step.

    Otherwise every large tensor causes page faults again: 1.1 to 1.2 × the time of a convolutional training step, none of an
    MLP's (`benchmarks/train_step.py`). For fitting, not for serving: resident memory stays at its high-water mark.
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
