"""Hyper-parameter sweep: try many settings of one recipe, score each on validation, and make the best a run.

Candidates of a family on feature vectors share descriptors, components and kernels, and each leaves a line in `trials.jsonl`;
candidates of other families are runs, too. The test split is not used.

    runs/sweeps/<recipe>-<digest>/
        trials.jsonl    one line per finished trial; the same command resumes from it
        table.csv       settings, explained variance, train, valid with its interval, gap, seconds; best first
        table.json      the same, with the search space and notes
        study.db        the state of optuna, if it is used
"""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tellapart import registry
from tellapart.classifiers.base import Context, groups_of
from tellapart.classifiers.feature_classifier import FeatureClassifier
from tellapart.errors import DataError, Interrupted, RecipeError, SystemLimitError, TellapartError
from tellapart.inference.context import DEFAULTS, Settings
from tellapart.io import file_name, write_json, write_text_atomically
from tellapart.metrics.intervals import wilson
from tellapart.metrics.probabilistic import log_loss
from tellapart.metrics.score_all import score_all
from tellapart.recipe.load import Recipe, load, recipe_name
from tellapart.runs import store
from tellapart.runs.store import Run
from tellapart.search.optuna import ParzenSearch, require
from tellapart.search.space import Candidate, Range, Space, candidate, candidates, grid_points, random_points, space
from tellapart.search.study import Study, Trial, TrialFile, ranked, tabulate
from tellapart.spreadsheet import frame_csv
from tellapart.types import ImageTable, Predictions, Score
from tellapart.workflows._experiment import Experiment

__all__ = ["Study", "sweep"]

_BATCH = 10  # optuna draws that share descriptors; the first ten are random in any case


def sweep(
    data: str | Path | ImageTable, recipe: str | Path, *, grid: Mapping[str, Sequence[Any]] | None = None,
    ranges: Mapping[str, Range | str] | None = None, random: int | None = None, optuna: int | None = None,
    overrides: Sequence[str] = (), settings: Settings = DEFAULTS,
) -> Study:  # fmt: skip
    """Try many settings of a recipe and make the best on validation a run; finished trials are reused.

    Args:
        data: A path for `scan`, or a table.
        recipe: Name of a packaged recipe, or path of a .yaml file.
        grid: Setting → values, such as {"features.pca": [50, 100]}; without draws, every combination is tried.
        ranges: Setting → "LOW..HIGH", optionally with ":log", ":int" or ":log,int"; for draws.
        random: Number of random draws.
        optuna: Number of draws by optuna's TPE sampler (extra `search`).
        overrides: Settings of all candidates, such as "train.epochs=3".
        settings: Folder of the runs, device, progress, …; the seed is also that of the draws.

    Raises:
        TellapartError: Any error that the user can fix. A candidate that fails is named in the notes; it raises only if all
            fail.
        Interrupted: Ctrl-C; finished trials are kept.
    """
    asked, source = space(grid or {}, ranges or {}, random, optuna), _Source(str(recipe), tuple(overrides))
    fixed = source.check(asked, settings.seed)
    experiment = Experiment(settings, data)
    with _folder(settings, source, f"{asked.identity()} {_identity(experiment.prepared.table)}") as folder:
        work = _Work(experiment, source, TrialFile(folder / "trials.jsonl"))
        if asked.strategy == "optuna":
            work.announce(asked.count)
            work.search(asked, folder / "study.db")
        else:
            work.announce(len(fixed))
            work.judge(fixed)
        if len(fixed) < asked.count and asked.strategy == "random":
            work.notes.append(f"{asked.count} draws were requested; only {len(fixed)} different ones were found")
        return work.finish(asked, folder.resolve())


class _Source:
    """The source of candidates: a recipe and the settings of all of them."""

    def __init__(self, recipe: str, overrides: tuple[str, ...]) -> None:
        self.recipe, self.overrides = recipe, overrides
        self.name = recipe_name(recipe)

    def check(self, asked: Space, seed: int) -> list[Candidate]:
        """The candidates known before the first result. Unknown settings raise here."""
        fixed = {o.partition("=")[0].strip() for o in self.overrides}
        if twice := sorted(fixed & set(asked.settings)):
            raise RecipeError(f"{twice[0]} is both set for all candidates and varied: drop one of the two")
        if asked.strategy != "optuna":
            cells = grid_points(asked) if asked.strategy == "grid" else random_points(asked, seed)
            return candidates(self.recipe, self.overrides, cells)
        require()
        for cell in asked.corners():
            candidate(self.recipe, self.overrides, cell)
        return []

    def base(self) -> Recipe:
        """The recipe with the settings of all candidates."""
        return load(self.recipe, self.overrides)


