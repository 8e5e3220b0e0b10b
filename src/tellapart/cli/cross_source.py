"""`tellapart sources`: does a recipe hold on sources that it never saw?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tellapart.cli import options as shared

if TYPE_CHECKING:
    from rich.table import Table

    from tellapart.metrics.cross_source import CrossSourceMatrix, LeaveOneOutResult
    from tellapart.types import Score

_NAME = 20  # characters of a source's name in the matrix


By = Annotated[str, typer.Option("--by", metavar="source|class", help="The column `source`, or every class but the real one.")]
Real = Annotated[str | None, typer.Option("--real", metavar="CLASS", help="With --by class: the class of real images.")]
NoMatrix = Annotated[bool, typer.Option("--no-matrix", help="Do not also learn from each source alone and ask about all.")]
Picture = Annotated[Path | None, typer.Option("--figure", metavar="FILE", help="Draw the matrix as a heat map: .svg or .png.")]


def run(
    data: shared.Data,
    recipe: Annotated[str, typer.Option("-r", "--recipe", help="A name of `tellapart recipes`, or a path to a .yaml file.")],
    by: By = "source",
    real: Real = None,
    no_matrix: NoMatrix = False,
    figure: Picture = None,
    overrides: shared.Overrides = None,
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
    as_json: shared.AsJson = False,
    quiet: shared.Quiet = False,
    verbose: shared.Verbose = False,
) -> None:
    """Train without each source of DATA in turn and ask about it; then from each alone and ask about all.

    A detector that only knows the generators it learnt from shows it here. The test part stays closed. The same command goes on
    where it was cut off.
    """
    from tellapart.errors import RecipeError
    from tellapart.workflows.cross_source import cross_source

    if figure is not None:
        if figure.suffix.lower() not in (".svg", ".png") or no_matrix:
            raise RecipeError(f"--figure {figure}: expected a .svg or .png file, and a matrix to draw")
        shared.check_output(figure)
    table = shared.scanned(data, images, id_column, label_column, group, positive)
    settings = shared.settings(
        runs=runs, device=device, quiet=quiet, skip_bad=skip_bad, seed=seed, split_from=split_from, fresh=fresh
    )
    found = cross_source(table, recipe, by=by, real=real, matrix=not no_matrix, overrides=overrides or (), settings=settings)
    if figure is not None:
        from tellapart.reports.cross_source_figures import heatmap, write_figure

        write_figure(heatmap(found), figure)
    if as_json:
        shared.print_json(found.to_dict())
    else:
        _print(found)


def _print(found: CrossSourceMatrix) -> None:
    console = shared.out()
    console.print(_left_out(found))
    for line in _lines(found):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if found.matrix:
        console.print()
        console.print(_matrix(found))
        said = "rows: learnt from this one alone; columns: asked about; ·: its own validation images"
        console.print(said, markup=False, highlight=False, soft_wrap=True)
    for note in found.notes:
        console.print(f"  note: {note}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"runs and sources.json: {found.folder}", markup=False, highlight=False, soft_wrap=True)


def _left_out(found: CrossSourceMatrix) -> Table:
    from rich.table import Table

    table = Table(title=f"{found.title}: each left out", title_justify="left", box=None, pad_edge=False, header_style="bold")
    two = len(found.classes) == 2
    names = ("left out", "n", "accuracy 95 %", *(("AUROC 95 %",) if two else ()), "when learnt too", "points", "p")
    for name in names:
        table.add_column(name, justify="left" if name == "left out" else "right", no_wrap=name != "left out")
    for one in found.left_out:
        table.add_row(*(_plain(cell) for cell in _cells(one, two)))
    return table


def _cells(one: LeaveOneOutResult, two: bool) -> list[str]:
    d, p = one.paired.difference, one.paired.test.p_value
    points = f"{100 * d.value:+.1f}".replace("-", "−")
    auroc = ["–" if one.unseen.auroc is None else _score(one.unseen.auroc)] if two else []
    n = f"{one.unseen.accuracy.n:,}"
    return [one.source, n, _score(one.unseen.accuracy), *auroc, _score(one.seen.accuracy), points, _p(p)]


def _lines(found: CrossSourceMatrix) -> list[str]:
    own = f"n={min(one.paired.test.n for one in found.left_out):,} and more"
    lines = [f"when learnt too, points, p: on validation images of the source ({own}), exact paired test"]
    if found.one_sided:
        lines.append("accuracy on a source of one class is the share called so; AUROC is against the common images")
        held = {one.source: one.common for one in found.left_out if one.common is not None and one.source in found.one_sided}
        told = [f"{_score(score)} without {source}" for source, score in held.items()]
        n = max((score.n for score in held.values()), default=0)
        lines += [f"of the common images (n={n:,}) these shares are called right: {', '.join(told)}"] if told else []
    return [*lines, "the test part was not opened"]


def _matrix(found: CrossSourceMatrix) -> Table:
    from rich.table import Table

    two = len(found.classes) == 2 and all(cell.auroc is not None for cell in found.matrix)
    title = f"from one alone: {'AUROC' if two else 'accuracy'} 95 %"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for asked in found.sources:
        table.add_column(asked[:_NAME], justify="right", no_wrap=True)
    for learnt in found.sources:
        row = [learnt[:_NAME]]
        for asked in found.sources:
            cell = found.cell(learnt, asked)
            score = None if cell is None else cell.auroc if two else cell.accuracy
            row.append("–" if cell is None or score is None else f"{_score(score)}{'·' if cell.seen else ' '}")
        table.add_row(*map(_plain, row))
    return table


def _score(score: Score) -> str:
    return f"{score.value:.3f} {score.low:.2f}–{score.high:.2f}"


def _p(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _plain(text: str) -> Any:
    """Brackets are no markup."""
    from rich.text import Text

    return Text(text)
