"""`tellapart export`: a run as a graph of ONNX, with weights, configuration and card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tellapart.cli import options as shared

if TYPE_CHECKING:
    from tellapart.workflows.export import Exported


def run(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="An id, the beginning of one, or a path.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="DIR", help="The folder. Default: exported/ and the run's id.")
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Also a graph in eight bits; refused where it loses too much accuracy.")
    ] = False,
    calibration_images: Annotated[
        int, typer.Option("--calibration-images", metavar="N", min=1, help="Of --int8: training images it is fitted to.")
    ] = 256,
    runs: shared.Runs = Path("runs"),
    as_json: shared.AsJson = False,
    quiet: shared.Quiet = False,
    verbose: shared.Verbose = False,
) -> None:
    """Write a finished run as a folder for ONNX Runtime and model hubs, proved to answer as the run does."""
    from tellapart.workflows.export import export

    settings = shared.settings(runs=runs, device="cpu", quiet=quiet)
    found = export(run_id, out, int8=int8, calibration_images=calibration_images, settings=settings)
    if as_json:
        shared.print_json(found.to_dict())
    else:
        _print(found)


def _print(found: Exported) -> None:
    from rich.table import Table

    console = shared.out()
    table = Table(box=None, pad_edge=False)
    table.add_column(str(found.folder), overflow="fold")
    table.add_column("kB", justify="right")
    for name, size in found.files.items():
        table.add_row(name, f"{size / 1000:,.1f}")
    console.print(table)
    parity = found.parity
    lines = [
        f"opset {found.opset}; torch and ONNX Runtime differ by at most {parity.largest:.1e} in a probability (limit "
        f"{parity.limit:g}), {parity.answers} answers to pictures of {len(parity.sizes)} sizes in batches of "
        f"{', '.join(map(str, parity.batches))}"
    ]
    if found.int8:
        lines.append(
            f"int8: {100 * found.int8['valid_accuracy']:.1f} % right on validation, "
            f"{100 * found.int8['answers_changed']:.1f} % answered otherwise. {found.int8['said']}"
        )
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
