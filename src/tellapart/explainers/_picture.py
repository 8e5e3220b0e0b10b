"""Pictures as they are explained: the part that is read, at its own size, up to a limit.

Occlusion and RISE hold several copies of a picture, and every map has its size, so a photograph of a hundred megapixels would
fill the memory. It is shrunk first, where the classifier is shown a shrunk picture anyway; where it is shown the picture's own
pixels (`resize: center` or `none`), shrinking would change what it sees, so more is allowed and the rest refused.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from tellapart.data.decode import find_region, quiet
from tellapart.data.regions import Cut, crop_box
from tellapart.errors import ImageError
from tellapart.inference.nearest import shrunk
from tellapart.recipe.schema import Inputs

_SHRUNK_TO = 2_048 * 2_048  # pixels: ten times what a net is shown
_MOST = 25_000_000  # pixels, of what cannot be shrunk: RISE holds fifty bytes for each


def crop_read(content: bytes | np.ndarray, size: tuple[int, int], inputs: Inputs, path: str) -> Cut | None:
    """The part of a picture that its classifier reads; None: all of it, or its center (`keep`), which maps know to lay back.

    Args:
        content: Encoded, or (H, W, 3) uint8.
        size: (height, width), upright.
        inputs: How the classifier is shown it.
        path: Its name, for errors.

    Raises:
        ImageError: Nothing is there, and the recipe makes that an error.
    """
    if inputs.region is None:
        return None
    with quiet():
        return crop_box((size[1], size[0]), inputs, find_region(content, inputs, path), path)


def resize_for_explaining(pixels: np.ndarray, inputs: Inputs, path: str) -> np.ndarray:
    """A picture as small as it must be.

    Args:
        pixels: (H, W, 3) uint8.
        inputs: How the classifier is shown it.
        path: Its name, for errors.

    Returns:
        (h, w, 3) uint8; the same where it is small enough.

    Raises:
        ImageError: It is too large, and must not be shrunk.
    """
    height, width = pixels.shape[:2]
    if inputs.resize in ("center", "none"):
        if height * width > _MOST:
            size = f"{width}×{height} is {height * width / 1e6:,.0f} megapixels"
            hint = f"the run is shown own pixels (resize: {inputs.resize}), so it cannot be shrunk: cut out what matters"
            raise ImageError(path, f"{size}, over the {_MOST / 1e6:,.0f} that can be explained", hint=hint)
        return pixels
    return shrunk(pixels, math.sqrt(min(1.0, _SHRUNK_TO / (height * width))))


def shrunk_mask(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """The mask of a picture that was shrunk: (H, W) bool → (height, width) bool."""
    if mask.shape == (height, width):
        return mask
    return np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize((width, height), Image.Resampling.BOX)) > 127
