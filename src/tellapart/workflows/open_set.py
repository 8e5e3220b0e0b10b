"""Open-set evaluation: hold out each class in turn and measure how well its images are rejected as unknown.

    runs/attribution/<recipe>-<digest>/
        runs/<run>/          without-<class>: one finished run each
        unknown-<k>.parquet  its predictions for the images of the class that was left out
        attribution.json     `OpenSetReport.to_dict()`

Only the training and validation split are used: a fifth of each class is held out, and a tenth of the rest is the validation
split that sets the threshold. All images of the class that is left out are predicted. The test split is not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.data.folds import HELD_OUT, kfold_tables
from tellapart.data.prepare import Prepared
from tellapart.data.split import summarize_duplicates
from tellapart.errors import DataError, Interrupted, RunError
from tellapart.inference.context import DEFAULTS, Settings, load_classifier
from tellapart.io import write_json, write_parquet
from tellapart.metrics.open_set import OpenSet, score_open_set, unknown_score, unknown_threshold
from tellapart.recipe.load import Recipe
from tellapart.recipe.load import load as load_recipe
from tellapart.runs import store
from tellapart.runs.store import Run
from tellapart.types import ImageTable, Predictions
from tellapart.workflows._experiment import Experiment

_FOLDS, _VALID = 5, 0.1


@dataclass(frozen=True)
class OpenSetReport:
    """Result of an open-set evaluation.

    Attributes:
        title: Such as "quick on deepfake5.tar".
        share: Fraction of known images that may be rejected as unknown.
        left_out: One result for each class.
        folder: Folder of the runs.
    """

    title: str
    share: float
    left_out: tuple[OpenSet, ...]
    folder: Path

    @property
    def mean_auroc(self) -> float:
        """Mean AUROC over the classes."""
        return float(np.mean([one.auroc.value for one in self.left_out]))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "title": self.title, "share": self.share, "left_out": [one.to_dict() for one in self.left_out],
            "mean_auroc": self.mean_auroc, "folder": str(self.folder),
        }  # fmt: skip


def open_set(
    data: str | Path | ImageTable, recipe: str | Path | Recipe, *, share: float = 0.05, overrides: Sequence[str] = (),
    settings: Settings = DEFAULTS,
) -> OpenSetReport:  # fmt: skip
    """Hold out each class in turn and measure how well its images are rejected as unknown.

    Args:
        data: A path for `scan`, or a table; three classes or more.
        recipe: Name of a packaged recipe, path of a .yaml file, or a `Recipe`.
        share: Fraction of known images that may be rejected as unknown.
        overrides: Settings of the recipe, such as "train.epochs=3".
        settings: Folder of the runs, device, progress, …

    Raises:
        DataError: Fewer than three classes, or an invalid share.
        Interrupted: Ctrl-C; finished runs are kept.
    """
    unknown_threshold(np.zeros(1), share)  # before hours of work
    resolved = recipe if isinstance(recipe, Recipe) else load_recipe(str(recipe), overrides)
    name = "recipe" if isinstance(recipe, Recipe) else Path(recipe).stem
    experiment = Experiment(settings, data)
    classes = experiment.prepared.table.classes
    if len(classes) < 3:
        hint = "for two classes, use `tellapart cross-source`, which leaves out a source of the fakes"
        raise DataError(f"{experiment.prepared.table.name}: at least three classes are needed, found {len(classes)}", hint=hint)
    (resolved,) = experiment.prepare({name: resolved}).values()
    held = kfold_tables(experiment.prepared, _FOLDS, share=_VALID, seed=settings.seed)[0]
    with store.lock_run(settings.runs / "attribution", experiment.run_id(name, resolved, " attribution")) as folder:
        found = []
        for label, class_name in enumerate(classes):
            settings.progress.say(f"{label + 1}/{len(classes)} without {class_name}", "bold")
            found.append(_left_out(experiment, held, label, resolved, folder, share))
        outcome = OpenSetReport(f"{name} on {experiment.prepared.table.name}", share, tuple(found), folder.resolve())
        write_json(folder / "attribution.json", outcome.to_dict())
    return outcome


def _left_out(experiment: Experiment, held: Prepared, label: int, recipe: Recipe, folder: Path, share: float) -> OpenSet:
    """Train on all classes except one; predict the held-out images of these, and all images of the one."""
    known, strange = without_class(held, label)
    try:
        run = experiment.with_split(known, folder / "runs").train(f"without-{label}", recipe)
    except (Interrupted, KeyboardInterrupt):
        hint = "repeat the command to resume"
        raise Interrupted(f"stopped in without-{label}; the runs before it are kept", hint=hint) from None
    valid, judged = (run.predictions(part) for part in ("valid", HELD_OUT))
    if valid is None or judged is None:
        raise RunError(f"{run.folder} holds no predictions on its {HELD_OUT} split", hint="delete it and repeat the command")
    predictions = _predict_unknown(experiment, run, strange, folder / f"unknown-{label}.parquet")
    threshold = unknown_threshold(unknown_score(valid.proba), share)
    return score_open_set(held.table.classes[label], predictions.proba, judged, threshold)


def without_class(held: Prepared, label: int) -> tuple[Prepared, ImageTable]:
    """The rows of all classes except one, with renumbered labels; and the rows of the one, unlabeled."""
    table = held.table
    of_it = table.labels == label
    rows = np.flatnonzero(~of_it)
    classes = tuple(name for place, name in enumerate(table.classes) if place != label)
    kept = table.take(rows)
    labels = kept.labels - (kept.labels > label)
    kept = replace(kept, frame=kept.frame.assign(label=labels), classes=classes, positive=None)
    strange = table.take(of_it)
    strange = replace(strange, frame=strange.frame.assign(label=-1), classes=classes, positive=None)
    return Prepared(kept, summarize_duplicates(kept, held.twins.cluster[rows])), strange


def _predict_unknown(experiment: Experiment, run: Run, strange: ImageTable, path: Path) -> Predictions:
    """Predictions for the images of the excluded class, stored on disk."""
    if path.exists():
        found = Predictions.from_parquet(path)
        if found.run_id == run.id and len(found) == len(strange):
            return found
    context = experiment.context()
    found = load_classifier(run).predict(strange, context, run.id)
    write_parquet(path, found)
    return found
