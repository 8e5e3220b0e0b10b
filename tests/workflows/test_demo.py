"""The demo data: balanced, nothing shared between parts, masks that tell the truth, the same bytes again, no network."""

from __future__ import annotations

import filecmp
import socket
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tellapart.data import sample_photos
from tellapart.data.sample_photos import PHOTOGRAPHS
from tellapart.data.scan import scan
from tellapart.errors import DataError, SystemLimitError, TellapartError
from tellapart.forgeries._edits import KINDS
from tellapart.io import _temporary
from tellapart.workflows import demo

TILES = 24
SCENES = {photo.scene for photo in PHOTOGRAPHS}
COLOR = {photo.name: photo.color for photo in PHOTOGRAPHS}


def no_network(*_: object, **__: object) -> None:
    """Stands in for whatever would reach out."""
    raise AssertionError("the demo must not use the network")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set, made with the network shut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", no_network)
        patch.setattr(socket, "getaddrinfo", no_network)
        return demo.make(tmp_path_factory.mktemp("new") / "below" / "demo", tiles_per_scene=TILES)


@pytest.fixture(scope="module")
def tiles(folder: Path) -> pd.DataFrame:
    """The provenance of every tile, with its label."""
    table = pd.read_csv(folder / "train.csv")
    frame = pd.read_csv(folder / "provenance.csv", keep_default_na=False)
    assert table["id"].tolist() == [f"images/{name}.png" for name in frame["name"]]
    assert table["group"].tolist() == frame["scene"].tolist()
    assert table["split"].tolist() == frame["split"].tolist()
    assert table["source"].tolist() == frame["kind"].tolist()
    return frame.assign(label=table["label"])


def pixels(path: Path) -> np.ndarray:
    """The pixels of a file."""
    with Image.open(path) as image:
        return np.asarray(image)


def test_the_scanner_understands_it(folder: Path) -> None:
    table = scan(folder)
    assert len(table) == TILES * len(SCENES)
    assert [(problem.kind, problem.where) for problem in table.problems] == [("image without a row", "masks/")]
    assert set(table.classes) == {"real", "edited"} and table.positive == "edited"
    assert all(path.startswith("images/") for path in table.paths)
    assert set(table.frame["group"]) == SCENES and set(table.frame["source"]) == {"none", *KINDS}
    counts = table.counts()
    assert list(counts.columns) == ["train", "valid", "test", "all"]
    np.testing.assert_array_equal(counts.loc["real"], counts.loc["edited"])


