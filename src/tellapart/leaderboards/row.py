"""One run as a row of the leaderboard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tellapart import formatting
from tellapart.metrics.mcnemar import McNemar
from tellapart.metrics.pairwise import PairedTest
from tellapart.runs.store import Scores, scores_to_dict
from tellapart.types import SPLITS

FACTS = (
    *("rank", "name", "run_id", "recipe", "family"),
    *("fit_seconds", "images_per_second", "parameters", "pretrained", "device"),
)
NOT_SHOWN = "not shown to look at the pixels"


@dataclass(frozen=True)
class Row:
    """One run in the leaderboard.

    Attributes:
        rank: Rank by the validation score, from 1.
        run_id: Id of the run.
        name: Name of the recipe; with the id of the run if several runs share a recipe.
        recipe: Name of the recipe.
        family: Classifier family.
        train, valid, test: Scores by metric; `test` is empty if the test split was not opened for this run.
        fit_seconds: Fit time.
        images_per_second: Prediction speed, on the test split if it was opened; None if not measured.
        parameters: Number of fitted parameters.
        pretrained: "no", or the origin of the initial weights.
        device: Device of the training.
        vs_baseline: This run (A) compared with the metadata baseline (B) on the same images; None for the baseline, or without
            a baseline.
        vs_baseline_split: Split of that test: "test" if it was opened for both, else "valid"; "" without a baseline.
        vs_first: This run (A) compared with the first run (B), p corrected for all runs; None for the first run.
        late: Number of openings of the test split of the data before the run was made.
        parents: Ids of the runs that it was derived from.
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
    vs_baseline: McNemar | None
    vs_baseline_split: str
    vs_first: PairedTest | None = None
    late: int = 0
    parents: tuple[str, ...] = ()

    @property
    def beats_baseline(self) -> bool | None:
        """Whether it is significantly more accurate than the metadata baseline; None without a baseline."""
        return None if self.vs_baseline is None else self.vs_baseline.a_is_better

    @property
    def mark(self) -> str:
        """Mark of a run that is not significantly more accurate than the metadata baseline; else ""."""
        return NOT_SHOWN if self.beats_baseline is False else ""

    @property
    def marks(self) -> tuple[str, ...]:
        """All marks that are shown next to the name."""
        return tuple(mark for mark in (self.mark, formatting.after_opening(self.late) if self.late else "") if mark)

    @property
    def not_significant(self) -> bool:
        """Whether it is not significantly different from the first run; False for the first run."""
        return self.vs_first is not None and not self.vs_first.significant

    def scores(self, split: str) -> Scores:
        """Scores of one split."""
        return {"train": self.train, "valid": self.valid, "test": self.test}[split]

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible values."""
        return {
            **{fact: getattr(self, fact) for fact in FACTS},
            "scores": {split: scores_to_dict(self.scores(split)) for split in SPLITS if self.scores(split)},
            "vs_baseline": None if self.vs_baseline is None else self.vs_baseline.to_dict() | {"split": self.vs_baseline_split},
            "beats_baseline": self.beats_baseline,
            "mark": self.mark,
            "vs_first": None if self.vs_first is None else self.vs_first.to_dict(),
            "made_after_openings": self.late,
            "parents": list(self.parents),
        }


def flat(row: Row) -> dict[str, Any]:
    """Values of a row for `Leaderboard.to_frame`, by column."""
    flat: dict[str, Any] = {fact: getattr(row, fact) for fact in FACTS}
    for split in SPLITS:
        for metric, score in row.scores(split).items():
            key = f"{split}.{metric}"
            flat |= {key: score.value, f"{key}.low": score.low, f"{key}.high": score.high, f"{key}.n": score.n}
    baseline = row.vs_baseline
    flat |= {"vs_baseline.p_value": None if baseline is None else baseline.p_value, "beats_baseline": row.beats_baseline}
    first = row.vs_first
    found = (None, None) if first is None else (first.difference.value, first.p_value)
    return flat | dict(zip(("vs_first.difference", "vs_first.p_value"), found, strict=True)) | {"late": row.late}
