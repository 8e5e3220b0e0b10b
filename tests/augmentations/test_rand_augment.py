"""RandAugment and TrivialAugment: every operation at every strength is torchvision's, bit for bit, and is drawn as there."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torchvision.transforms import InterpolationMode, autoaugment

from tellapart.augmentations import _operations, rand_augment, trivial_augment
from tellapart.augmentations._operations import OPERATIONS, Strengths
from tellapart.augmentations.rand_augment import RandAugment
from tellapart.augmentations.trivial_augment import TrivialAugment

SIZE = (20, 28)
#: Our name → torchvision's, in its order.
NAMES = dict(
    zip(
        ("identity", *OPERATIONS),
        (
            "Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast",
            "Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize",
        ),
        strict=True,
    )
)  # fmt: skip
SPACES = {
    "rand": (rand_augment.space(31, SIZE), autoaugment.RandAugment()._augmentation_space(31, SIZE)),
    "trivial": (trivial_augment.space(31), autoaugment.TrivialAugmentWide()._augmentation_space(31)),
    "rand of seven": (rand_augment.space(7, SIZE), autoaugment.RandAugment()._augmentation_space(7, SIZE)),
}


def _pictures() -> dict[str, Tensor]:
    """(3, *SIZE) uint8: slow waves with noise, low contrast, two values in one channel, one color, noise."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    waves = np.stack([128 + 90 * np.sin(x * (0.1 + 0.05 * c)) * np.cos(y * 0.2) for c in range(3)])
    noise = random.integers(0, 256, (3, *SIZE))
    two = np.stack([noise[0], np.where(noise[1] > 99, 80, 3), np.full(SIZE, 255)])
    found = {"waves": waves + noise % 9, "flat": 90 + noise % 7, "two": two, "color": np.full((3, *SIZE), 77), "noise": noise}
    return {name: torch.from_numpy(pixels.astype(np.uint8)) for name, pixels in found.items()}


PICTURES = _pictures()


@pytest.mark.parametrize("space", SPACES)
def test_strengths_are_those_of_torchvision(space: str) -> None:
    ours, theirs = SPACES[space]
    assert [NAMES[name] for name in ours] == list(theirs)
    for name, known in ours.items():
        values, signed = theirs[NAMES[name]]
        assert torch.equal(known.values, values.double().reshape(-1)) and known.signed == signed, name


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_are_those_of_torchvision(name: str, picture: str, channels: int) -> None:
    """All strengths of both lists in one batch: equal bit for bit, but for the mean of `contrast`, whose sum is exact here."""
    image = PICTURES[picture][:channels]
    known = [SPACES[space][0][name] for space in ("rand", "trivial")]
    values = torch.cat([torch.cat([one.values, -one.values]) if one.signed else one.values for one in known])
    batch = image.expand(len(values), -1, -1, -1).contiguous(memory_format=torch.channels_last)
    for value, ours in zip(values.tolist(), OPERATIONS[name](batch, values), strict=True):
        theirs = autoaugment._apply_op(image, NAMES[name], value, InterpolationMode.NEAREST, None)
        gap = (ours.int() - theirs.int()).abs().max()
        assert gap <= (name == "contrast"), f"{name} of {value}: {gap} levels"


@pytest.mark.parametrize("name", OPERATIONS)
def test_images_of_one_or_two_pixels(name: str) -> None:
    for height, width in ((1, 1), (2, 2), (1, 9)):
        image = PICTURES["noise"][:, :height, :width].contiguous()
        ours = OPERATIONS[name](image[None].clone(), torch.tensor([1.0], dtype=torch.float64))[0]
        theirs = autoaugment._apply_op(image, NAMES[name], 1.0, InterpolationMode.NEAREST, None)
        assert (ours.int() - theirs.int()).abs().max() <= (name == "contrast")


def _drawn(monkeypatch: pytest.MonkeyPatch, augmentation: RandAugment | TrivialAugment, count: int) -> list[list]:
    """(name, strength) of each operation on each image; nothing else is done to the images."""
    images = torch.arange(count).view(-1, 1, 1, 1).expand(-1, 3, *SIZE).to(torch.uint8)
    done: list[list] = [[] for _ in range(count)]

    def record(name: str) -> _operations.Operation:
        def operation(some: Tensor, strength: Tensor) -> Tensor:
            for image, value in zip(some, strength.tolist(), strict=True):
                done[int(image[0, 0, 0])].append((name, value))
            return some

        return operation

    monkeypatch.setattr(_operations, "OPERATIONS", {name: record(name) for name in OPERATIONS})
    augmentation(images, torch.Generator().manual_seed(0))
    return done


def test_rand_augment_draws_operations_and_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 256 images with three operations each, a 14th is unchanged each time; all have the same strength, either sign."""
    done = _drawn(monkeypatch, RandAugment(RandAugment.Options(operations=3, magnitude=30)), 256)
    counts = Counter(name for image in done for name, _ in image)
    assert set(counts) == set(OPERATIONS) and all(30 < count < 85 for count in counts.values())
    assert 30 < 3 * 256 - counts.total() < 85
    assert max(len(image) for image in done) == 3
    degrees = Counter(value for image in done for name, value in image if name == "rotate")
    assert set(degrees) == {30.0, -30.0}
    assert {value for image in done for name, value in image if name == "posterize"} == {4.0}


def test_trivial_augment_draws_one_operation_of_any_strength(monkeypatch: pytest.MonkeyPatch) -> None:
    done = _drawn(monkeypatch, TrivialAugment(TrivialAugment.Options(bins=3)), 256)
    assert {len(image) for image in done} == {0, 1}
    values = {name: {value for image in done for one, value in image if one == name} for name in OPERATIONS}
    assert values["rotate"] <= {0.0, 67.5, -67.5, 135.0, -135.0} and len(values["rotate"]) > 2
    assert values["solarize"] == {255.0, 127.5, 0.0}
    assert values["posterize"] == {8.0, 5.0, 2.0}
    assert values["equalize"] == {0.0}


def test_magnitude_zero_changes_only_what_has_no_strength() -> None:
    images = PICTURES["noise"].expand(200, -1, -1, -1)
    out = RandAugment(RandAugment.Options(operations=1, magnitude=0))(images, torch.Generator().manual_seed(0))
    changed = {tuple(image.flatten().tolist()) for image in out if not torch.equal(image, images[0])}
    expected = [OPERATIONS[name](images[:1].clone(), torch.zeros(1).double())[0] for name in ("equalize", "autocontrast")]
    inverted = torch.where(images[0] >= 255, 0, images[0])  # solarize from 255 on
    assert changed <= {tuple(image.flatten().tolist()) for image in (*expected, inverted)}


def test_a_magnitude_beyond_the_bins_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"magnitude must be smaller than bins \(10\), found 10"):
        RandAugment.Options(bins=10, magnitude=10)


def test_no_strength_is_shared_between_the_lists() -> None:
    """TrivialAugment is the wide one: twice the angle, a shift in pixels, six bits."""
    rand, trivial = SPACES["rand"][0], SPACES["trivial"][0]

    def strongest(known: Strengths) -> float:
        return known.values[-1].item()

    assert (strongest(rand["rotate"]), strongest(trivial["rotate"])) == (30.0, 135.0)
    assert strongest(trivial["translate_x"]) == strongest(trivial["translate_y"]) == 32.0
    assert (strongest(rand["posterize"]), strongest(trivial["posterize"])) == (4.0, 2.0)
