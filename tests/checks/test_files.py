"""Broken and odd files, exact copies, torn groups, class balance, pictures that show little."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tellapart import registry
from tellapart.checks._dataset_view import DatasetView, PixelStats
from tellapart.data.memory import from_arrays
from tellapart.data.scan import scan


def look(name, table, **options):
    check = registry.find("checks", name)
    return check(check.Options(**options))(DatasetView(table))


def noise(count, seed=0, side=24):
    return np.random.default_rng(seed).integers(30, 220, (count, side, side, 3)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Two classes of twelve PNGs of 24 × 24 pixels."""
    for number, pixels in enumerate(noise(24)):
        path = tmp_path / "Bilder" / ("echt", "gefälscht")[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return tmp_path / "Bilder"


# --- files ------------------------------------------------------------------------------------------------------------


def test_sound_files_are_fine(folder):
    found = look("files", scan(folder))
    assert found.severity == "fine" and not found.is_issue.any() and found.details["unreadable"] == 0


def test_every_fault_of_files_is_named(folder):
    whole = (folder / "echt" / "00.png").read_bytes()
    (folder / "echt" / "02.png").write_bytes(whole[: len(whole) // 2])
    (folder / "echt" / "04.png").write_bytes(b"no image at all")
    Image.fromarray(noise(1)[0]).save(folder / "gefälscht" / "01.png", "JPEG")
    Image.fromarray(noise(1)[0]).convert("CMYK").save(folder / "gefälscht" / "lang.jpg", "JPEG")
    Image.fromarray(noise(1, side=120)[0]).save(folder / "echt" / "groß.png")
    (folder / "echt" / "notes.txt").write_text("no image")
    table = scan(folder)
    found = look("files", table)
    reasons = {str(table.ids[row]): why for row, why in found.reasons.items()}
    assert found.severity == "problem" and found.details["unreadable"] == 2 and len(found.drops) == 2
    assert "the file is truncated" in reasons["echt/02.png"] and "not an image" in reasons["echt/04.png"]
    assert reasons["gefälscht/01.png"] == "extension .png, but the content is JPEG"
    assert reasons["gefälscht/lang.jpg"] == "mode CMYK"
    assert reasons["echt/groß.png"] == "120×120 pixels; the median size is 24×24"
    assert "not used: 1 file with the ending .txt" in found.summary and "2 unreadable" in found.summary
    assert found.is_issue.sum() == len(reasons) == 5 and found.scores[found.is_issue].min() == 0.5


def test_sizes_of_two_kinds_are_not_odd():
    """A quarter of the images eight times as large: that is how these data are."""
    images = [Image.fromarray(pixels) for pixels in [*noise(30), *noise(10, side=200)]]
    blobs = []
    for image in images:
        target = io.BytesIO()
        image.save(target, "PNG")
        blobs.append(target.getvalue())
    from tellapart.data.memory import from_bytes

    assert look("files", from_bytes(blobs, [0, 1] * 20, ["a", "b"])).severity == "fine"


# --- duplicates -------------------------------------------------------------------------------------------------------


def test_equal_bytes_and_equal_pixels_are_copies(folder):
    content = (folder / "echt" / "00.png").read_bytes()
    (folder / "echt" / "copy.png").write_bytes(content)
    with Image.open(folder / "echt" / "02.png") as image:
        image.save(folder / "gefälscht" / "same pixels.bmp")
    table = scan(folder)
    found = look("duplicates", table)
    pairs = {tuple(str(table.ids[row]) for row in pair) for pair in found.pairs}
    assert pairs == {("echt/00.png", "echt/copy.png"), ("echt/02.png", "gefälscht/same pixels.bmp")}
    assert found.severity == "leak" and found.details["across_classes"] == 1
    assert found.details["same_bytes"] == 1 and found.details["same_pixels"] == 1
    assert [str(table.ids[row]) for row in found.drops] == ["echt/copy.png"]  # labels that contradict are for a person


def test_copies_within_and_across_splits():
    images = noise(10)
    images[7], images[8], images[9] = images[0], images[1], images[1]
    split = ["train"] * 7 + ["test", "train", "train"]
    found = look("duplicates", from_arrays(images, [0, 1] * 5, ["a", "b"], split=split))
    assert found.details["across_splits"] == 1 and found.details["parts"] == {"train and test": 1}
    assert found.severity == "leak" and found.is_issue.sum() == 5
    same_class = look("duplicates", from_arrays(images, [0] * 10, ["a"], split=split))
    assert same_class.drops == {0, 8, 9}  # of the pair across splits the training copy; of three in one split two
    assert "across classes" not in same_class.summary and "drop" in same_class.advice.lower()


def test_without_a_split_copies_are_a_problem_with_one_a_notice():
    images = noise(6)
    images[4] = images[0]
    assert look("duplicates", from_arrays(images, [0] * 6, ["a"])).severity == "problem"
    split = ["train"] * 5 + ["test"]
    assert look("duplicates", from_arrays(images, [0] * 6, ["a"], split=split)).severity == "notice"


# --- groups -----------------------------------------------------------------------------------------------------------


def test_torn_groups_are_a_leak():
    split = ["train", "train", "test", "test"]
    torn = look("groups", from_arrays(noise(4), [0, 1, 0, 1], ["a", "b"], groups=["p", "q", "p", ""], split=split))
    assert torn.severity == "leak" and torn.is_issue.tolist() == [True, False, True, False]
    assert torn.reasons[0] == "its group p lies in train and test" and "1 of 2 groups" in torn.summary
    whole = look("groups", from_arrays(noise(4), [0, 1, 0, 1], ["a", "b"], groups=["p", "q", "r", ""], split=split))
    assert whole.severity == "fine"
    assert look("groups", from_arrays(noise(4), [0, 1, 0, 1], ["a", "b"])).severity == "skipped"


# --- balance ----------------------------------------------------------------------------------------------------------


def test_balance_says_which_classes():
    labels = [0] * 200 + [1] * 12 + [2] * 3
    found = look("balance", from_arrays(noise(215, side=4), labels, ["cat", "dog", "eel"]))
    assert found.severity == "notice" and "'eel' 3" in found.summary and "67 times" in found.summary
    assert found.is_issue.sum() == 3 and found.details["images"] == {"cat": 200, "dog": 12, "eel": 3}
    even = look("balance", from_arrays(noise(40, side=4), [0, 1] * 20, ["cat", "dog"]))
    assert even.severity == "fine" and even.summary == "2 classes with 20 images each"


def test_one_class_and_no_label():
    one = look("balance", from_arrays(noise(30, side=4), [0] * 30, ["cat"]))
    assert one.severity == "problem" and "only one class, 'cat'" in one.summary
    assert look("balance", from_arrays(noise(3, side=4), [-1] * 3, ["cat", "dog"])).severity == "skipped"


def test_other_proportions_in_other_splits():
    split = ["train"] * 200 + ["test"] * 200
    labels = [0] * 150 + [1] * 50 + [0] * 50 + [1] * 150
    found = look("balance", from_arrays(noise(400, side=4), labels, ["cat", "dog"], split=split))
    assert "class proportions differ" in found.summary
    assert look("balance", from_arrays(noise(400, side=4), [0, 1] * 200, ["cat", "dog"], split=split)).severity == "fine"


# --- quality ----------------------------------------------------------------------------------------------------------


def test_pictures_that_show_little(tiles):
    pictures = [Image.fromarray(tile) for tile in tiles[:60]]
    blurred = pictures[0].resize((8, 8)).resize((128, 128), Image.Resampling.BICUBIC)
    blank, dark = Image.new("RGB", (128, 128), (90, 90, 90)), pictures[1].point(lambda value: value // 30)
    bright = Image.fromarray(np.random.default_rng(0).integers(248, 256, (128, 128, 3)).astype(np.uint8))
    images = np.stack([np.asarray(picture) for picture in [*pictures, blank, dark, bright, blurred]])
    found = look("quality", from_arrays(images, [0, 1] * 32, ["a", "b"]), blurry=3.0)
    assert found.severity == "problem" and found.drops == {60}
    assert found.reasons[60].startswith("blank") and found.reasons[61].startswith("dark")
    assert found.reasons[62].startswith("bright") and found.reasons[63].startswith("blurry")
    assert found.is_issue[:60].sum() <= 2
    sound = look("quality", from_arrays(images[:60], [0, 1] * 30, ["a", "b"]))
    assert sound.severity == "fine"


def test_tiny_pictures():
    assert look("quality", from_arrays(noise(8, side=12), [0, 1] * 4, ["a", "b"])).details["tiny"] == 8


def test_light_and_sharpness_are_those_of_numpy(tiles):
    from scipy.ndimage import laplace

    found = PixelStats.empty(1)
    found.measure(0, tiles[0])
    gray = np.asarray(Image.fromarray(tiles[0]).convert("L")).astype(float)
    low, high = np.percentile(gray, (1, 99), method="inverted_cdf")
    assert found.brightness[0] == pytest.approx(gray.mean(), rel=1e-5) and found.contrast[0] == high - low
    assert found.sharpness[0] == pytest.approx(laplace(gray)[1:-1, 1:-1].std() / gray.std(), rel=1e-4)
    assert found.sides[0].tolist() == [128, 128] and found.thumbnails.shape == (1, 32, 32, 3)
