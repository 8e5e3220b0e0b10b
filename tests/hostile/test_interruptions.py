"""Commands that are killed, and commands whose disk is full: the same command ends with the results of an undisturbed one.

Each command runs in a process of its own, forked by a warm one (this file, run as a script). There an audit hook sees every
file that Python opens for writing, creates, renames or removes below the folder of the case, and at the N-th

- kills the process (`SIGKILL`); before a rename, the temporary file is cut in half first, as if it was killed while it wrote;
- or, for a disk that is full from then on, raises `OSError` for what would take space.

Then the same command runs undisturbed, and every file is compared with those of a process that was never disturbed.
"""

from __future__ import annotations

import errno
import hashlib
import importlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

#: Verb → (command, command that prepares its folder). RUN: a finished run of knn.
TRAIN = "train ../data -r knn -q"
RUNS = f"{TRAIN}; train ../data -r pixels-lda -q"
VERBS = {
    "train knn": ("train ../data -r knn", ""),
    "train mlp": ("train ../data -r mlp --epochs 3 -s train.batch=16 -s train.images=null", ""),
    "compare": ("compare ../data -r pixels-lda -r knn -o report.html", ""),
    "kfold": ("kfold ../data -r knn --folds 3", ""),
    "combine": ("combine knn pixels-lda", RUNS),
    "calibrate": ("calibrate pixels-lda", RUNS),
    "evaluate": ("evaluate knn --open-test", TRAIN),
    "predict": ("predict knn ../asked -o out.csv", TRAIN),
    "predict parquet": ("predict knn ../asked -o out.parquet", TRAIN),
    "submit": ("submit knn --test ../asked --sample ../sample.csv -o answers.csv", TRAIN),
    "synth": ("synth ../asked -o forged --kind splice", ""),
    "export": ("export mlp -o exported", "train ../data -r mlp --epochs 3 -s train.batch=16 -s train.images=null"),
    "check": ("check ../data --only duplicates --only files -o health.html --fix-list fixes.csv", ""),
}
#: Verbs of the full disks.
FULL = ("train mlp", "compare", "combine", "predict parquet", "synth")
#: JSON keys and files that hold times; or addresses of objects (skops), but the predictions of their models are compared.
TIMES = (
    "seconds",
    "fit_seconds",
    "images_per_second",
    "opened",
    "started",
    "finished",
    "cost",
    "time",
    "speed",
    "opened_before",
    "session",
)
UNCOMPARED = re.compile(
    r"environment\.json|done|card\.md|ledger\.jsonl|log\.jsonl|.*\.html|.*\.lock|digests\.sqlite|examples\.png|.*\.skops"
)
LARGEST_LEFTOVER = 4096


class Answer(NamedTuple):
    """What a command left: its exit code (negative: the signal), what it printed, and how many events the hook saw."""

    code: int
    printed: str
    events: int


