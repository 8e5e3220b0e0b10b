"""Read weights from files and from earlier runs, and load them into a net.

Every tensor of a backbone must be present with its name and shape, or nothing is loaded: a net that is half pretrained and half
random would only look like a bad net. Two differences are converted. A first convolution for RGB is summed over its input
channels for gray images, which gives exactly the output of the RGB net for the same image in three equal channels; one for gray
images is repeated and divided by three for RGB, which gives the same output for gray images. Position embeddings are resampled
by the nets that have them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from tellapart.errors import DataError, RunError, TellapartError
from tellapart.nets.base import HeadedNet
from tellapart.plain_data import read_json, read_yaml

#: Extensions of weights files.
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar")
#: Parts of torch's message for a valid pickle that would run code.
_CODE = ("Unsupported global", "Unsupported class", "unrecognized function", "reduce")
_LISTED = 5  # maximum number of tensors listed in an error


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file, by name, to the CPU.

    Accepts .safetensors, and .pth, .pt, .bin, .ckpt, .tar as torch writes them, of which only tensors and plain values are
    read. If a checkpoint contains more than weights, the first of `state_dict_ema`, `model_ema`, `state_dict` and `model` is
    used. The prefixes `module.` and `_orig_mod.` of wrapped models are removed.

    Raises:
        DataError: The file is missing, of another kind, or would have to run code.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such weights file")
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path}: expected a weights file ({', '.join(SUFFIXES)}), found the extension {path.suffix!r}")
    found = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickled(path)
    tensors = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    if not tensors:
        holds = ", ".join(map(repr, list(found)[:_LISTED])) or "nothing"
        raise DataError(
            f"{path}: expected tensors by name, found {holds}",
            hint="save `model.state_dict()`, alone or under 'state_dict' or 'model'",
        )
    return tensors


def transfer(body: HeadedNet, tensors: Mapping[str, Tensor], same_classes: bool, whose: str = "the given weights") -> list[str]:
    """Copy the backbone of an earlier run into `body`, and the matching layers of its head.

    Layers of the head are copied if name and shape agree; the last one, whose rows are classes, only with `same_classes`.

    Args:
        body: Net of the new run; changed in place.
        tensors: Tensors of the earlier run's weights.safetensors: `body.trunk.…`, `body.head.…`.
        same_classes: Both runs have the same classes in the same order.
        whose: Name of the earlier run and its net, for notes and errors.

    Returns:
        Sentences for the notes of the run.

    Raises:
        RunError: The backbones differ; nothing has been changed.
    """
    trunk, head = (_below(f"body.{part}.", tensors) for part in ("trunk", "head"))
    if not trunk:
        found = ", ".join(map(repr, list(tensors)[:_LISTED]))
        raise RunError(
            f"{whose}: expected the weights of a run of the family network, found {found}",
            hint="use weights of timm or torchvision with those nets, as `weights: PATH`",
        )
    adapted = load_into(body.trunk, body.adapt_weights(trunk), whose, error=RunError)
    copied = _copy_head(body.head, head, same_classes)
    notes = [f"initialized from the backbone of {whose}: {len(trunk)} tensors"]
    notes += [f"{name} was converted to another number of input channels" for name in adapted]
    return [*notes, f"layers of the head copied: {', '.join(copied) or 'none'}"]


def name_run(folder: Path) -> str:
    """Name of a run and its net, for notes and errors: "run 7-cnn (net: timm, model: resnet18)"."""
    path = folder / "recipe.yaml"
    if not path.is_file():
        return f"run {folder.name}"
    options = read_yaml(path)["classifier"]
    what = [f"{key}: {options[key]}" for key in ("net", "model") if key in options] or [f"family: {options['family']}"]
    return f"run {folder.name} ({', '.join(what)})"


def origin_of_run(folder: Path) -> str:
    """Source of weights that are taken from a run: its name, and what it was itself initialized from."""
    path = folder / "scores.json"
    first = read_json(path)["cost"]["pretrained"] if path.is_file() else "no"
    return f"run: {folder.name}" if first == "no" else f"run: {folder.name}, itself from {first}"


def load_into(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    whose: str,
    heads: tuple[str, ...] = (),
    error: type[TellapartError] = RunError,
) -> list[str]:
    """Copy `tensors` into the state of `module`, completely or not at all.

    Args:
        module: Changed in place.
        tensors: Tensors by the names of the module's state; `num_batches_tracked` of batch norms may be missing.
        whose: Name of the source, for errors.
        heads: Prefixes of names to ignore if the module has no such tensor.
        error: Class of the exception to raise.

    Returns:
        Names of the convolutions that were converted between gray and RGB.
    """
    own = module.state_dict()
    given = {n: _fit_channels(t, own[n]) if n in own else t for n, t in tensors.items() if n in own or not n.startswith(heads)}
    wrong = [n for n in [*own, *sorted(given.keys() - own.keys())] if _differs(n, own, given)]
    if wrong:
        lines = [f"\n  {n}: expected {_shape(own.get(n))}, found {_shape(given.get(n))}" for n in wrong[:_LISTED]]
        rest = f"\n  … and {len(wrong) - _LISTED} more" if len(wrong) > _LISTED else ""
        raise error(
            f"{whose}: {len(wrong)} tensors do not fit this net:{''.join(lines)}{rest}",
            hint="use the net and the options that the weights were trained with",
        )
    with torch.no_grad():
        for name in own.keys() & given.keys():
            own[name].copy_(given[name])
    return [name for name, tensor in given.items() if tensor is not tensors[name]]


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"{path}: not a valid safetensors file ({error})") from None
    return {name.removeprefix("module.").removeprefix("_orig_mod."): tensor for name, tensor in tensors.items()}


def _read_pickled(path: Path) -> dict[str, Tensor]:
    """timm's reader: it loads with `weights_only=True` and unwraps the formats of training scripts."""
    from timm.models import load_state_dict

    try:
        return load_state_dict(str(path), weights_only=True)
    except RuntimeError as error:
        refused = str(error.__cause__)
        if not any(sign in refused for sign in _CODE):
            raise DataError(f"{path}: not a valid weights file of torch") from None
        raise DataError(
            f"{path}: this file contains code, which is not run",
            hint="save `model.state_dict()` with the program that wrote the file, preferably as .safetensors",
        ) from None
    except Exception as error:
        raise DataError(f"{path}: not a valid weights file of torch ({type(error).__name__}: {error})") from None


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _copy_head(head: nn.Module, tensors: dict[str, Tensor], same_classes: bool) -> list[str]:
    """Copy the matching layers, each completely or not at all; returns their names."""
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
    """Convert kernels (O, 3, h, w) to (O, 1, h, w) or the reverse; other tensors are returned unchanged."""
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
