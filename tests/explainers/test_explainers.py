"""Maps of nets whose answer is known by construction, and of classifiers that are no nets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tellapart import registry
from tellapart.classifiers.base import Context
from tellapart.classifiers.knn import Knn
from tellapart.classifiers.network import Network
from tellapart.data.decode import decode_to
from tellapart.data.memory import from_arrays
from tellapart.errors import RunError
from tellapart.explainers._activations import activations, as_grid
from tellapart.explainers._geometry import map_to_image, resample
from tellapart.explainers._model import ExplainedModel
from tellapart.explainers.base import Explainer
from tellapart.explainers.integrated_gradients import IntegratedGradients
from tellapart.nets.base import HeadedNet, Model, Normalize
from tellapart.recipe.load import parse

SIZE = 32
SQUARE = (slice(16, 24), slice(4, 12))
NAMES = registry.names("explainers")
OF_NETS = ["eigen_cam", "grad_cam", "hires_cam", "integrated_gradients", "score_cam"]


class RedBody(HeadedNet):
    """Class 1 by how much red there is: an average pooling, a 1 × 1 convolution, a global mean, a linear layer."""

    def __init__(self) -> None:
        trunk = nn.Sequential(nn.AvgPool2d(4), nn.Conv2d(3, 2, 1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        super().__init__(trunk, nn.Linear(2, 2, bias=False))
        convolution: Any = trunk[1]
        head: Any = self.head
        with torch.no_grad():
            convolution.weight[:, :, 0, 0] = torch.tensor([[1.0, -1.0, -1.0], [-1.0, 1.0, 1.0]])
            head.weight[:] = torch.tensor([[-8.0, 0.0], [8.0, 0.0]])

    def groups(self) -> list[list[nn.Parameter]]:
        return [list(self.parameters())]


def net(body: HeadedNet, **inputs: Any) -> ExplainedModel:
    """A network that was never trained, with this body."""
    content = {"inputs": {"size": SIZE, "mode": "rgb", **inputs}, "classifier": {"family": "network", "net": "quick"}}
    made = Network(parse(content, "test"))
    made.classes, made.net_options = ("other", "red"), made.options
    made.model = Model(Normalize(torch.zeros(3), torch.full((3,), 1 / 255)), body)
    return ExplainedModel(made, Context(), "red")


@pytest.fixture
def picture() -> np.ndarray:
    """Gray noise with a red square."""
    pixels = np.random.default_rng(0).integers(90, 110, (SIZE, SIZE, 3)).astype(np.uint8)
    pixels[SQUARE] = (230, 10, 10)
    return pixels


@pytest.fixture
def neighbors() -> ExplainedModel:
    """Red squares at any place, or none."""
    rng = np.random.default_rng(1)
    images = rng.integers(90, 110, (60, SIZE, SIZE, 3)).astype(np.uint8)
    for image in images[:30]:
        image[SQUARE] = (230, 10, 10)
    table = from_arrays(images, ["red"] * 30 + ["other"] * 30)
    recipe = parse({"inputs": {"size": SIZE, "mode": "rgb"}, "classifier": {"family": "knn"}}, "test")
    parts = np.arange(60) % 5 == 0
    return ExplainedModel(Knn(recipe).fit(table.take(~parts), table.take(parts), Context()), Context(), "nn")


def explain(name: str, subject: ExplainedModel, image: np.ndarray, label: int, **options: Any) -> np.ndarray:
    explainer: type[Explainer] = registry.find("explainers", name)
    found = explainer(explainer.Options.model_validate(options))(subject, image, label)
    assert found.values.shape == image.shape[:2] and found.values.dtype == np.float32
    assert found.values.min() >= 0 and found.values.max() <= 1 and found.method == name
    return found.values


def inside(values: np.ndarray) -> float:
    """The share of the map's mass that lies in the square, two pixels of slack."""
    box = tuple(slice(s.start - 2, s.stop + 2) for s in SQUARE)
    return float(values[box].sum() / values.sum())


@pytest.mark.parametrize("name", sorted({*NAMES} - {"eigen_cam"}))
def test_the_red_square_is_what_makes_it_red(name: str, picture: np.ndarray) -> None:
    values = explain(name, net(RedBody()), picture, 1)
    y, x = np.unravel_index(values.argmax(), values.shape)
    assert 12 <= y < 28 and 0 <= x < 16  # a cell of the map is four pixels wide
    assert inside(values) > {"rise": 0.3, "score_cam": 0.2}.get(name, 0.6)  # of a uniform map it is 0.14


