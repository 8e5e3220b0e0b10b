"""The three edits: confined to their mask, visible, exact where mathematics says so."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tellapart.forgeries._edits import KINDS, draw_region, edit, fill_harmonic


def noise(size: int, channels: int, seed: int) -> np.ndarray:
    """Random pixels: (size, size, channels) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (size, size, channels), dtype=np.uint8)


@given(seed=st.integers(0, 2**32), size=st.integers(32, 128))
@settings(max_examples=50, deadline=None)
def test_a_region_covers_what_was_promised_and_keeps_off_the_rim(seed: int, size: int) -> None:
    region = draw_region(size, np.random.default_rng(seed))
    assert 0.05 <= region.mean() <= 0.40
    assert not (region[:2].any() or region[-2:].any() or region[:, :2].any() or region[:, -2:].any())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=10, deadline=None)
def test_an_edit_changes_its_region_and_nothing_else(kind: str, channels: int, seed: int) -> None:
    tile, donor = noise(48, channels, 1), noise(48, channels, 2)
    before = tile.copy()
    edited, mask = edit(kind, tile, donor, np.random.default_rng(seed))
    np.testing.assert_array_equal(tile, before)
    assert edited.shape == tile.shape and edited.dtype == np.uint8 and mask.dtype == bool
    np.testing.assert_array_equal(edited[~mask], tile[~mask])
    assert (edited[mask] != tile[mask]).any(axis=1).mean() > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_draw_gives_the_same_edit(kind: str) -> None:
    tile, donor = noise(48, 3, 1), noise(48, 3, 2)
    first, second, other = (edit(kind, tile, donor, np.random.default_rng(seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert (first[1] != other[1]).any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_flat_picture_stays_flat(kind: str) -> None:
    flat = np.full((40, 40, 3), 77, dtype=np.uint8)
    edited, _ = edit(kind, flat, flat, np.random.default_rng(0))
    np.testing.assert_array_equal(edited, flat)


def test_only_a_splice_looks_at_the_donor() -> None:
    tile = noise(48, 3, 1)
    for kind in KINDS:
        one, two = (edit(kind, tile, noise(48, 3, seed), np.random.default_rng(0))[0] for seed in (2, 3))
        assert (one != two).any() == (kind == "splice")


def test_a_splice_of_a_brighter_copy_leaves_no_trace_of_the_brightness() -> None:
    """Blending by gradients: only differences between neighbors are moved, so an even donor leaves a smooth fill."""
    ramp = np.broadcast_to(np.linspace(20, 80, 48)[None, :, None], (48, 48, 3)).astype(np.uint8)
    edited, mask = edit("splice", ramp, np.full_like(ramp, 200), np.random.default_rng(0))
    assert np.abs(edited.astype(int) - ramp)[mask].max() <= 2


def test_the_harmonic_fill_restores_harmonic_functions() -> None:
    y, x = np.mgrid[:40, :40].astype(float)
    values = np.stack([3 * x - 2 * y + 1, x * y, x * x - y * y], axis=2)  # harmonic on the grid too
    region = draw_region(40, np.random.default_rng(3))
    filled = fill_harmonic(np.where(region[..., None], -1e3, values), region)
    np.testing.assert_allclose(filled, values, atol=1e-8)


def test_the_harmonic_fill_is_the_mean_of_its_neighbors_and_stays_within_its_rim() -> None:
    values = noise(40, 3, 4).astype(float)
    region = draw_region(40, np.random.default_rng(4))
    filled = fill_harmonic(values, region)
    mean = sum(np.roll(filled, shift, axis) for shift in (1, -1) for axis in (0, 1)) / 4
    np.testing.assert_allclose(filled[region], mean[region], atol=1e-9)
    np.testing.assert_array_equal(filled[~region], values[~region])
    assert filled[region].min() >= 0 and filled[region].max() <= 255
