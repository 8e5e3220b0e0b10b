"""The commands agree on which files can be read: data, check, train, predict, serve, explain."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from seeds import images, photograph

from tellapart.data.scan import scan
from tellapart.data.summary import summarize
from tellapart.errors import DataError, TellapartError
from tellapart.inference.context import Settings
from tellapart.runs.store import Run
from tellapart.server.app import create_app
from tellapart.server.settings import ServerSettings
from tellapart.workflows.check import check
from tellapart.workflows.explain import explain
from tellapart.workflows.predict import predict_iter
from tellapart.workflows.split import split_dataset
from tellapart.workflows.train import train

ROWS = 257  # the tag of a TIFF


def saved(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    photograph(size=(16, 16)).save(file, kind, **options)
    return file.getvalue()


def scans() -> bytes:
    content = images()["progressive.jpg"]
    return content[:-2] + content[content.rindex(b"\xff\xda") : -2] * 200 + content[-2:]


def half(name: str) -> bytes:
    content = images()[name]
    return content[: len(content) // 2] + bytes(len(content) // 2)


def lab() -> bytes:
    file = io.BytesIO()
    Image.new("LAB", (16, 16)).save(file, "TIFF")
    return file.getvalue()


def tall() -> bytes:
    """A TIFF that states a hundred times the rows that it holds."""
    content = bytearray(images()["tiff_lzw.tif"])
    start = struct.unpack_from("<I", content, 4)[0]
    for entry in range(start + 2, start + 2 + 12 * struct.unpack_from("<H", content, start)[0], 12):
        if struct.unpack_from("<H", content, entry)[0] == ROWS:
            struct.pack_into("<HII", content, entry + 2, 4, 1, 100 * photograph().height)
    return bytes(content)


#: Name → file, and whether it is an image.
BAD = {
    "cut.jpg": images()["baseline.jpg"][:-700], "zeros.png": half("rgb.png"), "empty.png": b"", "text.jpg": b"no image\n",
    "checksum.png": images()["palette.png"].replace(b"IDAT", b"IDAT\x01", 1)[:-1], "lab.tif": lab(), "scans.jpg": scans(),
    "tall.tif": tall(), "icon.png": saved("ICO"), "arithmetic.jpg": images()["arithmetic.jpg"],
}  # fmt: skip
GOOD = {name: images()[name] for name in ("deep.png", "cmyk.jpg", "animated.gif", "interlaced.png", "rgb.jp2", "fax.tif")}
#: What the header of a bad file tells; the others are half pictures.
HEADERS = {"empty.png", "text.jpg", "lab.tif", "icon.png"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty pictures in two classes, and the odd files among the real ones."""
    top = tmp_path_factory.mktemp("odd") / "photos"
    for name, bright in (("fake", 0), ("real", 150)):
        (top / name).mkdir(parents=True)
        for seed in range(20):
            pixels = np.random.default_rng(seed + bright).integers(0, 80, (16, 16, 3)) + bright
            Image.fromarray(pixels.astype(np.uint8)).save(top / name / f"{seed:02}.png")
    for name, content in (BAD | GOOD).items():
        (top / "real" / name).write_bytes(content)
    return top


@pytest.fixture(scope="module")
def run(photos: Path) -> Run:
    """A run of them, without those that cannot be read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TELLAPART_CACHE", str(photos.parent / "cache"))
        return train(photos, "spectrum-linear", settings=Settings(photos.parent / "runs", "cpu", skip_bad=True))


def bare(names: Iterable[str]) -> set[str]:
    """Names without folders."""
    return {str(name).rpartition("/")[2] for name in names}


def test_train_leaves_out_the_bad_ones(run: Run):
    assert bare(problem["where"] for problem in run.data["problems"]) == set(BAD)
    assert set(GOOD) <= bare(pd.read_parquet(run.folder / "split.parquet")["path"])


def test_train_names_them_without_skip_bad(photos: Path):
    with pytest.raises(DataError, match="empty"):
        train(photos, "spectrum-linear", settings=Settings(photos.parent / "others", "cpu"))


def test_data_names_those_that_the_header_tells_and_where_to_look_for_the_others(photos: Path):
    from rich.console import Console

    summary = summarize(scan(photos))
    named = bare(problem.where for problem in (*summary.problems, *summary.headers.unreadable))
    assert HEADERS <= named <= set(BAD)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(summary)
    assert "`tellapart check DATA --only files`" in console.export_text()


def test_check_names_them(photos: Path):
    report = check(photos, only=["files"])
    files = report.checks[0].result
    unreadable = report.table.ids[np.flatnonzero(files.scores == 1)]
    assert bare(unreadable) | bare(problem.where for problem in report.table.problems) == set(BAD)


def test_split_leaves_them_out_and_names_them(photos: Path):
    found = split_dataset(scan(photos))
    assert bare(problem.where for problem in found.table.problems) == set(BAD)
    assert not bare(found.table.paths) & set(BAD) and set(GOOD) <= bare(found.table.paths)
    assert found.to_dict()["left_out"]["by_class"]["real"] == len(BAD)


def test_predict_explain_and_serve_refuse_the_same(photos: Path, run: Run):
    settings = Settings(photos.parent / "runs", "cpu")
    predicted, explained, served = set(), set(), set()
    for name in BAD | GOOD:
        file = photos / "real" / name
        try:
            list(predict_iter(run, [file], settings=settings))
        except TellapartError:
            predicted.add(name)
        try:
            explain(run, [file], settings=settings)
        except TellapartError:
            explained.add(name)
    app = create_app([run], ServerSettings(settings=settings, rate=0, timeout=240.0))
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        for name, content in (BAD | GOOD).items():
            status = client.post("/api/predict", content=content, headers={"content-type": "image/png"}).status_code
            assert status == 200 or 400 <= status < 500, name
            served |= {name} if status != 200 else set()
    assert predicted == explained == served == set(BAD)
