"""Which runs and graphs were made here, by this user: a signature that a stranger cannot write.

A run names the folder of its images, and a stored graph claims to be that of a run. Both are believed only with a signature
by a key of this user on this machine (HMAC-SHA-256), over the very content: so a run may be renamed or moved, and a run that
comes from elsewhere, or whose root or paths were changed, has none. The key lies in `$XDG_STATE_HOME/tellapart/key`, else
`~/.local/state/tellapart/key`; without a home, in the cache folder. Where no key can be kept, nothing is signed, and nothing
breaks: the images of such runs are read where the user names their folder, and graphs are exported again.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tellapart.data.cache_dir import default_folder
from tellapart.errors import SystemLimitError
from tellapart.io import write_text_atomically
from tellapart.plain_data import read_json
from tellapart.regular_files import open_file, read_bytes, read_text

SIGNATURE = "signature"
_KEY, _KEY_BYTES, _MOST = "key", 32, 200


def sign(*parts: bytes) -> str:
    """A signature of this user over `parts`: 64 hex digits; "" where no key can be kept."""
    key = next(filter(None, map(_key, _folders())), b"")
    return _code(key, parts) if key else ""


def is_signed(signature: str, *parts: bytes) -> bool:
    """Whether a signature is that of this user over `parts`."""
    own = sign(*parts)
    return bool(own) and hmac.compare_digest(own.encode(), signature.strip().encode("utf-8", "replace"))


def sign_run(folder: Path) -> None:
    """Sign where the images of a run lie, in the run folder, before it is finished."""
    if (folder / "split.parquet").exists() and (signature := sign(*_images(folder))):
        write_text_atomically(folder / SIGNATURE, f"{signature}\n", durable=False)


def was_made_here(folder: Path) -> bool:
    """Whether this user made a run on this machine, and the places of its images are those of that time."""
    with contextlib.suppress(OSError, ValueError):
        return is_signed(read_text(folder / SIGNATURE, _MOST), *_images(folder))
    return False


def image_root(folder: Path, named: Path | None) -> tuple[str, str]:
    """Where the images of a run are read, and "" or why they must not be read; then the place is none that can hold a file.

    Args:
        folder: The run folder.
        named: The folder or archive that the user names; None: where they lay when the run was trained.
    """
    if named is not None:
        return str((named if named.is_dir() else named.parent).absolute()), ""
    if was_made_here(folder):
        return str(read_json(folder / "data.json")["root"]), ""
    return os.devnull, f"the images of {folder.name} are not read: it was not trained on this machine by this user"


def digest_file(path: Path) -> bytes:
    """Digest of a file: 32 bytes."""
    with open_file(path) as file:
        return hashlib.file_digest(file, hashlib.sha256).digest()


def _images(folder: Path) -> tuple[bytes, ...]:
    root = str(read_json(folder / "data.json")["root"])
    return b"images", root.encode("utf-8", "surrogatepass"), digest_file(folder / "split.parquet")


def _code(key: bytes, parts: tuple[bytes, ...]) -> str:
    framed = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return hmac.new(key, framed, hashlib.sha256).hexdigest()


def _folders() -> Iterator[Path]:
    """Where a key may lie, best first."""
    with contextlib.suppress(RuntimeError):  # no home
        yield Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "tellapart"
    with contextlib.suppress(SystemLimitError):
        yield default_folder()


@cache
def _key(folder: Path) -> bytes:
    """The key in a folder, made now if there is none; b"" where it can be neither read nor made."""
    path = folder / _KEY
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{_KEY}.{os.getpid()}.{secrets.token_hex(4)}"
        try:
            if not path.exists():
                with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                    file.write(secrets.token_bytes(_KEY_BYTES))
                    file.flush()
                    os.fsync(file.fileno())
                with contextlib.suppress(FileExistsError):  # another process was faster: its key counts
                    os.link(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        found = read_bytes(path, _KEY_BYTES)
    except OSError:
        return b""
    return found if len(found) == _KEY_BYTES else b""
