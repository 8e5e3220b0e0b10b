"""The JSON API: it returns the predictions of the run, and errors as 4xx."""

from __future__ import annotations

import base64
import io
import json
import re
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tellapart.calibration.thresholds import UNSURE
from tellapart.exporters.parity import LIMIT, golden_images
from tellapart.inference.predictor import load_predictor
from tellapart.runs.store import Run

from .conftest import SIDE, encoded, form, noise


@pytest.mark.parametrize("name", ["linear", "net", "calibrated"])
def test_http_returns_the_predictions_of_the_run(client: TestClient, runs: dict[str, Run], settings: Any, name: str) -> None:
    """Parity: the same golden images over HTTP, one by one and as a batch, and predicted directly with torch."""
    run = runs[name]
    files = [encoded(pixels) for pixels in golden_images()]
    direct = load_predictor(run, settings, "torch").predict_batch(files)
    assert len(direct.rows) == len(files)
    batch = client.post("/api/predict/batch", params={"run": run.id}, **form(*files)).json()
    assert batch["succeeded"] == len(files) and batch["failed"] == 0 and batch["run"] == run.id
    for file, proba, one in zip(files, direct.proba, batch["results"], strict=True):
        single = client.post("/api/predict", params={"run": run.id}, content=file, headers={"content-type": "image/png"}).json()
        for reply in (one, single):
            probabilities = [reply["probabilities"][c] for c in run.classes]
            assert np.abs(np.array(probabilities) - proba).max() <= LIMIT
            assert reply["predicted"] == run.classes[int(proba.argmax())]


def test_a_calibrated_run_decides_by_its_own_rule(client: TestClient, runs: dict[str, Run], settings: Any) -> None:
    run = runs["calibrated"]
    files = [encoded(noise(i, False) // 2 + noise(i, True) // 3) for i in range(6)] + [encoded(noise(9, True))]
    proba = load_predictor(run, settings, "torch").predict_batch(files).proba
    from tellapart.inference.decision import decision

    wanted = decision(run).decide(proba)
    found = client.post("/api/predict/batch", params={"run": run.id}, **form(*files)).json()["results"]
    assert [one["decision"] for one in found] == wanted.names.tolist()
    for one, answer in zip(found, wanted.predicted, strict=True):
        assert (one["confidence"] == "unsure") == (answer == UNSURE)


def test_confidence_is_based_on_validation_accuracy(client: TestClient, runs: dict[str, Run]) -> None:
    said = client.post("/api/predict", **form(encoded(noise(3, True)))).json()
    valid = runs["linear"].predictions("valid")
    assert valid is not None
    accuracy = said["validation_accuracy"]
    assert accuracy["n"] == min(50, len(valid))
    if accuracy["n"] == len(valid):
        assert accuracy["value"] == pytest.approx((valid.predicted == valid.labels).mean())
    assert said["summary"].startswith(said["decision"])
    assert said["confidence"] in ("sure", "fairly sure", "not sure")


def test_one_bad_picture_of_several_is_named(client: TestClient) -> None:
    good, truncated = encoded(noise(1, True)), encoded(noise(2, True, 64), "jpeg")[:900]
    said = client.post("/api/predict/batch", **form(good, b"no picture", truncated, b"", good)).json()
    assert said["succeeded"] == 2 and said["failed"] == 3
    assert [("error" in one) for one in said["results"]] == [False, True, True, True, False]
    assert "not an image" in said["results"][1]["error"] and said["results"][1]["error"].startswith("1.png")
    assert said["results"][0]["probabilities"] == said["results"][4]["probabilities"]


def test_a_map_is_that_of_explain(client: TestClient, runs: dict[str, Run], home: Any, settings: Any) -> None:
    from tellapart.workflows.explain import explain

    path = home / "photos" / "real" / "03.png"
    ((wanted,)) = explain(runs["net"], [path], settings=settings)
    params = {"run": runs["net"].id, "format": "json"}
    said = client.post("/api/explain", params=params, **form(path.read_bytes())).json()
    assert (said["method"], said["class"], said["height"], said["width"]) == ("grad_cam", wanted.predicted, SIDE, SIDE)
    values = np.asarray(Image.open(io.BytesIO(base64.b64decode(said["map_png"]))))
    np.testing.assert_allclose(values, 255 * wanted.heatmap.values, atol=1)
    picture = client.post("/api/explain", params={"run": runs["net"].id}, **form(path.read_bytes()))
    assert picture.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(picture.content)).size == (SIDE, SIDE)


def test_any_family_is_explained_for_any_class(client: TestClient, runs: dict[str, Run]) -> None:
    params = {"run": runs["linear"].id, "class_name": "edited", "format": "json"}
    said = client.post("/api/explain", params=params, **form(encoded(noise(1, False)))).json()
    assert (said["method"], said["class"]) == ("occlusion", "edited")
    wrong = client.post("/api/explain", params=params | {"class_name": "edit"}, **form(encoded(noise(1, False))))
    assert wrong.status_code == 422 and "did you mean 'edited'" in wrong.json()["error"]
    wrong = client.post("/api/explain", params=params | {"method": "../x"}, **form(encoded(noise(1, False))))
    assert wrong.status_code == 422 and "unknown" in wrong.json()["error"]
    wrong = client.post("/api/explain", params=params | {"method": "grad-cam"}, **form(encoded(noise(1, False))))
    assert wrong.status_code == 422 and "is not a network" in wrong.json()["error"]


def test_stability_and_metadata_are_optional(client: TestClient) -> None:
    exif = Image.Exif()
    exif[0x0131] = "Painter <script> 9"
    file = encoded(noise(1, True, 40), "jpeg", quality=77, exif=exif)
    plain = client.post("/api/predict", **form(file)).json()
    assert "metadata" not in plain and "stability" not in plain
    said = client.post("/api/predict", params={"metadata": True, "stability": True}, **form(file)).json()
    entries = {item["name"]: item["value"] for item in said["metadata"]}
    assert entries["format"] == "JPEG, RGB" and entries["JPEG quality"].startswith("about 77 of 100")
    assert entries["software"] == "Painter <script> 9" and entries["EXIF"] == "1 entries"
    stability = said["stability"]
    assert set(stability) == {"unchanged", "resaved", "stable", "lowest", "highest", "class", "versions"}
    versions = stability["versions"]
    assert stability["resaved"] == 4 and [one["version"] for one in versions][:2] == ["as is", "JPEG 90"]
    assert stability["unchanged"] == sum(one["decision"] == versions[0]["decision"] for one in versions[1:])
    assert versions[0]["probability"] == pytest.approx(said["probability"], abs=1e-5)


def test_runs_health_version_and_metrics(client: TestClient, runs: dict[str, Run]) -> None:
    listed = client.get("/api/runs").json()
    assert [one["id"] for one in listed] == [runs[name].id for name in ("linear", "net", "calibrated")]
    assert listed[0]["valid_accuracy"]["value"] == pytest.approx(runs["linear"].scores("valid")["accuracy"].value)
    assert [one["has_decision_rule"] for one in listed] == [False, False, True]
    assert client.get("/health").json() == {"status": "ok", "runs": 3, "waiting": 0}
    assert client.get("/version").json()["runs"] == [one["id"] for one in listed]

    def count(name: str) -> float:
        text = client.get("/metrics").text
        for line in text.splitlines():
            assert re.fullmatch(r"# (HELP|TYPE) \w+ .+|\w+(\{\w+=\"[^\"]*\"(,\w+=\"[^\"]*\")*\})? [-+.e\d]+", line), line
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))

    route = 'tellapart_requests_total{method="POST",route="/api/predict",status="200"}'
    images = f'tellapart_images_total{{outcome="answered",run="{runs["linear"].id}"}}'
    before, answered = count(route), count(images)
    client.post("/api/predict", **form(encoded(noise(1, True))))
    assert (count(route), count(images)) == (before + 1, answered + 1)
    assert count('tellapart_request_seconds_bucket{le="+Inf",route="/api/predict"}') >= before + 1


