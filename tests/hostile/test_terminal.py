"""Names that hold control sequences, markup or line feeds: nothing of them reaches the terminal raw."""

from __future__ import annotations

import ast
import io
import json
import logging
import re
import sys
import threading
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.table import Table
from rich.text import Text

from tellapart import terminal
from tellapart.cli import options as opt
from tellapart.errors import DataError
from tellapart.progress import Terminal

SOURCE = Path(terminal.__file__).parent
#: Clears the screen, sets the clipboard, rings, in eight bits, reorders, separates, begins a line, is markup or an emoji.
HOSTILE = "a\x1b[2J\x1b]52;c;eA==\x07\x9b2J\x7f\r\u202egnp\u2066\u2028\u0085[red]b[/red] :bug:"
SHOWN = r"a\x1b[2J\x1b]52;c;eA==\x07\x9b2J\x7f\x0d\u202egnp\u2066\u2028\x85[red]b[/red] :bug:"
Tell = Callable[..., tuple[int, str, str]]


def is_safe(text: str) -> bool:
    return all(c in "\n\t" or c.isprintable() or c == "\xa0" for c in text)


# --- one place ----------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def protected(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `protect` changes for the process is undone after a test."""
    import rich.text

    monkeypatch.setattr(rich.text, "strip_control_codes", vars(rich.text)["strip_control_codes"])
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)
    monkeypatch.setattr(logging.lastResort, "formatter", None)
    monkeypatch.setenv("NO_COLOR", "1")
    terminal.protect()


def table(cell: Any) -> Table:
    made = Table(HOSTILE, title=HOSTILE, caption=HOSTILE)
    made.add_row(cell)
    return made


@pytest.mark.parametrize(
    "thing",
    [HOSTILE, Text(), table(HOSTILE), [HOSTILE], {HOSTILE: 1}],
    ids=["string", "text", "table", "list", "mapping"],
)  # fmt: skip
def test_whatever_a_console_prints_is_escaped(thing: Any) -> None:
    if isinstance(thing, Text):  # every way to put text into one
        thing = Text.assemble(HOSTILE, (HOSTILE, "bold")).append(HOSTILE).append(Text(HOSTILE))
        thing.append_tokens([(HOSTILE, "red")])
        thing += Text.from_markup(HOSTILE.replace("[red]", "").replace("[/red]", ""))
    file = io.StringIO()
    opt.out(file).print(thing, soft_wrap=not isinstance(thing, Table))
    assert is_safe(file.getvalue()) and r"\x1b[2J" in file.getvalue()
    if isinstance(thing, str):
        assert file.getvalue() == f"{SHOWN}\n"


def test_columns_are_as_wide_as_what_is_shown() -> None:
    file = io.StringIO()
    made = Table(box=None)
    made.add_row("\x1b[2J", "next")
    made.add_row(Text("12345678"), "next")
    opt.out(file).print(made)
    first, second = [line.index("next") for line in file.getvalue().splitlines() if "next" in line]
    assert first == second


def test_progress_is_escaped() -> None:
    from rich.console import Console

    file = io.StringIO()
    progress = Terminal(Console(file=file, force_terminal=True, width=300, color_system=None, legacy_windows=False))
    with progress.task(HOSTILE, 3, HOSTILE) as task:
        task.advance(1, HOSTILE)
    progress.say(f"{HOSTILE}\nerror: not ours")
    text = file.getvalue()
    assert SHOWN in text and "\n    error: not ours" in text
    for sequence in ("\x1b[2J", "\x1b]52", "\x07", "\x9b", "\u202e", "\u2028", "\x85", "\x7f"):
        assert sequence not in text


def test_warnings_records_and_tracebacks_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    shown = warnings.formatwarning(HOSTILE, UserWarning, "file.py", 1)
    assert is_safe(shown) and SHOWN in shown
    assert logging.lastResort is not None
    record = logging.LogRecord("x", logging.ERROR, "file.py", 1, "GET %s failed", (HOSTILE,), None)
    assert logging.lastResort.format(record) == f"GET {SHOWN} failed"
    try:
        raise ValueError(HOSTILE)
    except ValueError as error:
        sys.excepthook(type(error), error, error.__traceback__)
        terminal.print_traceback()
    text = capsys.readouterr().err
    assert is_safe(text) and text.count(SHOWN) == 2


def test_tracebacks_of_threads_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    def fails() -> None:
        raise ValueError(HOSTILE)

    thread = threading.Thread(target=fails)
    thread.start()
    thread.join()
    text = capsys.readouterr().err
    assert is_safe(text) and SHOWN in text


def test_text_for_programs_is_escaped_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream, wanted in ((io.StringIO(), HOSTILE), (Screen(), SHOWN)):
        monkeypatch.setattr(sys, "stdout", stream)
        terminal.plain_writer()(HOSTILE)
        assert stream.getvalue() == wanted
    monkeypatch.setattr(sys, "stdout", file := io.StringIO())
    opt.print_json({HOSTILE: HOSTILE})
    assert is_safe(file.getvalue()) and json.loads(file.getvalue()) == {HOSTILE: HOSTILE}


