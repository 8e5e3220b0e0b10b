"""Results of a sweep as a table with one row per trial, best first."""

from __future__ import annotations

import base64
import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from tellapart.errors import RunError
from tellapart.io import append_durably
from tellapart.metrics.mcnemar import LEVEL, paired_test
from tellapart.regular_files import read_bytes
from tellapart.runs.store import Run
from tellapart.search.space import Setting
from tellapart.types import Score


@dataclass(frozen=True, eq=False)
class Study:
    """Results of a sweep.

    Attributes:
        recipe: Name of the recipe.
        data: Display name of the data.
        settings: Varied settings.
        table: One row per trial, best first: each setting, `explained_variance` with PCA, `train`, `valid`, `valid_low`,
            `valid_high` and `gap` (train − valid) as fractions, `train_n`, `valid_n`, `log_loss` (valid, nats), `p` (exact
            paired test against the best, on validation), `seconds` of the fit, `run` if the trial is a run.
        best: Settings of the best row.
        run: The best trial as a run.
        folder: Folder of the table.
        notes: Remarks.
    """

    recipe: str
    data: str
    settings: tuple[str, ...]
    table: pd.DataFrame
    best: dict[str, Any]
    run: Run
    folder: Path
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Title: recipe and data."""
        return f"{self.recipe} on {self.data}"

    @property
    def within(self) -> int:
        """Number of other trials within the interval of the best."""
        return int((self.table["valid"].iloc[1:] >= self.table["valid_low"].iloc[0]).sum())

    @property
    def alike(self) -> int:
        """Number of other trials that are not significantly different from the best."""
        return int((self.table["p"].iloc[1:] >= LEVEL).sum())

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; NaN becomes None."""
        return {
            "recipe": self.recipe, "data": self.data, "settings": list(self.settings), "best": self.best, "run": self.run.id,
            "within_interval": self.within, "not_distinguishable": self.alike, "folder": str(self.folder),
            "notes": list(self.notes), "trials": _records(self.table),
        }  # fmt: skip

    def _repr_html_(self) -> str:
        return self.table.to_html(index=False)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.to_dict("records")  # type: ignore[assignment]
    return [{k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()} for row in rows]


def ranked(trials: Iterable[Trial]) -> list[Trial]:
    """Rank by validation accuracy; ties by log-loss, then by order."""
    return sorted(trials, key=lambda t: (-t.valid.value, t.log_loss if math.isfinite(t.log_loss) else math.inf))


def tabulate(trials: list[Trial], groups: np.ndarray | None) -> pd.DataFrame:
    """Create the table of a study.

    Args:
        trials: Ranked trials, at least one.
        groups: (N,) object (str), groups of the validation images; None if images are independent.
    """
    rows = [_row(trial, trials[0], groups) for trial in trials]
    table = pd.DataFrame(rows)
    if "explained_variance" not in table:
        return table
    place = len(trials[0].values)  # after the settings, even if only later rows have it
    table.insert(place, "explained_variance", table.pop("explained_variance"))
    return table


def _row(trial: Trial, best: Trial, groups: np.ndarray | None) -> dict[str, Any]:
    return {
        **trial.values, **trial.facts, "train": trial.train.value, "valid": trial.valid.value,
        "valid_low": trial.valid.low, "valid_high": trial.valid.high, "gap": trial.gap, "train_n": trial.train.n,
        "valid_n": trial.valid.n, "log_loss": trial.log_loss, "p": paired_test(best.right, trial.right, groups).p_value,
        "seconds": trial.seconds, "run": trial.run,
    }  # fmt: skip


# --- finished trials, one JSON line each, written at once, so that a killed sweep loses running trials only ------------


@dataclass(frozen=True, eq=False)
class Trial:
    """A fitted and scored candidate.

    Attributes:
        key: Key of the candidate.
        cell: Varied settings, as YAML text.
        values: Varied settings as plain values.
        train: Accuracy on (a sample of) the training split.
        valid: Accuracy on the validation split.
        log_loss: Log-loss on the validation split, in nats.
        right: (N,) bool, whether each validation image is predicted correctly, in the order of the table.
        seconds: Time of the fit, without steps that candidates share.
        facts: Further figures, such as `explained_variance`.
        run: Id of the run; None if the trial is not a run.
        notes: Deviations from what was requested.
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
        """Training accuracy minus validation accuracy, a measure of overfitting."""
        return self.train.value - self.valid.value

    def to_line(self) -> str:
        """Convert to one line of JSON."""
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
        whole, _, torn = read_bytes(path).rpartition(b"\n") if path.exists() else (b"", b"", b"")
        for number, line in enumerate(whole.splitlines(), 1):
            trial = self._read(line, number)
            self.found[trial.key] = trial
        if torn:  # the process was killed while writing; the next trial must start on a new line
            os.truncate(path, path.stat().st_size - len(torn))

    def add(self, trial: Trial) -> None:
        """Add a trial, also to the file."""
        append_durably(self.path, trial.to_line().encode() + b"\n")
        self.found[trial.key] = trial

    def _read(self, line: bytes, number: int) -> Trial:
        try:
            return Trial.from_line(line.decode())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            hint = "delete that line to repeat its trial, or start over with --overwrite"
            raise RunError(f"{self.path}:{number}: not a valid trial ({error})", hint=hint) from None
