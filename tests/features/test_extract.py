"""Standardising and PCA against scikit-learn's, and their persistence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from tellapart.data.cache import DecodedImages
from tellapart.features.pipeline import FeaturePipeline
from tellapart.recipe.schema import Features

LABELS = np.arange(40) % 2


def _images(count: int = 40, side: int = 6) -> DecodedImages:
    pixels = np.random.default_rng(0).integers(0, 256, (count, side, side, 1), dtype=np.uint8)
    return DecodedImages(pixels, np.arange(count))


def test_standardising_and_pca_equal_scikit_learns() -> None:
    images = _images()
    ours = FeaturePipeline(Features(pca=5), seed=0).fit_transform(images, LABELS)
    scaled = StandardScaler().fit_transform(images.get().reshape(40, -1) / 255.0)
    theirs = PCA(5, svd_solver="full").fit_transform(scaled)
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-3)  # the sign of a component is free


def test_other_images_are_transformed_by_what_training_taught(tmp_path: Path) -> None:
    features = Features(descriptors=[{"pixels": {}}, {"spectrum": {"block": None}}], pca=4)
    extractor = FeaturePipeline(features, seed=0)
    trained = extractor.fit_transform(_images(), LABELS)
    np.testing.assert_allclose(extractor.transform(_images()), trained, atol=1e-4)
    extractor.save(tmp_path / "f.safetensors")
    again = FeaturePipeline.load(tmp_path / "f.safetensors", features, 0)
    np.testing.assert_array_equal(again.transform(_images()), extractor.transform(_images()))


def test_more_components_than_rows_are_clipped_and_that_is_said() -> None:
    extractor = FeaturePipeline(Features(pca=300), seed=0)
    assert extractor.fit_transform(_images(10), LABELS[:10]).shape == (10, 10)
    assert extractor.notes == ["PCA kept 10 components instead of 300: the matrix is 10 × 36"]


def test_a_constant_pixel_stays_finite() -> None:
    images = _images()
    images.pixels[:, 0, 0] = 7
    assert np.isfinite(FeaturePipeline(Features(), seed=0).fit_transform(images, LABELS)).all()


@pytest.mark.parametrize("pca", [None, 3])
def test_no_images_give_no_vectors(pca: int | None) -> None:
    extractor = FeaturePipeline(Features(pca=pca), seed=0)
    width = extractor.fit_transform(_images(), LABELS).shape[1]
    assert extractor.transform(_images(0)).shape == (0, width)
