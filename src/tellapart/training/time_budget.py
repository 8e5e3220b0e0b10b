"""Time bounds, divided among the recipes that train by epochs. No torch is needed for that."""

from __future__ import annotations

from tellapart.recipe.load import Recipe
from tellapart.recipe.schema import Train

_NETWORK_SHARE = 0.7  # of the minutes, divided among the networks


def split_time_budget(named: dict[str, Recipe], minutes: float | None) -> dict[str, Recipe]:
    """Recipes with their share of `minutes` as `train.minutes`; none: as they are. A lower bound of a recipe's own stays.

    The shares do not depend on how fast others were, so that the same command finds the same runs again.
    """
    timed = [n for n, r in named.items() if r.train is not None]
    if not minutes or not timed:
        return named
    train = {n: (named[n].train or Train()) for n in timed}
    share = round(minutes * _NETWORK_SHARE / len(timed), 3)
    bound = {n: t.model_copy(update={"minutes": min(share, t.minutes or share)}) for n, t in train.items()}
    return {n: r.model_copy(update={"train": bound[n]}) if n in bound else r for n, r in named.items()}


def overrides(epochs: int | None, minutes: float | None) -> list[str]:
    """`--epochs` and `--minutes` as settings of a recipe.

    >>> overrides(3, None)
    ['train.images=null', 'train.epochs=3']
    """
    bounded = [] if epochs is None else ["train.images=null", f"train.epochs={epochs}"]
    return bounded + ([] if minutes is None else [f"train.minutes={minutes:g}"])
