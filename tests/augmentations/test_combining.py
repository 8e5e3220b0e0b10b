"""Augmentations made of others, the pipeline, and the two that mix images and labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torchvision.transforms.v2 import functional as reference

from tellapart.augmentations.base import Pipeline
from tellapart.errors import RecipeError
from tellapart.recipe.load import parse

IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (64, 3, 10, 10), dtype=np.uint8))
MIRROR, HEAD_OVER = {"flip": {"horizontal": 1}}, {"flip": {"horizontal": 0, "vertical": 1}}


def _run(entries: list[Any], images: Tensor = IMAGES, seed: int = 0, **versions: Tensor) -> Tensor:
    return Pipeline(entries)(images, torch.Generator().manual_seed(seed), **versions)


def _equal(out: Tensor, other: Tensor) -> Tensor:
    """Which images are equal: (B,) bool."""
    return (out == other).flatten(1).all(1)


# --- pipeline ---------------------------------------------------------------------------------------------------------


def test_nothing_to_do_gives_the_images_themselves() -> None:
    pipeline = Pipeline([])
    assert pipeline(IMAGES, torch.Generator()) is IMAGES
    assert pipeline.versions == 1 and pipeline.mix(IMAGES, torch.Generator()) is None


def test_unknown_names_and_options_are_named() -> None:
    with pytest.raises(RecipeError, match="unknown augmentation 'rotat': did you mean 'rotate'"):
        Pipeline([{"rotat": {}}])
    with pytest.raises(RecipeError, match="augment: rotate: degree: unknown option 'degree'"):
        Pipeline([{"compose": [{"rotate": {"degree": 3}}]}])


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"flip": {}}, {"union": [[], []]}], "union must be the first entry, found it as number 2 of 2"),
        ([{"one_of": [{"union": [[]]}]}], "one_of: union cannot be used inside another augmentation"),
        ([{"union": [[{"union": [[]]}]]}], "union: union cannot be used inside another augmentation"),
        ([{"mixup": {}}, {"flip": {}}], "mixup must be the last entry, found it as number 1 of 2"),
        ([{"mixup": {}}, {"cutmix": {}}], "mixup must be the last entry, found it as number 1 of 2"),
        ([{"compose": [{"cutmix": {}}]}], "compose: cutmix cannot be used inside another augmentation"),
    ],
)
def test_misplaced_entries_are_refused(entries: list[Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Pipeline(entries)


def test_a_resolved_recipe_makes_a_pipeline() -> None:
    entries = [{"union": [[], [{"one_of": [{"rotate90": {}}, {"compose": [{"jpeg": {}}, {"blur": {}}]}]}]]}, {"cutmix": {}}]
    recipe = parse({"classifier": {"family": "network", "net": "mlp", "widths": [4]}, "augment": entries})
    assert recipe.augment is not None
    again = parse(recipe.model_dump(mode="json"))
    assert again == recipe
    assert torch.equal(_run(list(recipe.augment)), _run(entries))


# --- compose, one_of, union -------------------------------------------------------------------------------------------


def test_compose_is_one_after_another() -> None:
    assert torch.equal(_run([{"compose": [MIRROR, HEAD_OVER]}]), IMAGES.flip(2, 3))


def test_compose_happens_as_a_whole() -> None:
    out = _run([{"compose": {"of": [MIRROR, HEAD_OVER], "probability": 0.3}}])
    both, none = _equal(out, IMAGES.flip(2, 3)), _equal(out, IMAGES)
    assert (both ^ none).all() and 8 < both.sum() < 32


def test_one_of_is_drawn_evenly() -> None:
    many = IMAGES.repeat(20, 1, 1, 1)
    out = _run([{"one_of": [MIRROR, HEAD_OVER, {"compose": []}]}], many)
    counts = [_equal(out, many.flip(3)).sum(), _equal(out, many.flip(2)).sum(), _equal(out, many).sum()]
    assert sum(counts) == len(many)
    assert stats.chisquare([int(c) for c in counts]).pvalue > 1e-3


def test_union_makes_the_version_asked_for() -> None:
    entries = [{"union": [[], [MIRROR], [HEAD_OVER, MIRROR]]}]
    versions = torch.arange(64) % 3
    out = _run(entries, versions=versions)
    for version, expected in enumerate((IMAGES, IMAGES.flip(3), IMAGES.flip(2, 3))):
        assert _equal(out, expected)[versions == version].all()
    assert Pipeline(entries).versions == 3


def test_union_without_versions_draws_them() -> None:
    out = _run([{"union": [[], [MIRROR]]}])
    assert 15 < _equal(out, IMAGES).sum() < 49 and (_equal(out, IMAGES) ^ _equal(out, IMAGES.flip(3))).all()


def test_what_follows_a_union_works_on_all_versions() -> None:
    out = _run([{"union": [[], [MIRROR]]}, HEAD_OVER], versions=torch.arange(64) % 2)
    assert _equal(out, IMAGES.flip(2))[::2].all() and _equal(out, IMAGES.flip(2, 3))[1::2].all()


@pytest.mark.parametrize("entry", [{"compose": [{"center_crop": {"size": 6}}]}, {"one_of": [{"center_crop": {"size": 6}}]}])
def test_windows_inside_are_enlarged(entry: dict[str, Any]) -> None:
    expected = reference.resize(IMAGES[:, :, 2:8, 2:8], [10, 10], antialias=True)
    assert (_run([entry]).float() - expected.float()).abs().max() <= 1
    assert _run([{"center_crop": {"size": 6}}]).shape == (64, 3, 6, 6)


@pytest.mark.parametrize("name", ["dfdc", "social_media"])
def test_presets_change_most_images_each_in_its_way(name: str, detailed: Tensor) -> None:
    same = detailed[:1].repeat(100, 1, 1, 1)
    out = _run([{name: {}}], same)
    assert len(out.flatten(1).unique(dim=0)) > 80
    assert (out.float() - same.float()).abs().mean() < 60


# --- mixup, cutmix ----------------------------------------------------------------------------------------------------


def test_a_call_never_mixes() -> None:
    assert _run([{"mixup": {}}]) is IMAGES
    assert torch.equal(_run([MIRROR, {"cutmix": {}}]), IMAGES.flip(3))


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_mixing_says_whose_and_how_much(name: str) -> None:
    before = IMAGES.clone()
    mix = Pipeline([{name: {"alpha": 1}}]).mix(IMAGES, torch.Generator().manual_seed(0))
    assert mix is not None and torch.equal(IMAGES, before)
    assert mix.images.shape == IMAGES.shape and mix.images.dtype == torch.uint8
    assert sorted(mix.partner.tolist()) == list(range(64))
    assert mix.share.dtype == torch.float32 and mix.share.min() >= 0 and mix.share.max() <= 1
    own, partner = IMAGES.float(), IMAGES[mix.partner].float()
    if name == "mixup":
        share = mix.share.view(-1, 1, 1, 1)
        assert (mix.images.float() - (share * own + (1 - share) * partner)).abs().max() <= 0.51
    else:
        taken = (mix.images != IMAGES).any(1)
        kept = (mix.images != IMAGES[mix.partner]).any(1)
        assert not (taken & kept).any()  # every pixel is of one of the two
        moved = mix.partner != torch.arange(64)
        assert torch.allclose(1 - taken.float().mean((1, 2))[moved], mix.share[moved], atol=0.01)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_of_mixup_are_of_the_beta_distribution(alpha: float) -> None:
    images = torch.zeros(5000, 1, 1, 1, dtype=torch.uint8)
    mix = Pipeline([{"mixup": {"alpha": alpha}}]).mix(images, torch.Generator().manual_seed(0))
    assert mix is not None
    assert stats.kstest(mix.share.numpy(), stats.beta(alpha, alpha).cdf).pvalue > 1e-3


def test_shares_of_cutmix_are_those_of_rectangles_cut_at_the_border() -> None:
    """The paper's rule, one image at a time."""
    generator = np.random.default_rng(0)
    expected = []
    for _ in range(5000):
        half = np.sqrt(1 - generator.beta(1, 1)) / 2
        sides = [np.clip(m + half, 0, 1) - np.clip(m - half, 0, 1) for m in generator.random(2)]
        expected.append(1 - sides[0] * sides[1])
    images = torch.zeros(5000, 1, 100, 100, dtype=torch.uint8)
    mix = Pipeline([{"cutmix": {}}]).mix(images, torch.Generator().manual_seed(0))
    assert mix is not None
    assert abs(mix.share.mean().item() - np.mean(expected)) < 0.02
    assert abs(mix.share.std().item() - np.std(expected)) < 0.02
