"""`tellapart lr-range`: which learning rate to train with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tellapart.cli import options as shared
from tellapart.workflows.lr_range import lr_range

if TYPE_CHECKING:
    from tellapart.training.lr_range import LrRangeResult


def run(
    data: shared.Data,
    recipe: Annotated[str, typer.Option("-r", "--recipe", help="A name of `tellapart recipes`, or a path to a .yaml file.")],
    overrides: shared.Overrides = None,
    start: Annotated[float, typer.Option("--from", help="The first rate.")] = 1e-6,
    end: Annotated[float, typer.Option("--to", help="The last rate.")] = 10.0,
    steps: Annotated[int, typer.Option("--steps", help="Steps of the optimizer, each at a larger rate.")] = 100,
    output: Annotated[Path, typer.Option("-o", "--output", help="Where the picture is written.")] = Path("lr-range.png"),
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
    as_json: shared.AsJson = False,
    quiet: shared.Quiet = False,
    verbose: shared.Verbose = False,
) -> None:
    """Find a learning rate for a network on DATA: the rate rises step by step until the loss explodes.

    Net, optimizer, batches and augmentation are the recipe's; only the training part is used, and no run is made.
    """
    from tellapart.training.lr_range import LrRange

    shared.check_output(output)
    span = LrRange(start, end, steps)
    table = shared.scanned(data, images, id_column, label_column, group, positive)
    settings = shared.settings(runs=runs, device=device, quiet=quiet, skip_bad=skip_bad, seed=seed, split_from=split_from)
    sweep = lr_range(table, recipe, overrides=overrides or (), span=span, settings=settings)
    picture = _draw(sweep, output, f"{recipe} on {table.name}")
    if as_json:
        shared.print_json(sweep.to_dict() | {"picture": str(picture)})
    else:
        _print(sweep, recipe, picture)


def _draw(sweep: LrRangeResult, output: Path, title: str) -> Path:
    from tellapart.reports.svg import write_png
    from tellapart.reports.sweep_figures import rates_figure

    return write_png(rates_figure(sweep.rates, sweep.losses, sweep.smooth, _marks(sweep), title), output)


def _marks(sweep: LrRangeResult) -> dict[str, float]:
    found = {"suggested peak": sweep.peak, "steepest": sweep.steepest, "lowest": sweep.lowest}
    return {n: r for n, r in found.items() if r is not None and (n == "suggested peak" or r != sweep.peak)}


def _print(sweep: LrRangeResult, recipe: str, picture: Path) -> None:
    from rich.table import Table

    console = shared.out()
    table = Table("learning rate", "loss", "smoothed", box=None, header_style="bold")
    for place in range(0, len(sweep.rates), max(len(sweep.rates) // 20, 1)):
        table.add_row(f"{sweep.rates[place]:.1e}", f"{sweep.losses[place]:.3f}", f"{sweep.smooth[place]:.3f}")
    console.print(table)
    for line in _advice(sweep, recipe):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(f"picture: {picture}", markup=False, highlight=False, soft_wrap=True)


def _advice(sweep: LrRangeResult, recipe: str) -> list[str]:
    lines = [f"ended after {len(sweep.rates)} steps: {sweep.ended}"]
    if sweep.peak is None or sweep.lowest is None or sweep.steepest is None:
        return [*lines, "no suggestion: the smoothed loss never fell; try a lower --from, or more --steps"]
    lines.append(
        f"steepest fall at {sweep.steepest:.2g}; lowest smoothed loss at {sweep.lowest:.2g}, a tenth: {sweep.lowest / 10:.2g}"
    )
    lines.append(f"suggested peak: {sweep.peak:.2g}, {sweep.rule}: the smaller of the two rules' rates")
    if sweep.still_falling:
        lines.append("the loss was still falling at the end: a larger --to may show a larger peak")
    return [*lines, f"use it: tellapart train DATA -r {recipe} {' '.join(f'-s {s}' for s in sweep.settings)}"]
