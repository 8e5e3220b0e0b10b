"""Every forgery: what it touches, what it leaves, that it is drawn from its generator alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from skimage import data

from tellapart import registry
from tellapart.forgeries import autoencoder
from tellapart.forgeries._regions import draw_patch, draw_window, feather
from tellapart.forgeries.base import SMALLEST, Forgery

NAMES = registry.names("forgeries")
REGIONAL = ("copy_move", "inpaint", "self_blend", "splice")


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return [np.ascontiguousarray(getattr(data, name)()[::2, ::2, :3]) for name in ("astronaut", "coffee")]


@pytest.fixture
def forgery(name: str, pictures: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Forgery:
    monkeypatch.setattr(autoencoder, "_STEPS", 3)
    found = registry.find("forgeries", name)()
    found.fit(pictures, 0, tmp_path)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_nothing_changes_outside_the_mask(forgery: Forgery, name: str, pictures: list[np.ndarray]) -> None:
    before = pictures[0].copy()
    forged, mask = forgery(pictures[0], pictures[1], np.random.default_rng(1))
    assert forged.dtype == np.uint8 and forged.shape == before.shape and mask.shape == before.shape[:2]
    assert (pictures[0] == before).all()
    assert (forged[~mask] == before[~mask]).all()
    assert (forged[mask] != before[mask]).any(axis=-1).mean() > 0.5
    assert mask.all() if name not in REGIONAL else 0.01 < mask.mean() < 0.4


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(SMALLEST, SMALLEST), (25, 61), (130, 27)])
def test_odd_and_small_pictures(forgery: Forgery, name: str, size: tuple[int, int], pictures: list[np.ndarray]) -> None:
    small = pictures[0][: size[0], : size[1]]
    for seed in range(4):
        forged, mask = forgery(small, pictures[1][:30, :40], np.random.default_rng(seed))
        assert forged.shape == small.shape and mask.any() and (forged[mask] != small[mask]).any()


@pytest.mark.parametrize("name", NAMES)
def test_the_generator_decides_everything(forgery: Forgery, name: str, pictures: list[np.ndarray]) -> None:
    one, again = (forgery(*pictures, np.random.default_rng(5))[0] for _ in range(2))
    assert (one == again).all()
    if name != "autoencoder":
        assert (one != forgery(*pictures, np.random.default_rng(6))[0]).any()


@pytest.mark.parametrize("name", ["splice"])
def test_a_splice_shows_the_donor(forgery: Forgery, pictures: list[np.ndarray]) -> None:
    black, red = np.zeros_like(pictures[0]), np.zeros_like(pictures[0])
    red[::3, ::3, 0] = 255
    forged, mask = forgery(black, red, np.random.default_rng(0))
    assert forged[mask][:, 0].astype(int).sum() > 0 and not forged[mask][:, 1:].any()


@pytest.mark.parametrize("name", ["copy_move"])
def test_a_copied_region_stands_elsewhere_too(forgery: Forgery, pictures: list[np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)
    forged, mask = forgery(noise, noise, np.random.default_rng(2))
    inside = ndimage.binary_erosion(mask, iterations=5)
    y, x = np.argwhere(inside)[len(np.argwhere(inside)) // 2]
    patch = forged[y - 2 : y + 3, x - 2 : x + 3].astype(int)
    windows = np.lib.stride_tricks.sliding_window_view(noise.astype(int), (5, 5), axis=(0, 1)).transpose(0, 1, 3, 4, 2)
    distance = min(np.abs(windows - p).sum(axis=(2, 3, 4)).min() for p in (patch, patch[:, ::-1]))
    assert distance == 0


@pytest.mark.parametrize("name", ["upsample"])
def test_upsampling_leaves_its_grid_in_the_spectrum(forgery: Forgery) -> None:
    """Uneven kernels put a line at half the sampling rate of a smooth picture; repeated values lack what noise has there."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (128, 128, 3))
    pictures = [128 + 20 * ndimage.gaussian_filter(3 * noise, (2, 2, 0)), 128 + 20 * noise]
    smooth, rough = (np.clip(np.rint(p), 0, 255).astype(np.uint8) for p in pictures)

    def at_half(pixels: np.ndarray) -> float:
        """The share of energy around half the sampling rate, along either axis."""
        power = np.abs(np.fft.fft2(pixels[..., 0] - pixels[..., 0].mean())) ** 2
        return float((power[62:67].sum() + power[:, 62:67].sum()) / power.sum())

    draws = [np.random.default_rng(seed) for seed in range(8)]
    after = [[at_half(forgery(p, p, rng)[0].astype(float)) for rng in draws] for p in (smooth, rough)]
    assert max(after[0]) > 10 * at_half(smooth.astype(float))
    assert min(after[1]) < at_half(rough.astype(float)) / 3


def test_an_autoencoder_learns_and_is_found_again(
    pictures: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def error(steps: int, folder: Path) -> tuple[float, np.ndarray]:
        monkeypatch.setattr(autoencoder, "_STEPS", steps)
        folder.mkdir(exist_ok=True)
        found = autoencoder.Autoencoder()
        found.fit(pictures, 0, folder)
        forged, _ = found(pictures[0], pictures[0], np.random.default_rng(0))
        return float(np.abs(forged.astype(int) - pictures[0]).mean()), forged

    untrained, trained = error(1, tmp_path / "a")[0], error(60, tmp_path / "b")
    assert trained[0] < untrained / 2
    assert (error(1, tmp_path / "b")[1] == trained[1]).all()  # nothing is trained where weights are


def test_a_large_picture_is_coded_in_strips_without_seams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autoencoder, "_STEPS", 2)
    picture = np.random.default_rng(0).integers(0, 256, (150, 40, 3), dtype=np.uint8)
    found = autoencoder.Autoencoder()
    found.fit([picture], 0, tmp_path)
    whole, _ = found(picture, picture, np.random.default_rng(0))
    monkeypatch.setattr(autoencoder, "_STRIP", 48)
    assert (found(picture, picture, np.random.default_rng(0))[0] == whole).all()


def test_windows_and_patches_fit(pictures: list[np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        shape = tuple(rng.integers(SMALLEST, 400, 2).tolist())
        y, x, side = draw_window(shape, rng)
        assert SMALLEST <= side <= min(shape) and y + side <= shape[0] and x + side <= shape[1]
    assert draw_patch(pictures[0][:10, :300], 64, rng).shape == (64, 64, 3)
    region = np.zeros((9, 9), bool)
    region[2:7, 2:7] = True
    assert feather(region, 0)[4, 4] == 1 and feather(region, 4)[2, 4] == pytest.approx(0.2) and not feather(region, 4)[0].any()


def test_pictures_with_alpha_or_gray_reach_a_forgery_as_rgb(tmp_path: Path) -> None:
    from tellapart.data.decode import decode

    for mode in ("L", "LA", "RGBA", "P"):
        path = tmp_path / f"{mode}.png"
        Image.new(mode, (40, 30)).save(path)
        assert decode(path.read_bytes()).shape == (30, 40, 3)
