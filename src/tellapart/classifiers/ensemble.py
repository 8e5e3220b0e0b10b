"""An ensemble: the combined predictions of finished runs, or of copies of one recipe fitted here (bagging).

Runs are named by id and stay where they are; they are opened through the context for every prediction. Copies are fitted with
one seed each and, with `bootstrap`, on as many images drawn with replacement (Breiman 1996, "Bagging predictors"); they are
saved inside the ensemble. `how` names the combiner (see `combiners/`), which is fitted on the validation split. `tellapart
combine` creates ensembles of runs without decoding images, since their predictions are stored.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, ValidationInfo, field_validator
from safetensors.numpy import load_file

from tellapart import registry
from tellapart.classifiers._ensemble_members import Member, member_predictions
from tellapart.classifiers._sklearn_io import load_estimator, save_estimator
from tellapart.classifiers.base import Classifier, Context, Exportable, as_module
from tellapart.data.identity import identify
from tellapart.errors import RecipeError, RunError
from tellapart.io import write_arrays, write_json
from tellapart.plain_data import check_texts, read_json
from tellapart.recipe.load import Recipe, check_options, parse
from tellapart.recipe.schema import OptionsModel
from tellapart.regular_files import require_regular
from tellapart.types import ImageTable

if TYPE_CHECKING:
    from tellapart.classifiers._torch_inference import EnsembleModule


class Ensemble(Classifier, Exportable):
    """Members and a combiner.

    Attributes:
        combiner: Fitted combiner.
        copies: The members fitted here; empty if the members are runs.
        facts: `parameters` and `pretrained` of all members together.
        home: The runs folder that it was saved in; None before `load`.
    """

    home: Path | None = None
    copies: tuple[Classifier, ...] = ()

    class Options(OptionsModel):
        """Options of `family: ensemble`."""

        how: dict[str, dict[str, Any]] = Field(
            default={"mean": {}}, description="combiner, as {name: options}; a name alone uses the default options"
        )
        members: list[str] = Field(
            default=[], description="ids of finished runs; id@12: a network with the weights of epoch 12 (`keep_best`)"
        )
        of: dict[str, Any] | None = Field(
            default=None, validate_default=True, description="instead of members: an inner recipe to fit `copies` times"
        )
        copies: int = Field(default=10, ge=1, description="`of`: number of members to fit, each with its own seed")
        bootstrap: bool = Field(default=True, description="`of`: fit each member on images drawn with replacement")

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
                raise ValueError("expected either `members`, ids of finished runs, or `of`, a recipe to fit")
            if of and {"inputs", "seed", "extends"} & set(of):
                raise ValueError("remove `inputs`, `seed` and `extends`: inputs and seed are those of the outer recipe")
            return _plain_recipe(of) if of else of

    options: Options

    @classmethod
    def check(cls, recipe: Recipe) -> None:
        """See `Classifier`; the inner recipe must be valid."""
        if (of := recipe.classifier.options.get("of")) is not None:
            inner = parse(of, "of")
            registry.find("classifiers", inner.classifier.family).check(inner)

    @property
    def members(self) -> list[Member]:
        """The members that are runs."""
        return [Member.parse(name) for name in self.options.members]

    def _fit(self, train: ImageTable, valid: ImageTable, context: Context) -> None:
        self.home, self.copies = None, ()
        if self.options.of is None:
            self._refuse_foreign(train, context)
            proba = member_predictions(self.members, "valid", valid, self.find(context), context)
        else:
            self.copies = tuple(self._copy(number, train, valid, context) for number in range(self.options.copies))
            proba = np.stack([copy.predict(valid, context).proba for copy in self.copies])
        self.fit_combiner(proba, valid.labels, self.classes, context)

    def fit_combiner(self, proba: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], context: Context) -> None:
        """Fit the combiner, and sum up the facts of the members.

        Args:
            proba: (K, N, C) float32 in [0, 1], predictions of the members for the validation split.
            labels: (N,) int64; −1: unknown.
            classes: C names.
            context: Finds the members; receives notes.
        """
        self.classes, self.combiner = classes, self.new_combiner()
        self.combiner.fit(proba, labels)
        context.notes.extend(self.combiner.notes)
        of_copies = [{"parameters": copy.parameters, "pretrained": copy.pretrained} for copy in self.copies]
        found = of_copies if self.copies else [_cost(m.folder(self.find(context))) for m in self.members]
        starts = dict.fromkeys(one["pretrained"] for one in found if one["pretrained"] != "no")
        self.facts = {"parameters": sum(one["parameters"] for one in found), "pretrained": "; ".join(starts) or "no"}

    def new_combiner(self) -> Any:
        """An unfitted combiner, as the options specify."""
        ((name, options),) = self.options.how.items()
        family = registry.find("combiners", name)
        return family(family.Options.model_validate(options), self.recipe.seed)

    def find(self, context: Context) -> Any:
        """A function from the id of a member to its folder: in the same runs folder, or where the context finds it."""

        def folder_of(run: str) -> Path:
            beside = self.home / run if self.home else None
            return beside if beside and (beside / "classifier.json").exists() else context.parents(run)

        return folder_of

    def _proba(self, table: ImageTable, context: Context) -> np.ndarray:
        weights, count, classes = self.combiner.weights, len(self.copies) or len(self.members), len(self.classes)
        proba = np.full((count, len(table), classes), 1 / classes, dtype=np.float32)
        for number in range(count):
            if weights is None or weights[number]:  # one at a time: a hundred networks need not fit in memory
                proba[number] = self._member(number, context).predict(table, context).proba
        return self.combiner(proba)

    def inference_module(self, context: Context) -> EnsembleModule:
        """See `Exportable`; members of weight 0 are omitted."""
        from tellapart.classifiers._torch_inference import EnsembleModule

        weights, names = self.combiner.weights, [f"copy {n}" for n in range(len(self.copies))] or list(map(str, self.members))
        used = [n for n in range(len(names)) if weights is None or weights[n]]
        modules = [as_module(self._member(n, context), context, f"{names[n]}, a member of the ensemble: ") for n in used]
        return EnsembleModule(modules, self.combiner).eval()

    def _member(self, number: int, context: Context) -> Classifier:
        if self.copies:
            return self.copies[number]
        member = self.members[number]
        classifier = member.load_classifier(self.find(context))
        if classifier.classes != self.classes:
            raise RunError(f"the classes of {member} differ from those of the ensemble: it was changed since")
        return classifier

    def _copy(self, number: int, train: ImageTable, valid: ImageTable, context: Context) -> Classifier:
        """Fit one copy of the inner recipe."""
        changes = {"inputs": self.recipe.inputs.model_dump(mode="json"), "seed": self.recipe.seed + number}
        recipe = parse({**(self.options.of or {}), **changes}, "of")
        if self.options.bootstrap:
            rows = np.random.default_rng([self.recipe.seed, number]).integers(0, len(train), len(train))
            frame = train.frame.iloc[rows].reset_index(drop=True)
            train = replace(train, frame=frame.assign(id=[f"{name} ({row})" for row, name in enumerate(frame["id"])]))
        family = registry.find("classifiers", recipe.classifier.family)
        inner = replace(context, folder=None, checkpoints=None, notes=[], facts={}, log=lambda _: None)
        context.progress.say(f"  copy {number + 1}/{self.options.copies}")
        classifier = family(recipe).fit(train, valid, inner)
        if inner.stopped_by_hand:
            raise KeyboardInterrupt
        context.notes.extend(note for note in inner.notes if note not in context.notes)
        return classifier

    def _refuse_foreign(self, train: ImageTable, context: Context) -> None:
        """Raise RunError if a member was trained on images that are not in the training split here."""
        import pandas as pd

        ours = set(identify(train, context.progress).digests)
        for member in self.members:
            split = member.folder(self.find(context)) / "split.parquet"
            if not split.exists():
                continue
            require_regular(split)
            check_texts(split)
            known = pd.read_parquet(split)
            if "digest" not in known:
                raise RunError(f"{member} was made by a development version of tellapart", hint="train it again")
            theirs = dict(zip(known["digest"], known["id"], strict=True))
            learnt = known["digest"][(known["split"] == "train") & (known["label"] >= 0)]
            foreign = [theirs[digest] for digest in learnt if digest not in ours]
            if foreign:
                example = min(foreign)
                hint = "members must share data and split: train them with `--split-from RUN`"
                raise RunError(f"{member} was trained on {example!r}, which is not in the training split here", hint=hint)

    @property
    def parameters(self) -> int:
        """Number of values of all members and of the combiner."""
        return self.facts["parameters"] + self.combiner.parameters

    @property
    def pretrained(self) -> str:
        """Sources of the pretrained weights of the members."""
        return self.facts["pretrained"]

    def _save(self, folder: Path) -> None:
        for number, copy in enumerate(self.copies):
            copy.save(folder / "members" / f"{number:03d}")
        if self.combiner.arrays:
            write_arrays(folder / "weights.safetensors", self.combiner.arrays)
        if self.combiner.estimator is not None:
            save_estimator(self.combiner.estimator, folder / "model.skops")
        write_json(folder / "ensemble.json", self.facts)

    def _load(self, folder: Path) -> None:
        self.home, self.combiner = folder.parent, self.new_combiner()
        arrays, estimator = folder / "weights.safetensors", folder / "model.skops"
        self.combiner.arrays = load_file(arrays) if arrays.exists() else {}
        self.combiner.estimator = load_estimator(estimator) if estimator.exists() else None
        self.facts = read_json(folder / "ensemble.json")
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
    """The stored `parameters` and `pretrained` of a run."""
    path = folder / "scores.json"
    return read_json(path)["cost"] if path.exists() else {"parameters": 0, "pretrained": "no"}
