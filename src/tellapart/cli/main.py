"""The console script: commands, errors and exit codes.

Exit codes: 0 done · 1 other error · 2 wrong usage · 3 data · 4 recipe · 5 run · 6 the machine (disk, permission, device) ·
7 `check` found something · 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

import typer

import tellapart
from tellapart.cli import (
    align,
    augment,
    cache,
    calibrate,
    check,
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
    serve,
    split,
    submit,
    sweep,
    synth,
    train,
)
from tellapart.cli import options as shared
from tellapart.errors import TellapartError

app = typer.Typer(
    name="tellapart",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Tell images apart: an honest leaderboard of every kind of image classifier, from a folder or a CSV.",
    epilog="Exit codes: 0 done, 1 other error, 2 usage, 3 data, 4 recipe, 5 run, 6 machine, 7 found by check, 130 Ctrl-C. "
    "Colors follow NO_COLOR; the cache follows TELLAPART_CACHE and TELLAPART_CACHE_GIB.",
)
COMMANDS = (
    *(data, check, split, align, synth),
    *(compare, train, sweep, kfold, lr_range, learning_curve, cross_source, open_set),
    *(leaderboard, evaluate, explain, calibrate, combine, predict, submit, report),
    *(export, serve, recipes, augment, cache, demo),
)
for module in COMMANDS:
    name = module.__name__.rpartition(".")[2].replace("_", "-")
    app.command(name)(module.run)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"tellapart {tellapart.__version__}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version, expose_value=False),
]


@app.callback()
def _root(
    version: Version = False,
    verbose: shared.Verbose = False,
) -> None:
    """Only the options before a command; `help` above is what is shown."""


def main() -> None:
    """Run the command line; a user's error is one message and an exit code, never a traceback.

    Typer itself sees to Ctrl-C (exit code 130) and to output that nobody reads any more (`tellapart … | head`).
    """
    # GNU OpenMP's threads spin while they wait, which starves whoever shares the cores. With a bounded spin a training step
    # beside one busy process is 1.14 to 1.39 × as fast; alone, the bound costs 1 to 7 % (benchmarks/train_step.py --busy).
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        app(prog_name="tellapart")
    except TellapartError as error:
        if os.environ.get(shared.VERBOSE):
            traceback.print_exc()
        _print_error(error)
        sys.exit(error.exit_code)


def _print_error(error: TellapartError) -> None:
    from rich.text import Text

    console = shared.err()
    console.print(Text.assemble(("error:", "bold red"), f" {error.message}"), highlight=False, soft_wrap=True)
    if error.hint:
        console.print(f"  → {error.hint}", markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
