"""Mean maps: the mean of what `explain` gives, by what was answered; what cannot be averaged is counted."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import tellapart as ta
from tellapart.errors import DataError
from tellapart.workflows.class_maps import class_maps

OPTIONS = {"window": 0.4, "overlap": 2}


def test_means_are_those_of_single_maps(home, neighbors, settings) -> None:
    images = sorted((home / "images").glob("*-1[6-9].png"))
    found = class_maps(neighbors, images, options=OPTIONS, settings=settings)
    single = ta.explain(neighbors, images, options=OPTIONS, settings=settings)
    assert [m.class_name for m in found] == ["other", "red"] and sum(m.n for m in found) == len(images) == 8
    for one in found:
        mine = [e for e in single if e.predicted == one.class_name]
        assert one.n == len(mine) > 0 and one.method == "occlusion"
        assert one.n_empty == sum(not e.heatmap.values.any() for e in mine)
        np.testing.assert_allclose(one.values, np.mean([e.heatmap.values for e in mine], axis=0), atol=0.005)  # of 8 bits
        np.testing.assert_allclose(one.picture, np.mean([e.pixels for e in mine], axis=0), atol=0.51)
    red = found[1]
    assert 4 / 24 <= red.peak[0] <= 12 / 24 and 10 / 24 <= red.peak[1] <= 18 / 24  # the square
    content = json.loads(json.dumps(red.to_dict(), allow_nan=False))
    assert np.mean(content["grid"]) == pytest.approx(float(red.values.mean()), abs=1e-3)


def test_sizes_meet_in_what_is_shown(home, network, settings, tmp_path) -> None:
    Image.open(home / "images" / "red-19.png").resize((48, 72)).save(tmp_path / "a.png")
    Image.open(home / "images" / "red-18.png").convert("L").save(tmp_path / "b.png")
    found = class_maps(network, [tmp_path], methods=["grad_cam", "hires_cam"], settings=settings)
    assert {(m.method, m.class_name) for m in found} == {(a, b) for a in ("grad_cam", "hires_cam") for b in ("other", "red")}
    assert all(m.values.shape == (24, 24) and m.picture.shape == (24, 24, 3) for m in found)
    assert sum(m.n for m in found) == 4
    empty = [m for m in found if not m.n]
    assert all(not m.values.any() and m.to_dict()["peak"] is None for m in empty)


def test_nothing_to_average(neighbors, settings, tmp_path) -> None:
    with pytest.raises(DataError, match="no image"):
        class_maps(neighbors, [tmp_path], settings=settings)
