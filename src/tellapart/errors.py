"""The one exception tree of tellapart.

Every error a user can cause is a `TellapartError`: its message gives what was expected, what was found, where (file and row),
and what to do next. The command line prints it without a traceback and exits with its `exit_code`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TellapartError(Exception):
    """Base of all errors that a user can fix.

    Args:
        message: What is wrong, in one sentence, with file and row.
        hint: What to do about it; printed on its own line.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = message
        self.hint = hint
        super().__init__(message if hint is None else f"{message}\n  → {hint}")


class DataError(TellapartError):
    """The images or their table cannot be used as they are."""

    exit_code = 3


class NoLabelsError(DataError):
    """There are images, but nothing says their classes."""


class ImageError(DataError):
    """One image cannot be read; names it and says why."""

    def __init__(self, path: str, reason: str, *, hint: str | None = None) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}", hint=hint)


class SplitError(DataError):
    """The labeled images cannot be split as requested."""


class RecipeError(TellapartError):
    """A recipe names something that does not exist or a value out of range."""

    exit_code = 4


class RunError(TellapartError):
    """A run folder is missing, unfinished or does not fit the request."""

    exit_code = 5


class SystemLimitError(TellapartError):
    """The machine cannot do it: disk full, no permission, no such device."""

    exit_code = 6


class PluginError(TellapartError):
    """A class that extends tellapart breaks a promise of its kind.

    Args:
        kind: "descriptor", "net", …
        name: Name of the class.
        promise: Name of the promise.
        expected: What the promise requires.
        found: What happened.
    """

    def __init__(self, kind: str, name: str, promise: str, expected: str, found: str) -> None:
        self.kind, self.name, self.promise, self.expected, self.found = kind, name, promise, expected, found
        super().__init__(f"{kind} {name}: {promise}: expected {expected}; found {found}")


_MOST_NAMES = 24  # in one message


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """The message for an unknown name, with the closest names, or all of them if they are few.

    >>> unknown_name("recipe", "metdata", ["metadata", "svm"])
    "unknown recipe 'metdata': did you mean 'metadata'?"
    >>> unknown_name("recipe", "zebra", ["metadata", "svm"])
    "unknown recipe 'zebra': expected one of metadata, svm"
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return f"unknown {kind} {name!r}: did you mean {' or '.join(repr(c) for c in close)}?"
    if len(names) > _MOST_NAMES:
        near = ", ".join(difflib.get_close_matches(name, names, n=3, cutoff=0))
        return f"unknown {kind} {name!r}: it is none of {len(names)}; the closest are {near}"
    return f"unknown {kind} {name!r}: " + (f"expected one of {', '.join(names)}" if names else "there are none")


class Interrupted(TellapartError):
    """The user pressed Ctrl-C; finished work is kept."""

    exit_code = 130
