"""Empty, damaged and half-written files of the cache and of a resumable output are made again; a test split is opened once."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest

import tellapart as ta
from tellapart.data.cache import PixelCache
from tellapart.data.digest_store import DigestStore
from tellapart.inference import resumable_output
from tellapart.inference.context import Settings
from tellapart.recipe.schema import Inputs
from tellapart.runs import ledger
from tellapart.workflows import _experiment
from tellapart.workflows.synth import synth

INPUTS = Inputs(size=(8, 8), mode="rgb")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """48 small pictures in two classes."""
    from PIL import Image

    for number in range(48):
        folder = tmp_path / "data" / ("dark", "light")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 150, (32, 32, 3)) + 100 * (number % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number:02d}.png")
    return tmp_path / "data"


def _damaged(kind: str, path: Path) -> None:
    content = path.read_bytes()
    if kind == "another shape":
        np.save(path, np.zeros((3, 8, 8, 3), np.uint8))
    elif kind == "another type":
        np.save(path, np.zeros((48, 8, 8, 3), np.float32))
    elif kind == "another order":
        np.save(path, np.asfortranarray(np.zeros((48, 8, 8, 3), np.uint8)))
    else:
        path.write_bytes({"empty": b"", "header only": content[:40], "cut short": content[:-1], "noise": b"\0" * 500}[kind])


@pytest.mark.parametrize(
    "kind", ["empty", "header only", "cut short", "noise", "another shape", "another type", "another order"]
)
def test_a_damaged_array_of_the_cache_is_made_again(tmp_path: Path, photos: Path, kind: str) -> None:
    table, folder = ta.scan(photos), tmp_path / "cache"
    wanted = PixelCache(folder).images(table, INPUTS).get()
    (path,) = folder.glob("*.npy")
    _damaged(kind, path)
    np.testing.assert_array_equal(PixelCache(folder).images(table, INPUTS).get(), wanted)
    np.testing.assert_array_equal(np.load(path), wanted)


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0 and then noise" * 50, b"noise"])
def test_a_damaged_store_of_digests_is_made_again(tmp_path: Path, content: bytes) -> None:
    store = DigestStore(tmp_path)
    store.path.write_bytes(content)
    assert store.find([b"k" * 16]) == [None]
    store.add([(b"k" * 16, b"d" * 16)])
    assert store.find([b"k" * 16]) == [b"d" * 16]


@pytest.mark.parametrize("state", ["{}", "[]", "", "noise", "null", "1e999", "short", "negative", "no counts"])
def test_a_damaged_state_of_an_output_starts_over(tmp_path: Path, state: str) -> None:
    path = tmp_path / "out.csv.partial.json"
    whole = {"command": {}, "names": "00", "bytes": 4, "done": {"images": 1}}
    made = {"short": {**whole, "bytes": 5}, "negative": {**whole, "bytes": -1}, "no counts": {**whole, "done": {"images": "x"}}}
    path.write_text(json.dumps(made[state]) if state in made else state)
    assert resumable_output._read(path, 4) is None
    path.write_text(json.dumps(whole))
    read = resumable_output._read(path, 4)
    assert read is not None and read.done.images == 1


def _both(first, second) -> None:
    threads = [threading.Thread(target=work) for work in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_two_commands_at_once_open_a_test_split_once(tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second begins while the first predicts."""
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    settings = Settings(runs=tmp_path / "runs", device="cpu")
    run = ta.train(photos, "knn", settings=settings)
    experiments = [_experiment.Experiment(settings, photos) for _ in range(2)]
    predicting, second_began, real = threading.Event(), threading.Event(), _experiment.predict_timed

    def slow(*given):
        predicting.set()
        second_began.wait()
        return real(*given)

    monkeypatch.setattr(_experiment, "predict_timed", slow)

    def second() -> None:
        predicting.wait()
        threading.Timer(0.1, second_began.set).start()  # whatever the time: the lock is held until the first has finished
        experiments[1].open_test([run], "compare")

    _both(lambda: experiments[0].open_test([run], "compare"), second)
    assert ledger.times_opened(settings.runs, run.data["fingerprint"]) == 1
    assert [one.number for one in run.evaluations] == [1]


def test_two_synth_at_once_make_one_data_set(tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    synth(photos, tmp_path / "alone", kinds=["splice"])
    failures: list[Exception] = []

    def work() -> None:
        try:
            synth(photos, tmp_path / "both", kinds=["splice"])
        except Exception as error:
            failures.append(error)

    _both(work, work)
    assert not failures
    alone, both = (_content(tmp_path / name) for name in ("alone", "both"))
    assert alone == both


def _content(top: Path) -> dict[str, bytes]:
    return {path.relative_to(top).as_posix(): path.read_bytes() for path in top.rglob("*") if path.is_file()}
