"""`tellapart report`: an HTML report of finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tellapart.cli import options as opt
from tellapart.cli.selected import selected

if TYPE_CHECKING:
    from tellapart.runs.store import Run


Output = Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The HTML report to write.")]
Png = Annotated[Path | None, typer.Option("--png", metavar="DIR", help="Also write each figure as PNG into this folder.")]
Nearest = Annotated[
    bool, typer.Option("--nearest", help="Show the most similar training images beside the most confident errors.")
]


def run(
    run_ids: opt.RunIds = None, output: Output = Path("report.html"), png: Png = None, nearest: Nearest = False,
    rank_by: opt.RankBy = "accuracy", runs: opt.Runs = opt.RUNS, data: opt.ImagesOfRun = None,
    as_json: opt.AsJson = False, verbose: opt.Verbose = False,
) -> None:  # fmt: skip
    """Write a self-contained HTML report: the data, the leaderboard, and the curves, errors and recipe of each run."""
    from tellapart.reports.report import write_report
    from tellapart.runs.outside_data import check_outside_data

    opt.check_output(output)
    chosen = selected(run_ids, runs, data)
    if png is not None:
        check_outside_data(png, chosen)
    if nearest:
        _search(chosen, runs, data)
    path = write_report(chosen, output, rank_by=rank_by, png=png)
    if as_json:
        opt.print_json({"report": str(path)})
    else:
        opt.print_lines(f"report: {path}")


def _search(chosen: list[Run], runs: Path, data: Path | None) -> None:
    """Find the training images nearest to each run's most confident errors, on the test split if it was opened.

    The metadata baseline is left out: it reads no pixels.
    """
    from tellapart.data.reader import NAME_IMAGES
    from tellapart.recipe.groups import BASELINE
    from tellapart.reports.nearest_to_errors import nearest_training

    settings = opt.settings(runs=runs, device="auto", quiet=False, images=data)
    for run in (run for run in chosen if run.family != BASELINE):
        if withheld := run.table().withheld:
            settings.progress.say(f"{withheld}; {NAME_IMAGES}")
            continue
        settings.progress.say(f"searching the nearest training images to the errors of {run.id}")
        nearest_training(run, "test" if run.evaluations else "valid", settings=settings)
