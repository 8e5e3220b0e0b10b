"""`tellapart augment`: what augmentations do to a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tellapart.cli import options as shared

if TYPE_CHECKING:
    import numpy as np

    from tellapart.recipe.load import Recipe
    from tellapart.recipe.schema import Inputs


def run(
    action: Annotated[Literal["show"], typer.Argument(metavar="show", help="Write a picture.")],
    recipe: Annotated[
        str,
        typer.Argument(metavar="RECIPE", help="A name of `tellapart recipes`, a path to a .yaml file, or one augmentation."),
    ],
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="The picture to augment.")],
    overrides: shared.Overrides = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="The picture that is written.")] = Path("augment.png"),
    count: Annotated[int, typer.Option("--count", min=1, max=200, help="Augmented versions beside the original.")] = 11,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the parameters.")] = 0,
    as_json: shared.AsJson = False,
    verbose: shared.Verbose = False,
) -> None:
    """Show IMAGE as a recipe augments it: the original beside random versions of it, at the size the recipe trains on.

    RECIPE may name one augmentation; its options are then set with -s, for example -s degrees=30.
    """
    from tellapart.errors import RecipeError
    from tellapart.reports.contact_sheets import augmentation_sheet

    shared.check_output(output)
    loaded = _recipe(recipe, overrides or [])
    if not loaded.augment:
        raise RecipeError(f"{recipe}: augments nothing", hint="try -s 'augment=[{flip: {}}]', or name one augmentation")
    picture = augmentation_sheet(loaded.augment, _pixels(image, loaded.inputs), seed, count)
    _write(picture, output)
    if as_json:
        shared.print_json({"picture": str(output), "augment": loaded.augment})
    else:
        shared.out().print(f"picture: {output}", markup=False, highlight=False, soft_wrap=True)


def _recipe(name: str, overrides: list[str]) -> Recipe:
    """The recipe; for one augmentation, a recipe that has nothing else."""
    from tellapart import registry
    from tellapart.errors import RecipeError, unknown_name
    from tellapart.recipe import load as recipes

    if name in recipes.names() or name.endswith((".yaml", ".yml")):
        return recipes.load(name, overrides)
    if name not in registry.names("augmentations"):
        known = [*recipes.names(), *registry.names("augmentations")]
        raise RecipeError(unknown_name("recipe or augmentation", name, known), hint="a recipe of yours ends in .yaml")
    options = dict(_option(o) for o in overrides)
    return recipes.parse({"classifier": {"family": "network", "net": "mlp"}, "augment": [{name: options}]}, name)


def _option(override: str) -> tuple[str, Any]:
    import yaml

    from tellapart.errors import RecipeError

    key, equals, value = override.partition("=")
    try:
        if equals and key:
            return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError:
        pass
    raise RecipeError(f"-s {override}: expected OPTION=VALUE, for example degrees=30 or quality=[50, 80]")


def _pixels(path: Path, inputs: Inputs) -> np.ndarray:
    """The picture as the recipe's `inputs` decode it; `auto` values are those of the picture: (H, W, C) uint8."""
    from tellapart.data.decode import decode_to, header
    from tellapart.errors import ImageError

    try:
        content = path.read_bytes()
    except OSError as error:
        raise ImageError(str(path), f"cannot be read ({error.strerror})") from None
    height, width, is_gray = header(content, str(path))
    changes: dict[str, Any] = {}
    if inputs.size == "auto":
        shrink = min(1.0, (inputs.limit or 512) / max(height, width))
        changes["size"] = (max(1, round(height * shrink)), max(1, round(width * shrink)))
    if inputs.mode == "auto":
        changes["mode"] = "gray" if is_gray else "rgb"
    return decode_to(content, inputs.model_copy(update=changes), str(path))


def _write(picture: Any, path: Path) -> None:
    from tellapart.errors import SystemLimitError

    try:
        picture.save(path)
    except (OSError, ValueError) as error:  # ValueError: an ending that is no picture's
        raise SystemLimitError(f"{path}: cannot be written ({error})", hint="choose another file with -o") from None
