"""The registry of plug-ins: classifier families, nets, descriptors, augmentations, layouts of data sets and more.

One file in the kind's folder adds one name: the file name. The file's class has the same name without underscores, in any
case (`resnet_cifar.py` → `ResNetCifar`). A module is imported when its name is first used. Another package adds names with the
entry-point group `tellapart.<kind>`, each pointing at a class.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from tellapart.errors import RecipeError, unknown_name

#: kind → (package, what a message calls one of them)
KINDS = {
    "classifiers": ("tellapart.classifiers", "classifier family"),
    "nets": ("tellapart.nets", "net"),
    "features": ("tellapart.features", "descriptor"),
    "augmentations": ("tellapart.augmentations", "augmentation"),
    "combiners": ("tellapart.combiners", "combiner"),
    "explainers": ("tellapart.explainers", "explainer"),
    "checks": ("tellapart.checks", "health check"),
    "forgeries": ("tellapart.forgeries", "forgery"),
    "loggers": ("tellapart.runs.loggers", "logger"),
    "layouts": ("tellapart.data.layouts", "layout of a data set"),
}


#: Public modules in these folders that are not plug-ins: the contract of each kind, and what plug-ins share.
_SHARED = {"base", "feature_classifier", "pipeline", "faithfulness", "review", "feed"}


def names(kind: str) -> list[str]:
    """Every registered name of a kind, sorted, without importing any of them."""
    package = importlib.import_module(KINDS[kind][0])
    own = [m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_") and m.name not in _SHARED]
    return sorted({*own, *_outside(kind)})


@cache
def find(kind: str, name: str) -> Any:
    """The class registered under `name`.

    Raises:
        RecipeError: There is no such name; the message has the closest ones.
    """
    package, noun = KINDS[kind]
    if name in _outside(kind):
        return _outside(kind)[name].load()
    if name not in names(kind):
        raise RecipeError(unknown_name(noun, name, names(kind)))
    module = importlib.import_module(f"{package}.{name}")
    wanted = name.replace("_", "")
    found = [value for key, value in vars(module).items() if key.lower() == wanted and isinstance(value, type)]
    if not found:
        raise TypeError(f"{module.__name__} has no class with the name of its file")
    return found[0]


@cache
def _outside(kind: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=f"tellapart.{kind}")}
