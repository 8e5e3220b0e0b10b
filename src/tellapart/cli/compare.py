"""`tellapart compare`: train several recipes, rank them, write a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tellapart.cli import options as opt
from tellapart.recipe.groups import LADDER

if TYPE_CHECKING:
    from tellapart.leaderboards.leaderboard import Leaderboard

Recipes = Annotated[
    list[str] | None,
    typer.Option(
        "-r",
        "--recipe",
        metavar="NAME",
        help="A recipe, or a group of recipes: ladder (the default) or classical. Repeatable. The metadata baseline is always "
        "added.",
    ),
]
Minutes = Annotated[
    float | None,
    typer.Option("--minutes", min=0.01, help="Time limit for all recipes; the networks share 70 % of it."),
]
Output = Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The HTML report to write.")]


def run(
    data: opt.Data, recipe: Recipes = None, overrides: opt.Overrides = None, minutes: Minutes = None,
    rank_by: opt.RankBy = "accuracy", output: Output = Path("report.html"), logger: opt.Loggers = None,
    images: opt.Images = None, id_column: opt.IdColumn = None, label_column: opt.LabelColumn = None, group: opt.Group = None,
    split_column: opt.SplitColumn = None, unlabeled: opt.Unlabeled = None,
    positive: opt.Positive = None, seed: opt.Seed = 0, split_from: opt.SplitFrom = None,
    skip_bad: opt.SkipBad = False, verify_files: opt.VerifyFiles = False,
    runs: opt.Runs = opt.RUNS, device: opt.Device = "auto", overwrite: opt.Overwrite = False,
    as_json: opt.AsJson = False, quiet: opt.Quiet = False, verbose: opt.Verbose = False,
) -> None:  # fmt: skip
    """Train several kinds of classifiers on DATA, rank them on unseen images, and write a report.

    Each run is scored once on the test split, at the end. Finished runs are reused; interrupted ones resume.
    """
    from tellapart.workflows.compare import compare

    opt.check_output(output)
    table = opt.scanned(data, images, id_column, label_column, group, positive, split_column=split_column, unlabeled=unlabeled)
    settings = opt.settings(
        runs=runs, device=device, quiet=quiet,
        skip_bad=skip_bad, verify_files=verify_files, seed=seed, split_from=split_from, overwrite=overwrite,
        loggers=logger,
    )  # fmt: skip
    board = compare(table, recipe or LADDER, overrides=overrides or (), rank_by=rank_by, minutes=minutes, settings=settings)
    show(board, output, rank_by, as_json)


def show(board: Leaderboard, output: Path, rank_by: str, as_json: bool) -> None:
    """Print a leaderboard, write its report, and print the path of the report."""
    from tellapart.reports.report import write_report

    if not as_json:
        opt.out().print(board)
    path = write_report(board.runs, output, rank_by=rank_by)
    if as_json:
        opt.print_json(board.to_dict() | {"report": str(path)})
    else:
        opt.print_lines(f"report: {path}")
