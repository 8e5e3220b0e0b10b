"""Augmentations: exact, per image, decided by the generator alone, the input untouched."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tellapart import registry
from tellapart.augmentations.base import Pipeline
from tellapart.errors import RecipeError

IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (64, 3, 10, 10), dtype=np.uint8))


def _apply(name: str, images: Tensor = IMAGES, seed: int = 0, **options: object) -> Tensor:
    kind = registry.find("augmentations", name)
    return kind(kind.Options(**options))(images, torch.Generator().manual_seed(seed))


#: Options without which an operation cannot be made, or would change nothing here.
NEEDED: dict[str, dict[str, object]] = {
    "random_crop": {"shift": 2},
    "five_crop": {"size": 8},
    "center_crop": {"size": 8},
    "compose": {"of": [{"random_crop": {"shift": 2}}, {"noise": {}}]},
    "one_of": {"of": [{"rotate90": {}}, {"flip": {"horizontal": 1}}]},
    "union": {"of": [[], [{"rotate90": {}}, {"rotate": {}}]]},
    "grayscale": {"probability": 0.5},
}
ALL = pytest.mark.parametrize("name", registry.names("augmentations"))


@ALL
def test_the_generator_decides_everything_and_the_input_stays(name: str) -> None:
    before = IMAGES.clone()
    first, second, other = (_apply(name, seed=s, **NEEDED.get(name, {})) for s in (1, 1, 2))
    assert first.dtype == torch.uint8
    assert torch.equal(first, second)
    assert torch.equal(first, other) == (name == "center_crop")
    assert torch.equal(IMAGES, before)


@ALL
@pytest.mark.parametrize(
    "shape", [(5, 3, 9, 9), (5, 3, 9, 14), (1, 3, 10, 8), (4, 1, 12, 9), (2, 1, 8, 8), (3, 3, 8, 8)], ids=str
)
def test_shape_type_and_memory_format(name: str, shape: tuple[int, int, int, int]) -> None:
    count, channels, height, width = shape
    images = torch.randint(256, (count, height, width, channels), dtype=torch.uint8).permute(0, 3, 1, 2)
    out = _apply(name, images, **NEEDED.get(name, {}))
    side = {"five_crop": (8, 8), "center_crop": (8, 8)}.get(name, (height, width))
    assert out.shape == (count, channels, *side)
    assert out.dtype == torch.uint8
    assert out.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "name", sorted({*registry.names("augmentations")} - {"five_crop", "center_crop", "compose", "one_of", "union"})
)
def test_a_single_pixel(name: str) -> None:
    images = torch.full((6, 3, 1, 1), 128, dtype=torch.uint8)
    out = _apply(name, images, **NEEDED.get(name, {}))
    assert out.shape == images.shape
    if name in (
        "flip",
        "rotate90",
        "random_crop",
        "rotate",
        "affine",
        "random_resized_crop",
        "blur",
        "downscale",
        "mixup",
        "cutmix",
    ):
        assert torch.equal(out, images)


@ALL
def test_no_images(name: str) -> None:
    """A batch may have none left, for instance of one version of a union."""
    if name not in ("five_crop", "center_crop"):
        empty = torch.empty(0, 3, 9, 9, dtype=torch.uint8)
        assert _apply(name, empty, **NEEDED.get(name, {})).shape == empty.shape


@ALL
def test_an_image_is_augmented_whatever_its_memory_format(name: str) -> None:
    rows = IMAGES[:8].contiguous(memory_format=torch.channels_last)
    options = NEEDED.get(name, {})
    assert torch.equal(_apply(name, rows, **options), _apply(name, rows.contiguous(), **options))


@ALL
def test_the_number_of_threads_changes_nothing(name: str) -> None:
    threads = torch.get_num_threads()
    made = []
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            made.append(_apply(name, **NEEDED.get(name, {})))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*made)


def test_flip_gives_each_image_or_its_mirror() -> None:
    out = _apply("flip")
    same = torch.tensor([torch.equal(a, b) for a, b in zip(out, IMAGES, strict=True)])
    turned = torch.tensor([torch.equal(a, b.flip(2)) for a, b in zip(out, IMAGES, strict=True)])
    assert (same ^ turned).all() and 15 < same.sum() < 49


def test_flip_probabilities_of_zero_and_one() -> None:
    assert torch.equal(_apply("flip", horizontal=0, vertical=1), IMAGES.flip(2))


def test_rotate90_gives_all_four_quarters() -> None:
    out = _apply("rotate90")
    quarters = [
        next(q for q in range(4) if torch.equal(a, torch.rot90(b, q, (1, 2)))) for a, b in zip(out, IMAGES, strict=True)
    ]
    assert set(quarters) == {0, 1, 2, 3}


@pytest.mark.parametrize("quarters", range(4))
def test_rotate90_by_one_angle_is_counter_clockwise(quarters: int) -> None:
    assert torch.equal(_apply("rotate90", degrees=[90 * quarters]), torch.rot90(IMAGES, quarters, (2, 3)))


def test_rotate90_refuses_quarters_of_oblong_images() -> None:
    with pytest.raises(RecipeError, match="images of 10×6 can be rotated by 0° and 180° only"):
        _apply("rotate90", IMAGES[..., :6], degrees=[90, 270])


def test_rotate90_leaves_the_shape_of_oblong_images() -> None:
    oblong = IMAGES[:, :, :6]
    assert _apply("rotate90", oblong).shape == oblong.shape


def test_random_crop_cuts_windows_out_of_the_image() -> None:
    out = _apply("random_crop", size=6)
    assert out.shape == (64, 3, 6, 6)
    places = set()
    for window, image in zip(out, IMAGES, strict=True):
        found = [(y, x) for y in range(5) for x in range(5) if torch.equal(image[:, y : y + 6, x : x + 6], window)]
        assert len(found) == 1
        places.add(found[0])
    assert len(places) > 15


def test_random_crop_with_shift_equals_reflected_padding() -> None:
    """numpy's reflection is the reference."""
    out = _apply("random_crop", shift=3)
    padded = np.pad(IMAGES.numpy(), ((0, 0), (0, 0), (3, 3), (3, 3)), mode="reflect")
    for window, image in zip(out.numpy(), padded, strict=True):
        found = any((image[:, y : y + 10, x : x + 10] == window).all() for y in range(7) for x in range(7))
        assert found


