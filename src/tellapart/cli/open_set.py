"""`tellapart attribute`: which of these made it, or none of them?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tellapart.cli import options as shared

if TYPE_CHECKING:
    from tellapart.types import Score
    from tellapart.workflows.open_set import OpenSetReport


def run(
    data: shared.Data,
    recipe: Annotated[str, typer.Option("-r", "--recipe", help="A name of `tellapart recipes`, or a path to a .yaml file.")],
    share: Annotated[
        float, typer.Option("--false-alarms", metavar="SHARE", help='Of known images that may be called "none of these".')
    ] = 0.05,
    overrides: shared.Overrides = None,
    images: shared.Images = None,
    id_column: shared.IdColumn = None,
    label_column: shared.LabelColumn = None,
    group: shared.Group = None,
    runs: shared.Runs = Path("runs"),
    device: shared.Device = "auto",
    seed: shared.Seed = 0,
    skip_bad: shared.SkipBad = False,
    as_json: shared.AsJson = False,
    quiet: shared.Quiet = False,
    verbose: shared.Verbose = False,
) -> None:
    """Leave each class of DATA out in turn: are its images recognized as none of the others?

    For sets of many generators: a classifier of five names one of the five for a sixth, too, unless it may say "none of these".
    The test part stays closed. The same command goes on where it was cut off.
    """
    from tellapart.workflows.open_set import open_set

    table = shared.scanned(data, images, id_column, label_column, group, None)
    settings = shared.settings(runs=runs, device=device, quiet=quiet, skip_bad=skip_bad, seed=seed)
    found = open_set(table, recipe, share=share, overrides=overrides or (), settings=settings)
    if as_json:
        shared.print_json(found.to_dict())
    else:
        _print(found)


def _print(found: OpenSetReport) -> None:
    from rich.table import Table
    from rich.text import Text

    title = f"{found.title}: each left out"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    headings = ("left out", "n", "AUROC 95 %", "called none", "known called none", "known accuracy", "else taken for")
    for name in headings:
        table.add_column(name, justify="left" if name in ("left out", "else taken for") else "right")
    for one in found.left_out:
        taken, most = max(one.taken_for.items(), key=lambda pair: pair[1])
        scores = (one.auroc, one.found, one.false_alarms, one.accuracy)
        mistaken = Text(f"{taken} {most:.0%}" if most else "–")
        table.add_row(Text(one.unknown), f"{one.found.n:,}", *map(_score, scores), mistaken)
    console = shared.out()
    console.print(table)
    lines = [
        f"mean AUROC of unknown against known over {len(found.left_out)} classes: {found.mean_auroc:.3f}",
        f'"none": the highest probability is below that of all but {found.share:.0%} of validation images of known classes',
        "the test part was not opened",
        f"runs and attribution.json: {found.folder}",
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _score(score: Score) -> str:
    return f"{score.value:.3f} {score.low:.2f}–{score.high:.2f}"
