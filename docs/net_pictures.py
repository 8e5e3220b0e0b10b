"""Draw docs/nets/NAME.svg, the pictures of the architectures: `python docs/net_pictures.py [NAME …]`.

Each is drawn with the options of its page, for images and classes as there. Run it when an architecture changes.

A picture shows the stages of a net from left to right, each as a block whose height is the square root of the side of its maps
and whose length is the logarithm of its channels, so that 224×224 and 1×1 fit on one page. Parameters are rounded to three
digits. The SVG follows the light or dark theme of the reader's system.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from markupsafe import escape
from torch import Tensor, nn

from tellapart import registry
from tellapart.nets.base import HeadedNet

FOLDER = Path(__file__).parent / "nets"
#: Net → shape of the input, number of classes, options.
DRAWN: dict[str, tuple[tuple[int, ...], int, dict[str, Any]]] = {
    "mlp": ((1, 28, 28), 10, {"widths": [150, 150, 75]}),
    "staged": (
        (3, 100, 100),
        5,
        {
            "stages": [{"widths": [w, w], "dropout": d} for w, d in ((64, 0.25), (128, 0.3), (256, 0.4), (384, 0.5))],
            "ending": "flatten",
        },
    ),
    "vgg": ((3, 64, 64), 96, {"dropout": 0.6, "dense": [4069, 4069, 512], "dense_dropout": 0.7}),
    "bottleneck": ((3, 28, 28), 141, {"share_blocks": True}),
    "resnet_cifar": ((3, 32, 32), 10, {"depth": 20}),
    "inception_resnet_v1": ((3, 160, 160), 2, {}),
    "quick": ((1, 28, 28), 10, {}),
    "timm": ((3, 224, 224), 10, {"model": "efficientnet_b0"}),
    "fusion": (
        (3, 224, 224),
        10,
        {"backbones": [{"net": "timm", "model": "resnet18"}, {"net": "torchvision", "model": "googlenet"}], "dense": [256]},
    ),
    "torchvision": ((3, 224, 224), 10, {"model": "resnet18"}),
}


def picture(name: str) -> str:
    """The picture of one net, as SVG."""
    shape, classes, options = DRAWN[name]
    net = registry.find("nets", name)
    return draw(net.build(shape, classes, net.Options.model_validate({"net": name, **options})), shape, classes)


_COLUMN, _MIDDLE, _HEIGHT = 132, 76, 200  # pixels: width of a stage, height of the middle of the blocks, of the picture
_TALLEST, _LONGEST, _SLANT = 96, 64, 0.22  # pixels, pixels, and shift of the far edge as a share of the height
_VECTOR = 10  # pixels: height of the bar that stands for a vector, which has no map
_LINE = 16  # pixels from one line of text to the next
_STYLE = """
.net { --net-ink: #1c2126; --net-muted: #59626b; --net-block: #0072b2; font: 12px system-ui, sans-serif; text-anchor: middle }
@media (prefers-color-scheme: dark) { .net { --net-ink: #e5e9ec; --net-muted: #9da8b1; --net-block: #4eaee8 } }
.net text { fill: var(--ink, var(--net-ink)) }
.net .muted { fill: var(--muted, var(--net-muted)) }
.net .arrow { stroke: var(--muted, var(--net-muted)); fill: none }
.net polygon { fill: var(--test, var(--net-block)); stroke: var(--test, var(--net-block)); stroke-linejoin: round }
.net .front { fill-opacity: .28 }
.net .side { fill-opacity: .5 }
.net .top { fill-opacity: .14 }
"""


@dataclass(frozen=True)
class Part:
    """One block of the picture.

    Attributes:
        caption: What it is, in two or three words.
        size: (C, H, W), (D,) or, of transformers, (tokens, D) of what it gives.
        parameters: How many it has; none: it is the input.
    """

    caption: str
    size: tuple[int, ...]
    parameters: int | None


def draw(body: HeadedNet, shape: tuple[int, ...], classes: int) -> str:
    """A net as an `<svg>` element: the input, each stage of the trunk with the size of its maps and its parameters, the head.

    Args:
        body: Its mode and weights stay as they are.
        shape: (C, H, W) of the images that go in; (D,) for vectors.
        classes: How many logits.
    """
    parts = measure(body, shape, classes)
    largest = max(shape[1:], default=1)
    total = _parameters(body)
    told = f"{_words(total)} in {len(parts) - 2} stages and a head: " + ", ".join(f"{p.caption} {_size(p.size)}" for p in parts)
    drawn = [_column(part, index, largest) for index, part in enumerate(parts)]
    width = _COLUMN * len(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="net" viewBox="0 0 {width} {_HEIGHT}" width="{width}" '
        f'height="{_HEIGHT}" role="img" aria-label="{escape(told)}">\n<style>{_STYLE}</style>\n'
        + "\n".join(drawn)
        + "\n</svg>\n"
    )


@torch.no_grad()
def measure(body: HeadedNet, shape: tuple[int, ...], classes: int) -> list[Part]:
    """The input, the stages of the trunk, the head; sizes are those that an image of zeros meets.

    A library's model that is the whole trunk is shown by its own children, those that have parameters.
    """
    sizes: dict[nn.Module, tuple[int, ...]] = {}

    def note(stage: nn.Module, inputs: Any, output: Any) -> None:
        del inputs
        if isinstance(output, Tensor):
            sizes[stage] = tuple(output.shape[1:])

    stages = _stages(body.trunk)
    hooks = [stage.register_forward_hook(note) for stage in stages.values()]
    modes = {module: module.training for module in body.modules()}
    first = next(body.parameters())
    try:
        body.eval()(torch.zeros(1, *shape, device=first.device, dtype=first.dtype))
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes.items():
            module.training = training
    names = {stage: name for name, stage in stages.items()}
    inside = [Part(_caption(names[stage], stage), size, _parameters(stage)) for stage, size in sizes.items()]
    return [Part("input", shape, None), *inside, Part(_head(body.head), (classes,), _parameters(body.head))]


def _stages(trunk: nn.Module) -> dict[str, nn.Module]:
    stages = dict(trunk.named_children())
    owners = [name for name, stage in stages.items() if _parameters(stage)]
    if len(owners) != 1 or owners[0].isdecimal() or isinstance(stages[owners[0]], nn.Sequential | nn.ModuleList):
        return stages
    return {name: child for name, child in stages[owners[0]].named_children() if _parameters(child)} or stages


def _parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _caption(name: str, stage: nn.Module) -> str:
    """A stage in words: its own name, its convolutions, its linear layers, or what kind of layer it is."""
    if not name.isdecimal():
        return name
    for kind, noun in ((nn.Conv2d, "convolution"), (nn.Linear, "linear layer")):
        count = sum(isinstance(module, kind) for module in stage.modules())
        if count:
            return f"{count} {noun}s" if count > 1 else noun
    leaves = [module for module in stage.modules() if not list(module.children())]
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(leaves[-1]).__name__).lower()


def _head(head: nn.Module) -> str:
    widths = [str(module.out_features) for module in head.modules() if isinstance(module, nn.Linear)]
    dense = widths[:-1]
    return f"dense {', '.join(dense)}" if 0 < len(dense) <= 2 else f"{len(dense)} dense layers" if dense else "logits"


def _size(size: Sequence[int]) -> str:
    return " × ".join(map(str, size))


def _words(count: int) -> str:
    """`23.5 M parameters`: three digits."""
    for unit, name in ((10**6, " M"), (10**3, " k")):
        if count >= unit:
            digits = max(0, 2 - int(math.log10(count / unit)))
            return f"{count / unit:.{digits}f}{name} parameters"
    return f"{count} parameters" if count else "no parameters"


def _column(part: Part, index: int, largest: int) -> str:
    """One part: arrow from the part before it, block, three lines of text."""
    middle = _COLUMN * (index + 0.5)
    lines = [part.caption, _size(part.size), "" if part.parameters is None else _words(part.parameters)]
    classes = ["", "", ' class="muted"']
    texts = [
        f'<text{kind} x="{middle:g}" y="{_MIDDLE + 78 + _LINE * row}">{escape(line)}</text>'
        for row, (line, kind) in enumerate(zip(lines, classes, strict=True))
        if line
    ]
    joint = middle - _COLUMN / 2
    arrow = f'<path class="arrow" d="M{joint - 8:g} {_MIDDLE}h14m-5 -4l5 4l-5 4"/>' if index else ""
    return "\n".join(["<g>", *([arrow] if arrow else []), *_block(part.size, middle, largest), *texts, "</g>"])


def _block(size: tuple[int, ...], middle: float, largest: int) -> list[str]:
    """Front, top and side of a block: as long as the logarithm of the channels, as high and deep as the map's sides."""
    long = min(_LONGEST, 4 + 6 * math.log2(size[0]))
    high, deep = (
        _VECTOR + (_TALLEST - _VECTOR) * math.sqrt(side / largest) for side in (size[1:] if len(size) == 3 else (0, 0))
    )
    shift = _SLANT * deep
    left, right = middle - (long + shift) / 2, middle + (long - shift) / 2
    top, bottom = _MIDDLE - (high - shift) / 2, _MIDDLE + (high + shift) / 2
    faces = {
        "front": [(left, top), (right, top), (right, bottom), (left, bottom)],
        "top": [(left, top), (left + shift, top - shift), (right + shift, top - shift), (right, top)],
        "side": [(right, top), (right + shift, top - shift), (right + shift, bottom - shift), (right, bottom)],
    }
    return [f'<polygon class="{face}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in at)}"/>' for face, at in faces.items()]


if __name__ == "__main__":
    for name in sys.argv[1:] or DRAWN:
        FOLDER.joinpath(f"{name}.svg").write_text(picture(name), encoding="utf-8")
