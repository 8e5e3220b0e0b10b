"""Bias or fragility: planted detectors are told apart, figures are those of other implementations, what is kept is read."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import stats
from sklearn.metrics import roc_auc_score

import tellapart as ta
from tellapart.errors import DataError
from tellapart.inference.context import Settings
from tellapart.perturbations.codec_sensitivity import measure_sensitivity
from tellapart.runs import ledger
from tellapart.types import Predictions
from tellapart.workflows import _prediction_cache as module
from tellapart.workflows.codec_bias import CodecBias, codec_bias, describe

SIDE, EACH = 32, 120


def blobs(seed: int) -> np.ndarray:
    """Smooth colors with grain: (32, 32, 3) float."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.uniform(60, 190, (4, 4, 3)).astype(np.uint8))
    smooth = np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC)).astype(float)
    return smooth + rng.normal(0, 3, smooth.shape)


def whole(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def compressed(pixels: np.ndarray, quality: int = 80) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


BOARD = (np.indices((SIDE, SIDE)).sum(axis=0) % 2 * 2 - 1)[:, :, None]
#: What a picture of a class looks like: (seed, fake) → pixels.
PLANTED: dict[str, Callable[[int, bool], np.ndarray]] = {
    "reals were JPEGs": lambda seed, fake: whole(blobs(seed)) if fake else compressed(whole(blobs(seed))),
    "fakes were JPEGs": lambda seed, fake: compressed(whole(blobs(seed))) if fake else whole(blobs(seed)),
    "fakes have a pattern": lambda seed, fake: whole(blobs(seed) + 8 * fake * BOARD),
    "fakes are bright": lambda seed, fake: whole(0.7 * blobs(seed) + 60 * fake),
}


def pictures(folder: Path, draw: Callable[[int, bool], np.ndarray], each: int = EACH, ending: str = "png") -> Path:
    """One folder a class, all PNG; with another ending the reals are of that."""
    for fake, name in enumerate(("real", "fake")):
        (folder / name).mkdir(parents=True)
        for i in range(each):
            kind = "png" if fake else ending
            Image.fromarray(draw(1000 * fake + i, bool(fake))).save(folder / name / f"{i:03}.{kind}")
    return folder


def test_readers_of_the_codec_are_told_from_the_fragile_and_the_steady(tmp_path: Path) -> None:
    settings, verdicts, said = Settings(runs=tmp_path / "runs", device="cpu"), {}, {}
    for name, draw in PLANTED.items():
        recipe = "knn" if name == "fakes are bright" else "noise-residual-linear"
        run = ta.train(pictures(tmp_path / name, draw), recipe, settings=settings)
        assert run.scores("valid")["accuracy"].value > 0.9, name
        other = pictures(tmp_path / f"{name}, other", lambda seed, fake, draw=draw: draw(seed + 5000, fake), 60)
        found = codec_bias(run, other, settings=settings)
        assert found.split == "other" and found.n == 120 and found.classes[0].name == "fake"
        verdicts[name], said[name] = found.classes[0].finding, describe(found)
    assert verdicts == {
        "reals were JPEGs": "suspect", "fakes were JPEGs": "suspect", "fakes have a pattern": "fragile",
        "fakes are bright": "steady",
    }, said  # fmt: skip
    assert "may depend on the codec" in said["reals were JPEGs"]
    assert "as JPEG, images look less like fake;" in said["reals were JPEGs"]
    assert "as JPEG, images look more like fake;" in said["fakes were JPEGs"]


def test_a_reader_of_files_is_unmasked_by_a_lossless_copy(tmp_path: Path) -> None:
    settings = Settings(runs=tmp_path / "runs", device="cpu")
    run = ta.train(pictures(tmp_path / "data", lambda seed, _: whole(blobs(seed)), 60, "jpg"), "metadata", settings=settings)
    found = codec_bias(run, settings=settings)
    resaved = found.classes[0].find("png")
    assert found.classes[0].finding == "file" and resaved is not None
    assert resaved.aurocs["none"].value == 1 and resaved.aurocs["both"].value == 0.5
    assert resaved.aurocs["own"].value == 1 and resaved.aurocs["others"].value == 0.5, "fakes are PNG already"
    assert resaved.own.counted == 0 and resaved.others.counted == 1
    assert "a lossless copy of equal pixels changes its predictions (50% of the predictions flip)." in describe(found)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with a pattern, and a run on them."""
    top = tmp_path_factory.mktemp("home")
    pictures(top / "data", PLANTED["fakes have a pattern"])
    ta.train(top / "data", "noise-residual-linear", settings=Settings(runs=top / "runs", device="cpu"))
    return top


@pytest.fixture
def settings(home: Path, tmp_path: Path) -> Settings:
    shutil.copytree(home / "runs", tmp_path / "runs")
    return Settings(runs=tmp_path / "runs", device="cpu")


def test_every_figure_is_that_of_another_implementation(settings: Settings) -> None:
    run = ta.open_run("noise-residual-linear", settings.runs)
    found = codec_bias(run, settings=settings)
    files = run.predictions("valid")
    assert files is not None and found.classes[0].name == "fake" and found.total == found.n == len(files)
    fake = files.classes.index("fake")
    own = files.labels == fake
    names = {"png": "png", "jpeg": "jpeg-75", "scale": "scale"}
    for way in found.classes[0].transforms:
        after = Predictions.from_parquet(found.folder / "predictions" / f"{names[way.transform]}.parquet")
        assert list(after.ids) == list(files.ids)
        before, now = files.proba[:, fake].astype(float), after.proba[:, fake].astype(float)
        for side, rows in ((way.own, own), (way.others, ~own)):
            moved = (now - before)[rows]
            assert side.n == rows.sum() and side.before == pytest.approx(before[rows].mean())
            assert side.shift.value == pytest.approx(moved.mean(), abs=1e-9)
            if moved.std() > 1e-6:
                low, high = stats.t.interval(0.95, len(moved) - 1, moved.mean(), stats.sem(moved))
                assert (side.shift.low, side.shift.high) == pytest.approx((max(low, -1), min(high, 1)))
            assert side.right.value == pytest.approx(np.mean((now > 0.5)[rows] == own[rows]))
        for name, mixed in {
            "none": before, "own": np.where(own, now, before), "others": np.where(own, before, now), "both": now,
        }.items():  # fmt: skip
            assert way.aurocs[name].value == pytest.approx(roc_auc_score(own, mixed.astype(np.float32)), abs=1e-6)
        changed = np.mean((now > 0.5) == own) - np.mean((before > 0.5) == own)
        assert way.change.value == pytest.approx(changed) and way.flips.value == pytest.approx(
            np.mean((now > 0.5) != (before > 0.5))
        )
    resaved = found.classes[0].find("png")
    assert resaved is not None and resaved.flips.value == 0 and abs(resaved.own.shift.value) < 1e-6


def test_what_is_there_is_read_and_another_quality_asked(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    first = codec_bias("noise-residual-linear", settings=settings)
    asked: list[str] = []
    answers = module.PerturbedPredictor.predict

    def noted(self, way, as_they_are, task, note=""):
        asked.append(note)
        return answers(self, way, as_they_are, task, note)

    monkeypatch.setattr(module.PerturbedPredictor, "predict", noted)
    assert codec_bias("noise-residual-linear", settings=settings) == first and asked == []
    other = codec_bias("noise-residual-linear", quality=30, settings=settings)
    assert asked == ["1/1 jpeg-30"] and other.quality == 30 and other.text("jpeg") == "jpeg 30"
    assert other.classes[0].find("scale") == first.classes[0].find("scale")
    assert codec_bias("noise-residual-linear", settings=settings) == first and len(asked) == 1
    content = json.loads(json.dumps(first.to_dict(), allow_nan=False))
    assert CodecBias.from_dict(content, first.folder, 0) == first and content["summary"] == describe(first)


def test_the_test_part_is_opened_once(settings: Settings) -> None:
    run = ta.open_run("noise-residual-linear", settings.runs)
    assert codec_bias(run, settings=settings).opened == 0
    for _ in range(2):
        found = codec_bias(run, open_test=True, settings=settings)
        assert found.split == "test" and found.opened == 1
    assert len(ledger.openings(settings.runs, run.data["fingerprint"])) == 1


def test_a_sample_and_what_makes_no_sense(settings: Settings, home: Path, tmp_path: Path) -> None:
    found = codec_bias("noise-residual-linear", sample=20, settings=settings)
    assert found.n == 20 and found.total == 24 and found.folder.name == "bias-valid-20"
    with pytest.raises(DataError, match="expected a JPEG quality from 1 to 100, found 0"):
        codec_bias("noise-residual-linear", quality=0, settings=settings)
    (tmp_path / "one" / "fake").mkdir(parents=True)
    for path in sorted((home / "data" / "fake").iterdir())[:4]:
        shutil.copy(path, copy := tmp_path / "one" / "fake" / path.name)
        with copy.open("ab") as file:
            file.write(b"new")  # after the end of the picture: another file
    with pytest.raises(DataError, match="expected images of at least two classes"):
        codec_bias("noise-residual-linear", tmp_path / "one" / "fake" / "..", settings=settings)


# --- verdicts on answers made up --------------------------------------------------------------------------------------


def said(p: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None) -> Predictions:
    """Answers of two classes from the probability of the second."""
    p = np.clip(p, 0.001, 0.999)
    ids = np.array([str(i) for i in range(len(p))], dtype=object)
    return Predictions(ids, np.stack([1 - p, p], axis=1).astype(np.float32), labels, ("real", "fake"), groups=groups)


#: No class was compressed more than another.
FLAT = np.random.default_rng(9).normal(size=400)


def test_what_compression_destroys_is_suspect_where_only_one_class_was_compressed() -> None:
    labels = np.arange(400) % 2
    p = np.where(labels, 0.8, 0.2) + np.random.default_rng(0).normal(0, 0.03, 400)
    answers = {"png": said(p, labels), "jpeg": said(p - 0.6 * labels, labels), "scale": said(p - 0.6 * labels, labels)}
    verdicts = {name: measure_sensitivity(said(p, labels), answers, marks, 1) for name, marks in {
        "neither": FLAT, "reals": FLAT - 3 * labels, "fakes": FLAT + 3 * labels,
    }.items()}  # fmt: skip
    assert {name: of.finding for name, of in verdicts.items()} == {"neither": "fragile", "reals": "suspect", "fakes": "fragile"}
    assert verdicts["reals"].compressed.value == pytest.approx(roc_auc_score(labels, FLAT - 3 * labels))


@pytest.mark.parametrize(
    ("jpeg", "scale", "verdict"),
    [
        ((0.0, 0.0), (0.0, 0.0), "steady"),
        ((-0.6, 0.0), (-0.6, 0.0), "fragile"),  # fakes lose what gives them away, whatever is done
        ((0.0, 0.6), (0.0, 0.6), "fragile"),  # reals lose what shows that they are real
        ((-0.4, 0.4), (-0.4, 0.4), "fragile"),  # both go to the middle
        ((-0.6, -0.1), (-0.6, -0.1), "fragile"),  # all become real, alike under both
        ((-0.6, 0.0), (0.0, 0.6), "codec"),  # compressed: real; rescaled: fake
        ((0.0, 0.6), (-0.6, 0.0), "codec"),  # and the other way round
        ((-0.45, -0.1), (0.0, 0.0), "fragile"),  # JPEG alone, and it does not come back
        ((0.02, 0.01), (-0.02, 0.0), "steady"),
    ],
)
def test_verdicts(jpeg: tuple[float, float], scale: tuple[float, float], verdict: str) -> None:
    rng, labels = np.random.default_rng(0), np.arange(400) % 2
    p = np.where(labels, 0.8, 0.2) + rng.normal(0, 0.03, 400)
    shifted = {name: said(p + np.where(labels, *by), labels) for name, by in {"jpeg": jpeg, "scale": scale}.items()}
    found = measure_sensitivity(said(p, labels), {"png": said(p, labels), **shifted}, FLAT[:400], 1)
    assert found.finding == verdict, found.to_dict()


def test_what_one_class_loses_and_both_get_back_is_the_codec() -> None:
    """JPEG makes every picture look real by the same step: alone it costs the fakes their rank, together it costs nothing."""
    rng, labels = np.random.default_rng(0), np.arange(400) % 2
    p = np.where(labels, 0.7, 0.45) + rng.normal(0, 0.05, 400)
    found = measure_sensitivity(
        said(p, labels), {"png": said(p, labels), "jpeg": said(p - 0.3, labels), "scale": said(p, labels)}, FLAT[:400], 1
    )
    way = found.find("jpeg")
    assert way is not None and way.together and way.aurocs["own"].value < 0.5 < 0.99 < way.aurocs["both"].value
    assert found.finding == "codec"


def test_what_cannot_be_said() -> None:
    rng, labels = np.random.default_rng(0), np.arange(60) % 2
    chance = said(rng.uniform(size=60), labels)
    assert measure_sensitivity(chance, {"png": chance, "jpeg": chance, "scale": chance}, FLAT[:60], 1).finding == "nothing"
    p = np.where(labels, 0.8, 0.2)
    few, worse = said(p[:12], labels[:12]), said(np.where(np.arange(12) == 1, 0.2, p[:12]), labels[:12])
    assert measure_sensitivity(few, {"png": few, "jpeg": worse, "scale": few}, FLAT[:12], 1).finding == "open"
    assert (
        measure_sensitivity(said(p, labels), {"jpeg": "is 9×9, but …", "scale": "…", "png": "…"}, FLAT[:60], 1).finding
        == "nothing"
    )


def test_groups_are_what_varies() -> None:
    """Ten scenes of twenty images, moved scene by scene: the interval is that of ten, not of two hundred."""
    rng, labels = np.random.default_rng(0), np.arange(200) % 2
    scene = np.arange(200) // 20
    moved = rng.normal(0, 0.1, 10)[scene]
    p, groups = np.where(labels, 0.6, 0.4), scene.astype(str).astype(object)
    found = measure_sensitivity(said(p, labels, groups), {"jpeg": said(p + moved, labels, groups)}, FLAT[:200], 1).transforms[0]
    alone = measure_sensitivity(said(p, labels), {"jpeg": said(p + moved, labels)}, FLAT[:200], 1).transforms[0]
    assert found.own.shift.value == pytest.approx(alone.own.shift.value)
    low, high = stats.t.interval(0.95, 9, moved.mean(), stats.sem(moved[::20]))
    assert (found.own.shift.low, found.own.shift.high) == pytest.approx((low, high), abs=1e-5)
    assert found.own.shift.high - found.own.shift.low > 2 * (alone.own.shift.high - alone.own.shift.low)


def test_more_than_two_classes(tmp_path: Path) -> None:
    """One generator of three leaves a pattern: that class is fragile."""
    images = [whole(blobs(i) * 0.5 + 80 * (i % 3 == 1) + 8 * (i % 3 == 2) * BOARD) for i in range(240)]
    table = ta.from_arrays(np.stack(images), [("a", "b", "c")[i % 3] for i in range(240)])
    settings = Settings(runs=tmp_path / "runs", device="cpu")
    found = codec_bias(ta.train(table, "noise-residual-linear", settings=settings), table, settings=settings)
    assert [one.name for one in found.classes] == ["a", "b", "c"] and found.split == "valid"
    assert all(way.own.n + way.others.n == found.n for one in found.classes for way in one.transforms)
    assert "c" in describe(found)
