"""`tellapart open-set`: are images of an unknown class rejected as "none of these"?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tellapart.cli import options as opt
from tellapart.terminal import one_line

if TYPE_CHECKING:
    from tellapart.types import Score
    from tellapart.workflows.open_set import OpenSetReport


FalseAlarms = Annotated[
    float,
    typer.Option("--false-alarms", metavar="SHARE", help='Share of known images that may be rejected as "none of these".'),
]


def run(
    data: opt.Data, recipe: opt.Recipe, share: FalseAlarms = 0.05, overrides: opt.Overrides = None,
    images: opt.Images = None, id_column: opt.IdColumn = None, label_column: opt.LabelColumn = None, group: opt.Group = None,
    split_column: opt.SplitColumn = None, unlabeled: opt.Unlabeled = None,
    seed: opt.Seed = 0, skip_bad: opt.SkipBad = False, verify_files: opt.VerifyFiles = False,
    runs: opt.Runs = opt.RUNS, device: opt.Device = "auto",
    as_json: opt.AsJson = False, quiet: opt.Quiet = False, verbose: opt.Verbose = False,
) -> None:  # fmt: skip
    """Open-set evaluation: hold out each class of DATA in turn and measure how well it is rejected as unknown.

    For data sets of many generators: a classifier of five generators names one of the five for a sixth, too, unless it may
    reject an image as "none of these". The test split stays sealed. The same command resumes after an interruption.
    """
    from tellapart.workflows.open_set import open_set

    table = opt.scanned(data, images, id_column, label_column, group, None, split_column=split_column, unlabeled=unlabeled)
    settings = opt.settings(runs=runs, device=device, quiet=quiet, skip_bad=skip_bad, verify_files=verify_files, seed=seed)
    found = open_set(table, recipe, share=share, overrides=overrides or (), settings=settings)
    if as_json:
        opt.print_json(found.to_dict())
    else:
        _print(found)


def _print(found: OpenSetReport) -> None:
    from rich.table import Table
    from rich.text import Text

    title = f"{found.title}: each class held out"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    headings = ("held out", "n", "AUROC 95 %", "rejected", "known rejected", "known accuracy", "else predicted")
    for name in headings:
        table.add_column(name, justify="left" if name in ("held out", "else predicted") else "right")
    for one in found.left_out:
        taken, most = max(one.predicted_as.items(), key=lambda pair: pair[1])
        scores = (one.auroc, one.rejected, one.false_alarms, one.accuracy)
        mistaken = Text(f"{taken} {most:.0%}" if most else "–")
        table.add_row(one_line(one.unknown), f"{one.rejected.n:,}", *map(_score, scores), mistaken)
    console = opt.out()
    console.print(table)
    lines = [
        f"mean AUROC of unknown against known over {len(found.left_out)} classes: {found.mean_auroc:.3f}",
        f"rejected: the highest probability is below that of all but {found.share:.0%} of known validation images",
        "the test split was not used",
        f"runs and attribution.json: {found.folder}",
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _score(score: Score) -> str:
    return f"{score.value:.3f} {score.low:.2f}–{score.high:.2f}"
