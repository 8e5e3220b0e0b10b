"""What a server is told when it starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tellapart.inference.context import DEFAULTS, Settings

#: Names that mean this machine alone.
LOOPBACK = ("localhost", "127.0.0.1", "::1")
#: Addresses that mean every network of this machine: what it is called from outside is then unknown.
EVERYWHERE = ("0.0.0.0", "::", "")


@dataclass(frozen=True)
class ServerSettings:
    """How a server answers.

    Attributes:
        host: The address that it listens on; beside the names of this machine, the only one that a request may call it by.
        token: What every request must show; None: nothing.
        max_bytes: Of one request's body: all its pictures together.
        max_pixels: Of one picture, by its header, before anything is decoded.
        timeout: Seconds for one request, from its first line to the last byte of the answer.
        rate: Requests that one client may send a second, sustained; four seconds' worth at once. 0: any.
        keep: A folder in which pictures and answers are kept; None: nothing is.
        batch: Pictures that are asked about together, at most.
        waiting: Pictures that may wait for their turn, for each run.
        settings: Where the runs are, and on which device they answer.
    """

    host: str = "127.0.0.1"
    token: str | None = None
    max_bytes: int = 20_000_000
    max_pixels: int = 50_000_000
    timeout: float = 30.0
    rate: float = 10.0
    keep: Path | None = None
    batch: int = 32
    waiting: int = 256
    settings: Settings = DEFAULTS

    @property
    def is_private(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in LOOPBACK
