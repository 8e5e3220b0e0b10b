"""`tellapart split`: train, valid and test that keep twins and groups together, as a CSV."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tellapart.cli import options as shared
from tellapart.cli.check import Reviewed

if TYPE_CHECKING:
    from tellapart.workflows.split import SplitResult


def run(
    data: shared.Data,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="The CSV that is written.")] = Path("split.csv"),
    by_twins: Annotated[bool, typer.Option("--by-twins", help="Keep near-duplicates together: this is the default.")] = True,
    exact_only: Annotated[bool, typer.Option("--exact-only", help="Keep only exact copies together: no search.")] = False,
    embedding: Annotated[
        str | None, typer.Option("--embedding", metavar="RUN", help="A finished run that helps to find near-duplicates.")
    ] = None,
    shares: Annotated[str, typer.Option("--shares", metavar="A,B,C", help="Sizes of train, valid and test.")] = "70,10,20",
    anew: Annotated[bool, typer.Option("--anew", help="Forget the split that the data come with.")] = False,
    reviewed: Reviewed = None,
    images: shared.Images = None,
    id_column: shared.IdColumn = None,
    label_column: shared.LabelColumn = None,
    group: shared.Group = None,
    runs: shared.Runs = Path("runs"),
    seed: shared.Seed = 0,
    as_json: shared.AsJson = False,
    quiet: shared.Quiet = False,
    verbose: shared.Verbose = False,
) -> None:
    """Split DATA so that what shows the same picture, or belongs to one group, stays on one side."""
    sizes = _shares(shares)
    if exact_only and embedding:
        raise typer.BadParameter("--exact-only and --embedding: with exact copies only no run is asked")
    shared.check_output(out)
    from tellapart.checks.review import read_review, write_rows
    from tellapart.workflows.split import images_location, split_dataset, write_split

    table = shared.scanned(data, images, id_column, label_column, group, None)
    table = read_review(reviewed, table).remaining(table) if reviewed else table
    found = split_dataset(
        table, by_twins=by_twins and not exact_only, embedding=embedding, runs=runs, shares=sizes, seed=seed, anew=anew,
        progress=shared.progress(quiet),
    )  # fmt: skip
    write_rows(write_split(found), out)
    use = _command(out, images_location(found.table))
    if as_json:
        shared.print_json(found.to_dict() | {"written": str(out), "use": use})
    else:
        _print(found, out, use)


def _shares(text: str) -> dict[str, float]:
    """`70,10,20` → shares of train, valid and test."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != 3 or not all(0 < value < float("inf") for value in values):
        raise typer.BadParameter(f"--shares {text}: expected three numbers above 0: train, valid, test, for example 70,10,20")
    return dict(zip(("train", "valid", "test"), values, strict=True))


def _command(out: Path, images: Path) -> str:
    """How the CSV is used: it must be told where the images are, unless it lies beside them."""
    import shlex

    beside = out.resolve().parent == images.resolve()
    return shlex.join(["tellapart", "compare", str(out), *([] if beside else ["--images", str(images)])])


def _print(found: SplitResult, out: Path, use: str) -> None:
    from rich.table import Table

    console = shared.out()
    counts = found.table.counts()
    table = Table(box=None, pad_edge=False)
    for heading in ("class", *counts.columns):
        table.add_column(str(heading), justify="left" if heading == "class" else "right", overflow="fold")
    for name, of in counts.iterrows():
        table.add_row(str(name), *(f"{count:,}" for count in of))
    console.print(table)
    near = "" if found.near is None else f", {found.near:,} pairs of near-duplicates"
    sets = f"{found.groups:,} set{'s' if found.groups > 1 else ''} of images kept together, of at most {found.largest:,}"
    together = sets if found.groups else "nothing to keep together"
    lines = [f"{found.exact:,} images with an exact copy{near}: {together}", f"wrote {out}; use it: {use}"]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
