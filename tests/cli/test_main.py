"""Help, version, exit codes, errors, colors."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import tellapart
from tellapart.cli import main as module
from tellapart.errors import (
    DataError,
    ImageError,
    Interrupted,
    RecipeError,
    RunError,
    SplitError,
    SystemLimitError,
    TellapartError,
)

PANELS = {
    "Data": ("data", "check", "split", "align", "synth"),
    "Train": ("compare", "train", "sweep", "kfold", "lr-range", "learning-curve", "combine", "calibrate", "demo"),
    "Judge": (*("leaderboard", "evaluate", "robustness", "codec-bias", "cross-source", "open-set", "explain", "report"),),
    "Use": ("predict", "submit", "export", "serve"),
    "Other": ("recipes", "nets", "augment", "cache"),
}
COMMANDS = [name for names in PANELS.values() for name in names]
#: Commands without a module of their own in `workflows`, and why. Every other command X is cli/X.py and workflows/X.py.
NO_WORKFLOW = {
    "nets": "reads the registry, and the list of installed packages",
    "data": "shows a summary of `data.scan`",
    "leaderboard": "ranks stored runs: the package `leaderboards`",
    "report": "renders stored runs: the package `reports`",
    "serve": "starts the server: the package `server`",
    "recipes": "lists files of the package",
    "augment": "draws one figure of `reports`",
    "cache": "shows a folder",
}
#: Commands whose workflow is tested beside its parts, with their fixtures.
TESTED_BESIDE = {
    "align": "tests/alignment/test_align.py",
    "explain": "tests/explainers/test_explainers.py",
    "export": "tests/cli/test_export.py",
    "lr-range": "tests/training/test_range.py",
    "predict": "tests/inference/test_stream.py",
}
HEAVY = ("torch", "pandas", "sklearn", "numpy", "matplotlib", "skimage", "scipy", "PIL", "pyarrow")


def test_version(tell):
    assert tell("--version") == (0, f"tellapart {tellapart.__version__}\n", "")


def test_help_lists_every_command_and_the_exit_codes(tell):
    code, out, _ = tell("--help")
    assert code == 0 and all(f"│ {name}" in out for name in COMMANDS)
    listed = {panel: re.findall(r"^│ ([a-z][\w-]*) ", text, re.MULTILINE) for panel, text in _panels(out).items()}
    assert {panel: tuple(names) for panel, names in listed.items() if panel in PANELS} == PANELS
    assert "130 Ctrl-C" in out and "NO_COLOR" in out
    assert tell("-h").out == out


def _panels(out: str) -> dict[str, str]:
    """Title → text of each panel of a help text."""
    parts = re.split(r"^╭─ (.+?) ─+╮$", out, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_where_its_name_says(command):
    """`tellapart X` is cli/X.py, workflows/X.py, docs/X.md and tests/workflows/test_X.py."""
    top, name = Path(__file__).parents[2], command.replace("-", "_")
    wanted = [f"src/tellapart/cli/{name}.py", f"docs/{command}.md"]
    if command not in NO_WORKFLOW:
        wanted += [f"src/tellapart/workflows/{name}.py", TESTED_BESIDE.get(command, f"tests/workflows/test_{name}.py")]
    assert not [path for path in wanted if not (top / path).exists()]
    assert command not in NO_WORKFLOW or not (top / f"src/tellapart/workflows/{name}.py").exists()


@pytest.mark.parametrize("old", ["sources", "attribute", "bias"])
def test_old_names_are_unknown_commands(tell, old):
    code, out, err = tell(old, ".")
    assert code == 2 and out == "" and "No such command" in err


def test_without_a_command_help_is_shown(tell):
    code, out, err = tell()
    assert code == 2 and "Usage: tellapart" in out + err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_every_option(tell, command):
    code, out, _ = tell(command, "--help")
    assert code == 0 and f"tellapart {command}" in out and "--verbose" in out
    click_command = typer.main.get_command(module.app).commands[command]  # pyright: ignore[reportAttributeAccessIssue]
    assert click_command.help
    for parameter in click_command.params:
        assert getattr(parameter, "help", None), f"{command} {parameter.name} has no help"


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["data"],
        ["train", "."],
        ["compare", ".", "--seed", "-1"],
        ["compare", ".", "--minutes", "x"],
        ["data", ".", "--frob"],
    ],
)
def test_wrong_usage_is_2(tell, arguments):
    code, out, err = tell(*arguments)
    assert code == 2 and out == "" and "Error" in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TellapartError("m"), 1), (DataError("m"), 3), (ImageError("p", "m"), 3), (SplitError("m"), 3), (RecipeError("m"), 4),
        (RunError("m"), 5), (SystemLimitError("m"), 6), (Interrupted("m"), 130), (KeyboardInterrupt(), 130),
    ],
)  # fmt: skip
def test_every_kind_of_error_has_its_code(tell, monkeypatch, error, code):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("tellapart.recipe.load.names", fail)
    found, out, err = tell("recipes")
    assert found == code and out == "" and "Traceback" not in err
    assert err.startswith("error: ")


def test_an_error_is_one_message_with_its_hint_whatever_brackets_it_holds(tell, monkeypatch):
    def fail(*_, **__):
        raise DataError("a[/red]b[bold]\\[x].png: broken", hint="rename [/it]")

    monkeypatch.setattr("tellapart.recipe.load.names", fail)
    assert tell("recipes").err == "error: a[/red]b[bold]\\[x].png: broken\n  → rename [/it]\n"


@pytest.mark.parametrize(
    "arguments", [["-v", "recipes", "nulll"], ["recipes", "nulll", "-v"], ["recipes", "--verbose", "nulll"]]
)
def test_verbose_shows_the_traceback_wherever_it_stands(tell, arguments):
    code, out, err = tell(*arguments)
    assert code == 4 and out == ""
    assert "Traceback" in err and err.count("\nerror: unknown recipe 'nulll'") == 1
    assert "Traceback" not in tell("recipes", "metadata").err


def test_a_fault_of_ours_is_not_hidden(tell, monkeypatch, tmp_path):
    def fail(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr("tellapart.recipe.load.names", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code, out, err = tell("recipes")
    assert code == 1 and out == "" and err.startswith("error: a fault of tellapart, not of your data: ZeroDivisionError\n")
    (kept,) = tmp_path.glob("tellapart-traceback-*")
    assert str(kept) in err and "in fail" in kept.read_text()
    assert "in fail" in tell("recipes", "-v").err


def run_alone(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Python in a process of its own; `environment` is added to ours without its colors."""
    plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, env={**plain, **environment}
    )


