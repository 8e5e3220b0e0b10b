"""Feature fusion: the outputs of several backbones are concatenated and classified by one head.

A backbone is a net with its own options, or the backbone of an earlier run. Each gets the pixels, 0 … 255, in its own mode and
size, with its own normalization, so the backbone of a run gives the same output as in that run.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, ValidationError, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from tellapart import registry
from tellapart.data.decode import target_size
from tellapart.errors import RecipeError, RunError
from tellapart.nets._weights import load_into, name_run, origin_of_run, read_weights, transfer
from tellapart.nets.base import (
    HeadedNet,
    InitialWeights,
    Net,
    NetOptions,
    Parents,
    Width,
    backbone_width,
    dense_head,
    image_shape,
    normalization,
)
from tellapart.recipe import load as recipes
from tellapart.recipe.errors import in_words

#: Options of a backbone besides those of its net; `from_run` is written by `resolve`.
_OWN = ("size", "mode", "from_run")
#: Options of a head, which a backbone does not have, or of a whole classifier; with the values that mean "unset".
_OF_THE_WHOLE = {"dense": [], "dropout": 0.0, "dense_norm": False, "views": ["as is"]}
_HEAD_DROPOUT = ("timm", "torchvision", "fusion")


class Fusion(Net):
    """Several backbones, their outputs concatenated; then dense layers and logits.

    All are trained together; with `train.freeze: 1.0` only the head is trained, and the batch norm statistics of the backbones
    do not change. A net without published weights gets pixels scaled to −1 … 1.
    """

    class Options(NetOptions):
        """Options of `net: fusion`."""

        backbones: list[dict[str, Any]] = Field(
            min_length=1,
            description="list of {net: NAME, …} with the options of that net (including `weights` and `init_from`), or "
            "{run: RUN}, the backbone of an earlier run; a net may also have its own `size`, pixels or [height, width], and "
            "`mode`, rgb or gray",
        )
        dense: list[Width] = Field(default=[], description="units of the dense layers before the logits")
        dense_norm: bool = Field(default=False, description="use batch norm in each dense layer")
        dropout: float = Field(
            default=0.0, ge=0, lt=1, description="dropout rate after each dense layer, or before the logits if there is none"
        )

        @field_validator("backbones")
        @classmethod
        def _checked(cls, backbones: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return [_checked(entry, f"backbones.{number}") for number, entry in enumerate(backbones)]

    @staticmethod
    def build(shape: tuple[int, ...], classes: int, options: Options) -> HeadedNet:
        """See the class.

        Raises:
            RecipeError: A backbone does not accept the images.
        """
        shape = image_shape(shape, "fusion")
        members = [_Member(shape, entry) for entry in options.backbones]
        trunk = nn.Sequential(OrderedDict(members=_SideBySide(members)))
        width = sum(member.width for member in members)
        return _FusionBody(trunk, dense_head(width, classes, options.dense, options.dropout, batch_norm=options.dense_norm))

    @staticmethod
    def resolve(options: Options, parents: Parents) -> Options:
        """Replace every {run: RUN} by the net of that run, with its options, size and mode."""
        entries = [
            _of_run(entry["run"], parents) if "run" in entry else _resolved(entry, parents) for entry in options.backbones
        ]
        return type(options).model_validate({**options.model_dump(mode="json"), "backbones": entries})

    @staticmethod
    def normalize_stats(options: Options) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """No normalization: mean 0 and standard deviation 1/255, a scale of 1. Each backbone normalizes its own input."""
        del options
        return (0.0,) * 3, (1 / 255,) * 3

    @staticmethod
    def load_pretrained(body: HeadedNet, options: Options, parents: Parents) -> InitialWeights:
        """Load the weights of every backbone; returns all their sources."""
        members = body.trunk.get_submodule("members").children()
        loaded = [
            _load_member(m, e, parents) for m, e in zip(members, options.backbones, strict=True) if isinstance(m, _Member)
        ]
        sources = dict.fromkeys(one.source for one in loaded if one.source != "no")
        return InitialWeights("; ".join(sources) or "no", tuple(note for one in loaded for note in one.notes))


class _FusionBody(HeadedNet):
    def groups(self) -> list[list[nn.Parameter]]:
        """The stages of the backbones, merged by their distance from the head."""
        members = [m.body.groups() for m in self.trunk.get_submodule("members").children() if isinstance(m, _Member)]
        levels = zip_longest(*(reversed(groups) for groups in members), fillvalue=[])
        merged = [[p for group in level for p in group] for level in levels]
        return [*reversed(merged), list(self.head.parameters())]


class _SideBySide(nn.ModuleList):
    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) float32 in 0 … 255 → (B, sum of widths)."""
        return torch.cat([member(x_BCHW) for member in self], dim=1)


