"""`tellapart submit`: the answers of a run in the form of a competition's sample."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tellapart.cli import options as shared

KINDS = ("label", "probability", "classes")


def run(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="An id, the beginning of one, or a path.")],
    test: Annotated[Path, typer.Option("--test", help="The test images: test.csv, or a folder or archive of them.")],
    sample: Annotated[Path, typer.Option("--sample", help="The sample submission, whose form is copied.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The file to write.")] = Path("submission.csv"),
    images: Annotated[
        Path | None, typer.Option("--images", metavar="DIR", help="Where the images lie, if not there or beside test.csv.")
    ] = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="CLASS=TEXT", help="What the file calls a class: real=1,edited=0. Repeatable."),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option("--as", metavar="KIND", help="label, probability or classes, where the sample leaves it open."),
    ] = None,
    id_column: Annotated[str | None, typer.Option("--id-column", help="The sample's column of ids; the first.")] = None,
    runs: shared.Runs = Path("runs"),
    device: shared.Device = "auto",
    as_json: shared.AsJson = False,
    quiet: shared.Quiet = False,
    verbose: shared.Verbose = False,
) -> None:
    """Write a submission: the sample's header, ids, order and row count, with the answers of a run."""
    if kind is not None and kind not in KINDS:
        raise typer.BadParameter(f"--as {kind}: expected one of {', '.join(KINDS)}")
    from tellapart.workflows.submit import submit

    shared.check_output(out)
    settings = shared.settings(runs=runs, device=device, quiet=quiet)
    names = shared.pairs(mapping or [], "--map", "CLASS=TEXT, for example --map real=1,edited=0")
    done = submit(
        run_id, test=test, sample=sample, out=out, images=images, mapping=names, kind=kind,  # pyright: ignore[reportArgumentType]
        id_column=id_column, settings=settings,
    )  # fmt: skip
    if as_json:
        shared.print_json(_content(done))
        return
    said = [f"{done.path}: {done.rows:,} rows, {done.column}: {done.asked}"]
    said += [f"  {name}: {count:,}" for name, count in done.counts.items()]
    said += [f"note: {done.unasked:,} test images are not in the sample"] if done.unasked else []
    for line in [*said, "the first lines:", *(f"  {line}" for line in done.head)]:
        shared.out().print(line, markup=False, highlight=False, soft_wrap=True)


def _content(done: Any) -> dict[str, Any]:
    return {
        "path": str(done.path), "kind": done.kind, "rows": done.rows, "column": done.column, "asked": done.asked,
        "counts": done.counts, "unasked": done.unasked,
    }  # fmt: skip
