"""FIFOs, devices, sockets, folders, links in a circle and files that grow are named wherever a path is opened."""

from __future__ import annotations

import ast
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from odd_files import make_socket
from PIL import Image
from typer.testing import CliRunner

import tellapart as ta
from tellapart import regular_files
from tellapart.cli.main import app
from tellapart.data.archives import open_archive
from tellapart.data.layouts.parquet import open_parquet
from tellapart.data.reader import ImageReader
from tellapart.errors import DataError, ImageError
from tellapart.inference.context import Settings
from tellapart.inference.image_sources.base import FolderSource
from tellapart.plain_data import read_json, read_yaml
from tellapart.regular_files import IrregularFileError, open_file, read_bytes, read_text, require_regular
from tellapart.types import ImageTable

SRC = Path(__file__).parents[2] / "src" / "tellapart"


KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "FIFO": (os.mkfifo, "is a FIFO, not a regular file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "is a device, not a regular file"),
    "socket": (make_socket, "is a socket, not a regular file"),
    "folder": (Path.mkdir, "is a folder, not a regular file"),
    "circle": (lambda path: path.symlink_to(path.name), "is a link that leads in a circle"),
    "large": (lambda path: path.touch() or os.truncate(path, (8 << 30) + 1), "is larger than 8,192 MiB"),
}


@pytest.fixture(params=KINDS)
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """A path that is no regular file, or too large, and what is wrong with it."""
    make, reason = KINDS[request.param]
    path = tmp_path / "odd.png"
    make(path)
    return path, reason


def test_every_way_to_read_names_it(odd: tuple[Path, str]) -> None:
    path, reason = odd
    for read in (read_bytes, read_text, require_regular):
        with pytest.raises(IrregularFileError) as caught:
            read(path)
        assert caught.value.message == f"{path}: {reason}"
        assert isinstance(caught.value, OSError)
    if "larger" not in reason:
        with pytest.raises(IrregularFileError):
            open_file(path)
    for read_text_file in (read_json, read_yaml):
        with pytest.raises(ta.errors.RunError, match="is "):
            read_text_file(path)


def test_images_archives_and_tables_name_it(
    odd: tuple[Path, str], tmp_path: Path, make_table: Callable[..., ImageTable]
) -> None:
    path, reason = odd
    reason = reason.replace("8,192", "1,024")
    with ImageReader(make_table(path)) as reader, pytest.raises(ImageError) as caught:
        reader.get(path.name)
    assert caught.value.reason == reason
    with pytest.raises(ImageError) as caught:
        FolderSource(path).read(str(path), str(path))
    assert caught.value.reason == reason
    if "larger" not in reason:
        zipped, parquet = path.with_suffix(".zip"), path.with_suffix(".parquet")
        path.rename(zipped)
        with pytest.raises(DataError, match=r"odd\.zip"):
            open_archive(str(zipped))
        zipped.rename(parquet)
        with pytest.raises(DataError, match=r"odd\.parquet"):
            open_parquet(parquet, str(parquet))


@pytest.fixture
def make_table() -> Callable[[Path], ImageTable]:
    """A table of one image."""

    def make(path: Path) -> ImageTable:
        import pandas as pd

        frame = pd.DataFrame({"id": [path.name], "path": [path.name], "label": [0], "size": [1]})
        return ImageTable(frame, ("a",), str(path.parent))

    return make


def test_a_file_that_grows_is_read_to_the_limit_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "grows").write_bytes(b"1234")
    monkeypatch.setattr(regular_files.os, "read", lambda descriptor, size: b"x" * size)  # as a writer that is never outrun
    with pytest.raises(IrregularFileError, match="is larger than 3 MiB"):
        read_bytes(tmp_path / "grows", 3 << 20)


def test_a_reading_that_gives_less_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, real = bytes(range(256)) * 20, os.read
    (tmp_path / "slow").write_bytes(content)
    monkeypatch.setattr(regular_files.os, "read", lambda descriptor, size: real(descriptor, min(size, 100)))
    assert read_bytes(tmp_path / "slow") == content


