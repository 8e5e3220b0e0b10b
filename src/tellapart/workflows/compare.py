"""Train several recipes on the same split and rank them: the main job.

The data are scanned, split and decoded once, and each recipe becomes a run. The test split is evaluated once for all of them,
after the last one has been trained.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from tellapart.errors import Interrupted, RecipeError, RunError, SystemLimitError, TellapartError
from tellapart.inference.context import DEFAULTS, Settings
from tellapart.leaderboards.leaderboard import Leaderboard, build
from tellapart.metrics.score_all import RANKINGS
from tellapart.recipe.groups import GROUPS, LADDER
from tellapart.recipe.load import load_all, recipe_name
from tellapart.training.time_budget import split_time_budget
from tellapart.types import ImageTable
from tellapart.workflows._experiment import Experiment


def compare(
    data: str | Path | ImageTable, recipes: Sequence[str | Path] = LADDER, *, overrides: Sequence[str] = (),
    rank_by: str = "accuracy", minutes: float | None = None, settings: Settings = DEFAULTS,
) -> Leaderboard:  # fmt: skip
    """Train several recipes on the same split, then evaluate all of them on the test split.

    Args:
        data: A path for `scan`, or a table.
        recipes: Names of recipes or of groups ("ladder", "classical"), or paths; the metadata baseline is always added.
        overrides: Settings, such as "train.epochs=3", each applied to the recipes that have it.
        rank_by: A key of `tellapart.metrics.score_all.RANKINGS`, such as "macro-f1" or "log-loss", on validation.
        minutes: Time limit for training: no recipe starts after it, and networks share 70 % of it.
        settings: Folder of the runs, device, progress, …

    Raises:
        TellapartError: Any error that the user can fix. A recipe that fails is named in the notes; it raises only if all fail.
        Interrupted: Ctrl-C; the test split was not evaluated.
    """
    if rank_by not in RANKINGS:
        raise RecipeError(f"rank_by {rank_by!r}: expected one of {', '.join(RANKINGS)}")
    start = time.monotonic()
    named = load_all(_by_name(["metadata", *recipes]), overrides)
    experiment = Experiment(settings, data)
    named = experiment.prepare(split_time_budget(named, minutes))
    runs, notes, failures = [], [], []
    for number, (name, resolved) in enumerate(named.items(), 1):
        if minutes and time.monotonic() - start > minutes * 60 and resolved.classifier.family != "metadata":
            notes.append(f"{name} was not started: {minutes:g} minutes were up")
            continue
        settings.progress.say(f"{number}/{len(named)} {name}", "bold")
        try:
            runs.append(experiment.train(name, resolved))
        except TellapartError as error:
            # Ctrl-C and a full disk would stop the next recipe, too
            if isinstance(error, Interrupted | SystemLimitError) or len(named) <= 2:
                raise
            failures.append(f"{name} could not be trained: {error.message}")
            settings.progress.say(f"  {failures[-1]}", "red")
    if failures and all(run.family == "metadata" for run in runs):
        raise RunError("no recipe could be trained: " + "; ".join(failures))
    experiment.open_test(runs, "compare")
    board = build(runs, rank_by)
    return replace(board, notes=(*board.notes, *notes, *failures))


def _by_name(recipes: Iterable[str | Path]) -> dict[str, str]:
    """Recipes by name, groups expanded to their members. Two recipes with the same name are an error."""
    named: dict[str, str] = {}
    for recipe in (member for name in map(str, recipes) for member in GROUPS.get(name, (name,))):
        if named.setdefault(recipe_name(recipe), recipe) != recipe:
            raise RecipeError(f"{named[recipe_name(recipe)]} and {recipe} have the same name", hint="rename one of the files")
    return named
