"""Brightness of RGB images."""

from __future__ import annotations

import numpy as np

_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as JPEG has it


def gray(images: np.ndarray) -> np.ndarray:
    """(B, H, W, C) uint8, C = 3 (RGB) or 1 → (B, 1, H, W) float32 in 0 … 255."""
    if images.shape[3] == 1:
        return images.transpose(0, 3, 1, 2).astype(np.float32)
    return (images.astype(np.float32) @ _WEIGHTS)[:, None]
