"""The console script: commands, errors and exit codes.

Exit codes: 0 success · 1 other error · 2 usage · 3 data · 4 recipe · 5 run · 6 the machine (disk, permission, device) ·
7 `check` found a leak or a problem · 129 SIGHUP · 130 Ctrl-C · 143 SIGTERM.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

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
    nets,
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
from tellapart.cli._failures import as_error
from tellapart.cli._process import check_current_folder, close_output, open_streams, stopped_by_signals
from tellapart.errors import Interrupted, TellapartError
from tellapart.terminal import hanging, print_traceback, protect


class _Commands(TyperGroup):
    """The commands. Typer would end with "Aborted." where one of them raises an EOFError, and without a word after Ctrl-C."""

    def invoke(self, ctx: Any) -> Any:
        check_current_folder()
        try:
            return super().invoke(ctx)
        except (EOFError, KeyboardInterrupt) as error:
            raise as_error(error) from error


#: Metavars of options for which an empty text can be meant: a column without a name, a class, a text in a cell.
_MAY_BE_EMPTY = ("COLUMN", "CLASS", "TEXT")


class _Command(TyperCommand):
    """One command. No argument or option may be empty: a path of no characters would mean the current folder."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse empty texts, then parse the arguments as usual."""
        given, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        for parameter in self.get_params(ctx):
            value, metavar = given.get(parameter.name), str(parameter.metavar or "a value")
            if metavar not in _MAY_BE_EMPTY and "" in (value if isinstance(value, list | tuple) else [value]):
                message = f"expected {metavar.strip('[]…')}, found an empty text"
                raise typer.BadParameter(message, ctx=ctx, param=parameter)  # pyright: ignore[reportArgumentType]
        return super().parse_args(ctx, args)


app = typer.Typer(
    name="tellapart",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Image classification workbench: train, compare and judge every kind of image classifier on a folder or a CSV.",
    epilog="Exit codes: 0 success, 1 other error, 2 usage, 3 data, 4 recipe, 5 run, 6 system, 7 `check` found a leak or a "
    "problem, 130 Ctrl-C, 143 SIGTERM. NO_COLOR turns colors off; TELLAPART_CACHE and TELLAPART_CACHE_GIB set the folder and "
    "the size of the cache.",
)
#: Panel of `--help` → its commands. Each command is the function `run` of a module of its name.
PANELS = {
    "Data": (data, check, split, align, synth),
    "Train": (compare, train, sweep, kfold, lr_range, learning_curve, combine, calibrate, demo),
    "Judge": (leaderboard, evaluate, robustness, codec_bias, cross_source, open_set, explain, report),
    "Use": (predict, submit, export, serve),
    "Other": (recipes, nets, augment, cache),
}
for _panel, _modules in PANELS.items():
    for _module in _modules:
        _name = _module.__name__.rpartition(".")[2].replace("_", "-")
        app.command(_name, cls=_Command, rich_help_panel=_panel)(_module.run)


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


def main() -> None:
    """Run the command line; an error is one message and an exit code, never a traceback.

    A closed pipe (`tellapart … | head`) ends it quietly.
    """
    # GNU OpenMP's threads spin while they wait, which starves other processes on the same cores. With a bounded spin a training
    # step beside one busy process is 1.14 to 1.39 × as fast; alone, the bound costs 1 to 7 % (benchmarks/train_step.py --busy).
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    open_streams()
    protect()
    with stopped_by_signals() as received:
        try:
            try:
                app(prog_name="tellapart")
            finally:
                close_output()
        except BrokenPipeError:
            sys.exit(1)
        except (Exception, KeyboardInterrupt) as error:
            if os.environ.get(opt.VERBOSE):
                print_traceback()
            shown = as_error(error)
            _print_error(shown)
            sys.exit(128 + received.number if isinstance(shown, Interrupted) and received.number else shown.exit_code)


def _print_error(error: TellapartError) -> None:
    from rich.text import Text

    console = opt.err()
    console.print(Text.assemble(("error:", "bold red"), f" {hanging(error.message)}"), highlight=False, soft_wrap=True)
    if error.hint:
        console.print(f"  → {hanging(error.hint)}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
