"""A classifier with truer probabilities and a verdict: a finished run, or a recipe fitted here, and what validation taught.

The run is named by id, stays where it is, and is opened, through the context, whenever this one answers; a recipe's classifier
is saved within. The probabilities that come out are calibrated, then corrected for the mix of classes that is wanted, and
`verdict.json` holds how, with the threshold and the "unsure" that stand on them (`evaluate.decision` says in which order).
`tellapart calibrate` makes these of runs without decoding an image, since a run's validation answers are stored.

Everything is learnt on the validation part. The sets of classes are fitted to cross-fitted probabilities, as the map has seen
the labels of these images; the threshold to those of the map itself, which of two classes leaves the order as it is.

Sources: those of `evaluate.calibrate`, `evaluate.verdict` and `evaluate.conformal`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, ValidationInfo, field_validator

from tellapart import registry
from tellapart.calibration import maps
from tellapart.calibration.conformal import Conformal
from tellapart.calibration.decision import Decision, renormalize
from tellapart.calibration.thresholds import RejectBand, Threshold, full_prior, threshold_for_cost, threshold_for_fpr
from tellapart.classifiers._ensemble_members import Member
from tellapart.classifiers.base import Classifier, Context, Exportable, as_module, groups_of
from tellapart.errors import DataError, RecipeError, RunError
from tellapart.metrics.cross_validation import cross_fit, deal_folds
from tellapart.recipe.load import Recipe, parse
from tellapart.recipe.schema import OptionsModel
from tellapart.types import ImageTable

if TYPE_CHECKING:
    from tellapart.classifiers._torch_inference import CalibratedModule

VERDICT = "verdict.json"
#: Maps that have no offset: the mix of classes that probabilities are for stays that of the training part.
_KEEP_THE_MIX = ("none", "temperature")


class Calibrated(Classifier, Exportable):
    """A classifier, and a decision on its probabilities.

    Attributes:
        decision: What validation taught.
        inner: The classifier that was fitted here; None where it is a run.
        facts: `parameters` and `pretrained` of the classifier beneath.
        home: The folder beside whose runs it was saved; None before that.
    """

    home: Path | None = None
    inner: Classifier | None = None

    class Options(OptionsModel):
        """Options of `family: calibrated`."""

        how: Literal["none", "temperature", "platt", "vector", "isotonic", "beta"] = Field(
            default="temperature", description="the map of probabilities that is fitted; none: they stay, for a verdict alone"
        )
        prior: dict[str, float] = Field(
            default={}, description="class → its share where the answers are used; the others divide the rest as they did"
        )
        fpr: float | None = Field(
            default=None, ge=0, lt=1, description="two classes: the threshold that at most so many negative images reach"
        )
        cost: tuple[float, float] | None = Field(
            default=None, description="two classes: the threshold of least cost; what a miss costs, then a false alarm"
        )
        unsure: float | None = Field(
            default=None, gt=0, lt=1, description="coverage of the sets of classes; sets of other than one class are unsure"
        )
        method: Literal["lac", "aps"] = Field(default="lac", description="of `unsure`: which sets")
        band: tuple[float, float] | None = Field(
            default=None, description="two classes: unsure where the positive class has a probability from low to below high"
        )
        run: str | None = Field(default=None, description="the finished run that is calibrated, by id")
        of: dict[str, Any] | None = Field(
            default=None, validate_default=True, description="instead of `run`: a recipe that is fitted, then calibrated"
        )

        @field_validator("of", mode="after")
        @classmethod
        def _check_of(cls, of: Any, known: ValidationInfo) -> Any:
            if (of is None) == (known.data.get("run") is None):
                raise ValueError("expected either `run`, a finished run by id, or `of`, a recipe to fit")
            if of and {"inputs", "seed", "extends"} & set(of):
                raise ValueError("`inputs` and `seed` stand in the recipe itself, and `extends` is not possible")
            return _plain_recipe(of) if of else of

        @field_validator("cost", "band", mode="after")
        @classmethod
        def _check_rules(cls, given: Any, known: ValidationInfo) -> Any:
            other = {"cost": "fpr", "band": "unsure"}[str(known.field_name)]
            if given and known.data.get(other) is not None:
                raise ValueError(f"give `{known.field_name}` or `{other}`, not both")
            if given and known.field_name == "cost" and min(given) <= 0:
                raise ValueError("costs are above 0")
            if given and known.field_name == "band" and not 0 <= given[0] <= given[1] <= 1:
                raise ValueError("a band goes up from low to high, within 0 … 1")
            return given

    @classmethod
    def check(cls, recipe: Recipe) -> None:
        """See `Classifier`; what the family beneath has to say."""
        if (of := recipe.classifier.options.get("of")) is not None:
            inner = parse(of, "of")
            registry.find("classifiers", inner.classifier.family).check(inner)

    def _fit(self, train: ImageTable, valid: ImageTable, context: Context) -> None:
        self.home, self.inner = None, None
        if self.options.of is not None:
            changes = {"inputs": self.recipe.inputs.model_dump(mode="json"), "seed": self.recipe.seed}
            recipe = parse({**self.options.of, **changes}, "of")
            self.inner = registry.find("classifiers", recipe.classifier.family)(recipe).fit(train, valid, context)
        known = valid.take(valid.labels >= 0)
        beneath = self.base_classifier(context)
        self.facts = {"parameters": beneath.parameters, "pretrained": beneath.pretrained}
        if self.options.how != "none" and len(np.unique(known.labels)) < 2:
            context.notes.append("not calibrated: the validation part has no images of two classes to learn from")
            self.decision = Decision(self.classes, len(known))
            return
        mix = np.bincount(train.labels[train.labels >= 0], minlength=len(self.classes))
        proba = beneath.predict(known, context).proba
        crossed = self.cross_fitted(proba, known.labels, groups_of(known)) if self.options.unsure else proba
        self.fit_decision(proba, crossed, known.labels, mix, train.positive)
        context.notes.append(
            f"the validation scores are of the {len(known):,} images that {self.options.how} and the verdict were learnt from"
        )

    def cross_fitted(self, proba: np.ndarray, labels: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
        """Calibrated answers that may be judged with the labels they learnt from, before a correction of the mix.

        Args:
            proba: (N, C) float32, what the classifier beneath answers to the validation part.
            labels: (N,) int64 in 0 … C−1.
            groups: (N,) object (str) or None; they are kept whole.

        Returns:
            (N, C) float32; without a map `proba`.

        Raises:
            DataError: Too few images, or of one class.
        """
        if self.options.how == "none":
            return proba
        learn: Any = maps.find(self.options.how).fit
        _refuse_one_class(labels, self.classes)
        return renormalize(cross_fit(proba, labels, deal_folds(labels, groups, self.recipe.seed), learn))

    def fit_decision(
        self, proba: np.ndarray, crossed: np.ndarray, labels: np.ndarray, train_counts: np.ndarray, positive: str | None
    ) -> None:
        """Decide on the validation part.

        Args:
            proba: (N, C) float32, what the classifier beneath answers to it.
            crossed: (N, C) float32, the same from `cross_fitted`: what sets are fitted to.
            labels: (N,) int64 in 0 … C−1.
            train_counts: (C,) int64, training images of each class.
            positive: The positive class; None: of two classes the second.

        Raises:
            DataError: Too few images or classes for what was asked.
        """
        options, how = self.options, self.options.how
        positive = (positive or self.classes[1]) if len(self.classes) == 2 else None
        learnt: Any = None if how == "none" else maps.find(how).fit(proba, labels)
        decision = Decision(self.classes, len(labels), positive, learnt)
        if options.prior:
            counts = train_counts if how in _KEEP_THE_MIX else np.bincount(labels, minlength=len(self.classes))
            decision = replace(decision, **self._mixes(counts, "training" if how in _KEEP_THE_MIX else "validation"))
        threshold = self._threshold(decision, renormalize(decision(proba)), labels)
        band = RejectBand(*options.band) if options.band else None
        honest = renormalize(decision.corrected(crossed))
        sets = Conformal.fit(honest, labels, options.unsure, options.method) if options.unsure else None
        self.decision = replace(decision, threshold=threshold, band=band, sets=sets)

    def _mixes(self, counts: np.ndarray, part: str) -> dict[str, tuple[float, ...]]:
        """`seen` and `prior` of the decision."""
        absent = [name for name, count in zip(self.classes, counts, strict=True) if not count]
        if absent:
            raise DataError(f"the mix of classes cannot be corrected: no {part} image is {absent[0]}")
        seen = counts / counts.sum()
        prior = full_prior(self.options.prior, self.classes, seen)
        return {"seen": tuple(map(float, seen)), "prior": tuple(map(float, prior))}

    def _threshold(self, decision: Decision, proba: np.ndarray, labels: np.ndarray) -> Threshold | None:
        """On corrected probabilities."""
        fpr, cost = self.options.fpr, self.options.cost
        if fpr is None and cost is None:
            return None
        if decision.positive is None:
            named = f"{len(self.classes)}: {', '.join(self.classes)}"
            hint = "sets of classes with a stated coverage work with any number: `--unsure 0.9`"
            raise DataError(f"a threshold lies between two classes; there are {named}", hint=hint)
        target = self.classes.index(decision.positive)
        positive, scores = labels == target, decision.scores(proba)
        if fpr is not None:
            return threshold_for_fpr(positive, scores, fpr)
        prior = decision.prior[target] if decision.prior else None
        return threshold_for_cost(positive, scores, false_positive=cost[1], false_negative=cost[0], prior=prior)

    def _proba(self, table: ImageTable, context: Context) -> np.ndarray:
        return self.decision(self.base_classifier(context).predict(table, context).proba)

    def base_classifier(self, context: Context) -> Classifier:
        """The classifier whose probabilities these are made of."""
        if self.inner is not None:
            return self.inner
        found = Member(str(self._folder(context))).load_classifier(Path)
        if found.classes != self.classes:
            raise RunError(f"{self.options.run} knows other classes than its calibration: it was changed since")
        return found

    def inference_module(self, context: Context) -> CalibratedModule:
        """See `Exportable`."""
        from tellapart.classifiers._torch_inference import CalibratedModule

        inner = as_module(self.base_classifier(context), context, f"{self.options.run or 'its classifier'} beneath it: ")
        return CalibratedModule(inner, self.decision).eval()

    def _folder(self, context: Context) -> Path:
        """Of the run beneath: beside this one, or where the context knows it."""
        beside = self.home / self.options.run if self.home else None
        if beside and (beside / "classifier.json").exists():
            return beside
        hint = "a calibrated run opens its parent whenever it answers: copy the run back, or calibrate another"
        try:
            folder = context.parents(self.options.run)
        except RunError as error:
            raise RunError(f"{self.options.run}, which was calibrated, is missing: {error.message}", hint=hint) from None
        if not (folder / "classifier.json").exists():
            where = f"{folder} holds no finished run"
            raise RunError(f"{self.options.run}, which was calibrated, is missing: {where}", hint=hint)
        return folder

    @property
    def parameters(self) -> int:
        """Those beneath, and the numbers of the map."""
        return self.facts["parameters"] + (_numbers(self.decision.map.to_dict()) if self.decision.map else 0)

    @property
    def pretrained(self) -> str:
        """Whose weights the classifier beneath started from."""
        return self.facts["pretrained"]

    def _save(self, folder: Path) -> None:
        if self.inner is not None:
            self.inner.save(folder / "inner")
        content = self.decision.to_dict() | {"beneath": self.facts}
        (folder / VERDICT).write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")

    def _load(self, folder: Path) -> None:
        self.home, content = folder.parent, json.loads((folder / VERDICT).read_text(encoding="utf-8"))
        self.facts, self.decision = content["beneath"], Decision.from_dict(content)
        self.inner = Member(str(folder / "inner")).load_classifier(Path) if self.options.of is not None else None


def unwrap(classifier: Classifier, context: Context) -> Classifier:
    """What a calibrated classifier stands on; any other itself.

    Calibration only bends the probabilities: where the evidence lies is decided beneath.
    """
    while isinstance(classifier, Calibrated):
        classifier = classifier.base_classifier(context)
    return classifier


def _refuse_one_class(labels: np.ndarray, classes: tuple[str, ...]) -> None:
    if len(found := np.unique(labels)) == 1:
        hint = "calibration needs images of two classes at least; `--how none` can still set an unsure"
        raise DataError(f"all {len(labels)} validation images are of one class, {classes[found[0]]}", hint=hint)


def _plain_recipe(of: dict[str, Any]) -> dict[str, Any]:
    """A recipe without `inputs` and `seed`, every default filled in, as plain values."""
    try:
        content = parse(of, "of").model_dump(mode="json", exclude={"inputs", "seed"})
    except RecipeError as error:
        raise ValueError(error.message) from None
    return {name: section for name, section in content.items() if section is not None}


def _numbers(content: Any) -> int:
    """How many numbers stand in JSON values."""
    if isinstance(content, dict | list):
        return sum(_numbers(one) for one in (content.values() if isinstance(content, dict) else content))
    return int(isinstance(content, int | float))
