"""What an aligned copy promises: files alike, pixels untouched, nothing half-written that looks whole."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

import tellapart as ta
from tellapart.alignment import writer as folder_module
from tellapart.alignment.plan import AlignOptions
from tellapart.alignment.result import AlignResult
from tellapart.alignment.writer import PartialCopy
from tellapart.data.cache import CorruptImages
from tellapart.errors import DataError, Interrupted, SystemLimitError
from tellapart.inference.context import Settings
from tellapart.workflows import align as module
from tellapart.workflows.align import align
from tellapart.workflows.check import check

SKIP = Settings(skip_bad=True)


def manifest(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "manifest.csv", dtype=str, keep_default_na=False)


def contents(folder: Path) -> dict[str, str]:
    """Digest by name of everything in a copy."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def upright(content: bytes) -> np.ndarray:
    """Pixels by Pillow alone: EXIF turned, alpha over white."""
    with Image.open(io.BytesIO(content)) as image:
        turned = ImageOps.exif_transpose(image)
        if turned.mode == "RGBA":
            turned = Image.alpha_composite(Image.new("RGBA", turned.size, "white"), turned)
        return np.asarray(turned.convert("RGB"))


# --- what it is for ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def thousand(plant, tmp_path_factory: pytest.TempPathFactory) -> AlignResult:
    """A copy of a thousand leaking files of each class."""
    return align(plant(1000), tmp_path_factory.mktemp("thousand") / "out")


def test_the_null_falls_to_chance_on_every_codec_leak(thousand: AlignResult) -> None:
    found = thousand
    assert found.written >= 2000 * 0.95 and found.metadata_before is not None and found.metadata_after is not None
    assert found.metadata_before.value > 0.99
    assert found.metadata_after.value <= 0.53 and found.metadata_after.high <= 0.53
    assert found.metadata_after.n == found.written == len(list((found.folder / "images").iterdir()))


@pytest.mark.slow
def test_the_null_of_the_leaderboard_agrees(thousand: AlignResult, plant, tmp_path: Path) -> None:
    settings = Settings(runs=tmp_path / "runs", device="cpu")
    before = ta.train(plant(100), "metadata", settings=settings)
    after = ta.train(thousand.folder, "metadata", settings=settings)
    assert before.scores("valid")["auroc"].value == 1.0 and after.scores("valid")["auroc"].value == 0.5


def test_all_files_are_alike(plant, tmp_path: Path) -> None:
    found = align(plant(100), tmp_path / "out")
    seen = set()
    for path in (tmp_path / "out" / "images").iterdir():
        with Image.open(path) as image:
            seen.add((image.format, image.mode, image.size, str(image.info), path.stat().st_size, len(path.name)))
    assert len(seen) == 1 and next(iter(seen))[2] == found.size[::-1]


def test_pixels_are_those_of_the_source(plant, tmp_path: Path) -> None:
    source = plant(100)
    align(source, tmp_path / "out")
    rows = manifest(tmp_path / "out")
    for row in rows.itertuples():
        top, left, height, width = (int(v) for v in (row.top, row.left, row.height, row.width))
        content = (source / row.original_path).read_bytes()
        assert hashlib.blake2b(content, digest_size=16).hexdigest() == row.original_digest
        with Image.open(tmp_path / "out" / row.id) as image:
            written = np.asarray(image)
        np.testing.assert_array_equal(written, upright(content)[top : top + height, left : left + width])
    assert len(rows) > 190 and set(rows["label"]) == {"real", "fake"}
    assert rows["top"].astype(int).max() > 0 or rows["left"].astype(int).max() > 0


def test_neither_name_nor_order_tells_the_class(thousand: AlignResult) -> None:
    labels = (manifest(thousand.folder)["label"] == "fake").to_numpy(float)
    assert abs(np.corrcoef(labels, np.arange(len(labels)))[0, 1]) < 0.05
    assert abs(np.corrcoef(labels[1:], labels[:-1])[0, 1]) < 0.06


