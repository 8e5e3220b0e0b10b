"""The leaderboard: finished runs on the same data and split, ranked by validation, evaluated on test.

It is built from run folders only and needs neither images nor a model. Every run is compared with the best run and with the
metadata baseline, which uses file metadata only, on the same images; see `comparisons`. The display is in `render`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from tellapart import formatting
from tellapart.data.left_out import LeftOut
from tellapart.errors import RunError, unknown_name
from tellapart.leaderboards.comparisons import (
    Comparisons,
    StoredPredictions,
    compare_to_baseline,
    compare_to_best,
    compare_top_two,
)
from tellapart.leaderboards.row import Row, flat
from tellapart.metrics.mcnemar import McNemar
from tellapart.metrics.pairwise import PairedTest
from tellapart.metrics.score_all import RANKINGS
from tellapart.recipe.groups import BASELINE
from tellapart.runs import lineage
from tellapart.runs.ledger import opened_before, times_opened
from tellapart.runs.store import Run

if TYPE_CHECKING:
    from rich.console import RenderableType

#: Requirements of the ranking scores.
NEEDS = {
    "auroc": "two classes, both in the validation split",
    "macro-auroc": "more than two classes",
    "matthews": "images and predictions of more than one class",
}
NO_BASELINE = (
    "there is no metadata baseline for these data, so it cannot be tested whether the runs look at the pixels; "
    "add one with `tellapart train DATA -r metadata`"
)


@dataclass(frozen=True)
class Leaderboard:
    """Runs on one data set and one split, best validation score first.

    Attributes:
        runs: The runs, in the order of `rows`.
        rows: One row per run.
        rank_by: Validation score that ranks.
        fingerprint, split_fingerprint: Fingerprints of the data and of the split.
        name: Name of the data.
        classes: Class names in label order.
        positive: The positive class; None for more than two classes.
        split_sizes: Number of labeled images per split.
        notes: Notes of the runs, and of the leaderboard itself.
        top_two: Description of the comparison of the two best runs; "" with fewer than two runs.
        times_opened: Number of evaluations on the test split of these data.
        comparisons: Comparisons with the first run, and of all pairs.
        lineage: A line for each run that was derived from others: its members, cost and gain.
        left_out: Rows that were excluded from the data, by class; one entry for each distinct result among the runs.
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
    top_two: str
    times_opened: int
    comparisons: Comparisons
    lineage: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @property
    def opened(self) -> str:
        """Number of openings of the test split, in words."""
        times = {0: "not opened", 1: "opened once", 2: "opened twice"}
        return f"test {times.get(self.times_opened, f'opened {self.times_opened} times')}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible values: the data, then all results of each run."""
        return {
            "data": {fact: getattr(self, fact) for fact in ("name", "fingerprint", "split_fingerprint", "positive")},
            "classes": list(self.classes),
            "rank_by": self.rank_by,
            "runs": [row.to_dict() | {"split_sizes": self.split_sizes} for row in self.rows],
            "notes": list(self.notes),
            "top_two": self.top_two,
            "lineage": list(self.lineage),
            "left_out": [found.to_dict() for found in self.left_out],
            "test_times_opened": self.times_opened,
            "against_first": self._comparisons_to_dict(),
            "pairs": [{"a": self.runs[a].id, "b": self.runs[b].id, **pair.to_dict()} for (a, b), pair in self.pairs().items()],
        }

    def pairs(self) -> dict[tuple[int, int], PairedTest]:
        """Tests of all pairs of rows, by row numbers from 0: A − B, p corrected for all pairs (Holm)."""
        places = {place: row for row, place in enumerate(self.comparisons.positions)}
        return {(places[pair.a], places[pair.b]): pair for pair in self.comparisons.pairs}

    def _comparisons_to_dict(self) -> dict[str, Any]:
        stands = self.comparisons
        figures = {"detectable_difference": stands.detectable, "disagreement": stands.disagreement}
        found: dict[str, Any] = {name: None if math.isnan(value) else value for name, value in figures.items()}
        found["rival"] = None if stands.rival is None else self.runs[stands.rival].id
        return {
            "split": stands.split,
            "of": stands.metric,
            "n": stands.n,
            "comparisons": len(stands.vs_best),
            "power": 0.8,
            **found,
        }

    def to_frame(self) -> pd.DataFrame:
        """Table with one row per run; columns `test.accuracy`, `test.accuracy.low`, `test.accuracy.high`, `test.accuracy.n`,
        …
        """
        return pd.DataFrame([flat(row) for row in self.rows]).set_index("rank")

    def __rich__(self) -> RenderableType:
        from tellapart.leaderboards.render import rich_view

        return rich_view(self)

    def _repr_html_(self) -> str:
        from tellapart.leaderboards.render import html_view

        return html_view(self)


