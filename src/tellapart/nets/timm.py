"""Any image model of timm (Wightman 2019, "PyTorch Image Models"), by name, with our own head.

timm is imported only when a net is built, since the import takes seconds.
"""

from __future__ import annotations

import re
import sys
from typing import Any

from pydantic import Field
from torch import Tensor, nn

from tellapart.errors import RecipeError
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


class Timm(Net):
    """A timm model, pretrained or not.

    Convolutional models accept any size that is large enough for their strides. Models with a fixed size (ViT, DINO, Swin, …)
    are built for the size of the input, rounded up to whole patches; images are padded on the right and below, and pretrained
    position embeddings are resampled to that grid, as timm does it. A first convolution trained on RGB is summed over its input
    channels for gray images, which is exact for images whose three channels are equal.
    """

    class Options(PretrainedOptions):
        """Options of `net: timm`."""

        model: str = Field(description="name from `timm.list_models()`, optionally with the `.TAG` of its weights")
        drop_path: float = Field(default=0.0, ge=0, lt=1, description="stochastic depth rate; 0: the default of the model")

    @staticmethod
    def build(shape: tuple[int, ...], classes: int, options: Options) -> PretrainedNet:
        """See the class.

        Raises:
            RecipeError: timm has no such model, or the model does not accept the images or an option.
        """
        shape = image_shape(shape, "timm")
        _check_model(options.model)
        net, padded = _create(shape, options)
        return _TimmBody(net, shape, padded, classes, options)

    @staticmethod
    def normalize_stats(options: Options) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Mean and standard deviation of the published weights; None without weights."""
        if options.weights == "none":
            return None
        config = _config(options.model)
        return config.mean, config.std

    @staticmethod
    def load_pretrained(body: Any, options: Options, parents: Parents) -> InitialWeights:
        """See `_pretrained.load_weights`."""
        del parents
        heads = _config(options.model).classifier or ()
        return load_weights(body, options, lambda r: _published(options.model, r), [heads] if isinstance(heads, str) else heads)


class _TimmBody(PretrainedNet):
    def backbone_groups(self) -> list[list[nn.Parameter]]:
        """The stages that timm defines, the stem first."""
        from timm.models import group_parameters

        named = dict(self.net.named_parameters())
        stages = group_parameters(self.net, self.net.group_matcher(coarse=True))
        return [[named[name] for name in stages[depth]] for depth in sorted(stages)]

    def convert(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Rename original checkpoints and resample position embeddings by the filter of the model, if timm has one."""
        filters = vars(sys.modules[type(self.net).__module__])
        convert = filters.get("checkpoint_filter_fn") or filters.get("_filter_fn")
        if convert is None:
            return tensors
        try:
            return convert(dict(tensors), self.net)
        except (LookupError, AttributeError, TypeError, ValueError, RuntimeError):
            return tensors  # weights of another net: loading them unchanged reports which tensors differ


def _check_model(name: str) -> None:
    import timm

    architecture, _, tag = name.partition(".")
    check_name("timm", architecture, timm.list_models())
    if tag:
        known = [n.partition(".")[2] for n in timm.list_pretrained(f"{architecture}.*")]
        if tag not in known:
            raise RecipeError(f"timm has no weights {tag!r} of {architecture}; available: {', '.join(known) or 'none'}")


def _create(shape: tuple[int, int, int], options: Timm.Options) -> tuple[nn.Module, tuple[int, int]]:
    """The model without its classifier, and the padded size of its input."""
    from timm.layers.patch_embed import PatchEmbed

    channels, height, width = shape
    net = _model(options, channels, (height, width))
    patches: list[Any] = [m.patch_size for m in net.modules() if isinstance(m, PatchEmbed)]
    if not patches or not _config(options.model).fixed_input_size:
        return net, (height, width)
    padded = tuple(-(-side // patch) * patch for side, patch in zip((height, width), patches[0], strict=True))
    return net if padded == (height, width) else _model(options, channels, padded), padded


def _model(options: Timm.Options, channels: int, size: tuple[int, int]) -> Any:
    import timm

    sized: dict[str, Any] = {"img_size": size} if _config(options.model).fixed_input_size else {}
    dropped: dict[str, Any] = {"drop_path_rate": options.drop_path} if options.drop_path else {}
    try:
        return timm.create_model(options.model, pretrained=False, num_classes=0, in_chans=channels, **sized, **dropped)
    except TypeError as error:
        if not dropped:
            raise
        raise RecipeError(f"{options.model} has no drop_path ({error})", hint="remove `drop_path`") from None
    except (RuntimeError, AssertionError, ValueError) as error:
        raise too_small(options.model, (channels, *size), str(error)) from None


def _config(model: str) -> Any:
    """timm's configuration of the published weights of a model."""
    import timm
    from timm.models import PretrainedCfg

    _check_model(model)
    return timm.get_pretrained_cfg(model, allow_unregistered=True) or PretrainedCfg()


def _published(model: str, repository: str) -> WeightSource:
    """The published weights of a model, or those of another repository of the hub."""
    if repository:
        return WeightSource(fetch_hub(repository, None, model), f"hub: {repository}")
    config = _config(model)
    known = {"license": config.license or "", "data": _trained_on(config.tag)}
    if config.hf_hub_id:
        return WeightSource(fetch_hub(config.hf_hub_id, config.hf_hub_filename, model), f"hub: {config.hf_hub_id}", **known)
    if config.url and not config.url.endswith(".npz"):
        return WeightSource(fetch_url(config.url, model), f"hub: timm/{config.architecture}.{config.tag}", **known)
    raise RecipeError(f"timm publishes no weights of {model}", hint="set `weights: none`, or a path to a weights file")


def _trained_on(tag: str) -> str:
    """Data sets that a tag of timm's weights names.

    >>> _trained_on("augreg_in21k_ft_in1k")
    'ImageNet-21k, ImageNet-1k'
    """
    found = re.findall(r"(?:^|_)in(1k|12k|21k|22k)(?=_|$)", tag or "")
    return ", ".join(f"ImageNet-{size}" for size in dict.fromkeys(found))
