"""Recipes as scikit-learn classifiers: `as_estimator("svm-pca-rbf")` for pipelines, grid searches and cross-validation.

scikit-learn passes arrays and labels; recipes are trained on tables of uint8 images with a validation split. The conversion:

1. Images are (N, H, W) or (N, H, W, 1 or 3), or rows of N × D with `image_shape`, and become uint8 by `value_range`.
2. A stratified fraction of the images passed to `fit` becomes the validation split; images passed to `predict` are never used
for training. 3. Settings of the recipe are parameters: `classifier__C`, `train__optimizer__lr`; they are kept in `overrides`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, final

import numpy as np
import yaml
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from tellapart import registry
from tellapart.classifiers.base import Classifier, Context
from tellapart.data.cache import replace_inputs, resolve_inputs
from tellapart.data.memory import from_arrays
from tellapart.errors import DataError, RecipeError
from tellapart.inference.context import resolve_device
from tellapart.recipe.load import Recipe, load, parse
from tellapart.types import ImageTable

__all__ = ["InvalidImages", "InvalidSetting", "RecipeClassifier", "as_estimator"]


class InvalidSetting(RecipeError, ValueError):
    """A setting that the recipe does not accept; also a ValueError, as scikit-learn expects."""


class InvalidImages(DataError, ValueError):
    """Arrays that are not images; also a ValueError, as scikit-learn expects."""


def as_estimator(
    recipe: str | Path | Recipe, *, overrides: Mapping[str, Any] | Sequence[str] = (),
    image_shape: tuple[int, ...] | str | None = None, value_range: tuple[float, float] | None = None,
    validation_fraction: float = 0.1, random_state: int | np.random.RandomState | None = None, device: str = "cpu",
) -> RecipeClassifier:  # fmt: skip
    """Create a scikit-learn classifier from a recipe, which is read at once. Arguments as for `RecipeClassifier`.

    Raises:
        InvalidSetting: The recipe is unknown, or does not accept an override.

    >>> as_estimator("knn").set_params(classifier__k=3).get_params()["classifier__k"]
    3
    """
    estimator = RecipeClassifier(
        recipe, overrides=overrides, image_shape=image_shape, value_range=value_range,
        validation_fraction=validation_fraction, random_state=random_state, device=device,
    )  # fmt: skip
    estimator.resolved()
    return estimator


@final
class RecipeClassifier(ClassifierMixin, BaseEstimator):
    """A scikit-learn classifier that is trained as a recipe specifies.

    Args:
        recipe: A packaged name, a path to a .yaml file, or a `Recipe`.
        overrides: Settings of the recipe: {"classifier__C": 1.0} or ["classifier.C=1.0"]. `set_params(classifier__C=1.0)`
            adds to them, and `get_params()` has every setting of the recipe.
        image_shape: Shape of a row of a 2-D X: (H, W) or (H, W, C) pixels in C order; or "row" for D measured values instead
            of pixels, which become an image of one row: each value is scaled from its range in `fit` to 256 levels and
            clipped; it is never resampled. None: X is (N, H, W) or (N, H, W, C), C = 1 or 3.
        value_range: (black, white), such as (0, 1); values outside are errors. None: integers from 0 to 255.
        validation_fraction: Fraction of each class that `fit` uses for selection only (an epoch, a penalty, a temperature), not
            for training; rounded, and never the last image of a class. 0: none.
        random_state: Random seed of the validation split and of the recipe. None: the seed of the recipe.
        device: "cpu", "cuda", "mps", "auto".

    Attributes:
        classes_: (C,) labels that occur, sorted.
        n_features_in_: Number of values of an image, H · W · C.
        image_shape_: (H, W, C).
        classifier_: The fitted `Classifier`; its `recipe` has all settings resolved.
        notes_: Deviations from what was requested, such as a reduced number of components.
    """

    def __init__(
        self, recipe: str | Path | Recipe, *, overrides: Mapping[str, Any] | Sequence[str] = (),
        image_shape: tuple[int, ...] | str | None = None, value_range: tuple[float, float] | None = None,
        validation_fraction: float = 0.1, random_state: int | np.random.RandomState | None = None, device: str = "cpu",
    ) -> None:  # fmt: skip
        self.recipe = recipe
        self.overrides = overrides
        self.image_shape = image_shape
        self.value_range = value_range
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.device = device

    def fit(self, X: Any, y: Any) -> Self:
        """Fit to images.

        Args:
            X: (N, H, W), (N, H, W, C) or, with `image_shape`, (N, D).
            y: (N,) labels: text, integers or booleans.

        Raises:
            ValueError: X or y cannot be used for training; `InvalidImages` and `InvalidSetting` are ValueErrors.
        """
        flat, shape = self._flat(X)
        checked: Any = validate_data(self, flat, y)
        flat, y = checked
        check_classification_targets(y)
        self.image_shape_ = self._shape_of(shape, flat.shape[1])
        if self.image_shape == "row":
            self.column_low_, self.column_high_ = flat.min(axis=0), flat.max(axis=0)
        elif self.value_range is None and flat.dtype.kind == "f" and flat.max() <= 1:
            raise InvalidImages("X has floats that do not exceed 1", hint="for pixels from 0 to 1 set value_range=(0, 1)")
        self.classes_, labels = np.unique(y, return_inverse=True)
        self._learn(self._table(flat, labels))
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predict the most probable class of each image, the first one for ties: (N,), of the type of the labels."""
        proba = self.predict_proba(X)
        return self.classes_[proba.argmax(axis=1)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict probabilities in the order of `classes_`: (N, C) float64; rows sum to 1."""
        check_is_fitted(self)
        flat, shape = self._flat(X)
        if shape and shape != self.image_shape_:
            raise InvalidImages(f"X has images of {_words(shape)}; those in fit were {_words(self.image_shape_)}")
        checked: Any = validate_data(self, flat, reset=False)
        answers = self.classifier_.predict(self._table(checked, np.full(len(checked), -1)), self._context())
        proba = answers.proba.astype(np.float64)
        return proba / proba.sum(axis=1, keepdims=True)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters by name; with `deep`, also the settings of the recipe, if it can be read (else `fit` raises the error)."""
        params = super().get_params(deep=False)
        if not deep:
            return params
        try:
            settings = self.resolved().model_dump(mode="json").items()
        except InvalidSetting:
            return params
        return params | _flattened({section: options for section, options in settings if options is not None})

    def set_params(self, **params: Any) -> Self:
        """Set parameters; `section__option` changes a setting of the recipe.

        Raises:
            InvalidSetting: The recipe has no such setting, or does not accept the value.
        """
        settings = {key: value for key, value in params.items() if key.partition("__")[0] in Recipe.model_fields}
        super().set_params(**{key: value for key, value in params.items() if key not in settings})
        if settings:
            overrides = {**_as_mapping(self.overrides), **settings}
            self.resolved(overrides)
            self.overrides = overrides
        return self

    def resolved(self, overrides: Any = None) -> Recipe:
        """The recipe with overrides (None: those of this classifier), before any data are seen.

        Raises:
            InvalidSetting: The recipe cannot be read.
        """
        overrides = _as_mapping(self.overrides if overrides is None else overrides)
        try:
            if isinstance(self.recipe, Recipe):
                return _with(self.recipe, overrides)
            return load(str(self.recipe), [_written(key, value) for key, value in overrides.items()])
        except RecipeError as error:
            raise InvalidSetting(error.message, hint=error.hint) from None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = self.image_shape is not None
        tags.input_tags.three_d_array = self.image_shape != "row"
        return tags

    def _flat(self, X: Any) -> tuple[Any, tuple[int, ...] | None]:
        """Convert images to rows, with their shape (H, W, C); an array without image shape is returned unchanged, with None."""
        if getattr(X, "ndim", 3) < 3:  # frames and sparse matrices are 2-D; scikit-learn reads them
            return X, None
        images = np.asarray(X)
        if images.ndim < 3:
            return X, None
        if images.ndim > 4 or (images.ndim == 4 and images.shape[3] not in (1, 3)):
            raise InvalidImages(f"X is {images.shape}: expected (N, H, W) or (N, H, W, C) with 1 or 3 channels, the last axis")
        shape = images.shape[1:] if images.ndim == 4 else (*images.shape[1:], 1)
        return images.reshape(len(images), int(np.prod(shape))), shape

    def __sklearn_is_fitted__(self) -> bool:
        return "classifier_" in vars(self)

    def _shape_of(self, found: tuple[int, ...] | None, width: int) -> tuple[int, ...]:
        """Shape (H, W, C) of the images passed to `fit`; `found`: shape of the array, `width`: number of values per row."""
        if self.image_shape is None and found is None:
            hint = 'set image_shape=(H, W) or (H, W, C) for flattened pixels, image_shape="row" for measured values'
            raise InvalidImages(f"X has rows of {width:,} values: expected images, (N, H, W) or (N, H, W, C)", hint=hint)
        row = (1, width, 1) if self.image_shape == "row" else None
        asked = row or (found if found and self.image_shape is None else _image_shape(self.image_shape))
        if int(np.prod(asked)) != width or (found and asked != found):
            has = f"images of {_words(found)}" if found else f"rows of {width:,} values"
            raise InvalidImages(f"image_shape is {self.image_shape!r}, but X has {has}")
        return asked

    def _table(self, flat: np.ndarray, labels: np.ndarray) -> ImageTable:
        """Create a table from checked numbers, (N, D), and labels, (N,) int, −1 for unknown."""
        pixels = self._scaled(flat) if self.image_shape == "row" else _pixels(flat, self.value_range)
        height, width, channels = self.image_shape_
        images = pixels.reshape(-1, height, width, channels) if channels > 1 else pixels.reshape(-1, height, width)
        return from_arrays(images, labels, [str(name) for name in self.classes_])

    def _scaled(self, flat: np.ndarray) -> np.ndarray:
        """Scale the range of each column in `fit` to 0 … 255; a constant column is 0: (N, D) uint8."""
        # halved, since the difference between the limits of float64 overflows
        low, high, x = (part.astype(np.float64) / 2 for part in (self.column_low_, self.column_high_, flat))
        share = (x.clip(low, high) - low) / np.where(high > low, high - low, 1)
        return np.rint(share * 255).astype(np.uint8)

    def _learn(self, table: ImageTable) -> None:
        recipe = self._seeded(self.resolved())
        held = _held_out(table.labels, self.validation_fraction, recipe.seed)
        train, valid, context = table.take(~held), table.take(held), self._context()
        if self.image_shape == "row":
            inputs = replace_inputs(recipe.inputs, size=self.image_shape_[:2], mode="gray", keep=1.0, region=None)
        else:
            inputs = resolve_inputs(recipe.inputs, train)
        recipe = recipe.model_copy(update={"inputs": inputs})
        family: type[Classifier] = registry.find("classifiers", recipe.classifier.family)
        family.check(recipe)
        self.classifier_ = family(recipe).fit(train, valid, context)
        self.notes_ = tuple(context.notes)
        if context.stopped_by_hand:  # the best weights so far are kept, but a search around this fit must end too
            raise KeyboardInterrupt

    def _seeded(self, recipe: Recipe) -> Recipe:
        if self.random_state is None:
            return recipe
        given = self.random_state
        if not isinstance(given, int | np.integer) or given < 0:
            given = check_random_state(given).randint(2**31 - 1)  # raises an error for a negative number
        return recipe.model_copy(update={"seed": int(given)})

    def _context(self) -> Context:
        return Context(device=resolve_device(self.device))


def _image_shape(given: Any) -> tuple[int, ...]:
    """Convert (H, W) or (H, W, C) to (H, W, C)."""
    sides = (*given, 1)[:3] if isinstance(given, tuple | list) and len(given) in (2, 3) else (0, 0, 0)
    if not all(isinstance(side, int | np.integer) and side >= 1 for side in sides) or sides[2] not in (1, 3):
        raise InvalidSetting(f'image_shape is {given!r}: expected (H, W), (H, W, 1), (H, W, 3), "row" or None')
    return tuple(int(side) for side in sides)


def _pixels(flat: np.ndarray, value_range: Any) -> np.ndarray:
    """(N, D) numbers → (N, D) uint8; `value_range`: (black, white) or None, as in `RecipeClassifier`."""
    if value_range is None:
        if flat.dtype == np.uint8:
            return flat
        if flat.dtype.kind not in "iuf" or flat.min() < 0 or flat.max() > 255 or (flat != np.rint(flat)).any():
            found = f"{flat.dtype} from {float(flat.min()):g} to {float(flat.max()):g}"
            hint = "for other numbers set the values of black and white, such as value_range=(0, 1)"
            raise InvalidImages(f"X must contain integers from 0 to 255; got {found}", hint=hint)
        return flat.astype(np.uint8)
    ends = np.asarray(value_range)
    if ends.shape != (2,) or ends.dtype.kind not in "iuf" or not 0 < np.ptp(ends) < np.inf:
        raise InvalidSetting(f"value_range is {value_range!r}: expected two different numbers, black and white, or None")
    share = (flat.astype(np.float64) - ends[0]) / (ends[1] - ends[0])
    if share.min() < -1e-6 or share.max() > 1 + 1e-6:
        found = f"{float(flat.min()):g} to {float(flat.max()):g}"
        raise InvalidImages(f"X has values from {found}, outside value_range={value_range}")
    return np.rint(share.clip(0, 1) * 255).astype(np.uint8)


def _held_out(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Rows of the validation split: (N,) bool. Fractions are rounded; at least one image of each class remains."""
    if not isinstance(fraction, int | float | np.number) or not 0 <= fraction < 1:
        raise InvalidSetting(f"validation_fraction is {fraction!r}: expected a number from 0 to below 1")
    generator, held = np.random.default_rng(seed), np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        held[members[: min(round(fraction * len(members)), len(members) - 1)]] = True
    return held


def _as_mapping(overrides: Any) -> dict[str, Any]:
    """Convert settings to values by name, `section__option`."""
    if isinstance(overrides, Mapping):
        return {str(key).replace(".", "__"): value for key, value in overrides.items()}
    texts = list(overrides) if isinstance(overrides, list | tuple) else [overrides]
    if wrong := [text for text in texts if not isinstance(text, str) or "=" not in text]:
        raise InvalidSetting(f"overrides: {wrong[0]!r}: expected a mapping, or strings such as 'train.epochs=3'")
    found = {}
    for text in texts:
        key, _, value = text.partition("=")
        try:
            found[key.strip().replace(".", "__")] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise InvalidSetting(f"overrides: {text}: not valid YAML: {' '.join(str(error).split())}") from None
    return found


def _written(key: str, value: Any) -> str:
    """The override "section.option=value" that `recipe.load` takes; JSON is YAML."""
    try:
        text = json.dumps(value, default=_plain, ensure_ascii=False)
    except (TypeError, ValueError):
        raise InvalidSetting(f"{key}: {value!r} ({type(value).__name__}) is not a setting of a recipe") from None
    return f"{key.replace('__', '.')}={text}"


def _plain(value: Any) -> Any:
    """Convert values that JSON cannot represent: numbers and arrays of NumPy, paths."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else str(Path(value))


def _with(recipe: Recipe, overrides: Mapping[str, Any]) -> Recipe:
    """Return a given recipe with some settings changed."""
    content = yaml.safe_load(recipe.dump())
    for key, value in overrides.items():
        *sections, option = key.split("__")
        place = content
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise InvalidSetting(f"{key}: {section} is a value, not a section")
        place[option] = yaml.safe_load(_written(key, value).partition("=")[2])
    return parse(content)


def _flattened(content: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Flatten settings of nested sections to `section__option`."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        found |= _flattened(value, f"{above}{key}__") if isinstance(value, dict) and value else {f"{above}{key}": value}
    return found


def _words(shape: Sequence[int]) -> str:
    """(28, 28, 1) → "28 × 28 × 1"."""
    return " × ".join(map(str, shape))
