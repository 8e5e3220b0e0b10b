"""Decoded once, shared, bounded, and never half."""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart.data import cache as module
from tellapart.data import cache_dir
from tellapart.data.cache import CorruptImages, DecodedImages, PixelCache, resolve_inputs
from tellapart.data.decode import decode_to
from tellapart.data.memory import from_arrays, from_bytes
from tellapart.data.scan import scan
from tellapart.errors import DataError, SystemLimitError
from tellapart.recipe.schema import Inputs

INPUTS = Inputs(size=8, mode="rgb")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty cache, which the environment points at."""
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TELLAPART_CACHE_GIB", raising=False)
    return tmp_path / "cache"


def photos(top: Path, each: int = 6, side: int = 8) -> Path:
    """Two classes of loose PNG files of random pixels."""
    generator = np.random.default_rng(0)
    for name in ("a", "b"):
        (top / name).mkdir(parents=True, exist_ok=True)
        for i in range(each):
            pixels = generator.integers(0, 256, (side, side, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(top / name / f"{i}.png")
    return top


def decoded(table, inputs=INPUTS) -> np.ndarray:
    return np.stack([decode_to((Path(table.root) / path).read_bytes(), inputs) for path in table.paths])


class Spy:
    """Counts calls of `decode_to`, and can be slow."""

    def __init__(self, monkeypatch) -> None:
        self.calls = 0
        monkeypatch.setattr(module, "decode_to", self)

    def __call__(self, content, inputs, path="image"):
        self.calls += 1
        return decode_to(content, inputs, path)


def test_pixels_are_those_of_decode_in_row_order(folder, tmp_path):
    table = scan(photos(tmp_path / "data"))
    images = PixelCache().images(table, INPUTS)
    assert len(images) == 12 and images.shape == (8, 8, 3)
    assert images.get().dtype == np.uint8
    assert (images.get() == decoded(table)).all()
    assert (images.get(np.array([5, 0, 5])) == decoded(table)[[5, 0, 5]]).all()
    assert (np.concatenate(list(images.blocks(5))) == decoded(table)).all()
    assert images.get().flags.writeable and isinstance(images.pixels, np.memmap)


def test_what_was_decoded_is_used_again(folder, tmp_path, monkeypatch):
    table, spy = scan(photos(tmp_path / "data")), Spy(monkeypatch)
    first = PixelCache().images(table, INPUTS).get()
    assert spy.calls == 12
    cache = PixelCache()
    assert (cache.images(table, INPUTS).get() == first).all()
    assert (cache.images(table, INPUTS).get() == first).all()
    assert spy.calls == 12
    assert len(list(folder.glob("*.npy"))) == 1
    assert not list(folder.glob("*.tmp"))


def test_other_inputs_decode_anew_but_a_spent_limit_does_not(folder, tmp_path, monkeypatch):
    table, spy = scan(photos(tmp_path / "data")), Spy(monkeypatch)
    cache = PixelCache()
    for inputs in (INPUTS, Inputs(size=8, mode="gray"), Inputs(size=4, mode="rgb"), Inputs(size=8, mode="rgb", resize="crop")):
        cache.images(table, inputs)
    assert spy.calls == 4 * 12
    cache.images(table, Inputs(size=8, mode="rgb", limit=100))
    PixelCache().images(table, Inputs(size=8, mode="rgb", limit=32))
    assert spy.calls == 4 * 12


def test_a_changed_file_is_decoded_anew(folder, tmp_path):
    top = photos(tmp_path / "data")
    before = PixelCache().images(scan(top), INPUTS).get()
    Image.new("RGB", (8, 8), "red").save(top / "a" / "0.png")
    os.utime(top / "a" / "0.png", ns=(1, 1))
    table = scan(top)
    after = PixelCache().images(table, INPUTS).get()
    assert (after == decoded(table)).all()
    assert (before[0] != after[0]).any() and (before[1:] == after[1:]).all()


def test_a_part_of_a_larger_table_is_read_from_it(folder, tmp_path, monkeypatch):
    table, spy = scan(photos(tmp_path / "data")), Spy(monkeypatch)
    cache = PixelCache()
    cache.images(table, INPUTS)
    rows = np.array([7, 2, 11, 0])
    part = cache.images(table.take(rows), INPUTS)
    assert spy.calls == 12 and len(list(folder.glob("*.npy"))) == 1
    assert (part.get() == decoded(table)[rows]).all()
    assert (part.get(np.array([3, 1])) == decoded(table)[[0, 2]]).all()
    alone = PixelCache().images(table.take(rows), INPUTS)
    assert (alone.get() == part.get()).all()


def test_a_larger_table_after_a_part_of_it(folder, tmp_path):
    table, cache = scan(photos(tmp_path / "data")), PixelCache()
    cache.images(table.take(np.array([3, 1])), INPUTS)
    assert (cache.images(table, INPUTS).get() == decoded(table)).all()


def test_an_empty_table_has_no_pixels_and_spoils_nothing(folder, tmp_path):
    table, cache = scan(photos(tmp_path / "data")), PixelCache()
    none = cache.images(table.take(np.array([], dtype=int)), INPUTS)
    assert none.get().shape == (0, 8, 8, 3) and list(none.blocks()) == []
    assert len(cache.images(table, INPUTS)) == 12
    assert len(cache.images(table.take(np.array([], dtype=int)), INPUTS)) == 0


def test_tables_in_memory_leave_no_files(folder):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 8), dtype=np.uint8)
    table, cache = from_arrays(pixels, ["x", "y", "x", "y", "x"]), PixelCache()
    gray = Inputs(size=8, mode="gray")
    assert (cache.images(table, gray).get()[..., 0] == pixels).all()
    assert (cache.images(table.take(np.array([4, 1])), gray).get()[..., 0] == pixels[[4, 1]]).all()
    assert not folder.exists()


def test_encoded_images_in_memory(folder, tmp_path):
    top = photos(tmp_path / "data")
    files = sorted(top.rglob("*.png"))
    table = from_bytes([f.read_bytes() for f in files], [f.parent.name for f in files])
    assert (PixelCache().images(table, INPUTS).get() == decoded(scan(top))).all()


def test_all_corrupt_images_are_named(folder, tmp_path):
    top = photos(tmp_path / "data")
    (top / "a" / "3.png").write_bytes(b"no image")
    (top / "b" / "5.png").write_bytes((top / "b" / "5.png").read_bytes()[:60])
    table = scan(top)
    with pytest.raises(CorruptImages, match="2 images cannot be decoded") as caught:
        PixelCache().images(table, INPUTS)
    assert caught.value.rows.tolist() == [3, 11]
    assert [p.where for p in caught.value.problems] == ["a/3.png", "b/5.png"]
    assert {p.kind for p in caught.value.problems} == {"corrupt image"}
    assert "a/3.png: not an image" in caught.value.message and caught.value.hint == "restore or remove them"
    assert not list(folder.glob("*.npy")) and not list(folder.glob("*.tmp"))
    rest = table.without(caught.value.rows, caught.value.problems)
    assert (PixelCache().images(rest, INPUTS).get() == decoded(rest)).all()


def test_of_very_many_corrupt_images_ten_are_shown(folder):
    table = from_bytes([b"%d" % i for i in range(600)], ["a", "b"] * 300)
    with pytest.raises(CorruptImages, match="600 images cannot be decoded") as caught:
        PixelCache().images(table, INPUTS)
    assert len(caught.value.problems) == 600
    assert caught.value.message.count("\n") == 11 and "… and 590 more" in caught.value.message


def test_a_file_that_is_gone_is_named(folder, tmp_path):
    top = photos(tmp_path / "data")
    table = scan(top)
    (top / "b" / "0.png").unlink()
    with pytest.raises(CorruptImages, match=r"1 image cannot be decoded:\s+b/0.png: the file or row is gone"):
        PixelCache().images(table, INPUTS)


def test_what_a_killed_process_left_is_never_read_and_goes(folder, tmp_path):
    table = scan(photos(tmp_path / "data"))
    PixelCache().images(table, INPUTS)
    (made,) = folder.glob("*.npy")
    half = made.with_suffix(".4711.tmp")
    half.write_bytes(made.read_bytes()[:300])
    other = folder / "0123456789abcdef.4712.tmp"
    other.write_bytes(b"x" * 1000)
    made.unlink()
    assert (PixelCache().images(table, INPUTS).get() == decoded(table)).all()
    assert not half.exists() and not other.exists()


def test_a_file_cut_short_is_made_anew(folder, tmp_path):
    table = scan(photos(tmp_path / "data"))
    PixelCache().images(table, INPUTS)
    (made,) = folder.glob("*.npy")
    made.write_bytes(made.read_bytes()[:-100])
    assert (PixelCache().images(table, INPUTS).get() == decoded(table)).all()


def _decode_in_a_process(top: str, barrier, answers) -> None:
    calls = 0

    def slow(content, inputs, path="image"):
        nonlocal calls
        calls += 1
        time.sleep(0.02)
        return decode_to(content, inputs, path)

    module.decode_to = slow
    table = scan(top)
    barrier.wait()
    pixels = PixelCache().images(table, INPUTS).get()
    answers.put((calls, int(pixels.sum())))


def test_of_two_processes_one_decodes_and_the_other_waits(folder, tmp_path):
    top = photos(tmp_path / "data", each=15)
    spawn = multiprocessing.get_context("spawn")
    barrier, answers = spawn.Barrier(2), spawn.Queue()
    both = [spawn.Process(target=_decode_in_a_process, args=(str(top), barrier, answers)) for _ in range(2)]
    for process in both:
        process.start()
    found = sorted(answers.get(timeout=240) for _ in both)
    for process in both:
        process.join()
    total = int(decoded(scan(top)).sum())
    assert found == [(0, total), (30, total)]


def test_the_least_recently_used_files_make_room(folder, tmp_path, monkeypatch):
    inputs = Inputs(size=64, mode="rgb")
    tables = [scan(photos(tmp_path / str(i), each=2 + i)) for i in range(3)]
    for age, table in zip((300, 200, 100), tables, strict=True):
        PixelCache().images(table, inputs)
        newest = max(folder.glob("*.npy"), key=lambda p: p.stat().st_mtime)
        os.utime(newest, (time.time() - age,) * 2)
    PixelCache().images(tables[0], inputs)  # used again: now the youngest
    held = {e.bytes for e in cache_dir.entries()}
    assert len(held) == 3
    monkeypatch.setenv("TELLAPART_CACHE_GIB", str((sum(held) + 1000) / 2**30))
    fourth = scan(photos(tmp_path / "4", each=5)).take(np.array([3, 4, 8, 9]))
    PixelCache().images(fourth, inputs)
    left = [e.bytes for e in cache_dir.entries()]
    assert left == [max(held), min(held), min(held)]  # the second, of middle size, went
    assert sum(left) <= cache_dir.limit_bytes()


def test_what_never_fits_is_refused_before_it_is_decoded(folder, tmp_path, monkeypatch):
    table, spy = scan(photos(tmp_path / "data")), Spy(monkeypatch)
    monkeypatch.setenv("TELLAPART_CACHE_GIB", "1e-6")
    with pytest.raises(SystemLimitError, match="the cache is bounded") as caught:
        PixelCache().images(table, INPUTS)
    assert "TELLAPART_CACHE_GIB" in (caught.value.hint or "") and spy.calls == 0


@pytest.mark.parametrize("text", ["much", "-1", "0", "nan", "inf", ""])
def test_a_limit_that_is_no_number_is_refused(monkeypatch, text):
    monkeypatch.setenv("TELLAPART_CACHE_GIB", text)
    with pytest.raises(SystemLimitError, match="TELLAPART_CACHE_GIB"):
        cache_dir.limit_bytes()


def test_a_full_disk_is_seen_before_decoding(folder, tmp_path, monkeypatch):
    table, spy = scan(photos(tmp_path / "data")), Spy(monkeypatch)
    real = os.statvfs(tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result([*real[:4], 0, *real[5:10]]))
    with pytest.raises(SystemLimitError, match="the disk has 0.00 GiB left"):
        PixelCache().images(table, INPUTS)
    assert spy.calls == 0


def test_a_disk_that_fills_up_leaves_no_partial_file(folder, tmp_path, monkeypatch):
    table = scan(photos(tmp_path / "data"))

    def full(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SystemLimitError, match="No space left on device") as caught:
        PixelCache().images(table, INPUTS)
    assert caught.value.exit_code == 6
    assert {p.suffix for p in folder.iterdir()} <= {".lock", ".sqlite"}
    monkeypatch.undo()
    assert (PixelCache(folder).images(table, INPUTS).get() == decoded(table)).all()


def test_a_write_that_the_system_cuts_off_leaves_no_partial_file(folder, tmp_path):
    """A real failing write: the largest file that the process may make is smaller than the pixels."""
    script = """
        import resource, signal, sys
        from pathlib import Path
        from tellapart.data.cache import PixelCache
        from tellapart.data.scan import scan
        from tellapart.errors import SystemLimitError
        from tellapart.recipe.schema import Inputs
        table = scan(sys.argv[1])
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        try:
            PixelCache().images(table, Inputs(size=64, mode="rgb"))
        except SystemLimitError as error:
            print(error)
            sys.exit(error.exit_code)
    """
    top = photos(tmp_path / "data")
    command = [sys.executable, "-c", textwrap.dedent(script), str(top)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 6, result.stderr
    assert "File too large" in result.stdout
    assert {p.suffix for p in folder.iterdir()} <= {".lock", ".sqlite"}


def test_a_cache_below_a_file_cannot_be_made(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(SystemLimitError, match="the cache cannot be written") as caught:
        PixelCache().images(scan(photos(tmp_path / "data")), INPUTS)
    assert "TELLAPART_CACHE" in (caught.value.hint or "")


def test_clear_removes_all_but_what_is_being_written(folder, tmp_path):
    PixelCache().images(scan(photos(tmp_path / "data")), INPUTS)
    (folder / "dead.1.tmp").write_bytes(b"12345")
    (folder / "alive.2.tmp").write_bytes(b"12345")
    with (folder / "alive.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        freed = cache_dir.clear()
    assert sorted(p.name for p in folder.iterdir()) == ["alive.2.tmp", "alive.lock"]
    assert freed == 12 * 8 * 8 * 3 + 128 + 5
    assert cache_dir.clear(tmp_path / "nowhere") == 0


@pytest.mark.parametrize(("side", "count"), [(100, 1024), (512, 170), (4000, 2), (9000, 1)])
def test_a_block_of_images_is_bounded(side, count):
    pixels = np.broadcast_to(np.uint8(0), (3000, side, side, 3))
    images = DecodedImages(pixels, np.arange(3000))
    assert images.block == count
    if side == 512:
        assert [len(block) for block in DecodedImages(pixels, np.arange(200)).blocks()] == [170, 30]


def test_one_kind_is_cleared(folder, tmp_path):
    PixelCache().images(scan(photos(tmp_path / "data")), INPUTS)
    for name, size in {"1.vectors": 100, "1.keys": 10, "1.lock": 0, "2.tar": 50, cache_dir.DIGESTS: 7}.items():
        (folder / name).write_bytes(bytes(size))
    held = {entry.kind.name: entry.bytes for entry in cache_dir.entries()}
    assert held == {"images": 12 * 8 * 8 * 3 + 128, "vectors": 110, "archives": 50, "digests": 7}
    assert cache_dir.clear(kind="vectors") == 110
    assert not list(folder.glob("1.*")) and (folder / "2.tar").exists()
    assert {entry.kind.name for entry in cache_dir.entries()} == {"images", "archives", "digests"}
    assert len(list(folder.glob("*.lock"))) == 1


def test_where_the_cache_lies(monkeypatch, tmp_path):
    monkeypatch.delenv("TELLAPART_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir.default_folder() == tmp_path / "tellapart"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir.default_folder() == Path.home() / ".cache" / "tellapart"


def blobs(*images: Image.Image) -> list[bytes]:
    import io

    found = []
    for image in images:
        file = io.BytesIO()
        image.save(file, "PNG")
        found.append(file.getvalue())
    return found


def table_of(*sizes: tuple[int, int], mode: str = "RGB"):
    """A table of images of some sizes (width, height)."""
    return from_bytes(blobs(*(Image.new(mode, size) for size in sizes)), [str(i % 2) for i in range(len(sizes))])


@pytest.mark.parametrize(
    ("sizes", "inputs", "expected"),
    [
        ([(20, 10)] * 3, Inputs(), (10, 20)),
        ([(20, 10), (30, 30), (40, 50)], Inputs(), (30, 30)),  # medians of either side
        ([(400, 100)] * 2, Inputs(limit=100), (25, 100)),
        ([(400, 1)] * 2, Inputs(limit=10), (1, 10)),
        ([(400, 100)] * 2, Inputs(limit=128, resize="center"), (100, 128)),
        ([(50, 40)] * 2, Inputs(limit=128), (40, 50)),
        ([(50, 40)] * 2, Inputs(size=7), 7),
    ],
)
def test_auto_size_follows_the_data_within_the_limit(sizes, inputs, expected):
    resolved = resolve_inputs(inputs, table_of(*sizes))
    assert resolved.size == expected and resolved.mode == "rgb"


def test_auto_mode_is_gray_only_when_all_are_gray():
    assert resolve_inputs(Inputs(), table_of((4, 4), (4, 4), mode="L")).mode == "gray"
    assert resolve_inputs(Inputs(mode="rgb"), table_of((4, 4), (4, 4), mode="L")).mode == "rgb"
    mixed = from_bytes(blobs(Image.new("L", (4, 4)), Image.new("RGB", (4, 4))), ["a", "b"])
    assert resolve_inputs(Inputs(), mixed).mode == "rgb"


def test_resolved_inputs_are_left_alone_and_read_nothing(monkeypatch):
    inputs = Inputs(size=4, mode="gray")
    assert resolve_inputs(inputs, from_bytes([b"x", b"y"], ["a", "b"])) is inputs


def test_what_cannot_be_read_is_no_reason_to_guess():
    good, _ = blobs(Image.new("RGB", (6, 6)), Image.new("RGB", (6, 6)))
    assert resolve_inputs(Inputs(), from_bytes([b"broken", good], ["a", "b"])).size == (6, 6)
    with pytest.raises(DataError, match="none of the probed images"):
        resolve_inputs(Inputs(), from_bytes([b"broken", b"too"], ["a", "b"]))


def test_at_most_256_headers_are_read(monkeypatch):
    read = []
    monkeypatch.setattr(module, "header", lambda content, path: read.append(path) or (4, 4, False))
    for count in (1, 255, 256, 257, 511, 1000):
        read.clear()
        resolve_inputs(
            Inputs(), from_arrays(np.zeros((count, 4, 4), np.uint8), ["a", "b"] * (count // 2) + ["a"] * (count % 2))
        )
        assert len(read) == min(count, len(read)) and 0.5 * min(count, 256) <= len(read) <= 256
