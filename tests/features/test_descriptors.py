"""Descriptors against plain reference computations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.fft import dctn

from tellapart import registry
from tellapart.errors import RecipeError
from tellapart.features.pixels import Pixels
from tellapart.features.spectrum import Spectrum
from tellapart.recipe import load as recipes

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


@pytest.mark.parametrize("shape", [(20, 28), (15, 15), (9, 16)])
def test_rings_are_means_of_the_full_power_spectrum(shape: tuple[int, int]) -> None:
    """The reference takes numpy's whole, complex transform, ring after ring."""
    images = np.random.default_rng(1).integers(0, 256, (2, *shape, 2), dtype=np.uint8)
    rings = 6
    found = Spectrum(Spectrum.Options(of="radial", rings=rings))(images)
    assert found.shape == (2, 2 * rings)
    power = np.abs(np.fft.fft2(images[1, :, :, 1] / 255, norm="ortho")) ** 2
    radius = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1]))
    place = np.minimum(radius / radius.max() * rings, rings - 1).astype(int)
    expected = [np.log(power[place == ring].mean() + 1e-6) for ring in range(rings)]
    np.testing.assert_allclose(found[1, rings:], expected, atol=1e-3)


def test_a_wave_lies_in_the_ring_of_its_frequency() -> None:
    wave = (127.5 + 100 * np.cos(2 * np.pi * 8 * np.arange(32) / 32)) * np.ones((32, 1))
    found = Spectrum(Spectrum.Options(of="radial", rings=8))(wave.round().astype(np.uint8)[None, :, :, None])[0]
    # 8 / 32 cycles a pixel of at most √½: 0.35 of the way, the third of eight rings; the first holds the mean
    assert found[1:].argmax() + 1 == 2


def test_rings_without_a_frequency_are_left_out() -> None:
    images = np.random.default_rng(1).integers(0, 256, (2, 6, 6, 1), dtype=np.uint8)
    found = Spectrum(Spectrum.Options(of="radial", rings=50))(images)
    assert np.isfinite(found).all() and found.shape[1] == 10  # distinct distances on a 6×6 grid


def test_an_option_without_effect_is_an_error() -> None:
    for options in ({"of": "radial", "block": 8}, {"rings": 8}):
        content = {"features": {"descriptors": [{"spectrum": options}]}, "classifier": {"family": "linear"}}
        with pytest.raises(RecipeError, match="has an effect only with"):
            recipes.parse(content)


DESCRIPTORS = [
    {"lbp": {"cells": 2}}, {"color_histogram": {"joint": True, "bins": 4}}, {"spectrum": {"of": "radial"}},
    {"noise_residual": {}},
    {"cooccurrence": {"channels": True}},
]  # fmt: skip


@pytest.mark.parametrize("entry", DESCRIPTORS, ids=lambda entry: next(iter(entry)))
@pytest.mark.parametrize("channels", [1, 3])
def test_a_row_is_the_same_alone_and_in_a_large_block(entry: dict, channels: int) -> None:
    """The block is larger than what is described at a time; none at all has the same width."""
    ((name, options),) = entry.items()
    kind = registry.find("features", name)
    describe = kind(kind.Options.model_validate(options))
    images = np.random.default_rng(2).integers(0, 256, (150, 48, 40, channels), dtype=np.uint8)
    together = describe(images)
    assert together.dtype == np.float32 and np.isfinite(together).all()
    for row in (0, 77, 149):
        np.testing.assert_allclose(describe(images[row : row + 1])[0], together[row], atol=1e-5)
    assert describe(images[:0]).shape == (0, together.shape[1])
