"""Cross-source evaluation: train without each source, and on each source alone, to measure generalization to new sources.

The runs are nested in one folder, so that leaderboards do not list them. Finished runs are reused, and the test split is not
used.

    runs/sources/<recipe>-<digest>/
        runs/<run>/          one finished run each: without-<source>, only-<source>, all; predictions on
        predictions/held.parquet sources.json         `CrossSourceMatrix.to_dict()`
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tellapart.data.folds import HELD_OUT
from tellapart.data.source_splits import SourceTable, by_class, by_source
from tellapart.errors import DataError, Interrupted, RecipeError, RunError, SplitError
from tellapart.inference.context import DEFAULTS, Settings
from tellapart.io import write_json
from tellapart.metrics.cross_source import Cell, CrossSourceMatrix, LeaveOneOutResult, compare_shared, score_cell, subset
from tellapart.metrics.score_all import score_all
from tellapart.recipe.load import Recipe, resolve_recipe
from tellapart.runs import store
from tellapart.runs.store import Run
from tellapart.types import ImageTable, Predictions
from tellapart.workflows._experiment import Experiment

_ONWARD = "repeat the command to resume"


def cross_source(
    data: str | Path | ImageTable, recipe: str | Path | Recipe, *, by: str = "source", real: str | None = None,
    matrix: bool = True, overrides: Sequence[str] = (), settings: Settings = DEFAULTS,
) -> CrossSourceMatrix:  # fmt: skip
    """Train without each source in turn and predict it; then train on each source alone and predict all of them.

    Args:
        data: A path for `scan`, or a table.
        recipe: Name of a packaged recipe, path of a .yaml file, or a `Recipe`.
        by: "source": the column of that name; "class": every class except the real one is a source of fakes.
        real: With "class": name of the real class; None: detected by its name.
        matrix: Also train on each source alone.
        overrides: Settings of the recipe, such as "train.epochs=3".
        settings: Folder of the runs, device, progress, …

    Raises:
        DataError: Fewer than two sources, or no source can be left out.
        Interrupted: Ctrl-C; finished runs are kept.
    """
    if by not in ("source", "class"):
        raise DataError(f"--by {by}: expected source or class")
    if real is not None and by != "class":
        raise DataError("--real names a class", hint="add --by class, or drop --real")
    name, resolved = _resolved(recipe, overrides)
    experiment = Experiment(settings, data)
    (resolved,) = experiment.prepare({name: resolved}).values()
    sourced = by_source(experiment.prepared) if by == "source" else by_class(experiment.prepared, real)
    title = f"{name} on {experiment.prepared.table.name}"
    with store.lock_run(settings.runs / "sources", experiment.run_id(name, resolved, f" sources {by} {real}")) as folder:
        found = _Crossing(experiment, resolved, sourced, folder).run(title, by, matrix)
        write_json(folder / "sources.json", found.to_dict())
        return found


class _Crossing:
    """A cross-source evaluation in progress."""

    def __init__(self, experiment: Experiment, recipe: Recipe, sourced: SourceTable, folder: Path) -> None:
        self.experiment, self.recipe, self.sourced, self.folder = experiment, recipe, sourced, folder
        self.notes: list[str] = []
        self.made: dict[tuple[str, ...], Predictions] = {}
        self.total = 0

    def run(self, title: str, by: str, matrix: bool) -> CrossSourceMatrix:
        """Train and score every combination that can be trained."""
        names = self.sourced.sources
        without = [tuple(n for n in names if n != one) for one in names]
        alone = [(one,) for one in names] if matrix else []
        self.total = len(dict.fromkeys([names, *without, *alone]))
        if self._train(names) is None:
            raise DataError(f"{title}: {self.notes[0]}")
        left_out = [self._left_out(one, trained_on) for one, trained_on in zip(names, without, strict=True)]
        cells = [self._cell(trained_on, evaluated_on) for trained_on in alone for evaluated_on in names]
        found = tuple(one for one in left_out if one is not None)
        if not found:
            raise DataError(f"{title}: no source can be left out", hint="; ".join(dict.fromkeys(self.notes)))
        table, one_sided = self.sourced.table, tuple(n for n in names if n in self.sourced.one_sided)
        matrix_cells = tuple(cell for cell in cells if cell is not None)
        notes = tuple(dict.fromkeys(self.notes))
        return CrossSourceMatrix(title, by, names, table.classes, one_sided, found, matrix_cells, notes, self.folder.resolve())

    def _left_out(self, source: str, trained_on: tuple[str, ...]) -> LeaveOneOutResult | None:
        unseen, seen = self._cell(trained_on, source), self._cell(self.sourced.sources, source)
        if unseen is None or seen is None:
            return None
        with_it, without = (self._part(of, source) for of in (self.sourced.sources, trained_on))
        predictions = self.made[trained_on]
        common = self.sourced.rows_of(predictions.ids, None)
        score = score_all(subset(predictions, common), self.sourced.table.positive)["accuracy"] if common.any() else None
        return LeaveOneOutResult(source, unseen, seen, compare_shared(without, with_it), score)

    def _part(self, trained_on: tuple[str, ...], source: str) -> Predictions:
        predictions = self.made[trained_on]
        return subset(predictions, self.sourced.rows_of(predictions.ids, source))

    def _cell(self, trained_on: tuple[str, ...], evaluated_on: str) -> Cell | None:
        predictions = self._train(trained_on)
        if predictions is None:
            return None
        mine, common = (self.sourced.rows_of(predictions.ids, source) for source in (evaluated_on, None))
        found = score_cell(trained_on, evaluated_on, predictions, mine, common, self.sourced.table.positive)
        if found is None:
            self.notes.append(f"{evaluated_on}: no image is left to predict after training on {', '.join(trained_on)}")
        return found

    def _train(self, trained_on: tuple[str, ...]) -> Predictions | None:
        """Predictions for all held-out images by the run trained on some sources; None if it cannot be trained."""
        if trained_on in self.made:
            return self.made[trained_on]
        names = self.sourced.sources
        left = [name for name in names if name not in trained_on]
        title = "all" if not left else f"only-{trained_on[0]}" if len(trained_on) == 1 else f"without-{left[0]}"
        try:
            prepared = self.sourced.trained_on(trained_on, self.experiment.settings.seed)
        except SplitError as error:
            if f"{title}: {error.message}" not in self.notes:
                self.notes.append(f"{title}: {error.message}")
            return None
        left_over = len(self.sourced.table) - len(prepared.table)
        if left_over:
            self.notes.append(f"{title}: excluded {left_over:,} images that share a group or file with the training images")
        self.experiment.settings.progress.say(f"{len(self.made) + 1}/{self.total} {title}", "bold")
        run = _train(self.experiment.with_split(prepared, self.folder / "runs"), title, self.recipe)
        self.made[trained_on] = _predictions(run, HELD_OUT)
        return self.made[trained_on]


def _train(experiment: Experiment, name: str, recipe: Recipe) -> Run:
    try:
        return experiment.train(name, recipe)
    except (Interrupted, KeyboardInterrupt):
        raise Interrupted(f"stopped in {name}; the runs before it are kept", hint=_ONWARD) from None


def _predictions(run: Run, part: str) -> Predictions:
    found = run.predictions(part)
    if found is None:
        raise RunError(f"{run.folder} holds no predictions on its {part} split", hint="delete it and repeat the command")
    return found


def _resolved(recipe: str | Path | Recipe, overrides: Sequence[str]) -> tuple[str, Recipe]:
    """Name and recipe; an ensemble of finished runs is refused, because there is nothing to train."""
    name, found = resolve_recipe(recipe, overrides)
    if found.classifier.family == "ensemble" and found.classifier.options.get("members"):
        raise RecipeError(
            f"{name} is an ensemble of finished runs: there is nothing to train", hint="pass a recipe of its members"
        )
    return name, found
