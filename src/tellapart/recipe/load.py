"""A recipe: everything that decides how a classifier is made, as one YAML file.

    extends: cnn-small            # optional, one level; mappings merge, lists replace
    inputs:     {size: auto, limit: 128, mode: auto, resize: stretch}
    augment:    [{flip: {}}, {one_of: [{jpeg: {}}, {blur: {}}]}]
    features:   {descriptors: [{pixels: {}}], standardize: true, pca: 300}
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
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, Field, ValidationError

from tellapart import registry
from tellapart.errors import RecipeError, unknown_name
from tellapart.recipe.errors import in_words
from tellapart.recipe.groups import LADDER
from tellapart.recipe.schema import (
    Average,
    BoxRegion,
    ClassifierSection,
    FaceRegion,
    Features,
    Inputs,
    Optimizer,
    OptionsModel,
    Region,
    Schedule,
    Train,
)
from tellapart.regular_files import read_text

__all__ = [
    "LADDER",
    "Average",
    "BoxRegion",
    "ClassifierSection",
    "FaceRegion",
    "Features",
    "Inputs",
    "Optimizer",
    "OptionsModel",
    "Recipe",
    "Region",
    "Schedule",
    "Train",
    "check_options",
    "describe",
    "load",
    "load_all",
    "names",
    "parse",
    "text",
]  # fmt: skip

_LARGEST = 1 << 20  # bytes of a recipe, which has some 2,000
FOLDER = Path(__file__).parents[1] / "recipes"

OptionsT = TypeVar("OptionsT", bound=BaseModel)


class Recipe(OptionsModel):
    """A whole recipe; see the module's docstring. `dump` and `parse` are inverse to each other."""

    inputs: Inputs = Field(default=Inputs(), description="how an encoded image becomes pixels")
    augment: list[dict[str, dict[str, Any] | list[Any]]] | None = Field(
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
    family = _find("classifiers", recipe.classifier.family, where)
    _check_sections(recipe, family.sections | family.optional, where)
    with _naming(where):
        model = family.options_model(recipe.classifier.options)
    options = check_options(model, recipe.classifier.options, f"{where}: classifier")
    changes: dict[str, Any] = {"classifier": {"family": recipe.classifier.family, **options.model_dump(mode="json")}}
    if "features" in family.sections or recipe.features:
        features = recipe.features or Features()
        changes["features"] = features.model_copy(
            update={"descriptors": [_named("features", d, f"{where}: features") for d in features.descriptors]}
        )
    if "train" in family.sections:
        changes["train"] = recipe.train or Train()
        changes["augment"] = [_augmentation(a, where) for a in recipe.augment or []]
    return Recipe.model_validate({**recipe.model_dump(), **{k: _plain(v) for k, v in changes.items()}})


def check_options(model: type[OptionsT], options: Mapping[str, Any], where: str) -> OptionsT:
    """Validate one mapping of options against its model, with readable errors."""
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
        return read_text(path, _LARGEST, "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        if path.parent == FOLDER:
            hint = "`tellapart recipes` lists them; for a recipe of your own, pass the path of its .yaml file"
            raise RecipeError(unknown_name("recipe", name, names()), hint=hint) from None
        raise RecipeError(f"{path}: cannot be read ({error})") from None


def recipe_name(recipe: str | Path | Recipe) -> str:
    """The name under which runs of a recipe are stored.

    >>> recipe_name("recipes/mine.yaml"), recipe_name("cnn-small")
    ('mine', 'cnn-small')
    """
    return "recipe" if isinstance(recipe, Recipe) else Path(recipe).name.removesuffix(".yaml").removesuffix(".yml")


def resolve_recipe(recipe: str | Path | Recipe, overrides: Iterable[str] = ()) -> tuple[str, Recipe]:
    """Name and recipe, with overrides applied where the recipe is given by its name or path.

    Raises:
        RecipeError: See `load`.
    """
    return recipe_name(recipe), recipe if isinstance(recipe, Recipe) else load(str(recipe), overrides)


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
    """Read several recipes (key → name or path); each takes the overrides that apply to it.

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
    family = registry.find("classifiers", recipe.classifier.family)
    if section == "classifier":
        return option.partition(".")[0] in family.options_model(recipe.classifier.options).model_fields
    present = {section for section in family.optional if getattr(recipe, section) is not None}
    return section in family.sections | present | {"inputs", "seed"}


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
    """Set one value; a number in `key` is a place in a list, as in `features.descriptors.0.embedding.size`."""
    *parents, last = key.split(".")
    inner, above = content, ""
    for name in parents:
        place: Any = _place(inner, name, above, key)
        if isinstance(inner, dict) and inner.get(name) is None:
            inner[name] = {}
        inner, above = inner[place], name
    inner[_place(inner, last, above, key)] = value  # type: ignore[index]


def _place(inner: Any, name: str, above: str, key: str) -> str | int:
    """The key `name` of a mapping, or the place `name` in a list. `above`: its own name, for errors."""
    if isinstance(inner, dict):
        return name
    if not isinstance(inner, list):
        raise RecipeError(f"-s {key}=…: {above} is a value, not a section")
    if not name.isdecimal() or int(name) >= len(inner):
        raise RecipeError(f"-s {key}=…: {above} is a list of {len(inner)}: expected a place from 0, found {name!r}")
    return int(name)


def _check_sections(recipe: Recipe, used: frozenset[str], where: str) -> None:
    for section in ("augment", "features", "train"):
        if getattr(recipe, section) is not None and section not in used:
            takes = ", ".join(sorted({"inputs", "classifier", "seed", *used}))
            options = "--epochs, --minutes and " if section == "train" else ""
            raise RecipeError(
                f"{where}: the family {recipe.classifier.family!r} does not use the section {section!r}; it takes {takes}",
                hint=f"leave out {options}what sets {section}",
            )


def _named(kind: str, entry: Mapping[str, Mapping[str, Any]], where: str) -> dict[str, dict[str, Any]]:
    """One `{name: options}`, checked. `where`: the section, for errors."""
    if len(entry) != 1:
        raise RecipeError(f"{where}: expected one {{name: options}} an entry, found {dict(entry)}")
    ((name, options),) = entry.items()
    model = _find(kind, name, where).Options
    return {name: check_options(model, options, f"{where}: {name}").model_dump(mode="json")}


def _augmentation(entry: Any, where: str) -> dict[str, dict[str, Any]]:
    """One entry, checked; a list stands for `of`, the entries that a combinator such as `one_of` chooses from."""
    if not isinstance(entry, Mapping) or len(entry) != 1:
        raise RecipeError(f"{where}: augment: expected one {{name: options}} an entry, found {entry!r}")
    ((name, options),) = entry.items()
    checked = _named("augmentations", {name: {"of": options} if isinstance(options, list) else options}, f"{where}: augment")
    of = checked[name].get("of")
    if of is not None:
        checked[name]["of"] = [
            [_augmentation(e, where) for e in one] if isinstance(one, list) else _augmentation(one, where) for one in of
        ]
    return checked


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value


def _find(kind: str, name: str, where: str) -> Any:
    with _naming(where):
        return registry.find(kind, name)


@contextlib.contextmanager
def _naming(where: str) -> Iterator[None]:
    """Add the place of an unknown name to its error."""
    try:
        yield
    except RecipeError as error:
        raise RecipeError(f"{where}: {error.message}", hint=error.hint) from None
