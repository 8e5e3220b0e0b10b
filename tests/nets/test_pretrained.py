"""timm and torchvision nets: weights made here come back, and every model of the issue builds."""

from __future__ import annotations

import functools
import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from tellapart import registry
from tellapart.errors import DataError, RecipeError, SystemLimitError
from tellapart.nets import _pretrained
from tellapart.nets import timm as timm_net
from tellapart.nets._weights import transfer
from tellapart.nets.base import HeadedNet

_SMALL = [
    ("timm", "resnet18"), ("timm", "efficientnet_b0"), ("timm", "convnext_atto"), ("timm", "vit_tiny_patch16_224"),
    ("torchvision", "resnet18"), ("torchvision", "googlenet"),
]  # fmt: skip
#: Every model that the systems name, with the least size it is said to take here.
_NAMED = [
    ("timm", "legacy_xception", 100), ("timm", "xception41", 100), ("timm", "inception_v4", 100),
    ("timm", "inception_resnet_v2", 100), ("timm", "inception_v3", 100), ("timm", "convnext_tiny", 100),
    ("timm", "vit_small_patch16_224", 100), ("timm", "vit_small_patch16_224.dino", 100),
    ("timm", "vit_small_patch14_dinov2", 100), ("timm", "efficientnet_b0", 100), ("timm", "efficientnet_b2", 100),
    ("timm", "resnet18", 100), ("timm", "resnet50", 100), ("timm", "swin_tiny_patch4_window7_224", 100),
    ("torchvision", "googlenet", 100), ("torchvision", "inception_v3", 75), ("torchvision", "resnet18", 100),
    ("torchvision", "resnet50", 100), ("torchvision", "efficientnet_b0", 100), ("torchvision", "vit_b_16", 100),
    ("torchvision", "densenet121", 100), ("torchvision", "squeezenet1_1", 100),
    ("torchvision", "convnext_tiny", 100), ("torchvision", "swin_t", 100),
]  # fmt: skip


def _options(net: str, model: str, **options: object) -> tuple[Any, Any]:
    kind = registry.find("nets", net)
    return kind, kind.Options.model_validate({"net": net, "model": model, **options})


def _build(net: str, model: str, shape: tuple[int, int, int], classes: int = 4, **options: object) -> Any:
    kind, checked = _options(net, model, **options)
    return kind.build(shape, classes, checked)


def _start(body: HeadedNet, net: str, model: str, weights: object) -> str:
    kind, checked = _options(net, model, weights=str(weights))
    return kind.load_pretrained(body, checked, Path).source


@pytest.fixture
def resnet() -> nn.Module:
    """timm's resnet18 with a classifier of its own, and moving averages that are not those of a new net."""
    torch.manual_seed(1)
    net = timm.create_model("resnet18", num_classes=10)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            module.running_mean.uniform_(-0.1, 0.1)
    return net.eval()


# --- the net ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("net", "model"), _SMALL)
def test_every_parameter_is_in_one_group_and_the_groups_run_from_stem_to_head(net: str, model: str) -> None:
    body = _build(net, model, (3, 64, 64), dense=[8])
    names = {id(p): n for n, p in body.named_parameters()}
    groups = [[names[id(p)] for p in group] for group in body.groups()]
    flat = [name for group in groups for name in group]
    assert sorted(flat) == sorted(names.values())
    assert len(groups) >= 6 and all(groups)
    first = {"resnet18": "conv1", "efficientnet_b0": "conv_stem", "convnext_atto": "stem", "googlenet": "conv1.conv"}
    assert any(first.get(model, "patch_embed") in name for name in groups[0])
    assert all(name.startswith("head.") for name in groups[-1])
    assert not any(name.startswith("head.") for group in groups[:-1] for name in group)


@pytest.mark.parametrize("net", ["timm", "torchvision"])
def test_the_head_is_ours(net: str) -> None:
    body = _build(net, "resnet18", (3, 40, 56), classes=2, dense=[8, 6], dense_norm=True, dropout=0.5)
    kinds = [type(layer) for layer in body.head]
    dense = [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Dropout]
    assert kinds == [*dense, *dense, nn.Linear]
    assert body.head[0].in_features == 512
    body(torch.rand(4, 3, 40, 56)).sum().backward()
    assert all(p.grad is not None for p in body.parameters())


