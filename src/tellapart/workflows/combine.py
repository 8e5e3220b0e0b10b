"""Ensembles: combine finished runs into one run, and test what the combination gains.

Only stored predictions are used; the test split is not. A combiner with parameters (weights, a selection, a stack) is fitted on
validation predictions or, if all members are k-fold runs, on their out-of-fold predictions for training and validation images,
which are more. It is scored by cross-fitting: these images are partitioned into five folds, and each fold is predicted by a
combiner fitted on the other four. So its validation scores are as honest as those of its members and comparable with them.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tellapart import registry
from tellapart.classifiers._ensemble_members import OUT_OF_FOLD, Member, epochs, member_predictions
from tellapart.classifiers.base import Classifier, Context, groups_of
from tellapart.classifiers.ensemble import Ensemble
from tellapart.data.cache import PixelCache
from tellapart.errors import RecipeError, RunError, unknown_name
from tellapart.formatting import after_opening
from tellapart.inference.context import DEFAULTS, Settings, resolve_device
from tellapart.io import now, write_bytes_atomically, write_json, write_parquet, write_text_atomically
from tellapart.leaderboards.leaderboard import by_data
from tellapart.metrics.cross_validation import FOLDS, deal_folds
from tellapart.metrics.mcnemar import Comparison, compare, describe
from tellapart.metrics.score_all import score_all
from tellapart.plain_data import read_json
from tellapart.recipe.load import parse
from tellapart.regular_files import read_bytes
from tellapart.runs import ledger, store
from tellapart.runs.environment import describe_environment
from tellapart.runs.model_card import write_card
from tellapart.runs.store import Run, Scores
from tellapart.types import ImageTable, Predictions

SOUP = "soup"
GAIN = "gain.json"


def combine(
    runs: Sequence[str | Path | Run] = (), *, how: str | Mapping[str, Any] = "mean", between: tuple[float, float] | None = None,
    top: int | None = None, checkpoints: bool = False, settings: Settings = DEFAULTS,
) -> Run:  # fmt: skip
    """Combine several runs into one. Nothing is trained, and images are only decoded for checkpoints or a soup.

    Args:
        runs: Runs, ids or paths, of the same data and split. None: all in the folder except the metadata baseline and
            earlier combinations.
        how: A combiner, such as "vote" or {"greedy": {"bags": 10}}; "soup" averages the weights of equal networks instead.
        between: Keep only members with a validation accuracy in [low, high].
        top: Keep only this many members, the best by validation accuracy.
        checkpoints: Combine the stored epochs of each run (`train.keep_best`) instead of the runs.
        settings: Folder of the runs, device, progress, …; the seed of the combiner.

    Raises:
        TellapartError: Runs of different data, fewer than two members, no such combiner, …
    """
    name = _combiner_name(how)
    parents = _parents(runs, settings)
    find, home = _finder(settings), settings.runs.resolve()
    members = [m for run in parents for m in _members(run, home, checkpoints)]
    asks = checkpoints or name == SOUP  # else all predictions are stored, and resolving a device would import torch
    device = resolve_device(settings.device) if asks else str(parents[0].environment["device"])
    context = Context(PixelCache(progress=settings.progress), settings.progress, device, parents=find)
    work = _Work(parents, members, context, settings)
    work.keep(between, top)
    return work.soup() if name == SOUP else work.ensemble(how)


def ensemble_gain(run: Run) -> dict[str, Any]:
    """The gain of a combination: `members` (each with its validation score and weight), `best`, `result`, `summary`, `test`.

    Raises:
        RunError: The run is not a combination.
    """
    if not (run.folder / GAIN).exists():
        raise RunError(f"{run.id} is not a combination of runs", hint="make one with `tellapart combine RUN RUN`")
    return read_json(run.folder / GAIN)


def _combiner_name(how: str | Mapping[str, Any]) -> str:
    """The name of the combiner; an unknown one is refused before any predictions are read."""
    if not isinstance(how, str) and len(how) != 1:
        raise RecipeError(f"how: expected one combiner, as 'vote' or {{'greedy': {{'bags': 10}}}}, found {how!r}")
    name = how if isinstance(how, str) else next(iter(how))
    known = [SOUP, *(known.replace("_", "-") for known in registry.names("combiners"))]
    if name.replace("_", "-") not in known:
        raise RecipeError(unknown_name("combiner", name, known))
    return name


class _Work:
    """A combination in progress."""

    def __init__(self, parents: list[Run], members: list[Member], context: Context, settings: Settings) -> None:
        self.parents, self.members, self.context, self.settings = parents, members, context, settings
        self.start, self.table = time.perf_counter(), self.parents[0].table()
        self.valid = self.table.where(split="valid")
        if not len(self.valid):
            raise RunError(f"{self.parents[0].id} has no validation images to score a combination on")
        self.stacked = member_predictions(self.members, "valid", self.valid, self.context.parents, self.context)

    def keep(self, between: tuple[float, float] | None, top: int | None) -> None:
        """Select members by their validation accuracy."""
        accuracy = (self.stacked.argmax(axis=2) == self.valid.labels).mean(axis=1)
        kept = np.arange(len(accuracy))
        if between is not None:
            kept = np.flatnonzero((accuracy >= between[0]) & (accuracy <= between[1]))
        if top is not None:
            kept = np.sort(kept[np.argsort(-accuracy[kept], kind="stable")[:top]])
        if len(kept) < 2:
            hint = f"the validation accuracies range from {accuracy.min():.3f} to {accuracy.max():.3f}"
            raise RunError(f"{len(kept)} of {len(accuracy)} members are left: expected at least two", hint=hint)
        if len(kept) < len(accuracy):
            self.context.notes.append(f"{len(kept)} members of {len(accuracy)}, chosen by validation accuracy")
            self.stacked, self.members = self.stacked[kept], [self.members[k] for k in kept]

    def ensemble(self, how: str | Mapping[str, Any]) -> Run:
        """Make an ensemble run."""
        recipe = parse({"inputs": self._inputs(), "seed": self.settings.seed, "classifier": self._classifier(how)}, "combine")
        made = Ensemble(recipe)
        rows, stacked = self._learnable()
        made.fit_combiner(stacked, rows.labels, self.table.classes, self.context)
        ((name, _),) = made.options.how.items()
        answers = self._by_part(rows, self._judged(made, name, rows, stacked))
        sample = self._train_sample()
        if "train" not in answers and len(sample):
            stacked = member_predictions(self.members, "train", sample, self.context.parents, self.context)
            answers["train"] = self._predictions(sample, made.combiner(stacked))
        return self._write(f"{name.replace('_', '-')}-{len(self.members)}", made, answers, made.combiner.weights)

    def soup(self) -> Run:
        """Make a run with the mean of the weights."""
        from tellapart.classifiers._model_soup import soup

        made = soup(self.members, self.table.where(split="train"), self.context.parents, self.context)
        parts = {"train": self._train_sample(), "valid": self.valid}
        answers = {part: made.predict(rows, self.context) for part, rows in parts.items() if len(rows)}
        self.context.notes.append(f"the mean of the weights of {', '.join(map(str, self.members))}")
        if len(used := self._used()) > 1 and all(run.cost["pretrained"] == "no" for run in used):
            self.context.notes.append("the networks started from different random weights: their mean is rarely any good")
        return self._write(f"{SOUP}-{len(self.members)}", made, answers, None)

    def _classifier(self, how: str | Mapping[str, Any]) -> dict[str, Any]:
        named = how.replace("-", "_") if isinstance(how, str) else {k.replace("-", "_"): v for k, v in how.items()}
        return {"family": "ensemble", "how": named, "members": [str(m) for m in self.members]}

    def _inputs(self) -> Any:
        """The inputs of the first member that reads pixels; with them, files are checked before predicting."""
        used = self._used()
        return next((run for run in used if run.family != "metadata"), used[0]).recipe["inputs"]

    def _used(self) -> list[Run]:
        """The parents that still have a member, each once."""
        named = {Path(member.run).name for member in self.members}
        return [run for run in self.parents if run.id in named]

    def _learnable(self) -> tuple[ImageTable, np.ndarray]:
        """The images that a combiner is fitted on, and the members' predictions, (K, N, C): out of fold if all members have
        these.
        """
        if self._lacking():
            return self.valid, self.stacked
        parts = self.table.frame["split"].to_numpy(dtype=object)
        rows = self.table.take(np.isin(parts, ("train", "valid")) & (self.table.labels >= 0))
        return rows, member_predictions(self.members, OUT_OF_FOLD, rows, self.context.parents, self.context)

    def _lacking(self) -> list[Member]:
        """The members without out-of-fold predictions."""
        return [member for member in self.members if not member.has_out_of_fold(self.context.parents)]

    def _by_part(self, rows: ImageTable, proba: np.ndarray) -> dict[str, Predictions]:
        """Predictions as a run stores them. `rows`: the validation split, or train and valid; `proba`: (N, C) float."""
        if rows is self.valid:
            return {"valid": self._predictions(rows, proba)}
        parts = {"valid": self.valid.ids, "train": self._train_sample().ids}
        at = {part: np.isin(rows.ids, ids) for part, ids in parts.items()}
        found = {part: self._predictions(rows.take(mask), proba[mask]) for part, mask in at.items() if mask.any()}
        return {**found, OUT_OF_FOLD: self._predictions(rows, proba)}

    def _judged(self, made: Ensemble, name: str, rows: ImageTable, stacked: np.ndarray) -> np.ndarray:
        """Predictions that may be scored, (N, C). `stacked`: predictions of the members, (K, N, C)."""
        if not made.combiner.uses_labels:
            return made.combiner(stacked)
        if rows is self.valid:
            lacking = self._lacking()
            who = "there are none" if len(lacking) == len(self.members) else f"{lacking[0]} has none"
            source, judged = f"validation predictions, since {who} out of fold", "the validation scores are"
        else:
            source, judged = f"out-of-fold predictions for {len(rows):,} training and validation images", "the scores are"
        self.context.notes.append(
            f"{name} was fitted on {source}; {judged} of {FOLDS} combiners, each predicting the fifth that it was not fitted on"
        )
        return self._cross_fitted(made, rows, stacked)

    def _cross_fitted(self, made: Ensemble, rows: ImageTable, stacked: np.ndarray) -> np.ndarray:
        """(N, C): each fold predicted by a combiner fitted on the others."""
        fold = deal_folds(rows.labels, groups_of(rows), self.settings.seed)
        proba = np.empty(stacked.shape[1:], dtype=np.float32)
        for one in range(FOLDS):
            fitted, held_out = fold != one, fold == one
            if held_out.any():
                combiner = made.new_combiner().fit(stacked[:, fitted], rows.labels[fitted])
                proba[held_out] = combiner(stacked[:, held_out])
        return proba

    def _train_sample(self) -> ImageTable:
        """The training images whose predictions every run stored."""
        stored, train = self.parents[0].predictions("train"), self.table.where(split="train")
        return train.take(np.isin(train.ids, stored.ids) if stored is not None else np.zeros(len(train), dtype=bool))

    def _predictions(self, rows: ImageTable, proba: np.ndarray) -> Predictions:
        return Predictions(rows.ids, proba, rows.labels, rows.classes, groups=groups_of(rows))

    def _speed(self, made: Classifier, weights: np.ndarray | None) -> float | None:
        """Images per second: all members with a weight predict in turn; a soup is one network."""
        asked = self.members if weights is None else [m for m, w in zip(self.members, weights, strict=True) if w]
        speed = {run.id: run.cost["images_per_second"] for run in self.parents}
        speeds = [speed[Path(member.run).name] for member in (asked if isinstance(made, Ensemble) else asked[:1])]
        return 1 / sum(1 / s for s in speeds) if all(speeds) else None

    def _write(self, name: str, made: Classifier, answers: dict[str, Predictions], weights: np.ndarray | None) -> Run:
        """Write the run folder; the marker comes last."""
        first = self.parents[0]
        members = [str(member) for member in self.members]
        key = f"{made.recipe.digest()} {members} {first.data['fingerprint']} {first.data['split_fingerprint']} {first.positive}"
        run_id = f"{name}-{hashlib.blake2b(key.encode(), digest_size=4).hexdigest()}"
        if self.settings.overwrite:
            run_id += f"-{secrets.token_hex(2)}"
        answers = {part: replace(found, run_id=run_id) for part, found in answers.items()}
        with store.lock_run(self.settings.runs, run_id) as folder:
            if (folder / store.DONE).exists():
                self.settings.progress.say(f"  reusing finished run {run_id}")
                return Run(folder.resolve())
            made.save(folder)
            self._describe(name, folder)
            (folder / "predictions").mkdir(exist_ok=True)
            for part, found in answers.items():
                write_parquet(folder / "predictions" / f"{part}.parquet", found)
            scores = {part: store.scores_to_dict(score_all(found, first.positive)) for part, found in answers.items()}
            write_json(folder / GAIN, self._gain(answers, weights))
            write_json(folder / "scores.json", {**scores, "cost": self._cost(made, folder, weights)})
            write_text_atomically(folder / "card.md", write_card(Run(folder)), durable=False)
            return store.mark_done(folder, first)

    def _describe(self, name: str, folder: Path) -> None:
        """Write what does not depend on the predictions."""
        first, parents = self.parents[0], [run.id for run in self._used()]
        write_bytes_atomically(folder / "split.parquet", read_bytes(first.folder / "split.parquet"), durable=False)
        write_json(folder / "data.json", {**first.data, "recipe_name": name, "parents": parents})
        opened = ledger.times_opened(first.runs, first.data["fingerprint"])
        started = {"started": now(), "opened_before": opened, "split_seed": first.environment.get("split_seed")}
        write_json(folder / "environment.json", describe_environment(self.context.device) | started)

    def _cost(self, made: Classifier, folder: Path, weights: np.ndarray | None) -> dict[str, Any]:
        """The cost of all parents plus that of the combination."""
        late = [after_opening(opened)] if (opened := read_json(folder / "environment.json")["opened_before"]) else []
        return {
            "fit_seconds": sum(run.cost["fit_seconds"] for run in self._used()) + time.perf_counter() - self.start,
            "images_per_second": self._speed(made, weights),
            "parameters": made.parameters, "pretrained": made.pretrained,
            "bytes": sum(p.stat().st_size for p in folder.glob("*.s*") if p.suffix in (".safetensors", ".skops")),
            "notes": [*self.context.notes, *late],
        }  # fmt: skip

    def _member_scores(self) -> list[Scores]:
        """Predictions of each member on validation: stored ones of a run; those of an epoch are made now."""
        stored, positive = {run.id: run.scores("valid") for run in self.parents}, self.parents[0].positive
        known = [{} if member.epoch is not None else stored[Path(member.run).name] for member in self.members]
        pairs = zip(known, self.stacked, strict=True)
        return [have or score_all(self._predictions(self.valid, proba), positive) for have, proba in pairs]

    def _gain(self, answers: dict[str, Predictions], weights: np.ndarray | None) -> dict[str, Any]:
        """The paired test against the best member, with an entry per member; out of fold, the same test on more images."""
        scores = self._member_scores()
        best = max(range(len(scores)), key=lambda k: (scores[k]["accuracy"].value, -scores[k]["log-loss"].value))
        shares = [None] * len(scores) if weights is None else weights.tolist()
        rows = [
            {"member": str(member), "valid": store.scores_to_dict(score), "weight": share}
            for member, score, share in zip(self.members, scores, shares, strict=True)
        ]
        told = self._against(self.members[best], answers["valid"], self._predictions(self.valid, self.stacked[best]))
        if OUT_OF_FOLD in answers:
            images, stacked = self._learnable()
            other = self._predictions(images, stacked[best])
            told["out_of_fold"] = self._against(self.members[best], answers[OUT_OF_FOLD], other)
        return {"members": rows, "best": str(self.members[best]), "split": "valid", **told}

    def _against(self, best: Member, ours: Predictions, theirs: Predictions) -> dict[str, Any]:
        """The result of the paired test, in words and numbers."""
        found = compare(ours, theirs)
        content = {"result": result_in_words(found), "summary": describe(ours.run_id, str(best), found)}
        return {**content, "test": found.test.to_dict(), "difference": found.difference.to_dict()}


def result_in_words(found: Comparison) -> str:
    """The result of a paired test of a combination (A) against its best member (B), in about three words."""
    if not found.test.significant:
        return "no evidence of a gain"
    return "a gain" if found.test.a_is_better else "a loss"


def _parents(runs: Sequence[str | Path | Run], settings: Settings) -> list[Run]:
    """The runs, of one data set and split, each once."""
    named = [store.open_run(run, settings.runs, settings.images) for run in runs]
    if not runs:
        every = store.select_runs([], settings.runs, settings.images, [])
        named = [run for run in every if run.family != "metadata" and "parents" not in run.data]
    found = list({run.folder: run for run in (named if runs else sorted(named, key=lambda run: run.id))}.values())
    if not found:
        hint = "pass run ids; without them the metadata baseline is excluded"
        raise RunError(f"{settings.runs} holds no run to combine", hint=hint)
    for run in found[1:]:
        _refuse_other(found[0], run)
    return found


def _refuse_other(first: Run, run: Run) -> None:
    """Raise an error that names both runs and what differs."""
    if first.classes != run.classes:
        said = f"{', '.join(first.classes)} and {', '.join(run.classes)}"
        raise RunError(f"{first.id} and {run.id} have different classes: {said}")
    if len(by_data([first, run])) > 1:
        if first.data["fingerprint"] == run.data["fingerprint"]:
            hint = "train one of them again with `--split-from`"
            raise RunError(f"{first.id} and {run.id} split the same data differently", hint=hint)
        names = f"{first.data['name']}, {run.data['name']}"
        raise RunError(f"{first.id} and {run.id} were trained on different data: {names}", hint="name runs of one data set")


def _members(run: Run, home: Path, checkpoints: bool) -> list[Member]:
    """The run or its stored epochs; by id if it is in the folder of runs, else by path."""
    name = run.id if run.runs == home else str(run.folder)
    if not checkpoints:
        return [Member(name)]
    kept = epochs(run.folder)
    if not kept:
        raise RunError(f"{run.id} has no stored epochs", hint="train a network with -s train.keep_best=5")
    return [Member(name, epoch) for epoch in kept]


def _finder(settings: Settings) -> Any:
    return lambda name: store.open_parent(name, settings.runs).folder
