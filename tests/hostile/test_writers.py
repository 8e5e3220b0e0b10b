"""Every file that is read back is written by the atomic writer of `tellapart.io`, as the umask says, and not twice at once."""

from __future__ import annotations

import ast
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import tellapart
from tellapart import io
from tellapart.errors import SystemLimitError

SOURCE = Path(tellapart.__file__).parent
#: File → why it writes without `atomic_path`, or opens a file for appending or as a lock.
ALLOWED = {
    "io.py": "the atomic writer itself, the appended journal and the lock file",
    "data/cache_dir.py": "a lock file",
    "alignment/writer.py": "a lock file",
    "plugins/_layouts.py": "a damaged copy of a checker, in a temporary folder",
    "inference/resumable_output.py": "the partial file, whose state counts its flushed bytes",
    "runs/ledger.py": "appends a line; a truncated one is ignored",
    "workflows/demo.py": "the folder is made by `atomic_folder`",
    "cli/synth.py": "a figure for people; no command reads it",
    "reports/explain_figures.py": "a figure for people; no command reads it",
    "inference/writers.py": "rows of a ParquetWriter that writes where `atomic_path` says",
    "cli/_failures.py": "a traceback for people; no command reads it",
    "features/_store.py": "rows are appended under a lock; those without a key do not count",
    "runs/origin.py": "a key, linked to its name when it is whole",
    "server/decode_worker.py": "a setting of the process in /proc",
    "types.py": "`Predictions.to_parquet`, to which `io.write_parquet` gives a temporary path",
}
WRITERS = {
    "write_text", "write_bytes", "to_parquet", "to_csv", "to_json", "save_file", "savefig", "copyfile", "copy2", "copytree",
    "move", "savez", "savetxt", "tofile", "ParquetWriter", "write_table", "dump",
}  # fmt: skip


def written_plainly(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, call) of what writes a file elsewhere than at the name that `atomic_path` gave."""
    made = ("atomic_path(", "atomic_folder(")
    items = [item for node in ast.walk(tree) if isinstance(node, ast.With) for item in node.items]
    named = [(item.optional_vars, ast.unparse(item.context_expr)) for item in items]
    safe = {name.id for name, call in named if isinstance(name, ast.Name) and call.startswith(made)}
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = ast.unparse(call.func).rpartition(".")[2]
        text = ast.unparse(call)
        modes = [a.value for a in (*call.args, *(k.value for k in call.keywords)) if isinstance(a, ast.Constant)]
        opens = name in ("open", "fdopen", "open_own") and any(
            isinstance(m, str) and set(m) & set("wax+") and len(m) <= 4 for m in modes
        )
        writes = name in WRITERS and (call.args or name not in ("to_csv", "dump"))
        first = {n.id for n in ast.walk(call) if isinstance(n, ast.Name)}
        if (opens or writes) and not first & safe and not text.startswith(("yaml.safe_dump", "json.dump")):
            yield call.lineno, text.partition("\n")[0][:80]


def test_every_file_is_written_atomically() -> None:
    found, used = [], set()
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        for line, call in written_plainly(ast.parse(path.read_text("utf-8"))):
            used.add(name)
            if name not in ALLOWED:
                found.append(f"{name}:{line}: {call}")
    assert not found, "use tellapart.io:\n" + "\n".join(found)
    assert not set(ALLOWED) - used, "no longer needed"


def test_the_check_sees_plain_writes() -> None:
    bad = [
        "p.write_text('x')",
        "open(p, 'w')",
        "p.open('ab')",
        "open_own(p, 'ab')",
        "frame.to_parquet(p)",
        "save_file(x, p)",
        "np.savez(p, x)",
    ]
    assert [len(list(written_plainly(ast.parse(code)))) for code in bad] == [1] * len(bad)
    good = ["p.read_text()", "open(p)", "frame.to_csv(index=False)"]
    good.append("with atomic_path(p, durable=True) as t:\n    frame.to_parquet(t)")
    assert [list(written_plainly(ast.parse(code))) for code in good] == [[]] * len(good)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o027, 0o077])
def test_files_and_folders_follow_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        io.write_json(tmp_path / "a.json", 1)
        io.write_arrays(tmp_path / "a.safetensors", {"x": np.zeros(3)})
        with io.atomic_folder(tmp_path / "folder") as beside:
            io.write_json(beside / "b.json", 1)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    file = 0o666 & ~umask
    assert modes == {"a.json": file, "a.safetensors": file, "b.json": file, "folder": 0o777 & ~umask}


@pytest.mark.parametrize("name", ["x" * 255, "é" * 127, "\udcff" * 255, "a.json"], ids=["ascii", "utf-8", "bytes", "short"])
def test_a_name_that_fits_can_be_written(tmp_path: Path, name: str) -> None:
    """However long it is: its temporary name is shorter than the system allows."""
    io.write_json(tmp_path / name, 1)
    with io.atomic_folder(tmp_path / "below" / name) as beside:
        io.write_json(beside / name, 2)
    assert (tmp_path / name).read_text() == "1\n" and (tmp_path / "below" / name / name).read_text() == "2\n"
    assert len(os.fsencode(io._temporary(tmp_path / name).name)) <= 160
    assert len({io._temporary(tmp_path / other).name for other in (name, f"{name[:-1]}y", f"{name[:-1]}z")}) == 3
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(["below", name, name, name])


def test_links_are_replaced_and_never_written_through(tmp_path: Path) -> None:
    """Of files, folders, journals and locks: a stranger's folder of runs may hold links to any file of the user."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "file").write_text("kept")
    for name in ("json", "journal", "lock"):
        (tmp_path / name).symlink_to(theirs / "file")
    (tmp_path / "folder").symlink_to(theirs)
    io.write_json(tmp_path / "json", 1)
    for _ in range(2):
        with io.atomic_folder(tmp_path / "folder") as beside:
            io.write_json(beside / "file", 2)
    with pytest.raises(SystemLimitError, match="is a link, expected a file"):
        io.append_durably(tmp_path / "journal", b"line\n")
    with pytest.raises(SystemLimitError, match="is a link, expected a file"), io.locked_file(tmp_path / "lock"):
        pass
    assert (theirs / "file").read_text() == "kept" and [path.name for path in theirs.iterdir()] == ["file"]
    assert (tmp_path / "json").read_text() == "1\n" and (tmp_path / "folder" / "file").read_text() == "2\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "journal", "json", "lock", "theirs"]


