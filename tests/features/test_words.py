"""Bag of visual words, against plain loops, scikit-learn, scipy and OpenCV."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from scipy.spatial.distance import cdist
from skimage import data
from skimage.transform import resize

from tellapart.data.cache import DecodedImages
from tellapart.features._patches import find_patches, split_block
from tellapart.features.base import FitContext
from tellapart.features.visual_words import VisualWords, fit_words, nearest_words

PHOTO = (np.asarray(resize(data.astronaut(), (128, 128), anti_aliasing=True)) * 255).astype(np.uint8)
#: Two kinds: crops of a photograph, and stripes
CROPS = np.stack([PHOTO[i * 8 : i * 8 + 40, j * 8 : j * 8 + 40] for i in range(6) for j in range(5)])
STRIPES = np.tile(((np.arange(40) // 3 % 2) * 255).astype(np.uint8)[None, :, None, None], (10, 1, 40, 3))
STRIPES = np.stack([np.roll(s, i, axis=0) for i, s in enumerate(STRIPES)])
IMAGES = np.concatenate([CROPS, STRIPES])
LABELS = np.repeat([0, 1], [len(CROPS), len(STRIPES)])
SMALL: dict[str, Any] = {"step": 4, "patches": [8, 12], "words": 24}


def _fitted(
    images: np.ndarray = IMAGES, labels: np.ndarray = LABELS, seed: int = 0, **options: Any
) -> tuple[VisualWords, list[str]]:
    words, around = VisualWords(VisualWords.Options(**(SMALL | options))), FitContext(seed)
    words.fit(DecodedImages(images, np.arange(len(images))), labels, around)
    return words, around.notes


def _counted(words: VisualWords, image: np.ndarray, grid: int) -> np.ndarray:
    """The histogram of one image by a plain loop over its patches."""
    patches, vocabulary = find_patches(image[None], words.options), words.arrays["words"]
    counts = np.zeros((grid, grid, len(vocabulary)))
    for vector, (down, across) in zip(patches.vectors, patches.centers, strict=True):
        word = cdist(vector[None].astype(float), vocabulary.astype(float)).argmin()
        counts[int(down * grid), int(across * grid), word] += 1
    return counts.ravel()


def test_a_patch_is_described_by_the_votes_of_its_own_pixels() -> None:
    """Whole degrees and a plain loop; gradients are those of the picture, not of the patch cut out."""
    options = VisualWords.Options(step=100, patches=[12], cells=2, orientations=4)
    image = CROPS[3][..., :1]
    found = find_patches(image[None], options)
    start = (40 - 12) % 100 // 2
    x, votes = image[..., 0].astype(float), np.zeros((2, 2, 4))
    for r in range(start, start + 12):
        for c in range(start, start + 12):
            down, right = x[r + 1, c] - x[r - 1, c], x[r, c + 1] - x[r, c - 1]
            place = np.rad2deg(np.arctan2(down, right)) % 180 / 45 - 0.5
            low = int(np.floor(place))
            for b, share in ((low, 1 - (place - low)), (low + 1, place - low)):
                votes[(r - start) // 6, (c - start) // 6, b % 4] += np.hypot(down, right) * share / 36
    norm = np.linalg.norm(votes)
    unit = np.minimum(votes / norm, 0.2)
    wanted = unit / np.linalg.norm(unit) * 512 * norm / np.hypot(norm, 2)
    assert len(found.vectors) == 1
    np.testing.assert_allclose(found.vectors[0], np.minimum(wanted, 255).ravel(), atol=1.0)
    assert (found.vectors == np.rint(found.vectors)).all()


def test_the_grid_covers_the_picture_evenly() -> None:
    found = find_patches(np.zeros((2, 20, 31, 1), np.uint8), VisualWords.Options(step=5, patches=[8]))
    downs, acrosses = (np.unique(found.centers[found.owner == 0, axis]) for axis in (0, 1))
    np.testing.assert_allclose(downs * 20, np.array([1, 6, 11]) + 4, rtol=1e-5)
    np.testing.assert_allclose(acrosses * 31, np.array([1, 6, 11, 16, 21]) + 4, rtol=1e-5)
    assert (np.bincount(found.owner) == 15).all() and not found.missing.any()
    assert not found.vectors.any()  # nothing to see in black


def test_orb_finds_what_opencv_finds_and_the_whole_image_stands_in() -> None:
    options = VisualWords.Options(detector="orb", enlarge=64, edge=25, patches=[16])
    images = np.stack([CROPS[7], np.full_like(CROPS[7], 9), CROPS[20]])
    found = find_patches(images, options)
    detector = cv2.ORB.create(nfeatures=500, edgeThreshold=25, fastThreshold=20)
    counts = []
    for image in images:
        gray = cv2.cvtColor(cv2.resize(image, (64, 64)), cv2.COLOR_RGB2GRAY)
        counts.append(len(detector.detect(gray, None)))
    assert counts[1] == 0 and max(counts) > 0
    assert np.bincount(found.owner, minlength=3).tolist() == [max(1, c) for c in counts]
    assert found.missing.tolist() == [c == 0 for c in counts]
    np.testing.assert_allclose(found.centers[found.owner == 1], 0.5)
    inside = found.centers[np.isin(found.owner, np.flatnonzero(~found.missing))] * 64
    assert inside.min() >= 24 and inside.max() <= 40  # all within 25 of the edges: 14 × 14 pixels of 64 × 64


@pytest.mark.parametrize("detector", ["dense", "sift"])
def test_sift_is_opencvs(detector: str) -> None:
    image = cv2.resize(PHOTO[:64, 32:96], (96, 96))
    options = VisualWords.Options.model_validate({"detector": detector, "description": "sift", "step": 40, "patches": [48]})
    found = find_patches(image[None], options)
    assert found.vectors.shape[1] == 128 and len(found.vectors) == len(found.owner) > 0
    if detector == "dense":  # upright, the 48 pixels of the patch are 4 × 4 parts of 12 = 3 times half the size
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        y, x = found.centers[0] * 96 - 0.5
        _, wanted = cv2.SIFT.create().compute(gray, [cv2.KeyPoint(float(x), float(y), 8.0, 0.0)])
        np.testing.assert_allclose(found.vectors[0], wanted[0])


def test_the_nearest_words_are_those_of_scipy_and_ties_go_to_the_earlier() -> None:
    rng = np.random.default_rng(1)
    vectors, words = (rng.integers(0, 256, (n, 32)).astype(np.float32) for n in (500, 60))
    words[40] = words[3]
    places, gaps = nearest_words(vectors, words, 3)
    distances = cdist(vectors.astype(float), words.astype(float), "sqeuclidean")
    np.testing.assert_array_equal(places, np.argsort(distances, axis=1, kind="stable")[:, :3])
    np.testing.assert_array_equal(gaps, np.sort(distances, axis=1)[:, :3])


def test_a_vocabulary_finds_the_centers_of_clusters() -> None:
    rng = np.random.default_rng(0)
    centers = np.unique(rng.integers(40, 200, (8, 5)), axis=0)
    vectors = (centers[rng.integers(0, 8, 4000)] + rng.integers(-2, 3, (4000, 5))).astype(np.float32)
    gaps = cdist(centers, fit_words(vectors, 16, 0)).min(axis=1)
    assert gaps.max() <= 4


@pytest.mark.parametrize("pyramid", [[1], [2], [1, 3]])
def test_histograms_are_those_of_a_loop(pyramid: list[int]) -> None:
    words, _ = _fitted(pyramid=pyramid, norm="none")
    found = words(IMAGES[:6])
    for row, image in zip(found, IMAGES, strict=False):
        wanted = np.concatenate([_counted(words, image, grid) for grid in pyramid])
        np.testing.assert_array_equal(row, wanted)


def test_norms() -> None:
    raw = _fitted(norm="none")[0](IMAGES)
    l1, l2, power, top = (_fitted(norm=n)[0](IMAGES) for n in ("l1", "l2", "power", "range"))
    np.testing.assert_allclose(l1, raw / raw.sum(1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(l2, raw / np.linalg.norm(raw, axis=1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(power, np.sqrt(raw / raw.sum(1, keepdims=True)), rtol=1e-5)
    np.testing.assert_allclose(top, raw / np.maximum(raw.max(0), 1e-6), rtol=1e-5)


def test_tfidf_is_scikit_learns() -> None:
    from sklearn.feature_extraction.text import TfidfTransformer

    raw = _fitted(norm="none")[0](IMAGES)
    found = _fitted(norm="l2", histogram="tfidf")[0](IMAGES)
    np.testing.assert_allclose(found, TfidfTransformer().fit_transform(raw).toarray(), atol=1e-6)


def test_soft_assignment_shares_one_vote_a_patch_by_nearness() -> None:
    words, _ = _fitted(norm="none", histogram="soft", nearest=3)
    patches = find_patches(IMAGES[:1], words.options)
    distances = cdist(patches.vectors.astype(float), words.arrays["words"].astype(float), "sqeuclidean")
    wanted = np.zeros(len(words.arrays["words"]))
    for row in distances:
        near = np.argsort(row, kind="stable")[:3]
        weights = np.exp(-(row[near] - row[near[0]]) / words.arrays["spread"][0])
        wanted[near] += weights / weights.sum()
    np.testing.assert_allclose(words(IMAGES[:1])[0], wanted, rtol=1e-4, atol=1e-5)


def test_selection_is_that_of_two_forests_one_after_the_other() -> None:
    from sklearn.ensemble import RandomForestClassifier

    words, _ = _fitted(norm="none", select=[12, 4])
    whole, kept = _fitted(norm="none")[0](IMAGES), np.arange(24)
    for count in (12, 4):
        importance = RandomForestClassifier(100, random_state=0).fit(whole[:, kept], LABELS).feature_importances_
        assert importance.max() > 1.5 * importance.mean()  # there is something to choose
        kept = np.sort(kept[np.argsort(-importance)[:count]])
    np.testing.assert_array_equal(words.arrays["kept"], kept)
    np.testing.assert_array_equal(words(IMAGES), whole[:, kept])


def test_words_of_batches_are_put_together() -> None:
    words, notes = _fitted(vocabulary="batches", batch_images=10, batch_words=5, words=20)
    assert words.arrays["words"].shape == (20, 32) and not notes
    more, _ = _fitted(vocabulary="batches", batch_images=20, batch_words=5, words=20)  # two batches: ten words of each
    assert len(more.arrays["words"]) == 20


def test_few_distinct_patches_are_said() -> None:
    words, notes = _fitted(STRIPES, LABELS[-10:], words=1500)
    assert len(words.arrays["words"]) < 1500
    assert notes == [f"visual_words: found {len(words.arrays['words']):,} distinct words instead of 1,500"]


@pytest.mark.parametrize("vocabulary", ["sample", "batches"])
def test_images_without_a_keypoint_are_counted(vocabulary: str) -> None:
    flat = np.concatenate([CROPS, np.full((7, 40, 40, 3), 50, np.uint8)])
    options = {"detector": "orb", "enlarge": 64, "edge": 16, "fast_threshold": 5, "words": 4, "vocabulary": vocabulary}
    empty = sum(int(find_patches(p, VisualWords.Options(**options)).missing.sum()) for p in split_block(flat, 64))
    _, notes = _fitted(flat, np.zeros(len(flat), np.int64), batch_images=37, **options)
    assert empty >= 7
    assert f"visual_words: {empty} of 37 training images have no keypoint; HOG of the whole image is used" in notes


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"histogram": "soft", "pyramid": [1, 2]},
        {"histogram": "tfidf", "norm": "range", "select": [8]},
        {"detector": "orb", "enlarge": 64, "edge": 16},
        {"detector": "sift", "description": "sift", "enlarge": 64},
    ],
    ids=lambda o: "-".join(map(str, o.values())) or "dense",
)
def test_a_row_depends_on_its_own_image_and_the_seed_alone(options: dict[str, Any]) -> None:
    words, _ = _fitted(**options)
    again, _ = _fitted(**options)
    whole = words(IMAGES)
    assert whole.dtype == np.float32 and np.isfinite(whole).all() and (whole >= 0).all()
    np.testing.assert_array_equal(again(IMAGES), whole)
    np.testing.assert_allclose(words(IMAGES[::-1])[::-1], whole, atol=1e-6)
    np.testing.assert_allclose(np.concatenate([words(IMAGES[i : i + 1]) for i in range(4)]), whole[:4], atol=1e-6)


def test_another_seed_learns_other_words() -> None:
    assert not np.array_equal(_fitted(seed=0)[0].arrays["words"], _fitted(seed=1)[0].arrays["words"])


def test_what_was_learnt_is_in_the_arrays() -> None:
    words, _ = _fitted(histogram="soft", norm="range", select=[8], pyramid=[1, 2])
    other = VisualWords(words.options)
    other.arrays = {name: array.copy() for name, array in words.arrays.items()}
    np.testing.assert_array_equal(other(IMAGES), words(IMAGES))


def test_two_images_are_enough() -> None:
    words, notes = _fitted(IMAGES[[0, -1]], np.array([0, 1]), words=1500, select=[64], histogram="soft")
    assert words(IMAGES[:3]).shape == (3, 64) and any("distinct words instead of" in n for n in notes)
