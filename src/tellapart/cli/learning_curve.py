"""`tellapart learning-curve`: would more images help?"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tellapart.cli import options as shared

if TYPE_CHECKING:
    from tellapart.metrics.learning_curve import LearningCurve


def run(
    data: shared.Data,
    recipe: Annotated[str, typer.Option("-r", "--recipe", help="A name of `tellapart recipes`, or a path to a .yaml file.")],
    sizes: Annotated[
        str, typer.Option("--sizes", metavar="S,S", help="Shares of the training part (up to 1), or numbers of images.")
    ] = "0.1,0.25,0.5,1",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="So often each size, with other images.")] = 3,
    figure: Annotated[Path | None, typer.Option("--figure", metavar="FILE", help="Draw the curve: .svg or .png.")] = None,
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
    """Train a recipe on parts of the training part, each within the next, and judge all on the validation part.

    The test part stays closed. The same command goes on where it was cut off.
    """
    from tellapart.errors import RecipeError
    from tellapart.workflows.learning_curve import learning_curve

    asked = _sizes(sizes)
    if figure is not None:
        if figure.suffix.lower() not in (".svg", ".png"):
            raise RecipeError(f"--figure {figure}: expected a .svg or .png file")
        shared.check_output(figure)
    table = shared.scanned(data, images, id_column, label_column, group, positive)
    settings = shared.settings(
        runs=runs, device=device, quiet=quiet, skip_bad=skip_bad, seed=seed, split_from=split_from, fresh=fresh
    )
    found = learning_curve(table, recipe, sizes=asked, seeds=seeds, overrides=overrides or (), settings=settings)
    if figure is not None:
        from tellapart.reports.cross_source_figures import learning, write_figure

        write_figure(learning(found), figure)
    if as_json:
        shared.print_json(found.to_dict())
    else:
        _print(found)


def _sizes(text: str) -> list[float]:
    try:
        return [float(one) for one in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"--sizes {text}: expected numbers such as 0.1,0.5,1") from None


def _print(found: LearningCurve) -> None:
    from rich.table import Table

    console = shared.out()
    table = Table(title=f"{found.title}: accuracy", title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in ("learnt from", "accuracy 95 %", "sd over seeds", "seeds"):
        table.add_column(name, justify="right", no_wrap=name != "seeds")
    for size in found.sizes:
        score = f"{size.accuracy.value:.3f} {size.accuracy.low:.3f}–{size.accuracy.high:.3f}"
        sd = "–" if math.isnan(size.sd) else f"{size.sd:.3f}"
        table.add_row(*(_plain(cell) for cell in (f"{size.images:,}", score, sd, " ".join(f"{s:.3f}" for s in size.seeds))))
    console.print(table)
    for line in _lines(found):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _lines(found: LearningCurve) -> list[str]:
    n = found.sizes[0].accuracy.n
    lines = [f"n={n:,} validation images; the interval is by these images, the sd by what is learnt from and the seed"]
    if found.law is None:
        lines.append(f"no guess about more images: {found.why}")
    else:
        law = found.law
        lines.append(
            f"if it goes on like this (a guess, not a measurement): {law.accuracy:.3f} from {law.images:,} images, "
            f"{law.low:.3f} to {law.high:.3f} when one size is left out; error = {law.a:.3g} · n^−{law.b:.2f}"
        )
    return [*lines, *(f"  note: {note}" for note in found.notes), f"runs and curve.json: {found.folder}"]


def _plain(text: str) -> Any:
    """Brackets are no markup."""
    from rich.text import Text

    return Text(text)
