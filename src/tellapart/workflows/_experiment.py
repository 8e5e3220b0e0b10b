"""One data set, prepared once, on which recipes are trained; the base of `train`, `compare`, `kfold` and others.

The id of a run is derived from its recipe and the data, so a finished run is reused, and an interrupted one resumes.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import secrets
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tellapart import registry
from tellapart.classifiers.base import Classifier, Context
from tellapart.data.cache import PixelCache, resolve_inputs
from tellapart.data.class_names import guess_positive
from tellapart.data.folds import HELD_OUT
from tellapart.data.left_out import left_out
from tellapart.data.prepare import Prepared, prepare
from tellapart.data.regions import in_words, region_table
from tellapart.data.scan import scan
from tellapart.errors import Interrupted, RecipeError, RunError
from tellapart.inference.context import Settings, drop_unreadable, load_classifier, predict_timed, resolve_device
from tellapart.io import file_name, mark_complete, now, write_bytes_atomically, write_json, write_parquet, write_text_atomically
from tellapart.metrics.score_all import score_all
from tellapart.plain_data import read_json
from tellapart.recipe.load import Recipe
from tellapart.regular_files import read_bytes
from tellapart.runs import ledger, store
from tellapart.runs.environment import describe_data, describe_environment
from tellapart.runs.epoch_log import EpochLog
from tellapart.runs.loggers.feed import LoggerFeed
from tellapart.runs.model_card import write_card
from tellapart.runs.store import Run
from tellapart.types import ImageTable, Predictions

_TRAIN_SCORED = 4_000  # limit of the training images that are scored: enough to show overfitting, cheap for every family


class Experiment:
    """One data set, prepared once, on which recipes are trained."""

    def __init__(self, settings: Settings, data: str | Path | ImageTable) -> None:
        self.settings = settings
        self.feed = LoggerFeed(settings.loggers, settings.runs, settings.progress)
        table = data if isinstance(data, ImageTable) else scan(data)
        split_from = store.open_run(settings.split_from, settings.runs).folder if settings.split_from else None
        self.prepared: Prepared = prepare(
            table, seed=settings.seed, skip_bad=settings.skip_bad, split_from=split_from, progress=settings.progress,
            verify_files=settings.verify_files,
        )  # fmt: skip
        self.cache = PixelCache(progress=settings.progress)
        self.device = resolve_device(settings.device)
        self.home, self.keeps_stopped = settings.runs, True
        self.started_from: set[str] = set()  # of the run that is made now

    def with_split(self, prepared: Prepared, runs: Path) -> Experiment:
        """An experiment on the same decoded images with another split, for the runs inside another run, such as its folds.

        Args:
            prepared: Some rows of this experiment, each in train, valid or `HELD_OUT`.
            runs: Folder of the new runs. Runs that a recipe starts from stay in the old folder, and must not have been
                trained on images that are held out. A run that is stopped by hand keeps only what is needed to resume it.
        """
        other = copy.copy(self)
        other.prepared, other.settings, other.keeps_stopped = (
            prepared,
            replace(self.settings, runs=runs, overwrite=False),
            False,
        )
        other.split_fingerprint = _fingerprint(prepared.table)
        return other

    def prepare(self, named: dict[str, Recipe]) -> dict[str, Recipe]:
        """Resolve the inputs of every recipe against the data and decode the images for each, excluding corrupt ones."""
        for name, recipe in named.items():
            _check(name, recipe)
        train = self.prepared.table.where(split="train")  # the size, too, is chosen without the test split
        named = {n: r.model_copy(update={"inputs": resolve_inputs(r.inputs, train)}) for n, r in named.items()}
        table = drop_unreadable(self.prepared.table, named.values(), self.cache, skip_bad=self.settings.skip_bad)
        self.prepared = replace(self.prepared, table=table)
        for line in left_out(table).lines():  # before hours of training, whatever the command prints at its end
            self.settings.progress.say(f"  {line}", "yellow" if line.startswith("warning") else "")
        self.split_fingerprint = _fingerprint(table)
        return named

    def train(self, name: str, recipe: Recipe) -> Run:
        """One run: reused if it is finished, else resumed or trained."""
        store.mark_runs(self.home)
        run_id = self.run_id(name, recipe)
        say = self.settings.progress.say
        waiting = functools.partial(say, f"  waiting for another process to finish {run_id}")
        with store.lock_run(self.settings.runs, run_id, waiting) as folder, self.feed:
            if (folder / store.DONE).exists():
                say(f"  reusing finished run {run_id}")
                return self.feed.replay(Run(folder.resolve()))
            return self._make(name, recipe, folder)

    def run_id(self, name: str, recipe: Recipe, more: str = "") -> str:
        """The id of a run, the same for the same work. `more`: what it depends on besides recipe, data and split."""
        table = self.prepared.table
        asked = "" if table.positive == guess_positive(table.classes) else f" {table.positive}"
        lost = left_out(table).lost  # a run says what was left out, so another loss is another run
        asked += f" {[(kind, sorted(counts.items())) for kind, counts in lost.items()]}" if lost else ""
        key = _digest(f"{recipe.digest()} {table.fingerprint} {self.split_fingerprint}{asked}{more}", 4)
        return f"{file_name(name, 'run')}-{key}" + (f"-{secrets.token_hex(2)}" if self.settings.overwrite else "")

    def _make(self, name: str, recipe: Recipe, folder: Path) -> Run:
        started, self.started_from = now(), set()
        log = EpochLog(folder / "log.jsonl")
        if (folder / "resume" / "state.safetensors").exists():
            self.settings.progress.say(f"  resuming {folder.name} after epoch {log.last_epoch}")
        context = Context(
            self.cache, self.settings.progress, self.device, folder / "resume", self.feed.watch(folder.name, recipe, log),
            parents=self.parent_run, checkpoints=folder / "checkpoints",
        )  # fmt: skip
        classifier: Classifier = registry.find("classifiers", recipe.classifier.family)(recipe)
        table, earlier, start = self.prepared.table, log.seconds, time.perf_counter()
        self.write_metadata(name, folder, started)
        context.notes += self._regions(recipe, folder)
        write_text_atomically(folder / "recipe.yaml", recipe.dump(), durable=False)
        try:
            classifier.fit(table.where(split="train"), table.where(split="valid"), context)
        except KeyboardInterrupt:
            raise Interrupted(f"{folder.name} was stopped before the first epoch ended") from None
        cost = {"fit_seconds": earlier + time.perf_counter() - start, "parameters": classifier.parameters}
        cost |= {"pretrained": classifier.pretrained, **context.facts, "notes": context.notes}
        if not context.stopped_by_hand:
            return self.feed.finish(self._complete(folder, classifier, cost))
        if not self.keeps_stopped:
            raise Interrupted(f"{folder.name} was stopped by hand after epoch {log.last_epoch}")
        with store.lock_run(self.settings.runs, f"{folder.name}-stopped-{log.last_epoch}") as beside:
            if not (beside / store.DONE).exists():  # stopped at this epoch before: the same weights
                self.write_metadata(name, beside, started)
                write_bytes_atomically(beside / "log.jsonl", read_bytes(folder / "log.jsonl"), durable=False)
                self._complete(beside, classifier, cost)
        raise Interrupted(
            f"stopped by hand after epoch {log.last_epoch}; the best weights so far are kept as the run {beside.name}",
            hint="repeat the command to resume",
        )

    def write_metadata(self, name: str, folder: Path, started: str) -> None:
        """Write everything about a run that is known before training."""
        write_json(folder / "data.json", describe_data(self.prepared, name, self.split_fingerprint))
        opened = ledger.times_opened(self.settings.runs, self.prepared.table.fingerprint)
        begun = {"started": started, "opened_before": opened, "split_seed": self.settings.seed}
        write_json(folder / "environment.json", describe_environment(self.device) | begun)
        write_parquet(folder / "split.parquet", self.prepared.table.frame)

    def _regions(self, recipe: Recipe, folder: Path) -> list[str]:
        """Write the region of each image, if the recipe reads one; returns a sentence with the number of regions found."""
        table = self.prepared.table
        found = self.cache.found(table, recipe.inputs) if recipe.classifier.family != "metadata" else None
        if found is None:
            return []
        write_parquet(folder / "regions.parquet", region_table(table, found))
        said = in_words(table, recipe.inputs, found)
        self.settings.progress.say(f"  {said}")
        return [said]

    def _complete(self, folder: Path, classifier: Classifier, cost: dict[str, Any]) -> Run:
        """Save the classifier, score the training and validation split, write the marker."""
        classifier.save(folder)
        if self.started_from:
            write_json(folder / "data.json", {**read_json(folder / "data.json"), "started_from": sorted(self.started_from)})
        (folder / "predictions").mkdir(exist_ok=True)
        positive, scores = self.prepared.table.positive, {}
        for part in ("train", "valid", HELD_OUT):
            rows = self.scored_rows(part)
            if part == HELD_OUT and not len(rows):
                continue
            predictions, cost["images_per_second"] = predict_timed(classifier, rows, folder.name, self.context())
            write_parquet(folder / "predictions" / f"{part}.parquet", predictions)
            scores[part] = store.scores_to_dict(score_all(predictions, positive)) if len(rows) else {}
        cost["bytes"] = sum(p.stat().st_size for p in folder.glob("*.s*") if p.suffix in (".safetensors", ".skops"))
        write_json(folder / "scores.json", {**scores, "cost": cost})
        write_text_atomically(folder / "card.md", write_card(Run(folder)), durable=False)
        run = store.mark_done(folder)
        self.settings.progress.say(f"  valid accuracy {run.scores('valid')['accuracy']}, fitted in {cost['fit_seconds']:.1f} s")
        return run

    def scored_rows(self, part: str) -> ImageTable:
        """The images of a split that runs are scored on: all, but at most 4,000 training images, always the same ones."""
        rows = self.prepared.table.where(split=part)
        if part != "train" or len(rows) <= _TRAIN_SCORED:
            return rows
        return rows.take(np.sort(np.random.default_rng(0).choice(len(rows), _TRAIN_SCORED, replace=False)))

    def parent_run(self, run: str) -> Path:
        """The folder of a finished run that a recipe starts from.

        Raises:
            RunError: No such run, or it was trained on images that are held out here.
        """
        found = store.open_run(run, self.home)
        self.started_from.add(found.id if found.runs == self.home.resolve() else str(found.folder))
        if len(held := self.prepared.table.where(split=HELD_OUT)):
            _refuse_learnt(found, held)
        return found.folder

    def open_test(self, runs: Sequence[Run], by: str) -> None:
        """Evaluate every run on the test split that has not been evaluated on it, and record each evaluation."""
        open_test(runs, self.prepared.table, self.context(), by)

    def context(self) -> Context:
        """The context in which these runs predict."""
        return Context(self.cache, self.settings.progress, self.device, parents=self.parent_run)


def open_test(runs: Sequence[Run], table: ImageTable, context: Context, by: str) -> None:
    """Evaluate every run on the test split of `table` that has not been evaluated on it, and record each evaluation.

    Args:
        runs: Finished runs on this table's split.
        table: All images, with their split.
        context: Context in which the runs predict.
        by: Name of the command, for the ledger.
    """
    rows, session = table.where(split="test"), secrets.token_hex(4)
    if not runs or all(run.evaluations for run in runs):
        return
    waiting = functools.partial(context.progress.say, "  waiting for another process to evaluate the test split")
    with ledger.lock_test(runs[0].runs, runs[0].data["fingerprint"], waiting):
        for run in runs:
            if run.evaluations:  # by another process, while this one waited
                continue
            folder = ledger.next_evaluation(run)
            ledger.record(run.runs, run.id, run.data["fingerprint"], len(rows), by, session)
            predictions, speed = predict_timed(load_classifier(run), rows, run.id, context)
            write_evaluation(folder, "test", predictions, speed, table.positive, by)


def write_evaluation(folder: Path, part: str, predictions: Predictions, speed: float, positive: str | None, by: str) -> None:
    """Write predictions and scores of a run into an evaluation folder, the marker last. `speed`: images per second."""
    write_parquet(folder / "predictions" / f"{part}.parquet", predictions)
    scores = store.scores_to_dict(score_all(predictions, positive))
    content = {part: scores, "cost": {"images_per_second": speed}, "opened": now(), "by": by}
    write_json(folder / "scores.json", content)
    mark_complete(folder / store.DONE, "")


def _refuse_learnt(run: Run, held: ImageTable) -> None:
    """Refuse a run as a start if held-out images, by content, are in its training or validation split."""
    theirs = run.table()
    known = set(theirs.digests[theirs.frame["split"].isin(("train", "valid")).to_numpy()]) - {""}
    both = [row for row, digest in enumerate(held.digests) if digest in known]
    if both:
        hint = "start from a run on other images, or from pretrained weights"
        raise RunError(
            f"{run.id} cannot be a start: it was trained on {held.ids[both[0]]!r}, which is held out here", hint=hint
        )


def _fingerprint(table: ImageTable) -> str:
    """Digest of ids, splits and groups (which the intervals respect): 16 hex digits."""
    columns = [table.frame[c] for c in ("id", "split", "group") if c in table.frame]
    return _digest("".join("\0".join(row) + "\n" for row in zip(*columns, strict=True)), 8)


def _digest(text: str, size: int) -> str:
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()


def _check(name: str, recipe: Recipe) -> None:
    """Raise RecipeError for what is wrong with a recipe whatever the data, before any image is decoded."""
    try:
        registry.find("classifiers", recipe.classifier.family).check(recipe)
    except RecipeError as error:
        raise RecipeError(f"{name}: {error.message}" if name else error.message, hint=error.hint) from None
