"""A run folder is input: each hostile one is named and left out, the others are ranked, and no file outside is read."""

from __future__ import annotations

import functools
import json
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from odd_files import make_socket
from PIL import Image
from typer.testing import CliRunner

import tellapart as ta
from tellapart.cli.main import app
from tellapart.errors import DataError, RunError
from tellapart.inference.context import Settings, load_classifier
from tellapart.leaderboards.leaderboard import build, by_data
from tellapart.plain_data import read_json
from tellapart.reports.report import write_report
from tellapart.runs import origin
from tellapart.runs.store import Run, list_runs, open_parent, open_run, select_runs
from tellapart.workflows.calibrate import calibrate
from tellapart.workflows.explain import explain_views

Change = Callable[[Path], object]
_SECRET = (250, 1, 99)
_WIDE = 2_000_000  # squared, as float32: 16 TB


# --- one real run -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 small images of two classes."""
    folder = tmp_path_factory.mktemp("data") / "photos"
    draw = np.random.default_rng(0)
    for name, low in (("fake", 0), ("real", 60)):
        (folder / name).mkdir(parents=True)
        for row in range(30):
            Image.fromarray(draw.integers(low, low + 190, (12, 12, 3), dtype=np.uint8)).save(folder / name / f"{row}.png")
    return folder


