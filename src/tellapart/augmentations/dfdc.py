"""Strong augmentation for deepfake detection, as published by the winner of the Deepfake Detection Challenge (DFDC).

Source: S. Seferbekov 2020, github.com/selimsef/dfdc_deepfake_challenge, `create_train_transforms`. It consists of JPEG of
    quality
60 to 100 (half of the images), Gaussian noise (a tenth), blur (a twentieth), mirror, an isotropic resize with one of three
pairs of kernels, brightness and contrast or color (seven tenths), gray (a fifth), shift, scale and rotation (half).
"""

from __future__ import annotations

import torch
from torch import Tensor

from tellapart.augmentations.base import Augmentation, Entry, Steps
from tellapart.recipe.schema import OptionsModel

#: The original resizes faces of any size to one size; here the size is fixed, so half of the images are downscaled and
#: upscaled.
ENTRIES: list[Entry] = [
    {"jpeg": {"probability": 0.5, "quality": [60, 100]}},
    {"noise": {"probability": 0.1, "sigma": [3.2, 7.1]}},
    {"blur": {"probability": 0.05, "sigma": [0.5, 0.8]}},
    {"flip": {}},
    {
        "one_of": [
            {"downscale": {"probability": 0.5, "factor": [0.4, 1.0], "kernels": ["box", "bicubic"]}},
            {"downscale": {"probability": 0.5, "factor": [0.4, 1.0], "kernels": ["box", "bilinear"]}},
            {"downscale": {"probability": 0.5, "factor": [0.4, 1.0], "kernels": ["bilinear"]}},
        ]
    },
    {
        "compose": {
            "probability": 0.7,
            "of": [
                {
                    "one_of": [
                        {"color_jitter": {"brightness": 0.2, "contrast": 0.2, "saturation": 0, "hue": 0}},
                        {"color_jitter": {"brightness": 0.08, "contrast": 0, "saturation": 0.12, "hue": 0.11}},
                    ]
                }
            ],
        }
    },
    {"grayscale": {"probability": 0.2}},
    {"compose": {"probability": 0.5, "of": [{"affine": {"degrees": 10, "shift": 0.1, "scale": [0.8, 1.2]}}]}},
]


class Dfdc(Augmentation):
    """DFDC augmentation without the color shift along principal components; borders are reflected instead of black."""

    def __init__(self, options: OptionsModel) -> None:
        super().__init__(options)
        self._steps = Steps.within(ENTRIES, "dfdc")

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Augment a batch: (B, C, H, W) uint8 → the same shape."""
        return self._steps(images, generator)
