"""Learning curve: train on nested subsets of the training split and score on validation, to see whether more images help.

runs/curves/<recipe>-<digest>/
    runs/<run>/          one finished run each: <images>-seed-<n>
    curve.json           `LearningCurve.to_dict()`
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tellapart.data.source_splits import nested_subsets
from tellapart.errors import SplitError
from tellapart.inference.context import DEFAULTS, Settings
from tellapart.io import write_json
from tellapart.metrics.learning_curve import LearningCurve, power_law, size_of
from tellapart.recipe.load import Recipe
from tellapart.runs import store
from tellapart.types import ImageTable, Predictions
from tellapart.workflows._experiment import Experiment
from tellapart.workflows.cross_source import _predictions, _resolved, _train

SIZES = (0.1, 0.25, 0.5, 1.0)


def learning_curve(
    data: str | Path | ImageTable, recipe: str | Path | Recipe, *, sizes: Sequence[float] = SIZES, seeds: int = 3,
    overrides: Sequence[str] = (), settings: Settings = DEFAULTS,
) -> LearningCurve:  # fmt: skip
    """Train on nested subsets of the training split and score every run on validation.

    Args:
        data: A path for `scan`, or a table.
        recipe: Name of a packaged recipe, path of a .yaml file, or a `Recipe`.
        sizes: Fractions of the training split in (0, 1], or numbers of images above 1.
        seeds: Number of repetitions of each size, with other images and another seed of the recipe.
        overrides: Settings of the recipe, such as "train.epochs=3".
        settings: Folder of the runs, device, progress, …

    Raises:
        SplitError: A size larger than the training split, or no seed.
        Interrupted: Ctrl-C; finished runs are kept.
    """
    if seeds < 1 or not sizes:
        raise SplitError(f"{len(sizes)} sizes and {seeds} seeds: at least 1 of each is needed")
    name, resolved = _resolved(recipe, overrides)
    experiment = Experiment(settings, data)
    (resolved,) = experiment.prepare({name: resolved}).values()
    sizes = sorted(set(sizes), key=lambda s: s if s > 1 else s * experiment.prepared.table.split_counts()["train"])
    parts = [nested_subsets(experiment.prepared, sizes, settings.seed + seed) for seed in range(seeds)]
    title, found, number = f"{name} on {experiment.prepared.table.name}", [], 0
    with store.lock_run(settings.runs / "curves", experiment.run_id(name, resolved, " curve")) as folder:
        for place in range(len(sizes)):
            answers: list[Predictions] = []
            images = round(float(np.mean([of[place].table.split_counts()["train"] for of in parts])))
            for seed in range(seeds):
                number += 1
                experiment.settings.progress.say(f"{number}/{len(sizes) * seeds} {images:,} images, seed {seed + 1}", "bold")
                again = resolved.model_copy(update={"seed": resolved.seed + seed})
                run = _train(experiment.with_split(parts[seed][place], folder / "runs"), f"{images}-seed-{seed + 1}", again)
                answers.append(_predictions(run, "valid"))
            found.append(size_of(images, answers))
        law, why = power_law(found)
        notes = ["the validation split may choose (a checkpoint, a temperature): its accuracy is slightly optimistic"]
        curve = LearningCurve(title, tuple(found), law, why, tuple(notes), folder.resolve())
        write_json(folder / "curve.json", curve.to_dict())
    return curve
