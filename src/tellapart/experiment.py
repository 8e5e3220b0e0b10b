"""The verbs: train one recipe, compare many, predict.

`compare` is the main job. Everything is scanned, split and decoded once; each recipe becomes a run; when all are there, and
only then, the test part is opened once for all of them. A run's id is made from its recipe and the data, so a run that is
there already is used again, and one that was cut off goes on where it stood.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tellapart import registry
from tellapart.data.cache import PixelCache, resolve_inputs
from tellapart.data.prepare import Prepared, check_headers, decode_all, prepare
from tellapart.data.scan import scan
from tellapart.errors import RecipeError, RunError, SystemLimitError, TellapartError
from tellapart.evaluate.metrics import RANKINGS, score_all
from tellapart.families._contract import Classifier, Context
from tellapart.progress import SILENT, Progress
from tellapart.recipe import LADDER, Recipe, Train, load_all, parse
from tellapart.recipe import load as load_recipe
from tellapart.runs import ledger, store
from tellapart.runs.card import write_card
from tellapart.runs.environment import describe_environment
from tellapart.runs.epochs import EpochLog
from tellapart.runs.leaderboard import Leaderboard, build
from tellapart.runs.store import Run
from tellapart.types import ImageTable, Predictions, guess_positive

_TRAIN_SCORED = 4_000  # training images scored, at most: enough to show overfitting, cheap for every family
_NETWORK_SHARE = 0.7  # of `minutes`, divided among the networks


@dataclass(frozen=True)
class Settings:
    """Where and how the verbs work.

    Attributes:
        runs: Folder of the runs.
        device: "auto", "cpu", "cuda", "mps", …
        seed: Of the split.
        skip_bad: Leave bad rows out, counted, instead of stopping.
        split_from: A run whose split is used again.
        fresh: Train anew even if the run is there.
        progress: Where long work is reported.
    """

    runs: Path = Path("runs")
    device: str = "auto"
    seed: int = 0
    skip_bad: bool = False
    split_from: str | None = None
    fresh: bool = False
    progress: Progress = SILENT


class Interrupted(TellapartError):
    """Ctrl-C ended the work; what was finished is kept."""

    exit_code = 130


def train(
    data: str | Path | ImageTable,
    recipe: str | Path | Recipe,
    *,
    overrides: Sequence[str] = (),
    settings: Settings = Settings(),
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
    bench = _Bench(settings, data)
    named = {_name(recipe): recipe if isinstance(recipe, Recipe) else load_recipe(str(recipe), overrides)}
    (name, resolved), *_ = bench.decode(named).items()
    return bench.train(name, resolved)


def compare(
    data: str | Path | ImageTable, recipes: Sequence[str | Path] = LADDER, *, overrides: Sequence[str] = (),
    rank_by: str = "accuracy", minutes: float | None = None, settings: Settings = Settings(),
) -> Leaderboard:  # fmt: skip
    """Train several recipes on the same split, then open the test part once for all of them.

    Args:
        data: A path that `scan` understands, or a table.
        recipes: Names or paths; the null is always added.
        overrides: Each is applied to the recipes that have such a setting.
        rank_by: "accuracy", "macro-f1", "auroc" or "log-loss", on validation.
        minutes: Bound on training: no recipe starts after it, and networks divide 70 % of it between them.
        settings: Where and how.

    Raises:
        TellapartError: Anything a user can mend. A recipe that fails is named in the notes; all failing raises.
        Interrupted: Ctrl-C; the test part was not opened.
    """
    if rank_by not in RANKINGS:
        raise RecipeError(f"rank_by {rank_by!r}: expected one of {', '.join(RANKINGS)}")
    start = time.monotonic()
    named = load_all(_by_name(["null", *recipes]), overrides)
    bench = _Bench(settings, data)
    named = bench.decode(_within(named, minutes))
    runs, notes = [], []
    for number, (name, resolved) in enumerate(named.items(), 1):
        if minutes and time.monotonic() - start > minutes * 60 and resolved.classifier.family != "null":
            notes.append(f"{name} was not started: {minutes:g} minutes were up")
            continue
        settings.progress.say(f"{number}/{len(named)} {name}", "bold")
        try:
            runs.append(bench.train(name, resolved))
        except TellapartError as error:
            # neither the user nor the machine will be kinder to the next recipe
            if isinstance(error, Interrupted | SystemLimitError) or len(named) <= 2:
                raise
            notes.append(f"{name} could not be trained: {error.message}")
            settings.progress.say(f"  {notes[-1]}", "red")
    if not runs:
        raise RunError("no recipe could be trained: " + "; ".join(notes))
    bench.open_test(runs, "compare")
    board = build(runs, rank_by)
    return replace(board, notes=(*board.notes, *notes))


def predict(run: str | Path | Run, images: ImageTable, *, settings: Settings = Settings()) -> Predictions:
    """Ask a finished run about images. Labels, if there are any, are passed through.

    Raises:
        CorruptImages: Some cannot be decoded; with `settings.skip_bad` they are left out.
    """
    run = run if isinstance(run, Run) else store.open_run(run, settings.runs)
    classifier = load(run)
    cache = PixelCache(progress=settings.progress)
    images = _readable(images, [classifier.recipe], cache, skip_bad=settings.skip_bad)
    return classifier.predict(images, Context(cache, settings.progress, _device(settings.device)), run.id)


def load(run: Run) -> Classifier:
    """The fitted classifier of a run."""
    resolved = parse(run.recipe, str(run.folder / "recipe.yaml"))
    family = registry.find("families", resolved.classifier.family)
    try:
        return family.load(run.folder, resolved)
    except TellapartError:
        raise
    except Exception as error:  # damaged or missing files raise nearly anything, by the library that reads them
        hint = "copy the run again from where it came, or train it again with --fresh"
        raise RunError(f"{run.folder}: the classifier cannot be loaded ({error})", hint=hint) from error


class _Bench:
    """One data set, prepared once, on which recipes become runs."""

    def __init__(self, settings: Settings, data: str | Path | ImageTable) -> None:
        self.settings = settings
        table = data if isinstance(data, ImageTable) else scan(data)
        split_from = store.open_run(settings.split_from, settings.runs).folder if settings.split_from else None
        self.prepared: Prepared = prepare(
            table, seed=settings.seed, skip_bad=settings.skip_bad, split_from=split_from, progress=settings.progress
        )
        self.cache = PixelCache(progress=settings.progress)
        self.device = _device(settings.device)

    def decode(self, named: dict[str, Recipe]) -> dict[str, Recipe]:
        """Resolve the inputs of every recipe against the data and decode for each; corrupt images come out here."""
        learnt = self.prepared.table.where(split="train")  # the size, too, is chosen without a look at the test part
        named = {n: r.model_copy(update={"inputs": resolve_inputs(r.inputs, learnt)}) for n, r in named.items()}
        table = _readable(self.prepared.table, named.values(), self.cache, skip_bad=self.settings.skip_bad)
        self.prepared = replace(self.prepared, table=table)
        columns = [table.frame[c] for c in ("id", "split", "group") if c in table.frame]  # groups: of the intervals
        self.split_fingerprint = _digest("".join("\0".join(row) + "\n" for row in zip(*columns, strict=True)), 8)
        return named

    def train(self, name: str, recipe: Recipe) -> Run:
        """One run: found finished, resumed, or made."""
        table = self.prepared.table
        asked = "" if table.positive == guess_positive(table.classes) else f" {table.positive}"
        key = _digest(f"{recipe.digest()} {table.fingerprint} {self.split_fingerprint}{asked}", 4)
        run_id = f"{name}-{key}"
        if self.settings.fresh:
            run_id += f"-{secrets.token_hex(2)}"
        with store.writing(self.settings.runs, run_id) as folder:
            if (folder / store.DONE).exists():
                self.settings.progress.say(f"  {run_id} is there already, and used again")
                return Run(folder.resolve())
            return self._make(name, recipe, folder)

    def _make(self, name: str, recipe: Recipe, folder: Path) -> Run:
        started = store.now()
        log = EpochLog(folder / "log.jsonl")
        if (folder / "resume" / "state.safetensors").exists():
            self.settings.progress.say(f"  going on with {folder.name} after epoch {log.last_epoch}")
        context = Context(self.cache, self.settings.progress, self.device, folder / "resume", log.append)
        classifier: Classifier = registry.find("families", recipe.classifier.family)(recipe)
        table, earlier, start = self.prepared.table, log.seconds, time.perf_counter()
        self._describe(name, folder, started)
        (folder / "recipe.yaml").write_text(recipe.dump(), encoding="utf-8")
        try:
            classifier.fit(table.where(split="train"), table.where(split="valid"), context)
        except KeyboardInterrupt:
            raise Interrupted(f"{folder.name} was stopped before anything was learnt") from None
        cost = {"fit_seconds": earlier + time.perf_counter() - start, "parameters": classifier.parameters}
        cost |= {"pretrained": classifier.pretrained, "notes": context.notes}
        if not context.stopped_by_hand:
            return self._complete(folder, classifier, cost)
        with store.writing(self.settings.runs, f"{folder.name}-stopped-{log.last_epoch}") as beside:
            if not (beside / store.DONE).exists():  # stopped at this epoch before: the same weights
                self._describe(name, beside, started)
                (beside / "log.jsonl").write_text((folder / "log.jsonl").read_text("utf-8"), "utf-8")
                self._complete(beside, classifier, cost)
        raise Interrupted(
            f"stopped by hand after epoch {log.last_epoch}; the best so far is kept as the run {beside.name}",
            hint="give the same command again to go on from here",
        )

    def _describe(self, name: str, folder: Path, started: str) -> None:
        """Everything about a run that is known before training."""
        table, twins = self.prepared.table, self.prepared.twins
        counts = {s: table.where(split=s).counts()["all"].to_dict() for s in table.split_counts()}
        store.write_json(folder / "data.json", {
            "recipe_name": name, "fingerprint": table.fingerprint, "split_fingerprint": self.split_fingerprint,
            "name": table.name, "root": table.root, "layout": table.layout,
            "classes": list(table.classes), "positive": table.positive,
            "counts": counts, "unlabelled": len(table.unlabelled()),
            "problems": [p.__dict__ for p in table.problems],
            "duplicates": {
                "images": twins.images, "across_splits": twins.across_splits, "across_classes": twins.across_classes,
                "examples": [list(pair) for pair in twins.examples],
            },
        })  # fmt: skip
        environment = describe_environment(self.device)
        store.write_json(folder / "environment.json", {**environment, "started": started, "split_seed": self.settings.seed})
        table.frame.to_parquet(folder / "split.parquet", index=False)

    def _complete(self, folder: Path, classifier: Classifier, cost: dict[str, Any]) -> Run:
        """Save the classifier, score train and validation, set the marker."""
        classifier.save(folder)
        (folder / "predictions").mkdir(exist_ok=True)
        table, scores = self.prepared.table, {}
        for part in ("train", "valid"):
            rows = table.where(split=part)
            if len(rows) > _TRAIN_SCORED and part == "train":
                rows = rows.take(np.sort(np.random.default_rng(0).choice(len(rows), _TRAIN_SCORED, replace=False)))
            predictions, cost["images_per_second"] = self._timed(classifier, rows, folder.name)
            predictions.to_parquet(folder / "predictions" / f"{part}.parquet")
            scores[part] = store.scores_to_dict(score_all(predictions, table.positive)) if len(rows) else {}
        cost["bytes"] = sum(p.stat().st_size for p in folder.glob("*.s*") if p.suffix in (".safetensors", ".skops"))
        store.write_json(folder / "scores.json", {**scores, "cost": cost})
        (folder / "card.md").write_text(write_card(Run(folder)), encoding="utf-8")
        run = store.finish(folder)
        self.settings.progress.say(f"  valid accuracy {run.scores('valid')['accuracy']}, fitted in {cost['fit_seconds']:.1f} s")
        return run

    def open_test(self, runs: Sequence[Run], by: str) -> None:
        """Score the test part with every run that has not been scored on it, and write each opening down."""
        rows, session = self.prepared.table.where(split="test"), secrets.token_hex(4)
        for run in runs:
            if run.evaluations:
                continue
            with store.system_limits(run.runs, writes_only=False):
                folder = store.next_evaluation(run)
                ledger.record(run.runs, run.id, run.data["fingerprint"], len(rows), by, session)
                predictions, speed = self._timed(load(run), rows, run.id)
                predictions.to_parquet(folder / "predictions" / "test.parquet")
                scores = store.scores_to_dict(score_all(predictions, self.prepared.table.positive))
                content = {"test": scores, "cost": {"images_per_second": speed}, "opened": store.now(), "by": by}
                store.write_json(folder / "scores.json", content)
                (folder / store.DONE).write_text("", encoding="utf-8")

    def _timed(self, classifier: Classifier, rows: ImageTable, run_id: str) -> tuple[Predictions, float]:
        """Predictions, and how many images a second they took."""
        start = time.perf_counter()
        predictions = classifier.predict(rows, Context(self.cache, self.settings.progress, self.device), run_id)
        return predictions, len(rows) / max(time.perf_counter() - start, 1e-9)


def _name(recipe: str | Path | Recipe) -> str:
    return "recipe" if isinstance(recipe, Recipe) else Path(recipe).name.removesuffix(".yaml").removesuffix(".yml")


def _by_name(recipes: Iterable[str | Path]) -> dict[str, str]:
    """Recipes by name. Two of one name would be one run and one line of the table."""
    named: dict[str, str] = {}
    for recipe in map(str, recipes):
        if named.setdefault(_name(recipe), recipe) != recipe:
            raise RecipeError(f"{named[_name(recipe)]} and {recipe} have the same name", hint="rename one of the files")
    return named


def _readable(table: ImageTable, recipes: Iterable[Recipe], cache: PixelCache, *, skip_bad: bool) -> ImageTable:
    """The images that all recipes can read, decoded where one of them looks at pixels: the null reads headers only."""
    needed = [r.inputs for r in recipes if r.classifier.family != "null"]
    return decode_all(table, needed, cache, skip_bad=skip_bad) if needed else check_headers(table, skip_bad=skip_bad)


def _within(named: dict[str, Recipe], minutes: float | None) -> dict[str, Recipe]:
    """Divide a time bound among the recipes that train by epochs. The shares do not depend on how fast others were,
    so that the same command finds the same runs again."""
    timed = [n for n, r in named.items() if r.train is not None]
    if not minutes or not timed:
        return named
    train = {n: (named[n].train or Train()) for n in timed}
    share = round(minutes * _NETWORK_SHARE / len(timed), 3)
    bound = {n: t.model_copy(update={"minutes": min(share, t.minutes or share)}) for n, t in train.items()}
    return {n: r.model_copy(update={"train": bound[n]}) if n in bound else r for n, r in named.items()}


def _device(name: str) -> str:
    """ "auto" as what it means here."""
    if name != "auto":
        return name
    import torch

    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def _digest(text: str, size: int) -> str:
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()
