"""Every recipe that comes with the package: it is said what it is, and its net learns on its own kind of input."""

from __future__ import annotations

import itertools
import re

import pytest
import torch
from torch.nn import functional as F

from tellapart import registry
from tellapart.augmentations.base import Pipeline
from tellapart.data.decode import target_size
from tellapart.nets.base import HeadedNet
from tellapart.recipe import load as recipes
from tellapart.recipe.load import Recipe
from tellapart.training.optimizers import make_optimizer

#: Rows of ../shared/SYSTEMS.md that are systems; A8 is the vote over the checkpoints that A7's recipe keeps, C6 a table.
ROWS = {*(f"A{i}" for i in range(1, 11)), *(f"B{i}" for i in range(1, 6)), *(f"C{i}" for i in range(1, 6)),
        *(f"D{i}" for i in range(1, 6)), *(f"E{i}" for i in range(1, 8))}  # fmt: skip
NETWORKS = [n for n in recipes.names() if recipes.load(n).classifier.family == "network"]
#: Parameters for 10 classes at the recipe's size (28 × 28 gray for `auto`). Those worked out below are checked against the sum.
CLASSES = 10


def _header(name: str) -> list[str]:
    lines = recipes.text(name).splitlines()
    return [line.removeprefix("# ") for line in lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))]]


def _small(name: str) -> Recipe:
    """The recipe with weights that need no hub, at a size that an untrained net takes on two cores in seconds."""
    content = recipes.load(name)
    options = content.classifier.options
    if "weights" in options:
        options["weights"] = "none"
    if "backbones" in options:
        options["backbones"] = [{**b, "weights": "none"} for b in options["backbones"]]
    size = 28 if content.inputs.size == "auto" else content.inputs.size
    inputs = content.inputs.model_copy(update={"size": min(size, 128) if name.startswith("efficientnet") else size})
    classifier = {"family": "network", **options}
    return recipes.parse(content.model_copy(update={"inputs": inputs}).model_dump() | {"classifier": classifier})


def _body(content: Recipe) -> tuple[HeadedNet, tuple[int, int, int]]:
    net = registry.find("nets", content.classifier.options["net"])
    shape = (1 if content.inputs.mode == "gray" else 3, *target_size(content.inputs))
    torch.manual_seed(0)
    return net.build(shape, CLASSES, net.Options.model_validate(content.classifier.options)), shape


def test_every_network_row_has_a_recipe() -> None:
    found = {
        row for n in recipes.names() for line in _header(n) if (m := re.match(r"Rows?: (.*)", line)) for row in m[1].split(", ")
    }
    assert found >= ROWS


@pytest.mark.parametrize("name", recipes.names())
def test_a_header_says_what_it_is(name: str) -> None:
    first, *others = _header(name)
    assert first.endswith(".")
    if any(re.match("Rows?: ", line) for line in others):
        assert others[0].startswith("Row") and any(line.startswith("Reported: ") for line in others)


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_survives_a_round_trip(name: str) -> None:
    import yaml

    content = recipes.load(name)
    assert recipes.parse(yaml.safe_load(content.dump())) == content


def test_parameters_of_the_mlp_of_row_c2() -> None:
    """784-150-150-75-C with batch norm and biases everywhere: 153,235 for 10 classes, as reported."""
    body, _ = _body(_small("mlp-150-150-75"))
    linear = 784 * 150 + 150 + 150 * 150 + 150 + 150 * 75 + 75 + 75 * 10 + 10
    norms = 2 * (150 + 150 + 75)
    assert sum(p.numel() for p in body.parameters()) == linear + norms == 153_235


def test_parameters_of_the_plain_net_of_row_a1() -> None:
    """Three convolutions with biases, halved three times from 100 to 12, flattened."""
    body, _ = _body(_small("cnn-plain"))
    convolutions = (3 * 9 + 1) * 64 + (64 * 9 + 1) * 128 + (128 * 9 + 1) * 256
    assert sum(p.numel() for p in body.parameters()) == convolutions + (12 * 12 * 256 + 1) * CLASSES


def test_parameters_of_the_doubled_stages_of_row_a5() -> None:
    """Convolutions without biases, each followed by a batch norm of two vectors; halved four times from 100 to 6."""
    body, _ = _body(_small("cnn-doubled"))
    widths = [3, 64, 64, 128, 128, 256, 256, 384, 384]
    convolutions = sum(9 * a * b for a, b in itertools.pairwise(widths))
    assert sum(p.numel() for p in body.parameters()) == convolutions + 2 * sum(widths[1:]) + (6 * 6 * 384 + 1) * CLASSES


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_recipes_learn_in_two_steps(name: str) -> None:
    """Shapes, and that two steps of the recipe's own optimizer lower the loss of the batch that they were made on."""
    content = _small(name)
    assert content.train is not None
    body, shape = _body(content)
    generator = torch.Generator().manual_seed(0)
    count = 16 if shape[1] <= 64 else 4
    images = torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator)
    labels = torch.arange(count) % CLASSES
    seen = Pipeline(content.augment or [])(images, generator)
    assert seen.dtype == torch.uint8 and seen.shape[:2] == images.shape[:2]
    x = seen.float() / 64 - 2
    start, calm = {name: value.clone() for name, value in body.state_dict().items()}, content.train.optimizer

    def loss() -> torch.Tensor:
        torch.manual_seed(1)  # the same units dropped each time
        return F.cross_entropy(body.train()(x), labels)

    def after_two_steps(share: float) -> float:
        body.load_state_dict(start)
        rate = calm.lr * share
        optimizer = make_optimizer(body, calm.model_copy(update={"lr": rate}))
        for _ in range(2):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in body.parameters() if p.requires_grad)
        return loss().item()

    before = loss().item()
    # the rates are for normal batches and, of the deepest nets, for weights that are no longer random: here less will do
    assert any(after_two_steps(share) < before for share in (0.1, 0.001))
    assert body.eval()(x[:2]).shape == (2, CLASSES)
