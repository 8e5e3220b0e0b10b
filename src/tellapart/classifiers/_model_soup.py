"""Model soup: one network whose weights are the mean of the weights of several networks of the same architecture.

Wortsman et al. 2022, "Model soups: averaging weights of multiple fine-tuned models improves accuracy without increasing
inference time" (arXiv:2203.05482). A soup predicts in the time of one network. It makes sense for epochs of one run, and for
runs that started from the same weights: networks trained from different random weights reach different minima of the loss, and
the loss between two minima is high. The batch norm statistics are recomputed on training images, augmented as in training,
since the mean of statistics is not the statistic of the mean.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import torch
from safetensors.torch import load_file
from torch import Tensor

from tellapart.classifiers._ensemble_members import Find, Member
from tellapart.classifiers.base import Context
from tellapart.classifiers.network import Network
from tellapart.errors import RunError
from tellapart.recipe.schema import Train
from tellapart.training.batch_norm import sample, update_bn
from tellapart.types import ImageTable


def soup(members: Sequence[Member], train: ImageTable, find: Find, context: Context) -> Network:
    """Average the weights of the members into one network.

    Args:
        members: Networks.
        train: The training split of the members.
        find: Maps the id of a run to its folder.
        context: Device and decoded images.

    Raises:
        RunError: A member is not a network on images, or two members differ in their architecture or inputs.
    """
    first = _network(members[0], find)
    for member in members[1:]:
        _refuse_other(members[0], first, member, _network(member, find))
    first.model.load_state_dict(_mean([load_file(member.weights(find)) for member in members]))
    config = first.recipe.train or Train()
    if not config.freeze:  # norms that were frozen in training are equal in all members
        device = torch.device(context.device)
        like = copy.deepcopy(first.model)
        update_bn(first.model.to(device), _batches(first, train, config.batch, device, context), like)
        first.model.cpu()
    return first


def _network(member: Member, find: Find) -> Network:
    classifier = member.load_classifier(find)
    if not isinstance(classifier, Network) or classifier.extractor:
        hint = "only weights of networks on images can be averaged; `--how mean` averages predictions"
        raise RunError(f"{member} is not a network on images", hint=hint)
    return classifier


def _refuse_other(name: Member, first: Network, other_name: Member, other: Network) -> None:
    for what, one, two in (
        ("net", first.options.net, other.options.net),
        ("options of the net", first.net_options, other.net_options),
        ("inputs", first.recipe.inputs, other.recipe.inputs),
        ("classes", first.classes, other.classes),
    ):
        if one != two:
            hint = "a soup needs equal architectures and inputs; `--how mean` averages the predictions of any runs"
            raise RunError(f"{name} and {other_name} differ in their {what}: {one} and {two}", hint=hint)


def _mean(states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each tensor; integers (batch counts) are those of the first state."""
    mean = {}
    for key, value in states[0].items():
        values = [state[key].double() for state in states]
        mean[key] = torch.stack(values).mean(dim=0).to(value.dtype) if value.is_floating_point() else value
    return mean


def _batches(network: Network, train: ImageTable, size: int, device: torch.device, context: Context) -> Iterator[Tensor]:
    """Augmented training images, (B, C, H, W), in a fixed random order."""
    get, augment = network._getter(train, context), network.pipeline()
    generator = torch.Generator().manual_seed(network.recipe.seed)
    for rows in sample(len(train), size, generator):
        yield augment(get(rows).to(device), generator)