def test_help_imports_nothing_heavy():
    script = f"""
import sys
from tellapart.cli.main import main
for arguments in (["--help"], ["compare", "--help"], ["--version"], ["recipes"]):
    sys.argv = ["tellapart", *arguments]
    try:
        main()
    except SystemExit as end:
        assert not end.code
    if arguments != ["recipes"]:
        assert not [m for m in {HEAVY} if m in sys.modules], sys.modules.keys()
assert not [m for m in ("torch", "sklearn", "pandas", "matplotlib") if m in sys.modules]
"""
    result = run_alone(script)
    assert result.returncode == 0, result.stderr


def test_colors_can_be_forced_and_forbidden():
    script = "import sys; sys.argv = ['tellapart', 'recipes', 'nulll']; from tellapart.cli.main import main; main()"
    asked = run_alone(script, FORCE_COLOR="1", TERM="xterm-256color")
    assert asked.returncode == 4 and "\x1b[" in asked.stderr
    forbidden = run_alone(script, NO_COLOR="1", TERM="xterm-256color")
    assert forbidden.returncode == 4 and "\x1b[" not in forbidden.stderr


def test_a_reader_that_leaves_is_no_error_to_shout_about():
    command = f"{sys.executable} -m tellapart.cli.main recipes --json | true"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert result.returncode == 0 and result.stderr == ""


def test_recipes_are_listed_and_shown(tell):
    code, out, _ = tell("recipes")
    assert code == 0 and [line.split()[0] for line in out.splitlines()][:2] == ["metadata", "knn"]
    listed = json.loads(tell("recipes", "--json").out)
    assert [entry["recipe"] for entry in listed] == [line.split()[0] for line in out.splitlines()]
    assert all(len(entry["summary"]) > 10 for entry in listed)
    assert tell("recipes", "mlp").out.startswith("# ")
    assert "epochs: 3" in tell("recipes", "mlp", "-s", "train.epochs=3").out
    assert json.loads(tell("recipes", "mlp", "-s", "seed=4", "--json").out)["seed"] == 4
    assert "max_pixels: 178956970" in tell("recipes", "metadata", "--resolved").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["recipes", "mpl"], "unknown recipe 'mpl': did you mean 'mlp'?"),
        (["recipes", "mlp", "-s", "train.epoch=3"], "unknown option 'epoch': did you mean 'epochs'?"),
        (["train", "{photos}", "-r", "knnn"], "unknown recipe 'knnn': did you mean 'knn'?"),
        (
            ["compare", "{photos}", "-r", "knn", "-s", "classifier.kk=1"],
            "-s classifier.kk=1: none of metadata, knn has such",
        ),
        (["train", "{photos}", "-r", "knn", "--epochs", "3"], "leave out --epochs, --minutes and what sets train"),
        (["compare", "{photos}", "--rank-by", "f2"], "rank_by 'f2': expected one of accuracy"),
    ],
)
def test_bad_recipes_are_4(tell, photos, arguments, message):
    code, out, err = tell(*(a.format(photos=photos) for a in arguments))
    assert code == 4 and out == "" and message in err and "Traceback" not in err


@pytest.mark.parametrize("command", [["data", "{photos}"], ["recipes", "--json"]])
def test_a_closed_pipe_ends_quietly(photos, command):
    """`tellapart data DATA | head -1`: the exit code of the typer package, and not a word."""
    reading, writing = os.pipe()
    os.close(reading)
    arguments = [part.format(photos=photos) for part in command]
    found = subprocess.run([sys.executable, "-m", "tellapart", *arguments], stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (found.returncode, found.stderr) == (1, b"")
