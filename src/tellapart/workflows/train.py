"""The verbs: train one recipe, compare many, predict.

`compare` is the main job. Everything is scanned, split and decoded once; each recipe becomes a run; when all are there, and
only then, the test part is opened once for all of them. A run's id is made from its recipe and the data, so a run that is
there already is used again, and one that was cut off goes on where it stood.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tellapart.classifiers.base import Context
from tellapart.data.cache import PixelCache
from tellapart.errors import Interrupted, RecipeError, RunError, SystemLimitError, TellapartError
from tellapart.inference.context import DEFAULTS, Settings, drop_unreadable, load_classifier, resolve_device
from tellapart.leaderboards.leaderboard import Leaderboard, build
from tellapart.metrics.score_all import RANKINGS
from tellapart.recipe.groups import GROUPS, LADDER
from tellapart.recipe.load import Recipe, load_all
from tellapart.recipe.load import load as load_recipe
from tellapart.runs import store
from tellapart.runs.store import Run
from tellapart.training.time_budget import split_time_budget
from tellapart.types import ImageTable, Predictions
from tellapart.workflows._experiment import Experiment

if TYPE_CHECKING:
    from tellapart.training.lr_range import LrRange, LrRangeResult

__all__ = ["Interrupted", "Settings", "compare", "load_classifier", "lr_range", "predict", "train"]


def train(
    data: str | Path | ImageTable,
    recipe: str | Path | Recipe,
    *,
    overrides: Sequence[str] = (),
    settings: Settings = DEFAULTS,
) -> Run:
    """Train one recipe and score it on train and validation; the test part stays closed.

    Args:
        data: A path that `scan` understands, or a table.
        recipe: A packaged name, a path to a .yaml file, or a `Recipe`.
        overrides: Such as "train.epochs=3".
        settings: Where and how.

    Raises:
        TellapartError: Anything a user can mend.
    """
    experiment = Experiment(settings, data)
    ((name, resolved),) = experiment.prepare({_name(recipe): _resolved(recipe, overrides)}).items()
    return experiment.train(name, resolved)


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


def lr_range(
    data: str | Path | ImageTable, recipe: str | Path | Recipe, *, overrides: Sequence[str] = (), span: LrRange | None = None,
    settings: Settings = DEFAULTS,
) -> LrRangeResult:  # fmt: skip
    """Take a recipe's network through rising learning rates on the training part; no run is made. Arguments as of `train`.

    Raises:
        TellapartError: Anything a user can mend.
    """
    from tellapart.training.lr_range import LrRange
    from tellapart.workflows.lr_range import probe

    experiment, span = Experiment(settings, data), span or LrRange()
    (resolved,) = experiment.prepare({"": _resolved(recipe, overrides)}).values()
    context = Context(experiment.cache, settings.progress, experiment.device, parents=experiment.parent_run)
    return probe(resolved, experiment.prepared.table.where(split="train"), context, span)


def predict(run: str | Path | Run, images: ImageTable, *, settings: Settings = DEFAULTS) -> Predictions:
    """Ask a finished run about images. Labels, if there are any, are passed through.

    Raises:
        CorruptImages: Some cannot be decoded; with `settings.skip_bad` they are left out.
    """
    run = run if isinstance(run, Run) else store.open_run(run, settings.runs)
    classifier = load_classifier(run)
    cache = PixelCache(progress=settings.progress)
    images = drop_unreadable(images, [classifier.recipe], cache, skip_bad=settings.skip_bad)
    return classifier.predict(images, Context(cache, settings.progress, resolve_device(settings.device)), run.id)


def _resolved(recipe: str | Path | Recipe, overrides: Sequence[str]) -> Recipe:
    return recipe if isinstance(recipe, Recipe) else load_recipe(str(recipe), overrides)


def _name(recipe: str | Path | Recipe) -> str:
    return "recipe" if isinstance(recipe, Recipe) else Path(recipe).name.removesuffix(".yaml").removesuffix(".yml")


def _by_name(recipes: Iterable[str | Path]) -> dict[str, str]:
    """Recipes by name, groups as their members. Two of one name would be one run and one line of the table."""
    named: dict[str, str] = {}
    for recipe in (member for name in map(str, recipes) for member in GROUPS.get(name, (name,))):
        if named.setdefault(_name(recipe), recipe) != recipe:
            raise RecipeError(f"{named[_name(recipe)]} and {recipe} have the same name", hint="rename one of the files")
    return named
