"""Activations of a spatial layer of a network, the gradient of the class there, and how to lay a map over the image.

The default layer is found with forward hooks: of all modules whose output is a grid of at least two by two cells, or the tokens
of one, the last to run on which the score of the class depends. This is the last stage of a convolutional net whatever its
head, and in a transformer with a class token the last block whose patches still influence it. Another layer can be named: an
earlier one has a higher resolution and is less specific to the class.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.data.decode import target_size
from tellapart.errors import RunError, unknown_name
from tellapart.explainers._geometry import map_to_image, resample
from tellapart.explainers._model import ExplainedModel
from tellapart.recipe.schema import OptionsModel

_PREFIXES = (0, 1, 2, 5)  # tokens before the patches: none, a class token, a distillation token, registers


class LayerOptions(OptionsModel):
    """Options of all methods that use the activations of a layer."""

    layer: str | None = Field(
        default=None,
        description="name of a layer in the net, such as body.trunk.2; none: the last layer whose output is a map",
    )


@dataclass(frozen=True, eq=False)
class Activations:
    """The output of one layer for one image.

    Attributes:
        values: (C, h, w) float32.
        gradient: (C, h, w) float32, gradient of the class's logit with respect to `values`.
        layer: The name of the module.
    """

    values: Tensor
    gradient: Tensor
    layer: str


def activations(model: ExplainedModel, image: Any, label: int, layer: str | None = None) -> Activations:
    """Compute the activations of a layer and the gradient of the class there.

    Args:
        model: A network.
        image: (H, W, 3) uint8.
        label: The class.
        layer: The name of a module; None: the last one whose output is a map.

    Raises:
        RunError: The net has no layer with a map, or the named layer has none.
    """
    module, x = model.module(), model.to_input(image)
    chosen = model.layers.get(layer or "", layer)
    wanted = {chosen} if chosen else {name for name, _ in module.named_modules() if name}
    with _watched(module, wanted) as seen, torch.enable_grad():
        score = module(x.requires_grad_(True))[0, label]
        score.backward()
    module.zero_grad(set_to_none=True)
    for name, (values, gradient) in reversed(seen.items()):
        if gradient and bool(gradient[-1].any()):
            model.layers[layer or ""] = name
            return Activations(values, gradient[-1], name)
    if chosen and chosen in seen:  # for this image the class does not depend on the layer
        values = seen[chosen][0]
        return Activations(values, torch.zeros_like(values), chosen)
    if layer:
        raise _no_map(model, x, layer)
    hint = "occlusion and rise explain any classifier"
    raise RunError(f"{model.name or 'this net'} has no layer whose output is a map of the image", hint=hint)


def upsample_map(coarse: Tensor, model: ExplainedModel, image: np.ndarray) -> np.ndarray:
    """Upsample a map, (h, w) over the input of the net, to the image, (H, W, 3): (H, W) float32."""
    shown = resample(coarse.detach().numpy(), *target_size(model.inputs))
    return map_to_image(shown, model.inputs, *image.shape[:2])


def as_grid(output: Any) -> Tensor | None:
    """Convert an output to (B, C, h, w) with h, w ≥ 2; None if it is not a map.

    Maps are (B, C, h, w), or (B, h, w, C) in channels-last nets, distinguished by which two sides are equal; tokens are
    (B, N, C) with a square number of patches after at most a few others.
    """
    if not isinstance(output, Tensor):
        return None
    grid = _grid_like(output) if output.ndim in (3, 4) and _is_grid(output) else None
    return grid if grid is not None and min(grid.shape[2:]) >= 2 else None


def _no_map(model: ExplainedModel, x: Tensor, layer: str) -> RunError:
    """The error for a layer that cannot be used, with the layers that can."""
    module = model.module()
    names = [name for name, _ in module.named_modules() if name]
    if layer not in names:
        return RunError(unknown_name(f"layer of {model.name or 'this net'}", layer, names))
    with _watched(module, set(names)) as seen, torch.enable_grad():
        module(x.requires_grad_(True))
    hint = f"layers with a map: {', '.join(seen)}" if seen else "occlusion and rise explain any classifier"
    return RunError(f"the layer {layer} of {model.name or 'this net'} is not a map of the image", hint=hint)


@contextmanager
def _watched(module: nn.Module, wanted: set[str]) -> Iterator[dict[str, tuple[Tensor, list[Tensor]]]]:
    """Context manager that collects the outputs of modules that are grids, in running order, with their gradients."""
    seen: dict[str, tuple[Tensor, list[Tensor]]] = {}
    handles = []

    def watch(name: str) -> Any:
        """A hook that stores the output of the module of this name, and later its gradient."""

        def hook(_: nn.Module, __: Any, output: Any) -> None:
            grid = as_grid(output)
            if grid is None or not output.requires_grad:
                return
            gradients: list[Tensor] = []
            seen.pop(name, None)  # for a module that runs twice, the last run counts
            seen[name] = (grid[0].detach().clone(), gradients)
            output.register_hook(lambda g: gradients.append(_grid_like(g)[0].detach().clone()))

        return hook

    for name, part in module.named_modules():
        if name in wanted:
            handles.append(part.register_forward_hook(watch(name)))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _is_grid(output: Tensor) -> bool:
    return output.ndim == 4 or _prefix(output.shape[1]) is not None


def _grid_like(output: Tensor) -> Tensor:
    if output.ndim == 4:
        _, a, b, c = output.shape
        return output.permute(0, 3, 1, 2) if a == b != c else output
    prefix = _prefix(output.shape[1]) or 0
    side = math.isqrt(output.shape[1] - prefix)
    return output[:, prefix:].transpose(1, 2).reshape(output.shape[0], -1, side, side)


def _prefix(tokens: int) -> int | None:
    """The number of tokens before a square of patches.

    >>> _prefix(197), _prefix(49), _prefix(7)
    (1, 0, None)
    """
    return next((p for p in _PREFIXES if tokens - p >= 4 and math.isqrt(tokens - p) ** 2 == tokens - p), None)
