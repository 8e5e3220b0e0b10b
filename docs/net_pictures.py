"""Draw docs/nets/NAME.svg, the pictures of the architectures: `python docs/net_pictures.py [NAME …]`.

Each is drawn with the options of its page, for images and classes as there. Run it when an architecture changes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tellapart import registry
from tellapart.reports.net_drawing import draw

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


if __name__ == "__main__":
    for name in sys.argv[1:] or DRAWN:
        FOLDER.joinpath(f"{name}.svg").write_text(picture(name), encoding="utf-8")
