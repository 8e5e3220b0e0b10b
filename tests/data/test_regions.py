"""Boxes of a table, the center, and what stays as it was without a region."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import tellapart as ta
from tellapart.data import cache as module
from tellapart.data.cache import CorruptImages, PixelCache, resolve_inputs
from tellapart.data.decode import decode_to
from tellapart.data.memory import from_arrays
from tellapart.data.regions import NOTHING, copy_boxes, crop_box, in_words, read_boxes
from tellapart.data.scan import scan
from tellapart.data.test_images import AskedIds, find_test_images
from tellapart.errors import DataError, ImageError, RecipeError
from tellapart.recipe import load as recipes
from tellapart.recipe.schema import BoxRegion, Inputs
from tellapart.types import ImageTable

HEADER = "id,label,x,y,width,height"


def inputs(size: int | tuple[int, int] = 8, **rule) -> Inputs:
    return Inputs.model_validate({"size": size, "mode": "rgb", "region": {"box": rule}})


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six pictures of 40×30 pixels, and no table yet."""
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    for number in range(6):
        Image.fromarray(noise(30, 40, number)).save(tmp_path / "data" / f"{number}.png")
    return tmp_path / "data"


def written(folder: Path, rows: list[str], header: str = HEADER) -> ImageTable:
    (folder / "train.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return scan(folder)


def usual(folder: Path, cells: str = "5,4,20,10") -> ImageTable:
    return written(folder, [f"{number},{'ab'[number % 2]},{cells}" for number in range(6)])


# --- without a region nothing changes ---------------------------------------------------------------------------------


def test_inputs_without_a_region_are_written_as_before() -> None:
    plain = Inputs(size=8, mode="rgb")
    before = '{"size":8,"mode":"rgb","resize":"stretch","keep":1.0,"max_pixels":178956970}'
    assert module._way(plain) == before, "cached pixels of all recipes would be made anew"
    assert "region" not in plain.model_dump() and "region" not in recipes.load("svm-pca-rbf").dump()
    assert Inputs.model_validate({"region": "whole"}) == Inputs()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 60), st.integers(1, 60), st.floats(0.05, 1), st.sampled_from(["stretch", "crop", "pad", "center"]),
)  # fmt: skip
def test_keep_cuts_as_it_always_did(height: int, width: int, share: float, resize: str) -> None:
    """The rule of the first version, written out."""
    pixels = noise(height, width)
    wide, high = (max(round(side * share), 1) for side in (width, height))
    left, top = (width - wide) // 2, (height - high) // 2
    middle = np.ascontiguousarray(pixels[top : top + high, left : left + wide])
    rule = {"size": (7, 9), "mode": "rgb", "resize": resize}
    assert (decode_to(pixels, Inputs(**rule, keep=share)) == decode_to(middle, Inputs(**rule))).all()


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad", "center"])
def test_the_usual_geometry_is_that_of_pillow(resize: str) -> None:
    """Bit for bit what Pillow gives, called here by hand."""
    from PIL import ImageOps

    image, size = Image.fromarray(noise(31, 47)), (12, 10)
    by_hand = {
        "stretch": lambda: image.resize(size, Image.Resampling.BICUBIC),
        "crop": lambda: ImageOps.fit(image, size, Image.Resampling.BICUBIC),
        "pad": lambda: ImageOps.pad(image, size, Image.Resampling.BICUBIC),
        "center": lambda: image.crop((17, 10, 29, 20)),
    }
    file = io.BytesIO()
    image.save(file, "PNG")
    found = decode_to(file.getvalue(), Inputs.model_validate({"size": (10, 12), "mode": "rgb", "resize": resize}))
    assert (found == np.asarray(by_hand[resize]())).all()


# --- the option -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"region": "center"}, "set `keep`"),
        ({"region": "fase"}, "did you mean 'face'"),
        ({"region": {}}, "expected one of `box` and `face`"),
        ({"region": {"box": {}, "face": {}}}, "expected one of `box` and `face`"),
        ({"region": {"box": {"columns": ["x", "y", "x", "h"]}}}, "four different columns"),
        ({"region": {"box": {"margn": 1}}}, "did you mean 'margin'"),
        ({"region": {"face": {"margin": -0.1}}}, "at least 0"),
        ({"region": {"face": {"detector": "yunet"}}}, "needs `model`"),
        ({"region": {"face": {"model": "x.onnx"}}}, "takes no `model`"),
        ({"region": {"face": {"missing": "center"}}}, "needs `keep`"),
        ({"region": "face", "keep": 0.5}, "exclude each other"),
    ],
)
def test_what_is_no_region(given: dict, why: str) -> None:
    with pytest.raises(RecipeError, match="recipe: inputs") as caught:
        recipes.parse({"inputs": given, "classifier": {"family": "metadata"}})
    assert why in caught.value.message


