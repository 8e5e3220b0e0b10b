"""Images to be asked about: files, and folders of them, without labels."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from tellapart.data.listing import IMAGE_ENDINGS
from tellapart.errors import DataError
from tellapart.types import UNLABELED, ImageTable


def from_paths(paths: Sequence[str | Path], classes: Sequence[str] = ()) -> ImageTable:
    """A table of unlabeled image files.

    Args:
        paths: Files, taken whatever their ending, or folders, searched for files with an image's ending.
        classes: Class names of the run that will be asked.

    Raises:
        DataError: Something does not exist, or there is no image at all.
    """
    shown = list(dict.fromkeys(str(file) for path in paths for file in _files(Path(path))))
    if not shown:
        raise DataError(f"no image in {', '.join(map(str, paths)) or 'nothing'}", hint="name image files or folders of them")
    full = [os.path.realpath(file) for file in shown]
    root = os.path.commonpath([os.path.dirname(file) for file in full])  # noqa: PTH120
    status = [os.stat(file) for file in full]  # noqa: PTH116
    frame = pd.DataFrame(
        {
            "id": pd.Series(shown, dtype=object),
            "path": pd.Series([os.path.relpath(file, root) for file in full], dtype=object),
            "label": UNLABELED,
            "size": [s.st_size for s in status],
            "stamp": [s.st_mtime_ns for s in status],
        }
    )
    return ImageTable(frame, tuple(classes), root, layout=f"{len(frame):,} unlabeled files")


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_ENDINGS and p.is_file())
    elif path.is_file():
        yield path
    else:
        raise DataError(f"{path}: no such file or folder", hint="name image files or folders of them")
