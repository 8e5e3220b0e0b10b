"""Where may be written: outside the data, where no link leads away, and only where a path is text."""

from __future__ import annotations

import os
from pathlib import Path

from tellapart.errors import DataError, SystemLimitError
from tellapart.io import expand

#: Endings of outputs that no command reads as an image or a table.
_NOT_READ = (".html", ".json", ".jsonl")


def check_outside(path: Path, data: Path) -> None:
    """Refuse a file or folder to write that would become part of the data.

    Args:
        path: What is to be written.
        data: The data that the command reads; only a folder can hold it.

    Raises:
        DataError: `path` lies inside the folder `data`, where the next command would read it as an image or a table.
    """
    top = expand(data).resolve()
    if top.is_dir() and expand(path).resolve().is_relative_to(top) and path.suffix.lower() not in _NOT_READ:
        hint = f"choose a place outside, for example {top.parent / f'{top.name}-{path.name}'}"
        raise DataError(f"{path} lies inside the data ({top}), where other commands would read it", hint=hint)


def check_inside(folder: Path, top: Path) -> None:
    """Refuse to write into a folder to which a link below `top` leads: a stranger's folder may hold links to any place.

    Args:
        folder: A folder that exists or not, `top` or below it.
        top: A folder that the user names, itself a link or not.

    Raises:
        SystemLimitError: A link below `top` leads out of it, or elsewhere in it.
    """
    if folder.resolve() != top.resolve() / folder.relative_to(top):
        raise SystemLimitError(f"{folder}: is reached by a link, expected a folder", hint="remove the link")


def check_is_text(path: Path) -> None:
    """Refuse a place to write whose path is not UTF-8: the libraries that write parquet and safetensors cannot name it.

    Raises:
        SystemLimitError: A name in the absolute path holds bytes that are not UTF-8.
    """
    if not is_text(full := os.path.abspath(path)):  # noqa: PTH100
        raise SystemLimitError(f"{full}: this path is not valid UTF-8", hint="choose a folder with another name")


def is_text(name: str) -> bool:
    """Whether a name from the file system is valid UTF-8; Python holds other bytes as lone surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
