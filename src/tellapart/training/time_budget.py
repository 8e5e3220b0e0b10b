"""Time limits, divided among the recipes that train by epochs; imports no torch."""

from __future__ import annotations

from tellapart.recipe.load import Recipe
from tellapart.recipe.schema import Train

_NETWORK_SHARE = 0.7  # fraction of the minutes that is divided among the networks


def split_time_budget(named: dict[str, Recipe], minutes: float | None) -> dict[str, Recipe]:
    """Set `train.minutes` of each network recipe to its share of `minutes`; a lower limit of a recipe is kept.

    The shares do not depend on how fast other recipes were, so the same command finds the same runs again.
    """
    timed = [n for n, r in named.items() if r.train is not None]
    if not minutes or not timed:
        return named
    train = {n: (named[n].train or Train()) for n in timed}
    share = round(minutes * _NETWORK_SHARE / len(timed), 3)
    bound = {n: t.model_copy(update={"minutes": min(share, t.minutes or share)}) for n, t in train.items()}
    return {n: r.model_copy(update={"train": bound[n]}) if n in bound else r for n, r in named.items()}


def overrides(epochs: int | None, minutes: float | None) -> list[str]:
    """Recipe overrides for `--epochs` and `--minutes`.

    >>> overrides(3, None)
    ['train.images=null', 'train.epochs=3']
    """
    bounded = [] if epochs is None else ["train.images=null", f"train.epochs={epochs}"]
    return bounded + ([] if minutes is None else [f"train.minutes={minutes:g}"])
