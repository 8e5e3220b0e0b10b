"""A recipe: everything that decides how a classifier is made, as one YAML file.

    extends: cnn-small            # optional, one level; mappings merge, lists replace
    inputs:     {size: auto, limit: 128, mode: auto, resize: stretch}
    augment:    [{flip: {}}, {shift: {pixels: 2}}]
    features:   {descriptors: [{pixels: {}}], standardise: true, pca: 300}
    classifier: {family: network, net: staged, …}
    train:      {epochs: 20, batch: 128, optimizer: {name: adamw, lr: 1e-3}, …}
    seed: 0

A family uses some of the sections `augment`, `features` and `train`; naming one that it does not use is an error, not a
setting without effect. The options of the family, its net, the descriptors and the augmentations are checked by their own
classes when the recipe is resolved, so that classes of other packages work like ours.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tellapart import registry
from tellapart.errors import RecipeError, unknown_name
from tellapart.option_errors import in_words
from tellapart.recipe_names import LADDER

FOLDER = Path(__file__).parent / "recipes"


class Section(BaseModel):
    """Base of all option models: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


_Side = Annotated[int, Field(ge=1)]


class Inputs(Section):
    """How an encoded image becomes (H, W, C) uint8. `auto` values are resolved from the data before training."""

    size: Literal["auto"] | Annotated[int, Field(ge=1, le=4096)] | tuple[_Side, _Side] = Field(
        default="auto", description="pixels: one number for a square, [height, width], or auto: the data's own, within `limit`"
    )
    limit: int | None = Field(default=None, ge=1, description="longest side that `size: auto` may choose, in pixels")
    mode: Literal["auto", "rgb", "grey"] = Field(default="auto", description="auto: grey when every probed image is grey")
    resize: Literal["stretch", "crop", "pad", "centre", "none"] = Field(
        default="stretch",
        description="stretch: resample both sides; crop: resample the short side, cut the long one; pad: resample the long "
        "side, fill with black; centre: cut or reflect without resampling; none: another size is an error",
    )
    max_pixels: int = Field(
        default=178_956_970, ge=1, description="an image with more pixels is refused as a decompression bomb"
    )


class Features(Section):
    """Descriptors, concatenated, then optional standardising and PCA."""

    descriptors: list[dict[str, dict[str, Any]]] = Field(
        default=[{"pixels": {}}], description="one {name: options} each; their vectors are concatenated"
    )
    standardise: bool = Field(default=True, description="zero mean and unit variance per component, measured on train")
    pca: int | None = Field(default=None, ge=1, description="principal components kept; more than the rows allow are clipped")


class Optimizer(Section):
    """The optimiser of a network."""

    name: Literal["sgd", "adam", "adamw", "muon"] = Field(default="adamw", description="sgd is with Nesterov momentum")
    lr: float = Field(default=1e-3, gt=0, description="peak learning rate")
    weight_decay: float = Field(default=1e-4, ge=0, description="decoupled for adamw and muon")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="momentum of sgd and muon")
    other_lr: float = Field(default=2e-3, gt=0, description="muon only: AdamW's rate for biases, norms and the last layer")


class Schedule(Section):
    """Learning rate over the run, as a share of the peak: a linear warm-up, then the named decay."""

    name: Literal["constant", "linear", "cosine"] = Field(default="cosine", description="shape of the decay")
    warmup: float = Field(default=0.1, ge=0, lt=1, description="share of the run spent rising linearly from 0")
    floor: float = Field(default=0.0, ge=0, le=1, description="share of the peak reached at the end")


class Train(Section):
    """How a network is trained."""

    epochs: int = Field(default=20, ge=1, description="passes over the training images")
    images: int | None = Field(
        default=None, ge=1, description="images to see in all; where given, epochs = this / training images, within [1, epochs]"
    )
    minutes: float | None = Field(default=None, gt=0, description="wall-clock bound; the schedule then ends with the time")
    batch: int = Field(default=128, ge=2, description="images a step; batch norm needs two")
    optimizer: Optimizer = Field(default_factory=Optimizer, description="see Optimizer")
    schedule: Schedule = Field(default_factory=Schedule, description="see Schedule")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="probability mass spread over all classes")
    average: float = Field(default=0.0, ge=0, lt=1, description="decay of the moving average of weights per step; 0: none")
    patience: int | None = Field(default=None, ge=1, description="stop after so many epochs without a better validation loss")
    best_by: Literal["accuracy", "loss"] = Field(default="accuracy", description="which validation figure picks the checkpoint")