@pytest.fixture(scope="module", autouse=True)
def _own_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        patch.setenv("TELLAPART_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def good(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of k nearest neighbors with a calibrated child, evaluated on test."""
    settings = Settings(tmp_path_factory.mktemp("good") / "runs", "cpu")
    board = ta.compare(photos, recipes=["knn"], settings=settings)
    return next(run for run in board.runs if run.family == "knn")


@pytest.fixture(scope="module")
def network(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small network, trained for one epoch."""
    settings = Settings(tmp_path_factory.mktemp("network") / "runs", "cpu")
    return ta.train(photos, "mlp", overrides=["train.epochs=1", "inputs.size=8"], settings=settings)


# --- hostile changes --------------------------------------------------------------------------------------------------


def _text(name: str, content: str | bytes) -> Change:
    """Replace a file."""
    return lambda folder: (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def _json(name: str, change: Callable[[Any], object]) -> Change:
    """Change the content of a JSON file in place."""

    def do(folder: Path) -> None:
        content = read_json(folder / name)
        change(content)
        (folder / name).write_text(json.dumps(content), encoding="utf-8")

    return do


def _set(name: str, field: str, value: Any) -> Change:
    """Set a field of a JSON file: `_set("data.json", "counts.train", -1)`."""

    def change(content: Any) -> None:
        *way, last = field.split(".")
        functools.reduce(lambda part, key: part[key], way, content)[last] = value

    return _json(name, change)


def _without(name: str, field: str) -> Change:
    """Remove a field of a JSON file."""
    return _json(name, lambda content: content.pop(field))


def _instead(name: str, make: Callable[[Path], object]) -> Change:
    """Put something else in the place of a file."""

    def do(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return do


def _table(name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Change:
    """Change a parquet file."""

    def do(folder: Path) -> None:
        change(pd.read_parquet(folder / name)).to_parquet(folder / name, index=False)

    return do


def _halved(name: str) -> Change:
    """Keep the first half of a file."""
    return lambda folder: (folder / name).write_bytes((content := (folder / name).read_bytes())[: len(content) // 2])


def _yaml_bomb() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return "\n".join(lines)


def _parquet_of_many_rows(path: Path) -> None:
    """Three million equal cells, which need only some bytes."""
    same = {"id": ["x"] * 3_000_000, "label": [0] * 3_000_000, "p.fake": [0.5] * 3_000_000, "p.real": [0.5] * 3_000_000}
    pd.DataFrame(same).to_parquet(path, index=False, compression="gzip")


def _folder_out(folder: Path) -> None:
    shutil.rmtree(folder / "predictions")
    (folder / "predictions").symlink_to("/etc")


def _member(make: Callable[[Path], object]) -> Change:
    """Put something in the place of the weights of the first member of an ensemble."""

    def do(folder: Path) -> None:
        (folder / "inner" / "members" / "0").mkdir(parents=True)
        make(folder / "inner" / "members" / "0" / "weights.safetensors")

    return do


VALID = "predictions/valid.parquet"
_OUT = "scores.json: is a link that leads out of the folder of runs"
_DEEP = "[" * 100_000 + "]" * 100_000
_MANY = [f"class{n}" for n in range(100_000)]
#: Name → (change, file and field that the message names).
KINDS: dict[str, tuple[Change, str]] = {
    "scores-empty-mapping": (_text("scores.json", "{}"), "scores.json: cost"),
    "scores-list": (_text("scores.json", "[]"), "scores.json: expected a mapping, found a list"),
    "scores-nothing": (_text("scores.json", ""), "scores.json: cannot be read as JSON"),
    "scores-half": (_halved("scores.json"), "scores.json: cannot be read as JSON"),
    "scores-huge-number": (_text("scores.json", '{"cost": {"parameters": 1e999}}'), "1e999 is not a finite number"),
    "scores-nan": (_text("scores.json", '{"valid": NaN}'), "NaN is not a finite number"),
    "scores-deep": (_text("scores.json", _DEEP), "scores.json: cannot be read as JSON (nested too deeply)"),
    "scores-binary": (_text("scores.json", b"\xff\xfe\x00\x01"), "scores.json: cannot be read as JSON"),
    "scores-long-integer": (_text("scores.json", f'{{"a": {"9" * 100_000}}}'), "scores.json: cannot be read as JSON"),
    "scores-beyond-one": (_set("scores.json", "valid.accuracy.value", 7.0), "scores.json: valid.accuracy.value"),
    "scores-below-zero": (_set("scores.json", "valid.accuracy.low", -0.5), "scores.json: valid.accuracy.low"),
    "scores-text": (_set("scores.json", "valid.accuracy.value", "0.9"), "scores.json: valid.accuracy.value"),
    "scores-is-list": (_set("scores.json", "valid.accuracy", [1]), "scores.json: valid.accuracy: expected a mapping"),
    "scores-n-negative": (_set("scores.json", "valid.accuracy.n", -4), "scores.json: valid.accuracy.n"),
    "scores-direction": (_set("scores.json", "valid.accuracy.higher_is_better", "yes"), "higher_is_better"),
    "scores-part": (_set("scores.json", "valid", 3), "scores.json: valid: expected a mapping"),
    "cost-seconds": (_set("scores.json", "cost.fit_seconds", "long"), "scores.json: cost.fit_seconds"),
    "cost-parameters": (_set("scores.json", "cost.parameters", 1.5), "scores.json: cost.parameters"),
    "cost-huge": (_set("scores.json", "cost.parameters", 10**400), "scores.json: cost.parameters"),
    "cost-notes": (_set("scores.json", "cost.notes", "all"), "scores.json: cost.notes"),
    "data-empty": (_text("data.json", "{}"), "data.json: recipe_name"),
    "data-list": (_text("data.json", "[1]"), "data.json: expected a mapping"),
    "data-no-root": (_without("data.json", "root"), "data.json: root"),
    "data-root-number": (_set("data.json", "root", 3), "data.json: root"),
    "data-long-text": (_set("data.json", "name", "x" * 1_000_000), "data.json: name: expected a text of at most 100,000"),
    "data-100,000-classes": (_set("data.json", "classes", _MANY), "data.json: classes: expected from 1 to 32,768"),
    "data-no-classes": (_set("data.json", "classes", []), "data.json: classes"),
    "data-classes-text": (_set("data.json", "classes", "fake"), "data.json: classes: expected a list of texts"),
    "data-classes-twice": (_set("data.json", "classes", ["fake", "fake"]), "data.json: classes: expected each class once"),
    "data-class-long": (_set("data.json", "classes", ["fake", "r" * 5000]), "data.json: classes: expected names"),
    "data-positive": (_set("data.json", "positive", "nobody"), "data.json: positive"),
    "data-counts-negative": (_set("data.json", "counts.train.fake", -1), "data.json: counts.train.fake"),
    "data-counts-part": (_set("data.json", "counts.other", {}), "data.json: counts: expected splits"),
    "data-counts-class": (_set("data.json", "counts.train.nobody", 1), "data.json: counts.train"),
    "data-counts-list": (_set("data.json", "counts", [1, 2]), "data.json: counts: expected a mapping"),
    "data-problems": (_set("data.json", "problems", [{"kind": 1}]), "data.json: problems[0].kind"),
    "data-problem-field": (_set("data.json", "problems", [{"x": 1}]), "data.json: problems[0].x"),
    "data-notes": (_set("data.json", "notes", {"a": 1}), "data.json: notes"),
    "data-parents": (_set("data.json", "parents", [1]), "data.json: parents"),
    "data-duplicates": (_set("data.json", "duplicates", {}), "data.json: duplicates.images"),
    "data-examples": (_set("data.json", "duplicates.examples", [[1]]), "data.json: duplicates.examples"),
    "environment-list": (_text("environment.json", "[]"), "environment.json: expected a mapping"),
    "environment-device": (_set("environment.json", "device", None), "environment.json: device"),
    "environment-opened": (_set("environment.json", "opened_before", "many"), "environment.json: opened_before"),
    "recipe-tag": (_text("recipe.yaml", "!!python/object/apply:os.system [true]"), "recipe.yaml: cannot be read as YAML"),
    "recipe-bomb": (_text("recipe.yaml", _yaml_bomb()), "recipe.yaml: cannot be read as YAML (aliases are not read)"),
    "recipe-deep": (_text("recipe.yaml", "[" * 20_000), "recipe.yaml: cannot be read as YAML"),
    "recipe-large": (_text("recipe.yaml", "#" * 300_000), "recipe.yaml: is larger than"),
    "recipe-list": (_text("recipe.yaml", "[1, 2]"), "recipe.yaml: expected a mapping"),
    "recipe-family": (_text("recipe.yaml", "classifier: {family: 3}"), "recipe.yaml: classifier.family"),
    "recipe-size": (
        _text("recipe.yaml", "classifier: {family: knn}\ninputs: {size: [100000, 100000]}"), "recipe.yaml: inputs.size",
    ),
    "recipe-size-negative": (
        _text("recipe.yaml", "classifier: {family: knn}\ninputs: {size: -8}"), "recipe.yaml: inputs.size",
    ),
    "recipe-missing": (_instead("recipe.yaml", lambda path: None), "recipe.yaml: cannot be read"),
    "recipe-fifo": (_instead("recipe.yaml", os.mkfifo), "recipe.yaml: is a FIFO, not a regular file"),
    "recipe-folder": (_instead("recipe.yaml", Path.mkdir), "recipe.yaml: is a folder, not a regular file"),
    "scores-device": (_instead("scores.json", lambda path: path.symlink_to("/dev/zero")), _OUT),
    "data-link-loop": (
        _instead("data.json", lambda path: path.symlink_to(path.name)), "data.json: is a link that leads in a circle",
    ),
    "data-socket": (_instead("data.json", make_socket), "data.json: is a socket, not a regular file"),
    "done-fifo": (_instead("done", os.mkfifo), "done: is a FIFO, not a regular file"),
    "done-folder": (_instead("done", Path.mkdir), "done: is a folder, not a regular file"),
    "predictions-empty": (_text(VALID, b""), "valid.parquet: cannot be read"),
    "predictions-half": (_halved(VALID), "valid.parquet: cannot be read"),
    "predictions-device": (
        _instead(VALID, lambda path: path.symlink_to("/dev/zero")), "valid.parquet: is a link that leads out"
    ),
    "scores-link-out": (_instead("scores.json", lambda path: path.symlink_to("/etc/hostname")), _OUT),
    "predictions-folder-out": (_folder_out, "predictions: is a link that leads out of the folder of runs"),
    "member-fifo": (_member(os.mkfifo), "weights.safetensors: is a FIFO, not a regular file"),
    "member-half": (_member(lambda path: path.write_bytes(b"1234")), "weights.safetensors: cannot be read"),
    "predictions-fifo": (_instead(VALID, os.mkfifo), "valid.parquet: is a FIFO, not a regular file"),
    "predictions-columns": (_table(VALID, lambda f: f.drop(columns=list(f.columns[1:]))), "valid.parquet: column label"),
    "predictions-class": (_table(VALID, lambda f: f.rename(columns={"p.fake": "p.x"})), "valid.parquet: column p.fake"),
    "predictions-nan": (_table(VALID, lambda f: f.assign(**{"p.fake": np.float32("nan")})), "valid.parquet: cannot be read"),
    "predictions-sum": (_table(VALID, lambda f: f.assign(**{"p.fake": np.float32(7)})), "valid.parquet: cannot be read"),
    "predictions-negative": (
        _table(VALID, lambda f: f.assign(**{"p.fake": np.float32(-1), "p.real": np.float32(2)})), "at least 0",
    ),
    "predictions-labels": (_table(VALID, lambda f: f.assign(label=9)), "valid.parquet: label"),
    "predictions-text": (_table(VALID, lambda f: f.assign(label="one")), "valid.parquet: column label: expected int"),
    "predictions-ids": (_table(VALID, lambda f: f.assign(id="same")), "each id once"),
    "predictions-rows": (_instead(VALID, _parquet_of_many_rows), "at most as many rows as bytes"),
    "split-empty": (_text("split.parquet", b"PAR1"), "split.parquet: cannot be read"),
    "split-columns": (_table("split.parquet", lambda f: f.drop(columns="path")), "split.parquet: column path"),
    "split-labels": (_table("split.parquet", lambda f: f.assign(label=2)), "split.parquet: label"),
    "split-absolute": (_table("split.parquet", lambda f: f.assign(path="/etc/passwd")), "split.parquet: path"),
    "split-above": (_table("split.parquet", lambda f: f.assign(path="../x.png")), "split.parquet: path"),
    "split-archive": (_table("split.parquet", lambda f: f.assign(path="../../a.zip::x.png")), "split.parquet: path"),
    "weights-half": (_halved("weights.safetensors"), "weights.safetensors: cannot be read"),
    "weights-header": (
        _text("weights.safetensors", struct.pack("<Q", 1 << 40) + b"{}"), "weights.safetensors: cannot be read",
    ),
    "weights-fifo": (_instead("weights.safetensors", os.mkfifo), "weights.safetensors: is a FIFO"),
    "classifier-classes": (_text("classifier.json", '{"classes": ["a", "b"]}'), "classifier.json: classes"),
    "log-line": (_text("log.jsonl", '{"epoch": 1}\n{"epoch": "two"}\n'), "log.jsonl: line 2.epoch"),
    "log-nan": (_text("log.jsonl", '{"epoch": 1, "train_loss": NaN}\n'), "log.jsonl: cannot be read"),
    "gain": (_text("gain.json", '{"members": 3}'), "gain.json: members"),
    "effect": (_text("effect.json", '{"result": "better"}'), "effect.json: summary"),
    "gain-member": (_text("gain.json", '{"members": [{"member": 1}]}'), "gain.json: members[0].member"),
    "decision": (_text("decision.json", '{"classes": 3}'), "decision.json: not what tellapart writes"),
    "folds": (_text("kfold.json", "{}"), "kfold.json: each"),
}  # fmt: skip


@pytest.fixture(scope="module")
def besieged(good: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder with the good run, its baseline, and one hostile copy of it for each kind."""
    runs = tmp_path_factory.mktemp("besieged") / "runs"
    shutil.copytree(good.runs, runs)
    for kind, (change, _) in KINDS.items():
        shutil.copytree(good.folder, runs / kind)
        change(runs / kind)
    return runs


@pytest.fixture(scope="module")
def named(besieged: Path) -> dict[str, str]:
    """Messages of the runs that were left out, by kind."""
    damaged: list[RunError] = []
    found = list_runs(besieged, damaged=damaged)
    assert len(found) == 2, [run.id for run in found]
    return {kind: error.message for kind in KINDS for error in damaged if f"{os.sep}{kind}" in error.message}


def test_there_are_at_least_sixty_kinds() -> None:
    assert len(KINDS) >= 60


@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_run_is_named_with_file_and_field(kind: str, named: dict[str, str], besieged: Path) -> None:
    assert KINDS[kind][1] in named[kind]
    with pytest.raises(RunError) as caught:
        select_runs([kind], besieged)
    assert KINDS[kind][1] in caught.value.message
    assert caught.value.exit_code == 5


def test_the_good_runs_are_ranked_beside_them(good: Run, besieged: Path) -> None:
    result = CliRunner().invoke(app, ["leaderboard", "--runs", str(besieged)])
    assert result.exit_code == 0, result.output
    assert "knn" in result.stdout
    assert "metadata" in result.stdout
    assert all(kind in result.stderr for kind in KINDS)
    assert result.stderr.count("left out: ") == len(KINDS)
    (board,) = (build(group) for group in by_data(list_runs(besieged, damaged=[])).values())
    assert good.id in {run.id for run in board.runs}


def test_a_report_of_the_others_is_written(besieged: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["report", "--runs", str(besieged), "-o", str(tmp_path / "r.html")])
    assert result.exit_code == 0, result.output
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert page.count("<img") > 10


@pytest.mark.parametrize("content", ["{}", "[]", '{"run": 1e999}', "[" * 100_000, '{"found": [{"id": 3}]}'])
def test_damaged_results_beside_a_run_are_named_in_its_report(content: str, good: Run, tmp_path: Path) -> None:
    shutil.copytree(good.runs, tmp_path / "runs")
    results = ("robustness-valid/robustness.json", "bias-valid/bias.json", "nearest-test/nearest.json")
    for name in results:
        path = tmp_path / "runs" / "evaluations" / good.id / name
        path.parent.mkdir(parents=True)
        (path.parent / "done").write_text("", encoding="utf-8")
        path.write_text(content, encoding="utf-8")
    shutil.copytree(tmp_path / "runs" / "evaluations" / good.id / "nearest-test", path.parents[1] / "nearest-valid")
    result = CliRunner().invoke(app, ["report", "--runs", str(tmp_path / "runs"), "-o", str(tmp_path / "r.html")])
    assert result.exit_code == 0, result.output
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert page.count("<p>Left out: ") == len(results)
    assert all(Path(name).name in page for name in results)


def test_a_hostile_run_alone_is_an_error(good: Run, tmp_path: Path) -> None:
    shutil.copytree(good.folder, tmp_path / "runs" / "alone")
    KINDS["scores-list"][0](tmp_path / "runs" / "alone")
    result = CliRunner().invoke(app, ["leaderboard", "--runs", str(tmp_path / "runs")])
    assert isinstance(result.exception, RunError)
    assert "scores.json: expected a mapping, found a list" in result.exception.message


def test_the_pages_of_a_server_show_the_others(good: Run, besieged: Path) -> None:
    pytest.importorskip("fastapi")
    from starlette.testclient import TestClient

    from tellapart.server.app import create_app
    from tellapart.server.settings import ServerSettings

    served = open_run(besieged / good.id)
    server = create_app([served], ServerSettings(settings=Settings(besieged, "cpu")))
    with TestClient(server, base_url="http://127.0.0.1:8000") as web:
        assert good.id in web.get("/api/leaderboard").text
        assert web.get("/leaderboard", headers={"accept": "text/html"}).status_code == 200


def test_a_damaged_ledger_counts_one_too_many_and_stops_nothing(good: Run, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(good.runs, runs)
    before = build(list_runs(runs)).times_opened
    with (runs / "ledger.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"time": 3}\n{"n": 1e999}\n{"torn": \n')
    assert build(list_runs(runs)).times_opened == before + 2


# --- weights and graphs -----------------------------------------------------------------------------------------------


def test_weights_that_do_not_fit_the_recipe_are_refused_before_memory_is_allocated(network: Run, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "wide"
    shutil.copytree(network.folder, folder)
    content = read_json(folder / "net.json")
    (folder / "net.json").write_text(json.dumps(content | {"widths": [_WIDE, _WIDE]}), encoding="utf-8")
    with pytest.raises(RunError, match=r"weights\.safetensors: .*: expected .*, so it does not fit the recipe"):
        load_classifier(open_run(folder))


def test_weights_that_are_not_finite_are_refused(network: Run, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = tmp_path / "runs" / "nan"
    shutil.copytree(network.folder, folder)
    tensors = load_file(folder / "weights.safetensors")
    first = min(tensors)
    tensors[first] = np.full_like(tensors[first], np.nan)
    save_file(tensors, folder / "weights.safetensors")
    with pytest.raises(RunError, match="expected finite numbers, found NaN or infinity"):
        load_classifier(open_run(folder))


def test_a_foreign_graph_is_not_run(network: Run, photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    from tellapart.inference.onnx_model import ABOUT, CORE, cached_onnx

    runs = tmp_path / "runs"
    shutil.copytree(network.runs, runs)
    run, settings = open_run(network.id, runs), Settings(runs, "cpu")
    images = np.random.default_rng(1).integers(0, 255, (3, 12, 12, 3), dtype=np.uint8)
    right = cached_onnx(run, settings).run(images)
    path, folder = runs / "exports" / run.id / CORE, runs / "exports" / run.id
    stamp = path.stat().st_mtime_ns
    assert np.array_equal(cached_onnx(run, settings).run(images), right)
    assert path.stat().st_mtime_ns == stamp  # one's own graph is not exported again

    model = onnx.load_from_string(path.read_bytes())
    constant = onnx.numpy_helper.from_array(np.array([[9.0, -9.0]], np.float32), "always")
    model.graph.initializer.append(constant)
    model.graph.node.append(onnx.helper.make_node("Identity", ["always"], ["said"]))
    model.graph.output[0].name = "said"
    path.write_bytes(model.SerializeToString())
    assert np.array_equal(cached_onnx(run, settings).run(images), right)
    assert path.stat().st_mtime_ns != stamp

    about = read_json(folder / ABOUT)
    (folder / ABOUT).write_text(json.dumps(about | {"signature": "0" * 64}), encoding="utf-8")
    stamp = path.stat().st_mtime_ns
    assert np.array_equal(cached_onnx(run, settings).run(images), right)
    assert path.stat().st_mtime_ns != stamp


# --- images of a foreign run ------------------------------------------------------------------------------------------


@pytest.fixture
def foreign(good: Run, tmp_path: Path) -> Run:
    """The good run as a stranger would send it: its root names a private folder with images of the same names."""
    runs, secret = tmp_path / "runs", tmp_path / "private"
    shutil.copytree(good.runs, runs)
    for path in good.table().paths:
        (secret / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 12), _SECRET).save(secret / path)
    for one in (runs / good.id, next(run.folder for run in list_runs(runs) if run.id != good.id)):
        _set("data.json", "root", str(secret))(one)
    return open_run(good.id, runs)


def test_images_of_a_foreign_run_are_withheld_until_their_folder_is_named(foreign: Run, photos: Path, tmp_path: Path) -> None:
    write_report(list_runs(foreign.runs), tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<img" not in page
    assert f"the images of {foreign.id} are not read: it was not trained on this machine" in page
    assert "name their folder with <code>--data DIR</code>" in page
    arguments = ["report", "--runs", str(foreign.runs), "-o", str(tmp_path / "s.html"), "--data", str(photos)]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert (tmp_path / "s.html").read_text(encoding="utf-8").count("<img") > 10


def test_the_nearest_images_of_a_foreign_run_are_not_read(foreign: Run, photos: Path) -> None:
    asked = [next(photos.rglob("*.png"))]
    with pytest.raises(DataError, match="are not read: it was not trained on this machine") as caught:
        explain_views(foreign, asked, ["nearest"], settings=Settings(foreign.runs, "cpu"))
    assert caught.value.hint == "name their folder with --data DIR"
    (found,) = explain_views(foreign.id, asked, ["nearest"], settings=Settings(foreign.runs, "cpu", images=photos))
    assert found.nearest is not None


def test_evaluate_asks_for_the_data_of_a_foreign_run(good: Run, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(good.folder, tmp_path / "runs" / good.id)
    (tmp_path / "runs" / good.id / "signature").unlink()
    settings = Settings(tmp_path / "runs", "cpu")
    with pytest.raises(RunError, match="are not read: it was not trained on this machine") as caught:
        ta.evaluate(good.id, open_test=True, settings=settings)
    assert "pass their folder as DATA" in (caught.value.hint or "")
    assert len(ta.evaluate(good.id, photos, open_test=True, settings=settings).predictions)


def test_own_runs_move_and_are_renamed(good: Run, tmp_path: Path) -> None:
    shutil.copytree(good.folder, tmp_path / "elsewhere" / "renamed")
    assert open_run(tmp_path / "elsewhere" / "renamed").table().withheld == ""


def test_another_user_has_another_key(good: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other"))
    assert "was not trained on this machine" in good.table().withheld
    assert (tmp_path / "other" / "tellapart" / "key").stat().st_mode & 0o777 == 0o600


def test_without_a_place_for_a_key_nothing_is_signed(good: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "file"))
    assert origin.sign(b"a") == ""
    assert not origin.is_signed("", b"a")
    assert good.table().withheld


def test_changed_paths_are_no_longer_signed(good: Run, tmp_path: Path) -> None:
    shutil.copytree(good.folder, tmp_path / "runs" / "changed")
    _table("split.parquet", lambda frame: frame.assign(path=list(frame["path"])[::-1]))(tmp_path / "runs" / "changed")
    assert open_run(tmp_path / "runs" / "changed").table().withheld


def test_a_run_made_of_a_foreign_run_is_not_signed(foreign: Run, good: Run) -> None:
    made = calibrate(foreign, settings=Settings(foreign.runs, "cpu"))
    assert made.table().withheld
    own = calibrate(good, settings=Settings(good.runs, "cpu"))
    assert not own.table().withheld


def test_a_parent_lies_beside_its_child_or_was_trained_here(foreign: Run, good: Run, tmp_path: Path) -> None:
    assert open_parent(str(good.folder), tmp_path) == good
    with pytest.raises(RunError, match="was not trained here, and lies outside of"):
        open_parent(str(foreign.folder), tmp_path / "others")


_WATCHED = """
import os, sys
seen = []
sys.addaudithook(lambda event, args: seen.append(str(args[0])) if event == "open" else None)
from pathlib import Path
import tellapart as ta
from tellapart.inference.context import Settings
from tellapart.leaderboards.leaderboard import build, by_data
from tellapart.reports.report import write_report
from tellapart.runs.store import list_runs, open_run
from tellapart.server.app import create_app
from tellapart.server.settings import ServerSettings
from starlette.testclient import TestClient
runs, secret, out, first, second = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), sys.argv[4], sys.argv[5]
found = list_runs(runs, damaged=[])
boards = [build(group) for group in by_data(found).values()]
write_report(found, out / "report.html")
settings = ServerSettings(settings=Settings(runs, "cpu"), rate=0)
with TestClient(create_app([open_run(first, runs)], settings), base_url="http://127.0.0.1:8000") as web:
    for path in ("/leaderboard", f"/compare?a={first}&b={second}", f"/runs/{first}"):
        print(path, web.get(path, headers={"accept": "text/html"}).status_code)
    image = (out / "asked.png").read_bytes()
    for path in ("/api/predict", "/parts/nearest"):
        reply = web.post(path, files=[("image", ("a.png", image, "image/png"))], headers={"accept": "text/html"})
        print(path, reply.status_code)
assert any(name.endswith("scores.json") for name in seen)
print("OUTSIDE", sorted({name for name in seen if os.path.realpath(name).startswith(os.path.realpath(secret))}))
"""


def test_no_file_outside_is_opened(foreign: Run, good: Run, tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    secret, other = tmp_path / "private", next(run for run in list_runs(foreign.runs) if run.id != good.id)
    for path in list(secret.rglob("*.png"))[:10]:
        path.unlink()
        os.mkfifo(path)  # opening one for reading waits for ever, also where no hook sees it
    for kind in ("scores-list", "split-absolute", "split-above"):
        shutil.copytree(foreign.folder, foreign.runs / kind)
        KINDS[kind][0](foreign.runs / kind)
    Image.new("RGB", (12, 12), (1, 2, 3)).save(tmp_path / "asked.png")
    command = [sys.executable, "-c", _WATCHED, foreign.runs, secret, tmp_path, foreign.id, other.id]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "OUTSIDE []" in done.stdout
    assert "<img" not in (tmp_path / "report.html").read_text(encoding="utf-8")
