"""A classifier with calibrated probabilities and a decision rule, on top of a finished run or of an inner recipe fitted here.

A run is named by id, stays where it is, and is opened through the context for every prediction; the classifier of an inner
recipe is saved inside this one. Its probabilities are calibrated, then corrected for the expected class frequencies.
`decision.json` holds the fitted values, with the threshold and the rule for "unsure" (see `calibration.decision` for the order
of the steps). `tellapart calibrate` creates these from runs without decoding images, since the validation predictions of a run
are stored.

Everything is fitted on the validation split. Prediction sets are fitted to cross-fitted probabilities, because the calibration
map has used the labels of these images. The threshold is fitted to the probabilities of the map itself: for two classes, it
does not change their order. Sources: see `calibration.maps`, `calibration.decision` and `calibration.conformal`.
"""

from __future__ import annotations

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
from tellapart.io import write_json
from tellapart.metrics.cross_validation import cross_fit, deal_folds
from tellapart.plain_data import read_json
from tellapart.recipe.load import Recipe, parse
from tellapart.recipe.schema import OptionsModel
from tellapart.types import ImageTable

if TYPE_CHECKING:
    from tellapart.classifiers._torch_inference import CalibratedModule

DECISION = "decision.json"
#: Maps without an offset: the class frequencies implied by the probabilities stay those of the training split.
_KEEP_THE_PRIOR = ("none", "temperature")