def test_the_copy_is_a_data_set(tmp_path: Path) -> None:
    """Classes, groups, sources and the split come through; images without a label stand in a table of their own."""
    source = tmp_path / "data"
    source.mkdir()
    names = [f"bild ä{i}.png" for i in range(8)]
    for i, name in enumerate(names):
        Image.fromarray(np.full((9, 9, 3), 20 * i, np.uint8)).save(source / name)
    table = pd.DataFrame({"id": names[:6], "label": ["007", 'a,"b'] * 3, "group": ["x", "y, z", "ж"] * 2})
    table["split"], table["camera"] = ["train"] * 4 + ["valid"] * 2, "k"
    table.to_csv(source / "train.csv", index=False)
    pd.DataFrame({"id": names[6:]}).to_csv(source / "test.csv", index=False)
    before = ta.scan(source)
    found = align(source, tmp_path / "out")
    after = ta.scan(tmp_path / "out")
    assert after.classes == before.classes and found.classes[""].written == 2 and not after.problems
    rows = manifest(tmp_path / "out").set_index("id")
    places = {name: i for i, name in enumerate(before.ids)}
    assert sorted(rows["original_id"]) == sorted(names) and set(rows["given_camera"]) == {"k", ""}
    for i, name in enumerate(after.ids):
        old = before.frame.iloc[places[rows.loc[name, "original_id"]]]
        new = after.frame.iloc[i]
        assert (new["label"], new["group"]) == (old["label"], old["group"])
        assert new["split"] == old["split"] or old["label"] < 0
    assert (tmp_path / "out" / "test.csv").read_text().count("images/") == 2


def test_every_kind_of_source(plant, tmp_path: Path) -> None:
    """The same files as a folder, a zip, a tar, a parquet table, and in memory: the same pixels, whatever they are called."""
    source, made = plant(12), tmp_path / "sources"
    made.mkdir()
    paths = sorted(path for path in source.rglob("*.*") if path.is_file())
    with zipfile.ZipFile(made / "a.zip", "w") as pack:
        for path in paths:
            pack.write(path, path.relative_to(source))
    with tarfile.open(made / "a.tar", "w") as pack:
        pack.add(source, "top")
    rows = [{"image": {"bytes": path.read_bytes(), "path": path.name}, "label": path.parent.name} for path in paths]
    pd.DataFrame(rows).to_parquet(made / "a.parquet")
    memory = ta.from_bytes([path.read_bytes() for path in paths], [path.parent.name for path in paths])
    choices, seen = AlignOptions(size=(32, 32)), []
    for name, data in {"folder": source, **{e: made / f"a.{e}" for e in ("zip", "tar", "parquet")}, "memory": memory}.items():
        found = align(data, tmp_path / name, options=choices)
        assert found.written == 24 and {of.found for of in found.classes.values()} == {12}
        table = manifest(tmp_path / name)
        assert len(ta.scan(tmp_path / name)) == 24
        seen.append(sorted(zip(table["original_digest"], table["label"], strict=True)))
    assert all(of == seen[0] for of in seen)


@pytest.mark.slow
def test_the_sets_at_hand(tmp_path: Path, shared_data) -> None:
    for name in ("deepfake5.tar", "cifake.zip", "fashion-mnist"):
        whole = ta.scan(shared_data(name))
        few = whole.take(np.concatenate([np.flatnonzero(whole.labels == label)[:6] for label in range(len(whole.classes))]))
        found = align(few, tmp_path / name)
        assert found.written == len(few) and (found.metadata_before is None) == (name == "fashion-mnist")
        again = ta.scan(tmp_path / name)
        assert again.classes == few.classes and len(again) == len(few)
        if name == "fashion-mnist":
            assert "pixel arrays" in " ".join(found.notes) and {of.gray for of in found.classes.values()} == {1.0}


# --- size and place ---------------------------------------------------------------------------------------------------


