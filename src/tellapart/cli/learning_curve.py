"""`tellapart learning-curve`: how does accuracy grow with the number of training images?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from tellapart.cli import options as opt
from tellapart.cli._results import print_result

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from tellapart.metrics.learning_curve import LearningCurve


Sizes = Annotated[
    str, typer.Option("--sizes", metavar="S,S", help="Shares of the train split (up to 1), or numbers of images.")
]
Seeds = Annotated[int, typer.Option("--seeds", min=1, help="Number of random subsets of each size.")]


def run(
    data: opt.Data, recipe: opt.Recipe, sizes: Sizes = "0.1,0.25,0.5,1", seeds: Seeds = 3, figure: opt.Figure = None,
    overrides: opt.Overrides = None,
    images: opt.Images = None, id_column: opt.IdColumn = None, label_column: opt.LabelColumn = None, group: opt.Group = None,
    split_column: opt.SplitColumn = None, unlabeled: opt.Unlabeled = None,
    positive: opt.Positive = None, seed: opt.Seed = 0, split_from: opt.SplitFrom = None,
    skip_bad: opt.SkipBad = False, verify_files: opt.VerifyFiles = False,
    runs: opt.Runs = opt.RUNS, device: opt.Device = "auto", overwrite: opt.Overwrite = False,
    as_json: opt.AsJson = False, quiet: opt.Quiet = False, verbose: opt.Verbose = False,
) -> None:  # fmt: skip
    """Train a recipe on nested subsets of the train split and score each on the validation split.

    The test split stays sealed. The same command resumes after an interruption.
    """
    from tellapart.workflows.learning_curve import learning_curve

    requested = _sizes(sizes)
    opt.check_figure(figure, data)
    table = opt.scanned(data, images, id_column, label_column, group, positive, split_column=split_column, unlabeled=unlabeled)
    settings = opt.settings(
        runs=runs, device=device, quiet=quiet, skip_bad=skip_bad, verify_files=verify_files, seed=seed, split_from=split_from,
        overwrite=overwrite,
    )  # fmt: skip
    found = learning_curve(table, recipe, sizes=requested, seeds=seeds, overrides=overrides or (), settings=settings)
    print_result(found, _print, as_json, figure, _draw)


def _draw(found: LearningCurve, figure: Path) -> Path:
    from tellapart.reports.cross_source_figures import learning
    from tellapart.reports.svg import write_figure

    return write_figure(learning(found), figure)


def _sizes(text: str) -> list[float]:
    try:
        return [float(one) for one in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"--sizes {text}: expected numbers such as 0.1,0.5,1") from None


def _print(found: LearningCurve, console: Console) -> None:
    from rich.table import Table

    table = Table(title=f"{found.title}: accuracy", title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in ("trained on", "accuracy 95 %", "sd over seeds", "seeds"):
        table.add_column(name, justify="right", no_wrap=name != "seeds")
    for size in found.sizes:
        score = f"{size.accuracy.value:.3f} {size.accuracy.low:.3f}–{size.accuracy.high:.3f}"
        sd = "–" if math.isnan(size.sd) else f"{size.sd:.3f}"
        table.add_row(f"{size.images:,}", score, sd, " ".join(f"{s:.3f}" for s in size.seeds))
    console.print(table)
    opt.print_lines(*_lines(found))


def _lines(found: LearningCurve) -> list[str]:
    n = found.sizes[0].accuracy.n
    lines = [f"n={n:,} validation images; the interval is over these images, the sd over training subsets and seeds"]
    if found.law is None:
        lines.append(f"no extrapolation: {found.why}")
    else:
        law = found.law
        lines.append(
            f"extrapolated (not measured): accuracy {law.accuracy:.3f} from {law.images:,} images, "
            f"{law.low:.3f} to {law.high:.3f} if one size is left out of the fit; error = {law.a:.3g} · n^−{law.b:.2f}"
        )
    return [*lines, *(f"  note: {note}" for note in found.notes), f"runs and curve.json: {found.folder}"]