@pytest.mark.parametrize("region", ["face", "box", {"box": {"columns": ["l", "t", "r", "b"], "corners": True, "margin": 0.5}}])
def test_a_region_survives_a_round_trip(region: str | dict, tmp_path: Path) -> None:
    made = recipes.parse({"inputs": {"region": region}, "classifier": {"family": "metadata"}})
    (tmp_path / "again.yaml").write_text(made.dump(), encoding="utf-8")
    assert recipes.load(str(tmp_path / "again.yaml")) == made
    assert made.digest() != recipes.parse({"classifier": {"family": "metadata"}}).digest()


def test_an_override_names_a_region() -> None:
    made = recipes.load("svm-pca-rbf", ["inputs.region=face", "inputs.region={face: {margin: 0.1}}"])
    assert made.inputs.region is not None and made.inputs.region.rule.margin == 0.1


# --- boxes ------------------------------------------------------------------------------------------------------------


def test_the_box_is_what_is_read(pictures: Path) -> None:
    cache = PixelCache()
    found = cache.images(usual(pictures), inputs((10, 20))).get()
    assert (found == np.stack([noise(30, 40, n)[4:14, 5:25] for n in range(6)])).all()


def test_corners_other_names_and_a_margin(pictures: Path) -> None:
    rows = [f"{n},{'ab'[n % 2]},5,4,25,14" for n in range(6)]
    table = written(pictures, rows, "id,label,x1,y1,x2,y2")
    rule = {"columns": ["x1", "y1", "x2", "y2"], "corners": True}
    assert (PixelCache().images(table, inputs((10, 20), **rule)).get(slice(1)) == noise(30, 40)[4:14, 5:25]).all()
    wide = PixelCache().images(table, inputs((18, 28), **rule, margin=0.2)).get(slice(1))
    assert (wide == noise(30, 40)[0:18, 1:29]).all(), "a fifth of 20 on each side"


def test_columns_of_any_script_and_broken_numbers(pictures: Path) -> None:
    rows = [f"{n},{'ab'[n % 2]},5.0,4e0, 20 ,10" for n in range(6)]
    table = written(pictures, rows, "id,label,lewo,góra,宽,height")
    rule = {"columns": ["lewo", "góra", "宽", "height"]}
    assert (PixelCache().images(table, inputs((10, 20), **rule)).get(slice(1)) == noise(30, 40)[4:14, 5:25]).all()
    half = written(pictures, [f"{n},{'ab'[n % 2]},5.5,4.5,19,9" for n in range(6)])
    found = PixelCache().images(half, inputs((10, 20))).get(slice(1))
    assert (found == noise(30, 40)[4:14, 5:25]).all(), "whole pixels, outwards"


def test_another_box_gives_other_pixels_of_the_same_file(pictures: Path) -> None:
    cache = PixelCache()
    first = cache.images(usual(pictures), inputs((10, 20))).get()
    second = cache.images(usual(pictures, "6,4,20,10"), inputs((10, 20))).get()
    assert (first[:, :, 1:] == second[:, :, :-1]).all() and (first != second).any()


def test_auto_is_the_median_box(pictures: Path) -> None:
    rows = [f"{n},{'ab'[n % 2]},0,0,{10 + n},{20 - n}" for n in range(5)]
    found = resolve_inputs(Inputs.model_validate({"region": "box"}), written(pictures, rows))
    assert found.size == (18, 12)


