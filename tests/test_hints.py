"""No message names an option that its command lacks, and a missing extra is a sentence that says how to install it."""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from pathlib import Path

import pytest
import typer

from tellapart.cli.main import app

SOURCE = Path(__file__).parents[1] / "src" / "tellapart"
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*[a-z0-9]")
_COMMAND = re.compile(r"`tellapart ([a-z-]+)[^`]*`")
#: Options of other programs, and variables of style sheets.
FOREIGN = {"--backend-store-uri", "--logdir", "--short", "--no-deps", "--force-reinstall"}  # of MLflow, TensorBoard, git, pip
_STYLES = {"reports/figures.py", "reports/svg.py"}
#: Module, or folder of modules, that serves some commands alone; workflows and commands serve that of their name.
SERVES = {
    "alignment": {"align"}, "forgeries": {"synth"}, "server": {"serve"}, "search": {"sweep"}, "checks": {"check"},
    "data/test_images.py": {"submit"}, "workflows/_sample_submission.py": {"submit"}, "training/lr_range.py": {"lr-range"},
    "workflows/_evaluation_set.py": {"robustness", "codec-bias"}, "exporters/int8.py": {"export"},
    "inference/resumable_output.py": {"predict"}, "inference/writers.py": {"predict"},
    "data/source_splits.py": {"cross-source"}, "inference/image_sources": {"predict"},
    "calibration/decision.py": {"calibrate"}, "classifiers/calibrated.py": {"calibrate"},
    "combiners": {"combine"}, "classifiers/_model_soup.py": {"combine"}, "classifiers/_torch_maps.py": {"combine"},
}  # fmt: skip
#: Messages that name an option of another command in words.
ELSEWHERE = {
    ("checks/files.py", "--skip-bad"): "train", ("combiners/base.py", "--split-from"): "train",
    ("checks/near_duplicates.py", "--group"): "split", ("checks/groups.py", "--group"): "train",
    ("workflows/combine.py", "--split-from"): "train", ("checks/groups.py", "--overwrite"): "split",
}  # fmt: skip


@cache
def options() -> dict[str, set[str]]:
    """Command → its options."""
    group = typer.main.get_command(app)
    return {
        name: {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
        for name, command in group.commands.items()
    }


def named() -> list[tuple[str, int, str, str]]:
    """(module, line, text, option) of each option in a string of the package; documentation strings are left out."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        documentation = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            if node.body and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
                for option in _OPTION.findall(node.value):
                    module = path.relative_to(SOURCE).as_posix()
                    if module not in _STYLES:
                        found.append((module, node.lineno, node.value, option))
    return found


def commands_of(module: str) -> set[str]:
    """The commands that a module serves alone; empty for one that serves many."""
    head, _, name = module.rpartition("/")
    if head in ("cli", "workflows") and not name.startswith("_") and name.removesuffix(".py").replace("_", "-") in options():
        return {name.removesuffix(".py").replace("_", "-")}
    return next((commands for place, commands in SERVES.items() if module == place or module.startswith(f"{place}/")), set())


def test_every_option_that_a_message_names_exists() -> None:
    known = {"--version"}.union(*options().values())
    wrong = [(module, line, option) for module, line, _, option in named() if option not in known | FOREIGN]
    assert not wrong
    assert len(named()) > 150  # the search finds what it should


def test_a_message_of_one_command_names_its_own_options_or_the_other_command() -> None:
    wrong = []
    for module, line, text, option in named():
        told = {command for command in _COMMAND.findall(text) if command in options()}
        if (other := ELSEWHERE.get((module, option))) is not None:
            told |= {other}
        commands = told or commands_of(module)
        if option not in FOREIGN and any(option not in options()[command] for command in commands) and not told:
            wrong.append((module, line, option, sorted(commands)))
        if told and not any(option in options()[command] for command in (*told, *commands_of(module))):
            wrong.append((module, line, option, sorted(told)))
    assert not wrong


#: Options that errors of `scan` name, so that each command which scans needs them.
OF_A_TABLE = {"--images", "--id-column", "--label-column"}


@pytest.mark.parametrize("command", sorted(options()))
def test_commands_that_scan_data_have_the_options_that_its_errors_name(command) -> None:
    parameters = typer.main.get_command(app).commands[command].params
    arguments = {parameter.name for parameter in parameters if isinstance(parameter, typer.core.TyperArgument)}
    if "data" in arguments:
        assert options()[command] >= OF_A_TABLE
        text = (SOURCE / "cli" / f"{command.replace('-', '_')}.py").read_text(encoding="utf-8")
        assert ("--skip-bad" in options()[command]) == ("skip_bad=skip_bad" in text)


# --- a missing extra --------------------------------------------------------------------------------------------------

EXTRAS = {
    "optuna": ("sweep", "{data}", "-r", "knn", "--range", "classifier.k=1..9", "--optuna", "3"),
    "mlflow": ("train", "{data}", "-r", "knn", "--logger", "mlflow"),
    "tensorboard": ("train", "{data}", "-r", "knn", "--logger", "tensorboard"),
    "onnx": ("export", "none"),
    "onnxruntime": ("export", "none"),
    "onnxscript": ("export", "none"),
    "fastapi": ("serve", "none"),
    "uvicorn": ("serve", "none"),
    "python_multipart": ("serve", "none"),
    "prometheus_client": ("serve", "none"),
}


@pytest.mark.parametrize("package", EXTRAS)
def test_a_missing_extra_says_how_to_install_it(package, tmp_path, monkeypatch, capsys) -> None:
    import numpy as np
    from PIL import Image

    import tellapart
    import tellapart.server
    from tellapart.cli.main import main

    for c, name in enumerate(("a", "b")):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(8):
            Image.fromarray(np.full((4, 4, 3), 100 * c + i, np.uint8)).save(tmp_path / "data" / name / f"{i}.png")
    monkeypatch.setattr(tellapart, "server", tellapart.server)  # importing it again replaces the attribute
    for name in [name for name in sys.modules if name.partition(".")[0] == package or name.startswith("tellapart.server")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("tellapart.runs.loggers.mlflow", "tellapart.runs.loggers.tensorboard"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TELLAPART_VERBOSE", raising=False)
    command = [part.format(data=tmp_path / "data") for part in EXTRAS[package]]
    monkeypatch.setattr(sys, "argv", ["tellapart", *command])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code in (1, 6) and "Traceback" not in said and "pip install" in said and ".[" in said, said
