"""What the contract tests of all kinds share: one thread each. On tiny pictures, threads that wait for a core cost more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tellapart.errors import RecipeError


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Of torch, OpenMP and BLAS; given back afterwards."""
    import sklearn.ensemble  # noqa: F401 (a limit reaches only what is loaded)
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(before)


@pytest.fixture
def small() -> Callable[[str], AbstractContextManager[None]]:
    """`with small(name):` around a checker: options that a new plug-in needs are asked for by name."""

    @contextmanager
    def asking(name: str) -> Iterator[None]:
        try:
            yield
        except RecipeError as error:
            pytest.fail(f"add to SMALL, or SHAPES, of this file how to make {name} small: {error.message}")

    return asking
