"""The picture of a net says what the net is."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

from tellapart import registry
from tellapart.nets.base import HeadedNet, StagedNet

_SPEC = importlib.util.spec_from_file_location("net_pictures", Path(__file__).parents[1] / "docs" / "net_pictures.py")
assert _SPEC is not None and _SPEC.loader is not None
net_pictures = importlib.util.module_from_spec(_SPEC)
sys.modules["net_pictures"] = net_pictures  # dataclasses look their module up
_SPEC.loader.exec_module(net_pictures)
_COLUMN, Part, _words = net_pictures._COLUMN, net_pictures.Part, net_pictures._words
draw, measure = net_pictures.draw, net_pictures.measure
_SVG = "{http://www.w3.org/2000/svg}"


def _build(net: str, shape: tuple[int, ...], classes: int, **options: object) -> HeadedNet:
    kind = registry.find("nets", net)
    return kind.build(shape, classes, kind.Options.model_validate({"net": net, **options}))


def _texts(svg: str) -> list[list[str]]:
    """The lines of each block, from left to right."""
    columns = ElementTree.fromstring(svg).iter(f"{_SVG}g")
    return [[text.text or "" for text in column.iter(f"{_SVG}text")] for column in columns]


def test_stages_sizes_and_parameters_are_those_of_the_net() -> None:
    body = _build("staged", (3, 20, 32), 4, stages=[{"widths": [8, 8]}, {"widths": [16], "stride": 2}], dense=[12])
    counts = [3 * 8 * 9 + 8 * 8 * 9 + 2 * 2 * 8, 8 * 16 * 9 + 2 * 16, 0, 16 * 12 + 12 + 12 * 4 + 4]
    assert measure(body, (3, 20, 32), 4) == [
        Part("input", (3, 20, 32), None),
        Part("2 convolutions", (8, 10, 16), counts[0]),
        Part("convolution", (16, 2, 4), counts[1]),
        Part("global pool", (16,), 0),
        Part("dense 12", (4,), counts[3]),
    ]
    assert sum(counts) == sum(p.numel() for p in body.parameters())
    assert _texts(draw(body, (3, 20, 32), 4)) == [
        ["input", "3 × 20 × 32"],
        ["2 convolutions", "8 × 10 × 16", "824 parameters"],
        ["convolution", "16 × 2 × 4", "1.18 k parameters"],
        ["global pool", "16", "no parameters"],
        ["dense 12", "4", "256 parameters"],
    ]


def test_a_net_on_vectors_is_drawn_too() -> None:
    body = _build("mlp", (64,), 3, widths=[32, 16])
    captions = [lines[:2] for lines in _texts(draw(body, (64,), 3))]
    assert captions == [["input", "64"], ["flatten", "64"], ["linear layer", "32"], ["linear layer", "16"], ["logits", "3"]]


def test_drawing_changes_nothing() -> None:
    body = _build("vgg", (1, 32, 32), 2, groups=[[4], [8]], dense=[8, 8, 8])
    body.trunk[0].eval()
    modes = [module.training for module in body.modules()]
    weights = {name: value.clone() for name, value in body.state_dict().items()}
    draw(body, (1, 32, 32), 2)
    assert [module.training for module in body.modules()] == modes
    assert all(torch.equal(value, weights[name]) for name, value in body.state_dict().items())
    assert not any(module._forward_hooks for module in body.modules())


def test_the_picture_follows_the_theme_and_describes_itself() -> None:
    svg = draw(_build("resnet_cifar", (3, 32, 32), 10), (3, 32, 32), 10)
    outside = re.sub(r"<style>.*?</style>", "", svg, flags=re.DOTALL)
    assert not re.search(r"#[0-9a-f]{3,6}|rgb\(|style=|fill=|stroke=", outside) and "prefers-color-scheme: dark" in svg
    label = ElementTree.fromstring(svg).get("aria-label")
    assert label is not None and label.startswith("270 k parameters in 5 stages and a head: input 3 × 32 × 32, convolution 16")


def test_blocks_stay_in_their_columns() -> None:
    body = _build("bottleneck", (3, 28, 60), 2, depth=4, last=64)
    root = ElementTree.fromstring(draw(body, (3, 28, 60), 2))
    height = float(root.get("height", 0))
    for index, column in enumerate(root.iter(f"{_SVG}g")):
        places = [place.split(",") for face in column.iter(f"{_SVG}polygon") for place in face.get("points", "").split()]
        assert len(places) == 12
        assert all(index * _COLUMN < float(x) < (index + 1) * _COLUMN and 0 < float(y) < height for x, y in places)
        lines = [float(text.get("y", 0)) for text in column.iter(f"{_SVG}text")]
        assert max(float(y) for _, y in places) < lines[0] - 9 and lines[-1] < height - 3  # 9: an upper-case letter


def test_stages_with_names_of_their_own() -> None:
    trunk = nn.Sequential()
    trunk.add_module("a <b>", nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()))
    trunk.add_module("1", nn.Flatten())
    assert _texts(draw(StagedNet(trunk, nn.Linear(18, 2)), (1, 5, 5), 2))[1][0] == "a <b>"


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "no"), (7, "7"), (999, "999"), (1000, "1.00 k"), (12_345, "12.3 k"), (999_499, "999 k"), (1_000_000, "1.00 M"),
        (23_482_624, "23.5 M"), (138_000_000, "138 M"),
    ],
)  # fmt: skip
def test_counts_have_three_digits(count: int, words: str) -> None:
    assert _words(count) == f"{words} parameters"


def test_a_librarys_model_is_shown_by_its_own_stages() -> None:
    body = _build("torchvision", (3, 64, 64), 5, model="resnet18")
    parts = measure(body, (3, 64, 64), 5)
    captions = [part.caption for part in parts]
    assert captions == ["input", "conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "logits"]
    assert parts[-2].size == (512, 2, 2) and sum(part.parameters or 0 for part in parts) == sum(
        p.numel() for p in body.parameters()
    )
