"""`tellapart report`: one HTML file of finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tellapart.cli import _shared as shared


def run(
    run_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]…", help="Ids, beginnings of ids, or paths. Default: all.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="The HTML file.")] = Path("report.html"),
    png: Annotated[
        Path | None, typer.Option("--png", metavar="DIR", help="Also write each figure as PNG into this folder.")
    ] = None,
    rank_by: shared.RankBy = "accuracy",
    runs: shared.Runs = Path("runs"),
    as_json: shared.AsJson = False,
    verbose: shared.Verbose = False,
) -> None:
    """Write a self-contained report: the data, the leaderboard, and per run its curves, errors, recipe and environment."""
    from tellapart.report.html import write_report
    from tellapart.runs.store import select_runs

    shared.check_output(output)
    path = write_report(select_runs(run_ids or [], runs), output, rank_by=rank_by, png=png)
    if as_json:
        shared.print_json({"report": str(path)})
    else:
        shared.out().print(f"report: {path}", markup=False, highlight=False, soft_wrap=True)