def test_grad_cam_is_what_the_paper_says(picture: np.ndarray) -> None:
    """By hand: the class's weight on the red map, averaged over 8 × 8 cells, is positive; the map is the red map itself."""
    found = activations(net(RedBody()), picture, 1)
    pooled = picture.reshape(8, 4, 8, 4, 3).mean(axis=(1, 3)) / 255
    red = np.maximum(pooled[..., 0] - pooled[..., 1] - pooled[..., 2], 0)
    np.testing.assert_allclose(found.values[0].numpy(), red, atol=1e-5)
    np.testing.assert_allclose(found.gradient[0].numpy(), np.full((8, 8), 8 / 64), atol=1e-6)
    maps = [explain(name, net(RedBody()), picture, 1) for name in ("grad_cam", "hires_cam")]
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-6)  # average pooling, then one linear layer
    assert not explain("grad_cam", net(RedBody()), picture, 0).any()  # red speaks against the other class


def test_eigen_cam_is_the_first_component_whatever_the_class(picture: np.ndarray) -> None:
    found = activations(net(RedBody()), picture, 1)
    A = found.values.numpy().reshape(2, -1).T
    first = A @ np.linalg.svd(A)[2][0]
    first = np.maximum(first if first.sum() > 0 else -first, 0).reshape(8, 8)
    maps = [explain("eigen_cam", net(RedBody()), picture, label) for label in (0, 1)]
    np.testing.assert_array_equal(*maps)
    spread = resample(first, SIZE, SIZE)
    np.testing.assert_allclose(maps[0], spread / spread.max(), atol=1e-5)


def test_contributions_sum_to_the_rise_of_the_logit(picture: np.ndarray) -> None:
    torch.manual_seed(0)

    class Small(HeadedNet):
        def __init__(self) -> None:
            trunk = nn.Sequential(
                nn.Conv2d(3, 6, 3), nn.GELU(), nn.Conv2d(6, 6, 3), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
            )
            super().__init__(trunk, nn.Linear(6, 2))

        def groups(self) -> list[list[nn.Parameter]]:
            return [list(self.parameters())]

    subject = net(Small())
    explainer = IntegratedGradients(IntegratedGradients.Options(steps=64, start="black"))
    parts = explainer.contributions(subject, picture, 1)
    x = subject.to_input(picture)
    with torch.inference_mode():
        rise = subject.module()(x)[0, 1] - subject.module()(torch.zeros_like(x))[0, 1]
    assert parts.sum() == pytest.approx(float(rise), abs=1e-5)


@pytest.mark.parametrize("name", ["occlusion", "rise"])
def test_any_classifier_can_be_asked(name: str, neighbors: ExplainedModel, picture: np.ndarray) -> None:
    values = explain(name, neighbors, picture, neighbors.classes.index("red"))
    y, x = np.unravel_index(values.argmax(), values.shape)
    assert 14 <= y < 26 and 2 <= x < 14


@pytest.mark.parametrize("name", OF_NETS)
def test_methods_of_nets_refuse_others(name: str, neighbors: ExplainedModel, picture: np.ndarray) -> None:
    with pytest.raises(RunError, match="is not a network"):
        explain(name, neighbors, picture, 0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(1, 1), (3, 50), (61, 47)])
def test_any_size_of_picture(name: str, size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (*size, 3)).astype(np.uint8)
    explain(name, net(RedBody(), resize="pad"), image, 1)


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad", "center"])
@pytest.mark.parametrize(("height", "width"), [(90, 60), (50, 120), (20, 26)])
@pytest.mark.parametrize("keep", [1.0, 0.7])
def test_a_map_lies_where_its_picture_lies(resize: Any, height: int, width: int, keep: float) -> None:
    """What the classifier is shown, laid back, is the picture itself, wherever the classifier could see it."""
    y, x = np.mgrid[:height, :width]
    smooth = np.rint(127 + 60 * np.sin(y / height * 5) + 60 * np.cos(x / width * 4)).astype(np.uint8)
    recipe = parse(
        {"inputs": {"size": SIZE, "mode": "gray", "resize": resize, "keep": keep}, "classifier": {"family": "metadata"}}, "t"
    )
    shown = decode_to(smooth, recipe.inputs)[..., 0].astype(np.float32) + 1
    back = map_to_image(shown, recipe.inputs, height, width)
    inner = back[2:-2, 2:-2] > 40
    assert inner.mean() > 0.1
    assert np.abs(back - 1 - smooth)[2:-2, 2:-2][inner].max() < 24
    assert np.median(np.abs(back - 1 - smooth)[2:-2, 2:-2][inner]) < 3


