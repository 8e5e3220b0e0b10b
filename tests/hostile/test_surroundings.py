"""Odd surroundings end in one sentence and an exit code: paths, links, folders that vanish, streams, signals, limits.

Most run in this process, through the `main` of the command line; only what belongs to a process (closed streams, limits, Ctrl-C
during the import) starts one.
"""

from __future__ import annotations

import errno
import functools
import json
import os
import pwd
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest
from safetensors import SafetensorError

from tellapart.cli._failures import as_error
from tellapart.data.cache_dir import default_folder, limit_bytes
from tellapart.data.folder_walk import path_kind, readable_name, walk, walk_images
from tellapart.data.identity import identify
from tellapart.data.scan import scan
from tellapart.errors import DataError, SystemLimitError
from tellapart.io import ESCAPE, expand, file_name, make_folder, write_json
from tellapart.os_errors import explain_os_error
from tellapart.places import check_is_text
from tellapart.plain_data import read_json
from tellapart.workflows.open_set import open_set

LONG = "x" * 300
#: A name that is not UTF-8, as Python holds it.
ODD = "b\udcffd"
TEXT = "\nerror: "


@pytest.fixture
def photos(tmp_path, lab_photos) -> Path:
    """Two classes of twelve images, dark and light, which a test may damage."""
    return Path(shutil.copytree(lab_photos, tmp_path / "photos"))