class Shell:
    """Runs commands in forked processes."""

    def __init__(self, top: Path) -> None:
        self.top = top
        env = {k: v for k, v in os.environ.items() if not k.startswith("TELLAPART_")}
        env |= {"OMP_NUM_THREADS": "1", "NO_COLOR": "1", "COLUMNS": "200"}
        command = [sys.executable, __file__]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def __call__(self, place: str, command: str, fault: str = "", at: int = -1) -> Answer:
        """Run a command in the folder `place`, with a fault ("kill" or the name of an error) at an event."""
        request = {"place": str(self.top / place), "command": command, "fault": fault, "at": at}
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Answer(*json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """End the warm process."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    top = tmp_path_factory.mktemp("interrupted")
    for number in range(48):
        kind, name = ("dark", "light")[number % 2], f"{number:02d}.png"
        pixels = np.random.default_rng(number).integers(0, 150, (32, 32, 3)) + 100 * (number % 2)
        for folder in (top / "data" / kind, *([top / "asked"] if number < 24 else [])):
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name)
    rows = "".join(f"{number:02d},dark\n" for number in range(24))
    (top / "sample.csv").write_text(f"id,label\n{rows}")
    made = Shell(top)
    yield made
    made.close()


_ENDS: dict[str, tuple[dict[str, str], int]] = {}


def undisturbed(shell: Shell, verb: str) -> tuple[dict[str, str], int]:
    """What an undisturbed command leaves, and the number of its events."""
    if verb not in _ENDS:
        prepare(shell, verb, "whole")
        answer = shell("whole", VERBS[verb][0])
        assert answer.code == 0, answer.printed
        _ENDS[verb] = (content(shell.top / "whole"), answer.events)
    return _ENDS[verb]


def prepare(shell: Shell, verb: str, place: str) -> None:
    """An empty folder, or one with the runs that the verb needs."""
    first = VERBS[verb][1]
    base = f"base-{hashlib.sha256(first.encode()).hexdigest()[:8]}"
    if not (shell.top / base).exists():
        (shell.top / base).mkdir()
        for command in first.split("; ") if first else ():
            answer = shell(base, command)
            assert answer.code == 0, answer.printed
    shutil.rmtree(shell.top / place, ignore_errors=True)
    shutil.copytree(shell.top / base, shell.top / place)


def content(folder: Path) -> dict[str, str]:
    """File → digest of what must be equal; numbers of evaluations are left out, since none is used twice."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = re.sub(r"(evaluations/[^/]+)/\d+/", r"\1/N/", path.relative_to(folder).as_posix())
        read = path.read_bytes()
        if UNCOMPARED.fullmatch(path.name):
            read = b""
        elif path.suffix == ".json":
            read = json.dumps(without_times(json.loads(read)), sort_keys=True).encode()
        found[name] = hashlib.sha256(read).hexdigest()
    return found


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_times(of) for name, of in value.items() if name not in TIMES}
    return [without_times(of) for of in value] if isinstance(value, list) else value


def check_end(shell: Shell, place: str, verb: str) -> None:
    """Repeat the command, and compare."""
    wanted, _ = undisturbed(shell, verb)
    again = shell(place, VERBS[verb][0])
    assert again.code == 0, again.printed
    found = content(shell.top / place)
    differing = sorted(name for name in wanted if found.get(name) != wanted[name])
    assert not differing, differing
    more = {name for name in found if name not in wanted}
    sizes = {name: (shell.top / place / name).stat().st_size for name in more}
    assert not {name: size for name, size in sizes.items() if size > LARGEST_LEFTOVER}
    assert not [name for name in more if "tellapart.tmp" in name], "leftovers of ours are swept"


def kill_and_repeat(shell: Shell, verb: str, at: int) -> None:
    prepare(shell, verb, "cut")
    killed = shell("cut", VERBS[verb][0], "kill", at)
    assert killed.code == -signal.SIGKILL, (at, killed)
    check_end(shell, "cut", verb)


def fill_and_repeat(shell: Shell, verb: str, at: int, fault: str = "ENOSPC") -> None:
    prepare(shell, verb, "cut")
    full = shell("cut", VERBS[verb][0], fault, at)
    assert full.code in (0, 6), (at, full.printed)  # 0: only what the command can do without was not stored
    assert "Traceback" not in full.printed
    if full.code:
        assert "error:" in full.printed and "→" in full.printed, full.printed
    check_end(shell, "cut", verb)


def spread(count: int, of: int) -> list[int]:
    """Some of the numbers 0 … of − 1, evenly."""
    return sorted({round(at) for at in np.linspace(0, of - 1, min(count, of))})


@pytest.mark.parametrize("verb", ["train knn", "train mlp", "compare", "evaluate", "predict parquet", "synth"])
def test_a_killed_command_ends_as_an_undisturbed_one(shell: Shell, verb: str) -> None:
    events = undisturbed(shell, verb)[1]
    for at in spread(5, events)[1:-1]:
        kill_and_repeat(shell, verb, at)


@pytest.mark.parametrize("verb", ["train knn", "predict parquet", "synth"])
def test_a_full_disk_ends_in_a_sentence(shell: Shell, verb: str) -> None:
    events = undisturbed(shell, verb)[1]
    for fault, at in zip(("ENOSPC", "EDQUOT", "EROFS", "EIO"), spread(4, events), strict=False):
        fill_and_repeat(shell, verb, at, fault)


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_many_kills(shell: Shell, verb: str) -> None:
    """Over all verbs 211: some have fewer than 20 events."""
    for at in spread(20, undisturbed(shell, verb)[1]):
        kill_and_repeat(shell, verb, at)