def test_drop_path_reaches_the_model_and_is_refused_where_there_is_none() -> None:
    body = _build("timm", "convnext_atto", (3, 64, 64), drop_path=0.3)
    rates = [m.drop_prob for m in body.modules() if type(m).__name__ == "DropPath"]
    assert max(rates) == pytest.approx(0.3)
    with pytest.raises(RecipeError, match="has no drop_path"):
        _build("timm", "inception_v3", (3, 100, 100), drop_path=0.3)


@pytest.mark.parametrize(
    ("net", "model", "size", "message"),
    [
        ("timm", "resnet19", 64, "unknown timm model 'resnet19': did you mean 'resnet18'"),
        ("timm", "xception", 100, "legacy_xception"),
        ("timm", "zzzz", 64, "list_models"),
        ("timm", "resnet18.nobody", 64, "no weights 'nobody' of resnet18; available: a1_in1k"),
        ("timm", "inception_v3", 60, "does not accept 60×60 images"),
        ("torchvision", "resnet19", 64, "unknown torchvision model 'resnet19': did you mean 'resnet18'"),
        ("torchvision", "inception_v3", 74, "does not accept 74×74 images: it needs at least 75×75"),
    ],
)
def test_what_does_not_fit_is_an_error_in_words(net: str, model: str, size: int, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        _build(net, model, (3, size, size))


@pytest.mark.parametrize("net", ["timm", "torchvision"])
def test_feature_vectors_are_refused(net: str) -> None:
    with pytest.raises(RecipeError, match="takes images"):
        kind, options = _options(net, "resnet18")
        kind.build((7,), 2, options)


def test_a_torchvision_net_is_that_of_torchvision(tmp_path: Path) -> None:
    reference = models.resnet18(num_classes=5).eval()
    torch.save(reference.state_dict(), tmp_path / "w.pth")
    body = _build("torchvision", "resnet18", (3, 64, 64), 5).eval()
    _start(body, "torchvision", "resnet18", tmp_path / "w.pth")
    body.head[0].load_state_dict(reference.fc.state_dict())
    x = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(body(x), reference(x))


# --- weights ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_weights_of_a_file_are_those_of_the_file(tmp_path: Path, resnet: nn.Module, ending: str) -> None:
    path = tmp_path / f"mine.{ending}"
    state = resnet.state_dict()
    save_file(state, path) if ending == "safetensors" else torch.save({"state_dict": state, "epoch": 7}, path)
    body = _build("timm", "resnet18", (3, 48, 48)).eval()
    whose = _start(body, "timm", "resnet18", path)
    assert whose.startswith("file: mine.") and "sha256" in whose
    x = torch.rand(2, 3, 48, 48)
    torch.testing.assert_close(body.trunk(x), resnet.forward_head(resnet.forward_features(x), pre_logits=True))


def test_no_weights_are_no_weights() -> None:
    body = _build("timm", "resnet18", (3, 48, 48))
    before = {name: tensor.clone() for name, tensor in body.state_dict().items()}
    assert _start(body, "timm", "resnet18", "none") == "no"
    assert all(torch.equal(tensor, before[name]) for name, tensor in body.state_dict().items())


@pytest.mark.parametrize(("net", "model"), [("timm", "resnet18"), ("torchvision", "googlenet")])
def test_a_gray_net_answers_as_the_rgb_net_for_the_image_in_three_channels(tmp_path: Path, net: str, model: str) -> None:
    rgb, gray = _build(net, model, (3, 64, 64)).eval(), _build(net, model, (1, 64, 64)).eval()
    save_file(rgb.net.state_dict(), tmp_path / "w.safetensors")
    _start(gray, net, model, tmp_path / "w.safetensors")
    x = torch.rand(2, 1, 64, 64)
    torch.testing.assert_close(gray.trunk(x), rgb.trunk(x.expand(-1, 3, -1, -1)), atol=1e-4, rtol=1e-4)


def test_weights_of_another_net_are_refused_with_names_and_shapes(tmp_path: Path, resnet: nn.Module) -> None:
    save_file(resnet.state_dict(), tmp_path / "w.safetensors")
    for net, model in [("timm", "resnet34"), ("timm", "resnet50"), ("timm", "convnext_atto"), ("timm", "vit_tiny_patch16_224")]:
        with pytest.raises(RecipeError, match=f"(?s)w.safetensors for {model}: .* expected .* found"):
            _start(_build(net, model, (3, 64, 64)), net, model, tmp_path / "w.safetensors")
    deeper = timm.create_model("resnet34").state_dict()
    save_file(deeper, tmp_path / "w.safetensors")
    with pytest.raises(RecipeError, match=r"layer1.2.bn1.weight: expected nothing, found \(64,\)"):
        _start(_build("timm", "resnet18", (3, 64, 64)), "timm", "resnet18", tmp_path / "w.safetensors")


def test_weights_of_a_run_and_missing_files_are_refused(tmp_path: Path) -> None:
    body = _build("timm", "resnet18", (3, 64, 64))
    save_file({f"body.{n}": t for n, t in body.state_dict().items()}, tmp_path / "weights.safetensors")
    with pytest.raises(RecipeError, match="init_from"):
        _start(body, "timm", "resnet18", tmp_path / "weights.safetensors")
    with pytest.raises(DataError, match="no such weights file"):
        _start(body, "timm", "resnet18", tmp_path / "nothing.pth")


def test_normalization_is_that_of_the_published_weights_or_none() -> None:
    for net, model, mean in [
        ("timm", "resnet18", 0.485), ("timm", "inception_v4", 0.5),
        ("torchvision", "resnet18", 0.485), ("torchvision", "googlenet", 0.5),
    ]:  # fmt: skip
        kind, without = _options(net, model)
        assert kind.normalize_stats(without) is None
        values = kind.normalize_stats(_options(net, model, weights="hub")[1])
        assert values[0][0] == pytest.approx(mean) and len(values[0]) == len(values[1]) == 3


def test_googlenet_scaled_by_a_half_is_googlenet_with_its_own_rescaling() -> None:
    torch.manual_seed(0)
    reference = models.googlenet(aux_logits=False, transform_input=True, init_weights=False).eval()
    body = _build("torchvision", "googlenet", (3, 64, 64), weights="hub").eval()
    body.net.load_state_dict({n: t for n, t in reference.state_dict().items() if not n.startswith("fc.")})
    x = torch.rand(2, 3, 64, 64)
    usual = models.GoogLeNet_Weights.DEFAULT.transforms()
    mean, spread = (torch.tensor(v).view(1, 3, 1, 1) for v in (usual.mean, usual.std))
    reference.fc = nn.Identity()
    torch.testing.assert_close(body.trunk((x - 0.5) / 0.5), reference((x - mean) / spread), atol=1e-4, rtol=1e-4)


# --- position embeddings ----------------------------------------------------------------------------------------------


def test_a_vit_takes_another_size_with_its_position_embeddings_resampled(tmp_path: Path) -> None:
    torch.manual_seed(2)
    reference = timm.create_model("vit_tiny_patch16_224", num_classes=10, img_size=64).eval()
    ramp = torch.linspace(-1, 1, 4)
    with torch.no_grad():  # embeddings that are a plane stay a plane between its corners
        reference.pos_embed[0, 1:] = (ramp[:, None] + 2 * ramp[None]).reshape(16, 1).expand(-1, 192)
    save_file(reference.state_dict(), tmp_path / "w.safetensors")
    for size, rows, columns in [(64, 4, 4), (100, 7, 7), (90, 6, 6)]:
        body = _build("timm", "vit_tiny_patch16_224", (3, size, size)).eval()
        _start(body, "timm", "vit_tiny_patch16_224", tmp_path / "w.safetensors")
        grid = body.net.pos_embed[0, 1:, 0].view(rows, columns)
        assert grid.shape == (rows, columns) and (grid.diff(dim=0) > 0).all() and (grid.diff(dim=1) > 0).all()
        assert torch.equal(body.net.blocks[3].mlp.fc1.weight, reference.blocks[3].mlp.fc1.weight)
        assert body(torch.rand(1, 3, size, size)).shape == (1, 4)


def test_images_that_are_no_whole_patches_are_padded_with_the_mean() -> None:
    body = _build("timm", "vit_tiny_patch16_224", (3, 40, 50)).eval()
    x = torch.rand(1, 3, 40, 50)
    padded = torch.zeros(1, 3, 48, 64)
    padded[:, :, :40, :50] = x
    torch.testing.assert_close(body.trunk(x), body.net(padded))


def test_a_run_of_another_size_is_transferred() -> None:
    small, large = (_build("timm", "vit_tiny_patch16_224", (3, s, s)) for s in (32, 64))
    transfer(large, {f"body.{n}": t for n, t in small.state_dict().items()}, False)
    assert large.net.pos_embed.shape[1] == 17
    assert torch.equal(large.net.blocks[0].attn.qkv.weight, small.net.blocks[0].attn.qkv.weight)


# --- the hub ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A proxy that nobody answers at, and empty caches."""
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


@pytest.mark.parametrize(
    ("net", "model", "file"),
    [
        ("timm", "resnet18", "model.safetensors of timm/resnet18.a1_in1k"),
        ("timm", "legacy_xception", "xception-"),
        ("torchvision", "resnet18", "resnet18-f37072fd.pth"),
    ],
)
def test_without_a_network_the_error_is_quick_and_names_the_file(
    no_network: Path, net: str, model: str, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = _build(net, model, (3, 75, 75))
    tries, connect = [], socket.create_connection
    monkeypatch.setattr(socket, "create_connection", lambda *given, **named: (tries.append(given), connect(*given, **named))[1])
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail(f"waits {seconds} s to try again"))
    with pytest.raises(SystemLimitError, match=file) as caught:
        _start(body, net, model, "hub")
    assert len(tries) == 1, "asked once, no second try"
    assert "weights: PATH" in str(caught.value)
    assert not [path for path in no_network.rglob("*") if path.is_file()]


def test_weights_in_the_cache_need_no_network(no_network: Path, resnet: nn.Module) -> None:
    repository = no_network / "hub" / "models--timm--resnet18.a1_in1k"
    (repository / "snapshots" / "abc").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    save_file(resnet.state_dict(), repository / "snapshots" / "abc" / "model.safetensors")
    body = _build("timm", "resnet18", (3, 48, 48))
    assert _start(body, "timm", "resnet18", "hub") == (
        "hub: timm/resnet18.a1_in1k (license: apache-2.0, trained on: ImageNet-1k)"
    )
    assert _start(body, "timm", "resnet18", "hub:timm/resnet18.a1_in1k") == (
        "hub: timm/resnet18.a1_in1k (license: not stated, trained on: not stated)"
    )
    assert torch.equal(body.net.layer4[1].conv2.weight, resnet.layer4[1].conv2.weight)  # type: ignore[index, union-attr]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An address on this machine, and the folder that it serves."""
    (tmp_path / "served").mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}", tmp_path / "served"
        served.shutdown()
        thread.join()


