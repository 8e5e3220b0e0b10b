"""`tellapart synth`: labeled pseudo-fakes from real pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tellapart.cli import options as shared

if TYPE_CHECKING:
    from tellapart.workflows.synth import SynthResult


def run(
    reals: Annotated[str, typer.Argument(metavar="REALS", help="Real pictures: a folder, an archive, or labeled data.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the pictures that are written.")],
    kinds: Annotated[
        list[str] | None,
        typer.Option("-k", "--kind", help="splice, inpaint, … Repeatable. Default: all, taking turns; docs/synth.md."),
    ] = None,
    class_name: Annotated[
        str | None, typer.Option("--class", metavar="NAME", help="Of labeled REALS: the class whose images are real.")
    ] = None,
    encoding: Annotated[
        Literal["png", "jpeg"], typer.Option("--format", help="png: uncompressed, so that bytes tell nothing; or jpeg.")
    ] = "png",
    quality: Annotated[
        str, typer.Option("--quality", metavar="LOW-HIGH", help="Of JPEG, drawn for each picture whatever its class.")
    ] = "75-95",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of everything that is drawn.")] = 0,
    skip_bad: shared.SkipBad = False,
    as_json: shared.AsJson = False,
    quiet: shared.Quiet = False,
    verbose: shared.Verbose = False,
) -> None:
    """Forge half of some real pictures: a data set of real and fake with a mask for every fake.

    The same command goes on where it was cut off. The fakes are synthetic: what finds them need not find others.
    """
    from tellapart.io import translate_os_errors
    from tellapart.reports.contact_sheets import forgery_sheet
    from tellapart.workflows.synth import synth

    settings = shared.settings(runs=Path("runs"), device="cpu", quiet=quiet, skip_bad=skip_bad, seed=seed)
    made = synth(
        reals, out, kinds=kinds or (), class_name=class_name, encoding=encoding, quality=_range(quality), settings=settings
    )
    with translate_os_errors(out):
        forgery_sheet(out).savefig(out / "examples.png", dpi=110)
    if as_json:
        shared.print_json(made.to_dict())
    else:
        _print(made)


def _range(text: str) -> tuple[int, int]:
    """ "75-95" → (75, 95); "90" → (90, 90)."""
    low, _, high = text.partition("-")
    try:
        found = int(low), int(high or low)
    except ValueError:
        found = 0, 0
    if not 1 <= found[0] <= found[1] <= 100:
        raise typer.BadParameter(f"--quality {text}: expected two numbers from 1 to 100, such as 75-95")
    return found


def _print(made: SynthResult) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("forgery")
    table.add_column("pictures", justify="right")
    table.add_column("mean share forged", justify="right")
    for kind, count in sorted(made.counts.items(), key=lambda pair: pair[0] != "none"):
        share = made.shares.get(kind)
        table.add_row("none: real" if kind == "none" else kind, f"{count:,}", "" if share is None else f"{share:.0%}")
    console = shared.out()
    console.print(table)
    console.print(f"{made.folder}, pictures of each in examples.png", markup=False, highlight=False, soft_wrap=True)
    console.print("The fakes are synthetic: what finds them need not find others.", highlight=False)