def sized(folder: Path, sizes: dict[str, list[tuple[int, int]]], **save) -> Path:
    """Noise of the given (width, height), one folder a class."""
    for name, of in sizes.items():
        (folder / name).mkdir(parents=True)
        for i, (width, height) in enumerate(of):
            noise = np.random.default_rng(i).integers(0, 255, (height, width, 3), dtype=np.uint8)
            Image.fromarray(noise).save(folder / name / f"{i}.{save.get('format', 'png').lower()}", **save)
    return folder


def test_what_is_too_small_is_left_out_and_counted(tmp_path: Path) -> None:
    source = sized(tmp_path / "data", {"a": [(40, 30)] * 19 + [(16, 16)], "b": [(30, 40)] * 20})
    found = align(source, tmp_path / "out")
    assert found.size == (30, 30) and found.classes["a"].small == 1 and found.classes["b"].small == 0
    left = pd.read_csv(tmp_path / "out" / "left-out.csv")
    assert left.to_dict("records") == [{"original_path": "a/19.png", "class": "a", "reason": "16×16, too small for 30×30"}]
    all_in = align(source, tmp_path / "all", options=AlignOptions(keep=1))
    assert all_in.size == (16, 16) and all_in.written == 40 and not (tmp_path / "all" / "left-out.csv").exists()


def test_the_classes_that_lose_unequally_are_named(tmp_path: Path) -> None:
    source = sized(tmp_path / "data", {"a": [(40, 40)] * 16 + [(16, 16)] * 4, "b": [(60, 60)] * 20})
    found = align(source, tmp_path / "out", options=AlignOptions(size=(40, 40)))
    assert found.written == 36
    notes = " ".join(found.notes)
    assert "small images excluded: a 20%, b 0%" in notes and "side of the median image: a 40, b 60 pixels" in notes