@pytest.fixture(scope="session")
def lab_photos(tmp_path_factory) -> Path:
    """Two classes of twelve images."""
    import numpy as np
    from PIL import Image

    top = tmp_path_factory.mktemp("surroundings") / "photos"
    draw = np.random.default_rng(0)
    for name, light in (("dark", 0), ("light", 150)):
        (top / name).mkdir(parents=True)
        for i in range(12):
            pixels = draw.integers(light, light + 80, (8, 8, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(top / name / f"{i:02}.png")
    return top


@pytest.fixture(scope="session")
def trained(lab_photos, tmp_path_factory) -> Path:
    """A finished run of the recipe knn."""
    from tellapart.inference.context import Settings
    from tellapart.workflows.train import train

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TELLAPART_CACHE", str(tmp_path_factory.mktemp("cache")))
        return train(lab_photos, "knn", settings=Settings(tmp_path_factory.mktemp("runs"), "cpu")).folder


@pytest.fixture
def tell(command, tmp_path, monkeypatch) -> Callable[..., tuple[int, str, str]]:
    """`tell("data", folder)`: exit code, standard output and standard error of a command in an empty folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return command


@pytest.fixture(autouse=True)
def usual_signals() -> Iterator[None]:
    """As in a terminal: a shell that runs tests in the background has SIGINT ignored, `nohup` SIGHUP."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL, signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def ends_in_a_sentence(answer: tuple[int, str, str], code: int, said: str) -> None:
    """One error, nothing on standard output, no traceback."""
    assert answer[0] == code, answer
    assert answer[1] == "" and said in answer[2], answer
    assert f"\n{answer[2]}".count(TEXT) == 1 and "Traceback" not in answer[2] and "a fault of tellapart" not in answer[2], (
        answer
    )


def alone(*arguments: object, here: Path, limits: Callable[[], object] | None = None, stdout: IO[str] | int = subprocess.PIPE,
          env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """The command in a process of its own. `limits`: called in the child before it begins."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("TELLAPART_", "LC_", "PYTHONUTF8"))}
    environment = {**plain, "TELLAPART_CACHE": str(here / "cache"), "NO_COLOR": "1", **(env or {})}
    return subprocess.run(
        [sys.executable, "-m", "tellapart", *map(str, arguments)], stdout=stdout, stderr=subprocess.PIPE, text=True,
        check=False, cwd=here, env=environment, preexec_fn=limits,
    )  # fmt: skip


# --- paths ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["data", LONG], 3),
        (["data", "{photos}", "--images", LONG], 3),
        (["check", f"{LONG}/a"], 3),
        (["align", LONG, "-o", "out"], 3),
        (["align", "{photos}", "-o", LONG], 6),
        (["synth", LONG, "-o", "out"], 3),
        (["predict", "{run}", LONG], 3),
        (["predict", "{run}", "{photos}", "-o", f"{LONG}.csv"], 6),
        (["export", "{run}", "-o", LONG], 6),
        (["split", "{photos}", "-o", LONG], 6),
        (["submit", "{run}", "--sample", LONG, "--test", "{photos}", "-o", "out.csv"], 3),
        (["train", "{photos}", "-r", "knn", "--runs", LONG], 6),
        (["leaderboard", "--runs", LONG], 6),
        (["data", "/".join(["d"] * 3_000)], 3),
    ],
)  # fmt: skip
def test_a_path_that_is_too_long(tell, photos, trained, arguments, code):
    answer = tell(*(one.format(photos=photos, run=trained) for one in arguments))
    ends_in_a_sentence(answer, code, "too long")
    assert not answer[2].endswith("too long\n"), "a hint says what to do"


def test_a_run_whose_name_is_too_long_is_unknown(tell, trained):
    ends_in_a_sentence(tell("export", LONG, "--runs", trained.parent), 5, f"unknown run '{LONG}'")


def test_an_empty_path_is_not_the_current_folder():
    """On the command line it is refused before: tests/cli/test_empty_texts.py."""
    with pytest.raises(DataError, match="the path of the data is empty"):
        scan("")


def test_a_path_with_a_nul_character(tell, trained, monkeypatch, photos):
    with pytest.raises(DataError, match="cannot contain a NUL character"):
        path_kind("a\0b")
    with pytest.raises(DataError, match="cannot contain a NUL character"):
        scan("a\0b")
    assert "NUL" in as_error(ValueError("embedded null byte")).message
    (photos / "list.csv").write_text("image\na\0b.png\ndark/00.png\n")
    code, _, err = tell("predict", trained, photos / "list.csv")
    assert code == 3 and "Traceback" not in err and "a fault of tellapart" not in err


def test_the_home_of_an_unknown_user(tell, monkeypatch):
    assert expand("~nobodyx/a") == Path("~nobodyx/a")
    ends_in_a_sentence(tell("data", "~nobodyx/a"), 3, "~nobodyx/a: not found")
    ends_in_a_sentence(tell("align", "~nobodyx/a", "-o", "out"), 3, "~nobodyx/a: not found")
    monkeypatch.setenv("TELLAPART_CACHE", "~nobodyx/c")
    ends_in_a_sentence(tell("cache"), 6, "TELLAPART_CACHE='~nobodyx/c': there is no such user")


# --- names that are not UTF-8 -----------------------------------------------------------------------------------------


def test_data_in_a_folder_whose_name_is_not_utf8(tell, photos, tmp_path):
    """The path is shown with an escape, and JSON reads it back."""
    shutil.copytree(photos, tmp_path / ODD / "photos")
    code, out, err = tell("data", tmp_path / ODD / "photos")
    assert code == 0 and not err and "b\\udcffd/photos" in out.splitlines()[0]
    code, out, err = tell("train", tmp_path / ODD / "photos", "-r", "knn", "-q", "--json")
    assert code == 0, err
    folder = Path("runs") / json.loads(out)["run"]
    assert read_json(folder / "data.json")["root"] == str(tmp_path / ODD / "photos")
    code, out, err = tell("evaluate", folder, "--open-test")
    assert code == 0, err
    code, out, err = tell("report", folder, "-o", "report.html")
    assert code == 0, err


def test_images_whose_names_are_not_utf8_are_named(tell, photos, trained):
    shutil.copyfile(photos / "dark" / "00.png", photos / "dark" / f"{ODD}.png")
    code, out, _ = tell("data", photos)
    assert code == 0 and "the name is not valid UTF-8: rename it" in out
    for more in ([], ["-o", "out.csv"], ["-o", "out.jsonl"], ["-o", "out.parquet"], ["--json"]):
        code, _, err = tell("predict", trained, photos / "dark", *more)
        assert code == 3 and "the name is not valid UTF-8: rename it" in err and "Traceback" not in err, (more, err)
        code, _, err = tell("predict", trained, photos / "dark", "--skip-bad", *more, "--overwrite")
        assert code == 0, (more, err)


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "{photos}", "-r", "knn", "--runs", f"{ODD}/runs"],
        ["predict", "{run}", "{photos}", "-o", f"{ODD}/o.parquet"],
        ["split", "{photos}", "-o", f"{ODD}/s.csv"],
    ],
)
def test_a_place_to_write_that_is_not_utf8_is_refused_before_the_work(tell, photos, trained, arguments):
    Path(ODD).mkdir()
    answer = tell(*(one.format(photos=photos, run=trained) for one in arguments))
    ends_in_a_sentence(answer, 6, "this path is not valid UTF-8")
    assert "b\\udcffd/" in answer[2] and not list(Path(ODD).iterdir())
    with pytest.raises(SystemLimitError):
        check_is_text(Path(ODD))


def test_text_that_an_encoding_lacks_is_escaped_as_in_json(tmp_path):
    text = 'é "x" \udcff 😀'
    shown = json.dumps(text, ensure_ascii=False).encode("ascii", ESCAPE).decode()
    assert shown.isascii() and json.loads(shown) == text
    write_json(tmp_path / "a.json", {"root": text})
    assert read_json(tmp_path / "a.json") == {"root": text}
    assert "é" in (tmp_path / "a.json").read_text("utf-8")


def test_a_name_under_another_locale_is_not_called_broken():
    assert readable_name("é.png") == ("é.png", "")
    shown, reason = readable_name("é.png".encode().decode("ascii", "surrogateescape"))
    assert shown == "é.png" and "set PYTHONUTF8=1" in reason
    assert readable_name(ODD) == ("b\ufffdd", "the name is not valid UTF-8: rename it")


def test_names_of_classes_and_recipes_become_names_of_folders(tmp_path):
    assert file_name("cnn-small", "run") == "cnn-small"
    for text in ("../../x", "a/b", "con.", "nul ", "..", "", LONG, "é" * 300, ODD, "a\0b", "\x1b[2J"):
        name = file_name(text, "run")
        assert name and name[0] not in ".-" and name[-1] not in ".- " and "/" not in name and len(name.encode()) <= 240
        (tmp_path / f"{name}-01234567-0123").mkdir(exist_ok=True)
    assert len({path.parent for path in tmp_path.iterdir()}) == 1


def test_a_class_that_is_named_like_a_path_stays_below_the_runs(photos, tmp_path, monkeypatch):
    from tellapart.inference.context import Settings

    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    names = {"dark": "../../../out", "light": LONG}
    rows = [f"{folder}/{i:02}.png,{names[folder]}" for folder in names for i in range(12)]
    for i in range(12):
        shutil.copyfile(photos / "light" / f"{i:02}.png", photos / f"{i:02}.png")
        rows.append(f"{i:02}.png,third")
    (photos / "train.csv").write_text("id,label\n" + "\n".join(rows) + "\n")
    before = {path for path in tmp_path.rglob("*") if "runs" not in path.parts and "cache" not in path.parts}
    report = open_set(photos / "train.csv", "knn", settings=Settings(tmp_path / "a" / "b" / "runs", "cpu"))
    assert report
    after = {path for path in tmp_path.rglob("*") if "runs" not in path.parts and "cache" not in path.parts}
    assert after - before <= {tmp_path / "a", tmp_path / "a" / "b"}


# --- folders and links ------------------------------------------------------------------------------------------------


def test_links_that_form_a_loop(tell, photos, trained):
    """Given on the command line, and below the data."""
    for link, target in (("a", "a"), ("b", "c"), ("c", "b")):
        Path(link).symlink_to(target)
    for arguments in (
        ["data", "a"], ["data", "a/x"], ["data", photos, "--images", "b"], ["predict", trained, "b"], ["check", "a"],
        ["synth", "a", "-o", "o"],
    ):  # fmt: skip
        ends_in_a_sentence(tell(*arguments), 3, "the links in this path form a loop")
    for arguments in (["train", photos, "-r", "knn", "--runs", "a"], ["predict", trained, photos, "-o", "a/x.csv"]):
        ends_in_a_sentence(tell(*arguments), 6, "error: a")
    for arguments in (["split", photos, "-o", "a/x.csv"], ["combine", "--runs", "a"], ["align", photos, "-o", "a/x"]):
        code, out, err = tell(*arguments)
        assert code in (5, 6) and out == "" and "a fault of tellapart" not in err, (arguments, err)
    (photos / "dark" / "x.png").symlink_to("x.png")
    (photos / "dark" / "y").symlink_to("y")
    (photos / "self").symlink_to(".")
    (photos / "up").symlink_to("..")
    code, out, _ = tell("data", photos)
    assert code == 0 and "dark/x.png: cannot be read (Too many levels" in out and "self/: is a link to a folder above it" in out
    code, _, err = tell("predict", trained, photos / "dark")
    assert code == 3 and "dark/x.png: cannot be read (Too many levels" in err and "Traceback" not in err


@pytest.fixture
def swept(tmp_path) -> Iterator[None]:
    """Remove deep folders afterwards: `shutil.rmtree`, with which pytest cleans up, recurses."""
    yield
    subprocess.run(["rm", "-rf", *tmp_path.iterdir()], check=True)


@pytest.mark.usefixtures("swept")
def test_two_thousand_folders(tell, photos, lab_photos, trained):
    here = os.open(photos, os.O_RDONLY)
    try:
        for _ in range(1_980):
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
    finally:
        os.close(here)
    assert len(list(walk(str(photos)))) == 3 + 1_980
    code, out, err = tell("data", photos)
    assert code == 0, err
    code, out, err = tell("predict", trained, photos, "-q", "--csv")
    assert code == 0 and len(out.splitlines()) == 25
    deep = Path("/".join(["e"] * 1_980))
    make_folder(deep)
    assert deep.is_dir()
    code, _, err = tell("train", lab_photos, "-r", "knn", "-q", "--runs", deep)
    assert code in (0, 6) and "Traceback" not in err and "a fault of tellapart" not in err


def test_folders_that_may_be_listed_but_not_entered(tell, photos, trained, monkeypatch):
    """As for a user that is not root: the entries are there, and every look at one of them is refused."""
    scandir, stat = os.scandir, os.stat

    def closed(path: object) -> bool:
        return str(path).startswith(f"{photos}/light/")

    class Entry:
        def __init__(self, entry):
            self.name, self.path = entry.name, entry.path

        def is_symlink(self) -> bool:
            return False

        def __getattr__(self, name):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), self.path)

    class Entries(list):
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    def listing(path):
        with scandir(path) as entries:
            return Entries(Entry(entry) if closed(entry.path) else entry for entry in entries)

    def refusing(path, *more, **named):
        if closed(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return stat(path, *more, **named)

    monkeypatch.setattr(os, "scandir", listing)
    monkeypatch.setattr(os, "stat", refusing)
    found = dict(walk_images(str(photos)))
    monkeypatch.undo()
    assert sum(reason == "" for reason in found.values()) == 12
    assert {reason for name, reason in found.items() if "light/" in name} == {"no permission to list this folder"}


def test_folders_that_may_not_be_listed(photos, monkeypatch):
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("light"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert dict(walk_images(str(photos)))[f"{photos}/light/"] == "no permission to list this folder"
    with pytest.raises(DataError, match="no permission to list this folder"):
        list(walk(str(photos / "light")))


@pytest.mark.parametrize("when", [1, 2, 3])
def test_a_folder_that_vanishes_under_the_walk(tell, photos, trained, monkeypatch, when):
    vanish(monkeypatch, "tellapart.data.folder_walk._sort_entries", photos, when)
    code, _, err = tell("data", photos)
    assert code == 3 and f"\n{err}".count(TEXT) == 1 and "Traceback" not in err and "a fault of tellapart" not in err


@pytest.mark.parametrize("when", [1, 2])
def test_a_folder_that_vanishes_while_it_is_predicted(tell, photos, trained, monkeypatch, when):
    vanish(monkeypatch, "tellapart.data.folder_walk._sort_entries", photos, when)
    code, _, err = tell("predict", trained, photos)
    assert code == 3 and "no such file" in err.lower() and "Traceback" not in err


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_the_output_folder_is_removed_while_predicting(tell, photos, trained, monkeypatch, ending):
    vanish(monkeypatch, "tellapart.inference.predictor.Predictor.predict_batch", Path("o").absolute(), 1)
    answer = tell("predict", trained, photos, "-q", "-o", f"o/x.{ending}")
    ends_in_a_sentence(answer, 6, f"o/x.{ending}.partial.json: no such file or folder")


@pytest.mark.parametrize(
    ("recipe", "where", "when"),
    [
        ("knn", "tellapart.classifiers.base.Classifier.save", 1),
        ("mlp", "tellapart.training.loop._train_and_validate", 2),
    ],
)
def test_the_runs_are_removed_while_training(tell, photos, monkeypatch, recipe, where, when):
    vanish(monkeypatch, where, Path("runs").absolute(), when)
    more = ["--epochs", "3"] if recipe == "mlp" else []
    code, out, err = tell("train", photos, "-r", recipe, "-q", *more)
    assert code in (5, 6) and out == "" and f"\n{err}".count(TEXT) == 1
    assert "Traceback" not in err and "a fault of tellapart" not in err, err


def at_call(monkeypatch: pytest.MonkeyPatch, function: str, when: int, happen: Callable[[], object]) -> None:
    """Let something happen at the nth call of a function, just before it."""
    import pkgutil

    old, count = pkgutil.resolve_name(function), [0]

    @functools.wraps(old)
    def counted(*given, **named):
        count[0] += 1
        if count[0] == when:
            happen()
        return old(*given, **named)

    monkeypatch.setattr(function, counted)


def vanish(monkeypatch: pytest.MonkeyPatch, function: str, folder: Path, when: int) -> None:
    """Remove a folder at the nth call of a function."""
    at_call(monkeypatch, function, when, lambda: shutil.rmtree(folder, ignore_errors=True))


def test_a_current_folder_that_was_removed(tell, photos, trained, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    for arguments in (["data", "x"], ["data", photos], ["train", photos, "-r", "knn"], ["predict", trained, "x"]):
        (tmp_path / "gone").mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / "gone")
        (tmp_path / "gone").rmdir()
        ends_in_a_sentence(tell(*arguments), 6, "the current folder was removed")
        monkeypatch.chdir(tmp_path)


# --- home, cache, variables, times ------------------------------------------------------------------------------------


def test_no_home_and_no_entry_in_passwd(tell, photos, trained, monkeypatch):
    """As in a container that runs under a number: what needs no cache works, the rest names the variable."""

    def unknown(user: int) -> object:
        raise KeyError(f"getpwuid(): uid not found: {user}")

    for name in ("HOME", "TELLAPART_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert tell("data", photos)[0] == 0
    answer = tell("predict", trained, photos / "dark" / "00.png")
    assert answer[0] == 0, answer
    answer = tell("train", photos, "-r", "knn")
    ends_in_a_sentence(answer, 6, "this user has no home folder")
    assert "set TELLAPART_CACHE" in answer[2]
    monkeypatch.setenv("TELLAPART_CACHE", "cache")
    assert tell("train", photos, "-r", "knn", "-q")[0] == 0


def test_odd_variables_of_the_cache(monkeypatch, tmp_path, tell, photos):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the standard ignores it
    monkeypatch.setenv("TELLAPART_CACHE", "")
    assert default_folder() == tmp_path / ".cache" / "tellapart"
    monkeypatch.setenv("TELLAPART_CACHE", "~/c")
    assert default_folder() == tmp_path / "c"
    assert limit_bytes() == 20 << 30
    for wrong in ("", "abc", "-1", "0", "nan", "inf", "1e999"):
        monkeypatch.setenv("TELLAPART_CACHE_GIB", wrong)
        ends_in_a_sentence(tell("train", photos, "-r", "knn", "-q"), 6, f"TELLAPART_CACHE_GIB='{wrong}'")
    monkeypatch.delenv("TELLAPART_CACHE_GIB")
    for wrong in ("/etc/passwd", "/proc/none", str(photos / "dark" / "00.png" / "x")):
        monkeypatch.setenv("TELLAPART_CACHE", wrong)
        answer = tell("train", photos, "-r", "knn", "-q")
        ends_in_a_sentence(answer, 6, "the cache cannot be written")
        assert "set TELLAPART_CACHE" in answer[2]


def test_times_before_1970_and_after_2262(tell, photos, monkeypatch):
    """Nanoseconds that no 64 bits hold: file systems keep them, and so may a clock that is wrong."""
    from tellapart.data.digest_store import FileState, state_key

    os.utime(photos / "dark" / "00.png", ns=(-(10**18), -(10**18)))
    os.utime(photos / "dark" / "01.png", ns=(4 * 10**18, 4 * 10**18))
    assert len(set(identify(scan(photos)).digests)) == 24
    states = [FileState(1, when, when, 2**64 - 1) for when in (-(10**18), 0, 2**63, 2**80)]
    assert len({state_key("a", state) for state in states}) == 4
    assert tell("train", photos, "-r", "knn", "-q")[0] == 0


def test_a_place_for_temporary_files_that_is_not_there(tell, photos, trained, monkeypatch):
    monkeypatch.setenv("TMPDIR", "/nowhere")
    monkeypatch.setattr("tempfile.tempdir", None)
    assert tell("predict", trained, photos, "-q")[0] == 0
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    shown = as_error(ZeroDivisionError("x"))
    assert shown.message == "a fault of tellapart, not of your data: ZeroDivisionError: x"
    assert shown.hint == "please report it with the traceback, which -v prints"


# --- the last net -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number",
    [
        errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EMFILE,
        errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT, errno.EIO,
    ],
)  # fmt: skip
def test_what_the_system_refuses_is_a_sentence_with_the_path(tell, photos, monkeypatch, number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number), "/some/where.png")

    monkeypatch.setattr("tellapart.data.scan.scan", refuse)
    answer = tell("data", photos)
    ends_in_a_sentence(answer, 6, "/some/where.png: ")
    assert ("\n  → " in answer[2]) == (number != errno.EIO)
    assert explain_os_error(OSError(number, "x")).message and explain_os_error(OSError(number, "x"), "a").message.startswith(
        "a: "
    )


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (SafetensorError("I/O error: No such file or directory (os error 2)"), 6, "no such file or folder"),
        (MemoryError(), 6, "the memory is used up"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory: 9 bytes"), 6, "memory"),
        (RuntimeError("can't start new thread"), 6, "no further thread"),
        (ImportError("libx.so: cannot open shared object file: Too many open files"), 6, "too many files are open"),
        (UnicodeEncodeError("utf-8", f"{ODD}.png", 1, 2, "surrogates not allowed"), 3, "b\\udcffd.png: the name is not"),
        (ValueError("embedded null byte"), 3, "NUL"),
    ],
)  # fmt: skip
def test_other_refusals_of_the_system(tell, photos, monkeypatch, error, code, said):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr("tellapart.data.scan.scan", refuse)
    ends_in_a_sentence(tell("data", photos), code, said)


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("a\nb"), EOFError(), RecursionError("x"), KeyError("x"), OSError("no number")]
)
def test_a_fault_of_ours_says_so_and_keeps_its_traceback(tell, photos, monkeypatch, tmp_path, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("tellapart.data.scan.scan", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code, out, err = tell("data", photos)
    assert (
        code == 1 and out == "" and err.startswith("error: a fault of tellapart, not of your data: ") and "Traceback" not in err
    )
    (kept,) = tmp_path.glob("tellapart-traceback-*.txt")
    assert str(kept) in err and "Traceback" in kept.read_text() and "Aborted" not in err
    code, _, err = tell("data", photos, "-v")
    assert code == 1 and "Traceback" in err


# --- streams ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["recipes", "--json"], ["--help"], ["--version"]])
def test_standard_output_that_is_full(tmp_path, command):
    with Path("/dev/full").open("w") as full:
        done = alone(*command, here=tmp_path, stdout=full)
    assert done.returncode == 6 and "Traceback" not in done.stderr and done.stderr.count("error: ") == 1, done.stderr


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)])
def test_standard_streams_that_are_closed(tmp_path, closed):
    """No traceback, and nothing of what is printed ends in a file that happened to take the number of the stream."""

    def close() -> None:
        for number in closed:
            os.close(number)

    done = alone("recipes", here=tmp_path, limits=close)
    assert done.returncode == 0 and "Traceback" not in done.stderr
    assert ("metadata" in done.stdout) == (1 not in closed)


def test_ascii_output(photos, tmp_path):
    """Escapes of JSON, so that JSON stays JSON; help and tables fall back to what can be shown."""
    (photos / "dark").rename(photos / "é")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    shown = alone("data", photos, "--json", here=tmp_path, env={**ascii_only, "PYTHONUTF8": "1"})
    assert shown.returncode == 0, shown.stderr
    assert "\\u00e9" in shown.stdout and "é" in json.dumps(json.loads(shown.stdout), ensure_ascii=False)
    for command, code in ((["--help"], 0), (["data", photos], 3)):  # one class is left whose name can be read
        done = alone(*command, here=tmp_path, env=ascii_only)
        assert done.returncode == code and "Traceback" not in done.stderr, done.stderr
        assert (done.stdout + done.stderr).isascii()
    assert "the name cannot be read under this locale: set PYTHONUTF8=1" in done.stderr


@pytest.mark.parametrize("columns", ["0", "1", "-5", "x", "²", "9" * 30])
def test_a_width_that_nothing_fits_into_is_ignored(tell, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("TERM", "dumb")
    code, _, err = tell("--frob")
    assert code == 2 and "No such option: --frob" in err


# --- signals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_end_a_walk(tell, photos, monkeypatch, number, code):
    interrupt(monkeypatch, "tellapart.data.folder_walk._sort_entries", number, 2)
    ends_in_a_sentence(tell("data", photos), code, "error: stopped")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_leave_predictions_that_resume(tell, photos, trained, monkeypatch, number, code):
    with monkeypatch.context() as patch:
        interrupt(patch, "tellapart.inference.writers.CsvWriter._row", number, 3)
        answer = tell("predict", trained, photos, "-q", "-o", "out.csv")
    ends_in_a_sentence(answer, code, "out.csv.partial")
    assert "repeat the command to resume" in answer[2]
    assert tell("predict", trained, photos, "-q", "-o", "out.csv")[0] == 0
    assert len(Path("out.csv").read_text().splitlines()) == 25


def test_a_terminated_training_resumes(tell, photos, monkeypatch):
    train = ("train", photos, "-r", "mlp", "--epochs", "3", "-q")
    with monkeypatch.context() as patch:
        interrupt(patch, "tellapart.training.loop._train_and_validate", signal.SIGTERM, 3)
        answer = tell(*train)
    ends_in_a_sentence(answer, 143, "stopped by hand after epoch 2")
    code, _, err = tell(*train[:-1])
    assert code == 0 and "resuming" in err and "after epoch 2" in err


def test_a_resumed_run_says_in_which_precision_it_was_trained(tell, photos, monkeypatch):
    """Also where it was not chosen anew but read back."""
    train = ("train", photos, "-r", "mlp", "--epochs", "2", "-q")
    with monkeypatch.context() as patch:
        patch.setattr("tellapart.classifiers.network.choose_precision", lambda *_: "bf16")
        interrupt(patch, "tellapart.training.loop._train_and_validate", signal.SIGTERM, 2)
        assert tell(*train)[0] == 143
    monkeypatch.setattr("tellapart.classifiers.network.choose_precision", lambda *_: "32")
    code, out, err = tell(*train, "--json")
    assert code == 0, err
    folder = Path("runs") / json.loads(out)["run"]
    cost = read_json(folder / "scores.json")["cost"]
    assert cost["precision"] == "bf16" and "trained in bf16, chosen by train.precision: auto" in cost["notes"]
    assert "bf16" in (folder / "card.md").read_text("utf-8")


def interrupt(monkeypatch: pytest.MonkeyPatch, function: str, number: int, when: int) -> None:
    """Receive a signal at the nth call of a function."""
    at_call(monkeypatch, function, when, lambda: signal.raise_signal(number))


def test_a_signal_that_the_caller_ignores_stays_ignored(tell, photos, monkeypatch):
    """`nohup tellapart …`: closing the terminal does not stop it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        interrupt(monkeypatch, "tellapart.data.folder_walk._sort_entries", signal.SIGHUP, 2)
        assert tell("data", photos)[0] == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_ctrl_c_while_the_command_line_is_imported(tmp_path):
    script = (
        "import builtins, signal, sys\nold = builtins.__import__\n"
        "def new(name, *more):\n    if name == 'typer': signal.raise_signal(signal.SIGINT)\n    return old(name, *more)\n"
        "builtins.__import__ = new\nfrom tellapart.__main__ import main\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "error: stopped\n")


# --- limits -----------------------------------------------------------------------------------------------------------


def test_few_open_files(photos, tmp_path, trained):
    few = functools.partial(resource.setrlimit, resource.RLIMIT_NOFILE, (32, 32))
    done = alone("predict", trained, photos, "-q", "--csv", here=tmp_path, limits=few)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 25, done.stderr


def test_threads_that_cannot_be_started(tell, photos, monkeypatch):
    import threading

    def refuse(*_, **__):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    ends_in_a_sentence(tell("train", photos, "-r", "knn", "-q"), 6, "no further thread can be started")
