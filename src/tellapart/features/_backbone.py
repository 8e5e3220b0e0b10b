"""The backbone of a network in memory, as a descriptor: its outputs are stored like the vectors of any other."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from tellapart.features.base import Descriptor
from tellapart.nets.base import Model, NetOptions
from tellapart.recipe.schema import OptionsModel

_BATCH = 64  # images of a forward pass
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
        self._net = nn.Sequential(model.normalize, model.body.trunk)
        self._device = device
        self.arrays = {name: tensor.detach().cpu().numpy() for name, tensor in self._net.state_dict().items()}

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """images: (B, H, W, C) uint8 → (B, D) float32."""
        net, found = self._net.to(self._device).eval(), []
        with torch.inference_mode():
            for start in range(0, max(1, len(images)), _BATCH):  # at least one, which may be empty: the result needs D columns
                x_BHWC = torch.from_numpy(np.ascontiguousarray(images[start : start + _BATCH])).to(self._device)
                found.append(net(x_BHWC.permute(0, 3, 1, 2)).flatten(1).float().cpu().numpy())
        return np.concatenate(found)
