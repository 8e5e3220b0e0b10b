"""Whether a face was found stands beside every prediction of a run that reads faces, and nowhere else."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tellapart.__main__ import main
from tellapart.inference.context import Settings
from tellapart.leaderboards.leaderboard import build
from tellapart.recipe.load import parse
from tellapart.reports import errors_section
from tellapart.reports.svg import FigureSheet
from tellapart.reports.thumbnails import ThumbnailCache
from tellapart.runs.store import Run
from tellapart.server.app import create_app
from tellapart.server.settings import ServerSettings
from tellapart.workflows.calibrate import calibrate
from tellapart.workflows.predict import predict_iter, predict_to_file
from tellapart.workflows.train import train


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty pictures of 100×100: the face of a photograph, and in every fourth a wall; light or dark."""
    spec = importlib.util.find_spec("skimage")
    assert spec is not None and spec.origin is not None
    home, folder = Path(spec.origin).parent / "data", tmp_path_factory.mktemp("faces")
    portrait = Image.open(home / "astronaut.png").convert("RGB").crop((150, 30, 310, 190)).resize((100, 100))
    wall = Image.open(home / "brick.png").convert("RGB").resize((100, 100))
    generator = np.random.default_rng(0)
    for number in range(40):
        pixels = np.asarray(wall if number % 8 in (6, 7) else portrait) * (0.7 + 0.3 * (number % 2))
        pixels = (pixels + generator.integers(0, 5, (100, 100, 3))).clip(0, 255).astype(np.uint8)
        path = folder / "photos" / ("dark", "light")[number % 2] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder


@pytest.fixture(scope="module", autouse=True)
def cache(top: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TELLAPART_CACHE", str(top / "cache"))
        yield


@pytest.fixture(scope="module")
def settings(top: Path) -> Settings:
    return Settings(runs=top / "runs", device="cpu")


@pytest.fixture(scope="module")
def run(top: Path, settings: Settings) -> Run:
    classifier = {"classifier": {"family": "linear", "C": [0.1]}, "features": {"pca": 4}}
    return train(
        top / "photos", parse({"inputs": {"size": 16, "mode": "rgb", "region": "face"}, **classifier}), settings=settings
    )


@pytest.fixture
def shots(top: Path) -> list[str]:
    """A face, a wall, a file that is no picture."""
    (top / "odd.png").write_bytes(b"no picture")
    return [str(top / "photos" / "dark" / name) for name in ("00.png", "06.png")] + [str(top / "odd.png")]


def test_each_prediction_says_it(run: Run, settings: Settings, shots: list[str]) -> None:
    for stability in (False, True):
        found = list(predict_iter(run, shots[:2], stability=stability, settings=settings))
        assert [one.face_found for one in found] == [True, False]
        assert [one.to_dict(run.classes)["face_found"] for one in found] == [True, False]


def test_a_run_on_a_run_says_it(run: Run, settings: Settings, shots: list[str]) -> None:
    found = predict_iter(calibrate(run, how="none", band=(0.3, 0.7), settings=settings), shots[:2], settings=settings)
    assert [one.face_found for one in found] == [True, False]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_each_file_has_the_column(run: Run, settings: Settings, shots: list[str], tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"out.{ending}"
    predict_to_file(run, shots, out, settings=settings)
    read = {"csv": pd.read_csv, "jsonl": lambda path: pd.read_json(path, lines=True), "parquet": pd.read_parquet}[ending]
    column = read(out)["face_found"]
    assert column[:2].tolist() == [True, False] and pd.isna(column[2])
    if ending == "csv":
        head = out.read_text("utf-8").splitlines()[0]
        assert head == "image,predicted,dark,light,face_found,error"


def test_a_run_on_whole_images_has_no_such_column(top: Path, settings: Settings, shots: list[str]) -> None:
    recipe = parse({"inputs": {"size": 8, "mode": "rgb"}, "classifier": {"family": "linear", "C": [0.1]}})
    whole = train(top / "photos", recipe, settings=settings)
    (one,) = predict_iter(whole, shots[:1], settings=settings)
    assert one.face_found is None and "face_found" not in one.to_dict(whole.classes)
    predict_to_file(whole, shots[:1], top / "whole.csv", settings=settings)
    assert "face_found" not in (top / "whole.csv").read_text("utf-8")


def test_what_is_printed(
    run: Run, shots: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(*options: str) -> str:
        monkeypatch.setattr(sys, "argv", ["tellapart", "predict", str(run.folder), *shots[:2], "-q", *options])
        with pytest.raises(SystemExit) as caught:
            main()
        assert not caught.value.code
        return capsys.readouterr().out

    lines = said().splitlines()
    assert (
        "no face found" not in lines[0] and lines[1].endswith("· no face found") and lines[2] == "1 of 2 images: no face found"
    )
    assert [line.split(",")[-1] for line in said("--csv").splitlines()] == ["face_found", "true", "false"]
    assert [one["face_found"] for one in json.loads(said("--json"))] == [True, False]


def test_the_report_scores_both_parts(run: Run) -> None:
    with ThumbnailCache(run.table()) as album:
        text = errors_section.render_section(run, build([run], "accuracy").rows[0], "k", album, FigureSheet(None))
    assert text is not None and 'data-slice="face found yes"' in text and 'data-slice="face found no"' in text


def test_a_server_says_it(run: Run, settings: Settings, shots: list[str]) -> None:
    with TestClient(create_app([run], ServerSettings(settings=settings)), base_url="http://127.0.0.1:8000") as client:
        for path, found in zip(shots[:2], (True, False), strict=True):
            files = {"image": ("x.png", Path(path).read_bytes(), "image/png")}
            assert client.post("/api/predict", files=files).json()["face_found"] is found
            page = client.post("/", files=files).text
            assert ("No face was found" in page) == (not found) and ("for the whole image" in page) == (not found)