def build(runs: Sequence[Run], rank_by: str = "accuracy") -> Leaderboard:
    """Rank runs by a validation score; ties by fewer parameters, then by id.

    Args:
        runs: Finished runs on one data set and split; see `by_data`. Duplicates are removed.
        rank_by: A key of `tellapart.metrics.score_all.RANKINGS`.

    Raises:
        RunError: There are no runs, runs have different data or splits, or `rank_by` is unknown or undefined for all runs.
    """
    runs = list({run.folder: run for run in runs}.values())
    if rank_by not in RANKINGS:
        raise RunError(unknown_name("ranking", rank_by, RANKINGS))
    _check_same_data(runs)
    _check_ranked(runs, rank_by)
    ranked = sorted(runs, key=lambda run: (_loss(run, rank_by), run.cost["parameters"], run.id))
    names = _names(ranked)
    stored = StoredPredictions(ranked)
    comparisons, baselines = compare_to_best(ranked, stored, rank_by), compare_to_baseline(ranked, stored)
    vs_best = dict(zip(ranked[1:], comparisons.vs_best, strict=True))
    rows = tuple(_row(rank, run, names[run], baselines.get(run), vs_best.get(run)) for rank, run in enumerate(ranked, start=1))
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
        notes=_notes(ranked, names, rank_by),
        top_two=compare_top_two(ranked[0], ranked[1], names, stored, rank_by) if len(ranked) > 1 else "",
        times_opened=sum(times_opened(folder, data["fingerprint"]) for folder in {run.runs for run in ranked}),
        comparisons=comparisons,
        left_out=tuple({repr(found): found for found in (run.left_out for run in ranked)}.values()),
        lineage=tuple(line for run in ranked if (line := lineage.line(run, {r.id: names[r] for r in ranked}))),
    )


def by_data(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Group runs by data and split: keys are "<data fingerprint>/<split fingerprint>", in order of appearance."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(f"{run.data['fingerprint']}/{run.data['split_fingerprint']}", []).append(run)
    return found


def _check_same_data(runs: list[Run]) -> None:
    if not runs:
        raise RunError("there are no runs to rank", hint="create runs with `tellapart train` or `tellapart compare`")
    kinds = by_data(runs)
    if len(kinds) > 1:
        examples = ", ".join(f"{group[0].id} ({key})" for key, group in kinds.items())
        raise RunError(
            f"these runs have different data or splits and cannot be ranked together: {examples}",
            hint="make one leaderboard for each, or train with `--split-from RUN`",
        )


def _loss(run: Run, rank_by: str) -> float:
    """Validation score that ranks, with its sign such that lower is better; undefined scores come last."""
    score = run.scores("valid").get(RANKINGS[rank_by])
    if score is None or math.isnan(score.value):
        return math.inf
    return -score.value if score.higher_is_better else score.value


def _check_ranked(runs: list[Run], rank_by: str) -> None:
    """Check that at least one run has the ranking score; runs without it come last."""
    scores = runs[0].scores("valid")
    if not any(RANKINGS[rank_by] in run.scores("valid") for run in runs):
        needs = f"; it needs {NEEDS[rank_by]}" if rank_by in NEEDS else ""
        raise RunError(
            f"{runs[0].id} has no validation {rank_by}{needs}",
            hint=f"rank by one of {', '.join(name for name, key in RANKINGS.items() if key in scores) or 'none'}",
        )


def _names(runs: list[Run]) -> dict[Run, str]:
    recipes = [run.recipe_name for run in runs]
    return {run: name if recipes.count(name) == 1 else f"{name} ({run.id})" for run, name in zip(runs, recipes, strict=True)}


def _row(rank: int, run: Run, name: str, baseline: tuple[str, McNemar] | None, first: PairedTest | None) -> Row:
    cost, evaluations = run.cost, run.evaluations
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
        vs_baseline=None if baseline is None else baseline[1],
        vs_baseline_split="" if baseline is None else baseline[0],
        vs_first=first,
        late=opened_before(run),
        parents=lineage.parents(run),
    )


def _notes(ranked: list[Run], names: dict[Run, str], rank_by: str) -> tuple[str, ...]:
    """Notes of the runs and on the data; runs made after an opening of test have a mark instead of a note."""
    notes = [(run, note) for run in ranked for note in run.cost["notes"] if not note.startswith(formatting.LATE)]
    lines = [f"{names[run]}: {note}" for run, note in notes]
    lines += [
        f"{names[run]}: {rank_by} is undefined for its predictions, so it is ranked last"
        for run in ranked
        if RANKINGS[rank_by] not in run.scores("valid")
    ]
    has_baseline = any(run.family == BASELINE for run in ranked)
    return (*_leaks(ranked[0]), *lines, *(() if has_baseline else (NO_BASELINE,)))


def _leaks(run: Run) -> list[str]:
    """Warnings about byte-identical files in the data."""
    duplicates, warnings = run.data["duplicates"], []
    if duplicates["across_splits"]:
        warnings.append(
            f"LEAK: {duplicates['across_splits']:,} validation or test images are byte-identical to images of an earlier "
            "split: scores of models that memorize images are too high"
        )
    if duplicates["across_classes"]:
        warnings.append(f"{duplicates['across_classes']:,} byte-identical images have more than one label")
    return warnings
