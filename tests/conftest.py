"""Shared fixtures: real data, tiles of photographs, run folders written by hand, and comparisons with references."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from PIL import Image

from tellapart.io import write_json
from tellapart.metrics.score_all import score_all
from tellapart.runs import ledger
from tellapart.runs.ledger import next_evaluation
from tellapart.runs.store import Run, mark_done, scores_to_dict
from tellapart.types import Predictions

# No deadline and no complaint about slow draws: a busy machine fails no test. The same examples every time: no luck either.
hypothesis_settings.register_profile("tellapart", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("tellapart")


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """`shared_data("fruits.tar")`: its path in $TELLAPART_DATA or ../shared/data; the test is skipped without it."""
    folder = Path(os.environ.get("TELLAPART_DATA") or Path(__file__).parents[2] / "shared" / "data")

    def find(name: str) -> Path:
        if not (folder / name).exists():
            pytest.skip(f"{name} is not in {folder}: set TELLAPART_DATA to the folder of the shared data")
        return folder / name

    return find


@pytest.fixture(scope="session", autouse=True)
def own_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Runs are signed by a key of the tests, not by that of the user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


# --- real photographs in tiles, and how pictures change on the web ---

_TILE = 128
Damage = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@pytest.fixture(scope="session")
def tiles() -> np.ndarray:
    """Different pieces of real photographs: (N, 128, 128, 3) uint8, N ≥ 250; no two overlap.

    Plain sky and skin are left out by the rule of the check itself, which does not compare such images.
    """
    from tellapart.checks._registration import has_structure
    from tellapart.data.sample_photos import PHOTOGRAPHS

    found: list[np.ndarray] = []
    scenes = set()
    for photograph in PHOTOGRAPHS:
        # the other picture of a stereo pair shows the same, and pieces of a brick wall are alike, as the check rightly reports
        if photograph.scene in scenes or "brick" in photograph.file:
            continue
        scenes.add(photograph.scene)
        with Image.open(photograph.path) as image:
            pixels = np.asarray(image.convert("RGB"))
        rows, columns = (side // _TILE for side in pixels.shape[:2])
        cut = pixels[: rows * _TILE, : columns * _TILE].reshape(rows, _TILE, columns, _TILE, 3).swapaxes(1, 2)
        found.append(cut.reshape(-1, _TILE, _TILE, 3))
    every = np.concatenate(found)
    gray = [np.asarray(Image.fromarray(tile).resize((64, 64), Image.Resampling.BICUBIC).convert("L")) for tile in every]
    return every[has_structure(np.stack(gray))]


def saved(pixels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Through JPEG of quality 50 to 95."""
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "JPEG", quality=int(draw.integers(50, 96)))
    return np.asarray(Image.open(target).convert("RGB"))


