"""Promises: named requirements that every class of a plug-in kind must satisfy, and how they are tested."""

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
    """A requirement that every class of a kind must satisfy.

    Attributes:
        kind: "descriptor", "net", …
        name: Short name, unique within the kind.
        sentence: Description in one sentence.
        keep: Function of the tested class; raises if the promise is broken.
    """

    kind: str
    name: str
    sentence: str
    keep: Callable[[Any], None]


class Broken(Exception):
    """A promise is broken: the expected and the actual result."""

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(f"expected {expected}, found {found}")
        self.expected, self.found = expected, found


class Promises:
    """The promises of one kind, in the order in which they are tested."""

    def __init__(self, kind: str, *, options: bool = False) -> None:
        self.kind = kind
        self.all: list[Promise] = []
        if options:  # the tested class has `cls.Options`
            self.promise("options are described")(_described)

    def promise(self, name: str) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
        """Register a function as a promise; its docstring is the sentence."""

        def add(keep: Callable[[Any], None]) -> Callable[[Any], None]:
            self.all.append(Promise(self.kind, name, " ".join((keep.__doc__ or "").split()), keep))
            return keep

        return add

    def check(self, plugin: type, tested: Any, only: str | None = None) -> None:
        """Test all promises, or only one.

        Args:
            plugin: The class, named in messages.
            tested: Argument of the promises.
            only: Name of the promise to test; None: all.

        Raises:
            PluginError: A promise is broken; the message names the first one.
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
            except Exception as error:  # a plug-in may raise anything
                found = f"{type(error).__name__}: {error}"
                raise PluginError(self.kind, plugin.__name__, one.name, "no error", found) from error


def expect(kept: bool, expected: str, found: Any) -> None:
    """Raise an error if a promise is not kept.

    Raises:
        Broken: The promise is not kept.
    """
    if not kept:
        raise Broken(expected, str(found))


def expect_close(found: np.ndarray, wanted: np.ndarray, what: str, tolerance: float = 1e-5) -> None:
    """Raise an error if two arrays differ in shape, or by more than `tolerance` relative to the largest value.

    Raises:
        Broken: The arrays differ.
    """
    expect(found.shape == wanted.shape, f"{what}: shape {wanted.shape}", f"shape {found.shape}")
    if wanted.size:
        gap = float(np.abs(found.astype(np.float64) - wanted.astype(np.float64)).max())
        allowed = tolerance * max(1.0, float(np.abs(wanted).max()))
        expect(gap <= allowed, f"{what}, to {allowed:.2g}", f"a difference of {gap:.3g}")


def expect_equal(found: np.ndarray, wanted: np.ndarray, what: str) -> None:
    """Raise an error if two arrays differ.

    Raises:
        Broken: The arrays differ.
    """
    expect(found.shape == wanted.shape, f"{what}: shape {wanted.shape}", f"shape {found.shape}")
    different = int((np.asarray(found) != np.asarray(wanted)).sum())
    expect(not different, what, f"{different:,} of {wanted.size:,} values differ")


def _described(tested: Any) -> None:
    """Every option has a description, and unknown options are refused."""
    expect_described(tested.cls.Options)


def expect_described(options: type[OptionsModel]) -> None:
    """Raise an error if an option has no description, or if unknown options are accepted.

    Raises:
        Broken: An option has no description, or unknown options are accepted.
    """
    bare = [name for name, info in options.model_fields.items() if not info.description]
    expect(not bare, 'a description of every option: `Field(…, description="…")`', f"none for {', '.join(bare)}")
    extra = options.model_config.get("extra")
    expect(extra == "forbid", "Options that extend OptionsModel, which refuses unknown names", f"extra={extra!r}")


def expect_table_untouched(before: Any, after: Any) -> None:
    """Raise an error if the frame of a table has changed.

    Raises:
        Broken: The frame has changed.
    """
    expect(before.equals(after), "an unmodified table", "changed columns or cells")


@contextmanager
def may_refuse() -> Iterator[None]:
    """Allow a TellapartError in the block, which states the requirement; any other error is a crash."""
    try:
        yield
    except TellapartError as error:
        expect(len(error.message) > 10, "an error that states the requirement", repr(error.message))
