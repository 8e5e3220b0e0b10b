"""Finished trials, one JSON line each, written as soon as they are known: a killed sweep loses what was running, no more."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from tellapart.errors import RunError
from tellapart.search.space import Setting
from tellapart.types import Score


@dataclass(frozen=True, eq=False)
class Trial:
    """A candidate that was fitted and scored.

    Attributes:
        key: Of the candidate.
        cell: What was varied, as YAML text.
        values: The same as values.
        train: Accuracy on (a sample of) the training part.
        valid: Accuracy on the validation part.
        log_loss: On the validation part, nats.
        right: (N,) bool, which validation images it got right, in the table's order.
        seconds: Of its fit, without what candidates share.
        facts: Such as `explained_variance`.
        run: The run's id, where it is one.
        notes: What was done otherwise than asked.
    """

    key: str
    cell: Setting
    values: dict[str, Any]
    train: Score
    valid: Score
    log_loss: float
    right: np.ndarray
    seconds: float
    facts: dict[str, float] = field(default_factory=dict)
    run: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def gap(self) -> float:
        """Overfitting: train less validation accuracy."""
        return self.train.value - self.valid.value

    def to_line(self) -> str:
        """One line of JSON."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        scores = {"train": self.train.to_dict(), "valid": self.valid.to_dict()}
        packed = base64.b64encode(np.packbits(self.right).tobytes()).decode()
        return json.dumps(plain | scores | {"right": packed, "notes": list(self.notes)}, ensure_ascii=False)

    @classmethod
    def from_line(cls, line: str) -> Self:
        """Read what `to_line` wrote."""
        content = json.loads(line)
        scores = {part: Score.from_dict(content[part]) for part in ("train", "valid")}
        bits = np.frombuffer(base64.b64decode(content["right"]), dtype=np.uint8)
        right = np.unpackbits(bits, count=scores["valid"].n).astype(bool)
        return cls(**content | scores | {"right": right, "notes": tuple(content["notes"])})


class TrialFile:
    """`trials.jsonl` of a sweep.

    Attributes:
        found: Key → trial, those of earlier sessions first.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[str, Trial] = {}
        whole, _, torn = path.read_bytes().rpartition(b"\n") if path.exists() else (b"", b"", b"")
        for number, line in enumerate(whole.splitlines(), 1):
            trial = self._read(line, number)
            self.found[trial.key] = trial
        if torn:  # the process was killed while it wrote; a line that follows must begin on its own
            os.truncate(path, path.stat().st_size - len(torn))

    def add(self, trial: Trial) -> None:
        """Keep it, on the disk too."""
        with self.path.open("ab") as file:
            file.write(trial.to_line().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.found[trial.key] = trial

    def _read(self, line: bytes, number: int) -> Trial:
        try:
            return Trial.from_line(line.decode())
        except (ValueError, KeyError, TypeError) as error:
            hint = "delete that line, and its trial is made again; or start anew with --fresh"
            raise RunError(f"{self.path}:{number}: not a trial ({error})", hint=hint) from None
