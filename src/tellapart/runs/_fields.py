"""Checked access to the content of a JSON or YAML file: each wrong field raises a RunError that names file and field."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn, TypeVar, final

from tellapart.errors import RunError
from tellapart.plain_data import read_json

T = TypeVar("T")

#: Longest text in a field.
MOST_TEXT = 100_000
#: How far sums may lie outside of the range of their terms.
ROUNDING = 1e-6
_SHOWN = 60


@final
class Fields:
    """One mapping in a file.

    Args:
        path: The file.
        content: What was read.
        at: Where in the file: "" for all of it, else such as "counts.train".

    Raises:
        RunError: `content` is no mapping with text as keys.
    """

    def __init__(self, path: Path, content: Any, at: str = "") -> None:
        self.path, self.at = path, at
        if not isinstance(content, dict):
            self.refuse("", "a mapping", content)
        if wrong := [key for key in content if not isinstance(key, str)]:
            self.refuse("", "names as keys", wrong[0])
        self.content: dict[str, Any] = content

    def refuse(self, name: str, expected: str, found: Any) -> NoReturn:
        """Raise the error of one field."""
        field = ".".join(part for part in (self.at, name) if part)
        shown = repr(found) if isinstance(found, str | int | float | bool | None) else f"a {type(found).__name__}"
        shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
        raise RunError(f"{self.path}: {f'{field}: ' if field else ''}expected {expected}, found {shown}")

    def get(self, name: str) -> Any:
        """A required field, of any type."""
        if name not in self.content:
            field = ".".join(part for part in (self.at, name) if part)
            raise RunError(f"{self.path}: {field}: expected a value, found no such field")
        return self.content[name]

    def text(self, name: str, *, optional: bool = False) -> str:
        """A text of at most `MOST_TEXT` characters; "" where it is optional and missing or null."""
        found = self.content.get(name) if optional else self.get(name)
        if found is None and optional:
            return ""
        if not isinstance(found, str) or len(found) > MOST_TEXT:
            self.refuse(name, f"a text of at most {MOST_TEXT:,} characters", found)
        return found

    def number(
        self, name: str, low: float = -1e300, high: float = 1e300, *, whole: bool = False, optional: bool = False
    ) -> float | None:
        """A number in [low, high], up to `ROUNDING`; None where it is optional and missing or null."""
        found = self.content.get(name) if optional else self.get(name)
        if found is None and optional:
            return None
        kinds = int if whole else (int, float)
        if isinstance(found, bool) or not isinstance(found, kinds) or not low - ROUNDING <= found <= high + ROUNDING:
            bounds = f" from {low:g} to {high:g}" if (low, high) != (-1e300, 1e300) else ""
            self.refuse(name, f"a {'whole ' if whole else ''}number{bounds}", found)
        return found

    def fields(self, name: str, *, optional: bool = False) -> Fields:
        """A mapping; an empty one where it is optional and missing or null."""
        found = self.content.get(name) if optional else self.get(name)
        inside = ".".join(part for part in (self.at, name) if part)
        return Fields(self.path, {} if found is None and optional else found, inside)

    def texts(self, name: str, *, optional: bool = False) -> list[str]:
        """A list of texts; an empty one where it is optional and missing."""
        found = self.content.get(name, []) if optional else self.get(name)
        if not isinstance(found, list) or not all(isinstance(one, str) and len(one) <= MOST_TEXT for one in found):
            self.refuse(name, "a list of texts", found)
        return found

    def each(self, name: str, *, optional: bool = False) -> list[Fields]:
        """A list of mappings; an empty one where it is optional and missing."""
        found = self.content.get(name, []) if optional else self.get(name)
        if not isinstance(found, list):
            self.refuse(name, "a list", found)
        inside = ".".join(part for part in (self.at, name) if part)
        return [Fields(self.path, one, f"{inside}[{place}]") for place, one in enumerate(found)]


def read_typed(path: Path, make: Callable[[Any], T]) -> T:
    """Read a JSON file into a dataclass, and check that each field, at any depth, has the type that the class declares.

    Raises:
        RunError: The file cannot be read, or some field is missing or has another type.
    """
    from pydantic import TypeAdapter

    content = read_json(path)
    with parsing(path):
        found = make(content)
        TypeAdapter(type(found)).validate_json(json.dumps(asdict(found), default=str), strict=True)  # type: ignore[call-overload]
    return found


@contextlib.contextmanager
def parsing(path: Path) -> Iterator[None]:
    """Turn the errors of a class that is made of the content of a file into a RunError that names the file."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RunError(f"{path}: not what tellapart writes ({type(error).__name__}: {reason})") from error