def test_leftovers_are_swept_but_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    left = io._temporary(tmp_path / "below" / "weights.safetensors")
    left.write_bytes(b"half")
    strangers = [tmp_path / name for name in ("a.tmp", ".a.123.tmp", "b.tellapart.tmp", ".tmpAbC123")]
    for path in strangers:
        path.write_bytes(b"theirs")
    with io.atomic_path(tmp_path / "alive", durable=False) as alive:
        alive.write_bytes(b"x")
        io.remove_leftovers(tmp_path)
        assert alive.exists() and not left.exists()
    assert (tmp_path / "alive").read_bytes() == b"x"
    assert all(path.read_bytes() == b"theirs" for path in strangers)


def test_the_next_writer_of_a_file_removes_its_leftover(tmp_path: Path) -> None:
    left = io._temporary(tmp_path / "a.json")
    left.write_bytes(b"half")
    left.chmod(0o600)
    io.write_json(tmp_path / "a.json", [1])
    assert (tmp_path / "a.json").read_text() == "[\n  1\n]\n" and not left.exists()


def test_two_writers_of_one_file_follow_each_other(tmp_path: Path) -> None:
    path, entered = tmp_path / "a", []

    def other() -> None:
        io.write_bytes_atomically(path, b"second", durable=False)
        entered.append(path.read_bytes())

    with io.atomic_path(path, durable=False) as temporary:
        temporary.write_bytes(b"first")
        thread = threading.Thread(target=other)
        thread.start()
        assert not entered
    thread.join()
    assert entered == [b"second"] and [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_folder_replaced_half_is_put_back(tmp_path: Path) -> None:
    beside, old = io._temporary(tmp_path / "out"), io._temporary(tmp_path / "out", ".old")
    old.mkdir()
    (old / "a").write_text("old")
    beside.mkdir()
    with pytest.raises(ZeroDivisionError), io.atomic_folder(tmp_path / "out"):
        raise ZeroDivisionError
    assert (tmp_path / "out" / "a").read_text() == "old"
    with io.atomic_folder(tmp_path / "out") as beside:
        (beside / "a").write_text("new")
    assert [p.relative_to(tmp_path).as_posix() for p in sorted(tmp_path.rglob("*"))] == ["out", "out/a"]
    assert (tmp_path / "out" / "a").read_text() == "new"