def test_a_file_is_fetched_once_and_whole(server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address, folder = server
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "*")
    torch.save({"a": torch.ones(3)}, folder / "net.pth")
    path = _pretrained.fetch_url(f"{address}/net.pth", "net")
    assert path.read_bytes() == (folder / "net.pth").read_bytes()
    (folder / "net.pth").unlink()
    assert _pretrained.fetch_url(f"{address}/net.pth", "net") == path
    (folder / "other-00000000.pth").write_bytes(b"damaged on its way")
    with pytest.raises(SystemLimitError, match="other-00000000.pth"):
        _pretrained.fetch_url(f"{address}/other-00000000.pth", "net")
    assert [p.name for p in path.parent.iterdir()] == ["net.pth"]


def test_a_model_without_published_weights_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    config = timm.get_pretrained_cfg("resnet18")
    monkeypatch.setattr(config, "hf_hub_id", None)
    monkeypatch.setattr(config, "url", "")
    monkeypatch.setattr(timm_net, "_config", lambda _: config)
    with pytest.raises(RecipeError, match="publishes no weights of resnet18"):
        timm_net._published("resnet18", "")


# --- all of them ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("net", "model", "size"), _NAMED)
def test_every_named_model_builds_learns_and_takes_back_its_weights(tmp_path: Path, net: str, model: str, size: int) -> None:
    body = _build(net, model, (3, size, size)).eval()
    save_file({n: t.contiguous() for n, t in body.net.state_dict().items()}, tmp_path / "w.safetensors")
    other = _build(net, model, (1, size, size)).eval()
    _start(other, net, model, tmp_path / "w.safetensors")
    x = torch.rand(2, 1, size, size)
    with torch.no_grad():
        expected = body.trunk(x.expand(-1, 3, -1, -1))
        torch.testing.assert_close(other.trunk(x), expected, atol=1e-3 * expected.abs().max().item(), rtol=1e-3)
    ids = [id(p) for group in body.groups() for p in group]
    assert sorted(ids) == sorted(id(p) for p in body.parameters())
    other.train()(x).sum().backward()
    assert all(p.grad is not None for p in other.parameters())
