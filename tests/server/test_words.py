"""Confidence, metadata, stored uploads, metrics."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image, PngImagePlugin

from tellapart.data.metadata import NAMES, metadata_features, read_metadata
from tellapart.errors import ImageError
from tellapart.metrics.intervals import wilson
from tellapart.runs.store import Run
from tellapart.server.confidence import Confidence, percent
from tellapart.server.metrics import Metrics
from tellapart.types import Predictions

from .conftest import encoded, form, noise


@pytest.fixture
def confidence(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Confidence]:
    def make(sure: np.ndarray, right: np.ndarray, groups: np.ndarray | None = None) -> Confidence:
        ids = np.array([str(i) for i in range(len(sure))], dtype=object)
        proba = np.stack([1 - sure, sure], axis=1).astype(np.float32)
        proba /= proba.sum(axis=1, keepdims=True)
        found = Predictions(ids, proba, np.where(right, 1, 0), ("real", "edited"), "x", groups)
        monkeypatch.setattr(Run, "predictions", lambda *_: found)
        monkeypatch.setattr(Run, "classes", ("real", "edited"))
        return Confidence(Run(Path("nowhere")))

    return make


def test_the_word_follows_validation_accuracy(confidence: Callable[..., Confidence]) -> None:
    sure = np.linspace(0.6, 0.999, 400)
    right = np.ones(400, dtype=bool)
    right[:300:3] = False
    rated = confidence(sure, right)
    surest = rated.assess(np.array([0.01, 0.99], np.float32))
    assert surest.accuracy is not None and surest.accuracy.n == 50  # fewer have at least this probability
    assert (surest.accuracy.low, surest.accuracy.high) == wilson(50, 50)
    assert surest.summary() == "edited, 99.0 %, sure"
    middle = rated.assess(np.array([0.3, 0.7], np.float32))
    n = int((sure >= 0.7 - 1e-6).sum())
    assert middle.accuracy is not None and middle.accuracy.n == pytest.approx(n, abs=1)
    assert middle.accuracy.value == pytest.approx(right[-middle.accuracy.n :].mean())
    assert middle.confidence == ("not sure" if middle.accuracy.low < 0.7 else "fairly sure")


def test_groups_widen_the_interval(confidence: Callable[..., Confidence]) -> None:
    right = np.arange(100) % 10 != 0
    alone = confidence(np.full(100, 0.9), right).accuracy(0.8)
    groups = np.array([f"scene {i % 10}" for i in range(100)], dtype=object)
    together = confidence(np.full(100, 0.9), right, groups).accuracy(0.8)
    assert alone is not None and together is not None and alone.value == together.value == pytest.approx(0.9)
    assert together.low < alone.low - 0.1


def test_without_validation_predictions_the_reason_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "predictions", lambda *_: None)
    monkeypatch.setattr(Run, "classes", ("real", "edited"))
    assessed = Confidence(Run(Path("nowhere"))).assess(np.array([0.04, 0.96], np.float32))
    assert assessed.accuracy is None and assessed.reason == "no accuracy on validation is known for such predictions"


def test_no_share_is_called_certain() -> None:
    assert percent(1.0) == "> 99.9 %" and percent(0.0) == "< 0.1 %" and percent(0.5) == "50 %" and percent(0.005) == "0.5 %"


@pytest.mark.parametrize("quality", [1, 10, 35, 50, 77, 90, 95, 100])
def test_the_quality_of_a_jpeg_is_the_one_it_was_saved_with(quality: int) -> None:
    clues = {clue.name: clue.value for clue in read_metadata(encoded(noise(1, True, 40), "jpeg", quality=quality))}
    assert clues["JPEG quality"].startswith(f"about {quality} of 100 (")


def test_traces_of_a_generator_are_notable() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "a cat\x00 on\na mat" + "!" * 300)
    text.add_text("Software", "Brush 2")
    clues = read_metadata(encoded(noise(1, True), pnginfo=text))
    notable = {clue.name: clue.value for clue in clues if clue.notable}
    assert notable["text of a generator"].startswith("parameters: a cat") and len(notable["text of a generator"]) < 140
    assert notable["software"] == "Brush 2"


def provenance(content: bytes) -> set[str]:
    """The names of the items that serve shows about the origin of a file; check has to agree about the credentials."""
    shown = {item.name for item in read_metadata(content)} & {"digital source type", "content credentials"}
    assert ("content credentials" in shown) == metadata_features(content)[NAMES.index("credentials")]
    return shown


def test_content_credentials_are_a_segment_not_a_word() -> None:
    talk = PngImagePlugin.PngInfo()
    talk.add_text("Comment", "a c2pa talk about trainedAlgorithmicMedia")
    assert provenance(encoded(noise(1, True), pnginfo=talk)) == set()
    plain = encoded(noise(1, True), "jpeg")
    assert provenance(plain + b"c2pa jumb trainedAlgorithmicMedia") == set()


def test_content_credentials_of_png_and_jpeg_are_shown() -> None:
    chunk = PngImagePlugin.PngInfo()
    chunk.add(b"caBX", b"\0\0\0\x18jumb c2pa")
    assert provenance(encoded(noise(1, True), pnginfo=chunk)) == {"content credentials"}
    plain = encoded(noise(1, True), "jpeg")
    box = b"JP\0\1\0\0\0\1" + b"\0\0\0\x18jumb c2pa trainedAlgorithmicMedia"
    segment = b"\xff\xeb" + (len(box) + 2).to_bytes(2, "big") + box
    assert provenance(plain[:2] + segment + plain[2:]) == {"content credentials", "digital source type"}
    xmp = b'<x:xmpmeta DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"/>'
    assert provenance(encoded(noise(1, True), "jpeg", xmp=xmp)) == {"digital source type"}


def test_exif_is_read_without_showing_where_it_was() -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0132] = "Maker", "Model 1", "2026:11:21 10:00:00"
    exif.get_ifd(0x8825)[1] = "N"
    clues = {clue.name: clue.value for clue in read_metadata(encoded(noise(1, True, 40), "jpeg", exif=exif))}
    assert clues["camera"] == "Maker Model 1" and clues["position"] == "present, not shown"
    with pytest.raises(ImageError):
        read_metadata(b"no image")


def test_uploads_are_stored_only_with_keep(other: Callable[..., TestClient], tmp_path: Path) -> None:
    picture = encoded(noise(1, True))
    files = [("image", ("../../up.png", picture, "image/png"))]
    assert other().post("/api/predict", files=files).json()["stored"] is False
    client = other(keep=tmp_path / "kept")
    for _ in range(2):
        said = client.post("/api/predict", files=files).json()
        assert said["stored"] is True
    kept = sorted(path.name for path in (tmp_path / "kept").iterdir())
    assert len(kept) == 2 and kept[1] == "predictions.jsonl" and kept[0].endswith(".png")
    assert (tmp_path / "kept" / kept[0]).read_bytes() == picture
    lines = [json.loads(line) for line in (tmp_path / "kept" / "predictions.jsonl").read_text("utf-8").splitlines()]
    assert [line["file"] for line in lines] == [kept[0]] * 2 and lines[0]["image"] == "up.png"
    assert lines[0]["probabilities"] == said["probabilities"]
    assert client.post("/api/predict", **form(b"no image")).status_code == 415
    assert len(list((tmp_path / "kept").iterdir())) == 2


def test_predictions_continue_when_the_disk_is_full(
    other: Callable[..., TestClient], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = other(keep=tmp_path / "kept")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tellapart.server.upload_log.write_bytes_atomically", full)
    reply = client.post("/api/predict", **form(encoded(noise(1, True))))
    assert reply.status_code == 200 and reply.json()["stored"] is False
    assert "the disk is full" in caplog.text


def test_times_fall_into_the_buckets_that_hold_them() -> None:
    metrics = Metrics()
    for seconds in (0.001, 0.005, 0.3, 99):
        metrics.request("GET", "/x", 200, seconds)
    metrics.request("GET", "/x", 503, 0.1)
    text = metrics.render({'a"b\n': 3}).decode()
    assert 'bucket{le="0.005",route="/x"} 2.0\n' in text and 'bucket{le="0.5",route="/x"} 4.0\n' in text
    assert 'bucket{le="+Inf",route="/x"} 5.0\n' in text and 'errors_total{method="GET",route="/x",status="503"} 1.0\n' in text
    assert 'tellapart_queue{run="a\\"b\\n"} 3.0\n' in text and "_created" not in text


def test_two_servers_in_one_process_count_apart() -> None:
    Metrics().batch("x", 3, 1)
    assert 'run="x"' not in Metrics().render({}).decode()