class ClassifierSection(BaseModel):
    """`family` and that family's own options."""

    model_config = ConfigDict(extra="allow", frozen=True)
    family: str = Field(description="a name of `tellapart.registry.names('families')`")

    @property
    def options(self) -> dict[str, Any]:
        """Everything but `family`."""
        return dict(self.model_extra or {})

    @field_validator("family", mode="before")
    @classmethod
    def _null_is_a_name(cls, value: Any) -> Any:
        """YAML reads an unquoted `family: null` as nothing."""
        return "null" if value is None else value


class Recipe(Section):
    """A whole recipe; see the module's docstring. `dump` and `parse` are inverse to each other."""

    inputs: Inputs = Field(default=Inputs(), description="how an encoded image becomes pixels")
    augment: list[dict[str, dict[str, Any]]] | None = Field(
        default=None, description="one {name: options} each, applied in order to training images"
    )
    features: Features | None = Field(default=None, description="vectors of the images, for families that learn from vectors")
    classifier: ClassifierSection = Field(description="the family, and that family's own options")
    train: Train | None = Field(default=None, description="how a network is trained")
    seed: int = Field(default=0, ge=0, description="of everything random")

    def dump(self) -> str:
        """YAML that `parse` reads back unchanged."""
        content = {name: section for name, section in self.model_dump(mode="json").items() if section is not None}
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)

    def digest(self) -> str:
        """8 hex digits over every setting."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.blake2b(content.encode(), digest_size=4).hexdigest()


def parse(content: Mapping[str, Any], where: str = "recipe") -> Recipe:
    """Check a recipe and fill in every default, those of its family included.

    Raises:
        RecipeError: An unknown section, option or name, or a value out of range; says where.
    """
    try:
        recipe = Recipe.model_validate(content)
    except ValidationError as error:
        raise RecipeError(in_words(where, error, Recipe, "section")) from None
    family = _find("families", recipe.classifier.family, where)
    _check_sections(recipe, family.sections, where)
    with _naming(where):
        model = family.options_model(recipe.classifier.options)
    options = check_options(model, recipe.classifier.options, f"{where}: classifier")
    changes: dict[str, Any] = {"classifier": {"family": recipe.classifier.family, **options.model_dump(mode="json")}}
    if "features" in family.sections:
        features = recipe.features or Features()
        changes["features"] = features.model_copy(
            update={"descriptors": [_named("features", d, where) for d in features.descriptors]}
        )
    if "train" in family.sections:
        changes["train"] = recipe.train or Train()
        changes["augment"] = [_named("augment", a, where) for a in recipe.augment or []]
    return Recipe.model_validate({**recipe.model_dump(), **{k: _plain(v) for k, v in changes.items()}})


def check_options(model: type[BaseModel], options: Mapping[str, Any], where: str) -> BaseModel:
    """Validate one mapping of options against its model, with errors in words."""
    try:
        return model.model_validate(dict(options))
    except ValidationError as error:
        raise RecipeError(in_words(where, error, model)) from None


def names() -> list[str]:
    """Recipes that come with the package: the ladder in its order, then the others by name."""
    found = sorted(p.stem for p in FOLDER.glob("*.yaml"))
    return [n for n in LADDER if n in found] + [n for n in found if n not in LADDER]


def text(name: str) -> str:
    """A recipe's YAML with its header comment. `name`: a packaged recipe, or a path to a .yaml file.

    Raises:
        RecipeError: No such recipe.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        if path.parent == FOLDER:
            hint = "`tellapart recipes` lists them; a recipe of yours is given by its path, ending in .yaml"
            raise RecipeError(unknown_name("recipe", name, names()), hint=hint) from None
        raise RecipeError(f"{path}: cannot be read ({error})") from None


