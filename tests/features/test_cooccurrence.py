"""Co-occurrences against scikit-image's matrices, plain loops, and counts known by hand."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from skimage.feature import graycomatrix

from tellapart.errors import RecipeError
from tellapart.features._blocks import to_planes
from tellapart.features._residuals import residuals, symmetric
from tellapart.features.cooccurrence import Cooccurrence
from tellapart.recipe import load as recipes

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 13, 16, 3), dtype=np.uint8)


def test_pairs_of_pixels_are_scikit_images_matrix() -> None:
    options = Cooccurrence.Options(of=["pixels"], levels=8, order=2, steps=[1, 3], root=False)
    found = Cooccurrence(options)(IMAGES).reshape(2, 2, 3, 36)  # image, step, channel, pair
    for place, step in enumerate((1, 3)):
        matrices = graycomatrix(IMAGES[1, :, :, 0] // 32, [step], [0, np.pi / 2], 8, symmetric=True)
        both = matrices[:, :, 0].sum(axis=2) / matrices.sum()
        # (a, b) and (b, a) are one tuple, in the order of the smaller code
        expected = [both[a, b] + (both[b, a] if a != b else 0) for a in range(8) for b in range(a, 8)]
        np.testing.assert_allclose(found[1, place, 0], expected, atol=1e-6)


@pytest.mark.parametrize(("levels", "order", "count"), [(5, 3, 39), (5, 4, 169), (3, 4, 25), (7, 2, 16)])
def test_how_many_residual_tuples_differ(levels: int, order: int, count: int) -> None:
    """169 for five levels and order four is the number that Fridrich & Kodovsky 2012 give."""
    assert symmetric(levels, order, signs=True).max() + 1 == count


def test_a_tuple_its_reverse_and_its_negative_are_one() -> None:
    bins = symmetric(5, 3, signs=True)
    code = lambda t: int(np.ravel_multi_index(tuple(v + 2 for v in t), (5, 5, 5)))  # noqa: E731
    for t in itertools.product(range(-2, 3), repeat=3):
        assert bins[code(t)] == bins[code(t[::-1])] == bins[code([-v for v in t])]
    assert bins[code((1, 0, 2))] != bins[code((0, 1, 2))]


def test_tuples_of_residuals_by_a_plain_loop() -> None:
    """Second differences, three in a row: along rows and, turned, along columns in one histogram; then across."""
    found = Cooccurrence(Cooccurrence.Options(order=3, quantum=20.0, root=False))(IMAGES).reshape(2, 2, 3, 39)
    horizontal, vertical = (
        np.clip(np.rint(r[0, 1] / 2 / 20), -2, 2).astype(int) for r in residuals(to_planes(IMAGES).astype(np.int16), "second")
    )
    for way, (rows, columns) in enumerate([(horizontal, vertical), (vertical, horizontal)]):
        counts: Counter[tuple[int, ...]] = Counter()
        for line in [*rows, *columns.T]:
            for t in zip(line, line[1:], line[2:], strict=False):
                same = [t, t[::-1], tuple(-v for v in t), tuple(-v for v in t[::-1])]
                counts[min(same)] += 1
        expected = np.sort(np.array(list(counts.values())) / counts.total())
        ours = found[0, way, 1]
        np.testing.assert_allclose(np.sort(ours[ours > 0]), expected, atol=1e-6)


def test_triples_of_channels() -> None:
    options = Cooccurrence.Options(of=["pixels"], levels=4, order=2, channels=True, root=False)
    found = Cooccurrence(options)(IMAGES)[0, 3 * 10 :]
    r, g, b = (IMAGES[0] // 64).transpose(2, 0, 1).astype(int)
    np.testing.assert_allclose(found, np.bincount((r + 4 * g + 16 * b).ravel(), minlength=64) / r.size, atol=1e-6)


def test_negative_triples_of_channels_are_one() -> None:
    """A picture and its negative have residuals of opposite sign."""
    describe = Cooccurrence(Cooccurrence.Options(of=["square"], levels=3, order=2, channels=True))
    np.testing.assert_allclose(describe(IMAGES), describe(255 - IMAGES), atol=1e-6)
    assert describe(IMAGES).shape == (2, 3 * 4 + 14)


def test_gray_and_flat_images() -> None:
    found = Cooccurrence(Cooccurrence.Options(channels=True))(np.zeros((2, 12, 12, 1), np.uint8))
    assert found.shape == (2, 2 * 39) and found.sum() == 4  # no channels to tell apart; all tuples are (0, 0, 0)


def test_too_few_pixels_in_a_row_is_an_error() -> None:
    with pytest.raises(RecipeError, match="more than 6 pixels in a row"):
        Cooccurrence(Cooccurrence.Options(steps=[4]))(np.zeros((1, 8, 8, 3), np.uint8))


@pytest.mark.parametrize(
    ("options", "said"),
    [({"levels": 4}, "must be odd"), ({"levels": 9, "order": 5}, "more than 20,000 tuples"), ({"steps": [0]}, "steps")],
)
def test_options_that_make_no_sense_are_refused(options: dict, said: str) -> None:
    content = {"features": {"descriptors": [{"cooccurrence": options}]}, "classifier": {"family": "lda"}}
    with pytest.raises(RecipeError, match=said):
        recipes.parse(content)