def test_random_crop_larger_than_the_image_is_the_image() -> None:
    assert torch.equal(_apply("random_crop", size=50), IMAGES)


def test_five_crop_gives_corners_and_middle() -> None:
    out = _apply("five_crop", size=6)
    starts = [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)]
    found = [
        next(place for place, (y, x) in enumerate(starts) if torch.equal(image[:, y : y + 6, x : x + 6], window))
        for window, image in zip(out, IMAGES, strict=True)
    ]
    assert set(found) == set(range(5))


@pytest.mark.parametrize(("side", "window", "start"), [(10, 6, 2), (10, 5, 2), (9, 4, 2), (9, 9, 0)])
def test_center_crop_cuts_the_middle(side: int, window: int, start: int) -> None:
    """Where the border is odd, the smaller half is above and left."""
    middle = slice(start, start + window)
    assert torch.equal(_apply("center_crop", IMAGES[:, :, :side, :side], size=window), IMAGES[:, :, middle, middle])


@pytest.mark.parametrize("name", ["five_crop", "center_crop"])
def test_windows_larger_than_the_image_are_refused(name: str) -> None:
    message = f"augment: {name}: expected a window no larger than the images, found 12×12 for images of 10×8"
    with pytest.raises(RecipeError, match=message):
        _apply(name, IMAGES[..., :8], size=12)


def test_a_pipeline_runs_in_order() -> None:
    pipeline = Pipeline([{"random_crop": {"size": 6}}, {"flip": {"horizontal": 1.0}}])
    out = pipeline(IMAGES, torch.Generator().manual_seed(0))
    assert torch.equal(out, _apply("random_crop", size=6).flip(3))
