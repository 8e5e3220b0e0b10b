"""Any classification model of torchvision, by name, with our own head.

torchvision is imported only when a net is built, since the import takes seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tellapart.nets._pretrained import (
    PretrainedNet,
    PretrainedOptions,
    check_name,
    fetch_hub,
    fetch_url,
    load_weights,
    too_small,
)
from tellapart.nets._sources import WeightSource
from tellapart.nets.base import InitialWeights, Net, Parents, image_shape

#: Models whose published weights need mean .5 and standard deviation .5; torchvision rescales inside them, which we turn off.
_HALF = ("googlenet", "inception_v3")
#: Children that only contain stages.
_ROWS = ("features", "layers", "blocks", "trunk_output", "encoder")
#: Models whose minimum size in torchvision is the size that they were trained at.
_ANY_SIZE = ("vit", "swin", "maxvit")
_PATCHES = {"vit_b_16": 16, "vit_b_32": 32, "vit_l_16": 16, "vit_l_32": 32, "vit_h_14": 14}


class TorchVision(Net):
    """A torchvision model, pretrained or not.

    Its last linear layer (SqueezeNet: the last convolution) is replaced by our head; the layers before it stay, including
    dropout. GoogLeNet and Inception-v3 have no auxiliary classifiers. A ViT is built for the size of the input, rounded up to a
    square of whole patches; images are padded on the right and below, and pretrained position embeddings are resampled. For
    gray images the first convolution, random or pretrained, is summed over its input channels: the output is that for the same
    image in three equal channels.
    """

    class Options(PretrainedOptions):
        """Options of `net: torchvision`."""

        model: str = Field(description="name from `torchvision.models.list_models(module=torchvision.models)`")

    @staticmethod
    def build(shape: tuple[int, ...], classes: int, options: Options) -> PretrainedNet:
        """See the class.

        Raises:
            RecipeError: torchvision has no such model, or the model does not accept the images.
        """
        shape = image_shape(shape, "torchvision")
        least = _published(options.model).meta.get("min_size", (1, 1))
        if not options.model.startswith(_ANY_SIZE) and (shape[1] < least[0] or shape[2] < least[1]):
            raise too_small(options.model, shape, f"it needs at least {least[0]}×{least[1]}")
        net, padded = _create(options.model, shape)
        if shape[0] == 1:
            _make_gray(net)
        net.set_submodule(_last(net), nn.Identity())
        return _TorchVisionBody(net, shape, padded, classes, options)

    @staticmethod
    def normalize_stats(options: Options) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Mean and standard deviation of the published weights; None without weights."""
        if options.weights == "none":
            return None
        if options.model in _HALF:
            return (0.5,) * 3, (0.5,) * 3
        transforms = _published(options.model).transforms()
        return tuple(transforms.mean), tuple(transforms.std)

    @staticmethod
    def load_pretrained(body: Any, options: Options, parents: Parents) -> InitialWeights:
        """See `_pretrained.load_weights`."""
        del parents
        net, _ = _create(options.model, (3, 224, 224))
        heads = [_last(net), "aux1", "aux2", "AuxLogits"]
        return load_weights(body, options, lambda repository: _fetch(options.model, repository), heads)


class _TorchVisionBody(PretrainedNet):
    def backbone_groups(self) -> list[list[nn.Parameter]]:
        """The children of the model, in order; a norm belongs to the layer before it, other parameters to the first group."""
        groups: list[list[nn.Parameter]] = []
        for stage in _stages(self.net):
            own = list(stage.parameters())
            if groups and isinstance(stage, _BatchNorm | nn.LayerNorm):
                groups[-1] += own
            elif own:
                groups.append(own)
        grouped = {id(p) for group in groups for p in group}
        groups[0] += [p for p in self.net.parameters() if id(p) not in grouped]
        return groups

    def convert(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename the tensors of early DenseNet and ViT files; resample position embeddings."""
        from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

        tensors = {_renamed(name): tensor for name, tensor in tensors.items()}
        if isinstance(self.net, VisionTransformer) and "encoder.pos_embedding" in tensors:
            return dict(interpolate_embeddings(self.net.image_size, self.net.patch_size, tensors))  # type: ignore[arg-type]
        return tensors


def _published(model: str) -> Any:
    """torchvision's recommended weights of a model: URL, normalization, minimum size."""
    from torchvision import models

    check_name("torchvision", model, models.list_models(module=models))
    return models.get_model_weights(model).DEFAULT  # type: ignore[attr-defined]


def _fetch(model: str, repository: str) -> WeightSource:
    """The published weights of a model, or those of a repository of the hub."""
    if repository:
        return WeightSource(fetch_hub(repository, None, model), f"hub: {repository}")
    weights = _published(model)
    data = "ImageNet-1k" if weights.name.startswith("IMAGENET1K") else ""
    label = f"hub: torchvision/{model}.{weights.name}"
    return WeightSource(fetch_url(weights.url, model), label, weights.meta.get("license", ""), data)


def _create(model: str, shape: tuple[int, int, int]) -> tuple[nn.Module, tuple[int, int]]:
    """The whole model for RGB with random weights, and the padded size of its input."""
    from torchvision import models

    _, height, width = shape
    if model in _HALF:
        return models.get_model(model, aux_logits=False, transform_input=False, init_weights=True), (height, width)
    if model in _PATCHES:
        side = -(-max(height, width) // _PATCHES[model]) * _PATCHES[model]
        return models.get_model(model, image_size=side), (side, side)
    try:
        sized = {"input_size": (height, width)} if model == "maxvit_t" else {}
        return models.get_model(model, **sized), (height, width)
    except ValueError as error:
        raise too_small(model, shape, str(error)) from None


def _last(net: nn.Module) -> str:
    """Name of the layer that computes the logits: the last linear layer, or else the last convolution."""
    named = list(net.named_modules())
    linear = [name for name, module in named if isinstance(module, nn.Linear)]
    return (linear or [name for name, module in named if isinstance(module, nn.Conv2d)])[-1]


def _make_gray(net: nn.Module) -> None:
    """Sum the first convolution over its three input channels."""
    name, old = next((n, m) for n, m in net.named_modules() if isinstance(m, nn.Conv2d))
    new = nn.Conv2d(1, old.out_channels, old.kernel_size, old.stride, old.padding, old.dilation, bias=old.bias is not None)  # type: ignore[arg-type]
    with torch.no_grad():
        new.weight.copy_(old.weight.sum(1, keepdim=True))
        if new.bias is not None and old.bias is not None:
            new.bias.copy_(old.bias)
    net.set_submodule(name, new)


def _stages(net: nn.Module) -> Iterator[nn.Module]:
    for name, child in net.named_children():
        if name in _ROWS or isinstance(child, nn.ModuleList):
            yield from _stages(child)
        else:
            yield child


def _renamed(name: str) -> str:
    """`denselayer1.norm.1.weight` → `denselayer1.norm1.weight`; `mlp.linear_2.bias` → `mlp.3.bias`."""
    name = re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d)", r"\1\2", name)
    return re.sub(r"\.mlp\.linear_([12])", lambda found: f".mlp.{3 * (int(found[1]) - 1)}", name)