class _Work:
    """A sweep in progress."""

    def __init__(self, experiment: Experiment, source: _Source, trials: TrialFile) -> None:
        self.experiment, self.source, self.trials = experiment, source, trials
        self.progress = experiment.settings.progress
        self.notes: list[str] = []
        self.total = 0
        self.failures: dict[str, TellapartError] = {}
        self.train, self.valid = (experiment.prepared.table.where(split=part) for part in ("train", "valid"))
        if not len(self.valid):
            raise DataError("no validation images to score candidates on", hint="add a validation split to the data")

    def announce(self, total: int) -> None:
        """Print the number of candidates, and how many are done."""
        there = len(self.trials.found)
        self.total = max(total, there)
        found = f", {there:,} of them there already" if there else ""
        self.progress.say(f"{self.source.name}: {self.total:,} candidate{'s' if self.total > 1 else ''}{found}", "bold")

    def search(self, asked: Space, path: Path) -> None:
        """Score the draws of optuna, batch by batch."""
        shares = issubclass(_family(self.source.base()), FeatureClassifier)
        drawing = ParzenSearch(path, asked, self.experiment.settings.seed, _BATCH if shares else 1)
        for cells in drawing.rounds():
            drawn = [candidate(self.source.recipe, self.source.overrides, cell) for cell in cells]
            self.judge(list({c.key: c for c in drawn}.values()))
            found = self.trials.found
            drawing.tell([found[c.key].valid.value if c.key in found else None for c in drawn])

    def judge(self, asked: list[Candidate]) -> None:
        """Fit and score the candidates without a trial; one that fails is noted.

        Raises:
            Interrupted: Ctrl-C.
            TellapartError: Images cannot be decoded, or the machine failed.
        """
        waiting = [c for c in asked if c.key not in self.trials.found]
        for alike in _sharing(self._decoded(waiting)):
            try:
                if issubclass(_family(alike[0].recipe), FeatureClassifier):
                    self._fit_together(alike)
                else:
                    number = len(self.trials.found) + len(self.failures) + 1
                    self.progress.say(f"{number}/{self.total} {_in_words(alike[0].values)}", "bold")
                    self._keep(self._as_run(alike[0]))
            except KeyboardInterrupt:
                kept = f"stopped; {len(self.trials.found):,} finished trials are kept"
                raise Interrupted(kept, hint="repeat the command to resume") from None
            except TellapartError as error:
                # the next candidate would fail, too
                if isinstance(error, Interrupted | SystemLimitError):
                    raise
                self._fail([c for c in alike if c.key not in self.trials.found], error)

    def finish(self, asked: Space, folder: Path) -> Study:
        """Make the best candidate a run and write the table."""
        if not self.trials.found:
            raise next(iter(self.failures.values()))
        trials = ranked(self.trials.found.values())
        run = self._run_of(trials[0])
        notes = dict.fromkeys([*self.notes, *(note for trial in trials for note in trial.notes)])
        table = tabulate(trials, groups_of(self.valid))
        name, data = self.source.name, self.experiment.prepared.table.name
        study = Study(name, data, asked.settings, table, trials[0].values, run, folder, tuple(notes))
        write_text_atomically(folder / "table.csv", frame_csv(table), durable=True)
        said = {"strategy": asked.strategy, "space": json.loads(asked.identity()), "overrides": list(self.source.overrides)}
        write_json(folder / "table.json", study.to_dict() | {"requested": said}, durable=True)
        return study

    def _decoded(self, asked: list[Candidate]) -> list[Candidate]:
        """Candidates with inputs resolved against the data; the images are decoded once for each kind of inputs."""
        kinds = {_kind(c.recipe): c.recipe for c in asked}
        inputs = {kind: recipe.inputs for kind, recipe in (self.experiment.prepare(kinds) if kinds else {}).items()}
        table = self.experiment.prepared.table  # without the images that could not be decoded
        self.train, self.valid = (table.where(split=part) for part in ("train", "valid"))
        return [c.with_inputs(inputs[_kind(c.recipe)]) for c in asked]

    def _fit_together(self, alike: list[Candidate]) -> None:
        context = Context(self.experiment.cache, self.progress, self.experiment.device, parents=self.experiment.parent_run)
        start = time.perf_counter()
        found = _family(alike[0].recipe).fit_many([c.recipe for c in alike], self.train, self.valid, context)
        first = next(found)
        shared = time.perf_counter() - start - first.seconds
        with self.progress.task("candidates", len(alike), "fits") as task:
            for fitted in itertools.chain([first], found):
                one = alike[fitted.index]
                parts = {"train": (self.train, fitted.train), "valid": (self.valid, fitted.valid)}
                answers = {part: _predictions(table, proba) for part, (table, proba) in parts.items()}
                self._keep(_judged(one, answers, fitted.seconds, fitted.facts, tuple(fitted.notes)))
                task.advance(note=f"best {max(t.valid.value for t in self.trials.found.values()):.3f}")
        whole = time.perf_counter() - start
        self.notes += [*context.notes, f"{len(alike)} candidates took {whole:.1f} s, of which {shared:.1f} s once for all"]

    def _as_run(self, one: Candidate) -> Trial:
        run = self.experiment.train(self.source.name, one.recipe)
        answers = {part: run.predictions(part) for part in ("train", "valid")}
        known = {part: found for part, found in answers.items() if found is not None}
        return _judged(one, known, run.cost["fit_seconds"], {}, tuple(run.cost["notes"]), run.id)

    def _keep(self, trial: Trial) -> None:
        self.failures.pop(trial.key, None)
        self.trials.add(trial)

    def _fail(self, failed: list[Candidate], error: TellapartError) -> None:
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        self.notes.append(f"{_in_words(failed[0].values)}{more} could not be fitted: {error.message}")
        self.progress.say(f"  {self.notes[-1]}", "red")
        self.failures |= {c.key: error for c in failed}

    def _run_of(self, best: Trial) -> Run:
        """The best trial as a run: its own, or a new fit."""
        if best.run is not None:
            return store.open_run(best.run, self.experiment.settings.runs)
        (one,) = self._decoded([candidate(self.source.recipe, self.source.overrides, best.cell)])
        self.progress.say(f"fitting the best candidate: {_in_words(best.values)}", "bold")
        run = self.experiment.train(self.source.name, one.recipe)
        again = run.scores("valid")["accuracy"]
        if again.value != best.valid.value:
            self.notes.append(f"the best candidate reaches {again} when fitted alone, {best.valid} in the sweep")
        return run