class Calibrated(Classifier, Exportable):
    """A base classifier, a calibration map, and a decision rule.

    Attributes:
        decision: Map, prior correction and decision rule, fitted on the validation split.
        inner: The classifier fitted here; None if the base classifier is a run.
        facts: `parameters` and `pretrained` of the base classifier.
        home: The runs folder that it was saved in; None before `load`.
    """

    home: Path | None = None
    inner: Classifier | None = None

    class Options(OptionsModel):
        """Options of `family: calibrated`."""

        how: Literal["none", "temperature", "platt", "vector", "isotonic", "beta"] = Field(
            default="temperature", description="calibration map; none: keep the probabilities, fit only a decision rule"
        )
        prior: dict[str, float] = Field(
            default={},
            description="expected class frequencies, {class: fraction}; the other classes share the rest in proportion",
        )
        fpr: float | None = Field(
            default=None, ge=0, lt=1, description="two classes: choose the threshold with at most this false positive rate"
        )
        cost: tuple[float, float] | None = Field(
            default=None,
            description="two classes: choose the threshold of the lowest cost; costs of a false negative and a false positive",
        )
        unsure: float | None = Field(
            default=None,
            gt=0,
            lt=1,
            description="coverage of conformal prediction sets; images whose set is not a single class are unsure",
        )
        method: Literal["lac", "aps"] = Field(default="lac", description="`unsure`: kind of conformal prediction set")
        band: tuple[float, float] | None = Field(
            default=None, description="two classes: [low, high]; unsure if low ≤ probability of the positive class < high"
        )
        run: str | None = Field(default=None, description="id of the finished run to calibrate")
        of: dict[str, Any] | None = Field(
            default=None, validate_default=True, description="instead of `run`: an inner recipe to fit, then to calibrate"
        )

        @field_validator("of", mode="after")
        @classmethod
        def _check_of(cls, of: Any, known: ValidationInfo) -> Any:
            if (of is None) == (known.data.get("run") is None):
                raise ValueError("expected either `run`, the id of a finished run, or `of`, a recipe to fit")
            if of and {"inputs", "seed", "extends"} & set(of):
                raise ValueError("remove `inputs`, `seed` and `extends`: inputs and seed are those of the outer recipe")
            return _plain_recipe(of) if of else of

        @field_validator("cost", "band", mode="after")
        @classmethod
        def _check_rules(cls, given: Any, known: ValidationInfo) -> Any:
            other = {"cost": "fpr", "band": "unsure"}[str(known.field_name)]
            if given and known.data.get(other) is not None:
                raise ValueError(f"give `{known.field_name}` or `{other}`, not both")
            if given and known.field_name == "cost" and min(given) <= 0:
                raise ValueError("costs must be greater than 0")
            if given and known.field_name == "band" and not 0 <= given[0] <= given[1] <= 1:
                raise ValueError("expected 0 ≤ low ≤ high ≤ 1")
            return given

    options: Options

    @classmethod
    def check(cls, recipe: Recipe) -> None:
        """See `Classifier`; the inner recipe must be valid."""
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
        base = self.base_classifier(context)
        self.facts = {"parameters": base.parameters, "pretrained": base.pretrained}
        if self.options.how != "none" and len(np.unique(known.labels)) < 2:
            context.notes.append("not calibrated: the validation split has no images of at least two classes")
            self.decision = Decision(self.classes, len(known))
            return
        mix = np.bincount(train.labels[train.labels >= 0], minlength=len(self.classes))
        proba = base.predict(known, context).proba
        crossed = self.cross_fitted(proba, known.labels, groups_of(known)) if self.options.unsure else proba
        self.fit_decision(proba, crossed, known.labels, mix, train.positive)
        fitted = f"{self.options.how} and the decision rule were fitted on"
        context.notes.append(f"the validation scores are on the {len(known):,} images that {fitted}")

    def cross_fitted(self, proba: np.ndarray, labels: np.ndarray, groups: np.ndarray | None) -> np.ndarray:
        """Cross-fitted calibrated probabilities, before the prior correction: each fold by a map fitted on the others.

        Args:
            proba: (N, C) float32 in [0, 1], predictions of the base classifier for the validation split.
            labels: (N,) int64 in 0 … C−1.
            groups: (N,) object (str) or None; a group is never divided between folds.

        Returns:
            (N, C) float32; `proba` itself without a map.

        Raises:
            DataError: Too few images, or all of one class.
        """
        if self.options.how == "none":
            return proba
        fit: Any = maps.find(self.options.how).fit
        _require_two_classes(labels, self.classes)
        return renormalize(cross_fit(proba, labels, deal_folds(labels, groups, self.recipe.seed), fit))

    def fit_decision(
        self, proba: np.ndarray, crossed: np.ndarray, labels: np.ndarray, train_counts: np.ndarray, positive: str | None
    ) -> None:
        """Fit the map, the prior correction and the decision rule on the validation split.

        Args:
            proba: (N, C) float32 in [0, 1], predictions of the base classifier.
            crossed: (N, C) float32, the result of `cross_fitted`, to which prediction sets are fitted.
            labels: (N,) int64 in 0 … C−1.
            train_counts: (C,) int64, number of training images of each class.
            positive: The positive class; None: the second of two classes.

        Raises:
            DataError: Too few images or classes for the options.
        """
        options, how = self.options, self.options.how
        positive = (positive or self.classes[1]) if len(self.classes) == 2 else None
        fitted: Any = None if how == "none" else maps.find(how).fit(proba, labels)
        decision = Decision(self.classes, len(labels), positive, fitted)
        if options.prior:
            counts = train_counts if how in _KEEP_THE_PRIOR else np.bincount(labels, minlength=len(self.classes))
            decision = replace(decision, **self._priors(counts, "training" if how in _KEEP_THE_PRIOR else "validation"))
        threshold = self._threshold(decision, renormalize(decision(proba)), labels)
        band = RejectBand(*options.band) if options.band else None
        corrected = renormalize(decision.corrected(crossed))
        sets = Conformal.fit(corrected, labels, options.unsure, options.method) if options.unsure else None
        self.decision = replace(decision, threshold=threshold, band=band, sets=sets)

    def _priors(self, counts: np.ndarray, part: str) -> dict[str, tuple[float, ...]]:
        """`seen` and `prior` of the decision, from the class counts of a split."""
        absent = [name for name, count in zip(self.classes, counts, strict=True) if not count]
        if absent:
            raise DataError(f"the prior cannot be corrected: there is no {part} image of the class {absent[0]}")
        seen = counts / counts.sum()
        prior = full_prior(self.options.prior, self.classes, seen)
        return {"seen": tuple(map(float, seen)), "prior": tuple(map(float, prior))}

    def _threshold(self, decision: Decision, proba: np.ndarray, labels: np.ndarray) -> Threshold | None:
        """The threshold on corrected probabilities (N, C), if the options request one."""
        fpr, cost = self.options.fpr, self.options.cost
        if fpr is None and cost is None:
            return None
        if decision.positive is None:
            found = f"{len(self.classes)}: {', '.join(self.classes)}"
            hint = "prediction sets work with any number of classes: `--unsure 0.9`"
            raise DataError(f"a threshold needs exactly two classes, found {found}", hint=hint)
        target = self.classes.index(decision.positive)
        positive, scores = labels == target, decision.scores(proba)
        if cost is None:
            return threshold_for_fpr(positive, scores, fpr or 0.0)
        prior = decision.prior[target] if decision.prior else None
        return threshold_for_cost(positive, scores, false_positive=cost[1], false_negative=cost[0], prior=prior)

    def _proba(self, table: ImageTable, context: Context) -> np.ndarray:
        return self.decision(self.base_classifier(context).predict(table, context).proba)

    def base_classifier(self, context: Context) -> Classifier:
        """The classifier whose probabilities are calibrated."""
        if self.inner is not None:
            return self.inner
        found = Member(str(self._folder(context))).load_classifier(Path)
        if found.classes != self.classes:
            raise RunError(f"the classes of {self.options.run} differ from those of its calibration: it was changed since")
        return found

    def inference_module(self, context: Context) -> CalibratedModule:
        """See `Exportable`."""
        from tellapart.classifiers._torch_inference import CalibratedModule

        inner = as_module(self.base_classifier(context), context, f"{self.options.run or 'its base classifier'}: ")
        return CalibratedModule(inner, self.decision).eval()

    def _folder(self, context: Context) -> Path:
        """Folder of the base run: in the same runs folder, or where the context finds it."""
        run = self.options.run or ""
        beside = self.home / run if self.home else None
        if beside and (beside / "classifier.json").exists():
            return beside
        hint = "a calibrated run needs its base run to predict: copy the run back, or calibrate another"
        try:
            folder = context.parents(run)
        except RunError as error:
            raise RunError(f"{run}, which was calibrated, is missing: {error.message}", hint=hint) from None
        if not (folder / "classifier.json").exists():
            raise RunError(f"{run}, which was calibrated, is missing: no finished run in {folder}", hint=hint)
        return folder

    @property
    def parameters(self) -> int:
        """Number of values of the base classifier and of the map."""
        return self.facts["parameters"] + (_numbers(self.decision.map.to_dict()) if self.decision.map else 0)

    @property
    def pretrained(self) -> str:
        """Source of the pretrained weights of the base classifier."""
        return self.facts["pretrained"]

    def _save(self, folder: Path) -> None:
        if self.inner is not None:
            self.inner.save(folder / "inner")
        content = self.decision.to_dict() | {"beneath": self.facts}
        write_json(folder / DECISION, content)

    def _load(self, folder: Path) -> None:
        self.home, content = folder.parent, read_json(folder / DECISION)
        self.facts, self.decision = content["beneath"], Decision.from_dict(content)
        self.inner = Member(str(folder / "inner")).load_classifier(Path) if self.options.of is not None else None


def unwrap(classifier: Classifier, context: Context) -> Classifier:
    """The base classifier of a calibrated one; any other classifier itself.

    Explanations use it: calibration changes the probabilities, not the evidence.
    """
    while isinstance(classifier, Calibrated):
        classifier = classifier.base_classifier(context)
    return classifier


def _require_two_classes(labels: np.ndarray, classes: tuple[str, ...]) -> None:
    if len(found := np.unique(labels)) == 1:
        hint = "calibration needs images of at least two classes; `--how none` can still set a rule for unsure"
        raise DataError(f"all {len(labels)} validation images are of one class, {classes[found[0]]}", hint=hint)


def _plain_recipe(of: dict[str, Any]) -> dict[str, Any]:
    """A recipe without `inputs` and `seed`, every default filled in, as plain values."""
    try:
        content = parse(of, "of").model_dump(mode="json", exclude={"inputs", "seed"})
    except RecipeError as error:
        raise ValueError(error.message) from None
    return {name: section for name, section in content.items() if section is not None}


def _numbers(content: Any) -> int:
    """Count the numbers in JSON values."""
    if isinstance(content, dict | list):
        return sum(_numbers(one) for one in (content.values() if isinstance(content, dict) else content))
    return int(isinstance(content, int | float))
