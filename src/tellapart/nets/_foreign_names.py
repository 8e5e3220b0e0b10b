"""Rename the tensors of weights that come from another implementation of the same model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

#: A tensor of EfficientNet-PyTorch (Melas-Kyriazi 2019) that no other implementation has.
_EFFICIENTNET_PYTORCH = "_conv_stem.weight"
_COUNTER = "num_batches_tracked"


def rename(tensors: Mapping[str, Tensor], own: Sequence[str], head: str) -> tuple[dict[str, Tensor], str]:
    """Give the tensors the names of the net, if another implementation is recognized; shapes are checked by `load_into`.

    EfficientNet-PyTorch defines the layers in timm's order: its tensors get timm's names in this order, without the counters of
    batch norms, provided that the last part of each name (weight, bias, running_mean, running_var) is the same.

    Args:
        tensors: Tensors of a file, in its order.
        own: Names of the state of the net, without its classifier.
        head: Name of its classifier.

    Returns:
        The tensors, and the rule that was used, in words.
    """
    if _EFFICIENTNET_PYTORCH not in tensors:
        return dict(tensors), "by name"
    given = [name for name in tensors if not name.endswith(_COUNTER)]
    wanted = [name for name in own if not name.endswith(_COUNTER)] + [f"{head}.weight", f"{head}.bias"]
    pairs = list(zip(given, wanted, strict=False))
    if any(a.rpartition(".")[2] != b.rpartition(".")[2] for a, b in pairs):
        return dict(tensors), "by name"
    renamed = {b: tensors[a] for a, b in pairs} | {name: tensors[name] for name in given[len(pairs) :]}
    return renamed, "in order, from the names of EfficientNet-PyTorch"
