"""The console script: commands, errors and exit codes.

Exit codes: 0 done · 1 other error · 2 wrong usage · 3 data · 4 recipe · 5 run · 6 the machine (disk, permission, device) ·
130 stopped by Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

import tellapart
from tellapart.cli import cache, compare, data, demo, leaderboard, predict, recipes, report, train
from tellapart.errors import TellapartError

app = typer.Typer(
    name="tellapart",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Tell images apart: an honest leaderboard of every kind of image classifier, from a folder or a CSV.",
    epilog="Exit codes: 0 done, 1 other error, 2 usage, 3 data, 4 recipe, 5 run, 6 machine, 130 Ctrl-C. "
    "Colours follow NO_COLOR; the cache follows TELLAPART_CACHE and TELLAPART_CACHE_GIB.",
)
for module in (data, compare, train, leaderboard, predict, report, recipes, cache, demo):
    name = module.__name__.rpartition(".")[2]
    app.command(name)(module.run)


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.", is_eager=True)] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show tracebacks of errors.")] = False,
) -> None:
    if version:
        print(f"tellapart {tellapart.__version__}")
        raise typer.Exit
    if verbose:
        os.environ["TELLAPART_VERBOSE"] = "1"


def main() -> None:
    """Run the command line; a user's error is one message and an exit code, never a traceback."""
    try:
        app()
    except TellapartError as error:
        if os.environ.get("TELLAPART_VERBOSE"):
            raise
        _print_error(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # `tellapart … | head`: nobody reads any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _print_error(error: TellapartError) -> None:
    from rich.markup import escape

    from tellapart.cli._shared import err

    console = err()
    console.print(f"[bold red]error:[/bold red] {escape(error.message)}", highlight=False, soft_wrap=True)
    if error.hint:
        console.print(f"  → {escape(error.hint)}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
