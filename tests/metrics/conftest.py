"""What the tests of scores share: our number beside the reference's, compared, and printed by `pytest tests/evaluate`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tellapart.types import Predictions

_LINES = pytest.StashKey[list[str]]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Every comparison that was made, unless these tests are but a part of what was asked for."""
    lines = config.stash.get(_LINES, [])
    if lines and all("evaluate" in argument for argument in config.args):
        terminalreporter.section("our numbers beside references")
        terminalreporter.write_line("\n".join(lines))


@pytest.fixture
def beside(request: pytest.FixtureRequest) -> Callable[..., None]:
    """`beside("AUROC, scikit-learn", ours, theirs)`: print both, fail if they differ by more than 1e-6 (or `within`)."""

    def compare(name: str, ours: object, theirs: object, within: float = 1e-6) -> None:
        left, right = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
        assert left.shape == right.shape, name
        gap = float(np.abs(left - right).max(initial=0.0))
        shown = (np.array2string(of, precision=9, threshold=6, edgeitems=2) for of in (left, right))
        line = "{:<58} ours {}   reference {}   apart {:.1e}".format(name, *shown, gap)
        request.config.stash.setdefault(_LINES, []).append(line)
        assert gap <= within, f"{name}: {left} is not {right}"

    return compare


@pytest.fixture
def made() -> Callable[..., Predictions]:
    """`made(seed, n, classes)`: random predictions, right about half the time; `coarse` makes ties."""

    def make(seed: int, n: int, classes: int, *, coarse: bool = False, groups: int = 0) -> Predictions:
        rng = np.random.default_rng(seed)
        labels = rng.integers(classes, size=n)
        weights = rng.integers(1, 5, size=(n, classes)) if coarse else rng.random((n, classes)) + 0.01
        weights = weights + (rng.random(n) < 0.5)[:, None] * 2 * np.eye(classes)[labels]
        proba = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
        ids = np.array([f"image{i}" for i in range(n)], dtype=object)
        names = np.array([f"scene{g}" for g in rng.integers(groups, size=n)], dtype=object) if groups else None
        return Predictions(ids, proba, labels, tuple(f"class{c}" for c in range(classes)), groups=names)

    return make
