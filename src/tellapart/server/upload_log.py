"""Stored uploads and their predictions, if the server was started with `--keep`.

    DIR/<digest>.<extension>    an image as it was uploaded; identical uploads are stored once
    DIR/predictions.jsonl       one line for each prediction: time, file, run, result

File names are the first 16 hex digits of the content's BLAKE2b digest and the extension of the detected format. No text from
the client becomes part of a path.
"""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

from tellapart.data.open_image import open_image, quiet
from tellapart.io import append_durably, now, write_bytes_atomically
from tellapart.os_errors import translate_os_errors

_EXTENSIONS = {"JPEG": "jpg", "MPO": "jpg", "TIFF": "tif", "JPEG2000": "jp2"}


class UploadLog:
    """Stores uploads in one folder. Thread-safe.

    Args:
        folder: Created if it does not exist.

    Raises:
        SystemLimitError: The folder cannot be created.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._lock = folder, threading.Lock()
        with translate_os_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)

    def store(self, content: bytes, name: str, prediction: dict[str, Any]) -> None:
        """Store one image and its prediction.

        Args:
            content: The encoded image.
            name: File name given by the client; logged, never used as a path.
            prediction: JSON values.

        Raises:
            SystemLimitError: The disk is full, or there is no permission.
        """
        with quiet():
            kind = open_image(content, name).format or "image"
        file = f"{hashlib.blake2b(content, digest_size=8).hexdigest()}.{_EXTENSIONS.get(kind, kind.lower())}"
        line = json.dumps({"time": now(), "file": file, "image": name, **prediction}, ensure_ascii=False) + "\n"
        with self._lock, translate_os_errors(self.folder):
            if not (self.folder / file).exists():
                write_bytes_atomically(self.folder / file, content, durable=True)
            append_durably(self.folder / "predictions.jsonl", line.encode())
