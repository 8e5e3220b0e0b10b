"""The picture of what a recipe does, and the command that writes it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from tellapart.cli import augment
from tellapart.errors import RecipeError, SystemLimitError, TellapartError
from tellapart.reports.contact_sheets import GAP, LABEL, augmentation_sheet

PICTURE = np.random.default_rng(0).integers(0, 256, (100, 120, 3), dtype=np.uint8)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(PICTURE).save(path)
    return path


def _cell(page: Image.Image, place: int, size: tuple[int, int] = (100, 120)) -> np.ndarray:
    height, width = size
    top, left = GAP + place // 6 * (height + LABEL + GAP), GAP + place % 6 * (width + GAP)
    return np.asarray(page)[top : top + height, left : left + width]


def test_the_first_cell_is_the_original_and_the_others_are_augmented() -> None:
    page = augmentation_sheet([{"flip": {"horizontal": 1}}], PICTURE, count=7)
    assert page.size == (6 * (120 + GAP) + GAP, 2 * (100 + LABEL + GAP) + GAP)
    np.testing.assert_array_equal(_cell(page, 0), PICTURE)
    for place in (1, 7):
        np.testing.assert_array_equal(_cell(page, place), PICTURE[:, ::-1])


def test_windows_stand_in_the_middle_of_their_cells() -> None:
    cell = _cell(augmentation_sheet([{"center_crop": {"size": 60}}], PICTURE, count=1), 1)
    np.testing.assert_array_equal(cell[20:80, 30:90], PICTURE[20:80, 30:90])
    assert (cell[:20] == 255).all() and (cell[:, :30] == 255).all()


def test_versions_of_a_union_come_in_turn() -> None:
    page = augmentation_sheet([{"union": {"of": [[], [{"flip": {"horizontal": 1}}]]}}], PICTURE, count=4)
    np.testing.assert_array_equal(_cell(page, 3), PICTURE)
    np.testing.assert_array_equal(_cell(page, 4), PICTURE[:, ::-1])


def test_mixing_takes_of_the_other_picture() -> None:
    other = np.zeros_like(PICTURE)
    page = augmentation_sheet([{"cutmix": {}}], PICTURE, count=5, other=other)
    shares = [(_cell(page, place) == 0).all(2).mean() for place in range(1, 6)]
    assert max(shares) > 0.1 and min(shares) < 0.9
    np.testing.assert_array_equal(_cell(page, 0), PICTURE)


@pytest.mark.parametrize(("side", "shown"), [(8, 96), (600, 256)])
def test_small_pictures_are_enlarged_and_large_ones_shrunk(side: int, shown: int) -> None:
    gray = np.full((side, side, 1), 100, dtype=np.uint8)
    page = augmentation_sheet([{"rotate": {}}], gray, count=1)
    assert page.size == (2 * (shown + GAP) + GAP, shown + LABEL + 2 * GAP)
    assert (_cell(page, 1, (shown, shown)) == 100).all()


def test_the_seed_decides() -> None:
    first, again, other = (np.asarray(augmentation_sheet([{"color_jitter": {}}], PICTURE, seed=s, count=2)) for s in (0, 0, 1))
    assert (first == again).all() and (first != other).any()


# --- the command ------------------------------------------------------------------------------------------------------


def _run(*arguments: str | Path) -> str:
    app = typer.Typer()
    app.command()(augment.run)
    result = CliRunner().invoke(app, ["show", *map(str, arguments)])
    if isinstance(result.exception, TellapartError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_a_recipe_is_shown(photo: Path, tmp_path: Path) -> None:
    picture = tmp_path / "made" / "sheet.png"
    assert f"figure: {picture}" in _run("cnn-small", photo, "-o", picture).replace("\n", "")
    with Image.open(picture) as page:
        assert page.size == (6 * (120 + GAP) + GAP, 2 * (100 + LABEL + GAP) + GAP)


def test_one_augmentation_is_shown_with_its_options(photo: Path, tmp_path: Path) -> None:
    picture = tmp_path / "sheet.png"
    made = json.loads(_run("rotate90", photo, "-s", "degrees=[180]", "-o", picture, "--count", "1", "--json"))
    assert made == {"figure": str(picture), "augment": [{"rotate90": {"degrees": [180]}}]}
    with Image.open(picture) as page:
        np.testing.assert_array_equal(_cell(page, 1), PICTURE[::-1, ::-1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rotat"], "unknown recipe or augmentation 'rotat': did you mean 'rotate'"),
        (["mlp"], "mlp: this recipe has no augmentations"),
        (["five_crop"], "five_crop: augment: five_crop: size: is required"),
        (["rotate", "-s", "degrees"], "expected OPTION=VALUE"),
    ],
)
def test_errors_say_what_to_do(photo: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        _run(arguments[0], photo, *arguments[1:], "-o", tmp_path / "sheet.png")


def test_missing_pictures_and_unknown_formats_are_named(photo: Path, tmp_path: Path) -> None:
    with pytest.raises(TellapartError, match=r"nothing\.png: cannot be read"):
        _run("flip", tmp_path / "nothing.png", "-o", tmp_path / "sheet.png")
    with pytest.raises(SystemLimitError, match=r"sheet\.foo: cannot be written"):
        _run("flip", photo, "-o", tmp_path / "sheet.foo")
