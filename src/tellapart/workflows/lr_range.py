"""Learning-rate range test of a recipe, with its net, optimizer, batches and augmentation, on the training split only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tellapart import registry
from tellapart.classifiers.base import Context
from tellapart.classifiers.network import Network
from tellapart.errors import RecipeError
from tellapart.inference.context import DEFAULTS, Settings
from tellapart.recipe.load import Recipe, resolve_recipe
from tellapart.training.lr_range import LrRange, LrRangeResult, lr_range_test
from tellapart.types import ImageTable
from tellapart.workflows._experiment import Experiment


def probe(recipe: Recipe, table: ImageTable, context: Context, span: LrRange) -> LrRangeResult:
    """Run a range test with the net of a recipe; the net is not kept.

    Args:
        recipe: Recipe of a network, with resolved inputs.
        table: The training split.
        context: Pixel cache, parent runs, and progress.
        span: Range of learning rates.

    Raises:
        RecipeError: The family has no learning rate.
    """
    family = registry.find("classifiers", recipe.classifier.family)
    if not issubclass(family, Network):
        hint = "`tellapart recipes --tree` shows which recipes are networks"
        raise RecipeError(f"the family {recipe.classifier.family!r} has no learning rate: expected network", hint=hint)
    network = family(recipe)
    network.classes = table.classes
    (part, _), plan, fabric = network.prepare(table, table.where(split="none of them"), context)
    return lr_range_test(
        network.model, part, plan, fabric,
        augment=network.pipeline(), seed=recipe.seed, span=span, progress=context.progress,
    )  # fmt: skip


def lr_range(
    data: str | Path | ImageTable, recipe: str | Path | Recipe, *, overrides: Sequence[str] = (), span: LrRange | None = None,
    settings: Settings = DEFAULTS,
) -> LrRangeResult:  # fmt: skip
    """Train the network of a recipe with increasing learning rates on the training split; makes no run. Arguments as of
    `train`.

    Raises:
        TellapartError: Any error that the user can fix.
    """
    experiment, span = Experiment(settings, data), span or LrRange()
    (resolved,) = experiment.prepare(dict([resolve_recipe(recipe, overrides)])).values()
    context = experiment.context()
    return probe(resolved, experiment.prepared.table.where(split="train"), context, span)
