"""Each damage against another implementation of the same, and on pictures of odd sizes."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.filters import gaussian

from tellapart.augmentations._codecs import roundtrip
from tellapart.augmentations._warp import LUMA
from tellapart.augmentations.blur import Blur
from tellapart.data.decode import decode
from tellapart.errors import DataError
from tellapart.perturbations.kinds import PERTURBATIONS, as_png, select_perturbations

CELLS = [(damage, strength) for damage in PERTURBATIONS.values() for strength in damage.strengths]


def picture(height: int = 40, width: int = 56, channels: int = 3) -> np.ndarray:
    """Smooth shapes with some grain: (H, W, C) uint8."""
    y, x = np.mgrid[:height, :width] / 8
    waves = np.stack([np.sin(x + c) * np.cos(y - c) for c in range(channels)], axis=2)
    grain = np.random.default_rng(0).normal(0, 10, waves.shape)
    return np.clip(127 + 90 * waves + grain, 0, 255).astype(np.uint8)


def damaged(name: str, strength: float, pixels: np.ndarray, image: str = "a") -> np.ndarray:
    """What a reader of the damaged file sees, (H, W, C) uint8."""
    content = PERTURBATIONS[name].apply(pixels, strength, image)
    return decode(content, mode="gray" if pixels.shape[2] == 1 else "rgb")


def kind(content: bytes) -> str | None:
    with Image.open(io.BytesIO(content)) as image:
        return image.format


def test_there_are_three_to_five_strengths_of_each_but_gray() -> None:
    assert {name: len(damage.strengths) for name, damage in PERTURBATIONS.items()} == {
        "jpeg": 5, "webp": 4, "scale": 3, "blur": 3, "noise": 3, "crop": 3, "brightness": 4, "gray": 1, "screenshot": 3,
    }  # fmt: skip


@pytest.mark.parametrize("channels", [1, 3])
def test_the_unharmed_picture_survives_to_the_bit(channels: int) -> None:
    pixels = picture(channels=channels)
    found = decode(as_png(pixels), mode="gray" if channels == 1 else "rgb")
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("quality", [95, 30])
def test_jpeg_is_that_of_the_augmentation(quality: int, channels: int) -> None:
    pixels = picture(channels=channels)
    assert kind(PERTURBATIONS["jpeg"].apply(pixels, quality, "a")) == "JPEG"

    def save(image: Image.Image, file: object, q: int) -> None:
        image.save(file, "JPEG", quality=q, subsampling="4:2:0")  # type: ignore[arg-type]

    np.testing.assert_array_equal(damaged("jpeg", quality, pixels), roundtrip(pixels, save, quality))


def test_webp_is_lossy_and_the_worse_the_lower() -> None:
    pixels = picture().astype(float)
    errors = [np.abs(damaged("webp", q, picture()) - pixels).mean() for q in PERTURBATIONS["webp"].strengths]
    assert kind(PERTURBATIONS["webp"].apply(picture(), 50, "a")) == "WEBP"
    assert errors[0] > 0 and errors == sorted(errors)


@pytest.mark.parametrize("sigma", [0.5, 1, 2])
def test_blur_is_that_of_the_augmentation_and_of_scikit_image(sigma: float) -> None:
    pixels = picture()
    found = damaged("blur", sigma, pixels).astype(int)
    other = Blur(Blur.Options(sigma=(sigma, sigma), probability=1.0))
    batch = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    same = other(batch, torch.Generator().manual_seed(0))[0].permute(1, 2, 0).numpy().astype(int)
    assert np.abs(found - same).max() <= 1
    reference = gaussian(pixels.astype(float), sigma, mode="mirror", truncate=5, channel_axis=2)
    assert np.abs(found - reference).max() <= 0.51


def test_noise_has_its_strength_and_the_same_pattern_for_the_same_image() -> None:
    flat = np.full((120, 120, 3), 128, np.uint8)
    for sigma in PERTURBATIONS["noise"].strengths:
        error = damaged("noise", sigma, flat).astype(float) - 128
        assert error.std() == pytest.approx(np.hypot(sigma, np.sqrt(1 / 12)), rel=0.02)
        assert abs(error.mean()) < 0.1 * sigma
    assert PERTURBATIONS["noise"].apply(flat, 5, "a") == PERTURBATIONS["noise"].apply(flat, 5, "a")
    weak, strong = (damaged("noise", sigma, flat).astype(float) - 128 for sigma in (5, 10))
    assert np.corrcoef(weak.ravel(), strong.ravel())[0, 1] > 0.99
    other = damaged("noise", 10, flat, "b").astype(float) - 128
    assert abs(np.corrcoef(other.ravel(), strong.ravel())[0, 1]) < 0.05


def test_scale_is_two_resamplings_of_pillow() -> None:
    small = Image.fromarray(picture()).resize((28, 20), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(
        damaged("scale", 0.5, picture()), np.asarray(small.resize((56, 40), Image.Resampling.BICUBIC))
    )


def test_crop_is_the_middle() -> None:
    np.testing.assert_array_equal(damaged("crop", 0.5, picture()), picture()[10:30, 14:42])


def test_brightness_and_gray_are_their_formulas() -> None:
    pixels = picture()
    np.testing.assert_array_equal(damaged("brightness", 0.3, pixels), np.clip(np.rint(pixels * 1.3), 0, 255))
    np.testing.assert_array_equal(damaged("brightness", -0.3, pixels), np.rint(pixels * 0.7))
    luma = pixels @ np.array(LUMA)
    assert np.abs(damaged("gray", 1, pixels) - luma[:, :, None]).max() <= 0.51
    np.testing.assert_array_equal(damaged("gray", 1, picture(channels=1)), picture(channels=1))


def test_a_screenshot_has_a_frame_and_fewer_levels() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 64, axis=0)
    found = damaged("screenshot", 0.5, np.repeat(ramp, 3, axis=2))
    assert found.shape == (32 + 2, 128 + 2, 3)  # 1 % of 128 is 1 pixel
    for rim in (found[0], found[-1], found[:, 0], found[:, -1]):
        assert (rim == 200).all()
    assert np.abs(found[1:-1, 1:-1].astype(int) - damaged("scale", 0.5, np.repeat(ramp, 3, axis=2))[::2, ::2]).max() <= 6


def test_the_gamma_table_merges_as_many_levels_as_is_said() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 4, axis=0)
    content = decode(PERTURBATIONS["screenshot"].apply(ramp, 1.0, "a"), mode="gray")  # 1.0: nothing is resampled
    border = round(0.01 * 256)
    levels = content[border, border:-border, 0].astype(int)
    assert 256 - len(np.unique(levels)) == 17
    assert np.abs(levels - np.arange(256)).max() <= 2 and (np.diff(levels) >= 0).all()


@pytest.mark.parametrize(("damage", "strength"), CELLS, ids=lambda v: getattr(v, "name", v))
def test_no_size_is_too_small(damage, strength) -> None:
    for shape in ((1, 1, 3), (1, 1, 1), (1, 9, 3), (7, 1, 1), (2, 3, 3)):
        found = decode(damage.apply(np.full(shape, 90, np.uint8), strength, "a"), mode="rgb")
        assert found.shape[0] >= 1 and found.shape[1] >= 1
        if damage.name not in ("crop", "screenshot"):
            assert found.shape[:2] == shape[:2]


def test_names_are_checked() -> None:
    assert [d.name for d in select_perturbations(["scale", "jpeg"])] == ["jpeg", "scale"]
    assert select_perturbations(None) == tuple(PERTURBATIONS.values())
    with pytest.raises(DataError, match="unknown perturbation 'jpg': did you mean 'jpeg'"):
        select_perturbations(["jpg"])
    with pytest.raises(DataError, match="expected at least one perturbation"):
        select_perturbations([])
