"""`tellapart cross-source`: how well does a recipe generalize to sources that it was not trained on?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tellapart.cli import options as opt
from tellapart.cli._results import print_result

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from tellapart.metrics.cross_source import CrossSourceMatrix, LeaveOneOutResult
    from tellapart.types import Score

_NAME = 20  # characters of a source's name in the matrix


By = Annotated[
    str, typer.Option("--by", metavar="source|class", help="Hold out each value of the column `source`, or each fake class.")
]
Real = Annotated[str | None, typer.Option("--real", metavar="CLASS", help="With --by class: the class of the real images.")]
NoMatrix = Annotated[
    bool, typer.Option("--no-matrix", help="Skip the matrix of models trained on one source and scored on all.")
]
Figure = Annotated[
    Path | None, typer.Option("--figure", metavar="FILE", help="Also draw the matrix as a heat map: .svg or .png.")
]


def run(
    data: opt.Data, recipe: opt.Recipe, by: By = "source", real: Real = None, no_matrix: NoMatrix = False,
    figure: Figure = None, overrides: opt.Overrides = None,
    images: opt.Images = None, id_column: opt.IdColumn = None, label_column: opt.LabelColumn = None, group: opt.Group = None,
    split_column: opt.SplitColumn = None, unlabeled: opt.Unlabeled = None,
    positive: opt.Positive = None, seed: opt.Seed = 0, split_from: opt.SplitFrom = None,
    skip_bad: opt.SkipBad = False, verify_files: opt.VerifyFiles = False,
    runs: opt.Runs = opt.RUNS, device: opt.Device = "auto", overwrite: opt.Overwrite = False,
    as_json: opt.AsJson = False, quiet: opt.Quiet = False, verbose: opt.Verbose = False,
) -> None:  # fmt: skip
    """Cross-source evaluation: hold out each source of DATA in turn and measure the accuracy on it.

    Then train on each source alone and score all sources. A detector that recognizes only the generators it was trained on
    shows it here. The test split stays sealed. The same command resumes after an interruption.
    """
    from tellapart.workflows.cross_source import cross_source

    if figure is not None and no_matrix:
        raise typer.BadParameter("--figure and --no-matrix: the figure shows the matrix; leave one of them out")
    opt.check_figure(figure, data)
    table = opt.scanned(data, images, id_column, label_column, group, positive, split_column=split_column, unlabeled=unlabeled)
    settings = opt.settings(
        runs=runs, device=device, quiet=quiet, skip_bad=skip_bad, verify_files=verify_files, seed=seed, split_from=split_from,
        overwrite=overwrite,
    )  # fmt: skip
    found = cross_source(table, recipe, by=by, real=real, matrix=not no_matrix, overrides=overrides or (), settings=settings)
    print_result(found, _print, as_json, figure, _draw)


def _draw(found: CrossSourceMatrix, figure: Path) -> Path:
    from tellapart.reports.cross_source_figures import heatmap
    from tellapart.reports.svg import write_figure

    return write_figure(heatmap(found), figure)


def _print(found: CrossSourceMatrix, console: Console) -> None:
    console.print(_left_out(found))
    opt.print_lines(*_lines(found))
    if found.matrix:
        console.print()
        console.print(_matrix(found))
        opt.print_lines("rows: trained on this source alone; columns: evaluated on; ·: its own validation images")
    opt.print_lines(*(f"  note: {note}" for note in found.notes), f"runs and sources.json: {found.folder}")


def _left_out(found: CrossSourceMatrix) -> Table:
    from rich.table import Table

    table = Table(
        title=f"{found.title}: each source held out", title_justify="left", box=None, pad_edge=False, header_style="bold"
    )
    two = len(found.classes) == 2
    names = ("held out", "n", "accuracy 95 %", *(("AUROC 95 %",) if two else ()), "if trained on", "points", "p")
    for name in names:
        table.add_column(name, justify="left" if name == "held out" else "right", no_wrap=name != "held out")
    for one in found.left_out:
        table.add_row(*_cells(one, two))
    return table


def _cells(one: LeaveOneOutResult, two: bool) -> list[str]:
    d, p = one.paired.difference, one.paired.test.p_value
    points = f"{100 * d.value:+.1f}".replace("-", "−")
    auroc = ["–" if one.unseen.auroc is None else _score(one.unseen.auroc)] if two else []
    n = f"{one.unseen.accuracy.n:,}"
    return [one.source, n, _score(one.unseen.accuracy), *auroc, _score(one.seen.accuracy), points, _p(p)]


def _lines(found: CrossSourceMatrix) -> list[str]:
    own = f"n={min(one.paired.test.n for one in found.left_out):,} and more"
    lines = [f"if trained on, points, p: on validation images of the source ({own}), exact paired test"]
    if found.one_sided:
        lines.append("accuracy on a source of one class: the share predicted as that class; AUROC: against the common images")
        held = {one.source: one.common for one in found.left_out if one.common is not None and one.source in found.one_sided}
        shares = [f"{_score(score)} without {source}" for source, score in held.items()]
        n = max((score.n for score in held.values()), default=0)
        lines += [f"accuracy on the common images (n={n:,}): {', '.join(shares)}"] if shares else []
    return [*lines, "the test split was not used"]


def _matrix(found: CrossSourceMatrix) -> Table:
    from rich.table import Table

    two = len(found.classes) == 2 and all(cell.auroc is not None for cell in found.matrix)
    title = f"trained on one source: {'AUROC' if two else 'accuracy'} 95 %"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for target in found.sources:
        table.add_column(target[:_NAME], justify="right", no_wrap=True)
    for trained_on in found.sources:
        row = [trained_on[:_NAME]]
        for target in found.sources:
            cell = found.cell(trained_on, target)
            score = None if cell is None else cell.auroc if two else cell.accuracy
            row.append("–" if cell is None or score is None else f"{_score(score)}{'·' if cell.seen else ' '}")
        table.add_row(*row)
    return table


def _score(score: Score) -> str:
    return f"{score.value:.3f} {score.low:.2f}–{score.high:.2f}"


def _p(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"
