"""No vector is computed twice: k-fold, learning curves, sweeps, other recipes, evaluate, explain, check, frozen backbones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

import tellapart as ta
from tellapart import registry
from tellapart.classifiers.network import Network
from tellapart.data.cache import DecodedImages
from tellapart.features import _blocks
from tellapart.features._backbone import Backbone
from tellapart.features._store import VectorStore
from tellapart.features.base import FitContext
from tellapart.features.color_histogram import ColorHistogram
from tellapart.features.lbp import LBP
from tellapart.inference.context import Settings
from tellapart.inference.embedding import Embedder
from tellapart.nets.base import Model, Normalize
from tellapart.workflows.check import check
from tellapart.workflows.evaluate import evaluate
from tellapart.workflows.kfold import kfold
from tellapart.workflows.learning_curve import learning_curve
from tellapart.workflows.sweep import sweep
from tellapart.workflows.train import train

COUNT = 40
INPUTS = "inputs: {size: 16, mode: rgb}\n"
FEATURES = INPUTS + "features: {descriptors: [{lbp: {}}, {color_histogram: {}}], pca: 4}\n"
PROBE = INPUTS + (
    "classifier: {family: network, net: staged, stages: [{widths: [8]}, {widths: [6]}], dense: [4]}\n"
    'train: {epochs: 3, batch: 8, freeze: 1, precision: "32"}\n'
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images of two classes, brighter and darker; the cache is empty."""
    rng = np.random.default_rng(0)
    for i in range(COUNT):
        path = tmp_path / "data" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 150 + 100 * (i % 2), (16, 16, 3), dtype=np.uint8)).save(path)
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    return tmp_path / "data"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(runs=tmp_path / "runs", device="cpu")


