"""The test part is sealed: with other labels and other pixels in it, every verb up to its opening stores the same numbers.

Two tables differ in their test rows alone. Whatever is trained, chosen, combined, calibrated or dealt into folds on them must
agree in every stored answer, score, weight and note. That the comparison can fail is tested too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import load_file

import tellapart as ta
from tellapart.inference.context import Settings
from tellapart.runs import ledger
from tellapart.runs.store import Run, list_runs
from tellapart.types import ImageTable, Predictions
from tellapart.workflows.calibrate import calibrate
from tellapart.workflows.combine import combine
from tellapart.workflows.compare import compare
from tellapart.workflows.kfold import kfold
from tellapart.workflows.train import train

PARTS = np.array(["train"] * 40 + ["valid"] * 20 + ["test"] * 12)
TEST = np.flatnonzero(PARTS == "test")
CNN = ("classifier.stages=[{widths: [4]}]", "train.epochs=3", "train.images=null", "train.keep_best=2", "inputs.size=12")
ROWS = st.sets(st.sampled_from(TEST.tolist()), min_size=1)
#: What may differ between two runs of the same work: clocks, and names that hold a digest of the data.
CLOCKS = ("seconds", "per_second", "started", "bytes", "fingerprint", "folder")
DIGEST, SECONDS = re.compile(r"-[0-9a-f]{8}\b"), re.compile(r"\d+\.\d+ s\b")


def table(folder: Path, garbled: Collection[int] = (), flipped: Collection[int] = (), seed: int = 1) -> ImageTable:
    """72 bitmaps of two classes that overlap; rows of `garbled` get other pixels, those of `flipped` the other label.

    Bitmaps of one size have files of one length, whatever they show.
    """
    rng, other = np.random.default_rng(0), np.random.default_rng(seed)
    labels = np.arange(len(PARTS)) % 2
    folder.mkdir()
    for row, label in enumerate(labels):
        pixels = (110 + 14 * label + rng.normal(0, 25, (12, 12, 3)) + rng.normal(0, 8)).clip(0, 255).astype(np.uint8)
        if row in garbled:
            pixels = other.integers(0, 256, pixels.shape, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{row:02d}.bmp")
    labels[list(flipped)] = 1 - labels[list(flipped)]
    lines = [f"{row:02d}.bmp,{('real', 'fake')[label]}" for row, label in enumerate(labels)]
    (folder / "images.csv").write_text("image,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
    found = ta.scan(folder / "images.csv")
    return found.with_split(PARTS[[int(name[:2]) for name in found.ids]])


def work(images: ImageTable, runs: Path) -> dict[str, Any]:
    """Everything that may be done before the opening, and all that it stored."""
    settings = Settings(runs=runs, device="cpu")
    for recipe in ("metadata", "knn", "spectrum-linear"):
        train(images, recipe, settings=settings)
    train(images, "cnn-small", overrides=CNN, settings=settings)
    members = ["knn", "spectrum", "cnn"]
    for how in ("mean", "rank", "weighted", {"greedy": {"bags": 2, "rounds": 5}}, "stack"):
        combine(members, how=how, settings=settings)
    combine([*members, "metadata"], how="vote", top=2, settings=settings)
    combine([*members, "metadata"], how="vote", between=(0.0, 0.99), settings=settings)
    combine(["cnn"], how="mean", checkpoints=True, settings=settings)
    calibrate("cnn", how="platt", fpr=0.2, unsure=0.8, settings=settings)
    ta.sweep(images, "knn", grid={"classifier.k": [1, 3, 5, 9]}, settings=settings)
    folded = [kfold(images, recipe, folds=2, settings=settings) for recipe in ("spectrum-linear", "knn")]
    combine(folded, how="stack", settings=settings)
    assert not (runs / "evaluations").exists() and not (runs / "ledger.jsonl").exists(), "nothing opened the test part"
    found: dict[str, list[Any]] = {}
    for path in runs.rglob("*"):
        if path.is_file():  # two runs of one recipe have one name without their digests
            found.setdefault(bare(path.relative_to(runs).as_posix()), []).append(stored(path))
    return {name: sorted(contents, key=repr) for name, contents in found.items()}


def bare(text: str) -> str:
    """Without digests of the data and without seconds."""
    return SECONDS.sub("", DIGEST.sub("", text))


def stored(path: Path) -> Any:
    """What a file says, less clocks and digests; None for what describes the data or the machine."""
    if path.name in ("data.json", "environment.json", "split.parquet", "card.md", ".lock", "done", "study.db"):
        return None
    if path.parent.name == "predictions":
        found = Predictions.from_parquet(path)
        assert not set(found.ids) & {f"{row:02d}.bmp" for row in TEST}, f"{path} holds answers to test rows"
        return found.ids.tolist(), found.labels.tolist(), found.proba.tobytes()
    if path.suffix == ".safetensors":
        return {name: (values.shape, values.tobytes()) for name, values in load_file(path).items()}
    if path.suffix == ".json":
        return plain(json.loads(path.read_text("utf-8")))
    if path.suffix == ".jsonl":
        return [plain(json.loads(line)) for line in path.read_text("utf-8").splitlines()]
    if path.suffix == ".csv":
        frame = pd.read_csv(path)
        return plain(frame.drop(columns=[c for c in frame if any(clock in str(c) for clock in CLOCKS)]).to_json())
    return bare(path.read_text("utf-8")) if path.suffix == ".yaml" else None


def plain(content: Any) -> Any:
    """JSON without clocks, digests taken out of names."""
    if isinstance(content, dict):
        return {k: plain(v) for k, v in content.items() if not any(clock in k for clock in CLOCKS)}
    if isinstance(content, list):
        return [plain(value) for value in content]
    return bare(content) if isinstance(content, str) else content


class Stored:
    """All that a folder of runs holds, by the name of the file. Hypothesis writes out dataclasses, and this is long."""

    def __init__(self, files: dict[str, Any]) -> None:
        self.files = files


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """What the verbs store with the test part as it is."""
    folder = tmp_path_factory.mktemp("untouched")
    return Stored(work(table(folder / "data"), folder / "runs"))


@examples(
    max_examples=4, deadline=None, derandomize=True, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow]
)
@given(ROWS, ROWS, st.integers(1, 9))
def test_nothing_before_the_opening_depends_on_the_test_part(untouched, tmp_path_factory, garbled, flipped, seed):
    folder = tmp_path_factory.mktemp("garbled")
    found = work(table(folder / "data", garbled, flipped, seed), folder / "runs")
    assert found.keys() == untouched.files.keys()
    changed = [name for name, content in untouched.files.items() if found[name] != content]
    assert not changed, "these files changed with the test part"


def test_what_is_compared_is_what_the_verbs_made(untouched):
    """Answers and weights of every kind are among the files, so that the test above is about something."""
    kinds = {name.partition("/")[2] for name in untouched.files}
    assert {
        "predictions/valid.parquet",
        "scores.json",
        "gain.json",
        "weights.safetensors",
        "log.jsonl",
        "decision.json",
    } <= kinds
    assert "predictions/oof.parquet" in kinds and any(name.startswith("sweeps/") for name in untouched.files)
    assert sum(name.endswith("predictions/valid.parquet") for name in untouched.files) >= 13


@pytest.mark.parametrize("part", ["train", "valid"])
def test_the_comparison_sees_a_single_label_of_the_other_parts(part, tmp_path):
    row = int(np.flatnonzero(PARTS == part)[3])
    answers = []
    for name, flipped in (("one", ()), ("two", (row,))):
        images = table(tmp_path / f"data-{name}", flipped=flipped)
        run = train(images, "knn", settings=Settings(runs=tmp_path / name, device="cpu"))
        answers.append([stored(run.folder / "predictions" / f"{part}.parquet"), stored(run.folder / "scores.json")])
    assert answers[0][0] != answers[1][0] and answers[0][1] != answers[1][1]


def test_compare_ranks_and_judges_by_validation_and_opens_once(tmp_path):
    """After the opening the test scores differ, and nothing else does."""
    boards = []
    for name, changed in (("one", ()), ("two", TEST)):
        images, runs = table(tmp_path / f"data-{name}", changed, changed[::2]), tmp_path / name
        boards.append(compare(images, ["knn", "spectrum-linear"], settings=Settings(runs=runs, device="cpu")))
        assert ledger.times_opened(runs, boards[-1].fingerprint) == 1
    one, two = boards
    assert {row.name: row.valid for row in one.rows} == {row.name: row.valid for row in two.rows}
    accuracies = [row.valid["accuracy"].value for row in two.rows]
    assert accuracies == sorted(accuracies, reverse=True), "ranked by validation, whatever test says"
    assert [row.late for row in one.rows] == [0, 0, 0]
    assert [row.test["accuracy"] for row in one.rows] != [row.test["accuracy"] for row in two.rows]


def test_a_run_made_after_the_opening_is_marked(tmp_path, monkeypatch):
    settings = Settings(runs=tmp_path / "runs", device="cpu")
    images = table(tmp_path / "data")
    compare(images, ["knn"], settings=settings)
    monkeypatch.setattr("tellapart.workflows._experiment.now", lambda: "2999-01-01T00:00:00Z")
    late = train(images, "spectrum-linear", settings=settings)
    rows = {row.run_id: row for row in ta.leaderboard(list_runs(tmp_path / "runs")).rows}
    assert rows[late.id].marks[-1] == "made after the test was opened once"
    assert sum(row.late for row in rows.values()) == 1 and isinstance(late, Run)
