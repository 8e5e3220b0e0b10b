"""Signatures of this user: over the content, with a key that is made once, and never a reason to fail."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tellapart.runs import origin
from tellapart.runs.store import Run

PARTS = (b"images", b"root")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder of state, where the key will lie."""
    origin._key.cache_clear()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "state" / "tellapart"
    origin._key.cache_clear()


def test_a_signature_holds_for_its_parts_alone() -> None:
    signature = origin.sign(*PARTS)
    assert len(signature) == 64 and origin.is_signed(f"{signature}\n", *PARTS)
    for others in ((b"images", b"roots"), (b"imagesroot",), (b"images", b"root", b""), ()):
        assert not origin.is_signed(signature, *others)
    assert not origin.is_signed("", *PARTS) and not origin.is_signed("\udcff", *PARTS)


def test_the_key_is_made_once_and_only_its_owner_reads_it(state: Path) -> None:
    signature = origin.sign(*PARTS)
    assert stat.S_IMODE((state / "key").stat().st_mode) == 0o600 and (state / "key").stat().st_size == 32
    assert [path.name for path in state.iterdir()] == ["key"]
    origin._key.cache_clear()
    assert origin.is_signed(signature, *PARTS)
    shutil.rmtree(state)
    origin._key.cache_clear()
    assert not origin.is_signed(signature, *PARTS), "another key"


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_damaged_key_signs_nothing(state: Path, tmp_path: Path, content: bytes) -> None:
    state.mkdir(parents=True)
    (state / "key").write_bytes(content)
    (tmp_path / "cache").write_text("a file where the other key would lie")
    assert origin.sign(*PARTS) == "" and not origin.is_signed("", *PARTS)


def test_without_a_folder_for_state_the_key_lies_in_the_cache(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("no folder")
    assert origin.is_signed(origin.sign(*PARTS), *PARTS)
    assert (tmp_path / "cache" / "key").exists()


@pytest.fixture
def run(write_run) -> Run:
    """A finished run with a table of its images, signed."""
    made = write_run("svm")
    (made.folder / "split.parquet").write_bytes(b"the table")
    origin.sign_run(made.folder)
    return made


def test_a_run_is_believed_until_its_root_or_its_table_changes(run: Run, tmp_path: Path) -> None:
    assert origin.was_made_here(run.folder) and origin.image_root(run.folder, None) == ("photos", "")
    moved = Path(shutil.copytree(run.folder, tmp_path / "elsewhere" / "renamed"))
    assert origin.was_made_here(moved), "a run may be moved and renamed"
    data = moved / "data.json"
    data.write_text(data.read_text().replace('"photos"', '"/etc"', 1))
    assert not origin.was_made_here(moved)
    (run.folder / "split.parquet").write_bytes(b"another table")
    assert not origin.was_made_here(run.folder)


def test_images_of_a_strangers_run_lie_where_the_user_says(run: Run, tmp_path: Path) -> None:
    (run.folder / origin.SIGNATURE).unlink()
    root, why = origin.image_root(run.folder, None)
    assert (
        root == "/dev/null" and why == f"the images of {run.id} are not read: it was not trained on this machine by this user"
    )
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine.tar").touch()
    assert origin.image_root(run.folder, tmp_path / "mine") == (str(tmp_path / "mine"), "")
    assert origin.image_root(run.folder, tmp_path / "mine.tar") == (str(tmp_path), "")


def test_a_run_without_a_table_is_not_signed(write_run) -> None:
    made = write_run("svm")
    origin.sign_run(made.folder)
    assert not (made.folder / origin.SIGNATURE).exists() and not origin.was_made_here(made.folder)
