"""K-fold cross-validation of one recipe.

Training and validation images are partitioned into k folds, stratified, with groups and identical files together. For each
fold, a run is trained on the other folds, except for a tenth of their images that early stopping uses, and predicts the fold
that it has not seen. So each image is predicted by a model that was not trained on it (out-of-fold). The test split is not
used.

    runs/<id>/                    a run of the family `ensemble`, which predicts new images by the mean of the fold models
        predictions/oof.parquet   the out-of-fold predictions, averaged over repeats and seeds
        predictions/train.parquet, valid.parquet    the same predictions by split
        kfold.json                every fold's n and scores, mean, spread and intervals
        folds/<fold>/             one finished run per fold, as `train` makes it, with predictions/held.parquet
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tellapart.classifiers.base import groups_of
from tellapart.classifiers.ensemble import Ensemble
from tellapart.data.folds import HELD_OUT, kfold_tables
from tellapart.errors import Interrupted, RecipeError, RunError, SplitError
from tellapart.inference.context import DEFAULTS, Settings
from tellapart.io import now, write_json, write_parquet, write_text_atomically
from tellapart.metrics.cross_validation import over_repetitions, summarize_folds
from tellapart.metrics.score_all import score_all
from tellapart.plain_data import read_json
from tellapart.recipe.load import Recipe, parse, resolve_recipe
from tellapart.runs import store
from tellapart.runs.model_card import write_card
from tellapart.runs.store import Run
from tellapart.types import ImageTable, Predictions
from tellapart.workflows._experiment import Experiment

KFOLD = "kfold.json"
_INNER = 0.1  # fraction of the images outside a fold that is used for early stopping instead of training
_SIGNED = ("matthews", "kappa")  # scores that reach down to −1
_UNBOUNDED = ("log-loss", "brier")  # and those that may lie above 1


def kfold(
    data: str | Path | ImageTable, recipe: str | Path | Recipe, *, folds: int = 5, repeats: int = 1, seeds: int = 1,
    overrides: Sequence[str] = (), settings: Settings = DEFAULTS,
) -> Run:  # fmt: skip
    """Train a recipe once per fold and store the result as one run; the test split is not used.

    Args:
        data: A path for `scan`, or a table.
        recipe: Name of a packaged recipe, path of a .yaml file, or a `Recipe`.
        folds: k, at least two.
        repeats: Number of repetitions, each with a different partition.
        seeds: Number of recipe seeds that each fold is trained with: the recipe's own and the following ones.
        overrides: Settings of the recipe, such as "train.epochs=3".
        settings: Folder of the runs, device, progress, …; the seed of the split and of the partitions.

    Raises:
        RecipeError: The recipe names finished runs, which may have been trained on held-out images.
        SplitError: Fewer than two folds, or a class too small for them.
        Interrupted: Ctrl-C; finished folds are kept, and the same call resumes.
    """
    plan = _Plan(folds, repeats, seeds)
    name, resolved = resolve_recipe(recipe, overrides)
    if resolved.classifier.family == "ensemble" and resolved.classifier.options.get("members"):
        hint = "run k-fold for the recipe of each member, then `tellapart combine` the resulting runs"
        raise RecipeError(f"{name} is an ensemble of finished runs: there is nothing to train in a fold", hint=hint)
    experiment = Experiment(settings, data)
    (resolved,) = experiment.prepare({name: resolved}).values()
    return _Work(experiment, resolved, plan).run(plan.title(name))


def kfold_results(run: Run) -> dict[str, Any]:
    """The results of `kfold`: `each` fold, `over_folds`, `pooled`, `over_repeats`, `over_seeds`, `undefined`.

    Raises:
        RunError: It was not made by `kfold`.
    """
    if not (run.folder / KFOLD).exists():
        raise RunError(f"{run.id} was not made by k-fold", hint="`tellapart kfold DATA -r RECIPE` makes one")
    return read_json(run.folder / KFOLD)


def trained_on_valid(run: Run) -> bool:
    """Whether models of a run were trained on validation images: k-fold runs, and runs made of such runs.

    Their stored validation predictions are out of fold all the same; predicting these images again would be optimistic.
    """
    if (run.folder / KFOLD).exists():
        return True
    parents = (run.runs / str(name) for name in run.data.get("parents", ()))
    return any(trained_on_valid(Run(folder)) for folder in parents if (folder / store.DONE).exists())


@dataclass(frozen=True)
class _Plan:
    """The size of a cross-validation."""

    folds: int
    repeats: int
    seeds: int

    def __post_init__(self) -> None:
        if self.folds < 2:  # before anything is decoded
            raise SplitError(f"--folds {self.folds}: at least 2 folds are needed", hint="5 or 10 are common")
        if self.repeats < 1 or self.seeds < 1:
            raise SplitError(f"{self.repeats} repeats and {self.seeds} seeds: at least 1 of each is needed")

    @property
    def models(self) -> int:
        return self.folds * self.repeats * self.seeds

    @property
    def passes(self) -> int:
        """Number of models that predict each image."""
        return self.repeats * self.seeds

    def steps(self) -> Iterator[tuple[int, int, int, str]]:
        """(repeat, seed, fold, name), from 0; the name has only the parts that differ."""
        for repeat in range(self.repeats):
            for seed in range(self.seeds):
                for fold in range(self.folds):
                    more = f"-repeat-{repeat + 1}" * (self.repeats > 1) + f"-seed-{seed + 1}" * (self.seeds > 1)
                    yield repeat, seed, fold, f"fold-{fold + 1}{more}"

    def title(self, recipe: str) -> str:
        """The name of the run in a leaderboard; the recipe comes last, so that its name alone still means the plain run."""
        more = f"-{self.repeats}-repeats" * (self.repeats > 1) + f"-{self.seeds}-seeds" * (self.seeds > 1)
        return f"{self.folds}-fold{more}-{recipe}"


class _Work:
    """A cross-validation in progress."""

    def __init__(self, experiment: Experiment, recipe: Recipe, plan: _Plan) -> None:
        self.experiment, self.recipe, self.plan = experiment, recipe, plan
        self.settings, self.say = experiment.settings, experiment.settings.progress.say
        seeds = range(self.settings.seed, self.settings.seed + plan.repeats)
        self.dealt = [kfold_tables(experiment.prepared, plan.folds, share=_INNER, seed=seed) for seed in seeds]
        self.rows = self.dealt[0][0].table

    def run(self, title: str) -> Run:
        """The run: reused if it is finished, else resumed or made."""
        plan = self.plan
        more = f" kfold {plan.folds} {plan.repeats} {plan.seeds} {self.settings.seed}"
        run_id = self.experiment.run_id(title, self.recipe, more)

        def waiting() -> None:
            self.say(f"  waiting for another process to finish {run_id}")

        with store.lock_run(self.settings.runs, run_id, waiting) as folder, self.experiment.feed:
            if (folder / store.DONE).exists():
                self.say(f"  reusing finished run {run_id}")
                return self.experiment.feed.replay(Run(folder.resolve()))
            started = now()
            return self._write(title, folder, self._train(folder), started)

    def _train(self, folder: Path) -> list[Run]:
        """A finished run for every step."""
        made = []
        for number, (repeat, seed, fold, name) in enumerate(self.plan.steps(), 1):
            spoken = name.replace("-", " ")
            self.say(f"{number}/{self.plan.models} {spoken}", "bold")
            experiment = self.experiment.with_split(self.dealt[repeat][fold], folder / "folds")
            recipe = self.recipe.model_copy(update={"seed": self.recipe.seed + seed})
            try:
                made.append(experiment.train(name, recipe))
            except (Interrupted, KeyboardInterrupt):
                hint = "repeat the command to resume"
                done = f"{number - 1} of {self.plan.models} models are finished and kept"
                raise Interrupted(f"stopped in {spoken}; {done}", hint=hint) from None
            self.say(f"  accuracy on the fold {made[-1].scores(HELD_OUT)['accuracy']}")
        return made

    def _write(self, title: str, folder: Path, made: list[Run], started: str) -> Run:
        """Make one run of all fold runs; the marker comes last."""
        answers = self._answers(folder.name, made)
        classifier = self._ensemble(folder, made)
        classifier.save(folder)
        self.experiment.write_metadata(title, folder, started)
        if starts := sorted({name for run in made for name in run.data.get("started_from", ())}):
            write_json(folder / "data.json", {**read_json(folder / "data.json"), "started_from": starts})
        (folder / "predictions").mkdir(exist_ok=True)
        for part, found in answers.items():
            write_parquet(folder / "predictions" / f"{part}.parquet", found)
        filled = {part: found for part, found in answers.items() if len(found)}
        scores = {part: store.scores_to_dict(score_all(found, self.rows.positive)) for part, found in filled.items()}
        write_json(folder / KFOLD, {**self._summary(made), "pooled": scores["oof"]})
        write_json(folder / "scores.json", {**scores, "cost": self._cost(classifier, made)})
        write_text_atomically(folder / "card.md", write_card(Run(folder)), durable=False)
        return self.experiment.feed.replay(store.mark_done(folder))

    def _answers(self, run_id: str, made: list[Run]) -> dict[str, Predictions]:
        """The out-of-fold predictions: all (`oof`), and by split as other runs store theirs."""
        rows, place = self.rows, pd.Index(self.rows.ids)
        total, times = np.zeros((len(rows), len(rows.classes))), np.zeros(len(rows), dtype=np.int64)
        for run in made:
            held = run.predictions(HELD_OUT)
            if held is None:
                raise RunError(f"{run.folder} holds no predictions for its fold", hint="delete it and repeat the command")
            at = place.get_indexer(pd.Index(held.ids))
            total[at] += held.proba
            times[at] += 1
        proba = (total / times[:, None]).astype(np.float32)
        whole = Predictions(rows.ids, proba, rows.labels, rows.classes, run_id, groups_of(rows))
        parts = {part: place.get_indexer(pd.Index(self.experiment.scored_rows(part).ids)) for part in ("train", "valid")}
        return {"oof": whole, **{part: _taken(whole, at) for part, at in parts.items()}}

    def _ensemble(self, folder: Path, made: list[Run]) -> Ensemble:
        """The mean of the fold models, named by their path below the folder of runs."""
        members = [f"{folder.name}/folds/{run.id}" for run in made]
        inputs, options = self.recipe.inputs.model_dump(mode="json"), {"how": {"mean": {}}, "members": members}
        recipe = {"inputs": inputs, "seed": self.recipe.seed, "classifier": {"family": "ensemble", **options}}
        found, classes = Ensemble(parse(recipe, folder.name)), self.rows.classes
        nothing = np.empty((len(members), 0, len(classes)), dtype=np.float32)  # a mean has nothing to fit
        found.fit_combiner(nothing, np.empty(0, dtype=np.int64), classes, self.experiment.context())
        return found

    def _cost(self, classifier: Ensemble, made: list[Run]) -> dict[str, Any]:
        plan, speeds = self.plan, [run.cost["images_per_second"] for run in made]
        who = f"by {plan.passes} models that were" if plan.passes > 1 else "by the one model that was"
        who += " not trained on it" + (" (their mean)" if plan.passes > 1 else "")
        notes = [
            f"the training and validation scores are out of fold: each of {len(self.rows):,} images is predicted {who}; "
            f"other images are predicted by the mean of all {plan.models} models",
            *dict.fromkeys(note for run in made for note in run.cost["notes"]),
        ]
        return {
            "fit_seconds": sum(run.cost["fit_seconds"] for run in made),
            "images_per_second": 1 / sum(1 / s for s in speeds) if all(speeds) else None,
            "parameters": classifier.parameters, "pretrained": classifier.pretrained,
            "bytes": sum(run.cost["bytes"] for run in made), "notes": notes,
        }  # fmt: skip

    def _summary(self, made: list[Run]) -> dict[str, Any]:
        """Scores of every fold, with their spread."""
        plan, each = self.plan, []
        for run, (repeat, seed, fold, _) in zip(made, plan.steps(), strict=True):
            table = self.dealt[repeat][fold].table
            one = {"run": f"folds/{run.id}", "fold": fold + 1, "repeat": repeat + 1, "seed": self.recipe.seed + seed}
            one |= {
                "n": len(table.where(split=HELD_OUT)),
                "n_train": len(table.where(split="train")),
                "fit_seconds": run.cost["fit_seconds"],
            }
            each.append({**one, "scores": store.scores_to_dict(run.scores(HELD_OUT))})
        counts = {"folds": plan.folds, "repeats": plan.repeats, "seeds": plan.seeds, "deal_seed": self.settings.seed}
        return {**counts, "n": len(self.rows), "each": each, **_spreads(each, plan)}


def _spreads(each: list[dict[str, Any]], plan: _Plan) -> dict[str, Any]:
    """Summaries over folds, repeats and seeds, of every metric that all folds have."""
    share = sum(one["n"] for one in each) / sum(one["n_train"] for one in each)
    often = Counter(metric for one in each for metric in one["scores"])
    found: dict[str, Any] = {"over_folds": {}, "over_repeats": {}, "over_seeds": {}}
    for metric in (metric for metric, times in often.items() if times == len(each)):
        values = np.array([one["scores"][metric]["value"] for one in each], dtype=np.float64)
        values = values.reshape(plan.repeats, plan.seeds, plan.folds)
        least, most = (-1.0 if metric in _SIGNED else 0.0), (math.inf if metric in _UNBOUNDED else 1.0)
        found["over_folds"][metric] = summarize_folds(values.mean(axis=1).ravel(), share, least, most).to_dict()
        by_repeat = over_repetitions(values.mean(axis=1).T)
        found["over_repeats"][metric] = {name: by_repeat[name] for name in ("means", "sd")}  # other folds per repetition
        found["over_seeds"][metric] = over_repetitions(values.transpose(0, 2, 1).reshape(-1, plan.seeds))
    lacking = {metric: f"defined in {times} of {len(each)} folds" for metric, times in often.items() if times < len(each)}
    return {**found, "undefined": lacking}


def _taken(answers: Predictions, at: np.ndarray) -> Predictions:
    """Rows by position. `at`: (M,) int64."""
    groups = None if answers.groups is None else answers.groups[at]
    return Predictions(answers.ids[at], answers.proba[at], answers.labels[at], answers.classes, answers.run_id, groups)
