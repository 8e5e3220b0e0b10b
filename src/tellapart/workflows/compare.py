"""TODO."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tellapart.errors import Interrupted, RecipeError, RunError, SystemLimitError, TellapartError
from tellapart.inference.context import DEFAULTS, Settings
from tellapart.leaderboards.leaderboard import Leaderboard, build
from tellapart.metrics.score_all import RANKINGS
from tellapart.recipe.groups import GROUPS, LADDER
from tellapart.recipe.load import load_all, recipe_name
from tellapart.training.time_budget import split_time_budget
from tellapart.types import ImageTable
from tellapart.workflows._experiment import Experiment

if TYPE_CHECKING:
    pass


def compare(
    data: str | Path | ImageTable, recipes: Sequence[str | Path] = LADDER, *, overrides: Sequence[str] = (),
    rank_by: str = "accuracy", minutes: float | None = None, settings: Settings = DEFAULTS,
) -> Leaderboard:  # fmt: skip
    """Train several recipes on the same split, then open the test part once for all of them.

    Args:
        data: A path that `scan` understands, or a table.
        recipes: Names of recipes or of groups ("ladder", "classical"), or paths; the metadata baseline is always added.
        overrides: Each is applied to the recipes that have such a setting.
        rank_by: A key of `tellapart.metrics.score_all.RANKINGS`, such as "macro-f1" or "log-loss", on validation.
        minutes: Bound on training: no recipe starts after it, and networks divide 70 % of it between them.
        settings: Where and how.

    Raises:
        TellapartError: Anything a user can mend. A recipe that fails is named in the notes; all failing raises.
        Interrupted: Ctrl-C; the test part was not opened.
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
            # neither the user nor the machine will be kinder to the next recipe
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
    """Recipes by name, groups as their members. Two of one name would be one run and one line of the table."""
    named: dict[str, str] = {}
    for recipe in (member for name in map(str, recipes) for member in GROUPS.get(name, (name,))):
        if named.setdefault(recipe_name(recipe), recipe) != recipe:
            raise RecipeError(f"{named[recipe_name(recipe)]} and {recipe} have the same name", hint="rename one of the files")
    return named
