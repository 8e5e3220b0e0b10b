"""The settings of a server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tellapart.errors import SystemLimitError
from tellapart.inference.context import DEFAULTS, Settings
from tellapart.regular_files import open_file

#: Host names of this machine.
LOOPBACK = ("localhost", "127.0.0.1", "::1")
#: Addresses that listen on every network interface; the host names that clients use are then unknown.
EVERYWHERE = ("0.0.0.0", "::", "")


_TOKEN_BYTES = 4_096  # read at most


@dataclass(frozen=True)
class ServerSettings:
    """Limits, token and folders of a server.

    Attributes:
        host: Address to listen on. Requests must use it, or a name of this machine, as their `Host`.
        token: Bearer token required of every request; None: no token.
        max_bytes: Maximum size of a request body, all images together.
        max_pixels: Maximum number of pixels of one image, checked in its header before decoding.
        timeout: Seconds for one request, from its first line to the last byte of the response.
        rate: Requests per second and client, sustained; bursts of four seconds' worth are allowed. 0: no limit.
        connections: Number of connections of one client at once; a further one replaces the one that has waited longest for its
            client.
            0: no limit. Used by `tellapart serve`, not by other ASGI servers.
        keep: Folder in which images and predictions are stored; None: nothing is stored.
        batch: Maximum number of images in a batch.
        waiting: Maximum number of images in the queue of each run.
        memory: Bytes for decoded pictures, together; the loaded runs and the processes themselves come on top.
        settings: Folder of the runs, device, progress.
    """

    host: str = "127.0.0.1"
    token: str | None = None
    max_bytes: int = 20_000_000
    max_pixels: int = 50_000_000
    timeout: float = 30.0
    rate: float = 10.0
    connections: int = 64
    keep: Path | None = None
    batch: int = 32
    waiting: int = 256
    memory: int = 440_000_000
    settings: Settings = DEFAULTS

    @property
    def is_private(self) -> bool:
        """Whether only this machine can reach the server."""
        return self.host in LOOPBACK


def read_token(path: Path) -> str:
    """Read a token: the first line of a file, without outer spaces.

    Raises:
        SystemLimitError: The file cannot be read, is no regular file, or its first line is empty or not UTF-8.
    """
    hint = "write the token into the first line: openssl rand -hex 32 > FILE; chmod 600 FILE"
    try:
        with open_file(path) as file:
            token = file.read(_TOKEN_BYTES).partition(b"\n")[0].decode().strip()
    except OSError as error:
        raise SystemLimitError(f"--token-file {path}: cannot be read ({error.strerror or error})", hint=hint) from None
    except UnicodeDecodeError:
        raise SystemLimitError(f"--token-file {path}: the first line is not UTF-8 text", hint=hint) from None
    if not token:
        raise SystemLimitError(f"--token-file {path}: the first line is empty", hint=hint)
    return token
