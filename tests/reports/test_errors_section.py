"""The part of the page on errors: its numbers are those of `evaluate`, its pictures those of the images."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import tellapart as ta
from tellapart.data.metadata import add_header_columns
from tellapart.errors import DataError
from tellapart.inference.context import Settings
from tellapart.leaderboards.leaderboard import build
from tellapart.metrics.label_issues import find_label_issues
from tellapart.metrics.slices import slices
from tellapart.reports import errors_section
from tellapart.reports.nearest_to_errors import nearest_training, stored
from tellapart.reports.svg import FigureSheet
from tellapart.reports.thumbnails import ThumbnailCache
from tellapart.types import Predictions


def page_of(made, png=None):
    row = build([made], "accuracy").rows[0]
    with ThumbnailCache(made.table()) as album:
        return errors_section.render_section(made, row, "d0-r1", album, FigureSheet(png))


def with_source(place):
    """The same world with sources of three sizes, one without a name."""
    source = np.array(["camera", "web", "web", ""])[np.arange(len(place.table)) % 4]
    return replace(place, table=replace(place.table, frame=place.table.frame.assign(source=source)))


def test_the_table_holds_the_numbers_of_evaluate(world, run, tmp_path):
    place = with_source(world(["cat", "dog"], per_class=60))
    made = run(place, "svm", skill=1.5, test=False)
    text = page_of(made, tmp_path)
    predictions = made.predictions("valid")
    report = slices(predictions, add_header_columns(made.table()), None, "dog")
    rows = re.findall(r'<tr data-slice="([^"]+)">(.*?)</tr>', text, re.DOTALL)
    assert [name for name, _ in rows] == [f"{one.column} {one.name}" for one in report.slices]
    assert {"source camera", "source web", "source not given"} <= {name for name, _ in rows}
    for (_, cells), one in zip(rows, report.slices, strict=True):
        assert f"<td>{one.n}</td><td>{one.accuracy.value:.3f}<small>" in cells and ("too small" in cells) == one.too_small
    assert report.describe().partition(" (")[0] in text.replace("\u00a0", " ")
    assert (tmp_path / f"{made.id}-slices.png").stat().st_size > 5000 and text.count("<svg") == 1


def test_suspicious_labels_with_pictures(world, run):
    made = run(world(["cat", "dog"], per_class=60), "svm", skill=1.5, test=False)
    text = page_of(made)
    table = find_label_issues(made.predictions("valid"))
    flagged = table[table["is_issue"]]
    assert 0 < len(flagged) and f"flags {len(flagged)} of 24 validation labels as suspicious" in text.replace("\u00a0", " ")
    part = text.partition("Suspicious labels")[2]
    assert re.findall(r'class="id" title="([^"]+)"', part) == flagged["id"].head(12).tolist()
    assert part.count("<img src=") == min(12, len(flagged))


def test_test_answers_once_the_part_was_opened(world, run):
    made = run(with_source(world(["cat", "dog"], per_class=60)), "svm", skill=1.5)
    assert "on the test images by slice" in page_of(made)


def test_nothing_to_show(world, run):
    made = run(world(["cat", "dog"]), "sure", skill=60, test=False)
    assert page_of(made) is None  # every header says the same, no label is doubtful
    row = build([made], "accuracy").rows[0]
    (made.folder / "predictions" / "valid.parquet").unlink()
    with ThumbnailCache(made.table()) as album:
        assert errors_section.render_section(made, row, "d0-r1", album, FigureSheet(None)) is None


def test_names_are_escaped_and_missing_files_are_said(world, run):
    place = with_source(world(["cat", "<b>dog"], per_class=60))
    frame = place.table.frame.assign(source=np.where(np.arange(120) % 2, "<script>", "x"))
    made = run(replace(place, table=replace(place.table, frame=frame)), "svm", skill=1.2, test=False)
    for path in Path(place.table.root).rglob("*.png"):
        path.unlink()
    text = page_of(made)
    assert "<script>" not in text and "&lt;script&gt;" in text and "<b>dog" not in text and "no image:" in text


# --- nearest training image -------------------------------------------------------------------------------------------


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """A run of nearest neighbors on pixels, with a validation image that is a training image of the other class."""
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    dark, light = (rng.normal(level, 30, (42, 32, 32)).clip(0, 255).astype(np.uint8) for level in (80, 170))
    light[39] = dark[3]
    light[39, 0, 0] ^= 1  # not byte for byte
    split = (["train"] * 30 + ["valid"] * 10 + ["test"] * 2) * 2
    rows = []
    for name, images in (("dark", dark), ("light", light)):
        for i, pixels in enumerate(images):
            Image.fromarray(pixels).save(tmp_path / f"{name}-{i}.png")
            rows.append((f"{name}-{i}.png", name))
    table = pd.DataFrame(rows, columns=["image", "label"]).assign(split=split)
    table.to_csv(tmp_path / "data.csv", index=False)
    return ta.train(tmp_path / "data.csv", "knn", settings=Settings(runs=tmp_path / "runs", device="cpu"))


@pytest.mark.parametrize("by", [None, "pixels"])
def test_the_twin_of_a_mistake_is_found(trained, by):
    found = nearest_training(trained, by=by, settings=Settings(device="cpu"))
    predictions = trained.predictions("valid")
    wrong = predictions.ids[predictions.predicted != predictions.labels]
    assert {one.id for one in found.found} == set(wrong) and found.training == 60
    twin = next(one for one in found.found if one.id == "light-39.png")
    assert (twin.nearest, twin.nearest_class, twin.true, twin.said) == ("dark-3.png", "dark", "light", "dark")
    assert 0 < twin.distance <= 1 and twin.closer > 0
    assert found.by == ("the run's own descriptors" if by is None else "pixels at 32×32")
    assert stored(trained, "valid") == found and stored(trained, "test") is None
    text = page_of(trained)
    assert "Errors and their nearest training images" in text and "nearest of 60 training images" in text


def test_distances_beside_numpy(trained):
    found = nearest_training(trained, by="pixels", settings=Settings(device="cpu"))
    root, table = Path(trained.table().root), trained.table()

    def pixels(name):
        return np.asarray(Image.open(root / name).convert("RGB"), dtype=np.float64).ravel() / 255

    train = table.where(split="train")
    X = np.stack([pixels(path) for path in train.paths])
    for one in found.found:
        apart = np.linalg.norm(X - pixels(one.id), axis=1)
        assert one.nearest == train.ids[apart.argmin()] and one.distance == pytest.approx(apart.min(), abs=1e-3)
        own = apart[train.labels == train.classes.index(one.true)].min()
        assert one.closer == pytest.approx((apart < own).mean(), abs=1e-6)


def test_what_has_no_neighbors(trained, world, run):
    with pytest.raises(DataError, match="no predictions on its test split"):
        nearest_training(trained, "test")
    with pytest.raises(DataError, match="expected pixels"):
        nearest_training(trained, by="color")
    proba = np.eye(2, dtype=np.float32)[trained.predictions("valid").labels]
    of = trained.predictions("valid")
    Predictions(of.ids, proba, of.labels, of.classes).to_parquet(trained.folder / "predictions" / "valid.parquet")
    assert nearest_training(trained).found == ()
