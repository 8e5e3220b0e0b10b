"""One photo, five versions: against Pillow alone and the predictions of `predict` for files on disk."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart.data.listing import from_paths
from tellapart.errors import ImageError
from tellapart.inference.decision import DecisionRule
from tellapart.inference.predictor import load_predictor
from tellapart.perturbations.recompression import RECOMPRESSIONS
from tellapart.perturbations.stability import stability, summarize
from tellapart.workflows.calibrate import calibrate
from tellapart.workflows.predict import predict


def by_hand(picture: Image.Image, folder: Path) -> list[Path]:
    """The five files, made with Pillow alone."""
    width, height = picture.size
    folder.mkdir()
    picture.save(folder / "0.png")
    for number, quality in ((1, 90), (2, 70)):
        picture.save(folder / f"{number}.jpg", quality=quality, subsampling=2)
    for number, share in ((3, 0.75), (4, 0.5)):
        small = picture.resize((round(width * share), round(height * share)), Image.Resampling.BICUBIC)
        small.resize(picture.size, Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_versions_are_those_that_pillow_makes(run, settings, tmp_path, mode):
    noise = np.random.default_rng(5).integers(40, 200, (24, 16, 3)).astype(np.uint8)
    files = by_hand(Image.fromarray(noise).convert(mode), tmp_path / "x")
    wanted = predict(run, from_paths(files, run.classes), settings=settings).proba
    found = stability(load_predictor(run, settings), files[0].read_bytes())
    assert tuple(d.name for d in found.versions) == RECOMPRESSIONS
    np.testing.assert_allclose(np.stack([d.proba for d in found.versions]), wanted, atol=1e-6)
    label = wanted[0].argmax()
    assert found.versions[0].predicted == run.classes[label] and found.resaved == 4
    assert found.unchanged == (wanted[1:].argmax(axis=1) == label).sum()
    np.testing.assert_allclose([found.lowest, found.highest], [wanted[:, label].min(), wanted[:, label].max()], atol=1e-6)


def test_what_changes_sides_is_counted(run):
    proba = np.array([[0.6, 0.4], [0.7, 0.3], [0.45, 0.55], [0.5, 0.5], [0.1, 0.9]], np.float32)
    found = summarize(proba, DecisionRule(run))
    assert (found.unchanged, found.resaved, found.stable) == (2, 4, False)
    assert found.lowest == pytest.approx(0.1) and found.highest == pytest.approx(0.7)
    content = found.to_dict()
    assert content["class"] == run.classes[0]
    assert [d["decision"] for d in content["versions"]] == [run.classes[row.argmax()] for row in proba]
    assert summarize(proba[[0, 1, 1, 3, 0]], DecisionRule(run)).stable


def test_the_decision_must_stay(run, settings):
    """The most probable class is the same in all versions, and for one the run is unsure."""
    rule = DecisionRule(calibrate(run, how="none", band=(0.2, 0.7), settings=settings))
    positive = rule.classes.index(run.positive or "")
    share = np.array([0.9, 0.8, 0.9, 0.6, 0.9])
    proba = np.stack([1 - share, share] if positive else [share, 1 - share], axis=1).astype(np.float32)
    found = summarize(proba, rule)
    assert [d.decision for d in found.versions] == [run.positive, run.positive, run.positive, "unsure", run.positive]
    assert (found.unchanged, found.stable) == (3, False) and found.lowest == pytest.approx(0.6)


def test_what_is_no_picture_is_an_error(run, settings):
    whole = io.BytesIO()
    Image.new("RGB", (40, 40)).save(whole, "PNG")
    for content in (b"", b"no image", whole.getvalue()[:60]):
        with pytest.raises(ImageError, match=r"holiday\.png"):
            stability(load_predictor(run, settings), content, "holiday.png")


def test_a_picture_of_one_pixel(run, settings):
    file = io.BytesIO()
    Image.new("RGB", (1, 1), (200, 200, 200)).save(file, "PNG")
    assert stability(load_predictor(run, settings), file.getvalue()).resaved == 4