def test_outputs_of_many_shapes_as_maps() -> None:
    assert as_grid(torch.zeros(1, 8, 4, 4)).shape == (1, 8, 4, 4)  # pyright: ignore[reportOptionalMemberAccess]
    assert as_grid(torch.zeros(1, 7, 7, 96)).shape == (1, 96, 7, 7)  # pyright: ignore[reportOptionalMemberAccess]
    assert as_grid(torch.zeros(1, 17, 12)).shape == (1, 12, 4, 4)  # pyright: ignore[reportOptionalMemberAccess]
    assert as_grid(torch.zeros(1, 8, 1, 1)) is None and as_grid(torch.zeros(1, 10)) is None
    assert as_grid((torch.zeros(1, 8, 4, 4),)) is None
    tokens = torch.arange(17.0)[None, :, None].expand(1, 17, 2)
    assert as_grid(tokens)[0, 0].tolist() == torch.arange(1.0, 17.0).reshape(4, 4).tolist()  # pyright: ignore[reportOptionalSubscript]


def built(classifier: dict[str, Any], size: int) -> ExplainedModel:
    """A network with random weights, as a recipe names it."""
    content = {"inputs": {"size": size, "mode": "rgb"}, "classifier": {"family": "network", **classifier}}
    torch.manual_seed(0)
    made = Network(parse(content, "test"))
    made.classes, made.net_options = ("a", "b"), made.options
    made.model = made._build()
    return ExplainedModel(made, Context(), str(classifier))


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "convnext_atto", "resnet10t"])
def test_nets_of_timm_have_a_map(name: str) -> None:
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    found = activations(built({"net": "timm", "model": name, "weights": "none"}, 64), image, 1)
    assert found.values.shape == found.gradient.shape and min(found.values.shape[1:]) >= 2
    assert bool(found.gradient.any()), found.layer


_STAGED = {"net": "staged", "stages": [{"widths": [4]}, {"widths": [6]}]}


@pytest.mark.parametrize(
    ("classifier", "layer", "side"),
    [
        (_STAGED, "body.trunk.1", 16),
        ({"net": "quick", "width": 2}, "body.trunk.3", 8),
        ({"net": "vgg", "groups": [[4], [6]], "dense": [8]}, "body.trunk.1", 16),
        ({"net": "bottleneck", "depth": 2, "expansion": 2, "stages": 2, "last": 8, "hidden": 4}, "body.trunk.3", 16),
        ({"net": "resnet_cifar"}, "body.trunk", 16),
        ({"net": "inception_resnet_v1", "blocks": [1, 1, 1]}, "body.trunk", 3),
        ({"net": "torchvision", "model": "shufflenet_v2_x0_5", "weights": "none"}, "body.trunk", 2),
        ({"net": "fusion", "backbones": [_STAGED, {"net": "quick", "width": 2}]}, "body.trunk", 8),
    ],
    ids=lambda value: value["net"] if isinstance(value, dict) else "",
)
def test_every_net_on_images_has_its_last_map(classifier: dict[str, Any], layer: str, side: int) -> None:
    size = 160 if classifier["net"] == "inception_resnet_v1" else 64
    subject = built(classifier, size)
    image = np.random.default_rng(0).integers(0, 255, (size, size, 3)).astype(np.uint8)
    found = activations(subject, image, 1)
    assert found.layer.startswith(layer) and found.values.shape[1:] == (side, side), (found.layer, found.values.shape)
    assert bool(found.gradient.any())
    assert explain("grad_cam", subject, image, 1).shape == (size, size)


def test_every_net_of_the_package_is_tried() -> None:
    tried = {"staged", "quick", "vgg", "bottleneck", "resnet_cifar", "inception_resnet_v1", "torchvision", "fusion", "timm"}
    assert tried | {"mlp"} == set(registry.names("nets"))  # a new one belongs above
