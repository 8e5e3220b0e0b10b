"""The stored digests: found by key, bounded, and never in the way."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from tellapart.data import cache_dir, digest_store
from tellapart.data.digest_store import DigestStore, FileState, state_key


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def test_what_was_added_is_found(tmp_path: Path) -> None:
    store = DigestStore(tmp_path / "new")
    assert store.find([key(1)]) == [None], "no store yet"
    store.add([(key(1), key(11)), (key(2), key(12))])
    store.add([(key(2), key(22))])
    assert DigestStore(tmp_path / "new").find([key(3), key(2), key(1)]) == [None, key(22), key(11)]


def test_the_oldest_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest_store, "LIMIT", 3)
    store = DigestStore(tmp_path)
    for number in range(5):
        store.add([(key(number), key(number))])
    assert store.find([key(number) for number in range(5)]) == [None, None, key(2), key(3), key(4)]


def test_a_damaged_store_is_made_again(tmp_path: Path) -> None:
    store = DigestStore(tmp_path)
    store.path.write_bytes(b"no database" * 100)
    assert store.find([key(1)]) == [None] and not store.path.exists()
    store.add([(key(1), key(1))])
    content = store.path.read_bytes()
    store.path.write_bytes(content[: len(content) // 2])
    assert store.find([key(1)]) in ([None], [key(1)])
    store.add([(key(2), key(2))])
    store.add([(key(2), key(2))])
    assert store.find([key(2)]) == [key(2)]


def test_a_folder_that_cannot_be_made_costs_the_store_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = DigestStore(tmp_path / "file" / "below")
    store.add([(key(1), key(1))])
    assert store.find([key(1)]) == [None]


def _add(folder: Path, first: int) -> None:
    for number in range(first, first + 50):
        DigestStore(folder).add([(key(number), key(number))])


def test_processes_write_side_by_side(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    both = [spawn.Process(target=_add, args=(tmp_path, first)) for first in (0, 50)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert DigestStore(tmp_path).find([key(number) for number in range(100)]) == [key(number) for number in range(100)]


def test_every_part_of_a_state_counts() -> None:
    state = FileState(1, 2, 3, 4)
    keys = [state_key("a", state), state_key("b", state), state_key("a", state, "x"), state_key("ax", state)]
    keys += [state_key("a", state._replace(**{name: 9})) for name in FileState._fields]
    assert len(set(keys)) == len(keys) and {len(one) for one in keys} == {16}


def test_a_file_that_has_just_changed_is_not_settled(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("now")
    os.utime(path, ns=(0, 0))
    state = FileState.of(path.stat())
    assert state.modified == 0 and not state.is_settled(state.changed + digest_store.SETTLED_NS)
    assert state.is_settled(state.changed + digest_store.SETTLED_NS + 1)


def test_clearing_the_cache_removes_the_store(tmp_path: Path) -> None:
    store = DigestStore(tmp_path)
    store.add([(key(1), key(1))])
    size = store.path.stat().st_size
    assert cache_dir.clear(tmp_path) == size and not store.path.exists()
