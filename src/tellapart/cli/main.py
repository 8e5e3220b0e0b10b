"""The console script: commands, errors and exit codes.

Exit codes: 0 success · 1 other error · 2 usage · 3 data · 4 recipe · 5 run · 6 the machine (disk, permission, device) ·
7 `check` found a leak or a problem · 130 Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

import tellapart
from tellapart.cli import (
    align,
    augment,
    cache,
    calibrate,
    check,
    codec_bias,
    combine,
    compare,
    cross_source,
    data,
    demo,
    evaluate,
    explain,
    export,
    kfold,
    leaderboard,
    learning_curve,
    lr_range,
    open_set,
    predict,
    recipes,
    report,
    robustness,
    serve,
    split,
    submit,
    sweep,
    synth,
    train,
)
from tellapart.cli import options as opt
from tellapart.errors import SystemLimitError, TellapartError
from tellapart.terminal import hanging, print_traceback, protect

app = typer.Typer(
    name="tellapart",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Image classification workbench: train, compare and judge every kind of image classifier on a folder or a CSV.",
    epilog="Exit codes: 0 success, 1 other error, 2 usage, 3 data, 4 recipe, 5 run, 6 system, 7 `check` found a leak or a "
    "problem, 130 Ctrl-C. NO_COLOR turns colors off; TELLAPART_CACHE and TELLAPART_CACHE_GIB set the folder and the "
    "size of the cache.",
)
#: Panel of `--help` → its commands. Each command is the function `run` of a module of its name.
PANELS = {
    "Data": (data, check, split, align, synth),
    "Train": (compare, train, sweep, kfold, lr_range, learning_curve, combine, calibrate, demo),
    "Judge": (leaderboard, evaluate, robustness, codec_bias, cross_source, open_set, explain, report),
    "Use": (predict, submit, export, serve),
    "Other": (recipes, augment, cache),
}
for _panel, _modules in PANELS.items():
    for _module in _modules:
        _name = _module.__name__.rpartition(".")[2].replace("_", "-")
        app.command(_name, rich_help_panel=_panel)(_module.run)


def _print_version(wanted: bool) -> None:
    if wanted:
        opt.print_lines(f"tellapart {tellapart.__version__}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version, expose_value=False),
]
Verbose = Annotated[
    bool,
    typer.Option("-v", "--verbose", help="Show tracebacks of errors.", callback=opt.be_verbose, expose_value=False),
]


@app.callback()
def _root(version: Version = False, verbose: Verbose = False) -> None:
    """The options before a command; the help text is that of `app`."""


#: Package of an extra → the extra; a command that lacks one says how to install it.
_EXTRA_OF = {
    **dict.fromkeys(("tensorboard", "mlflow", "sqlalchemy", "alembic"), "track"), "optuna": "search",
    **dict.fromkeys(("onnx", "onnxscript", "onnxruntime"), "export"),
    **dict.fromkeys(("fastapi", "starlette", "uvicorn", "h11", "python_multipart", "prometheus_client"), "web"),
}  # fmt: skip


def main() -> None:
    """Run the command line; a user error is one message and an exit code, never a traceback.

    Typer itself handles Ctrl-C (exit code 130) and closed pipes (`tellapart … | head`).
    """
    # GNU OpenMP's threads spin while they wait, which starves other processes on the same cores. With a bounded spin a training
    # step beside one busy process is 1.14 to 1.39 × as fast; alone, the bound costs 1 to 7 % (benchmarks/train_step.py --busy).
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    protect()
    try:
        app(prog_name="tellapart")
    except ModuleNotFoundError as error:
        extra = _EXTRA_OF.get((error.name or "").partition(".")[0])
        if extra is None or os.environ.get(opt.VERBOSE):
            raise
        _print_error(SystemLimitError(f"{error.name} is not installed", hint=f'in the checkout: pip install ".[{extra}]"'))
        sys.exit(SystemLimitError.exit_code)
    except TellapartError as error:
        if os.environ.get(opt.VERBOSE):
            print_traceback()
        _print_error(error)
        sys.exit(error.exit_code)


def _print_error(error: TellapartError) -> None:
    from rich.text import Text

    console = opt.err()
    console.print(Text.assemble(("error:", "bold red"), f" {hanging(error.message)}"), highlight=False, soft_wrap=True)
    if error.hint:
        console.print(f"  → {hanging(error.hint)}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
