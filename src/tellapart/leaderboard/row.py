"""One run as a row of the leaderboard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tellapart import formatting
from tellapart.metrics.mcnemar import McNemar
from tellapart.metrics.pairwise import Contrast
from tellapart.runs.store import Scores, scores_to_dict
from tellapart.types import SPLITS

FACTS = (
    *("rank", "name", "run_id", "recipe", "family"),
    *("fit_seconds", "images_per_second", "parameters", "pretrained", "device"),
)
NOT_SHOWN = "not shown to look at the pixels"


@dataclass(frozen=True)
class Row:
    """One run in the table.

    Attributes:
        rank: From 1, by the validation score.
        run_id: The run.
        name: The recipe; with the run's id when two runs share a recipe.
        recipe: The recipe's name.
        family: The classifier family.
        train, valid, test: Scores by metric; `test` is empty when the test part was not opened for this run.
        fit_seconds: How long it trained.
        images_per_second: Speed of `predict`; on the test part when it was opened. None when not measured.
        parameters: Fitted numbers.
        pretrained: "no", or what it started from.
        device: What it was trained on.
        vs_null: This run (A) against the null run (B) on the same images; None for the null run, or without one.
        vs_null_split: The images of that test: "test" when both were opened, else "valid"; "" without one.
        vs_first: This run (A) against the first of the table (B), p corrected for all runs; None for the first.
        late: How many times the test part of its data had been opened when it was made.
        parents: Ids of the runs that it was made of.
    """

    rank: int
    run_id: str
    name: str
    recipe: str
    family: str
    train: Scores
    valid: Scores
    test: Scores
    fit_seconds: float
    images_per_second: float | None
    parameters: int
    pretrained: str
    device: str
    vs_null: McNemar | None
    vs_null_split: str
    vs_first: Contrast | None = None
    late: int = 0
    parents: tuple[str, ...] = ()

    @property
    def beats_null(self) -> bool | None:
        """Whether it is right significantly more often than the null run; None where there is nothing to compare."""
        return None if self.vs_null is None else self.vs_null.a_is_better

    @property
    def mark(self) -> str:
        """What must be said beside the name of a run that is not shown to beat the null; "" when there is nothing."""
        return NOT_SHOWN if self.beats_null is False else ""

    @property
    def marks(self) -> tuple[str, ...]:
        """All that must be said beside the name."""
        return tuple(mark for mark in (self.mark, formatting.after_opening(self.late) if self.late else "") if mark)

    @property
    def tied(self) -> bool:
        """Whether it is not told apart from the first."""
        return self.vs_first is not None and not self.vs_first.significant

    def scores(self, split: str) -> Scores:
        """The scores of one split."""
        return {"train": self.train, "valid": self.valid, "test": self.test}[split]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            **{fact: getattr(self, fact) for fact in FACTS},
            "scores": {split: scores_to_dict(self.scores(split)) for split in SPLITS if self.scores(split)},
            "vs_null": None if self.vs_null is None else self.vs_null.to_dict() | {"split": self.vs_null_split},
            "beats_null": self.beats_null,
            "mark": self.mark,
            "vs_first": None if self.vs_first is None else self.vs_first.to_dict(),
            "made_after_openings": self.late,
            "parents": list(self.parents),
        }


def flat(row: Row) -> dict[str, Any]:
    """A row as one line of a frame."""
    flat: dict[str, Any] = {fact: getattr(row, fact) for fact in FACTS}
    for split in SPLITS:
        for metric, score in row.scores(split).items():
            key = f"{split}.{metric}"
            flat |= {key: score.value, f"{key}.low": score.low, f"{key}.high": score.high, f"{key}.n": score.n}
    null = row.vs_null
    flat |= {"vs_null.p_value": None if null is None else null.p_value, "beats_null": row.beats_null}
    first = row.vs_first
    found = (None, None) if first is None else (first.difference.value, first.p_value)
    return flat | dict(zip(("vs_first.difference", "vs_first.p_value"), found, strict=True)) | {"late": row.late}
