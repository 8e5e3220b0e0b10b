"""The backbone of a network in memory, as a descriptor: its outputs are stored like the vectors of any other."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tellapart.features.base import Descriptor
from tellapart.features.embedding import embed
from tellapart.nets.base import Model, NetOptions
from tellapart.recipe.schema import OptionsModel

#: Options of nets that the outputs do not depend on, or only through the tensors.
_ELSEWHERE = {"views", "init_from", "weights", "dense", "dense_norm", "dropout"}


class Backbone(Descriptor):
    """Output of the backbone, before the head; D is its width. In evaluation mode, in 32 bits.

    `arrays` holds the tensors of the normalization and the backbone; the model must not be trained on meanwhile.

    Args:
        model: Normalization and net.
        net: Options of the net.
        shape: (H, W, C) of the images.
        device: Where it computes.
    """

    class Options(OptionsModel):
        """Everything that the outputs depend on, besides weights and code."""

        net: str
        shape: tuple[int, ...]
        device: str
        threads: int

    def __init__(self, model: Model, net: NetOptions, shape: tuple[int, ...], device: torch.device) -> None:
        about, threads = net.model_dump_json(exclude=_ELSEWHERE), torch.get_num_threads()
        # sums on other devices, or on more threads, round otherwise
        super().__init__(self.Options(net=about, shape=shape, device=device.type, threads=threads))
        self._net = nn.Sequential(_To(device), model.normalize, model.body.trunk, _To(torch.device("cpu")))
        self._device = device
        self.arrays = {name: tensor.detach().cpu().numpy() for name, tensor in self._net.state_dict().items()}

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """images: (B, H, W, C) uint8 → (B, D) float32."""
        return embed(self._net.to(self._device).eval(), images)


class _To(nn.Module):
    """Copies to a device."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device

    def forward(self, x: Tensor) -> Tensor:
        """x on the device."""
        return x.to(self.device)
