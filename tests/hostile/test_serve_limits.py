"""A served run under hostile uploads: sizes are bounded, every refusal is a sentence, and a stuck thread is told."""

from __future__ import annotations

import asyncio
import base64
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tellapart.inference.context import Settings
from tellapart.runs.store import Run
from tellapart.server import service as service_module
from tellapart.server.app import create_app
from tellapart.server.batching import Abandoned, BackgroundWorker, Stopwatch
from tellapart.server.explanations import MAX_SIDE
from tellapart.server.service import PredictionService
from tellapart.server.settings import ServerSettings
from tellapart.workflows.train import train


def encoded(image: Image.Image, kind: str = "png", **options: Any) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


SMALL = encoded(Image.new("RGB", (16, 16), (9, 200, 30)))
PNG = {"content-type": "image/png"}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(tmp_path_factory.mktemp("hostile") / "runs", "cpu")


@pytest.fixture(scope="module")
def run(settings: Settings) -> Run:
    photos = Path(settings.runs).parent / "photos"
    for number, name in enumerate(("edited", "real")):
        (photos / name).mkdir(parents=True)
        for i in range(20):
            pixels = np.random.default_rng(100 * number + i).integers(0, 80, (16, 16, 3)) + 150 * number
            Image.fromarray(pixels.astype(np.uint8)).save(photos / name / f"{i}.png")
    return train(photos, "spectrum-linear", settings=settings)


@pytest.fixture(scope="module")
def client(run: Run, settings: Settings) -> Iterator[TestClient]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service_module, "_LOADING", 600.0)
        app = create_app([run], ServerSettings(settings=settings, rate=0, timeout=240.0))
        with TestClient(app, base_url="http://127.0.0.1:8000") as made:
            yield made


def test_an_explanation_of_fifty_megapixels_has_a_bounded_size(client: TestClient) -> None:
    large = encoded(Image.new("RGB", (7_000, 7_000), (90, 60, 30)), compress_level=1)
    said = client.post("/api/explain", params={"format": "json"}, content=large, headers=PNG)
    assert said.status_code == 200, said.text
    assert (
        max(said.json()["height"], said.json()["width"]) == MAX_SIDE
        and said.json()["note"] == "the middle of the image, 1024 × 1024"
    )
    assert Image.open(io.BytesIO(base64.b64decode(said.json()["map_png"]))).size == (MAX_SIDE, MAX_SIDE)


def test_what_needs_too_much_memory_is_refused_by_its_header(client: TestClient) -> None:
    progressive = encoded(Image.new("RGB", (7_000, 7_000)), "jpeg", progressive=True, quality=10)
    reply = client.post("/api/predict", content=progressive, headers=PNG)
    assert reply.status_code == 413 and "decoding it takes 490 MB of memory, and the server has 400 MB" in reply.json()["error"]
    assert "--memory" in reply.json()["hint"]
    files = [("image", ("a.jpg", progressive)), ("image", ("b.png", SMALL))]
    said = client.post("/api/predict/batch", files=files).json()
    assert (said["succeeded"], said["failed"]) == (1, 1) and "490 MB" in said["results"][0]["error"]


def test_a_picture_of_too_much_work_is_refused_and_the_next_is_predicted(client: TestClient) -> None:
    whole = encoded(Image.new("RGB", (600, 600)), "jpeg", progressive=True, quality=10)
    many = whole[:-2] + whole[whole.rfind(b"\xff\xda") : -2] * 900 + b"\xff\xd9"
    reply = client.post("/api/predict", content=many, headers=PNG)
    assert reply.status_code in (415, 422) and "scans" in reply.json()["error"]
    assert client.post("/api/predict", content=SMALL, headers=PNG).status_code == 200