@pytest.mark.slow
@pytest.mark.parametrize("verb", FULL)
def test_many_full_disks(shell: Shell, verb: str) -> None:
    """Over five verbs 89; `test_a_small_disk` has 100 more."""
    for at in spread(20, undisturbed(shell, verb)[1]):
        fill_and_repeat(shell, verb, at)


@pytest.mark.slow
@pytest.mark.parametrize("verb", FULL)
def test_a_small_disk(shell: Shell, verb: str) -> None:
    """A real file system of a few KiB, from too small to large enough, which also fills up within native code."""
    place = shell.top / "cut"
    wanted = undisturbed(shell, verb)[0]
    prepare(shell, verb, "small")
    base = sum(-(-p.stat().st_size // 4096) * 4 for p in (shell.top / "small").rglob("*")) + 16
    for more in range(0, 20):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        size = base + 4 * more * (more + 1) // 2
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(place)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("no permission to mount a small file system: run this test as root, where `mount -t tmpfs` is allowed")
        try:
            shutil.copytree(shell.top / "small", place, dirs_exist_ok=True)
            full = shell("cut", VERBS[verb][0])
            assert full.code in (0, 6) and "Traceback" not in full.printed, (size, full.printed)
            subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True)
            check_end(shell, "cut", verb)
        finally:
            subprocess.run(["umount", str(place)], check=True)
    assert wanted


# --- the warm process ---------------------------------------------------------------------------------------------------


def serve() -> None:
    """Run each command of a line of JSON in a forked process; answer with a line of JSON."""
    for name in WARM:
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        events, out = os.memfd_create("events"), os.memfd_create("out")
        child = os.fork()
        if not child:
            act(request, events, out)
        status = os.waitpid(child, 0)[1]
        printed = os.pread(out, 1 << 20, 0).decode("utf-8", "replace")
        seen = os.fstat(events).st_size
        for number in (events, out):
            os.close(number)
        print(json.dumps([os.waitstatus_to_exitcode(status), printed, seen]), flush=True)


def act(request: dict[str, Any], events: int, out: int) -> None:
    """In the forked process: the command; never returns."""
    from tellapart.cli.main import main

    code = 99
    try:
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.chdir(request["place"])
        os.environ["TELLAPART_CACHE"] = f"{request['place']}/cache"
        sys.argv = ["tellapart", *shlex.split(request["command"])]
        sys.addaudithook(hook(request["place"], request["fault"], request["at"], events))
        main()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


#: Imported once, before the forks.
WARM = (
    "lightning_fabric", "pandas", "pyarrow.parquet", "sklearn.discriminant_analysis", "sklearn.ensemble", "skops.io",
    "tellapart.classifiers.knn", "tellapart.classifiers.network", "tellapart.cli.main", "tellapart.training.loop",
    "tellapart.workflows.compare", "tellapart.workflows.predict", "tellapart.reports.report", "torch",
)  # fmt: skip
#: Audit event → whether it takes space.
_EVENTS = {"open": True, "os.mkdir": True, "os.rename": True, "os.remove": False, "os.truncate": False}


def hook(place: str, fault: str, at: int, events: int) -> Any:
    """Counts the changes below `place`; the fault happens at number `at`, or (an error) from there on."""
    count = 0

    def seen(event: str, given: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in _EVENTS or (event == "open" and not (isinstance(given[2], int) and given[2] & os.O_ACCMODE)):
            return
        try:
            named = os.fsdecode(given[0])
            path = os.path.abspath(named)  # noqa: PTH100 (resolve would open folders)
        except TypeError:  # a file descriptor
            return
        if not path.startswith(place) or path.endswith(".lock"):
            return
        number, count = count, count + 1
        os.write(events, b".")
        if fault == "kill" and number == at:
            if event == "os.rename" and Path(path).is_file():
                os.truncate(path, Path(path).stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        if fault not in ("", "kill") and number >= at >= 0 and _EVENTS[event]:
            kind = getattr(errno, fault)
            raise OSError(kind, os.strerror(kind), named)

    return seen


if __name__ == "__main__":
    serve()
