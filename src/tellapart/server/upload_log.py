"""Pictures and answers that are kept, where the server was started with `--keep`.

    DIR/<digest>.<ending>       a picture as it was sent; the same one sent twice is there once
    DIR/answers.jsonl           one line an answer: when, which picture, which run, what it said

Names come from the content: the first 16 hex digits of its BLAKE2b digest, and the ending of what it is. Nothing that a sender
writes becomes part of a path.
"""

from __future__ import annotations

import hashlib
import io
import json
import threading
from pathlib import Path
from typing import Any

from PIL import Image

from tellapart.data.decode import quiet
from tellapart.io import append_durably, now, translate_os_errors, write_bytes_atomically

_ENDINGS = {"JPEG": "jpg", "MPO": "jpg", "TIFF": "tif", "JPEG2000": "jp2"}


class UploadLog:
    """Writes into one folder. Any thread may call it.

    Args:
        folder: Made if need be.

    Raises:
        SystemLimitError: It cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._lock = folder, threading.Lock()
        with translate_os_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)

    def keep(self, content: bytes, name: str, answer: dict[str, Any]) -> None:
        """Keep one picture and what was said of it.

        Args:
            content: The encoded picture.
            name: What its sender called it; written down, never used.
            answer: Plain JSON values.

        Raises:
            SystemLimitError: The disk is full, or there is no permission.
        """
        with quiet():
            kind = Image.open(io.BytesIO(content)).format or "image"
        file = f"{hashlib.blake2b(content, digest_size=8).hexdigest()}.{_ENDINGS.get(kind, kind.lower())}"
        line = json.dumps({"when": now(), "picture": file, "sent_as": name, **answer}, ensure_ascii=False) + "\n"
        with self._lock, translate_os_errors(self.folder):
            if not (self.folder / file).exists():
                write_bytes_atomically(self.folder / file, content, durable=True)
            append_durably(self.folder / "answers.jsonl", line.encode())
