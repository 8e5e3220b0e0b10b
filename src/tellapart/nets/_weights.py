"""Weights from files and from earlier runs, and how they come to lie in a net.

Every tensor of a trunk must be there with its name and shape, or nothing is loaded: a net that is half pretrained and half
random looks like one that is merely bad. Two differences are bridged. A first convolution for RGB is summed over its input
channels for gray, which gives on gray images exactly what the RGB net gives on the same image repeated in three channels; one
for gray is repeated and divided by three for RGB, which gives the same for gray images. Position embeddings are resampled by
the nets that have them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from tellapart.errors import DataError, RunError, TellapartError
from tellapart.nets.base import HeadedNet

_PICKLED = (".pth", ".pt", ".bin", ".ckpt", ".tar")
#: What torch says of a pickle that is sound but calls more than what tensors are made of.
_CODE = ("Unsupported global", "Unsupported class", "unrecognized function", "reduce")
_LISTED = 5  # tensors that an error names


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, by name, on the CPU.

    .safetensors, or .pth, .pt, .bin, .ckpt, .tar as torch writes them, of which only tensors and plain values are read. Where a
    checkpoint holds more than weights, those under `state_dict_ema`, `model_ema`, `state_dict` or `model` are taken, in this
    order; the prefixes `module.` and `_orig_mod.` of wrapped models are dropped.

    Raises:
        DataError: No such file, another kind of file, or one that would have to run code.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file of weights")
    if path.suffix not in (".safetensors", *_PICKLED):
        kinds = ", ".join((".safetensors", *_PICKLED))
        raise DataError(f"{path}: weights end in {kinds}, not in {path.suffix!r}")
    found = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickled(path)
    tensors = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    if not tensors:
        holds = ", ".join(map(repr, list(found)[:_LISTED])) or "nothing"
        raise DataError(
            f"{path}: holds no tensors by name, but {holds}",
            hint="save `model.state_dict()`, alone or under 'state_dict' or 'model'",
        )
    return tensors


def transfer(body: HeadedNet, tensors: Mapping[str, Tensor], same_classes: bool, whose: str = "the given weights") -> list[str]:
    """Copy the trunk of an earlier run into `body`, and what fits of its head.

    Layers of the head are copied where name and shape agree; the last one, whose rows are classes, only with `same_classes`.

    Args:
        body: Of the new run; changed in place.
        tensors: Of the earlier run's weights.safetensors: `body.trunk.…`, `body.head.…`.
        same_classes: Both runs have the same classes in the same order.
        whose: Names the earlier run and its net in notes and errors.

    Returns:
        Sentences for the run's notes.

    Raises:
        RunError: The trunks differ; nothing has been changed.
    """
    trunk, head = (_below(f"body.{part}.", tensors) for part in ("trunk", "head"))
    if not trunk:
        found = ", ".join(map(repr, list(tensors)[:_LISTED]))
        raise RunError(
            f"{whose}: these are not the weights of a run of the family network (found {found})",
            hint="weights of timm or torchvision are given to those nets as `weights: PATH`",
        )
    adapted = load_into(body.trunk, body.adapt_weights(trunk), whose, error=RunError)
    copied = _copy_head(body.head, head, same_classes)
    notes = [f"starts from the trunk of {whose}: {len(trunk)} tensors"]
    notes += [f"{name} was fitted to other input channels" for name in adapted]
    return [*notes, f"layers of the head taken over: {', '.join(copied) or 'none'}"]


def name_run(folder: Path) -> str:
    """A run and its net, for notes and errors: "run 7-cnn (net: timm, model: resnet18)"; without a recipe only its name."""
    path = folder / "recipe.yaml"
    if not path.is_file():
        return f"run {folder.name}"
    options = yaml.safe_load(path.read_text(encoding="utf-8"))["classifier"]
    what = [f"{key}: {options[key]}" for key in ("net", "model") if key in options] or [f"family: {options['family']}"]
    return f"run {folder.name} ({', '.join(what)})"


def load_into(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    whose: str,
    heads: tuple[str, ...] = (),
    error: type[TellapartError] = RunError,
) -> list[str]:
    """Copy `tensors` into the state of `module`: all of it, or nothing.

    Args:
        module: Changed in place.
        tensors: By the names of the module's state; `num_batches_tracked` of batch norms may be missing.
        whose: Names the source in errors.
        heads: Beginnings of names that are ignored where the module has no such tensor.
        error: What to raise.

    Returns:
        Names of the convolutions that were adapted between gray and RGB.
    """
    own = module.state_dict()
    given = {n: _fit_channels(t, own[n]) if n in own else t for n, t in tensors.items() if n in own or not n.startswith(heads)}
    wrong = [n for n in [*own, *sorted(given.keys() - own.keys())] if _differs(n, own, given)]
    if wrong:
        lines = [f"\n  {n}: expected {_shape(own.get(n))}, found {_shape(given.get(n))}" for n in wrong[:_LISTED]]
        rest = f"\n  … and {len(wrong) - _LISTED} more" if len(wrong) > _LISTED else ""
        raise error(
            f"{whose}: {len(wrong)} tensors do not fit this net:{''.join(lines)}{rest}",
            hint="weights fit only the net, with the options, that they were trained in",
        )
    with torch.no_grad():
        for name in own.keys() & given.keys():
            own[name].copy_(given[name])
    return [name for name, tensor in given.items() if tensor is not tensors[name]]


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"{path}: not a safetensors file, or a damaged one ({error})") from None
    return {name.removeprefix("module.").removeprefix("_orig_mod."): tensor for name, tensor in tensors.items()}


def _read_pickled(path: Path) -> dict[str, Tensor]:
    """timm's reader, which loads with `weights_only=True` and unwraps what training scripts wrap."""
    from timm.models import load_state_dict

    try:
        return load_state_dict(str(path), weights_only=True)
    except RuntimeError as error:
        refused = str(error.__cause__)
        if not any(sign in refused for sign in _CODE):
            raise DataError(f"{path}: not a file of weights that torch wrote, or a damaged one") from None
        raise DataError(
            f"{path}: to read this file, code in it would have to be run",
            hint="save `model.state_dict()` where the file comes from, best as .safetensors",
        ) from None
    except Exception as error:
        raise DataError(f"{path}: not a file of weights that torch wrote ({type(error).__name__}: {error})") from None


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _copy_head(head: nn.Module, tensors: dict[str, Tensor], same_classes: bool) -> list[str]:
    """Names of the layers copied; a layer is copied whole or not at all."""
    own, layers = head.state_dict(), {}
    for name in own:
        layers.setdefault(name.rpartition(".")[0], []).append(name)
    if not same_classes and layers:
        layers.pop(list(layers)[-1])
    fitting = {layer: of for layer, of in layers.items() if all(not _differs(name, own, tensors) for name in of)}
    with torch.no_grad():
        for name in (name for of in fitting.values() for name in of if name in tensors):
            own[name].copy_(tensors[name])
    return list(fitting)


def _fit_channels(tensor: Tensor, own: Tensor) -> Tensor:
    """Kernels (O, 3, h, w) for (O, 1, h, w) or the reverse; everything else as it is."""
    if tensor.ndim != 4 or own.ndim != 4 or (*tensor.shape[:1], *tensor.shape[2:]) != (*own.shape[:1], *own.shape[2:]):
        return tensor
    channels = tensor.shape[1], own.shape[1]
    if channels == (3, 1):
        return tensor.float().sum(1, keepdim=True)
    return tensor.float().repeat(1, 3, 1, 1) / 3 if channels == (1, 3) else tensor


def _differs(name: str, own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> bool:
    if name in own and name in given:
        return own[name].shape != given[name].shape
    return not name.endswith("num_batches_tracked")  # files from before torch 0.4.1 have none


def _shape(tensor: Tensor | None) -> str:
    return "nothing" if tensor is None else str(tuple(tensor.shape))
