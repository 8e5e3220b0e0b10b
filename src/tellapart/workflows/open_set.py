"""The verb `attribute`: which of these made it, or none of them? Each class is left out in turn and asked about.

    runs/attribution/<recipe>-<digest>/
        runs/<run>/          without-<class>: a finished run each
        unknown-<k>.parquet  its answers on images of the class that it does not know
        attribution.json     `Attribution.to_dict()`

The rows are those of train and valid: a fifth of them is held out, of all classes alike, and of the rest a tenth chooses and
sets the threshold. A class that is left out is asked about in full. The test part stays closed.
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
from tellapart.io import atomic_path, write_json
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
    """What came out.

    Attributes:
        title: Such as "quick on deepfake5.tar".
        share: Of known images that may be called "none of these".
        left_out: One a class.
        folder: Where the runs lie.
    """

    title: str
    share: float
    left_out: tuple[OpenSet, ...]
    folder: Path

    @property
    def mean_auroc(self) -> float:
        """Over the classes."""
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
    """Leave out each class in turn: are its images recognized as none of the others?

    Args:
        data: A path that `scan` understands, or a table; three classes or more.
        recipe: A packaged name, a path to a .yaml file, or a `Recipe`.
        share: Of images of known classes that may be called "none of these".
        overrides: Such as "train.epochs=3".
        settings: Where and how.

    Raises:
        DataError: Fewer than three classes; a share that is none.
        Interrupted: Ctrl-C; finished runs are kept.
    """
    unknown_threshold(np.zeros(1), share)  # before hours of work
    resolved = recipe if isinstance(recipe, Recipe) else load_recipe(str(recipe), overrides)
    name = "recipe" if isinstance(recipe, Recipe) else Path(recipe).stem
    experiment = Experiment(settings, data)
    classes = experiment.prepared.table.classes
    if len(classes) < 3:
        hint = "with two classes, `tellapart sources` leaves out where the fakes come from"
        raise DataError(f"{experiment.prepared.table.name}: {len(classes)} classes; leaving one out must leave two", hint=hint)
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
    """Learn from all classes but one; ask about what was held out of them, and about all images of the one."""
    known, strange = without_class(held, label)
    try:
        run = experiment.with_split(known, folder / "runs").train(f"without-{label}", recipe)
    except (Interrupted, KeyboardInterrupt):
        hint = "repeat the command to resume"
        raise Interrupted(f"stopped in without-{label}; the runs before it are kept", hint=hint) from None
    valid, judged = (run.predictions(part) for part in ("valid", HELD_OUT))
    if valid is None or judged is None:
        raise RunError(f"{run.folder} holds no answers on its {HELD_OUT} part", hint="delete it, and give the command again")
    answers = _asked(experiment, run, strange, folder / f"unknown-{label}.parquet")
    threshold = unknown_threshold(unknown_score(valid.proba), share)
    return score_open_set(held.table.classes[label], answers.proba, judged, threshold)


def without_class(held: Prepared, label: int) -> tuple[Prepared, ImageTable]:
    """The rows of all classes but one, with labels and classes counted anew; and the rows of the one, unlabeled."""
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


def _asked(experiment: Experiment, run: Run, strange: ImageTable, path: Path) -> Predictions:
    """The run's answers on images of a class that it does not know; asked once."""
    if path.exists():
        found = Predictions.from_parquet(path)
        if found.run_id == run.id and len(found) == len(strange):
            return found
    context = experiment.context()
    found = load_classifier(run).predict(strange, context, run.id)
    with atomic_path(path, durable=False) as temporary:
        found.to_parquet(temporary)
    return found
