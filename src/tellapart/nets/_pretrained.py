"""What the nets of other libraries, timm and torchvision, have in common: options, head, weights from the hub or a file."""

from __future__ import annotations

import difflib
import hashlib
import os
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterable
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
from tellapart.nets._weights import load_into, read_weights
from tellapart.nets.base import HeadedNet, NetOptions, Width, dense_head

_PATIENCE = 5  # seconds that a hub has to answer


class PretrainedOptions(NetOptions):
    """Options of every net that comes from another library."""

    model: str = Field(description="the library's name of the architecture")
    weights: str = Field(
        default="none",
        min_length=1,
        description="none: random; hub: those that the library publishes; else the path of a file: .safetensors, .pth or .pt",
    )
    dense: list[Width] = Field(default=[], description="units of the dense layers before the logits")
    dense_norm: bool = Field(default=False, description="batch norm in each dense layer")
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="share dropped after each dense layer; without any, before the logits"
    )


class PadTo(nn.Module):
    """Zeros, the mean of normalized images, on the right and below, up to the one size that a net takes."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C, height, width)."""
        return F.pad(x_BCHW, (0, self.width - x_BCHW.shape[3], 0, self.height - x_BCHW.shape[2]))


class PretrainedNet(HeadedNet):
    """A library's model without its last layer, as the child `net` of the trunk; then our head."""

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
        """The library's model."""
        return self.trunk.get_submodule("net")

    def adapt_weights(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """See `Body`."""
        return {f"net.{n}": t for n, t in self.convert({n.removeprefix("net."): t for n, t in tensors.items()}).items()}

    def convert(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Tensors as a checkpoint of the library names and shapes them → as `net` does."""
        return tensors

    @abstractmethod
    def backbone_groups(self) -> list[list[nn.Parameter]]:
        """The parameters of `net` by depth."""

    def groups(self) -> list[list[nn.Parameter]]:
        """See `Body`."""
        return [*self.backbone_groups(), *([head] if (head := list(self.head.parameters())) else [])]


def load_weights(
    body: PretrainedNet, options: PretrainedOptions, hub: Callable[[], tuple[str, Path]], heads: Iterable[str]
) -> str:
    """Load the weights that `options.weights` names into the trunk; the checkpoint's own classifier is ignored.

    Args:
        body: Changed in place.
        options: Of the net.
        hub: Fetches the published weights: whose they are, and the file.
        heads: Names of the model's classifier modules.

    Returns:
        Whose weights they are, for the leaderboard.

    Raises:
        RecipeError: Weights of another net; says which tensors differ.
        DataError: Not a file of weights.
        SystemLimitError: The hub cannot be reached.
    """
    if options.weights == "none":
        return "no"
    if options.weights == "hub":
        whose, path = hub()
    else:
        path = Path(options.weights).expanduser()
        whose = ""
    tensors = read_weights(path)
    if any(name.startswith("body.trunk.") for name in tensors):
        raise RecipeError(f"{path} holds the weights of a run, not of a model", hint="start from a run with `init_from`")
    load_into(
        body.net, body.convert(tensors), f"{path.name} for {options.model}", tuple(f"{h}." for h in heads), error=RecipeError
    )
    return whose or f"file: {path.name} (sha256 {_digest(path)})"


def check_name(library: str, name: str, known: Iterable[str]) -> None:
    """Raises RecipeError, with close names, unless the library knows `name`; it knows too many to list them all."""
    names = list(known)
    if name in names:
        return
    within = [known for known in names if name in known][:8]
    hint = (
        f"with {name!r} in their names: {', '.join(within)}"
        if within
        else f"`list_models()` of {library} lists its {len(names)}"
    )
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    raise RecipeError(
        unknown_name(f"{library} model", name, names) if close else f"unknown {library} model {name!r}", hint=hint
    )


def fetch_url(url: str, model: str) -> Path:
    """The file at `url`, from torch's cache of checkpoints or downloaded into it; whole or not at all.

    Raises:
        SystemLimitError: It cannot be fetched.
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
    """A file of a model hub's repository ("owner/name", or "owner/name@revision"), from the hub's cache or downloaded into it.

    Without a `file`: model.safetensors, or pytorch_model.bin where there is no such file.

    Raises:
        SystemLimitError: It cannot be fetched.
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
    """Is there a file at `url`? Asked once and briefly, since the libraries try again and again for up to half a minute."""
    try:
        with urlopen(Request(url, method="HEAD"), timeout=_PATIENCE):
            return True
    except HTTPError as error:
        return error.code != 404
    except (OSError, HTTPException) as error:
        raise _not_fetched(model, where, error) from None


def _not_fetched(model: str, where: str, reason: object) -> SystemLimitError:
    return SystemLimitError(
        f"the published weights of {model} cannot be fetched ({reason}); they are {where}",
        hint="fetch that file on another machine and give its path, `weights: PATH`; or start from random, `weights: none`",
    )


@torch.no_grad()
def _vector_length(trunk: nn.Sequential, shape: tuple[int, int, int], model: str) -> int:
    """Length D of the trunk's vectors for images of `shape` (C, H, W).

    Raises:
        RecipeError: The net does not take them.
    """
    try:
        found = trunk.eval()(torch.zeros(1, *shape)).shape
    except (RuntimeError, AssertionError, ValueError) as error:
        raise too_small(model, shape, str(error)) from None
    if len(found) != 2:
        raise RecipeError(
            f"{model} gives no vectors but an output of shape {tuple(found)}", hint="take a model that classifies"
        )
    trunk.train()
    return found[1]


def too_small(model: str, shape: tuple[int, int, int], reason: str) -> RecipeError:
    """The error for images that a net does not take."""
    return RecipeError(
        f"{model} does not take {shape[1]}×{shape[2]} images: {reason}", hint="give a larger inputs.size, or another model"
    )


def _digest(path: Path) -> str:
    """First 8 hex digits of the file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:8]