def test_a_batch_holds_one_large_picture_at_a_time(run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory that is reserved never exceeds the budget, however many pictures are sent."""
    large = encoded(Image.new("RGB", (3_000, 3_000)), compress_level=1)  # 36 MB each
    options = ServerSettings(settings=settings, rate=0, timeout=600.0, memory=100_000_000)
    monkeypatch.setattr(service_module, "_PATIENCE", 600.0)
    held: list[int] = []
    with TestClient(create_app([run], options), base_url="http://127.0.0.1:8000") as client:
        budget = client.app.state.service.decoders.large_budget  # type: ignore[attr-defined]
        wake = budget._wake
        monkeypatch.setattr(budget, "_wake", lambda: (wake(), held.append(budget.total - budget.free)))
        said = client.post("/api/predict/batch", files=[("image", (f"{i}.png", large)) for i in range(8)]).json()
    assert said["succeeded"] == 8 and max(held) <= budget.total < 3 * 36_000_000


def test_received_bytes_are_bounded_for_all_requests_together(run: Run, settings: Settings) -> None:
    app = create_app([run], ServerSettings(settings=settings, rate=0, timeout=240.0))
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        receiver = app.state.service.receiver
        receiver.take(receiver.free - 10)  # others are sending
        reply = client.post("/api/predict", content=SMALL, headers=PNG)
        assert reply.status_code == 503 and reply.headers["retry-after"]
        receiver.take(-1_000)
        assert client.post("/api/predict", content=SMALL, headers=PNG).status_code == 200
        assert receiver.free == 1_010


class Watch(Stopwatch):
    """A stopwatch that runs since the second 0 if the test says so, whatever its thread does."""

    working = False

    def seconds(self, now: float) -> float:
        return now if self.working else 0.0


def test_health_tells_which_thread_is_stuck(client: TestClient, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (model,) = client.app.state.service.models  # type: ignore[attr-defined]
    threads = ((model.batcher, "batch"), (model.work, "explanation"))
    for thread, _ in threads:
        monkeypatch.setattr(thread, "stopwatch", Watch())
    for thread, work in threads:
        thread.stopwatch.working = True
        monkeypatch.setattr(service_module, "_now", lambda: 240.0)  # the time limit of a request
        assert client.get("/health").json()["status"] == "ok"
        monkeypatch.setattr(service_module, "_now", lambda: 241.0)
        reply = client.get("/health")
        assert reply.status_code == 503 and "restart" in reply.json()["hint"]
        assert reply.json()["error"] == f"{run.id} has worked on one {work} for 241 s, longer than a request may take"
        thread.stopwatch.working = False
    assert client.get("/health").status_code == 200


def test_an_explanation_that_nobody_waits_for_ends_at_its_next_step() -> None:
    worker, entered, canceled, ended = BackgroundWorker("test"), threading.Event(), threading.Event(), []
    assert worker.stopwatch.seconds(1e12) == 0

    def work(step: Any) -> None:
        step()
        assert worker.stopwatch.seconds(1e12) > 0
        entered.set()
        assert canceled.wait(60)
        try:
            step()
        except Abandoned:
            ended.append("abandoned")
            raise

    async def leave() -> None:
        waiting = asyncio.create_task(worker.run(work))
        await asyncio.to_thread(entered.wait, 60)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        canceled.set()

    asyncio.run(leave())
    worker.close()
    assert ended == ["abandoned"] and worker.stopwatch.seconds(1e9) == 0


def test_explainers_call_their_step(client: TestClient) -> None:
    (model,) = client.app.state.service.models  # type: ignore[attr-defined]
    from tellapart.server.decoders import Picture

    picture, calls = Picture(np.zeros((32, 32, 3), np.uint8), ""), []

    def step() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise Abandoned

    with pytest.raises(Abandoned):
        model.explanations.heatmap(picture, None, "occlusion", step)
    assert len(calls) == 3


def test_no_process_is_left_when_the_application_ends(run: Run, settings: Settings) -> None:
    service = PredictionService([run], ServerSettings(settings=settings))
    pids = service.decoders.pids
    assert all(Path(f"/proc/{pid}").exists() for pid in pids)
    service.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