def load(name: str, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe by name or path and apply overrides such as `train.epochs=3` (values are YAML).

    Raises:
        RecipeError: No such recipe, bad YAML, or a bad setting; says where.
    """
    content = _read(name)
    base = content.pop("extends", None)
    if base is not None:
        folder = Path(name).parent if name.endswith((".yaml", ".yml")) else FOLDER
        beside = folder / f"{str(base).removesuffix('.yaml')}.yaml"
        parent = _read(str(beside) if beside.exists() else str(base))
        if "extends" in parent:
            raise RecipeError(f"{name}: extends {base}, which extends another: only one level is allowed")
        content = _merge(parent, content)
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key:
            raise RecipeError(f"-s {override}: expected SECTION.OPTION=VALUE, for example train.epochs=3")
        _set(content, key.strip(), _yaml(value, f"-s {override}"))
    return parse(content, name)


def load_all(names: Mapping[str, str], overrides: Iterable[str] = ()) -> dict[str, Recipe]:
    """Read several recipes (key → name or path); each takes the overrides that it has a use for.

    Raises:
        RecipeError: As for `load`; or an override that none of them has a use for.
    """
    overrides = list(overrides)
    plain = {key: load(name) for key, name in names.items()}
    fitting = {key: [o for o in overrides if _has_use(recipe, o)] for key, recipe in plain.items()}
    for override in overrides:
        if not any(override in taken for taken in fitting.values()):
            raise RecipeError(f"-s {override}: none of {', '.join(names)} has such a setting")
    return {key: load(name, fitting[key]) if fitting[key] else plain[key] for key, name in names.items()}


def _has_use(recipe: Recipe, override: str) -> bool:
    section, _, option = override.partition("=")[0].strip().partition(".")
    family = registry.find("families", recipe.classifier.family)
    if section == "classifier":
        return option.partition(".")[0] in family.options_model(recipe.classifier.options).model_fields
    return section in family.sections | {"inputs", "seed"}


def describe(model: type[BaseModel]) -> list[tuple[str, str, str]]:
    """(option, default, description) of every option of a model, for help and docs."""
    rows = []
    for name, info in model.model_fields.items():
        default = info.get_default(call_default_factory=True) if not info.is_required() else "required"
        rows.append((name, str(default), info.description or ""))
    return rows


def _read(name: str) -> dict[str, Any]:
    content = _yaml(text(name), name)
    if not isinstance(content, dict):
        raise RecipeError(f"{name}: a recipe is a YAML mapping with the sections {', '.join(Recipe.model_fields)}")
    return content


def _yaml(source: str, where: str) -> Any:
    try:
        return _numbers(yaml.safe_load(source))
    except yaml.YAMLError as error:
        raise RecipeError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from None


def _numbers(value: Any) -> Any:
    """YAML 1.1 reads `1e-3` as text; people mean a number."""
    if isinstance(value, dict):
        return {k: _numbers(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_numbers(v) for v in value]
    if isinstance(value, str) and value[:1] in "0123456789.-+":
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _merge(base: dict[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _set(content: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        if content.get(parent) is None:
            content[parent] = {}
        content = content[parent]
        if not isinstance(content, dict):
            raise RecipeError(f"-s {key}=…: {parent} is a value, not a section")
    content[last] = value


def _check_sections(recipe: Recipe, used: frozenset[str], where: str) -> None:
    for section in ("augment", "features", "train"):
        if getattr(recipe, section) is not None and section not in used:
            takes = ", ".join(sorted({"inputs", "classifier", "seed", *used}))
            raise RecipeError(
                f"{where}: the family {recipe.classifier.family!r} does not use the section {section!r}; it takes {takes}"
            )


def _named(kind: str, entry: Mapping[str, Mapping[str, Any]], where: str) -> dict[str, dict[str, Any]]:
    if len(entry) != 1:
        raise RecipeError(f"{where}: {kind}: expected one {{name: options}} an entry, found {dict(entry)}")
    ((name, options),) = entry.items()
    model = _find(kind, name, f"{where}: {kind}").Options
    return {name: check_options(model, options, f"{where}: {kind}: {name}").model_dump(mode="json")}


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def _find(kind: str, name: str, where: str) -> Any:
    with _naming(where):
        return registry.find(kind, name)


@contextlib.contextmanager
def _naming(where: str) -> Iterator[None]:
    """Say where an unknown name stands."""
    try:
        yield
    except RecipeError as error:
        raise RecipeError(f"{where}: {error.message}", hint=error.hint) from None
