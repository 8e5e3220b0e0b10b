"""Make the pictures of the documentation anew: `python docs/pictures.py [NAME …]`; without names, all of them.

`augment/NAME.jpg` shows one augmentation on the photograph of an astronaut that scikit-image carries (NASA, public domain);
`mixup` and `cutmix` mix in its cat (Stefan van der Walt, CC0).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tellapart import registry
from tellapart.data.sample_photos import PHOTOGRAPHS
from tellapart.reports.contact_sheets import augmentation_sheet

FOLDER = Path(__file__).parent / "augmentations"
SIDE, VERSIONS, MOST_BYTES = 120, 5, 40_000
#: Options of a picture where the defaults would show little at its size, or do not exist.
SHOWN: dict[str, dict[str, Any]] = {
    "flip": {"vertical": 0.5},
    "rotate": {"degrees": 40},
    "affine": {"degrees": 15, "shift": 0.15, "scale": [0.7, 1.3], "shear": 20},
    "crop": {"shift": 24},
    "five_crop": {"size": 88},
    "center_crop": {"size": 88},
    "random_resized_crop": {"scale": [0.3, 1]},
    "color": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.6, "hue": 0.1},
    "gray": {"probability": 0.5},
    "blur": {"probability": 1, "sigma": [0.5, 2.5]},
    "noise": {"probability": 1, "sigma": [5, 30]},
    "jpeg": {"probability": 1, "quality": [5, 30]},
    "webp": {"probability": 1, "quality": [1, 20]},
    "rescale": {"probability": 1, "factor": [0.2, 0.5]},
    "erase": {"probability": 1},
    "mixup": {"alpha": 1},
    "rand_augment": {"magnitude": 20},
    "compose": {"of": [{"rotate": {"degrees": 30}}, {"grayscale": {"probability": 1}}], "probability": 0.5},
    "one_of": {
        "of": [{"rotate90": {"degrees": [90]}}, {"grayscale": {"probability": 1}}, {"random_erasing": {"probability": 1}}]
    },
    "union": {"of": [[], [{"rotate90": {}}], [{"five_crop": {"size": 88}}], [{"color_jitter": {"hue": 0.2}}, {"rotate": {}}]]},
}


def main(names: list[str]) -> None:
    """Write the pictures of these augmentations, or of all."""
    astronaut, cat = _photograph("astronaut", (150, 10, 330, 190)), _photograph("chelsea", (70, 0, 370, 300))
    for name in names or registry.names("augmentations"):
        made = augmentation_sheet([{name: SHOWN.get(name, {})}], astronaut, seed=1, count=VERSIONS, other=cat)
        path = FOLDER / f"{name}.jpg"
        made.save(path, quality=80, optimize=True)
        if path.stat().st_size > MOST_BYTES:
            sys.exit(f"{path}: {path.stat().st_size} bytes, expected at most {MOST_BYTES}")
        print(f"{path.name}: {made.width}×{made.height}, {path.stat().st_size} bytes")


def _photograph(name: str, box: tuple[int, int, int, int]) -> np.ndarray:
    """A square of a photograph: (SIDE, SIDE, 3) uint8; box: left, top, right, bottom."""
    (found,) = (photograph for photograph in PHOTOGRAPHS if photograph.name == name)
    picture = Image.fromarray(found.load()).resize((SIDE, SIDE), Image.Resampling.LANCZOS, box)
    return np.asarray(picture)


if __name__ == "__main__":
    main(sys.argv[1:])