def test_files_of_proc_state_no_size_and_are_read(tmp_path: Path) -> None:
    assert b"Name:" in read_bytes("/proc/self/status")
    with pytest.raises(IrregularFileError, match="is larger than 10 bytes"):
        read_bytes("/proc/self/status", 10)


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    (tmp_path / "y.png").write_bytes(b"1234")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        with pytest.raises(IrregularFileError):
            read_bytes(tmp_path / "x.png")
        with pytest.raises(IrregularFileError):
            read_bytes(tmp_path / "y.png", 3)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """40 images of two classes, and among them every kind of odd file."""
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name, low in (("fake", 0), ("real", 90)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for row in range(20):
            pixels = np.random.default_rng(row).integers(low, low + 100, (9, 9, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{row}.png")
    return tmp_path / "photos"


@pytest.mark.parametrize("kind", ["FIFO", "device", "socket"])
def test_commands_go_on_beside_it(kind: str, photos: Path, tmp_path: Path) -> None:
    KINDS[kind][0](photos / "real" / "odd.png")
    shown = CliRunner().invoke(app, ["data", str(photos)])
    assert shown.exit_code == 0
    assert "odd.png" in shown.output
    run = ta.train(photos, "knn", settings=Settings(tmp_path / "runs", "cpu", skip_bad=True))
    out = tmp_path / "out.csv"
    asked = ["predict", run.id, str(photos), "--runs", str(tmp_path / "runs"), "-o", str(out), "--device", "cpu"]
    done = CliRunner().invoke(app, asked)
    assert "odd.png" in done.output + out.read_text(encoding="utf-8")
    (photos / "real" / "1.png").unlink()
    KINDS[kind][0](photos / "real" / "1.png")  # an image of the run is a FIFO today
    page = tmp_path / "r.html"
    assert CliRunner().invoke(app, ["report", "--runs", str(tmp_path / "runs"), "-o", str(page)]).exit_code == 0
    assert page.read_text(encoding="utf-8").count("<img") > 5


# --- no other way to open ---------------------------------------------------------------------------------------------

#: Functions that open a path, and methods that do so on a `Path`.
_FUNCTIONS = {
    "open", "os.open", "Image.open", "np.load", "np.fromfile", "pd.read_parquet", "pd.read_csv", "zipfile.ZipFile",
    "tarfile.open", "gzip.open", "bz2.open", "lzma.open", "pq.read_table",
}  # fmt: skip
_METHODS = {"open", "read_bytes", "read_text"}
_WRITING = {"w", "wb", "a+b", "ab", "r+", "r+b"}
_PACKAGED = "files of the package itself"
_CHECKED = "checked by `require_regular` before"
#: Modules that may open by themselves, and why.
_ALLOWED = {
    "regular_files.py": "the opener",
    "io.py": "flushes what was written",
    "classifiers/_sklearn_io.py": _CHECKED,
    "classifiers/ensemble.py": _CHECKED,
    "cli/_process.py": "the null device",
    "data/archives.py": f"{_CHECKED}; and members of an open archive",
    "data/cache.py": "maps arrays that it has written",
    "data/prepare.py": _CHECKED,
    "data/sample_photos.py": _PACKAGED,
    "inference/image_sources/http.py": "opens addresses",
    "inference/resumable_output.py": "opens the output for writing",
    "plugins/_layouts.py": "reads what the check of a plugin has written",
    "reports/health_report.py": _PACKAGED,
    "reports/report.py": _PACKAGED,
    "runs/environment.py": "/proc/cpuinfo",
    "runs/origin.py": "creates the key",
    "runs/stored_tables.py": _CHECKED,
    "server/decode_worker.py": "/proc/self",
    "server/pages.py": _PACKAGED,
    "types.py": "`Predictions.from_parquet`: `runs.stored_tables` checks the file before",
    "workflows/codec_bias.py": _CHECKED,
}


def _openings(tree: ast.AST) -> list[str]:
    """Calls that open a path for reading."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name, first = ast.unparse(node.func), ast.unparse(node.args[0]) if node.args else ""
        given = {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
        is_method = isinstance(node.func, ast.Attribute) and node.func.attr in _METHODS
        in_memory = first.startswith(("io.BytesIO", "io.StringIO")) or any(word.arg == "fileobj" for word in node.keywords)
        if (name in _FUNCTIONS or is_method) and not in_memory and not given & _WRITING:
            found.append(f"{node.lineno}: {ast.unparse(node)[:90]}")
    return found


def test_only_the_opener_opens() -> None:
    wrong = []
    for path in sorted(SRC.rglob("*.py")):
        name = path.relative_to(SRC).as_posix()
        if found := _openings(ast.parse(path.read_text(encoding="utf-8"))):
            if name not in _ALLOWED:
                wrong += [f"{name}:{line}" for line in found]
        else:
            assert name not in _ALLOWED, f"{name} opens nothing: remove it from the list"
    assert set(_ALLOWED) <= {path.relative_to(SRC).as_posix() for path in SRC.rglob("*.py")}
    assert not wrong, "\n".join(wrong)