def test_both_classes_and_all_kinds_are_cut_from_every_photograph_alike(tiles: pd.DataFrame) -> None:
    assert set(tiles["photograph"]) == set(COLOR)
    assert ((tiles["kind"] == "none") == (tiles["label"] == "real")).all()
    for _, mine in tiles.groupby("photograph"):
        counts = mine["kind"].value_counts()
        assert counts["none"] * 2 == len(mine)
        assert {counts[kind] for kind in KINDS} == {len(mine) // 6}
    assert (tiles.groupby("scene").size() == TILES).all()


def test_no_place_is_cut_twice_and_order_tells_nothing(tiles: pd.DataFrame) -> None:
    assert not tiles.duplicated(["photograph", "x", "y"]).any()
    first = tiles.groupby("photograph").head(TILES // 4)
    assert 0.3 < (first["label"] == "real").mean() < 0.7


def test_no_scene_is_in_two_parts(tiles: pd.DataFrame) -> None:
    assert (tiles.groupby("scene")["split"].nunique() == 1).all()
    pair = tiles[tiles["photograph"].isin(["motorcycle-left", "motorcycle-right"])]
    assert pair["photograph"].nunique() == 2 and pair["scene"].nunique() == 1


def test_donors_are_of_the_same_part_another_scene_and_like_color(tiles: pd.DataFrame) -> None:
    spliced = tiles[tiles["kind"] == "splice"]
    assert (tiles.loc[tiles["kind"] != "splice", "donor"] == "").all()
    scene_of = {photo.name: photo.scene for photo in PHOTOGRAPHS}
    part_of = dict(zip(tiles["photograph"], tiles["split"], strict=True))
    for row in spliced.itertuples():
        assert part_of[row.donor] == row.split and scene_of[row.donor] != row.scene
        assert COLOR[row.donor] or not COLOR[row.photograph]


def test_masks_tell_the_truth(folder: Path, tiles: pd.DataFrame) -> None:
    originals = {photo.name: photo.load() for photo in PHOTOGRAPHS}
    for row in tiles.itertuples():
        edited = pixels(folder / "images" / f"{row.name}.png")
        original = np.broadcast_to(originals[row.photograph][row.y : row.y + 64, row.x : row.x + 64], (64, 64, 3))
        if row.kind == "none":
            np.testing.assert_array_equal(edited, original)
            continue
        mask = pixels(folder / "masks" / f"{row.name}.png")
        assert mask.shape == (64, 64) and mask.dtype == np.uint8 and set(np.unique(mask)) == {0, 255}
        assert 0.05 <= (mask > 0).mean() <= 0.40
        assert (mask > 0).mean() == pytest.approx(row.share_edited, abs=1e-4)
        np.testing.assert_array_equal(edited[mask == 0], original[mask == 0])
        assert (edited != original).any()


def test_masks_exist_for_edited_tiles_only(folder: Path, tiles: pd.DataFrame) -> None:
    names = set(tiles.loc[tiles["label"] == "edited", "name"])
    assert {path.stem for path in (folder / "masks").iterdir()} == names


def test_gray_photographs_stay_gray(folder: Path, tiles: pd.DataFrame) -> None:
    for name in tiles.loc[~tiles["photograph"].map(COLOR), "name"]:
        image = pixels(folder / "images" / f"{name}.png")
        assert (image == image[..., :1]).all()


def test_the_files_tell_nothing(folder: Path) -> None:
    """What the metadata baseline classifier sees is the same for every tile."""
    paths = list((folder / "images").iterdir())
    assert len({path.stat().st_size for path in paths}) == 1
    for path in paths:
        with Image.open(path) as image:
            assert (image.format, image.mode, image.size, image.info) == ("PNG", "RGB", (64, 64), {})


def test_the_readme_is_honest(folder: Path) -> None:
    text = (folder / "README.txt").read_text(encoding="utf-8")
    assert "edits are synthetic" in text and "edits in the wild" in text
    assert all(photo.credit in text and photo.file in text for photo in PHOTOGRAPHS)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(folder: Path, tmp_path: Path) -> None:
    again = demo.make(tmp_path / "again", tiles_per_scene=TILES)
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert names == sorted(str(path.relative_to(again)) for path in again.rglob("*") if path.is_file())
    assert filecmp.cmpfiles(folder, again, names, shallow=False)[0] == names
    other = demo.make(tmp_path / "other", seed=1, tiles_per_scene=12)
    same_seed = demo.make(tmp_path / "same", tiles_per_scene=12)
    assert not filecmp.cmp(other / "train.csv", same_seed / "train.csv", shallow=False)


@given(seed=st.integers(0, 2**40))
def test_every_seed_holds_out_enough_scenes(seed: int) -> None:
    parts = demo.assign_splits(seed)
    assert set(parts) == SCENES
    counts = pd.Series(parts).value_counts().to_dict()
    assert counts == {"train": 7, "test": 7, "valid": 3}
    color = {photo.scene for photo in PHOTOGRAPHS if photo.color}
    assert all(sum(parts[scene] == part for scene in color) >= 2 for part in ("train", "valid", "test"))


def test_a_finished_folder_is_used_again(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert demo.make(folder, tiles_per_scene=TILES) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    demo.make(tmp_path / "empty", tiles_per_scene=12, size=32)
    assert len(scan(tmp_path / "empty")) == 12 * len(SCENES)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_small_edits_are_small_and_as_many_pixels(tmp_path: Path) -> None:
    made = demo.make(tmp_path / "small", tiles_per_scene=12, size=128, area=(0.05, 0.10))
    shares = pd.read_csv(made / "provenance.csv", keep_default_na=False)
    edited = shares[shares["kind"] != "none"]["share_edited"].astype(float)
    assert 0.025 <= edited.min() and edited.max() <= 0.10 and 0.06 < edited.mean() < 0.09
    masks = [pixels(path) > 0 for path in (made / "masks").iterdir()]
    assert np.mean([mask.mean() for mask in masks]) == pytest.approx(edited.mean(), abs=1e-4)
    assert demo.make(made, tiles_per_scene=12, size=128, area=(0.05, 0.10)) == made
    with pytest.raises(DataError, match="other settings"):
        demo.make(made, tiles_per_scene=12, size=128)


def test_other_settings_are_refused(folder: Path) -> None:
    for settings in ({"seed": 1}, {"tiles_per_scene": 12}, {"size": 32}):
        with pytest.raises(DataError, match=r"other settings(.|\n)*remove"):
            demo.make(folder, **({"tiles_per_scene": TILES} | settings))


def test_what_is_not_demo_data_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    (tmp_path / "file").write_text("precious")
    with pytest.raises(DataError, match="mine: expected an empty folder or demo data"):
        demo.make(tmp_path / "mine")
    with pytest.raises(DataError, match="found a file"):
        demo.make(tmp_path / "file")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == (tmp_path / "file").read_text() == "precious"


def test_a_folder_that_lost_images_is_noticed(tmp_path: Path) -> None:
    made = demo.make(tmp_path / "demo", tiles_per_scene=12, size=32)
    next((made / "images").iterdir()).unlink()
    with pytest.raises(DataError, match="expected 204 images, found 203"):
        demo.make(made, tiles_per_scene=12, size=32)


@pytest.mark.parametrize(("tiles_per_scene", "size"), [(0, 64), (10, 64), (12, 16), (-12, 64)])
def test_impossible_settings_are_refused(tmp_path: Path, tiles_per_scene: int, size: int) -> None:
    with pytest.raises(DataError, match="multiple of 12"):
        demo.make(tmp_path / "demo", tiles_per_scene=tiles_per_scene, size=size)


@pytest.mark.parametrize("area", [(0.0, 0.1), (0.1, 0.1), (0.2, 0.5)])
def test_impossible_areas_are_refused(tmp_path: Path, area: tuple[float, float]) -> None:
    with pytest.raises(DataError, match="expected area as two shares"):
        demo.make(tmp_path / "demo", area=area)


def test_photographs_too_small_for_so_many_tiles(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has room for \d+ tiles of 64 pixels, not for 1200"):
        demo.make(tmp_path / "demo", tiles_per_scene=1200)
    assert not list(tmp_path.iterdir())


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "edit", interrupt)
    with pytest.raises(KeyboardInterrupt):
        demo.make(tmp_path / "demo", tiles_per_scene=12)
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_is_no_obstacle(tmp_path: Path) -> None:
    (_temporary(tmp_path / "demo") / "images").mkdir(parents=True)
    demo.make(tmp_path / "demo", tiles_per_scene=12, size=32)
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_a_second_process_that_was_faster_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = demo._write

    def write_late(*arguments: object) -> None:
        monkeypatch.setattr(demo, "_write", write)
        demo.make(tmp_path / "elsewhere", tiles_per_scene=12, size=32).rename(tmp_path / "demo")
        write(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(demo, "_write", write_late)
    assert demo.make(tmp_path / "demo", tiles_per_scene=12, size=32).is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemLimitError, match="cannot be written"):
        demo.make(tmp_path / "file" / "demo", tiles_per_scene=12)


def test_a_missing_photograph_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = sample_photos.Photograph("yeti", "yeti", "scikit-image", "yeti.png", "nobody")
    monkeypatch.setattr(demo, "PHOTOGRAPHS", (*PHOTOGRAPHS, missing))
    with pytest.raises(TellapartError, match=r"yeti\.png(.|\n)*make setup"):
        demo.make(tmp_path / "demo")


def test_photographs_are_what_the_libraries_load() -> None:
    from skimage import data
    from sklearn.datasets import load_sample_image

    loaded = {photo.name: photo.load() for photo in PHOTOGRAPHS}
    np.testing.assert_array_equal(loaded["coffee"], data.coffee())
    np.testing.assert_array_equal(loaded["camera"][..., 0], data.camera())
    np.testing.assert_array_equal(loaded["china"], load_sample_image("china.jpg"))
    assert all(loaded[photo.name].shape[2] == (3 if photo.color else 1) for photo in PHOTOGRAPHS)


@pytest.mark.slow
def test_edits_can_be_found_but_not_by_color(tmp_path: Path) -> None:
    """Statistics of the noise residual find edits on unseen photographs; color alone does not (n = 672, 3 σ = 0.06)."""
    from scipy import ndimage
    from sklearn.ensemble import HistGradientBoostingClassifier

    made = demo.make(tmp_path / "demo")
    table = pd.read_csv(made / "train.csv")
    images = np.stack([pixels(made / name) for name in table["id"]]).astype(np.float32)
    color = np.concatenate([images.mean(axis=(1, 2)), images.std(axis=(1, 2))], axis=1)
    gray = images.mean(axis=3)
    rough = np.stack([np.abs(np.diff(gray, 2, axis=axis))[:, :62, :62] for axis in (1, 2)], axis=1)
    local = np.log(0.1 + ndimage.uniform_filter(rough, (0, 0, 9, 9))[..., 4:-4:4, 4:-4:4]).reshape(len(gray), 2, -1)
    spread = [local.std(2), local.min(2) - local.mean(2), local.max(2) - local.mean(2)]
    residual = np.concatenate([*spread, *np.quantile(rough.reshape(len(gray), 2, -1), [0.1, 0.25, 0.5, 0.9], 2)], axis=1)

    def accuracy(features: np.ndarray) -> float:
        train, test = ((table["split"] == part).to_numpy() for part in ("train", "test"))
        model = HistGradientBoostingClassifier(max_iter=100, random_state=0).fit(features[train], table["label"][train])
        return float((model.predict(features[test]) == table["label"][test]).mean())

    assert 0.62 < accuracy(residual) < 0.95
    assert 0.40 < accuracy(color) < 0.60
