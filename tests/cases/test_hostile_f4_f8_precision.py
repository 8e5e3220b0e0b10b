"""F4 and F8: the precision of a run follows a rule, is stored with its state, and is named when the run was resumed, too."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tellapart as ta
from tellapart.errors import SystemLimitError
from tellapart.inference.context import Settings
from tellapart.training import checkpoints
from tellapart.training.state import State

OVERRIDES = ("classifier.stages=[{widths: [64]}, {widths: [64]}]", "train.epochs=3", "train.images=null", "augment=[]")
NOTE = "trained in bf16, chosen by train.precision: auto"


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., ta.Run]:
    """`train("elsewhere")`: a network on 40 images, in a folder of runs of that name."""
    images = np.random.default_rng(0).integers(0, 120, (40, 12, 12, 3), dtype=np.uint8)
    images[::2] += 100
    table = ta.from_arrays(images, np.arange(40) % 2)
    return lambda runs: ta.train(table, "cnn-small", overrides=OVERRIDES, settings=Settings(runs=tmp_path / runs, device="cpu"))


def _machine(patch: pytest.MonkeyPatch, **has: Any) -> None:
    patch.setattr(torch.cpu, "get_capabilities", lambda: has)


def test_a_resumed_run_keeps_its_precision_and_names_it(train: Callable[..., ta.Run], monkeypatch: pytest.MonkeyPatch) -> None:
    _machine(monkeypatch, amx_bf16=True)
    whole = train("whole")
    save = State.save

    def killed(self: State, outcome: Any) -> None:
        save(self, outcome)
        if outcome.epochs == 2:
            raise SystemExit("as if killed")

    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(State, "save", killed)
        train("cut")
    _machine(monkeypatch)  # another machine, which has no bf16
    resumed = train("cut")
    for run in (whole, resumed):
        assert run.cost["precision"] == "bf16" and NOTE in run.cost["notes"]
        assert (run.cost["epochs"], run.cost["steps"]) == (3, 3)
        assert "Trained in bf16 on " in (run.folder / "card.md").read_text(encoding="utf-8")
    np.testing.assert_array_equal(resumed.predictions("valid").proba, whole.predictions("valid").proba)
    assert train("old").cost["precision"] == "32"


def test_a_disk_that_was_full_at_one_moment_costs_no_run(
    train: Callable[..., ta.Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train("whole")
    for moment in range(4):
        calls, write = iter(range(99)), checkpoints.write_bytes_atomically

        def full(
            path: Path, content: bytes, *, durable: bool, calls: Any = calls, moment: int = moment, write: Any = write
        ) -> None:
            if next(calls) == moment:
                raise OSError(errno.ENOSPC, "No space left on device", str(path))
            write(path, content, durable=durable)

        with monkeypatch.context() as patch, pytest.raises(SystemLimitError, match="the disk is full"):
            patch.setattr(checkpoints, "write_bytes_atomically", full)
            train(f"full-{moment}")
        folder = tmp_path / f"full-{moment}" / whole.id / "resume"
        (folder / "precision").touch()  # what an earlier tellapart left, empty
        again = train(f"full-{moment}")
        np.testing.assert_array_equal(again.predictions("valid").proba, whole.predictions("valid").proba)
        assert not folder.exists()
