"""Two tiny runs that were really trained, and a client of an application that answers with them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tellapart.inference.context import Settings
from tellapart.runs.store import Run
from tellapart.server import service
from tellapart.server.app import create_app
from tellapart.server.explanations import _TrainingImages
from tellapart.server.settings import ServerSettings
from tellapart.workflows.calibrate import calibrate
from tellapart.workflows.train import train

SIDE = 16
LIMITS = {"max_bytes": 1_000_000, "max_pixels": 250_000, "rate": 0, "timeout": 240.0}


def noise(seed: int, bright: bool, side: int = SIDE) -> np.ndarray:
    """(side, side, 3) uint8, dark or bright."""
    return (np.random.default_rng(seed).integers(0, 80, (side, side, 3)) + 150 * bright).astype(np.uint8)


def encoded(pixels: np.ndarray, kind: str = "png", **options: Any) -> bytes:
    """Pixels as a file."""
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, kind, **options)
    return target.getvalue()


@pytest.fixture(scope="session", autouse=True)
def patience() -> Iterator[None]:
    """A request waits for what is still loading, on a busy machine too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "_LOADING", 600.0)
        patch.setattr(_TrainingImages.get, "__defaults__", (600.0,))
        yield


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 120 pictures, in two classes told apart by brightness."""
    top = tmp_path_factory.mktemp("serve")
    for number, name in enumerate(("edited", "real")):
        (top / "photos" / name).mkdir(parents=True)
        for i in range(60):
            (top / "photos" / name / f"{i:02}.png").write_bytes(encoded(noise(1000 * number + i, bool(number))))
    return top


@pytest.fixture(scope="session")
def settings(home: Path) -> Settings:
    """Where the runs are."""
    return Settings(home / "runs", "cpu")


@pytest.fixture(scope="session")
def runs(home: Path, settings: Settings) -> dict[str, Run]:
    """A linear classifier, a calibrated one that may be unsure, a small network, the metadata baseline."""
    net = ["train.epochs=2", "classifier.stages=[{widths: [8]}, {widths: [8], pool: 1}]", "augment=[]"]
    found = {"linear": train(home / "photos", "spectrum-linear", settings=settings)}
    found["net"] = train(home / "photos", "cnn-small", overrides=net, settings=settings)
    found["metadata"] = train(home / "photos", "metadata", settings=settings)
    found["calibrated"] = calibrate(found["linear"], band=(0.3, 0.7), settings=settings)
    return found


@pytest.fixture(scope="session")
def application(runs: dict[str, Run], settings: Settings) -> Any:
    """Answers with three of them."""
    return create_app([runs["linear"], runs["net"], runs["calibrated"]], ServerSettings(settings=settings, **LIMITS))


@pytest.fixture(scope="session")
def client(application: Any) -> Iterator[TestClient]:
    """A client of it, on this machine."""
    with TestClient(application, base_url="http://127.0.0.1:8000") as made:
        yield made


@pytest.fixture
def other(runs: dict[str, Run], settings: Settings) -> Iterator[Callable[..., TestClient]]:
    """`other(token="x")`: a client of another application, of the linear run alone, with other options."""
    made = []

    def make(**options: Any) -> TestClient:
        app = create_app([runs["linear"]], ServerSettings(settings=settings, **{**LIMITS, **options}))
        made.append(TestClient(app, base_url="http://127.0.0.1:8000"))
        return made[-1].__enter__()

    yield make
    for one in made:
        one.__exit__()


def form(*contents: bytes, **fields: str) -> dict[str, Any]:
    """Arguments of `client.post`: a form with these pictures."""
    files = [("image", (f"{i}.png", content, "image/png")) for i, content in enumerate(contents)]
    return {"files": files, "data": fields}
