"""Which names came before, in 16 bytes a name.

A set of Python strings would take 150; ten million of them are 1.5 GB, ten million digests 160 MB.
"""

from __future__ import annotations

import hashlib
from typing import final

import numpy as np

_FRESH = 2**16  # names kept as a set before they are sorted into arrays


@final
class SeenNames:
    """Names that came before; two of them are taken for one with a probability of 2⁻⁸² at ten million.

    Attributes:
        twice: How often a name came that was no longer new.
    """

    def __init__(self) -> None:
        self.twice = 0
        self._fresh: set[bytes] = set()
        self._sorted: list[np.ndarray] = []  # (2, N) uint64, by the first half; each at least twice as long as the next

    def add(self, name: str) -> bool:
        """Whether a name is new; from now on it is not."""
        digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if digest in self._fresh or any(_holds(halves, digest) for halves in self._sorted):
            self.twice += 1
            return False
        self._fresh.add(digest)
        if len(self._fresh) >= _FRESH:
            self._sort()
        return True

    def _sort(self) -> None:
        made = _by_first(np.frombuffer(b"".join(self._fresh), np.uint64).reshape(-1, 2).T)
        self._fresh.clear()
        while self._sorted and self._sorted[-1].shape[1] < 2 * made.shape[1]:
            made = _by_first(np.concatenate([self._sorted.pop(), made], axis=1))
        self._sorted.append(made)


def _by_first(halves: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(halves[:, np.argsort(halves[0], kind="stable")])


def _holds(halves: np.ndarray, digest: bytes) -> bool:
    first, second = np.frombuffer(digest, np.uint64)
    low, high = (int(np.searchsorted(halves[0], first, side)) for side in ("left", "right"))
    return bool((halves[1, low:high] == second).any())
