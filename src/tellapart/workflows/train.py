"""The verbs: train one recipe, compare many, predict.

`compare` is the main job. Everything is scanned, split and decoded once; each recipe becomes a run; when all are there, and
only then, the test part is opened once for all of them. A run's id is made from its recipe and the data, so a run that is
there already is used again, and one that was cut off goes on where it stood.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tellapart.errors import Interrupted
from tellapart.inference.context import DEFAULTS, Settings, load_classifier
from tellapart.recipe.load import Recipe, resolve_recipe
from tellapart.runs.store import Run
from tellapart.types import ImageTable
from tellapart.workflows._experiment import Experiment
from tellapart.workflows.compare import compare
from tellapart.workflows.lr_range import lr_range
from tellapart.workflows.predict import predict

if TYPE_CHECKING:
    pass

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
    ((name, resolved),) = experiment.prepare(dict([resolve_recipe(recipe, overrides)])).items()
    return experiment.train(name, resolved)
