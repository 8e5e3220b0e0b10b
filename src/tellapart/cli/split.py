"""`tellapart split`: a train/validation/test split that keeps duplicates and groups together, as a CSV."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tellapart.cli import options as opt
from tellapart.cli.check import Reviewed
from tellapart.cli.predict import RawCsv
from tellapart.terminal import one_line

if TYPE_CHECKING:
    from tellapart.workflows.split import SplitResult


Output = Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The CSV to write.")]
NearDuplicates = Annotated[
    bool,
    typer.Option(
        "--near-duplicates/--exact-only", help="Keep near-duplicates in one split, or exact duplicates only (faster)."
    ),
]
Embedding = Annotated[
    str | None,
    typer.Option("--embedding", metavar="RUN", help="Also search for near-duplicates with the features of this run."),
]
Shares = Annotated[str, typer.Option("--shares", metavar="A,B,C", help="Relative sizes of train, valid and test.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Ignore the split that DATA already has.")]


def run(
    data: opt.Data, output: Output = Path("split.csv"), near_duplicates: NearDuplicates = True, embedding: Embedding = None,
    shares: Shares = "70,10,20", overwrite: Overwrite = False, reviewed: Reviewed = None,
    images: opt.Images = None, id_column: opt.IdColumn = None, label_column: opt.LabelColumn = None, group: opt.Group = None,
    split_column: opt.SplitColumn = None, unlabeled: opt.Unlabeled = None,
    seed: opt.Seed = 0, verify_files: opt.VerifyFiles = False, runs: opt.Runs = opt.RUNS,
    raw_csv: RawCsv = False, as_json: opt.AsJson = False, quiet: opt.Quiet = False, verbose: opt.Verbose = False,
) -> None:  # fmt: skip
    """Split DATA into train, validation and test; duplicates, near-duplicates and groups stay in one split."""
    sizes = _shares(shares)
    if embedding and not near_duplicates:
        raise typer.BadParameter("--exact-only and --embedding: --exact-only does not search with features; leave one out")
    opt.check_output(output, data)
    from tellapart.checks.review import read_review, write_rows
    from tellapart.workflows.split import images_location, split_dataset, write_split

    table = opt.scanned(
        data,
        images,
        id_column,
        label_column,
        group,
        None,
        verify_files=verify_files,
        split_column=split_column,
        unlabeled=unlabeled,
    )
    table = read_review(reviewed, table).remaining(table) if reviewed else table
    found = split_dataset(
        table, near_duplicates=near_duplicates, embedding=embedding, runs=runs, shares=sizes, seed=seed, overwrite=overwrite,
        progress=opt.progress(quiet),
    )  # fmt: skip
    write_rows(write_split(found), output, guarded=not raw_csv)
    command = _command(output, images_location(found.table))
    if as_json:
        content = found.to_dict()
        opt.print_json(content | {"written": str(output), "next": command})
    else:
        _print(found, output, command)


def _shares(text: str) -> dict[str, float]:
    """`70,10,20` → shares of train, valid and test."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != 3 or not all(0 < value < float("inf") for value in values):
        raise typer.BadParameter(
            f"--shares {text}: expected three numbers above 0 for train, valid and test, for example 70,10,20"
        )
    return dict(zip(("train", "valid", "test"), values, strict=True))


def _command(output: Path, images: Path) -> str:
    """The command that uses the CSV; it names the folder of the images, unless the CSV lies in it."""
    import shlex

    beside = output.resolve().parent == images.resolve()
    return shlex.join(["tellapart", "compare", str(output), *([] if beside else ["--images", str(images)])])


def _print(found: SplitResult, output: Path, command: str) -> None:
    from rich.table import Table

    counts = found.table.counts()
    table = Table(box=None, pad_edge=False)
    for heading in ("class", *counts.columns):
        table.add_column(str(heading), justify="left" if heading == "class" else "right", overflow="fold")
    for name, of in counts.iterrows():
        table.add_row(one_line(str(name)), *(f"{count:,}" for count in of))
    opt.out().print(table)
    near = "" if found.near is None else f", {found.near:,} pairs of near-duplicates"
    plural = "s" if found.groups > 1 else ""
    sets = f"{found.groups:,} set{plural} of images kept together, at most {found.largest:,} images each"
    together = sets if found.groups else "nothing to keep together"
    opt.print_lines(*_left_out(found))
    opt.print_lines(f"{found.exact:,} images with an exact duplicate{near}: {together}", f"wrote {output}; next: {command}")


def _left_out(found: SplitResult) -> list[str]:
    """What is in no split: counts, then the first files by name."""
    from tellapart.data.left_out import HARMLESS

    first, *others = found.left_out.lines() or [""]
    bad = [problem for problem in found.table.problems if problem.kind not in HARMLESS]
    named = [f"  {problem}" for problem in bad[:_NAMED]]
    more = [f"  … and {len(bad) - _NAMED:,} more"] if len(bad) > _NAMED else []
    return [line for line in (first, *named, *more, *others) if line]


_NAMED = 10  # files that are named