def test_an_upright_picture_is_what_boxes_are_of(pictures: Path) -> None:
    sideways = Image.Exif()
    sideways[0x0112] = 6
    pixels = noise(30, 40)
    Image.fromarray(np.rot90(pixels).copy()).save(pictures / "0.png", exif=sideways)
    assert (PixelCache().images(usual(pictures), inputs((10, 20))).get(slice(1))[0] == pixels[4:14, 5:25]).all()


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        ("a,4,20,10", "x 'a'.*x must be a number of pixels"),
        (",4,20,10", "x ''.*x must be a number"),
        ("5,4,0,10", "width and height must be above 0"),
        ("5,4,20,-3", "width and height must be above 0"),
        ("inf,4,20,10", "x must be a number"),
        ("100,4,20,10", "lies mostly outside of its 40×30 pixels"),
        ("30,4,40,10", "lies mostly outside"),
        (",,,", "no box given"),
    ],
)
def test_a_bad_box_names_file_and_row(pictures: Path, cells: str, why: str) -> None:
    rows = [f"{n},{'ab'[n % 2]},{cells if n in (1, 4) else '5,4,20,10'}" for n in range(6)]
    table = written(pictures, rows)
    with pytest.raises(CorruptImages, match=f"1.png: .*{why}") as caught:
        PixelCache().images(table, inputs())
    assert caught.value.rows.tolist() == [1, 4]
    assert caught.value.hint == "restore or remove them"


def test_a_box_over_the_border_is_cut(pictures: Path) -> None:
    found = PixelCache().images(usual(pictures, "-3,24,20,8"), inputs((6, 17))).get(slice(1))[0]
    assert (found == noise(30, 40)[24:30, 0:17]).all()


def test_empty_cells_may_mean_the_whole_picture(pictures: Path) -> None:
    rows = [f"{n},{'ab'[n % 2]},{',,,' if n == 1 else '5,4,20,10'}" for n in range(6)]
    table, asked = written(pictures, rows), inputs((30, 40), missing="whole")
    assert (PixelCache().images(table, asked).get()[1] == noise(30, 40, 1)).all()
    found = PixelCache().found(table, asked)
    assert found is not None
    assert in_words(table, asked, found) == "box given in 5 of 6 images; of the others the whole picture is read"


def test_columns_that_are_not_there(pictures: Path) -> None:
    table = written(pictures, [f"{n},{'ab'[n % 2]},5,4,20,10" for n in range(6)], "id,label,xx,y,width,height")
    with pytest.raises(DataError, match="unknown column 'x': did you mean 'xx'|unknown column 'x': there are") as caught:
        PixelCache().images(table, inputs())
    assert "inputs.region.box.columns" in (caught.value.hint or "")
    loose = from_arrays(np.stack([noise(9, 9)]), [0], ["a"])
    with pytest.raises(DataError, match="columns x, y, width, height, but there are no such columns"):
        PixelCache().images(loose, inputs())
    assert PixelCache().images(loose, inputs((9, 9), missing="whole")).get().shape == (1, 9, 9, 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (3, 2)])
def test_tiny_pictures(size: tuple[int, int]) -> None:
    table = from_arrays(noise(*size)[None], [0], ["a"])
    table = ImageTable(table.frame.assign(x="0", y="0", width="1", height="1"), table.classes, table.root, memory=table.memory)
    found = PixelCache().images(table, inputs((2, 2))).get()
    assert (found == noise(*size)[0, 0]).all()


@settings(max_examples=200, deadline=None)
@given(
    st.tuples(st.integers(1, 50), st.integers(1, 50)),
    st.tuples(st.floats(-20, 60), st.floats(-20, 60), st.floats(0.1, 70), st.floats(0.1, 70)),
    st.floats(0, 2),
)
def test_a_cut_lies_in_the_picture_or_is_refused(size, box, margin) -> None:
    left, top, width, height = box
    found = np.array([left, top, left + width, top + height], dtype=np.float32)
    try:
        cut = crop_box(size, inputs(margin=margin), found, "p")
    except ImageError:
        inside = max(min(left + width, size[0]) - max(left, 0), 0) * max(min(top + height, size[1]) - max(top, 0), 0)
        assert inside <= 0.51 * width * height
        return
    assert 0 <= cut[0] < cut[2] <= size[0] and 0 <= cut[1] < cut[3] <= size[1]
    assert cut[0] <= max(left, 0) + 1 and cut[2] >= min(left + width, size[0]) - 1


def test_nothing_follows_the_rule() -> None:
    assert crop_box((40, 30), inputs(missing="whole"), NOTHING, "p") == (0, 0, 40, 30)
    center = Inputs.model_validate({"keep": 0.5, "region": {"box": {"missing": "center"}}})
    assert crop_box((40, 32), center, NOTHING, "p") == (10, 8, 30, 24)


