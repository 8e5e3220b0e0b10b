"""Promises: what a class that tellapart is extended with has to keep, each with a name, and how they are tested."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.errors import PluginError, TellapartError, unknown_name
from tellapart.recipe.schema import OptionsModel


@dataclass(frozen=True)
class Promise:
    """One thing that every class of a kind has to keep.

    Attributes:
        kind: "descriptor", "net", …
        name: A few words, unique within the kind.
        says: One sentence.
        keep: Called with what is tested; raises where the promise is broken.
    """

    kind: str
    name: str
    sentence: str
    keep: Callable[[Any], None]


class Broken(Exception):
    """A promise is broken: what was expected, what was found."""

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(f"expected {expected}, found {found}")
        self.expected, self.found = expected, found


class Promises:
    """The promises of one kind, in the order in which they are tested."""

    def __init__(self, kind: str, *, options: bool = False) -> None:
        self.kind = kind
        self.all: list[Promise] = []
        if options:  # what is tested has `cls.Options`
            self.promise("options are described")(_described)

    def promise(self, name: str) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
        """Add a function as a promise; its docstring is the sentence."""

        def add(keep: Callable[[Any], None]) -> Callable[[Any], None]:
            self.all.append(Promise(self.kind, name, " ".join((keep.__doc__ or "").split()), keep))
            return keep

        return add

    def check(self, plugin: type, tested: Any, only: str | None = None) -> None:
        """Test every promise, or the one of this name.

        Args:
            plugin: The class, for messages.
            tested: What the promises are called with.
            only: Name of the one promise to test.

        Raises:
            PluginError: The first promise that is broken.
            ValueError: There is no promise of that name.
        """
        chosen = [one for one in self.all if only in (None, one.name)]
        if not chosen:
            raise ValueError(unknown_name(f"promise of a {self.kind}", str(only), [one.name for one in self.all]))
        for one in chosen:
            try:
                one.keep(tested)
            except Broken as broken:
                raise PluginError(self.kind, plugin.__name__, one.name, broken.expected, broken.found) from None
            except Exception as error:  # whatever a plug-in may raise
                found = f"{type(error).__name__}: {error}"
                raise PluginError(self.kind, plugin.__name__, one.name, "no error", found) from error


def expect(kept: bool, expected: str, found: Any) -> None:
    """Raise where a promise is not kept.

    Raises:
        Broken: It is not.
    """
    if not kept:
        raise Broken(expected, str(found))


def expect_close(found: np.ndarray, wanted: np.ndarray, what: str, tolerance: float = 1e-5) -> None:
    """Raise where two arrays differ by more than `tolerance`, relative to the largest value, or in shape.

    Raises:
        Broken: They do.
    """
    expect(found.shape == wanted.shape, f"{what}: shape {wanted.shape}", f"shape {found.shape}")
    if wanted.size:
        gap = float(np.abs(found.astype(np.float64) - wanted.astype(np.float64)).max())
        allowed = tolerance * max(1.0, float(np.abs(wanted).max()))
        expect(gap <= allowed, f"{what}, to {allowed:.2g}", f"a difference of {gap:.3g}")


def expect_equal(found: np.ndarray, wanted: np.ndarray, what: str) -> None:
    """Raise where two arrays differ.

    Raises:
        Broken: They do.
    """
    expect(found.shape == wanted.shape, f"{what}: shape {wanted.shape}", f"shape {found.shape}")
    different = int((np.asarray(found) != np.asarray(wanted)).sum())
    expect(not different, what, f"{different:,} of {wanted.size:,} values differ")


def _described(tested: Any) -> None:
    """Every option has a description, and unknown options are refused."""
    expect_described(tested.cls.Options)


def expect_described(options: type[OptionsModel]) -> None:
    """Raise where an option has no description, or unknown options are taken.

    Raises:
        Broken: One has none.
    """
    bare = [name for name, info in options.model_fields.items() if not info.description]
    expect(not bare, 'a description of every option: `Field(…, description="…")`', f"none of {', '.join(bare)}")
    extra = options.model_config.get("extra")
    expect(extra == "forbid", "Options that extend OptionsModel, which refuses unknown names", f"extra={extra!r}")


def expect_table_untouched(before: Any, after: Any) -> None:
    """Raise where the frame of a table has changed.

    Raises:
        Broken: It has.
    """
    expect(before.equals(after), "the table as it was", "columns or cells were changed")


@contextmanager
def may_refuse() -> Iterator[None]:
    """What is inside may raise a TellapartError, which says what is needed; any other error is a crash."""
    try:
        yield
    except TellapartError as error:
        expect(len(error.message) > 10, "an error that says what is needed", repr(error.message))
