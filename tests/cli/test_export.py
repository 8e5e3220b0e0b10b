"""`tellapart export`: a folder that answers by itself as the run does, and what is said of bad input."""

from __future__ import annotations

import ast
import json

import numpy as np
import onnxruntime
import pytest
import yaml
from PIL import Image

from tellapart.exporters import int8
from tellapart.inference.context import Settings
from tellapart.inference.predictor import load_predictor

SMALL = ("-s", "train.epochs=2", "-s", "train.batch=8", "-s", "inputs.size=16", "-s", "augment=[]")


@pytest.fixture
def trained(tell, photos):
    found = tell("train", photos, "-r", "cnn-small", *SMALL, "-q")
    assert found.code == 0, found.err
    return photos


def test_a_folder_that_answers_by_itself(tell, trained, tmp_path):
    assert tell("train", trained, "-r", "metadata", "-q").code == 0
    here = tmp_path / "here"
    (here / "out").mkdir()
    for name in ("parity.json", "of-an-earlier-export.txt"):
        (here / "out" / name).write_text("{}")
    shown = tell("export", "cnn-small", "-o", "out", "--int8", "--calibration-images", "9", "-q")
    assert shown.code == 0, shown.err
    assert "model.onnx" in shown.out and "opset 20; the probabilities of torch and ONNX Runtime differ by at most" in shown.out
    assert "int8: " in shown.out and "float32 is right on" in shown.out
    names = {path.name for path in (here / "out").iterdir()}
    beside = {"model.safetensors", "config.json", "preprocessor_config.json", "README.md", "parity.json"}
    assert names == {"model.onnx", "model.int8.onnx", *beside} and not list(here.glob(".out*"))

    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (37, 61, 3), dtype=np.uint8)).save(here / "photo.jpg")
    session = onnxruntime.InferenceSession(here / "out" / "model.onnx", providers=["CPUExecutionProvider"])
    pixels = np.asarray(Image.open(here / "photo.jpg").convert("RGB"))[None]
    found = np.asarray(session.run(["probabilities"], {"images": pixels})[0])
    expected = load_predictor("cnn-small", Settings(runs=here / "runs", device="cpu"), "torch").predict_batch(
        [(here / "photo.jpg").read_bytes()]
    )
    np.testing.assert_allclose(found, expected.proba, atol=1e-5)
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["classes"]) == ["dark", "light"] and facts["run"].startswith("cnn-small-")
    assert json.loads(facts["decision"]) == "the most probable class" and facts["tellapart"]
    small = onnxruntime.InferenceSession(here / "out" / "model.int8.onnx", providers=["CPUExecutionProvider"])
    assert np.abs(np.asarray(small.run(None, {"images": pixels})[0]) - found).max() < 0.2
    assert small.get_modelmeta().custom_metadata_map["precision"] == "int8"

    card = (here / "out" / "README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["license"] == "other" and front["pipeline_tag"] == "image-classification"
    assert front["model-index"][0]["results"][0]["metrics"][0]["type"] == "accuracy"
    for heading in (
        "## Use",
        "## Data",
        "## Scores",
        "## Beside the metadata baseline",
        "## Limits",
        "## License of the weights",
        "## Parity",
    ):
        assert heading in card, heading
    assert (
        "The metadata baseline, which uses the metadata of the files only" in card
        and "In int8, calibrated on 9 training images" in card
    )
    ast.parse(card.split("```python\n")[1].split("```")[0])
    config = json.loads((here / "out" / "config.json").read_text())
    assert config["id2label"] == {"0": "dark", "1": "light"} and config["tellapart"]["recipe"]["seed"] == 0
    content = json.loads((here / "out" / "parity.json").read_text())
    assert content["holds"] and content["largest"] <= 1e-4 and content["int8"]["calibration_images"] == 9
    start = ("-s", "train.epochs=1", "-s", "classifier.init_from=out/model.safetensors")
    warm = tell("train", trained, "-r", "cnn-small", *SMALL, *start, "-q")
    assert warm.code == 0, warm.err


def test_what_is_refused(tell, trained, tmp_path, monkeypatch):
    assert tell("train", trained, "-r", "knn", "-q").code == 0
    here = tmp_path / "here"
    (here / "full").mkdir()
    (here / "full" / "letter.txt").write_text("mine")
    monkeypatch.setattr(int8, "WORST", -1.0)  # any loss is too much
    for arguments, code, message in (
        (("knn",), 5, "the family knn has no network on whole images"),
        (("cnm-small",), 5, "unknown run 'cnm-small'"),
        (("cnn-small", "-o", "full"), 5, "exists and is not an earlier export"),
        (("cnn-small", "-o", "full/letter.txt"), 5, "full/letter.txt exists and is not an earlier export"),
        (("cnn-small", "-o", "out", "--int8", "--json"), 5, "points of accuracy on validation"),
        (("cnn-small", "--calibration-images", "0"), 2, "--calibration-images"),
    ):
        found = tell("export", *arguments, "-q")
        assert found.code == code and message in found.err and "Traceback" not in found.err, (arguments, found)
    assert sorted(path.name for path in here.iterdir()) == ["full", "runs"] and (here / "full" / "letter.txt").exists()
