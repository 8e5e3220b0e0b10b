"""Planted near-duplicates are found, and nothing else is."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

import tellapart as ta
from tellapart.checks import _candidate_pairs as lookalikes
from tellapart.checks import _registration as alignment
from tellapart.checks._dataset_view import DatasetView
from tellapart.checks.near_duplicates import NearDuplicates
from tellapart.data.memory import from_arrays, from_bytes
from tellapart.data.scan import scan
from tellapart.progress import SILENT
from tellapart.workflows.check import check
from tellapart.workflows.split import split_dataset

RECALL, PRECISION = 0.95, 0.99


def png(pixels):
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "PNG")
    return target.getvalue()


def planted(pictures, hosts, damage, draw):
    """All pictures in train, damaged copies of the hosts in test; and the true pairs."""
    copies = [damage(pictures[host], draw) for host in hosts]
    blobs = [png(pixels) for pixels in [*pictures, *copies]]
    count = len(pictures)
    labels = draw.integers(0, 2, len(blobs))
    split = ["train"] * count + ["test"] * len(copies)
    truth = {(host, count + number) for number, host in enumerate(hosts)}
    return from_bytes(blobs, labels, ["real", "fake"], split=split), truth


def found_in(table, **options):
    return NearDuplicates(NearDuplicates.Options(**options))(DatasetView(table))


def pairs_of(found):
    return set() if found.pairs is None else set(map(tuple, found.pairs.tolist()))


@pytest.mark.parametrize("kind", ["saved", "halved", "cropped", "mirrored"])
def test_copies_are_found_across_splits(tiles, damages, kind):
    draw = np.random.default_rng(7)
    pictures = tiles[draw.permutation(len(tiles))[:80]]
    table, truth = planted(pictures, range(30), damages[kind], draw)
    found = found_in(table)
    pairs = pairs_of(found)
    assert len(pairs & truth) >= 29 and len(pairs - truth) == 0
    assert found.severity == "leak" and "across splits" in found.summary and "between train and test" in found.summary
    assert found.details["parts"] == {"train and test": len(pairs)} == {"train and test": found.details["across_splits"]}
    assert found.is_issue.sum() == 2 * len(pairs) and found.scores[found.is_issue].min() > 0.6
    assert (found.details["mirrored"] > 0) == (kind == "mirrored")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["saved", "halved", "cropped", "mirrored"])
def test_200_plantings_of_each_kind(tiles, damages, kind):
    """The promise: recall ≥ 95 %, precision ≥ 99 %."""
    draw = np.random.default_rng(2026)
    table, truth = planted(tiles, draw.permutation(len(tiles))[:200].tolist(), damages[kind], draw)
    pairs = pairs_of(found_in(table))
    recall, precision = len(pairs & truth) / len(truth), len(pairs & truth) / max(len(pairs), 1)
    assert recall >= RECALL and precision >= PRECISION, (recall, precision)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deepfake5.tar", "cifake.zip", "scenes.tar"])
def test_200_plantings_in_shared_data(shared_data, damages, name):
    """The same in other pictures: generated animals, 32 × 32 pixels, street scenes."""
    from tellapart.data.decode import decode
    from tellapart.data.reader import ImageReader

    draw = np.random.default_rng(5)
    table = scan(shared_data(name))
    if name == "scenes.tar":  # every scene stands there twice already
        table = table.take(np.flatnonzero(table.labels == 0))
    table = table.take(draw.permutation(len(table))[:600])
    with ImageReader(table) as reader:
        pictures = [decode(reader.get(path)) for path in table.paths]
    before = pairs_of(found_in(from_bytes([png(p) for p in pictures], np.zeros(len(pictures), int), ["real"])))
    assert len(before) <= 2
    hosts = [host % len(pictures) for host in range(200)]
    kinds = list(damages.values())
    truth, copies = set(), []
    for number, host in enumerate(hosts[: len(pictures)]):
        truth.add((host, len(pictures) + number))
        copies.append(kinds[number % len(kinds)](pictures[host], draw))
    split = ["train"] * len(pictures) + ["test"] * len(copies)
    made = from_bytes([png(p) for p in [*pictures, *copies]], np.zeros(len(split), int), ["real"], split=split)
    pairs = pairs_of(found_in(made)) - before
    recall, precision = len(pairs & truth) / len(truth), len(pairs & truth) / len(pairs)
    assert recall >= RECALL and precision >= PRECISION, (recall, precision)


def test_an_edited_twin_of_the_other_class_is_found(tiles):
    """A twelfth of each picture is covered by another piece of it."""
    draw = np.random.default_rng(1)
    pictures = tiles[draw.permutation(len(tiles))[:40]]
    edited = pictures[:20].copy()
    for picture in edited:
        top, left, from_top, from_left = draw.integers(0, 90, 4)
        picture[top : top + 37, left : left + 37] = picture[from_top : from_top + 37, from_left : from_left + 37].copy()
    table = from_arrays(np.concatenate([pictures, edited]), [0] * 40 + [1] * 20, ["real", "edited"])
    found = found_in(table)
    assert pairs_of(found) <= {(n, 40 + n) for n in range(20)} and len(found.pairs) >= 18
    assert found.severity == "leak" and found.details["across_classes"] == len(found.pairs) and not found.drops
    row = int(found.pairs[0, 0])
    assert found.reasons[row] == f"duplicate of {row + 40} (labeled edited)"


def window(share, save):
    """Sides shorter by such a share, saved again."""

    def cut_out(pixels, draw):
        side = round((1 - share) * len(pixels))
        top, left = draw.integers(len(pixels) - side + 1, size=2)
        return save(np.ascontiguousarray(pixels[top : top + side, left : left + side]), draw)

    return cut_out


def test_vectors_of_a_run_find_larger_crops(tiles, damages, tmp_path):
    draw = np.random.default_rng(11)
    pictures = tiles[draw.permutation(len(tiles))[:60]]
    table, truth = planted(pictures, range(30), window(0.15, damages["saved"]), draw)
    settings = ta.Settings(runs=tmp_path / "runs")
    run = ta.train(from_arrays(pictures, [0, 1] * 30, ["a", "b"]), "color-lda", settings=settings)
    alone = found_in(table)
    options = NearDuplicates.Options(embedding=run.id)
    helped = NearDuplicates(options)(DatasetView(table, runs=settings.runs))
    assert len(pairs_of(alone) & truth) < 15 < 20 <= len(pairs_of(helped) & truth)
    assert pairs_of(helped) <= truth and helped.details["compared"] > alone.details["compared"]
    together = split_dataset(table, embedding=run.id, runs=settings.runs, overwrite=True)
    assert together.near == len(pairs_of(helped))
    null = ta.train(from_arrays(pictures, [0, 1] * 30, ["a", "b"]), "metadata", settings=settings)
    for name, said in (("none", "unknown run"), (null.id, "has no embedding to compare images by")):
        failed = check(table, only=["near_duplicates"], options={"near_duplicates.embedding": name}, runs=settings.runs)
        assert said in failed.failures["near_duplicates"]
    blank = from_arrays(np.zeros((4, 64, 64, 3), np.uint8), [0, 1] * 2, ["a", "b"])
    assert NearDuplicates(options)(DatasetView(blank, runs=settings.runs)).severity == "fine"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("share", "alone", "helped"), [(0.05, 193, 193), (0.1, 131, 172), (0.15, 66, 160), (0.2, 29, 140), (0.25, 7, 20)]
)
def test_200_larger_crops(tiles, damages, tmp_path, share, alone, helped):
    """The table of docs/checks/near_duplicates.md, of 200 draws each; another draw may differ by ten."""
    draw = np.random.default_rng(1)
    runs, labels = tmp_path / "runs", np.arange(len(tiles)) % 2
    run = ta.train(from_arrays(tiles, labels, ["a", "b"]), "color-lda", settings=ta.Settings(runs=runs))
    hosts = draw.permutation(len(tiles))[:200].tolist()
    table, truth = planted(tiles, hosts, window(share, damages["saved"]), draw)
    for embedding, wanted in ((None, alone), (run.id, helped)):
        pairs = pairs_of(NearDuplicates(NearDuplicates.Options(embedding=embedding))(DatasetView(table, runs=runs)))
        assert abs(len(pairs & truth) - wanted) <= 10 and not pairs - truth


def test_different_pictures_raise_no_alarm(tiles):
    labels = np.random.default_rng(0).integers(0, 2, len(tiles))
    found = found_in(from_arrays(tiles, labels, ["a", "b"]))
    assert found.severity == "fine" and not found.is_issue.any() and found.details["compared"] > 0


def test_flat_and_tiny_pictures_are_not_judged():
    flat = np.full((6, 64, 64, 3), 128, np.uint8)
    flat += np.random.default_rng(0).integers(0, 5, flat.shape).astype(np.uint8)
    found = found_in(from_arrays(flat, [0, 1] * 3, ["a", "b"]))
    assert found.severity == "fine" and found.details["too_little_structure"] == 6
    tiny = np.random.default_rng(0).integers(0, 255, (4, 8, 8, 3)).astype(np.uint8)
    found = found_in(from_arrays(np.concatenate([tiny, tiny + 1]), [0, 1] * 4, ["a", "b"]))
    assert found.severity == "fine" and found.details["too_small"] == 8


@pytest.mark.slow
def test_clothes_that_look_alike_are_not_the_same(shared_data):
    """2,000 trousers: outlines agree, the things differ. Without the rule for look-alikes hundreds would be called the same."""
    table = scan(shared_data("fashion-mnist"))
    trousers = table.take(np.flatnonzero(table.labels == 1)[:2000])
    found, everywhere = found_in(trousers), found_in(trousers, everywhere=True)
    assert found.details["look_like_many"] > 1500
    assert found.is_issue.mean() < 0.02 < 0.2 < everywhere.is_issue.mean()


@pytest.mark.slow
def test_twins_of_the_scenes_are_found(shared_data):
    """SYSTEMS D5: most pictures have a near-twin of the other label."""
    found = found_in(scan(shared_data("scenes.tar")))
    assert found.severity == "leak" and found.details["across_classes"] == len(found.pairs) == 60


def test_candidates_are_those_of_a_plain_product():
    """Block by block and with a bound on each row the same pairs come out as from one big product."""
    vectors = np.random.default_rng(3).normal(size=(1500, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    whole = np.triu(vectors @ vectors.T, 1)
    with SILENT.task("", 0, "") as task:
        pairs, alike = lookalikes.candidates(vectors, vectors, 5, task)
        every, the_same = lookalikes.candidates(vectors, vectors, 1500, task)
    wanted = np.argwhere(whole >= lookalikes.LEAST)
    assert set(map(tuple, every.tolist())) == set(map(tuple, wanted.tolist()))
    assert (alike == ((whole + whole.T) >= lookalikes.LEAST).sum(axis=1)).all() and (alike == the_same).all()
    for row in range(0, 1500, 97):
        best = [n for n in np.argsort(-whole[row], kind="stable")[:5] if whole[row, n] >= lookalikes.LEAST]
        assert set(pairs[pairs[:, 0] == row, 1].tolist()) == set(best)


def test_the_descriptor_is_that_of_scipy(tiles):
    from scipy.fft import dctn

    gray = tiles[:20].mean(axis=3).astype(np.uint8)[:, ::2, ::2]
    v, u = np.mgrid[:8, :8]
    inside = (u**2 + v**2 <= 50) & (u + v > 0)
    wanted = dctn(gray.astype(float), axes=(1, 2), norm="ortho")[:, :8, :8][:, inside] * np.sqrt(u**2 + v**2)[inside]
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    vectors = lookalikes.describe(gray)
    np.testing.assert_allclose(vectors, wanted, atol=1e-4)
    np.testing.assert_allclose(lookalikes.mirrored(vectors), lookalikes.describe(gray[:, :, ::-1]), atol=1e-4)


def test_laying_over_undoes_a_crop(tiles):
    """Where a known window of a picture lies in it, to a quarter of a pixel of 64."""
    from PIL import Image

    whole = Image.fromarray(tiles[5]).convert("L")
    window = whole.crop((4, 6, 124, 126))  # 120 of 128: a scale of 0.9375, shifted by 0 and 2 pixels of 128 from the middle
    gray = np.stack([np.asarray(picture.resize((64, 64), Image.Resampling.BICUBIC)) for picture in (whole, window)])
    kept, where = alignment._register(alignment.Pyramid(gray), np.array([[0, 1]]), False, 64)
    assert kept.tolist() == [0]
    np.testing.assert_allclose(where[0], [120 / 128, 1.0, 120 / 128, 0.0], atol=0.25)
    assert abs(where[0, 0] - 120 / 128) < 0.01 and abs(where[0, 2] - 120 / 128) < 0.01
