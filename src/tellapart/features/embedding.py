"""The last features of a network that was trained before, as a vector for any classifier.

What the trunk of a finished run gives before its head: Donahue et al. 2014, "DeCAF: A Deep Convolutional Activation Feature for
Generic Visual Recognition". The weights are copied when the descriptor is fitted, so the new run needs the old one no more.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field
from safetensors.numpy import load_file

from tellapart import registry
from tellapart.data.cache import DecodedImages
from tellapart.errors import RecipeError, RunError
from tellapart.features.base import Descriptor, FitContext
from tellapart.recipe import load as recipes
from tellapart.recipe.load import Recipe
from tellapart.recipe.schema import OptionsModel

if TYPE_CHECKING:
    from torch import nn

_ANSWERED = 256  # images a forward pass, at most
_PARTS = ("normalize.", "body.trunk.")  # of a saved model: what is needed; the head is left behind


class Embedding(Descriptor):
    """D: the width of the trunk. `arrays` holds `net` (JSON as bytes) and the tensors of scaling and trunk, by name."""

    class Options(OptionsModel):
        """Options of the embedding."""

        run: str = Field(min_length=1, description="a finished run of the family network, by name or folder")

    options: Options
    _built: nn.Module | None = None

    def fit(self, images: DecodedImages, labels: np.ndarray, context: FitContext) -> None:
        """Copy the net of the run; nothing is learnt from the images.

        Raises:
            RunError: The run is no network on images.
            RecipeError: It saw images of another shape.
        """
        del labels
        folder = context.parents(self.options.run)
        recipe = _network_on_images(folder)
        height, width, channels = images.shape
        _check_shape(recipe, folder.name, (height, width, channels))
        about = {
            "shape": [channels, height, width],
            "net": recipe.classifier.options["net"],
            "classes": len(json.loads((folder / "classifier.json").read_text("utf-8"))["classes"]),
            "options": json.loads((folder / "net.json").read_text("utf-8")),
        }
        tensors = load_file(folder / "weights.safetensors")
        kept = {name: tensor for name, tensor in tensors.items() if name.startswith(_PARTS)}
        self.arrays = {"net": np.frombuffer(json.dumps(about).encode(), np.uint8), **kept}
        self._built = None

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """images: (B, H, W, C) uint8 → (B, D) float32.

        Raises:
            RecipeError: They are not of the shape that the net was built for.
        """
        if self._built is None:
            self._built = _build(self.arrays)
        return embed(self._built, images)


def embed(model: nn.Module, images: np.ndarray) -> np.ndarray:
    """What a net gives before its head.

    Args:
        model: Scaling and trunk, in evaluation mode: (B, C, H, W) uint8 → (B, D).
        images: (B, H, W, C) uint8.

    Returns:
        (B, D) float32.
    """
    import torch

    found = []
    # the last portion may be empty: no images still have a width
    with torch.inference_mode():
        for start in range(0, max(1, len(images)), _ANSWERED):
            x_BCHW = torch.from_numpy(np.ascontiguousarray(images[start : start + _ANSWERED])).permute(0, 3, 1, 2)
            found.append(model(x_BCHW).flatten(1).float().numpy())
    return np.concatenate(found)


def _network_on_images(folder: Path) -> Recipe:
    """The recipe of a run.

    Raises:
        RunError: Its family is not network, or it learnt from vectors.
    """
    recipe = recipes.load(str(folder / "recipe.yaml"))
    if recipe.classifier.family != "network":
        raise RunError(
            f"embedding: the run {folder.name} is of the family {recipe.classifier.family!r}, expected 'network'",
            hint="name a run whose recipe has `family: network`",
        )
    if recipe.features is not None:
        raise RunError(
            f"embedding: the net of {folder.name} learnt from `features`, expected one that learnt from images",
            hint="name a run whose recipe has no section `features`",
        )
    return recipe


def _check_shape(recipe: Recipe, name: str, found: tuple[int, int, int]) -> None:
    height, width, channels = found
    inputs = recipe.inputs
    size = (inputs.size, inputs.size) if isinstance(inputs.size, int) else inputs.size
    wanted = (*size, 1 if inputs.mode == "gray" else 3)
    if wanted != found:
        raise RecipeError(
            f"embedding: the net of {name} saw images of {wanted[0]}×{wanted[1]}×{wanted[2]} (height, width, channels), "
            f"this recipe's inputs give {height}×{width}×{channels}",
            hint=f"set inputs to those of that run: {{size: [{wanted[0]}, {wanted[1]}], mode: {inputs.mode}, "
            f"resize: {inputs.resize}, keep: {inputs.keep:g}}}",
        )


def _build(arrays: dict[str, np.ndarray]) -> nn.Module:
    """Scaling and trunk, ready to answer."""
    import torch
    from torch import nn

    from tellapart.nets.base import Normalize

    about = json.loads(arrays["net"].tobytes())
    net = registry.find("nets", about["net"])
    body = net.build(tuple(about["shape"]), about["classes"], net.Options.model_validate(about["options"]))
    channels = about["shape"][0]
    normalize = Normalize(torch.zeros(channels), torch.ones(channels))
    for prefix, part in zip(_PARTS, (normalize, body.trunk), strict=True):
        state = part.state_dict()
        # a number that was an array of no dimension came back from the file with one
        part.load_state_dict({k: torch.from_numpy(np.array(arrays[prefix + k])).reshape(v.shape) for k, v in state.items()})
    return nn.Sequential(normalize, body.trunk).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
