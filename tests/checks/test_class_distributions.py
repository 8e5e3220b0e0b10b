"""How a telling column is spread over the classes: the figures beside NumPy, and the picture."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tellapart as ta
from tellapart.checks._associations import MAX_VALUES, Feature, class_distributions, find_associations
from tellapart.reports.health_report import MOST, draw, found_distributions, write_page


def spread(column: Feature, labels: np.ndarray, names: dict[int, str]) -> dict:
    found = class_distributions(find_associations([column], labels, np.arange(len(labels))), labels, names)
    (one,) = found
    return one


def test_shares_of_a_measure_are_those_of_numpy() -> None:
    draw_ = np.random.default_rng(0)
    labels = draw_.integers(2, size=400)
    values = draw_.normal(size=400) + labels
    values[:5] = np.nan
    one = spread(Feature("height", values, ordered=True), labels, {0: "a", 1: "b"})
    known, edges = np.isfinite(values), np.array(one["edges"])
    low, high = np.percentile(values[known], [0.5, 99.5])
    assert edges[0] == pytest.approx(low, abs=1e-5) and edges[-1] == pytest.approx(high, abs=1e-5)
    for label, name in enumerate("ab"):
        inside = np.clip(values[known & (labels == label)], low, high)
        counts = np.histogram(inside, np.linspace(low, high, len(edges)))[0]
        np.testing.assert_allclose(one["shares"][name], counts / counts.sum(), atol=1e-4)


def test_of_kinds_the_most_frequent_are_named() -> None:
    labels = np.repeat([0, 1], 300)
    values = np.concatenate([np.zeros(300), np.arange(300) % 12 + 1.0])
    one = spread(Feature("format", values, {float(v): f"kind {v}" for v in range(13)}), labels, {0: "a", 1: "b"})
    assert one["values"][0] == "kind 0" and one["values"][-1] == "other" and len(one["values"]) == MAX_VALUES + 1
    assert one["shares"]["a"][0] == 1 and one["shares"]["b"][0] == 0 and sum(one["shares"]["b"]) == pytest.approx(1, abs=1e-3)


def test_of_many_classes_one_stands_against_the_others() -> None:
    labels = np.arange(900) % 9
    one = spread(
        Feature("size", np.where(labels == 4, 9.0, labels / 100), ordered=True), labels, {n: f"c{n}" for n in range(9)}
    )
    assert list(one["shares"]) == ["c4", "the others"] and one["shares"]["c4"][-1] == 1


def test_the_page_shows_what_was_found(tiles: np.ndarray, tmp_path: Path) -> None:
    labels = np.arange(120) % 2
    contents = []
    for tile, label in zip(tiles, labels.tolist(), strict=False):
        target = io.BytesIO()
        Image.fromarray(tile[:64, :64] // np.uint8(1 + 3 * label)).save(target, "PNG" if label else "JPEG")
        contents.append(target.getvalue())
    table = ta.from_bytes(contents, [("real", "fake")[k] for k in labels], split=["train", "train", "test", "test"] * 30)
    health = ta.check(table, only=["metadata", "pixels", "shift"])
    found = {one.name: found_distributions(one.result.details) for one in health.checks}
    (kind,) = (one for one in found["metadata"] if one["by"] == "format")
    assert dict(zip(kind["values"], kind["shares"]["'fake'"], strict=True)) == {"format PNG": 1, "format JPEG": 0}
    assert dict(zip(kind["values"], kind["shares"]["'real'"], strict=True)) == {"format PNG": 0, "format JPEG": 1}
    assert {"edges", "shares"} < found["pixels"][0].keys() and not found["shift"]
    page = write_page(health, tmp_path / "health.html").read_text("utf-8")
    sections = dict(re.findall(r'<section class="section" id="(\w+)"(.*?)</section>', page, re.DOTALL))
    assert set(sections) == {"metadata", "pixels"} and all("<svg" in text for text in sections.values())
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids)) and "://" not in page


def test_what_was_found_comes_first_and_small_measures_have_edges() -> None:
    labels = np.repeat([0, 1], 500)
    values = np.concatenate([np.arange(500) % 10, np.where(np.arange(500) % 8, np.arange(500) % 10, 99)]).astype(float)
    one = spread(Feature("camera", values, {float(v): f"camera {v:.0f}" for v in np.unique(values)}), labels, {0: "a", 1: "b"})
    assert one["values"][0] == "camera 99" and one["shares"]["a"][0] == 0 < one["shares"]["b"][0]
    tiny = spread(
        Feature("error", np.where(labels, 3e-9, 1e-9) * (1 + np.arange(1000) % 7), ordered=True), labels, {0: "a", 1: "b"}
    )
    assert len(set(tiny["edges"])) == len(tiny["edges"]) > 2


def test_of_a_shift_each_comparison_is_drawn(tiles: np.ndarray) -> None:
    split = np.repeat(["train", "valid", "test"], 50)
    pictures = [tile[: (64 if part == "train" else 80), :64] for tile, part in zip(tiles, split.tolist(), strict=False)]
    contents = []
    for pixels in pictures:
        target = io.BytesIO()
        Image.fromarray(pixels).save(target, "PNG")
        contents.append(target.getvalue())
    table = ta.from_bytes(contents, ["a", "b"] * 75, split=split.tolist())
    (one,) = ta.check(table, only=["shift"]).checks
    found = found_distributions(one.result.details)
    assert {tuple(d["shares"]) for d in found} == {("train", "valid"), ("train", "test")} and len(found) <= MOST


def test_a_panel_each() -> None:
    measure = {"by": "height", "edges": [0, 1, 2], "shares": {f"c{n}": [0.5, 0.5] for n in range(6)}}
    kind = {"by": "format", "values": ["PNG", "JPEG", "WEBP"], "shares": {"a": [1, 0, 0], "b": [0, 0.5, 0.5]}}
    panels = [axes for axes in draw([measure, kind, measure]).axes if axes.axison]
    assert [axes.get_title(loc="left") for axes in panels] == ["height", "format", "height"]
    assert [tick.get_text() for tick in panels[1].get_xticklabels()] == ["PNG", "JPEG", "WEBP"]
    assert [bar.get_height() for bar in panels[1].patches] == [1, 0, 0, 0, 0.5, 0.5]
    six = {"by": "format", "values": ["PNG"], "shares": {f"c{n}": [1] for n in range(6)}}
    bars = draw([six]).axes[0].patches
    assert len({(bar.get_facecolor(), bar.get_hatch()) for bar in bars}) == len(bars) == 6
