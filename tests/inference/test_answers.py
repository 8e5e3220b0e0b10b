"""A prediction for each image: those of `predict`, whatever the batches; bad ones named; each name once."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from tellapart.data.cache import CorruptImages
from tellapart.data.listing import from_paths
from tellapart.errors import DataError, RunError
from tellapart.inference.context import Settings
from tellapart.inference.predictor import load_predictor
from tellapart.inference.prefetch import BatchLimit
from tellapart.perturbations.stability import stability
from tellapart.progress import Silent
from tellapart.recipe.schema import Inputs
from tellapart.workflows import _batch_predictor as module
from tellapart.workflows.predict import predict, predict_iter


@pytest.mark.parametrize("images", [1, 4, 1024])
def test_the_predictions_are_those_of_predict(run, settings, shots, monkeypatch, images):
    monkeypatch.setattr(module, "PLAIN", BatchLimit(images, 2**20))
    wanted = predict(run, from_paths([shots], run.classes), settings=settings)
    found = list(predict_iter(run.id, [shots], settings=settings))
    assert [one.image for one in found] == wanted.ids.tolist()
    np.testing.assert_allclose(np.stack([one.proba for one in found]), wanted.proba, atol=1e-6)
    assert [one.predicted for one in found] == [run.classes[label] for label in wanted.predicted]


def test_a_repeated_name_is_predicted_once(run, settings, shots):
    found = [one.image for one in predict_iter(run, [shots, shots / "a", shots / "02.png"], settings=settings)]
    assert found == from_paths([shots]).ids.tolist()


def test_bad_images_stop_the_work_or_are_left_out(run, settings, shots, monkeypatch):
    (shots / "a" / "00.png").write_bytes(b"no image")
    (shots / "b" / "01.png").write_bytes((shots / "b" / "04.png").read_bytes()[:60])
    with pytest.raises(CorruptImages) as caught:
        list(predict_iter(run, [shots], settings=settings))
    assert [p.where for p in caught.value.problems] == [str(shots / "a/00.png"), str(shots / "b/01.png")]
    monkeypatch.setattr(module, "PLAIN", BatchLimit(3, 2**20))
    said = []
    progress = type("Listening", (Silent,), {"say": lambda self, text, style="": said.append(text)})()
    kept = Settings(runs=settings.runs, skip_bad=True, progress=progress)
    found = [one.image for one in predict_iter(run, [shots], settings=kept)]
    assert found == [name for name in from_paths([shots]).ids if not name.endswith(("a/00.png", "b/01.png"))]
    assert "2 of 11 images" in said[-1] and "a/00.png: not an image" in said[-1]


def test_bare_pixels_and_files_together(run, settings, shots):
    pixels = np.stack([np.full((8, 8), value, np.uint8) for value in (20, 230, 20)])
    (shots / "t10k-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 0x803, 3, 8, 8) + pixels.tobytes())
    found = list(predict_iter(run, [shots / "02.png", shots / "t10k-images-idx3-ubyte", shots / "05.png"], settings=settings))
    assert [one.predicted for one in found] == ["real", "real", "fake", "real", "fake"]
    assert [one.image.rpartition("#")[2] for one in found[1:4]] == ["0", "1", "2"]


def test_with_stability(run, settings, shots):
    (shots / "a" / "00.png").write_bytes(b"no image")
    predictor = load_predictor(run, settings)
    kept = Settings(runs=settings.runs, skip_bad=True)
    found = list(predict_iter(predictor, [shots], stability=True, settings=kept))
    assert len(found) == 10
    for one in found:
        with open(one.image, "rb") as file:  # noqa: PTH123
            wanted = stability(predictor, file.read())
        assert one.stability is not None and one.stability.unchanged == wanted.unchanged
        for ours, theirs in zip(one.stability.versions, wanted.versions, strict=True):
            assert (ours.name, ours.decision) == (theirs.name, theirs.decision)
            np.testing.assert_allclose(ours.proba, theirs.proba, atol=1e-6)
        np.testing.assert_allclose(one.proba, wanted.versions[0].proba, atol=1e-6)


def test_nothing_and_nobody(run, settings, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no image in"):
        list(predict_iter(run, [tmp_path / "empty"], settings=settings))
    with pytest.raises(DataError, match="no such file"):  # before the first prediction
        predict_iter(run, ["nothing.png"], settings=settings)
    with pytest.raises(RunError, match="unknown run"):
        predict_iter("knnn", [tmp_path], settings=settings)


def test_large_inputs_make_small_batches():
    """An predictor may hold a portion decoded: 128 MiB of pixels, whatever the input size of a run."""
    for size, images in ((64, 1024), (512, 170), ((2048, 1024), 21), (4096, 2), ("auto", 1024)):
        assert module._plain_limit(Inputs.model_validate({"size": size})).images == images
