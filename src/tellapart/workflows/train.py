"""Train one recipe and score it on the training and validation split.

The id of a run is derived from its recipe and the data, so a finished run is reused, and an interrupted one resumes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tellapart.inference.context import DEFAULTS, Settings
from tellapart.recipe.load import Recipe, resolve_recipe
from tellapart.runs.store import Run
from tellapart.types import ImageTable
from tellapart.workflows._experiment import Experiment


def train(
    data: str | Path | ImageTable,
    recipe: str | Path | Recipe,
    *,
    overrides: Sequence[str] = (),
    settings: Settings = DEFAULTS,
) -> Run:
    """Train one recipe and score it on the training and validation split; the test split is not used.

    Args:
        data: A path for `scan`, or a table.
        recipe: Name of a packaged recipe, path of a .yaml file, or a `Recipe`.
        overrides: Settings of the recipe, such as "train.epochs=3".
        settings: Folder of the runs, device, progress, …

    Raises:
        TellapartError: Any error that the user can fix.
    """
    experiment = Experiment(settings, data)
    ((name, resolved),) = experiment.prepare(dict([resolve_recipe(recipe, overrides)])).items()
    return experiment.train(name, resolved)
