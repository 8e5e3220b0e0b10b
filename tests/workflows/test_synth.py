"""The verb: what it writes, that a cut-off one goes on, that neither bytes nor sizes tell the classes apart."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from skimage import data
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

import tellapart as ta
from tellapart.data.cache import CorruptImages
from tellapart.data.metadata import metadata_features
from tellapart.errors import DataError, RecipeError, SplitError, TellapartError
from tellapart.forgeries import autoencoder
from tellapart.forgeries._plan import plan_forgeries
from tellapart.inference.context import Settings
from tellapart.workflows import synth as synth_module
from tellapart.workflows.synth import load_reals, synth

CHEAP = ("self_blend", "upsample", "copy_move")


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autoencoder, "_STEPS", 2)


def write_reals(folder: Path, count: int, seed: int = 0, sides: tuple[int, int] = (40, 90)) -> Path:
    rng, sources = np.random.default_rng(seed), [data.astronaut(), data.coffee(), data.chelsea()]
    folder.mkdir(parents=True)
    for number in range(count):
        height, width = rng.integers(*sides, 2)
        source = sources[number % 3]
        y, x = rng.integers(0, source.shape[0] - height), rng.integers(0, source.shape[1] - width)
        Image.fromarray(source[y : y + height, x : x + width]).save(folder / f"photo é {number}.png")
    return folder


@pytest.fixture(scope="module")
def reals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reals(tmp_path_factory.mktemp("synth") / "reals", 42)


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_what_is_written_is_a_data_set(reals: Path, tmp_path: Path) -> None:
    made = synth(reals, tmp_path / "out")
    assert sum(made.counts.values()) == 42 and 18 <= made.counts["none"] <= 24 and len(made.counts) == 7
    table = ta.scan(tmp_path / "out")
    assert table.classes == ("fake", "real") and len(table) == 42 and table.positive == "fake"
    assert {p.kind for p in table.problems} <= {"other file", "image without a row"}
    assert set(table.frame["split"]) == {"train", "valid", "test"}
    provenance = pd.read_csv(tmp_path / "out/provenance.csv", dtype={"name": str, "donor": str}, keep_default_na=False)
    for row, one in provenance.iterrows():
        written = np.asarray(Image.open(tmp_path / f"out/images/{one['name']}.png"))
        original = np.asarray(Image.open(reals / one["picture"]))
        mask = tmp_path / f"out/masks/{one['name']}.png"
        assert mask.exists() == (one["kind"] != "none"), row
        if mask.exists():
            region = np.asarray(Image.open(mask)) > 0
            assert region.mean() == pytest.approx(one["share"], abs=1e-4)
            assert (written[~region] == original[~region]).all() and (written != original).any()
        else:
            assert (written == original).all()
        assert bool(one["donor"]) == (one["kind"] == "splice")


def test_donors_come_from_the_same_part_and_kinds_take_turns(reals: Path) -> None:
    table = load_reals(reals)
    for seed in range(10):
        planned = plan_forgeries(table, ["splice", "inpaint"], frozenset({"splice"}), seed)
        part = {one.row: one.part for one in planned}
        assert all(part[one.donor] == one.part and one.donor != one.row for one in planned if one.donor >= 0)
        assert all((one.donor >= 0) == (one.kind == "splice") for one in planned)
        counts = Counter(one.kind for one in planned)
        assert abs(counts["splice"] - counts["inpaint"]) <= 3 and abs(counts["none"] - 21) <= 2
    assert (
        plan_forgeries(table, ["splice"], frozenset(), 0)
        == plan_forgeries(table, ["splice"], frozenset(), 0)
        != plan_forgeries(table, ["splice"], frozenset(), 1)
    )


def test_groups_stay_together_and_are_half_forged(reals: Path) -> None:
    table = load_reals(reals)
    table = replace(table, frame=table.frame.assign(group=[f"g{i // 6}" for i in range(len(table))]))
    planned = plan_forgeries(table, ["splice"], frozenset({"splice"}), 3)
    frame = pd.DataFrame([vars(one) for one in planned])
    assert (frame.groupby("group")["part"].nunique() == 1).all()
    assert (frame.assign(forged=frame["kind"] != "none").groupby("group")["forged"].sum() == 3).all()
    group = dict(zip(frame["row"], frame["group"], strict=True))
    several = frame.groupby("part")["group"].nunique()
    donated = frame[(frame["donor"] >= 0) & frame["part"].map(several).gt(1)]
    assert len(donated) and all(group[donor] != own for donor, own in zip(donated["donor"], donated["group"], strict=True))


def test_a_cut_off_run_goes_on_to_the_same_bytes(reals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synth(reals, tmp_path / "whole", kinds=CHEAP)
    written = synth_module.write_bytes_atomically
    count = 0

    def dies(path: Path, content: bytes, *, durable: bool) -> None:
        nonlocal count
        count += 1
        if count == 17:
            raise KeyboardInterrupt
        written(path, content, durable=durable)

    monkeypatch.setattr(synth_module, "write_bytes_atomically", dies)
    with pytest.raises(KeyboardInterrupt):
        synth(reals, tmp_path / "cut", kinds=CHEAP)
    assert not (tmp_path / "cut/synth.json").exists()
    monkeypatch.setattr(synth_module, "write_bytes_atomically", written)
    made = synth(reals, tmp_path / "cut", kinds=CHEAP)
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "cut").rglob("*")}
    assert synth(reals, tmp_path / "cut", kinds=CHEAP) == made
    assert stamps == {p: p.stat().st_mtime_ns for p in (tmp_path / "cut").rglob("*")}


def test_metadata_cannot_tell_the_classes_apart(tmp_path: Path) -> None:
    """An independent null: gradient boosting on headers, out of fold; sizes of pictures vary."""
    folder = write_reals(tmp_path / "reals", 240, sides=(30, 48))
    synth(folder, tmp_path / "out", kinds=CHEAP)
    table = pd.read_csv(tmp_path / "out/train.csv")
    headers = np.stack([metadata_features((tmp_path / "out" / path).read_bytes()) for path in table["id"]])
    headers = headers[:, np.isfinite(headers).any(axis=0)]
    fake = (table["label"] == "fake").to_numpy()
    model = HistGradientBoostingClassifier(max_iter=20, min_samples_leaf=10, random_state=0)
    area = roc_auc_score(fake, cross_val_predict(model, headers, fake, cv=5, method="predict_proba")[:, 1])
    assert abs(area - 0.5) < 0.12  # 3 standard errors of 240 images
    bytes_, pixels = headers[:, 2], headers[:, 6]
    by_size: dict[float, set[float]] = {}
    for size, count in zip(pixels, bytes_, strict=True):
        by_size.setdefault(size, set()).add(count)
    assert max(max(v) - min(v) for v in by_size.values()) < 100  # rows of PNG filters and chunks, not content


def test_jpeg_goes_out_at_a_quality_that_knows_no_class(reals: Path, tmp_path: Path) -> None:
    synth(reals, tmp_path / "out", kinds=CHEAP, encoding="jpeg", quality=(60, 95))
    again = synth(reals, tmp_path / "again", kinds=("copy_move",), encoding="jpeg", quality=(60, 95))
    sums = [luma_sums(folder) for folder in (tmp_path / "out", again.folder)]
    assert len(set(sums[0])) > 10 and sums[0] == sums[1]  # drawn per picture, whatever becomes of it


def luma_sums(folder: Path) -> list[int]:
    found = []
    for path in pd.read_csv(folder / "train.csv")["id"]:
        with Image.open(folder / path) as image:
            found.append(sum(image.quantization[0]))  # pyright: ignore[reportAttributeAccessIssue]
    return found


def test_one_class_of_labeled_data(reals: Path, tmp_path: Path) -> None:
    both = tmp_path / "both"
    shutil.copytree(reals, both / "REAL")
    (both / "FAKE").mkdir()
    for number in range(4):
        Image.new("RGB", (40, 40), (number, 0, 0)).save(both / "FAKE" / f"{number}.png")
    assert len(load_reals(both, "REAL")) == 42 and len(load_reals(both)) == 46
    with pytest.raises(DataError, match="REAL"):
        load_reals(both, "RAEL")


@pytest.mark.parametrize("bad", ["corrupt", "small"])
def test_a_bad_picture_is_named_or_left_out(bad: str, tmp_path: Path) -> None:
    folder = write_reals(tmp_path / "reals", 30)
    if bad == "corrupt":
        (folder / "broken.png").write_bytes(b"\x89PNG nothing")
    else:
        Image.new("RGB", (1, 1)).save(folder / "broken.png")
    with pytest.raises(CorruptImages, match="broken.png"):
        synth(folder, tmp_path / "out", kinds=CHEAP)
    made = synth(folder, tmp_path / "other", kinds=CHEAP, settings=Settings(skip_bad=True))
    assert 28 <= sum(made.counts.values()) <= 30
    assert len(ta.scan(made.folder)) == sum(made.counts.values())


def test_refusals(reals: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="splice"):
        synth(reals, tmp_path / "a", kinds=["splise"])
    with pytest.raises(DataError, match="inside"):
        synth(reals, reals / "out")
    with pytest.raises(DataError, match="at least 20"):
        synth(write_reals(tmp_path / "few", 5), tmp_path / "b")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("keep me")
    with pytest.raises(DataError, match="expected an empty folder"):
        synth(reals, tmp_path / "full")
    synth(reals, tmp_path / "c", kinds=["copy_move"])
    with pytest.raises(DataError, match="other settings .*seed"):
        synth(reals, tmp_path / "c", kinds=["copy_move"], settings=Settings(seed=1))
    with pytest.raises(TellapartError, match="not found"):
        synth(tmp_path / "nowhere", tmp_path / "d")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no image"):
        synth(tmp_path / "empty", tmp_path / "e")


def test_too_few_for_the_parts_is_said(tmp_path: Path) -> None:
    table = load_reals(write_reals(tmp_path / "reals", 22))
    one_group = replace(table, frame=table.frame.assign(group="all"))
    with pytest.raises(SplitError):
        plan_forgeries(one_group, ["inpaint"], frozenset(), 0)