class _Member(nn.Module):
    """One backbone without its head, with its own mode, size and normalization."""

    def __init__(self, shape: tuple[int, int, int], entry: dict[str, Any]) -> None:
        super().__init__()
        if "run" in entry:
            raise RecipeError(
                f"the backbone {{run: {entry['run']}}} was not resolved", hint="call `Fusion.resolve` before `build`"
            )
        net, options = _net(entry)
        self.channels = {"rgb": 3, "gray": 1}[entry["mode"]] if "mode" in entry else shape[0]
        self.size = _size(entry.get("size")) or shape[1:]
        mean, spread = net.normalize_stats(options) or ((0.5,) * 3, (0.5,) * 3)
        self.normalize = normalization(mean, spread, self.channels)
        self.body = net.build((self.channels, *self.size), 2, options)
        self.body.head = nn.Identity()
        self.width = backbone_width(self.body.trunk, (self.channels, *self.size))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) float32 in 0 … 255 → (B, width)."""
        if x_BCHW.shape[1] != self.channels:
            x_BCHW = x_BCHW.expand(-1, 3, -1, -1) if self.channels == 3 else _luma(x_BCHW)
        if tuple(x_BCHW.shape[2:]) != tuple(self.size):
            x_BCHW = F.interpolate(x_BCHW, self.size, mode="bilinear", antialias=True)
        return self.body(self.normalize(x_BCHW))


def _luma(x_B3HW: Tensor) -> Tensor:
    """ITU-R 601-2 luma, rounded as by Pillow: (B, 3, H, W) in 0 … 255 → (B, 1, H, W)."""
    red, green, blue = x_B3HW.float().split(1, dim=1)
    return ((red * 19595 + green * 38470 + blue * 7471 + 32768) / 65536).floor()


def _load_member(member: _Member, entry: dict[str, Any], parents: Parents) -> InitialWeights:
    """Load the weights of one backbone."""
    net, options = _net(entry)
    if run := entry.get("from_run"):
        folder = parents(run)
        tensors = read_weights(folder / "weights.safetensors")
        load_into(member, {n: t for n, t in tensors.items() if n.startswith(("normalize.", "body.trunk."))}, name_run(folder))
        return InitialWeights(origin_of_run(folder))
    loaded = net.load_pretrained(member.body, options, parents)
    if options.init_from:
        path = Path(options.init_from)
        path = path if path.suffix == ".safetensors" else parents(options.init_from) / "weights.safetensors"
        transfer(member.body, read_weights(path), same_classes=False, whose=name_run(path.parent))
        return InitialWeights(origin_of_run(path.parent))
    return loaded


def _of_run(run: str, parents: Parents) -> dict[str, Any]:
    """The net of a run, as an entry that can be built without the run."""
    recipe = recipes.load(str(parents(run) / "recipe.yaml"))
    if recipe.classifier.family != "network" or recipe.features:
        raise RunError(
            f"expected a network on images, found run {run}: {recipe.classifier.family}"
            + (" on features" if recipe.features else ""),
            hint="name a run of the family network without `features`",
        )
    net = registry.find("nets", recipe.classifier.options["net"])
    options = net.resolve(net.Options.model_validate(recipe.classifier.options), parents)
    inputs = {"size": list(target_size(recipe.inputs)), "mode": "gray" if recipe.inputs.mode == "gray" else "rgb"}
    return {**options.model_dump(mode="json"), "init_from": None, **inputs, "from_run": run}


def _resolved(entry: dict[str, Any], parents: Parents) -> dict[str, Any]:
    net, options = _net(entry)
    return {**net.resolve(options, parents).model_dump(mode="json"), **{k: entry[k] for k in _OWN if k in entry}}


def _net(entry: dict[str, Any]) -> tuple[Any, Any]:
    """The class and the options of the net of a backbone."""
    net = registry.find("nets", entry["net"])
    return net, net.Options.model_validate({k: v for k, v in entry.items() if k not in _OWN})


def _size(size: Any) -> tuple[int, int] | None:
    return (size, size) if isinstance(size, int) else tuple(size) if size else None


def _checked(entry: dict[str, Any], where: str) -> dict[str, Any]:
    """One backbone with all defaults filled in.

    Raises:
        RecipeError: Neither a net nor a run, or an option that the net does not have.
    """
    if set(entry) == {"run"} and isinstance(entry["run"], str):
        return entry
    if "run" in entry or not isinstance(entry.get("net"), str):
        raise RecipeError(f"{where}: expected {{net: NAME, …}} with that net's options, or {{run: RUN}} alone; found {entry}")
    size = _size(entry.get("size")) if isinstance(entry.get("size"), int | list | tuple) else None
    if entry.get("size") is not None and (not size or len(size) != 2 or any(type(s) is not int or s < 1 for s in size)):
        raise RecipeError(f"{where}.size: expected pixels, or [height, width]; found {entry['size']!r}")
    if entry.get("mode") not in (None, "rgb", "gray"):
        raise RecipeError(f"{where}.mode: expected rgb or gray; found {entry['mode']!r}")
    net = registry.find("nets", entry["net"])
    try:
        options = net.Options.model_validate({k: v for k, v in entry.items() if k not in _OWN})
    except ValidationError as error:
        raise RecipeError(in_words(where, error, net.Options)) from None
    plain = options.model_dump(mode="json")
    if "from_run" not in entry:
        _refuse_heads(plain, where)
    return {**plain, **{k: entry[k] for k in _OWN if entry.get(k) is not None}}


def _refuse_heads(options: dict[str, Any], where: str) -> None:
    for name, none in _OF_THE_WHOLE.items():
        of_trunk = name in ("dropout", "dense_norm") and options["net"] not in _HEAD_DROPOUT
        if not of_trunk and options.get(name, none) != none:
            raise RecipeError(
                f"{where}.{name}: a backbone has no head, so {name} would have no effect",
                hint=f"set `{name}` of the fusion instead",
            )
