"""`tellapart report`: one HTML file of finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tellapart.cli import options as shared

if TYPE_CHECKING:
    from tellapart.runs.store import Run


def run(
    run_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]…", help="Ids, beginnings of ids, or paths. Default: all.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="The HTML file.")] = Path("report.html"),
    png: Annotated[
        Path | None, typer.Option("--png", metavar="DIR", help="Also write each figure as PNG into this folder.")
    ] = None,
    nearest: Annotated[
        bool, typer.Option("--nearest", help="Beside the surest mistakes the training images that are most like them.")
    ] = False,
    rank_by: shared.RankBy = "accuracy",
    runs: shared.Runs = Path("runs"),
    as_json: shared.AsJson = False,
    verbose: shared.Verbose = False,
) -> None:
    """Write a self-contained report: the data, the leaderboard, and per run its curves, errors, recipe and environment."""
    from tellapart.reports.report import write_report
    from tellapart.runs.store import select_runs

    shared.check_output(output)
    chosen = select_runs(run_ids or [], runs)
    if nearest:
        _search(chosen, runs)
    path = write_report(chosen, output, rank_by=rank_by, png=png)
    if as_json:
        shared.print_json({"report": str(path)})
    else:
        shared.out().print(f"report: {path}", markup=False, highlight=False, soft_wrap=True)


def _search(chosen: list[Run], runs: Path) -> None:
    """The neighbors of each run's surest mistakes, on its test part when that was opened; the metadata baseline sees no
    pixels.
    """
    from tellapart.recipe.groups import BASELINE
    from tellapart.reports.nearest_to_errors import nearest_training

    settings = shared.settings(runs=runs, device="auto", quiet=False)
    for run in (run for run in chosen if run.family != BASELINE):
        settings.progress.say(f"neighbors of the mistakes of {run.id}")
        nearest_training(run, "test" if run.evaluations else "valid", settings=settings)
