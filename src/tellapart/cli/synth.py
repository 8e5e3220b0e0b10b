"""`tellapart synth`: a labeled data set of synthetic fakes, made from real images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tellapart.cli import options as opt

if TYPE_CHECKING:
    from tellapart.workflows.synth import SynthResult


Reals = Annotated[str, typer.Argument(metavar="REALS", help="Real images: a folder, an archive, or labeled data.")]
Output = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder of the data set to write.")]
Kinds = Annotated[
    list[str] | None,
    typer.Option("-k", "--kind", metavar="KIND", help="splice, inpaint, … Repeatable. Default: all in turn."),
]
ClassName = Annotated[
    str | None, typer.Option("--class", metavar="NAME", help="The class of the real images, if REALS has labels.")
]
Format = Annotated[
    Literal["png", "jpeg"], typer.Option("--format", help="png: uncompressed, all files of the same size in bytes; or jpeg.")
]
Quality = Annotated[
    str, typer.Option("--quality", metavar="LOW-HIGH", help="Range of the JPEG quality, drawn for each image of either class.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Random seed for the forgeries.")]


def run(
    reals: Reals, output: Output, kinds: Kinds = None, class_name: ClassName = None, encoding: Format = "png",
    quality: Quality = "75-95", seed: Seed = 0, skip_bad: opt.SkipBad = False, verify_files: opt.VerifyFiles = False,
    as_json: opt.AsJson = False, quiet: opt.Quiet = False, verbose: opt.Verbose = False,
) -> None:  # fmt: skip
    """Synthesize fakes: forge half of the images of REALS and write a labeled data set with a mask for every fake.

    The fakes are synthetic: a detector of these forgeries may miss others. The same command resumes after an interruption.
    """
    from tellapart.os_errors import translate_os_errors
    from tellapart.reports.contact_sheets import forgery_sheet
    from tellapart.workflows.synth import synth

    settings = opt.settings(runs=opt.RUNS, device="cpu", quiet=quiet, skip_bad=skip_bad, verify_files=verify_files, seed=seed)
    made = synth(
        reals, output, kinds=kinds or (), class_name=class_name, encoding=encoding, quality=_range(quality), settings=settings
    )
    with translate_os_errors(output):
        forgery_sheet(output).savefig(output / "examples.png", dpi=110)
    if as_json:
        opt.print_json(made.to_dict())
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
    table.add_column("images", justify="right")
    table.add_column("mean forged share", justify="right")
    for kind, count in sorted(made.counts.items(), key=lambda pair: pair[0] != "none"):
        share = made.shares.get(kind)
        table.add_row("none (real)" if kind == "none" else kind, f"{count:,}", "" if share is None else f"{share:.0%}")
    opt.out().print(table)
    opt.print_lines(
        f"data set: {made.folder}, with examples of each kind in examples.png",
        "The fakes are synthetic: a detector of these forgeries may miss others.",
    )
