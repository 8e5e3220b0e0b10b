"""JSON and YAML of others, bounded: size, depth, finite numbers, plain values only."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import yaml

from tellapart.errors import RunError
from tellapart.regular_files import IrregularFileError, read_text

#: Largest JSON file that is read, in bytes: `data.json` lists each bad row, some 150 bytes each.
LARGEST_JSON = 64 << 20


#: Largest YAML file that is read, in bytes: recipes have some 2,000, and YAML is parsed slowly.
LARGEST_YAML = 1 << 18


def read_json(path: Path, limit: int = LARGEST_JSON) -> Any:
    """Read JSON of a regular file.

    Args:
        path: The file.
        limit: Maximum number of bytes.

    Raises:
        RunError: The file is missing, no regular file, larger than `limit`, not JSON, nested too deeply, or it holds a number
            that is not finite; the message names it.
    """
    try:
        return parse_json(read_text(path, limit))
    except IrregularFileError as error:
        raise RunError(error.message) from error
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read as JSON ({error})") from error


def parse_json(text: str) -> Any:
    """Parse JSON whose numbers are all finite.

    Raises:
        ValueError: It is not JSON, nested too deeply, or holds NaN, infinity or a number that overflows, such as 1e999.
    """
    try:
        return json.loads(text, parse_float=_finite, parse_constant=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is not a finite number")
    return number


class _PlainLoader(yaml.SafeLoader):
    """Plain values only: no tags of its own, and no aliases, by which a few lines stand for gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse aliases (`*name`)."""
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)


def read_yaml(path: Path, limit: int = LARGEST_YAML) -> Any:
    """Read the YAML of a regular file: plain values, without tags or aliases.

    Raises:
        RunError: The file is missing, no regular file, larger than `limit`, not YAML, or nested too deeply.
    """
    try:
        return yaml.load(read_text(path, limit), _PlainLoader)
    except IrregularFileError as error:
        raise RunError(error.message) from error
    except RecursionError:
        raise RunError(f"{path}: cannot be read as YAML (nested too deeply)") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise RunError(f"{path}: cannot be read as YAML ({' '.join(str(error).split())})") from error