def test_nothing_prints_but_by_that_place() -> None:
    """No module prints, makes a console or writes to a standard stream but those that escape."""
    may = {"cli/options.py", "terminal.py"}
    wrong = []
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            prints = called.endswith(("typer.echo", "click.echo", "traceback.print_exc", "rich.print", "stdout.write"))
            if name not in may and (prints or called in ("print", "Console", "echo")):
                wrong.append(f"{name}:{node.lineno}: {called}")
    assert not wrong, "\n".join(wrong)


def test_pages_escape_markup_and_control_characters() -> None:
    from markupsafe import Markup

    from tellapart.reports.templating import environment

    made = environment().from_string("<p title='{{ name }}'>{{ name }}{{ safe }}</p>")
    shown = made.render(name="<b>'\x1b\u202e&", safe=Markup("<i></i>"))
    assert shown == r"<p title='&lt;b&gt;&#39;\x1b\u202e&amp;'>&lt;b&gt;&#39;\x1b\u202e&amp;<i></i></p>"


# --- commands -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def tell(command: Tell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tell:
    """A command in this process: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    return command


def picture(seed: int) -> bytes:
    target = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(target, "png")
    return target.getvalue()


NAMED = "a\x1b[2J\x1b]52;c;eA==\x07\x9b2J\x7f\r\u202egnp\u2066\u2028[red]b[ red] :bug:"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes and their images have hostile names; one image is broken, one file is unknown."""
    for number, name in enumerate((f"{NAMED}\nreal", "[bold]fake")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(12):
            (tmp_path / "photos" / name / f"{NAMED}\nerror {i}.png").write_bytes(picture(100 * number + i))
    (tmp_path / "photos" / "[bold]fake" / f"{NAMED}.txt").write_text("no image")
    return tmp_path / "photos"


def test_commands_show_hostile_names_escaped(tell: Tell, photos: Path) -> None:
    commands: list[tuple[object, ...]] = [
        ("data", photos), ("data", photos, "--json"), ("check", photos, "--only", "files"),
        ("split", photos, "-o", "split.csv", "--exact-only"), ("train", photos, "-r", "metadata"),
        ("leaderboard",), ("leaderboard", "--json"), ("predict", "metadata", photos), ("predict", "metadata", photos, "--json"),
        ("predict", "metadata", photos, "--json-lines"), ("evaluate", "metadata", "--open-test"),
    ]  # fmt: skip
    for command in commands:
        code, out, err = tell(*command)
        assert code in (0, 7), (command, err)
        assert is_safe(out) and is_safe(err), (command, out, err)
        assert not re.search(r"^error \d", out, re.MULTILINE), (command, out)  # the second line of a name
    code, out, _ = tell("predict", "metadata", photos)
    assert len(out.splitlines()) == 24  # a line for each image, whatever its name
    assert all("[red]b[ red] :bug:" in line for line in out.splitlines())


def test_errors_show_hostile_names_escaped(tell: Tell, photos: Path, tmp_path: Path) -> None:
    broken = photos / "[bold]fake" / f"{NAMED}\nerror: broken.png"
    broken.write_bytes(b"no image")
    hostile = f"{NAMED}\nerror: x"
    for command in (
        ("train", photos, "-r", "metadata"), ("data", photos), ("data", hostile), ("predict", hostile, photos),
        ("train", photos, "-r", hostile), ("report", hostile), (hostile,),
        ("data", photos, hostile, hostile), ("split", photos, "--shares", hostile), ("data", photos, f"--{hostile}"),
        ("recipes", hostile), ("train", photos, "-r", "metadata", "-s", f"{hostile}=1"), ("-v", "data", hostile),
    ):  # fmt: skip
        code, out, err = tell(*command)
        assert is_safe(out) and is_safe(err), (command, out, err)
        assert code in (0, 1, 2, 3, 4, 5, 6) and r"\x1b[2J" in out + err, (command, out, err)
        if command[0] != "-v":  # a traceback has its own lines
            assert sum(line.startswith("error:") for line in err.splitlines()) <= 1, err


def test_members_of_archives_are_escaped(tell: Tell, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        for i in range(4):
            archive.writestr(f"{NAMED}{i % 2}/{NAMED}{i}.png", picture(i))
        archive.writestr(f"{NAMED}0/{NAMED}.png", b"broken")
    code, out, err = tell("data", "evil.zip")
    assert is_safe(out) and is_safe(err) and r"\x1b[2J" in out, (code, out, err)


def test_an_error_of_ours_keeps_its_lines(tell: Tell, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    from tellapart.cli.main import _print_error

    _print_error(DataError("two problems:\n    a\n    b", hint="do this"))
    assert capsys.readouterr().err == "error: two problems:\n    a\n    b\n  → do this\n"
