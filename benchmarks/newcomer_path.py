"""How many files must a newcomer open to follow one command? Counts the files of ours that a tiny command enters.

    python benchmarks/newcomer_path.py [--list]

Runs `compare` (two recipes, with the report), `check`, `predict` of one PNG, and one upload to a served run, each
on a few images, and counts the files of `tellapart` from which at least one function is called. Importing a module enters
nothing. Also counts the modules that exactly one other module imports (plug-in files excepted), the files, their lines and the
median.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import inspect
import io
import statistics
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

import tellapart as ta

ROOT = Path(ta.__file__).parent
#: Folders of plug-ins, under their names before and after.
PLUGINS = ("families", "features", "nets", "augment", "combine", "explain", "check", "synth", "runs/sinks",
           "classifiers", "augmentations", "combiners", "explainers", "checks", "forgeries", "runs/loggers",
           "data/layouts")  # fmt: skip


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="list the files of each command")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        entered = walk(Path(folder))
    for name, files in entered.items():
        print(f"{name:<20} {len(files)} files")
        if arguments.list:
            print("".join(f"    {file}\n" for file in sorted(files)), end="")
    files = sorted(ROOT.rglob("*.py"))
    lines = [len(path.read_text("utf-8").splitlines()) for path in files]
    print(f"{'one importer':<20} {len(single_importers(files))} modules")
    print(f"{'package':<20} {len(files)} files, {sum(lines):,} lines, median {statistics.median(lines):.0f}")


def walk(folder: Path) -> dict[str, set[str]]:
    """Run the four commands; the files that each enters."""
    images = folder / "images"
    write_images(images)
    settings = ["--runs", str(folder / "runs"), "--quiet"]
    null = "metadata" if (ROOT / "recipes" / "metadata.yaml").exists() else "null"
    found = {}
    found["compare"] = traced(lambda: command(
        "compare", str(images), "-r", null, "-r", "pixels-lda", "-o", str(folder / "report.html"), *settings
    ))  # fmt: skip
    found["check"] = traced(lambda: command("check", str(images), "--quiet"))
    photo = str(next(images.rglob("*.png")))
    found["predict (one PNG)"] = traced(lambda: command("predict", "pixels-lda", photo, *settings))
    found["serve (one upload)"] = upload(folder / "runs", Path(photo))
    return found


def command(*arguments: str) -> None:
    """`tellapart …` in this process; its output is dropped."""
    from tellapart.cli.main import main as run

    before, sys.argv, sys.stdout = sys.stdout, ["tellapart", *arguments], io.StringIO()
    try:
        run()
    except SystemExit as ended:
        if ended.code not in (0, None, 7):  # 7: `check` found something
            raise RuntimeError(f"tellapart {' '.join(arguments)} ended with {ended.code}") from None
    finally:
        sys.stdout = before


def traced(work: Callable[[], object], warm_up: Callable[[], object] | None = None) -> set[str]:
    """The files below `tellapart/` from which `work` calls a function, in any thread that it or `warm_up` starts."""
    entered: set[str] = set()
    root = str(ROOT) + "/"

    def note(frame, event, argument) -> None:
        code = frame.f_code
        is_function = code.co_flags & inspect.CO_OPTIMIZED  # the body of a class or a module is not
        if event == "call" and is_function and code.co_filename.startswith(root):
            entered.add(code.co_filename.removeprefix(root))

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        if warm_up:
            warm_up()
            entered.clear()
        work()
        return {name for name in entered if not name.endswith("__init__.py")}
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]


def upload(runs: Path, photo: Path) -> set[str]:
    """One picture to a server of one run; starting the server is not counted, answering is."""
    from fastapi.testclient import TestClient

    try:
        from tellapart.server.app import create_app
    except ImportError:
        from tellapart.server.app import create_app
    run = next(path.name for path in runs.iterdir() if path.name.startswith("pixels-lda"))
    with contextlib.ExitStack() as stack:
        clients = []

        def send() -> None:
            if not clients:  # inside the trace, so that the threads of the server are followed
                app = create_app([ta.open_run(run, runs)])
                clients.append(stack.enter_context(TestClient(app, base_url="http://127.0.0.1:8000")))
            answer = clients[0].post("/api/predict", content=photo.read_bytes(), headers={"content-type": "image/png"})
            if answer.status_code != 200:
                raise RuntimeError(answer.text)

        return traced(send, warm_up=send)


def write_images(folder: Path) -> None:
    """Forty pictures of 16×16 of two classes."""
    generator = np.random.default_rng(0)
    for number in range(40):
        path = folder / ("fake", "real")[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 150, (16, 16, 3)) + 80 * (number % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(path)


def single_importers(files: list[Path]) -> list[str]:
    """Modules that exactly one other module imports; a plug-in is found by its name and needs no importer."""
    names = {module_name(path): path for path in files}
    importers: Counter[str] = Counter()
    for path in files:
        tree = ast.parse(path.read_text("utf-8"))
        importers.update({name for name in imported(tree) if name in names and names[name] != path})
    return sorted(name for name, count in importers.items() if count == 1 and not is_plugin(names[name]))


def imported(tree: ast.AST) -> set[str]:
    """Dotted names that a module imports; `from a import b` may name the module a.b."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def is_plugin(path: Path) -> bool:
    """Whether a file is registered by its name."""
    where = path.relative_to(ROOT).parent.as_posix()
    return where in PLUGINS and not path.name.startswith("_") and path.name != "base.py"


def module_name(path: Path) -> str:
    """`tellapart.data.scan`."""
    return ".".join(["tellapart", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__")


if __name__ == "__main__":
    main()
