"""Augmentations: exact, per image, decided by the generator alone, the input untouched."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tellapart import registry
from tellapart.augment._contract import Pipeline

IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (64, 3, 10, 10), dtype=np.uint8))


def _apply(name: str, images: Tensor = IMAGES, seed: int = 0, **options: object) -> Tensor:
    kind = registry.find("augment", name)
    return kind(kind.Options(**options))(images, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", registry.names("augment"))
def test_the_generator_decides_everything_and_the_input_stays(name: str) -> None:
    options = {"shift": 2} if name == "crop" else {}
    before = IMAGES.clone()
    first, second, other = (_apply(name, seed=s, **options) for s in (1, 1, 2))
    assert first.dtype == torch.uint8
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert torch.equal(IMAGES, before)


def test_flip_gives_each_image_or_its_mirror() -> None:
    out = _apply("flip")
    same = torch.tensor([torch.equal(a, b) for a, b in zip(out, IMAGES, strict=True)])
    turned = torch.tensor([torch.equal(a, b.flip(2)) for a, b in zip(out, IMAGES, strict=True)])
    assert (same ^ turned).all() and 15 < same.sum() < 49


def test_flip_probabilities_of_zero_and_one() -> None:
    assert torch.equal(_apply("flip", horizontal=0, vertical=1), IMAGES.flip(2))


def test_turn_gives_all_four_quarters() -> None:
    out = _apply("turn")
    quarters = [
        next(q for q in range(4) if torch.equal(a, torch.rot90(b, q, (1, 2)))) for a, b in zip(out, IMAGES, strict=True)
    ]
    assert set(quarters) == {0, 1, 2, 3}


def test_turn_leaves_the_shape_of_oblong_images() -> None:
    oblong = IMAGES[:, :, :6]
    assert _apply("turn", oblong).shape == oblong.shape


def test_crop_cuts_windows_out_of_the_image() -> None:
    out = _apply("crop", size=6)
    assert out.shape == (64, 3, 6, 6)
    places = set()
    for window, image in zip(out, IMAGES, strict=True):
        found = [(y, x) for y in range(5) for x in range(5) if torch.equal(image[:, y : y + 6, x : x + 6], window)]
        assert len(found) == 1
        places.add(found[0])
    assert len(places) > 15


def test_crop_with_shift_equals_reflected_padding() -> None:
    """numpy's reflection is the reference."""
    out = _apply("crop", shift=3)
    padded = np.pad(IMAGES.numpy(), ((0, 0), (0, 0), (3, 3), (3, 3)), mode="reflect")
    for window, image in zip(out.numpy(), padded, strict=True):
        found = any((image[:, y : y + 10, x : x + 10] == window).all() for y in range(7) for x in range(7))
        assert found


def test_crop_larger_than_the_image_is_the_image() -> None:
    assert torch.equal(_apply("crop", size=50), IMAGES)


def test_a_pipeline_runs_in_order() -> None:
    pipeline = Pipeline([{"crop": {"size": 6}}, {"flip": {"horizontal": 1.0}}])
    out = pipeline(IMAGES, torch.Generator().manual_seed(0))
    assert torch.equal(out, _apply("crop", size=6).flip(3))