def halved(pixels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """At half its size."""
    del draw
    image = Image.fromarray(pixels)
    return np.asarray(image.resize((image.width // 2, image.height // 2), Image.Resampling.BILINEAR))


def cropped(pixels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Without 5 % of each side, at a random place."""
    height, width = (round(0.95 * side) for side in pixels.shape[:2])
    top, left = draw.integers(pixels.shape[0] - height + 1), draw.integers(pixels.shape[1] - width + 1)
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def mirrored(pixels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Left-right mirrored, and saved again."""
    return saved(np.ascontiguousarray(pixels[:, ::-1]), draw)


DAMAGES: dict[str, Damage] = {"saved": saved, "halved": halved, "cropped": cropped, "mirrored": mirrored}


@pytest.fixture(scope="session")
def damages() -> dict[str, Damage]:
    """Changes that a picture goes through on the web, by name."""
    return DAMAGES


# --- comparisons with reference implementations ---

_LINES = pytest.StashKey[list[str]]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print all comparisons if only tests of metrics were requested."""
    lines = config.stash.get(_LINES, [])
    if lines and all("metrics" in argument for argument in config.args):
        terminalreporter.section("our numbers beside references")
        terminalreporter.write_line("\n".join(lines))


@pytest.fixture
def beside(request: pytest.FixtureRequest) -> Callable[..., None]:
    """`beside("AUROC, scikit-learn", ours, theirs)`: print both, fail if they differ by more than 1e-6 (or `within`)."""

    def compare(name: str, ours: object, theirs: object, within: float = 1e-6) -> None:
        left, right = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
        assert left.shape == right.shape, name
        gap = float(np.abs(left - right).max(initial=0.0))
        shown = (np.array2string(of, precision=9, threshold=6, edgeitems=2) for of in (left, right))
        line = "{:<58} ours {}   reference {}   apart {:.1e}".format(name, *shown, gap)
        request.config.stash.setdefault(_LINES, []).append(line)
        assert gap <= within, f"{name}: {left} is not {right}"

    return compare


# --- run folders in the format of `runs.store`; nothing is trained ---

SIZES = {"train": 120, "valid": 60, "test": 100}


def answers(split: str, right: int | np.ndarray, classes: tuple[str, ...], groups: int = 0) -> Predictions:
    """Predictions for the whole split, of which the first `right` (or those of the mask) are right."""
    n = SIZES[split]
    labels = np.arange(n) % len(classes)
    mask = np.arange(n) < right if isinstance(right, int) else right
    given = np.where(mask, labels, (labels + 1) % len(classes))
    proba = np.full((n, len(classes)), 0.4 / len(classes), dtype=np.float32)
    proba[np.arange(n), given] += 0.6
    ids = np.array([f"{split}{i}" for i in range(n)], dtype=object)
    names = np.array([f"scene{i % groups}" for i in range(n)], dtype=object) if groups else None
    return Predictions(ids, proba, labels, classes, groups=names)


@pytest.fixture
def write_run(tmp_path: Path) -> Callable[..., Run]:
    """Write a finished run: `write_run("svm", valid=50, test=80)`; without `test` the test part stays closed."""

    def write(
        name: str,
        *,
        valid: int | np.ndarray = 40,
        test: int | np.ndarray | None = None,
        family: str | None = None,
        classes: tuple[str, ...] = ("real", "fake"),
        seed: int = 0,
        groups: int = 0,
        session: str = "one",
        data: dict[str, Any] | None = None,
        cost: dict[str, Any] | None = None,
    ) -> Run:
        folder = tmp_path / "runs" / f"{name}-{seed:04x}"
        (folder / "predictions").mkdir(parents=True)
        recipe = {"classifier": {"family": family or name}, "seed": seed}
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
        write_json(folder / "environment.json", {"device": "cpu"})
        positive = "fake" if "fake" in classes else None
        share = {split: {c: n // len(classes) for c in classes} for split, n in SIZES.items()}
        content = {"recipe_name": name, "fingerprint": "d474", "split_fingerprint": "5911", "root": "photos", "name": "photos"}
        content |= {"layout": "one folder per class", "classes": list(classes), "positive": positive}
        write_json(
            folder / "data.json", content | {"counts": share, "problems": [], "duplicates": dict(NO_TWINS)} | (data or {})
        )
        scores: dict[str, Any] = {}
        for split, right in (("train", 100), ("valid", valid)):
            predictions = answers(split, right, classes, groups)
            predictions.to_parquet(folder / "predictions" / f"{split}.parquet")
            scores[split] = scores_to_dict(score_all(predictions, positive))
        spent = {"fit_seconds": 12.5, "images_per_second": 900.0, "parameters": 62_006, "pretrained": "no", "bytes": 10}
        write_json(folder / "scores.json", scores | {"cost": spent | {"notes": []} | (cost or {})})
        run = mark_done(folder)
        if test is not None:
            open_test(run, test, groups, session)
        return run

    return write


def open_test(run: Run, right: int | np.ndarray, groups: int = 0, session: str = "one") -> None:
    """One opening of the test part, entered in the ledger."""
    folder = next_evaluation(run)
    predictions = answers("test", right, run.classes, groups)
    predictions.to_parquet(folder / "predictions" / "test.parquet")
    scores = scores_to_dict(score_all(predictions, run.positive))
    content = {"test": scores, "cost": {"images_per_second": 1234.5}, "opened": "2026-11-03T10:05:00Z"}
    write_json(folder / "scores.json", content)
    (folder / "done").write_text("", encoding="utf-8")
    ledger.record(run.runs, run.id, run.data["fingerprint"], len(predictions), "compare", session)


NO_TWINS = {"images": 0, "across_splits": 0, "across_classes": 0, "examples": []}


@pytest.fixture
def reopen() -> Callable[..., None]:
    """Open the test part of a run once more: `reopen(run, 90, session="two")`."""
    return open_test


@pytest.fixture
def made() -> Callable[..., Predictions]:
    """`made(seed, n, classes)`: random predictions, right about half the time; `coarse` makes ties."""

    def make(seed: int, n: int, classes: int, *, coarse: bool = False, groups: int = 0) -> Predictions:
        rng = np.random.default_rng(seed)
        labels = rng.integers(classes, size=n)
        weights = rng.integers(1, 5, size=(n, classes)) if coarse else rng.random((n, classes)) + 0.01
        weights = weights + (rng.random(n) < 0.5)[:, None] * 2 * np.eye(classes)[labels]
        proba = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
        ids = np.array([f"image{i}" for i in range(n)], dtype=object)
        names = np.array([f"scene{g}" for g in rng.integers(groups, size=n)], dtype=object) if groups else None
        return Predictions(ids, proba, labels, tuple(f"class{c}" for c in range(classes)), groups=names)

    return make
