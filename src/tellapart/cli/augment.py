"""`tellapart augment`: show what the augmentations of a recipe do to an image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tellapart.cli import options as opt
from tellapart.regular_files import read_bytes

if TYPE_CHECKING:
    import numpy as np

    from tellapart.recipe.load import Recipe
    from tellapart.recipe.schema import Inputs


Action = Annotated[Literal["show"], typer.Argument(metavar="show", help="Write a figure of augmented images.")]
RecipeName = Annotated[
    str,
    typer.Argument(metavar="RECIPE", help="Name of a recipe, path of a .yaml file, or name of one augmentation."),
]
Image = Annotated[Path, typer.Argument(metavar="IMAGE", help="The image to augment.")]
Output = Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The figure to write.")]
Count = Annotated[int, typer.Option("--count", metavar="N", min=1, max=200, help="Number of augmented versions to show.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Random seed for the augmentations.")]


def run(
    action: Action, recipe: RecipeName, image: Image, overrides: opt.Overrides = None, output: Output = Path("augment.png"),
    count: Count = 11, seed: Seed = 0, as_json: opt.AsJson = False, verbose: opt.Verbose = False,
) -> None:  # fmt: skip
    """Show how a recipe augments IMAGE: the original beside random versions, at the image size of the recipe.

    If RECIPE is the name of one augmentation, set its options with -s, for example -s degrees=30.
    """
    from tellapart.errors import RecipeError
    from tellapart.reports.contact_sheets import augmentation_sheet

    opt.check_output(output)
    loaded = _recipe(recipe, overrides or [])
    if not loaded.augment:
        raise RecipeError(
            f"{recipe}: this recipe has no augmentations",
            hint="add one with -s 'augment=[{flip: {}}]', or pass the name of an augmentation",
        )
    picture = augmentation_sheet(loaded.augment, _pixels(image, loaded.inputs), seed, count)
    _write(picture, output)
    if as_json:
        opt.print_json({"figure": str(output), "augment": loaded.augment})
    else:
        opt.print_lines(f"figure: {output}")


def _recipe(name: str, overrides: list[str]) -> Recipe:
    """The recipe; for the name of an augmentation, a recipe with this augmentation alone."""
    from tellapart import registry
    from tellapart.errors import RecipeError, unknown_name
    from tellapart.recipe import load as recipes

    if name in recipes.names() or name.endswith((".yaml", ".yml")):
        return recipes.load(name, overrides)
    if name not in registry.names("augmentations"):
        known = [*recipes.names(), *registry.names("augmentations")]
        raise RecipeError(unknown_name("recipe or augmentation", name, known), hint="the path of a recipe file ends in .yaml")
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
    """The image as the recipe's `inputs` decode it; `auto` values are those of the image: (H, W, C) uint8 in [0, 255]."""
    from tellapart.data.decode import decode_to, header
    from tellapart.errors import ImageError

    try:
        content = read_bytes(path)
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
    except (OSError, ValueError) as error:  # ValueError: the file extension is no image format
        raise SystemLimitError(f"{path}: cannot be written ({error})", hint="choose another file with -o") from None