def test_the_leaderboard_is_that_of_the_command(client: TestClient, runs: dict[str, Run]) -> None:
    from tellapart.leaderboards.leaderboard import build

    (board,) = client.get("/api/leaderboard").json()["leaderboards"]
    wanted = build(list(runs.values())).to_dict()
    assert board == json.loads(json.dumps(wanted))


def test_openapi_describes_every_endpoint_and_validates_answers(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    paths = {
        *("/health", "/version", "/metrics", "/api/runs", "/api/leaderboard"),
        *("/api/predict", "/api/predict/batch", "/api/explain"),
    }  # fmt: skip
    assert set(document["paths"]) == paths
    for path in ("/api/predict", "/api/predict/batch", "/api/explain"):
        body = document["paths"][path]["post"]["requestBody"]["content"]
        assert set(body) == {"multipart/form-data", "image/*"}
        assert {"400", "401", "413", "415", "422", "429", "503"} <= set(document["paths"][path]["post"]["responses"])
    assert client.get("/docs").status_code == 404  # the framework's own loads scripts from elsewhere
    page = client.get("/api", headers={"accept": "text/html"}).text
    assert all(path in page for path in paths)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ({"content": b"x", "headers": {"content-type": "text/plain"}}, 415, "expected an image"),
        ({"content": b"", "headers": {"content-type": "image/png"}}, 400, "empty"),
        ({"content": b"GIF89a", "headers": {"content-type": "image/png"}}, 415, "not an image"),
        ({"content": b"%!PS-Adobe-3.0 EPSF-3.0\n", "headers": {"content-type": "image/png"}}, 415, "not an image"),
        ({"content": b"--x\r\nno form", "headers": {"content-type": "multipart/form-data; boundary=x"}}, 400, "form"),
        ({"content": b"", "headers": {"content-type": "multipart/form-data"}}, 400, "boundary"),
        (form(), 415, "expected an image"),
        ({"files": [("other", ("a.png", b"x"))]}, 400, "no image"),
        (form(b"x", b"x"), 413, "2 images; at most 1"),
        (form(encoded(noise(1, True, 64), "jpeg")[:700]), 422, "truncated"),
        (form(encoded(np.zeros((600, 600, 3), np.uint8))), 413, "megapixels"),
        (form(bytes(1_200_000)), 413, "larger than 1 MB"),
        ({**form(encoded(noise(1, True))), "params": {"run": "../../etc"}}, 404, "unknown run"),
        ({**form(encoded(noise(1, True))), "params": {"metadata": "perhaps"}}, 422, "metadata"),
    ],
)  # fmt: skip
def test_errors_name_what_is_wrong(client: TestClient, arguments: dict[str, Any], status: int, message: str) -> None:
    reply = client.post("/api/predict", **arguments)
    assert reply.status_code == status, reply.text
    assert message in reply.json()["error"]
    assert client.get("/health").status_code == 200


def test_unknown_paths_and_methods(client: TestClient) -> None:
    assert client.get("/api/predict").status_code == 405
    assert client.get("/api/nothing").json()["error"] == "not found"
    assert client.delete("/").status_code == 405
