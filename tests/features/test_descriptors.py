"""Descriptors against plain reference computations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.fft import dctn

from tellapart.features.pixels import Pixels
from tellapart.features.spectrum import Spectrum

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 20, 28, 3), dtype=np.uint8)


def test_pixels_are_scaled_and_flat() -> None:
    vectors = Pixels(Pixels.Options())(IMAGES)
    assert vectors.dtype == np.float32 and vectors.shape == (3, 20 * 28 * 3)
    np.testing.assert_allclose(vectors[1], IMAGES[1].ravel() / 255, rtol=1e-6)


def test_the_spectrum_of_the_whole_image_is_the_log_dct() -> None:
    vectors = Spectrum(Spectrum.Options())(IMAGES)
    expected = np.log(np.abs(dctn(IMAGES[2].astype(float) / 255, axes=(0, 1), norm="ortho")) + 1e-3)
    np.testing.assert_allclose(vectors[2].reshape(20, 28, 3), expected, atol=1e-3)


def test_block_statistics_are_those_of_every_block() -> None:
    """The reference transforms block after block, in a plain loop."""
    block, step = 8, 4
    vectors = Spectrum(Spectrum.Options(block=block))(IMAGES)
    found = []
    for y in range(0, 20 - block + 1, step):
        for x in range(0, 28 - block + 1, step):
            window = IMAGES[0, y : y + block, x : x + block].astype(float) / 255
            found.append(np.log(np.abs(dctn(window, axes=(0, 1), norm="ortho")) + 1e-3))  # (v, u, C)
    spectra = np.stack(found).transpose(0, 3, 2, 1)  # (blocks, C, u, v)
    expected = np.concatenate([spectra.mean(axis=0).ravel(), spectra.std(axis=0).ravel()])
    np.testing.assert_allclose(vectors[0], expected, atol=2e-3)


@pytest.mark.parametrize("block", [None, 8, 64])
def test_each_row_depends_on_its_own_image(block: int | None) -> None:
    describe = Spectrum(Spectrum.Options(block=block))
    np.testing.assert_allclose(describe(IMAGES)[1:2], describe(IMAGES[1:2]), atol=1e-5)


def test_a_black_image_is_finite() -> None:
    assert np.isfinite(Spectrum(Spectrum.Options(block=8))(np.zeros((1, 16, 16, 1), np.uint8))).all()
