"""`tellapart compare`: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tellapart.cli import options as shared
from tellapart.recipe.groups import LADDER
from tellapart.workflows.compare import compare

if TYPE_CHECKING:
    from tellapart.leaderboards.leaderboard import Leaderboard


def run(
    data: shared.Data,
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            "-r",
            "--recipe",
            help="A recipe, or a group: ladder (the default), classical; repeatable. The metadata baseline is always added.",
        ),
    ] = None,
    overrides: shared.Overrides = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", min=0.01, help="Bound on training; networks share 70 % of it.")
    ] = None,
    rank_by: shared.RankBy = "accuracy",
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the report is written.")] = Path("report.html"),
    images: shared.Images = None,
    id_column: shared.IdColumn = None,
    label_column: shared.LabelColumn = None,
    group: shared.Group = None,
    positive: shared.Positive = None,
    runs: shared.Runs = Path("runs"),
    device: shared.Device = "auto",
    seed: shared.Seed = 0,
    split_from: shared.SplitFrom = None,
    skip_bad: shared.SkipBad = False,
    fresh: shared.Fresh = False,
    sink: shared.Sinks = None,
    as_json: shared.AsJson = False,
    quiet: shared.Quiet = False,
    verbose: shared.Verbose = False,
) -> None:
    """Train a ladder of very different classifiers on DATA, judge them on images none of them saw, write a report.

    The test part is opened once, at the end. Runs that are there already are used again; one that was cut off goes on.
    """

    shared.check_output(output)
    table = shared.scanned(data, images, id_column, label_column, group, positive)
    settings = shared.settings(
        runs=runs, device=device, quiet=quiet, skip_bad=skip_bad, seed=seed, split_from=split_from, fresh=fresh, sinks=sink
    )
    board = compare(table, recipe or LADDER, overrides=overrides or (), rank_by=rank_by, minutes=minutes, settings=settings)
    show(board, output, rank_by, as_json)


def show(board: Leaderboard, output: Path, rank_by: str, as_json: bool) -> None:
    """Print a leaderboard, write its report, say where it is."""
    from tellapart.reports.report import write_report

    if not as_json:
        shared.out().print(board)
    path = write_report(board.runs, output, rank_by=rank_by)
    if as_json:
        shared.print_json(board.to_dict() | {"report": str(path)})
    else:
        shared.out().print(f"report: {path}", markup=False, highlight=False, soft_wrap=True)