@pytest.fixture
def described(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many images each descriptor has described."""
    counts = {"LBP": 0, "ColorHistogram": 0, "Backbone": 0}
    for kind in (LBP, ColorHistogram, Backbone):
        monkeypatch.setattr(kind, "__call__", _counting(kind.__name__, kind.__call__, counts))
    return counts


def _counting(name: str, call: Callable[..., np.ndarray], counts: dict[str, int]) -> Callable[..., np.ndarray]:
    def counted(self: object, images: np.ndarray) -> np.ndarray:
        counts[name] += len(images)
        return call(self, images)

    return counted


def _recipe(folder: Path, content: str, family: str = "") -> str:
    path = folder.parent / f"{family or 'probe'}.yaml"
    path.write_text(content + (f"classifier: {{family: {family}}}\n" if family else ""), encoding="utf-8")
    return str(path)


def test_recipes_folds_curves_and_sweeps_share_vectors(folder: Path, settings: Settings, described: dict[str, int]) -> None:
    known = ta.scan(folder)
    run = train(known, _recipe(folder, FEATURES, "lda"), settings=settings)
    sizes = run.table().split_counts()
    assert described["LBP"] == described["ColorHistogram"] == sizes["train"] + sizes["valid"]
    train(known, _recipe(folder, FEATURES, "linear"), settings=settings)
    kfold(known, _recipe(folder, FEATURES, "lda"), folds=3, repeats=2, settings=settings)
    learning_curve(known, _recipe(folder, FEATURES, "lda"), sizes=[0.5, 1.0], seeds=2, settings=settings)
    sweep(known, _recipe(folder, FEATURES, "lda"), grid={"features.pca": [2, 3]}, settings=settings)
    assert described["LBP"] == described["ColorHistogram"] == sizes["train"] + sizes["valid"]
    evaluate(run, open_test=True, settings=settings)
    assert described["LBP"] == described["ColorHistogram"] == COUNT


def test_explain_and_check_read_vectors(folder: Path, settings: Settings, described: dict[str, int]) -> None:
    known = ta.scan(folder)
    run = train(known, _recipe(folder, FEATURES, "lda"), settings=settings)
    before = dict(described)
    found = Embedder(run, settings).embed(run.table().where(split="train"))
    assert described == before
    check(known, only=["near_duplicates"], options={"near_duplicates.embedding": run.id}, runs=settings.runs)
    assert described["LBP"] == described["ColorHistogram"] == COUNT  # those of the test split are new
    expected = Embedder(run, settings)._transform(np.stack([np.asarray(Image.open(p)) for p in _files(run)]))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def _files(run: ta.Run) -> list[Path]:
    table = run.table().where(split="train")
    return [Path(table.root) / path for path in table.paths]


def test_outputs_of_a_frozen_backbone_are_computed_once(
    folder: Path, settings: Settings, described: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of published weights, whose normalization does not depend on the training images of a fold."""
    known, recipe = ta.scan(folder), _recipe(folder, INPUTS + _pretrained(folder.parent / "weights.safetensors"))
    run = train(known, recipe, settings=settings)
    sizes = run.table().split_counts()
    assert described["Backbone"] == sizes["train"] + sizes["valid"]
    assert "the backbone is frozen; its outputs were computed once" in run.cost["notes"]
    kfold(known, recipe, folds=2, settings=settings)
    learning_curve(known, recipe, sizes=[0.5, 1.0], seeds=1, settings=settings)
    Embedder(run, settings).embed(run.table().where(split="train"))
    train(known, recipe, overrides=["train.batch=16"], settings=settings)
    assert described["Backbone"] == sizes["train"] + sizes["valid"]
    evaluate(run, open_test=True, settings=settings)
    assert described["Backbone"] == COUNT
    monkeypatch.setattr(Network, "_trains_head_only", lambda *_: False)
    other = train(known, recipe, settings=Settings(runs=settings.runs / "other", device="cpu"))
    assert described["Backbone"] == COUNT
    np.testing.assert_allclose(_valid(run), _valid(other), atol=1e-3)


def test_outputs_of_another_net_or_of_other_weights_are_not_taken(tmp_path: Path) -> None:
    """The same weights with another activation, other images, and one other weight; but another head does not count."""
    net = registry.find("nets", "staged")
    plain, leaky = (net.Options(net="staged", activation=name) for name in ("relu", "leaky_relu"))
    model = Model(Normalize(torch.zeros(3), torch.ones(3)), net.build((3, 16, 16), 2, plain))
    shape, cpu = (16, 16, 3), torch.device("cpu")

    def place(*given: Any) -> Path:
        return VectorStore(tmp_path, "way", "backbone", Backbone(model, *given)).path

    first = place(plain, shape, cpu)
    assert place(plain.model_copy(update={"dense": [4], "dropout": 0.5}), shape, cpu) == first
    assert len({first, place(leaky, shape, cpu), place(plain, (20, 16, 3), cpu)}) == 3
    with torch.no_grad():
        next(model.body.trunk.parameters()).view(-1)[0] += 1
    assert place(plain, shape, cpu) != first


def _pretrained(path: Path) -> str:
    net = timm.create_model("test_resnet", num_classes=0)
    save_file(net.state_dict(), path)
    return (
        f"classifier: {{family: network, net: timm, model: test_resnet, weights: {path}}}\n"
        'train: {epochs: 3, batch: 8, freeze: 1, precision: "32"}\n'
    )


def _valid(run: ta.Run) -> np.ndarray:
    found = run.predictions("valid")
    assert found is not None
    return found.proba


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("augment=[{flip: {}}]", "`augment` changes the images"),
        ("classifier.stages=[{widths: [8], dropout: 0.1}]", "it has random layers"),
        ("classifier.flip_maps=both", "it has random layers"),
    ],
)
def test_outputs_that_change_are_computed_in_every_epoch(
    folder: Path, settings: Settings, described: dict[str, int], change: str, why: str
) -> None:
    run = train(ta.scan(folder), _recipe(folder, PROBE), overrides=[change], settings=settings)
    assert f"the backbone is frozen; its outputs were computed in every epoch, since {why}" in run.cost["notes"]
    sizes = run.table().split_counts()
    assert described["Backbone"] == sizes["train"] + sizes["valid"]  # to predict


def test_a_backbone_that_is_trained_is_not_stored(folder: Path, settings: Settings, described: dict[str, int]) -> None:
    for change in ("train.freeze=0.5", "train.unfreeze_every=1"):
        run = train(ta.scan(folder), _recipe(folder, PROBE), overrides=[change], settings=settings)
        assert not any("frozen" in note for note in run.cost["notes"])
    assert not described["Backbone"] and not list((folder.parent / "cache").glob("*.vectors"))


@pytest.mark.parametrize(
    "name", ["spectrum", "noise_residual", "cooccurrence", "lbp", "color_histogram", "hog", "visual_words"]
)
def test_a_vector_is_the_same_among_any_images_and_on_any_number_of_threads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit by bit, since a stored vector takes the place of one that would be computed beside other images."""
    pixels = np.random.default_rng(0).integers(0, 256, (70, 67, 61, 3), dtype=np.uint8)  # 6 batches of `map_blocks`
    kind = registry.find("features", name)
    descriptor = kind(kind.Options(**({"words": 20} if name == "visual_words" else {})))
    descriptor.fit(DecodedImages(pixels, np.arange(len(pixels))), np.arange(len(pixels)) % 2, FitContext())
    found = descriptor(pixels)
    np.testing.assert_array_equal(descriptor(pixels[3:30:2]), found[3:30:2])
    np.testing.assert_array_equal(descriptor(pixels[-1:]), found[-1:])
    monkeypatch.setattr(_blocks, "_CORES", 1)
    np.testing.assert_array_equal(descriptor(pixels), found)
