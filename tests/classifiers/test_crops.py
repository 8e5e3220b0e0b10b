"""Windows at native resolution: where they lie, that no pixel changes, and that answers are the mean."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tellapart as ta
from tellapart.classifiers.base import Context
from tellapart.classifiers.crops import _COLUMNS, Crops, _cut
from tellapart.data.cache import PixelCache
from tellapart.data.memory import from_bytes
from tellapart.errors import RecipeError
from tellapart.recipe import load as recipes
from tellapart.recipe.load import Recipe
from tellapart.types import ImageTable

INNER = {"features": {"descriptors": [{"pixels": {}}], "pca": 4}, "classifier": {"family": "linear", "C": [0.1]}}


def made(count: int = 5, size: int = 8, train_windows: int = 0, **inputs: object) -> Recipe:
    options = {"family": "crops", "count": count, "train_windows": train_windows, "of": INNER}
    return recipes.parse({"inputs": {"size": size, "mode": "rgb", "resize": "center", **inputs}, "classifier": options})


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def pictures(count: int = 24, seed: int = 0, corner: bool = False) -> ImageTable:
    """Pictures of several sizes, brighter or darker; with `corner`, only in the corner at the bottom right."""
    generator, blobs = np.random.default_rng(seed), []
    for number in range(count):
        height, width = generator.integers(12, 30, 2)
        pixels = generator.integers(0, 256, (height, width, 3))
        part = (slice(-8, None), slice(-8, None)) if corner else (slice(None), slice(None))
        pixels[part] = pixels[part] // 3 + 160 * (number % 2)
        blobs.append(png(pixels.clip(0, 255).astype(np.uint8)))
    return from_bytes(blobs, np.arange(count) % 2, ["dark", "light"], ids=[f"{seed}-{n}" for n in range(count)])


def windows_of(recipe: Recipe, table: ImageTable, random: np.random.Generator | None = None) -> tuple[ImageTable, np.ndarray]:
    return Crops(recipe)._windows(table, Context(), random)


def test_places_of_five_and_of_nine() -> None:
    five = _cut((0, 0, 20, 12), np.array([(0, 0), (1, 0), (0, 1), (1, 1), (0.5, 0.5)]), (8, 8))
    assert five.tolist() == [[0, 0, 8, 8], [0, 4, 8, 12], [6, 2, 14, 10], [12, 0, 20, 8], [12, 4, 20, 12]]
    table = from_bytes([png(np.zeros((20, 32, 3), np.uint8))], [0], ["a"])
    nine, counts = windows_of(made(count=9), table)
    assert counts.tolist() == [9]
    lefts, tops = (sorted(set(nine.frame[name])) for name in _COLUMNS[:2])
    assert lefts == [0, 12, 24] and tops == [0, 6, 12]


def test_windows_are_the_pictures_own_pixels() -> None:
    table, recipe = pictures(), made()
    windows, counts = windows_of(recipe, table)
    assert counts.sum() == len(windows) and windows.frame["id"].is_unique
    cut = PixelCache().images(windows, Crops(recipe)._inner_recipe().inputs).get()
    owner = np.repeat(np.arange(len(table)), counts)
    for pixels, row, (left, top, right, bottom) in zip(cut, owner, windows.frame[list(_COLUMNS)].to_numpy(), strict=True):
        picture = np.asarray(Image.open(io.BytesIO(table.memory[row])))
        assert (pixels == picture[top:bottom, left:right]).all()


def test_a_small_picture_is_mirrored_and_has_one_window() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    recipe = made(size=8)
    windows, counts = windows_of(recipe, from_bytes([png(pixels), png(pixels[:1, :1])], [0, 1], ["a", "b"]))
    assert counts.tolist() == [1, 1]
    shown = PixelCache().images(windows, Crops(recipe)._inner_recipe().inputs).get()
    assert (
        shown == np.stack([np.pad(pixels, ((2, 3), (1, 2), (0, 0)), mode="symmetric"), np.full((8, 8, 3), pixels[0, 0])])
    ).all()


def test_the_answer_is_the_mean_over_windows() -> None:
    classifier, context, table = Crops(made()).fit(pictures(), pictures(8, 1), Context()), Context(), pictures(10, 2)
    windows, counts = classifier._windows(table, context)
    each, start = classifier.inner.predict(windows, context).proba, 0
    for row, count in enumerate(counts):
        expected = each[start : start + count].mean(axis=0)
        np.testing.assert_allclose(classifier.predict(table, context).proba[row], expected, atol=1e-6)
        start += count


def test_it_sees_a_corner_that_the_middle_does_not() -> None:
    train, valid, test = pictures(80, 0, corner=True), pictures(20, 1, corner=True), pictures(40, 2, corner=True)
    five = Crops(made(count=5)).fit(train, valid, Context()).predict(test, Context())
    one = Crops(made(count=1)).fit(train, valid, Context()).predict(test, Context())
    assert (five.predicted == five.labels).mean() > 0.85 > (one.predicted == one.labels).mean()


def test_learning_from_random_windows() -> None:
    table = pictures()
    first, counts = windows_of(made(train_windows=3), table, np.random.default_rng(0))
    again, _ = windows_of(made(train_windows=3), table, np.random.default_rng(0))
    other, _ = windows_of(made(train_windows=3), table, np.random.default_rng(1))
    assert counts.max() == 3 and first.frame.equals(again.frame) and not first.frame.equals(other.frame)
    two, three = (Crops(made(train_windows=3)).fit(table, pictures(8, 1), Context()) for _ in range(2))
    np.testing.assert_array_equal(two.predict(table, Context()).proba, three.predict(table, Context()).proba)


def test_windows_of_a_picture_stay_one_unit() -> None:
    table = pictures(6)
    windows, counts = windows_of(made(), table)
    assert windows.frame["group"].tolist() == np.repeat(table.ids, counts).tolist()
    grouped, _ = windows_of(made(), ImageTable(table.frame.assign(group="one"), table.classes, table.root, memory=table.memory))
    assert set(grouped.frame["group"]) == {"one"}


def test_windows_lie_in_the_region() -> None:
    table = from_bytes([png(np.zeros((40, 60, 3), np.uint8))], [0], ["a"])
    boxed = ImageTable(table.frame.assign(x=10, y=5, width=20, height=30), table.classes, table.root, memory=table.memory)
    cells, _ = windows_of(made(region={"box": {}}), boxed)
    assert sorted(set(cells.frame["window left"])) == [10, 16, 22] and sorted(set(cells.frame["window top"])) == [5, 16, 27]
    middle, _ = windows_of(made(keep=0.5), table)
    assert middle.frame["window left"].min() == 15 and middle.frame["window right"].max() == 45


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"of": {**INNER, "inputs": {"size": 3}}}, "those of the outer recipe"),
        ({"of": {"classifier": {"family": "metadata"}}}, "a family that classifies pixels"),
        ({"of": {"classifier": {"family": "linear", "D": 1}}}, "unknown option 'D'"),
        ({"of": INNER, "count": 6}, "count"),
        ({}, "is required"),
    ],
)
def test_what_is_no_recipe_of_windows(options: dict, why: str) -> None:
    with pytest.raises(RecipeError, match=why):
        recipes.parse({"inputs": {"resize": "center"}, "classifier": {"family": "crops", **options}})


def test_resampling_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="expected inputs.resize: center, found stretch") as caught:
        ta.train(pictures(), made(resize="stretch"), settings=ta.Settings(runs=tmp_path / "runs", device="cpu"))
    assert "inputs.resize=center" in (caught.value.hint or "")


def test_a_run_is_trained_asked_and_explained(tmp_path: Path) -> None:
    from tellapart.workflows.explain import explain

    settings, table = ta.Settings(runs=tmp_path / "runs", device="cpu"), pictures(60)
    run = ta.train(table, made(), settings=settings)
    assert run.scores("valid")["accuracy"].value == 1
    assert any("without resampling" in note for note in run.cost["notes"])
    (tmp_path / "one.png").write_bytes(table.memory[1])
    (found,) = explain(run, [tmp_path / "one.png"], settings=settings)
    assert found.predicted == "light" and found.heatmap.method == "occlusion"


def test_a_picture_is_opened_once_for_all_its_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    table, recipe, opened = pictures(6), made(), []
    windows, counts = windows_of(recipe, table)
    unspied = Image.open

    def spy(*given: object, **options: object) -> Image.Image:
        opened.append(1)
        return unspied(*given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Image, "open", spy)
    PixelCache().images(windows, Crops(recipe)._inner_recipe().inputs)
    assert len(opened) == len(table) < counts.sum()
