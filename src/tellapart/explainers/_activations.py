"""The last map that a network makes of a picture before it forgets where things are, and the class's gradient there.

Which layer that is differs from net to net. It is found by watching: of all modules whose output is a grid of at least two
by two cells, or the tokens of one, the last to run on which the class's score depends. So it is the last stage of a
convolutional net whatever its head, and in a transformer that reads a class token the last block whose patches still reach
it. Another one can be asked for: an earlier one is finer, and says less about the class.
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
    """What all methods that look at a layer ask for."""

    layer: str | None = Field(
        default=None,
        description="a layer by its name in the net, such as body.trunk.2; none: the last whose output is a map",
    )


@dataclass(frozen=True, eq=False)
class Activations:
    """What one layer made of a picture.

    Attributes:
        values: (C, h, w) float32.
        gradient: (C, h, w) float32, of the class's logit by `values`.
        layer: The module's name.
    """

    values: Tensor
    gradient: Tensor
    layer: str


def activations(model: ExplainedModel, image: Any, label: int, layer: str | None = None) -> Activations:
    """The values of the chosen layer and the gradient there.

    Args:
        model: A network.
        image: (H, W, 3) uint8.
        label: The class.
        layer: A module's name; None: the last whose output is a map.

    Raises:
        RunError: No layer of the net is a map, or the one that was named is none.
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
    if chosen and chosen in seen:  # this once the class depends on nothing there
        values = seen[chosen][0]
        return Activations(values, torch.zeros_like(values), chosen)
    if layer:
        raise _no_map(model, x, layer)
    hint = "occlusion and rise explain any classifier"
    raise RunError(f"{model.name or 'this net'} has no layer that is a map of the picture", hint=hint)


def upsample_map(coarse: Tensor, model: ExplainedModel, image: np.ndarray) -> np.ndarray:
    """(h, w) over what the net was shown → (H, W) float32 over `image`, (H, W, 3)."""
    shown = resample(coarse.detach().numpy(), *target_size(model.inputs))
    return map_to_image(shown, model.inputs, *image.shape[:2])


def as_grid(output: Any) -> Tensor | None:
    """An output as (B, C, h, w) with h, w ≥ 2; None where it is no map.

    Maps are (B, C, h, w), or (B, h, w, C) in nets that keep channels last, told by which two sides are equal; tokens are
    (B, N, C) with a square number of patches after at most a few others.
    """
    if not isinstance(output, Tensor):
        return None
    grid = _grid_like(output) if output.ndim in (3, 4) and _is_grid(output) else None
    return grid if grid is not None and min(grid.shape[2:]) >= 2 else None


def _no_map(model: ExplainedModel, x: Tensor, layer: str) -> RunError:
    """What is wrong with a layer that was named, and which could be."""
    module = model.module()
    names = [name for name, _ in module.named_modules() if name]
    if layer not in names:
        return RunError(unknown_name(f"layer of {model.name or 'this net'}", layer, names))
    with _watched(module, set(names)) as seen, torch.enable_grad():
        module(x.requires_grad_(True))
    hint = f"maps are: {', '.join(seen)}" if seen else "occlusion and rise explain any classifier"
    return RunError(f"the layer {layer} of {model.name or 'this net'} is no map of the picture", hint=hint)


@contextmanager
def _watched(module: nn.Module, wanted: set[str]) -> Iterator[dict[str, tuple[Tensor, list[Tensor]]]]:
    """While inside, the outputs of modules that are grids, in the order in which they come, with their gradients."""
    seen: dict[str, tuple[Tensor, list[Tensor]]] = {}
    handles = []

    def watch(name: str) -> Any:
        """A hook that keeps the output of the module of this name, and later its gradient."""

        def hook(_: nn.Module, __: Any, output: Any) -> None:
            grid = as_grid(output)
            if grid is None or not output.requires_grad:
                return
            gradients: list[Tensor] = []
            seen.pop(name, None)  # a module that runs twice counts where it ran last
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
    """How many tokens stand before a square of patches.

    >>> _prefix(197), _prefix(49), _prefix(7)
    (1, 0, None)
    """
    return next((p for p in _PREFIXES if tokens - p >= 4 and math.isqrt(tokens - p) ** 2 == tokens - p), None)
