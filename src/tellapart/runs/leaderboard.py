"""The leaderboard: finished runs on the same data and split, ranked by validation, judged on test.

Built from run folders alone: it needs neither images nor a model. Every run stands against the null run, which sees
only file metadata, on the same images; one that is not right significantly more often is marked. The two best by
validation are compared in words. How it is shown is in `leaderboard_view`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from tellapart.errors import RunError, unknown_name
from tellapart.evaluate.compare import Comparison, McNemar, compare, in_words
from tellapart.evaluate.metrics import RANKINGS
from tellapart.runs.ledger import times_opened
from tellapart.runs.store import Run, Scores, scores_to_dict
from tellapart.types import SPLITS

if TYPE_CHECKING:
    from rich.console import RenderableType

NULL_FAMILY = "null"
FACTS = (
    *("rank", "name", "run_id", "recipe", "family"),
    *("fit_seconds", "images_per_second", "parameters", "pretrained", "device"),
)
NOT_SHOWN = "not shown to look at the pixels"
NO_NULL = (
    "there is no null run on this data: nothing here shows that the others look at the pixels; "
    "`tellapart train DATA -r null` adds one"
)


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

    @property
    def beats_null(self) -> bool | None:
        """Whether it is right significantly more often than the null run; None where there is nothing to compare."""
        return None if self.vs_null is None else self.vs_null.a_is_better

    @property
    def mark(self) -> str:
        """What must be said beside the name; "" when there is nothing."""
        return NOT_SHOWN if self.beats_null is False else ""

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
        }


@dataclass(frozen=True)
class Leaderboard:
    """Runs on one data set and one split, best validation score first.

    Attributes:
        runs: The runs, in the order of `rows`.
        rows: One a run.
        rank_by: The validation metric that ranks.
        fingerprint, split_fingerprint: Which data, and which split of it.
        name: What a person calls the data.
        classes: Class names in label order.
        positive: The positive class, when there are two.
        split_sizes: Labelled images per split.
        notes: What the runs have to say, and what is missing here.
        duel: The two best by validation, compared in words; "" with fewer than two runs.
        times_opened: How many times the test part of this data was scored.
    """

    runs: tuple[Run, ...]
    rows: tuple[Row, ...]
    rank_by: str
    fingerprint: str
    split_fingerprint: str
    name: str
    classes: tuple[str, ...]
    positive: str | None
    split_sizes: dict[str, int]
    notes: tuple[str, ...]
    duel: str
    times_opened: int

    @property
    def opened(self) -> str:
        """How many times the test part was opened, in words."""
        times = {0: "not opened", 1: "opened once", 2: "opened twice"}
        return f"test {times.get(self.times_opened, f'opened {self.times_opened} times')}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: the data, then everything known of each run."""
        return {
            "data": {fact: getattr(self, fact) for fact in ("name", "fingerprint", "split_fingerprint", "positive")},
            "classes": list(self.classes),
            "rank_by": self.rank_by,
            "runs": [row.to_dict() | {"split_sizes": self.split_sizes} for row in self.rows],
            "notes": list(self.notes),
            "duel": self.duel,
            "test_times_opened": self.times_opened,
        }

    def to_json(self) -> str:
        """`to_dict` as text."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)

    def to_frame(self) -> pd.DataFrame:
        """One row a run; columns `test.accuracy`, `test.accuracy.low`, `test.accuracy.high`, `test.accuracy.n`, …"""
        return pd.DataFrame([_flat(row) for row in self.rows]).set_index("rank")

    def __rich__(self) -> RenderableType:
        from tellapart.runs.leaderboard_view import rich_view

        return rich_view(self)

    def _repr_html_(self) -> str:
        from tellapart.runs.leaderboard_view import html_view

        return html_view(self)


def build(runs: Sequence[Run], rank_by: str = "accuracy") -> Leaderboard:
    """Rank runs by a validation score; equal ones by shorter training, then by id.

    Args:
        runs: Finished runs on one data set and split; see `by_data`. A run given twice counts once.
        rank_by: A key of `tellapart.evaluate.metrics.RANKINGS`.

    Raises:
        RunError: No run, runs on different data or splits, an unknown `rank_by`, or a run without that score.
    """
    runs = list({run.folder: run for run in runs}.values())
    if rank_by not in RANKINGS:
        raise RunError(unknown_name("ranking", rank_by, RANKINGS))
    _refuse_mixture(runs)
    ranked = sorted(runs, key=lambda run: (_loss(run, rank_by), run.cost["fit_seconds"], run.id))
    names = _names(ranked)
    null = next((run for run in ranked if run.family == NULL_FAMILY), None)
    rows = tuple(_row(rank, run, names[run], null) for rank, run in enumerate(ranked, start=1))
    data = ranked[0].data
    return Leaderboard(
        runs=tuple(ranked),
        rows=rows,
        rank_by=rank_by,
        fingerprint=data["fingerprint"],
        split_fingerprint=data["split_fingerprint"],
        name=str(data["name"]),
        classes=ranked[0].classes,
        positive=ranked[0].positive,
        split_sizes={split: sum(counts.values()) for split, counts in data["counts"].items()},
        notes=_notes(ranked, names, null),
        duel=_duel(ranked, names),
        times_opened=sum(times_opened(folder, data["fingerprint"]) for folder in {run.runs for run in ranked}),
    )


def by_data(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Runs that may stand in one table: keys are "<data fingerprint>/<split fingerprint>", in order of appearance."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(f"{run.data['fingerprint']}/{run.data['split_fingerprint']}", []).append(run)
    return found


def _refuse_mixture(runs: list[Run]) -> None:
    if not runs:
        raise RunError("there are no runs to rank", hint="`tellapart train` or `tellapart compare` makes some")
    kinds = by_data(runs)
    if len(kinds) > 1:
        examples = ", ".join(f"{of[0].id} ({key})" for key, of in kinds.items())
        raise RunError(
            f"these runs do not share data and split, so one table would mislead: {examples}",
            hint="make one leaderboard for each, or train with `--split-from RUN`",
        )


def _loss(run: Run, rank_by: str) -> float:
    """The validation score that ranks, turned so that smaller is better; undefined comes last."""
    scores = run.scores("valid")
    if RANKINGS[rank_by] not in scores:
        needs = "; it needs two classes, both in the validation part" if rank_by == "auroc" else ""
        raise RunError(
            f"{run.id} has no validation {rank_by}{needs}",
            hint=f"rank by one of {', '.join(name for name, key in RANKINGS.items() if key in scores) or 'none'}",
        )
    score = scores[RANKINGS[rank_by]]
    return math.inf if math.isnan(score.value) else -score.value if score.higher_is_better else score.value


def _names(runs: list[Run]) -> dict[Run, str]:
    recipes = [run.recipe_name for run in runs]
    return {run: name if recipes.count(name) == 1 else f"{name} ({run.id})" for run, name in zip(runs, recipes, strict=True)}


def _row(rank: int, run: Run, name: str, null: Run | None) -> Row:
    cost, evaluations = run.cost, run.evaluations
    against = None if null is None or run.family == NULL_FAMILY else _compare(run, null)
    speed = evaluations[-1].images_per_second if evaluations else cost["images_per_second"]
    return Row(
        rank=rank,
        run_id=run.id,
        name=name,
        recipe=run.recipe_name,
        family=run.family,
        train=run.scores("train"),
        valid=run.scores("valid"),
        test=run.scores("test"),
        fit_seconds=float(cost["fit_seconds"]),
        images_per_second=None if speed is None else float(speed),
        parameters=int(cost["parameters"]),
        pretrained=str(cost["pretrained"]),
        device=str(run.environment["device"]),
        vs_null=None if against is None else against[1].test,
        vs_null_split="" if against is None else against[0],
    )


def _compare(a: Run, b: Run) -> tuple[str, Comparison]:
    """The two on the same images: the test part when both were opened, else the validation part."""
    for split in ("test", "valid"):
        answers_a, answers_b = a.predictions(split), b.predictions(split)
        if answers_a is not None and answers_b is not None:
            return split, compare(answers_a, answers_b)
    raise RunError(f"{a.id} and {b.id} cannot be compared: one of them has no stored validation predictions")


def _duel(ranked: list[Run], names: dict[Run, str]) -> str:
    if len(ranked) < 2:
        return ""
    first, second = ranked[:2]
    split, comparison = _compare(first, second)
    sentence = in_words(names[first], names[second], comparison)
    if split == "test":
        return f"The two best by validation, on test: {sentence}"
    return f"The two best, on the validation part that chose them (test is not opened): {sentence}"


def _notes(ranked: list[Run], names: dict[Run, str], null: Run | None) -> tuple[str, ...]:
    said = [f"{names[run]}: {note}" for run in ranked for note in run.cost["notes"]]
    return (*_leaks(ranked[0]), *said, *(() if null is not None else (NO_NULL,)))


def _leaks(run: Run) -> list[str]:
    """What is wrong with the data themselves, from the search for byte-identical files."""
    twins, said = run.data["duplicates"], []
    if twins["across_splits"]:
        said.append(
            f"LEAK: {twins['across_splits']:,} validation or test images are byte for byte images of an earlier part: "
            "scores flatter whoever remembers them"
        )
    if twins["across_classes"]:
        said.append(f"{twins['across_classes']:,} images stand under more than one label, byte for byte the same")
    return said


def _flat(row: Row) -> dict[str, Any]:
    flat: dict[str, Any] = {fact: getattr(row, fact) for fact in FACTS}
    for split in SPLITS:
        for metric, score in row.scores(split).items():
            key = f"{split}.{metric}"
            flat |= {key: score.value, f"{key}.low": score.low, f"{key}.high": score.high, f"{key}.n": score.n}
    null = row.vs_null
    return flat | {"vs_null.p_value": None if null is None else null.p_value, "beats_null": row.beats_null}
