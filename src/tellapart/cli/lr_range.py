"""`tellapart lr-range`: learning-rate range test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tellapart.cli import options as opt

if TYPE_CHECKING:
    from tellapart.training.lr_range import LrRangeResult


From = Annotated[float, typer.Option("--from", help="First learning rate.")]
To = Annotated[float, typer.Option("--to", help="Last learning rate.")]
Steps = Annotated[int, typer.Option("--steps", help="Number of optimizer steps, each with a larger learning rate.")]
Output = Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The PNG figure to write.")]


def run(
    data: opt.Data, recipe: opt.Recipe, overrides: opt.Overrides = None, start: From = 1e-6, end: To = 10.0,
    steps: Steps = 100, output: Output = Path("lr-range.png"),
    images: opt.Images = None, id_column: opt.IdColumn = None, label_column: opt.LabelColumn = None, group: opt.Group = None,
    split_column: opt.SplitColumn = None, unlabeled: opt.Unlabeled = None,
    positive: opt.Positive = None, seed: opt.Seed = 0, split_from: opt.SplitFrom = None,
    skip_bad: opt.SkipBad = False, verify_files: opt.VerifyFiles = False,
    runs: opt.Runs = opt.RUNS, device: opt.Device = "auto",
    as_json: opt.AsJson = False, quiet: opt.Quiet = False, verbose: opt.Verbose = False,
) -> None:  # fmt: skip
    """Find a learning rate for a network on DATA: raise the rate step by step until the loss diverges.

    Network, optimizer, batch size and augmentation are those of the recipe. Only the train split is used; no run is made.
    """
    from tellapart.training.lr_range import LrRange
    from tellapart.workflows.lr_range import lr_range

    opt.check_output(output, data)
    span = LrRange(start, end, steps)
    table = opt.scanned(data, images, id_column, label_column, group, positive, split_column=split_column, unlabeled=unlabeled)
    settings = opt.settings(
        runs=runs, device=device, quiet=quiet, skip_bad=skip_bad, verify_files=verify_files, seed=seed, split_from=split_from
    )
    result = lr_range(table, recipe, overrides=overrides or (), span=span, settings=settings)
    picture = _draw(result, output, f"{recipe} on {table.name}")
    if as_json:
        opt.print_json(result.to_dict() | {"picture": str(picture)})
    else:
        _print(result, recipe, picture)


def _draw(result: LrRangeResult, output: Path, title: str) -> Path:
    from tellapart.reports.svg import write_png
    from tellapart.reports.sweep_figures import rates_figure

    return write_png(rates_figure(result.rates, result.losses, result.smooth, _marks(result), title), output)


def _marks(result: LrRangeResult) -> dict[str, float]:
    found = {"suggested peak": result.peak, "steepest": result.steepest, "lowest": result.lowest}
    return {n: r for n, r in found.items() if r is not None and (n == "suggested peak" or r != result.peak)}


def _print(result: LrRangeResult, recipe: str, picture: Path) -> None:
    from rich.table import Table

    console = opt.out()
    table = Table("learning rate", "loss", "smoothed", box=None, header_style="bold")
    for place in range(0, len(result.rates), max(len(result.rates) // 20, 1)):
        table.add_row(f"{result.rates[place]:.1e}", f"{result.losses[place]:.3f}", f"{result.smooth[place]:.3f}")
    console.print(table)
    opt.print_lines(*_advice(result, recipe), f"figure: {picture}")


def _advice(result: LrRangeResult, recipe: str) -> list[str]:
    lines = [f"ended after {len(result.rates)} steps: {result.ended}"]
    if result.peak is None or result.lowest is None or result.steepest is None:
        return [*lines, "no suggestion: the smoothed loss never fell; try a lower --from or more --steps"]
    lines.append(
        f"steepest descent at {result.steepest:.2g}; lowest smoothed loss at {result.lowest:.2g}, a tenth of it: "
        f"{result.lowest / 10:.2g}"
    )
    lines.append(f"suggested peak: {result.peak:.2g}, {result.rule}: the smaller of the two candidates")
    if result.still_falling:
        lines.append("the loss was still falling at the end: try a larger --to")
    return [*lines, f"use it: tellapart train DATA -r {recipe} {' '.join(f'-s {s}' for s in result.settings)}"]