def test_a_class_must_not_vanish(tmp_path: Path) -> None:
    source = sized(tmp_path / "data", {"a": [(40, 40)] * 4, "b": [(20, 20)] * 4})
    with pytest.raises(DataError, match="no image of the class 'b' is large enough for 30×32 pixels"):
        align(source, tmp_path / "out", options=AlignOptions(size=(32, 30)))
    with pytest.raises(DataError, match="no size of at least 8×8"):
        align(sized(tmp_path / "dots", {"a": [(1, 1)] * 4, "b": [(20, 20)] * 4}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_crops_keep_the_grid_of_a_turned_jpeg(tmp_path: Path, orientation: int) -> None:
    """Every 16×16 tile is flat and of another shade; a crop that keeps the grid begins with a whole tile."""
    rng, tiles = np.random.default_rng(0), (8, 6)
    stored = np.kron(rng.permutation(48).reshape(tiles) * 5, np.ones((16, 16))).astype(np.uint8)[:-3, :-5]
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(4):
            picture = Image.fromarray(np.stack([stored] * 3, axis=2))
            picture.save(tmp_path / "data" / name / f"{i}.jpg", quality=100, exif=exif, subsampling="4:4:4")
    align(tmp_path / "data", tmp_path / "out", options=AlignOptions(size=(64, 64)))
    corners = set()
    for path in (tmp_path / "out" / "images").iterdir():
        with Image.open(path) as image:
            shades = np.asarray(image)[:, :, 0].astype(int)
        assert all(np.ptp(shades[y : y + 16, x : x + 16]) <= 2 for y in range(0, 64, 16) for x in range(0, 64, 16))
        corners.add(shades[0, 0])
    assert len(corners) > 1, "the place is drawn"


def test_a_random_grid_puts_blocks_anywhere(tmp_path: Path) -> None:
    source = sized(tmp_path / "data", {"a": [(64, 64)] * 40, "b": [(64, 64)] * 40})
    align(source, tmp_path / "out", options=AlignOptions(grid="random"))
    rows = manifest(tmp_path / "out").astype({"left": int, "top": int})
    assert set(rows["width"]) == {"49"} and len(set(rows["left"] % 16)) > 12 and len(set(rows["top"] % 16)) > 12
    align(source, tmp_path / "kept")
    rows = manifest(tmp_path / "kept")
    assert set(rows["left"]) == set(rows["top"]) == {"0"}


# --- JPEG -------------------------------------------------------------------------------------------------------------


def test_one_distribution_of_qualities_for_all(plant, tmp_path: Path) -> None:
    found = align(plant(300), tmp_path / "out", options=AlignOptions("jpeg", (75, 95)))
    rows = manifest(tmp_path / "out").astype({"quality": int})
    assert rows["quality"].min() == 75 and rows["quality"].max() == 95
    means = rows.groupby("label")["quality"].mean()
    assert abs(means["real"] - means["fake"]) < 4 * 6.06 * np.sqrt(2 / 300), "4 standard errors"
    reference = {}
    for row in rows.head(100).itertuples():
        with Image.open(tmp_path / "out" / row.id) as image:
            assert (
                (image.format, image.mode) == ("JPEG", "RGB") and "exif" not in image.info and "icc_profile" not in image.info
            )
            if row.quality not in reference:
                file = io.BytesIO()
                Image.new("RGB", (8, 8)).save(file, "JPEG", quality=row.quality)
                reference[row.quality] = Image.open(file).quantization
            assert image.quantization == reference[row.quality]
    assert found.metadata_after is not None and found.metadata_after.low > 0.5, (
        "gray pictures, and those that were JPEGs, are shorter"
    )
    assert "the byte count of a JPEG depends on its content" in " ".join(found.notes)


def test_what_old_compression_left_is_said(tmp_path: Path) -> None:
    """Pixels that were a JPEG once, in a PNG: the metadata baseline sees nothing, the grid does; compressed again, both have
    one.
    """
    for fake, name in enumerate(("real", "fake")):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(60):
            picture, file = Image.fromarray(conftest_pixels(fake * 60 + i, 64, 64)), io.BytesIO()
            if not fake:
                picture.save(file, "JPEG", quality=85)
                picture = Image.open(file)
            picture.save(tmp_path / "data" / name / f"{i}.png", compress_level=0)
    kept = align(tmp_path / "data", tmp_path / "png")
    again = align(tmp_path / "data", tmp_path / "jpeg", options=AlignOptions("jpeg", (60, 60)))
    assert kept.metadata_before is not None and kept.metadata_before.value == 0.5
    assert kept.traces is not None and kept.traces.value > 0.98 and "not cured" in " ".join(kept.notes)
    assert again.traces is not None and again.traces.value < kept.traces.value - 0.1
    seen = check(tmp_path / "png", only=["compression"]).checks[0].result.details["auroc"]
    assert seen == pytest.approx(kept.traces.to_dict()), "align and check have one measure"


def conftest_pixels(seed: int, height: int, width: int) -> np.ndarray:
    """Blobs and grain, never compressed."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.uniform(40, 215, (8, 8, 3)).astype(np.uint8))
    smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).astype(float)
    return np.clip(smooth + rng.normal(0, 3, smooth.shape), 0, 255).astype(np.uint8)


# --- again, and cut off -----------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes(plant, tmp_path: Path) -> None:
    jpeg = AlignOptions("jpeg", (60, 95), seed=3)
    for name in ("a", "b"):
        align(plant(40), tmp_path / name, options=jpeg)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    align(plant(40), tmp_path / "c", options=replace(jpeg, seed=4))
    assert contents(tmp_path / "c") != contents(tmp_path / "a")


def test_a_copy_that_is_there_is_found_and_another_is_refused(plant, tmp_path: Path, monkeypatch) -> None:
    first = align(plant(40), tmp_path / "out")
    monkeypatch.setattr(module, "read_inventory", None)  # nothing is read any more
    assert align(plant(40), tmp_path / "out") == first
    assert json.loads((tmp_path / "out" / "align.json").read_text())["written"] == first.written
    with pytest.raises(DataError, match="contains a copy of other data, or with other settings"):
        align(plant(40), tmp_path / "out", options=AlignOptions(seed=1))


#: Kills itself while it writes an image, when at least 16 are noted.
CHILD = """
import os, signal, sys
from tellapart.alignment.writer import PartialCopy
from tellapart.workflows import align as module
def add(self, name, content, write=PartialCopy.add):
    if len(self.written) >= 16 and name.endswith(("3.png", "5.png")):
        (self.folder / name).with_name(".torn.png").write_bytes(content[:10])
        os.kill(os.getpid(), signal.SIGKILL)
    write(self, name, content)
PartialCopy.add = add
module._BATCH = 8
module.align(sys.argv[1], sys.argv[2])
"""


def test_killed_it_goes_on_and_ends_the_same(plant, tmp_path: Path) -> None:
    source, out = plant(100), tmp_path / "out"
    whole = align(source, tmp_path / "whole")
    child = subprocess.run([sys.executable, "-c", CHILD, str(source), str(out)], check=False)
    journal = out / ".unfinished" / "journal.jsonl"
    assert child.returncode == -signal.SIGKILL and not (out / "align.json").exists() and not (out / "train.csv").exists()
    with pytest.raises(DataError):
        ta.scan(out)
    kept = {path: path.stat().st_mtime_ns for path in (out / "images").glob("[0-9]*")}
    noted = [json.loads(line)["number"] for line in journal.read_text().splitlines()]
    journal.write_text(journal.read_text() + '{"number": 3, "dig')  # torn
    again = align(source, out)
    assert again == replace(whole, folder=out) and contents(out) == contents(tmp_path / "whole")
    done = {out / "images" / f"{number:06}.png" for number in noted}
    assert len(done) >= 16 and all(path.stat().st_mtime_ns == kept[path] for path in done), "what was noted is not made again"


def test_a_full_disk_is_said_and_the_same_call_goes_on(plant, tmp_path: Path, monkeypatch) -> None:
    whole = align(plant(40), tmp_path / "whole")
    real, left = PartialCopy.add, [30]

    def add(self: PartialCopy, name: str, content: bytes) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
        real(self, name, content)

    monkeypatch.setattr(module, "_BATCH", 8)
    monkeypatch.setattr(PartialCopy, "add", add)
    with pytest.raises(SystemLimitError, match="the copy cannot be written \\(No space left on device\\)"):
        align(plant(40), tmp_path / "out")
    with pytest.raises(DataError, match="contains an unfinished copy of other data, or with other settings"):
        align(plant(40), tmp_path / "out", options=AlignOptions(seed=1))
    assert not {"align.json", "train.csv", "manifest.csv"} & {path.name for path in (tmp_path / "out").iterdir()}
    monkeypatch.setattr(PartialCopy, "add", real)
    assert align(plant(40), tmp_path / "out") == replace(whole, folder=tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_disk_that_is_too_small_is_said_before(plant, tmp_path: Path, monkeypatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=50_000)
    monkeypatch.setattr(folder_module.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(SystemLimitError, match="0 MB are needed, 0 MB are free"):
        align(plant(40), tmp_path / "out")
    assert not list((tmp_path / "out" / "images").iterdir())
    assert align(plant(40), tmp_path / "out", options=AlignOptions("jpeg")).written > 70, (
        "nothing was there that could be mixed"
    )


def test_the_marker_comes_last(plant, tmp_path: Path, monkeypatch) -> None:
    written: list[str] = []
    real = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, target: (written.append(Path(target).name), real(self, target))[1])
    align(plant(40), tmp_path / "out")
    written = written[written.index("manifest.csv") :]  # after the images
    assert written[-2:] == ["train.csv", "align.json"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*written, "images"}


def test_stopped_by_hand(plant, tmp_path: Path, monkeypatch) -> None:
    real, calls = PartialCopy.note, [0]

    def note(self: PartialCopy, images: dict) -> None:
        real(self, images)
        calls[0] += 1
        if calls[0] == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "_BATCH", 8)
    monkeypatch.setattr(PartialCopy, "note", note)
    with pytest.raises(Interrupted, match="stopped; 16 of 7[0-9] images are written|stopped; 16 of 80 images are written"):
        align(plant(40), tmp_path / "out")
    monkeypatch.setattr(PartialCopy, "note", real)
    assert align(plant(40), tmp_path / "out").written > 70


def test_two_at_once_are_refused(plant, tmp_path: Path) -> None:
    with folder_module.locked_folder(tmp_path / "out"), pytest.raises(DataError, match="another process is writing this copy"):
        align(plant(40), tmp_path / "out")


# --- bad places and bad images ----------------------------------------------------------------------------------------


def test_never_inside_the_data(plant, tmp_path: Path, monkeypatch) -> None:
    source = tmp_path / "data"
    shutil.copytree(plant(40), source)
    for out in (source, source / "aligned", source / "real" / "x", tmp_path / "data" / ".." / "data" / "y"):
        with pytest.raises(DataError, match="lies inside the data"):
            align(source, out)
    (tmp_path / "link").symlink_to(source)
    with pytest.raises(DataError, match="lies inside the data"):
        align(source, tmp_path / "link" / "z")
    rows = [f"{path.relative_to(source).as_posix()},{path.parent.name}" for path in sorted(source.rglob("*.*"))]
    (source / "train.csv").write_text("id,label\n" + "\n".join(rows))
    monkeypatch.chdir(source)
    with pytest.raises(DataError, match="lies inside the data"):
        align("train.csv", "aligned")
    with pytest.raises(DataError, match="lies inside the data"):
        align(ta.scan("train.csv"), "aligned")
    assert sorted(path.name for path in source.iterdir()) == ["fake", "real", "train.csv"]


def test_a_place_that_is_taken(plant, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear")
    with pytest.raises(DataError, match=r"expected an empty folder or a copy made by align, found letter.txt"):
        align(plant(40), tmp_path / "full")
    with pytest.raises(DataError, match="expected a folder to write into, found a file"):
        align(plant(40), tmp_path / "full" / "letter.txt")
    with pytest.raises(SystemLimitError, match="the copy cannot be written"):
        align(plant(40), tmp_path / "full" / "letter.txt" / "deeper")
    assert (tmp_path / "full" / "letter.txt").read_text() == "dear"


def test_bad_images_are_named_or_left_out(plant, tmp_path: Path) -> None:
    source = tmp_path / "data"
    shutil.copytree(plant(40), source)
    before = contents(source)
    truncated = source / "real" / "0004.jpg"
    truncated.write_bytes(truncated.read_bytes()[:-200])
    with pytest.raises(CorruptImages, match="real/0004.jpg"):
        align(source, tmp_path / "out")
    assert not (tmp_path / "out" / "align.json").exists()
    found = align(source, tmp_path / "out", settings=SKIP)
    assert found.classes["real"].unreadable == 1 and "1 images cannot be decoded" in " ".join(found.notes)
    assert "real/0004.jpg" not in set(manifest(tmp_path / "out")["original_path"])
    assert "real/0004.jpg" in (tmp_path / "out" / "left-out.csv").read_text()
    (source / "fake" / "0001.png").write_bytes(b"")
    with pytest.raises(DataError, match="fake/0001.png: the file has no bytes"):
        align(source, tmp_path / "other")
    (source / "fake" / "0001.png").write_bytes(b"no picture")
    with pytest.raises(CorruptImages, match="fake/0001.png: not an image"):
        align(source, tmp_path / "other")
    found = align(source, tmp_path / "other", settings=SKIP)
    assert (found.classes["fake"].unreadable, found.classes["real"].unreadable) == (1, 1)
    assert sum(before[name] != digest for name, digest in contents(source).items()) == 2, "the source is only read"


def test_settings_that_make_no_sense(tmp_path: Path) -> None:
    for wrong in (
        {"quality": (95, 75)},
        {"quality": (0, 5)},
        {"keep": 0.0},
        {"size": (4, 100)},
        {"seed": -1},
        {"encoder": "gif"},
    ):
        with pytest.raises(DataError):
            AlignOptions(**wrong)  # type: ignore[arg-type]