@contextmanager
def _folder(settings: Settings, source: _Source, identity: str) -> Iterator[Path]:
    """The folder of the sweep, locked; emptied with `overwrite`."""
    digest = hashlib.blake2b(f"{source.base().digest()} {settings.seed} {identity}".encode(), digest_size=4).hexdigest()
    name = f"{file_name(source.name, 'sweep')}-{digest}"
    with store.lock_run(
        settings.runs / "sweeps", name, lambda: settings.progress.say(f"  waiting for another process to finish {name}")
    ) as folder:
        for old in ("trials.jsonl", "study.db") if settings.overwrite else ():
            (folder / old).unlink(missing_ok=True)
        yield folder


def _identity(table: ImageTable) -> str:
    """Digest of the data, their split, and the groups, which change the intervals."""
    columns = [table.frame[c] for c in ("id", "split", "group") if c in table.frame]
    parts = hashlib.blake2b("".join("\0".join(map(str, row)) + "\n" for row in zip(*columns, strict=True)).encode())
    return f"{table.fingerprint} {parts.hexdigest()[:16]}"


def _family(recipe: Recipe) -> Any:
    return registry.find("classifiers", recipe.classifier.family)


def _kind(recipe: Recipe) -> str:
    """Digest of the inputs; the metadata baseline reads no pixels."""
    return f"{recipe.inputs.model_dump_json()} {recipe.classifier.family == 'metadata'}"


def _sharing(asked: list[Candidate]) -> list[list[Candidate]]:
    """Candidates of a family on feature vectors with the same descriptors together; all others alone."""
    together: dict[str, list[Candidate]] = {}
    for one in asked:
        recipe, key = one.recipe, one.key
        if issubclass(_family(recipe), FeatureClassifier):
            features = recipe.features.model_dump(exclude={"pca"}) if recipe.features else None
            key = f"{recipe.classifier.family} {_kind(recipe)} {features} {recipe.seed}"
        together.setdefault(key, []).append(one)
    return list(together.values())


def _predictions(table: ImageTable, proba: Any) -> Predictions:
    """The `Predictions` that `Classifier.predict` would return. `proba`: (N, C) float."""
    scaled = (proba / proba.sum(axis=1, keepdims=True)).astype("float32")
    return Predictions(table.ids, scaled, table.labels, table.classes, groups=groups_of(table))


def _judged(
    one: Candidate, answers: Mapping[str, Predictions], seconds: float, facts: dict[str, float], notes: tuple[str, ...],
    run: str | None = None,
) -> Trial:  # fmt: skip
    valid, surprise = answers["valid"], log_loss(answers["valid"].labels, answers["valid"].proba)
    right = valid.predicted == valid.labels
    accuracies = _accuracy(answers["train"]), _accuracy(valid)
    return Trial(one.key, one.cell, one.values, *accuracies, surprise, right, seconds, facts, run, notes)


def _accuracy(found: Predictions) -> Score:
    """The scores of a trial: as in `score_all`, whose other scores would cost more than many fits."""
    if found.groups is not None:
        return score_all(found)["accuracy"]
    right, n = int((found.predicted == found.labels).sum()), len(found)
    return Score(right / n, n, *wilson(right, n))


def _in_words(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items())