def test_boxes_follow_changed_copies(pictures: Path) -> None:
    table = usual(pictures)
    copies = copy_boxes(from_arrays(np.stack([noise(30, 40, n) for n in range(6)]), [0] * 6, ["a"]), table, inputs())
    np.testing.assert_array_equal(read_boxes(copies, BoxRegion())[0], read_boxes(table, BoxRegion())[0])
    assert copy_boxes(copies, table, Inputs()) is copies


# --- the ways in ------------------------------------------------------------------------------------------------------


@pytest.fixture
def photos(pictures: Path) -> Path:
    """Forty pictures of two classes that differ only inside of their boxes, wherever these lie; three rows have none."""
    generator, rows = np.random.default_rng(0), []
    for number in range(40):
        x, y = generator.integers(0, 20), generator.integers(0, 15)
        pixels = generator.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        pixels[y : y + 10, x : x + 12] = (40, 200)[number % 2] + generator.integers(-30, 30, (10, 12, 3))
        Image.fromarray(pixels).save(pictures / f"p{number}.png")
        box = ",,," if number in (1, 2) else "x,1,2,3" if number == 3 else f"{x},{y},12,10"
        rows.append(f"p{number},{'ab'[number % 2]},{box}")
    (pictures / "train.csv").write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    return pictures


RECIPE = {"features": {"pca": 4}, "classifier": {"family": "linear", "C": [0.1]}}


def test_a_run_reads_boxes_from_training_to_submission(photos: Path, tmp_path: Path) -> None:
    recipe = recipes.parse({"inputs": {"size": 8, "mode": "rgb", "region": "box"}, **RECIPE})
    quiet = ta.Settings(runs=tmp_path / "runs", device="cpu")
    with pytest.raises(CorruptImages, match="p3.png: the row with the id 'p3'"):
        ta.train(photos, recipe, settings=quiet)
    run = ta.train(photos, recipe, settings=ta.Settings(runs=tmp_path / "runs", device="cpu", skip_bad=True))
    assert run.left_out.images == 3
    assert run.scores("valid")["accuracy"].value == 1
    kept = pd.read_parquet(run.folder / "regions.parquet")
    assert len(kept) == 37 and kept["found"].all() and (kept["right"] - kept["left"] == 12).all()
    assert any(note.startswith("box given in ") and "train" in note for note in run.cost["notes"])
    table = scan(photos).take(np.arange(10, 40))
    assert (ta.predict(run, table, settings=quiet).predicted == table.labels).all()
    with pytest.raises(DataError, match="there are no such columns"):
        ta.predict(run, from_arrays(noise(30, 40)[None], [-1], run.classes), settings=quiet)
    ids = AskedIds([f"p{n}" for n in range(30, 40)], "id", str)
    asked = find_test_images(ids, photos / "train.csv", classes=run.classes).table
    assert (ta.predict(run, asked, settings=quiet).predicted == np.arange(30, 40) % 2).all()


def test_damaged_pictures_keep_their_boxes_unless_they_change_size(photos: Path, tmp_path: Path) -> None:
    from tellapart.workflows.robustness import robustness

    recipe = recipes.parse({"inputs": {"size": 8, "mode": "rgb", "region": "box"}, **RECIPE})
    run = ta.train(photos, recipe, settings=ta.Settings(runs=tmp_path / "runs", device="cpu", skip_bad=True))
    found = robustness(run, perturbations=["noise", "crop"], settings=ta.Settings(runs=tmp_path / "runs", device="cpu"))
    told = {cell.perturbation: cell for cell in found.cells if cell.strength in (2, 0.5)}
    assert told["noise"].scores["accuracy"].value == 1
    assert told["crop"].reason == "its box refers to 40×30 pixels, but the image has 20×15"


def test_a_run_says_of_how_many_pictures_a_face_was_found(photos: Path, tmp_path: Path) -> None:
    recipe = recipes.parse({"inputs": {"size": 8, "mode": "rgb", "region": "face"}, **RECIPE})
    run = ta.train(photos, recipe, settings=ta.Settings(runs=tmp_path / "runs", device="cpu"))
    counts = {part: sum(of.values()) for part, of in run.data["counts"].items()}
    told = ", ".join(f"0 of {n} {part}" for part, n in counts.items())
    assert f"face found in {told} images; of the others the whole picture is read" in run.cost["notes"]
    assert not pd.read_parquet(run.folder / "regions.parquet")["found"].any()
    assert "face found in" in (run.folder / "card.md").read_text("utf-8")
