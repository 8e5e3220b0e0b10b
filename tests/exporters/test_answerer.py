"""Asking a run on ONNX Runtime: answers as of torch, the graph kept and made anew when it must be, and what falls back."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tellapart.data.memory import from_arrays
from tellapart.errors import RunError, SystemLimitError
from tellapart.exporters import onnx_graph, parity
from tellapart.inference import onnx_model
from tellapart.inference.context import Settings
from tellapart.inference.predictor import OnnxPredictor, TorchPredictor, load_predictor
from tellapart.progress import Silent
from tellapart.recipe import load as recipes
from tellapart.runs.store import Run
from tellapart.workflows.train import train


class Heard(Silent):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str, style: str = "") -> None:
        self.lines.append(text)


def pictures(count: int) -> np.ndarray:
    """(N, 12, 10, 3) uint8, dark or bright."""
    rng = np.random.default_rng(0)
    return (rng.integers(0, 120, (count, 12, 10, 3)) + 100 * (np.arange(count) % 2)[:, None, None, None]).astype(np.uint8)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs: a small network, and the metadata baseline."""
    folder = tmp_path_factory.mktemp("runs")
    table = from_arrays(pictures(80), ["dark", "light"] * 40)
    network = recipes.parse(
        {
            "inputs": {"size": 16, "resize": "pad"}, "classifier": {"family": "network", "net": "quick", "width": 4},
            "train": {"epochs": 12, "batch": 16, "optimizer": {"name": "muon", "lr": 0.02}},
        }, "small",
    )  # fmt: skip
    settings = Settings(runs=folder, device="cpu")
    assert train(table, network, settings=settings).family == "network"
    train(table, "metadata", settings=settings)
    return folder


@pytest.fixture
def settings(home: Path) -> Settings:
    """Of the command line, with ears."""
    return Settings(runs=home, device="cpu", progress=Heard())


def run_of(home: Path, family: str) -> Run:
    return next(Run(path.parent) for path in home.glob("*/done") if Run(path.parent).family == family)


def as_png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_it_answers_as_torch_does(home: Path, settings: Settings, monkeypatch: Any) -> None:
    run = run_of(home, "network")
    onnx, torch = load_predictor(run, settings), load_predictor(run, settings, "torch")
    assert onnx.runtime == "onnx" and torch.runtime == "torch" and onnx.classes == torch.classes == ("dark", "light")
    monkeypatch.setattr(onnx, "batch", 8)  # several batches
    rng = np.random.default_rng(1)
    arrays = [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in ((12, 10), (40, 7), (16, 16)) * 7]
    grays = [array[..., 0].copy() for array in arrays]
    files = [as_png(array) for array in arrays + grays]
    files[3], files[20] = b"no picture", files[20][:60]
    for asked in (arrays + grays, files):
        found, expected = onnx.predict_batch(asked), torch.predict_batch(asked)
        np.testing.assert_allclose(found.proba, expected.proba, atol=1e-5)
        np.testing.assert_array_equal(found.rows, expected.rows)
        assert found.problems == expected.problems
    assert len(found.problems) == 2 and found.proba.dtype == np.float32
    assert onnx.predict_batch(files, [f"{n}.png" for n in range(len(files))]).problems[0].where == "3.png"
    nothing = onnx.predict_batch([])
    assert nothing.proba.shape == (0, 2) and onnx.predict_batch([b""]).proba.shape == (0, 2)
    assert np.ptp(expected.proba[:, 0]) > 0.1


def test_pictures_of_a_wrong_size_are_named_among_others(tmp_path: Path) -> None:
    """Sizes are asked about one by one; what is wrong is still told by its place among all."""
    content = {"inputs": {"size": [12, 10], "resize": "none"}, "classifier": {"family": "knn"}}
    settings = Settings(runs=tmp_path, device="cpu")
    run = train(from_arrays(pictures(40), ["dark", "light"] * 20), recipes.parse(content, "strict"), settings=settings)
    right, other, small = pictures(1)[0], np.zeros((8, 8, 3), np.uint8), np.zeros((5, 5, 3), np.uint8)
    found = load_predictor(run, settings).predict_batch([right, other, right, small, other, 255 - right], list("abcdef"))
    assert found.rows.tolist() == [0, 2, 5] and found.proba.shape == (3, 2)
    assert sorted(problem.where for problem in found.problems) == ["b", "d", "e"]
    assert (found.proba[0] == found.proba[1]).all()


