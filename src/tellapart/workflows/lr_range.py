"""The range test of a recipe: its net, optimizer, batches and augmentation, on the training part alone."""

from __future__ import annotations

from tellapart import registry
from tellapart.classifiers.base import Context
from tellapart.classifiers.network import Network
from tellapart.errors import RecipeError
from tellapart.recipe.load import Recipe
from tellapart.training.lr_range import LrRange, LrRangeResult, range_test
from tellapart.types import ImageTable


def probe(recipe: Recipe, table: ImageTable, context: Context, span: LrRange) -> LrRangeResult:
    """Take the net of a recipe through a range test; nothing of it is kept.

    Args:
        recipe: Of a family that trains by epochs, its inputs resolved.
        table: The training part.
        context: Where pixels and parent runs come from, and progress goes to.
        span: The rates.

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
    return range_test(
        network.model, part, plan, fabric,
        augment=network.pipeline(), seed=recipe.seed, span=span, progress=context.progress,
    )  # fmt: skip
