"""From a scanned table to one that can be trained on: strict, or with everything left out named and counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart.data.cache import CorruptImages, PixelCache
from tellapart.data.left_out import HARMLESS, format_problems
from tellapart.data.memory import from_arrays
from tellapart.data.prepare import apply_split, check_headers, decode_all, prepare
from tellapart.data.scan import scan
from tellapart.data.split import split
from tellapart.errors import DataError
from tellapart.recipe.schema import Inputs
from tellapart.types import ImageTable, Problem

INPUTS = Inputs(size=4, mode="rgb")


@pytest.fixture
def cache(tmp_path) -> PixelCache:
    return PixelCache(tmp_path / "cache")


def photos(top: Path, each: int = 10) -> Path:
    for label, name in enumerate(("a", "b")):
        (top / name).mkdir(parents=True)
        for i in range(each):
            Image.new("RGB", (4, 4), (i, 100 * label, 7)).save(top / name / f"{i}.png")
    return top


def table_of(count: int = 40, problems: tuple[Problem, ...] = ()) -> ImageTable:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 4, 4), dtype=np.uint8)
    return from_arrays(pixels, ["x", "y"] * (count // 2)).without(np.array([], dtype=int), problems)


def test_a_clean_table_is_split_and_its_twins_counted():
    pixels = np.zeros((40, 2, 2), np.uint8)
    pixels[:, 0, 0] = [*range(39), 0]
    prepared = prepare(from_arrays(pixels, ["x", "y"] * 20), seed=5)
    assert prepared.table.split_counts() == {"train": 28, "valid": 4, "test": 8}
    assert prepared.twins.images == 2 and prepared.twins.across_splits == 0
    assert (prepared.twins.cluster[0], len(prepared.twins.cluster)) == (prepared.twins.cluster[39], 40)


def test_the_seed_is_that_of_the_split():
    table = table_of()
    for seed in (0, 1):
        assert (prepare(table, seed=seed).table.frame["split"] == split(table, seed=seed).frame["split"]).all()


def test_twins_across_a_given_split_are_seen():
    pixels = np.zeros((6, 2, 2), np.uint8)
    pixels[:, 0, 0] = [0, 1, 2, 3, 4, 0]
    parts = ["train", "train", "valid", "valid", "test", "test"]
    assert prepare(from_arrays(pixels, ["x", "y"] * 3, split=parts)).twins.across_splits == 1


def test_problems_stop_the_work_with_counts_and_the_first_ones():
    problems = [Problem("missing file", f"train.csv:{i}", "no image file fits") for i in range(2, 14)]
    with pytest.raises(DataError) as caught:
        prepare(table_of(problems=(*problems, Problem("empty file", "a/x.png", "no bytes"))))
    message = caught.value.message
    assert "missing file: 12, empty file: 1" in message
    assert "train.csv:2: no image file fits" in message and "train.csv:11" in message and "train.csv:12" not in message
    assert "… and 3 more" in message
    assert "--skip-bad" in (caught.value.hint or "") and caught.value.exit_code == 3


def test_with_skip_bad_the_problems_stay_listed():
    problem = Problem("missing file", "train.csv:2", "no image file fits")
    prepared = prepare(table_of(problems=(problem,)), skip_bad=True)
    assert prepared.table.problems == (problem,)
    assert sum(prepared.table.split_counts().values()) == 40


@pytest.mark.parametrize("kind", sorted(HARMLESS))
def test_harmless_problems_stop_nothing(kind):
    prepared = prepare(table_of(problems=(Problem(kind, "notes.txt", "not used"),)))
    assert len(prepared.table.problems) == 1


def test_problems_in_words_shows_all_of_a_few():
    text = format_problems([Problem("a", "x:1", "why"), Problem("b", "x:2", "how")])
    assert text == "the data have problems (a: 1, b: 1):\n    x:1: why\n    x:2: how"


def test_an_image_that_cannot_be_unpacked_is_left_out_not_fatal(tmp_path, cache):
    """Looking for identical files reads files of equal size: a file that is gone by then is named when decoding."""
    table = scan(photos(tmp_path / "data"))
    (tmp_path / "data" / "a" / "3.png").unlink()
    prepared = prepare(table, skip_bad=True)
    rest = decode_all(prepared.table, [INPUTS], cache, skip_bad=True)
    assert len(rest) == 19 and [p.where for p in rest.problems] == ["a/3.png"]


def test_strict_decoding_names_every_corrupt_image(tmp_path, cache):
    top = photos(tmp_path / "data")
    for name in ("a/2.png", "b/9.png"):
        (top / name).write_bytes(b"no image")
    with pytest.raises(CorruptImages) as caught:
        decode_all(scan(top), [INPUTS], cache)
    assert [p.where for p in caught.value.problems] == ["a/2.png", "b/9.png"]


def test_what_one_of_several_inputs_refuses_is_left_out_for_all(tmp_path, cache):
    top = photos(tmp_path / "data")
    (top / "a" / "2.png").write_bytes(b"no image")
    Image.new("RGB", (9, 9)).save(top / "b" / "7.png")
    table = decode_all(scan(top), [INPUTS, Inputs(size=4, mode="rgb", resize="none")], cache, skip_bad=True)
    assert len(table) == 18
    assert [(p.kind, p.where) for p in table.problems] == [("corrupt image", "a/2.png"), ("corrupt image", "b/7.png")]
    assert cache.images(table, INPUTS).get().shape == (18, 4, 4, 3)


def test_headers_alone_are_checked_for_work_that_decodes_nothing(tmp_path):
    top = photos(tmp_path / "data")
    assert check_headers(scan(top)).problems == ()
    whole = (top / "a" / "1.png").read_bytes()
    (top / "a" / "1.png").write_bytes(whole[:-20])  # its pixels end early: no matter here
    (top / "b" / "2.png").write_bytes(b"no image")
    with pytest.raises(CorruptImages, match="1 image cannot be decoded"):
        check_headers(scan(top))
    table = check_headers(scan(top), skip_bad=True)
    assert len(table) == 19 and [p.where for p in table.problems] == ["b/2.png"]


def test_nothing_to_decode_leaves_the_table_alone(cache):
    table = table_of()
    assert decode_all(table, [], cache) is table


@pytest.mark.parametrize(
    ("is_spoilt", "message"),
    [
        (lambda name, part: part == "valid", "no images are left in the valid split: 2 images cannot be decoded"),
        (lambda name, part: part == "train" and name < "b", "no images of the class 'a' are left to train on: 7 images"),
        (lambda name, part: True, "no images are left: 20 images cannot be decoded"),
    ],
)
def test_an_error_says_when_too_little_is_left(tmp_path, cache, is_spoilt, message):
    top = photos(tmp_path / "data")
    table = split(scan(top))
    for name, part in zip(table.ids, table.frame["split"], strict=True):
        if is_spoilt(name, part):
            (top / name).write_bytes(b"no image")
    with pytest.raises(DataError, match=message):
        decode_all(table, [INPUTS], cache, skip_bad=True)


def run_folder(tmp_path: Path, table: ImageTable) -> Path:
    folder = tmp_path / "metadata-12345678"
    folder.mkdir()
    table.frame.to_parquet(folder / "split.parquet", index=False)
    return folder


def test_the_split_of_a_run_is_used_again_by_id(tmp_path):
    old = split(table_of(), seed=3)
    shuffled = table_of().take(np.random.default_rng(1).permutation(40))
    found = prepare(shuffled, split_from=run_folder(tmp_path, old)).table
    assert found.frame.set_index("id")["split"].to_dict() == old.frame.set_index("id")["split"].to_dict()
    assert found.ids.tolist() == shuffled.ids.tolist()


def test_the_split_of_a_run_follows_the_content(tmp_path):
    """Renamed images, and ids that were exchanged, keep their split; an image that is new goes by its id."""
    old = split(table_of(), seed=3)
    folder, digests = run_folder(tmp_path, old), old.digests
    table = table_of()
    renamed = replace(table, frame=table.frame.assign(id=[f"new-{name}" for name in table.ids]))
    assert apply_split(renamed, folder).frame["split"].tolist() == old.frame["split"].tolist()
    turned = replace(table, frame=table.frame.assign(id=table.ids[::-1]))
    assert apply_split(turned, folder).frame["split"].tolist() == old.frame["split"].tolist()
    resized = replace(table, frame=table.frame.assign(digest=[digest[::-1] for digest in digests]))
    assert apply_split(resized, folder).frame["split"].tolist() == old.frame["split"].tolist()


def test_duplicates_across_a_given_split_keep_their_sides(tmp_path):
    pixels = np.zeros((6, 2, 2), np.uint8)
    pixels[:, 0, 0] = [0, 1, 2, 3, 4, 0]
    parts = ["train", "train", "valid", "valid", "test", "test"]
    given = from_arrays(pixels, ["x", "y"] * 3, split=parts)
    assert apply_split(from_arrays(pixels, ["x", "y"] * 3), run_folder(tmp_path, given)).frame["split"].tolist() == parts
    elsewhere = from_arrays(pixels, ["x", "y"] * 3, ids=list("abcdef"))
    assert apply_split(elsewhere, tmp_path / "metadata-12345678").frame["split"].tolist() == [*parts[:5], "train"]


def test_a_run_without_digests_lends_no_split(tmp_path):
    old = split(table_of())
    folder = run_folder(tmp_path, replace(old, frame=old.frame.drop(columns="digest")))
    with pytest.raises(DataError, match=r"kept no digests[\s\S]*train it again"):
        apply_split(table_of(), folder)


def test_a_part_of_the_images_keeps_its_parts(tmp_path):
    old = split(table_of())
    found = apply_split(table_of().take(np.arange(10, 30)), run_folder(tmp_path, old))
    assert found.frame["split"].tolist() == old.frame["split"].tolist()[10:30]


def test_an_image_that_was_not_in_the_run_is_an_error(tmp_path):
    folder = run_folder(tmp_path, split(table_of(20)))
    with pytest.raises(DataError, match="20 images are not in the split of metadata-12345678, the first is '20'") as caught:
        apply_split(table_of(40), folder)
    assert "--split-from" in (caught.value.hint or "")


def test_labels_that_came_or_went_since_the_run(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 4, 4), dtype=np.uint8)
    full = split(from_arrays(pixels, [0, 1] * 20, ["x", "y"]))
    folder = run_folder(tmp_path, full)
    fewer = from_arrays(pixels, [-1, 1, *[0, 1] * 19], ["x", "y"])
    assert apply_split(fewer, folder).frame["split"].iloc[0] == ""
    (tmp_path / "other").mkdir()
    before = run_folder(tmp_path / "other", split(fewer))
    with pytest.raises(DataError, match="1 image is not in the split of .*, the first is '0'"):
        apply_split(full, before)