def test_the_graph_is_made_once_and_anew_when_it_must_be(home: Path, settings: Settings, monkeypatch: Any) -> None:
    run = run_of(home, "network")
    load_predictor(run, settings)
    folder, made = home / "exports" / run.id, []
    about = json.loads((folder / "core.json").read_text())
    assert about["parity"]["holds"] and about["key"]["runs"] == {run.id: (run.folder / "done").read_text().strip()}

    def make(*given: Any) -> Any:
        made.append(given)
        return "a new one"

    monkeypatch.setattr(onnx_model, "_make", make)
    assert onnx_model.cached_onnx(run, settings).inputs[0].size == (16, 16) or about["inputs"][0]["size"] == 16
    assert not made  # used again
    content = (folder / "core.onnx").read_bytes()
    for broken in (content[:-9], b"", content[:-1] + b"\x00"):
        (folder / "core.onnx").write_bytes(broken)
        assert onnx_model.cached_onnx(run, settings) == "a new one"
    (folder / "core.onnx").write_bytes(content)
    for wrong in ("{", json.dumps(about | {"key": about["key"] | {"tellapart": "0.0.1"}}), json.dumps({"key": about["key"]})):
        (folder / "core.json").write_text(wrong)
        assert onnx_model.cached_onnx(run, settings) == "a new one"
    (folder / "core.json").write_text(json.dumps(about))
    assert len(made) == 6 and isinstance(onnx_model.cached_onnx(run, settings), onnx_model.OnnxModel)


def test_what_cannot_be_exported_answers_with_torch(home: Path, settings: Settings, tmp_path: Path, monkeypatch: Any) -> None:
    heard: Any = settings.progress
    null = load_predictor(run_of(home, "metadata"), settings)
    assert isinstance(null, TorchPredictor) and not heard.lines  # nobody expects a graph of it
    with pytest.raises(RunError, match="does not use pixels"):
        load_predictor(run_of(home, "metadata"), settings, "onnx")
    monkeypatch.setattr(onnx_graph, "installed", lambda name: name != "onnxruntime")
    run = run_of(home, "network")
    assert isinstance(load_predictor(run, settings), TorchPredictor)
    assert f"using torch for {run.id}: exporting needs the package onnxruntime" in heard.lines[-1]
    with pytest.raises(SystemLimitError, match=r'pip install "\.\[export\]"'):
        load_predictor(run, settings, "onnx")


def test_a_graph_without_parity_is_not_kept(home: Path, settings: Settings, monkeypatch: Any) -> None:
    run, heard = run_of(home, "network"), settings.progress
    assert isinstance(load_predictor(run, settings), OnnxPredictor)
    for file in (home / "exports" / run.id).glob("core.*"):
        file.unlink()
    monkeypatch.setattr(parity, "LIMIT", -1.0)
    assert isinstance(load_predictor(run, settings), TorchPredictor)
    assert "differ from torch's" in heard.lines[-1]  # type: ignore[attr-defined]
    assert not list((home / "exports" / run.id).glob("core.*"))


def test_torch_looks_for_an_accelerator_where_one_may_be(monkeypatch: Any) -> None:
    import torch

    from tellapart.inference import context

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(context, "_ACCELERATORS", ("null",))  # /dev/null is there
    assert context.resolve_device("auto") == "cuda" and context.resolve_device("cpu") == "cpu"
    monkeypatch.setattr(context, "_ACCELERATORS", ("nothing-like-it",))
    assert context.resolve_device("auto") == "cpu" and context.resolve_device("cuda") == "cuda"
