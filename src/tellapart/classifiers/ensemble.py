"""Several classifiers that answer as one: finished runs, or copies of one recipe fitted here (bagging).

Runs are named by id and stay where they are: they are opened, through the context, whenever the ensemble answers. Copies are
fitted each with a seed of its own and, with `bootstrap`, on as many images drawn with replacement (Breiman 1996, "Bagging
predictors"), and saved within. How answers become one is said by `how`, a combiner of `combine/`; what that learns, it learns
on the validation part. `tellapart combine` makes ensembles of runs without decoding an image, since their answers are stored.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, ValidationInfo, field_validator
from safetensors.numpy import load_file, save_file

from tellapart import registry
from tellapart.classifiers._ensemble_members import Member, member_predictions
from tellapart.classifiers._sklearn_io import load_estimator, save_estimator
from tellapart.classifiers.base import Classifier, Context, Exportable, as_module
from tellapart.errors import RecipeError, RunError
from tellapart.recipe.load import Recipe, check_options, parse
from tellapart.recipe.schema import OptionsModel
from tellapart.types import ImageTable

if TYPE_CHECKING:
    from tellapart.classifiers._torch_inference import EnsembleModule


class Ensemble(Classifier, Exportable):
    """Voters and a combiner.

    Attributes:
        combiner: Fitted.
        copies: The voters that were fitted here; empty where they are runs.
        facts: `parameters` and `pretrained` of all members together.
        home: The folder beside whose runs it was saved; None before that.
    """

    home: Path | None = None
    copies: tuple[Classifier, ...] = ()

    class Options(OptionsModel):
        """Options of `family: ensemble`."""

        how: dict[str, dict[str, Any]] = Field(
            default={"mean": {}}, description="the combiner, as {name: options}; a name alone stands for its defaults"
        )
        members: list[str] = Field(
            default=[], description="finished runs, by id; id@12 is a network with the weights of epoch 12 (`keep_best`)"
        )
        of: dict[str, Any] | None = Field(
            default=None, validate_default=True, description="instead of members: a recipe that is fitted `copies` times"
        )
        copies: int = Field(default=10, ge=1, description="of `of`: how many voters are fitted, each with its own seed")
        bootstrap: bool = Field(default=True, description="of `of`: each learns from images drawn with replacement")

        @field_validator("how", mode="before")
        @classmethod
        def _check_how(cls, how: Any) -> Any:
            how = {how: {}} if isinstance(how, str) else how
            if not isinstance(how, dict) or len(how) != 1:
                raise ValueError("expected one combiner, as {name: options}")
            ((name, options),) = how.items()
            model = registry.find("combiners", name).Options
            return {name: check_options(model, options or {}, f"how: {name}").model_dump(mode="json")}

        @field_validator("of")
        @classmethod
        def _check_of(cls, of: Any, known: ValidationInfo) -> Any:
            if (of is None) == (not known.data.get("members")):
                raise ValueError("expected either `members`, runs by id, or `of`, a recipe to fit")
            if of and {"inputs", "seed", "extends"} & set(of):
                raise ValueError("`inputs` and `seed` stand in the ensemble's own recipe, and `extends` is not possible")
            return _plain_recipe(of) if of else of

    @classmethod
    def check(cls, recipe: Recipe) -> None:
        """See `Classifier`; what the copies' family has to say."""
        if (of := recipe.classifier.options.get("of")) is not None:
            inner = parse(of, "of")
            registry.find("classifiers", inner.classifier.family).check(inner)

    @property
    def members(self) -> list[Member]:
        """The runs that vote."""
        return [Member.parse(name) for name in self.options.members]

    def _fit(self, train: ImageTable, valid: ImageTable, context: Context) -> None:
        self.home, self.copies = None, ()
        if self.options.of is None:
            self._refuse_foreign(train, context)
            voters = member_predictions(self.members, "valid", valid, self.find(context), context)
        else:
            self.copies = tuple(self._copy(number, train, valid, context) for number in range(self.options.copies))
            voters = np.stack([copy.predict(valid, context).proba for copy in self.copies])
        self.fit_combiner(voters, valid.labels, self.classes, context)

    def fit_combiner(self, voters: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], context: Context) -> None:
        """Fit the combiner, and add up what the members are.

        Args:
            voters: (K, N, C) float32, the members' answers on validation.
            labels: (N,) int64.
            classes: C names.
            context: For finding the members, and notes.
        """
        self.classes, self.combiner = classes, self.new_combiner()
        self.combiner.fit(voters, labels)
        context.notes.extend(self.combiner.notes)
        of_copies = [{"parameters": copy.parameters, "pretrained": copy.pretrained} for copy in self.copies]
        found = of_copies if self.copies else [_cost(m.folder(self.find(context))) for m in self.members]
        starts = dict.fromkeys(one["pretrained"] for one in found if one["pretrained"] != "no")
        self.facts = {"parameters": sum(one["parameters"] for one in found), "pretrained": "; ".join(starts) or "no"}

    def new_combiner(self) -> Any:
        """The combiner that the options name, not fitted."""
        ((name, options),) = self.options.how.items()
        family = registry.find("combiners", name)
        return family(family.Options.model_validate(options), self.recipe.seed)

    def find(self, context: Context) -> Any:
        """From the id of a member to its folder: beside the ensemble's own, or where the context knows it."""

        def folder_of(run: str) -> Path:
            beside = self.home / run if self.home else None
            return beside if beside and (beside / "classifier.json").exists() else context.parents(run)

        return folder_of

    def _proba(self, table: ImageTable, context: Context) -> np.ndarray:
        weights, count, classes = self.combiner.weights, len(self.copies) or len(self.members), len(self.classes)
        voters = np.full((count, len(table), classes), 1 / classes, dtype=np.float32)
        for number in range(count):
            if weights is None or weights[number]:  # one after the other: a hundred networks need not fit in memory
                voters[number] = self._member(number, context).predict(table, context).proba
        return self.combiner(voters)

    def inference_module(self, context: Context) -> EnsembleModule:
        """See `Exportable`; voters without weight are left out."""
        from tellapart.classifiers._torch_inference import EnsembleModule

        weights, names = self.combiner.weights, [f"copy {n}" for n in range(len(self.copies))] or list(map(str, self.members))
        asked = [n for n in range(len(names)) if weights is None or weights[n]]
        voters = [as_module(self._member(n, context), context, f"{names[n]}, a member of the ensemble: ") for n in asked]
        return EnsembleModule(voters, self.combiner).eval()

    def _member(self, number: int, context: Context) -> Classifier:
        if self.copies:
            return self.copies[number]
        member = self.members[number]
        classifier = member.load_classifier(self.find(context))
        if classifier.classes != self.classes:
            raise RunError(f"{member} knows other classes than the ensemble: it was changed since")
        return classifier

    def _copy(self, number: int, train: ImageTable, valid: ImageTable, context: Context) -> Classifier:
        """One voter of `of`."""
        changes = {"inputs": self.recipe.inputs.model_dump(mode="json"), "seed": self.recipe.seed + number}
        recipe = parse({**self.options.of, **changes}, "of")
        if self.options.bootstrap:
            rows = np.random.default_rng([self.recipe.seed, number]).integers(0, len(train), len(train))
            frame = train.frame.iloc[rows].reset_index(drop=True)
            train = replace(train, frame=frame.assign(id=[f"{name} ({row})" for row, name in enumerate(frame["id"])]))
        family = registry.find("classifiers", recipe.classifier.family)
        inside = replace(context, folder=None, checkpoints=None, notes=[], log=lambda _: None)
        context.progress.say(f"  copy {number + 1}/{self.options.copies}")
        classifier = family(recipe).fit(train, valid, inside)
        if inside.stopped_by_hand:
            raise KeyboardInterrupt
        context.notes.extend(note for note in inside.notes if note not in context.notes)
        return classifier

    def _refuse_foreign(self, train: ImageTable, context: Context) -> None:
        """Members must have learnt from nothing but the training images here."""
        import pandas as pd

        ours = set(train.ids)
        for member in self.members:
            split = member.folder(self.find(context)) / "split.parquet"
            known = pd.read_parquet(split, columns=["id", "split", "label"]) if split.exists() else None
            theirs = set() if known is None else set(known["id"][(known["split"] == "train") & (known["label"] >= 0)])
            if theirs - ours:
                example = sorted(theirs - ours)[0]
                hint = "members must share data and split: train them with `--split-from RUN`"
                raise RunError(f"{member} learnt from {example!r}, which is not in the training part here", hint=hint)

    @property
    def parameters(self) -> int:
        """Those of all members, and what the combiner learnt."""
        return self.facts["parameters"] + self.combiner.parameters

    @property
    def pretrained(self) -> str:
        """Whose weights the members started from."""
        return self.facts["pretrained"]

    def _save(self, folder: Path) -> None:
        for number, copy in enumerate(self.copies):
            copy.save(folder / "members" / f"{number:03d}")
        if self.combiner.arrays:
            save_file({k: np.ascontiguousarray(v) for k, v in self.combiner.arrays.items()}, folder / "weights.safetensors")
        if self.combiner.estimator is not None:
            save_estimator(self.combiner.estimator, folder / "model.skops")
        (folder / "ensemble.json").write_text(json.dumps(self.facts, ensure_ascii=False), encoding="utf-8")

    def _load(self, folder: Path) -> None:
        self.home, self.combiner = folder.parent, self.new_combiner()
        arrays, estimator = folder / "weights.safetensors", folder / "model.skops"
        self.combiner.arrays = load_file(arrays) if arrays.exists() else {}
        self.combiner.estimator = load_estimator(estimator) if estimator.exists() else None
        self.facts = json.loads((folder / "ensemble.json").read_text(encoding="utf-8"))
        found = sorted((folder / "members").glob("*"))
        self.copies = tuple(Member(str(path)).load_classifier(Path) for path in found)


def _plain_recipe(of: dict[str, Any]) -> dict[str, Any]:
    """A recipe without `inputs` and `seed`, every default filled in, as plain values."""
    try:
        content = parse(of, "of").model_dump(mode="json", exclude={"inputs", "seed"})
    except RecipeError as error:
        raise ValueError(error.message) from None
    return {name: section for name, section in content.items() if section is not None}


def _cost(folder: Path) -> dict[str, Any]:
    """What stands of a run in its own folder: `parameters`, `pretrained`."""
    path = folder / "scores.json"
    return json.loads(path.read_text("utf-8"))["cost"] if path.exists() else {"parameters": 0, "pretrained": "no"}
