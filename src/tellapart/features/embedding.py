"""The embedding of an earlier network run, as a feature vector for any classifier.

It is the output of the backbone of a finished run: Donahue et al. 2014, "DeCAF: A Deep Convolutional Activation Feature for
Generic Visual Recognition". The weights are copied when the descriptor is fitted, so the new run does not need the old one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field
from safetensors.numpy import load_file

from tellapart import registry
from tellapart.data.cache import DecodedImages
from tellapart.errors import RecipeError, RunError
from tellapart.features.base import Descriptor, FitContext
from tellapart.plain_data import read_json
from tellapart.recipe import load as recipes
from tellapart.recipe.load import Recipe
from tellapart.recipe.schema import OptionsModel

if TYPE_CHECKING:
    from torch import nn

_BATCH = 256  # maximum number of images per forward pass
_PARTS = ("normalize.", "body.trunk.")  # tensors of a saved model that are copied: normalization and backbone, not the head


class Embedding(Descriptor):
    """Output of a pretrained backbone; D is its width.

    `arrays` holds `net` (JSON as bytes) and, by name, the tensors of the normalization and the backbone.
    """

    class Options(OptionsModel):
        """Options of the embedding."""

        run: str = Field(min_length=1, description="finished run of the family network, by name or folder")

    options: Options
    _built: nn.Module | None = None

    def fit(self, images: DecodedImages, labels: np.ndarray, context: FitContext) -> None:
        """Copy the net of the run; nothing is fitted to the images.

        Raises:
            RunError: The run is not a network on images.
            RecipeError: The run was trained on images of another shape.
        """
        del labels
        folder = context.parents(self.options.run)
        recipe = _network_on_images(folder)
        height, width, channels = images.shape
        _check_shape(recipe, folder.name, (height, width, channels))
        about = {
            "shape": [channels, height, width],
            "net": recipe.classifier.options["net"],
            "classes": len(read_json(folder / "classifier.json")["classes"]),
            "options": read_json(folder / "net.json"),
        }
        tensors = load_file(folder / "weights.safetensors")
        kept = {name: tensor for name, tensor in tensors.items() if name.startswith(_PARTS)}
        self.arrays = {"net": np.frombuffer(json.dumps(about).encode(), np.uint8), **kept}
        self._built = None

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """images: (B, H, W, C) uint8 → (B, D) float32.

        Raises:
            RecipeError: Their shape differs from the one that the net was built for.
        """
        if self._built is None:
            self._built = _build(self.arrays)
        return embed(self._built, images)


def embed(model: nn.Module, images: np.ndarray) -> np.ndarray:
    """Compute the output of a backbone, before the head.

    Args:
        model: Normalization and backbone, in evaluation mode: (B, C, H, W) uint8 → (B, D).
        images: (B, H, W, C) uint8.

    Returns:
        (B, D) float32.
    """
    import torch

    found = []
    # at least one batch, which may be empty: the result needs D columns
    with torch.inference_mode():
        for start in range(0, max(1, len(images)), _BATCH):
            x_BCHW = torch.from_numpy(np.ascontiguousarray(images[start : start + _BATCH])).permute(0, 3, 1, 2)
            found.append(model(x_BCHW).flatten(1).float().numpy())
    return np.concatenate(found)


def _network_on_images(folder: Path) -> Recipe:
    """The recipe of a run.

    Raises:
        RunError: The family of the run is not network, or the run was trained on features.
    """
    recipe = recipes.load(str(folder / "recipe.yaml"))
    if recipe.classifier.family != "network":
        raise RunError(
            f"embedding: expected a run of the family 'network', found {folder.name} of {recipe.classifier.family!r}",
            hint="name a run whose recipe has `family: network`",
        )
    if recipe.features is not None:
        raise RunError(
            f"embedding: expected a network trained on images, found {folder.name}, trained on `features`",
            hint="name a run whose recipe has no `features` section",
        )
    return recipe


def _check_shape(recipe: Recipe, name: str, found: tuple[int, int, int]) -> None:
    height, width, channels = found
    inputs = recipe.inputs
    size = (inputs.size, inputs.size) if isinstance(inputs.size, int) else inputs.size
    wanted = (*size, 1 if inputs.mode == "gray" else 3)
    if wanted != found:
        raise RecipeError(
            f"embedding: the net of {name} was trained on images of {wanted[0]}×{wanted[1]}×{wanted[2]} (height, width, "
            f"channels), but the inputs of this recipe are {height}×{width}×{channels}",
            hint=f"set inputs to those of that run: {{size: [{wanted[0]}, {wanted[1]}], mode: {inputs.mode}, "
            f"resize: {inputs.resize}, keep: {inputs.keep:g}}}",
        )


def _build(arrays: dict[str, np.ndarray]) -> nn.Module:
    """Normalization and backbone, in evaluation mode."""
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
        # a 0-d array comes back from the file as 1-d
        part.load_state_dict({k: torch.from_numpy(np.array(arrays[prefix + k])).reshape(v.shape) for k, v in state.items()})
    return nn.Sequential(normalize, body.trunk).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
