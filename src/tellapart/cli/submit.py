"""`tellapart submit`: the predictions of a run in the format of a competition's sample submission."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tellapart.cli import options as opt

KINDS = ("label", "probability", "classes")


Test = Annotated[
    Path, typer.Option("--test", metavar="PATH", help="The test images: test.csv, or a folder or archive of images.")
]
SampleFile = Annotated[
    Path, typer.Option("--sample", metavar="FILE", help="The sample submission; its columns, ids and order are copied.")
]
Output = Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The submission to write.")]
Images = Annotated[
    Path | None, typer.Option("--images", metavar="DIR", help="Folder of the images, if they are not beside test.csv.")
]
Map = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="CLASS=TEXT", help="Name of a class in the submission: real=1,edited=0. Repeatable."),
]
Kind = Annotated[
    str | None,
    typer.Option("--as", metavar="KIND", help="label, probability or classes, if the sample does not determine it."),
]
IdColumn = Annotated[
    str | None,
    typer.Option(
        "--id-column",
        metavar="COLUMN",
        help="Column of test.csv that names the image files. Default: the column whose cells name files.",
    ),
]
SampleIdColumn = Annotated[
    str | None,
    typer.Option(
        "--sample-id-column",
        metavar="COLUMN",
        help="Id column of the sample. Default: the first column that is not a running number.",
    ),
]
AnswerColumns = Annotated[
    list[str] | None,
    typer.Option(
        "--answer-column",
        metavar="COLUMN",
        help="Column of the sample to fill; the others are copied. Default: all but the ids. Repeatable.",
    ),
]


def run(
    run_id: opt.RunId, test: Test, sample: SampleFile, output: Output = Path("submission.csv"), images: Images = None,
    mapping: Map = None, kind: Kind = None, id_column: IdColumn = None, sample_id_column: SampleIdColumn = None,
    answer_columns: AnswerColumns = None, runs: opt.Runs = opt.RUNS, device: opt.Device = "auto",
    as_json: opt.AsJson = False, quiet: opt.Quiet = False, verbose: opt.Verbose = False,
    verify_files: opt.VerifyFiles = False,
) -> None:  # fmt: skip
    """Write a competition submission: the header, ids and row order of the sample, with the predictions of a run."""
    if kind is not None and kind not in KINDS:
        raise typer.BadParameter(f"--as {kind}: expected one of {', '.join(KINDS)}")
    from tellapart.workflows.submit import submit

    opt.check_output(output)
    settings = opt.settings(runs=runs, device=device, quiet=quiet, verify_files=verify_files)
    names = opt.pairs(mapping or [], "--map", "CLASS=TEXT, for example --map real=1,edited=0")
    done = submit(
        run_id, test=test, sample=sample, out=output, images=images, mapping=names, kind=kind,  # pyright: ignore[reportArgumentType]
        id_column=id_column, sample_id_column=sample_id_column, answer_columns=answer_columns or (), settings=settings,
    )  # fmt: skip
    if as_json:
        opt.print_json(_content(done))
        return
    lines = [f"{done.path}: {done.rows:,} rows, {done.column}: {done.asked}"]
    lines += [f"  {name}: {count:,}" for name, count in done.counts.items()]
    lines += [f"note: {note}" for note in done.notes]
    lines += [f"note: {done.unasked:,} test images are not in the sample"] if done.unasked else []
    opt.print_lines(*lines, "first lines:", *(f"  {line}" for line in done.head))


def _content(done: Any) -> dict[str, Any]:
    return {
        "path": str(done.path), "kind": done.kind, "rows": done.rows, "column": done.column, "content": done.asked,
        "counts": done.counts, "not_in_sample": done.unasked,
        "notes": list(done.notes),
    }  # fmt: skip
