"""`tellapart export`: a run as an ONNX model, with weights, configuration and model card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tellapart.cli import options as opt

if TYPE_CHECKING:
    from tellapart.workflows.export import Exported


Output = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="DIR", help="Folder to write. Default: exported/ and the id of the run."),
]
Int8 = Annotated[bool, typer.Option("--int8", help="Also write an 8-bit model; refused if it loses too much accuracy.")]
CalibrationImages = Annotated[
    int,
    typer.Option("--calibration-images", metavar="N", min=1, help="Number of training images that calibrate the 8-bit model."),
]


def run(
    run_id: opt.RunId, output: Output = None, int8: Int8 = False, calibration_images: CalibrationImages = 256,
    runs: opt.Runs = opt.RUNS, data: opt.ImagesOfRun = None, as_json: opt.AsJson = False, quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
) -> None:  # fmt: skip
    """Export a finished run as an ONNX model with weights, configuration and model card.

    The ONNX model includes the preprocessing. Its predictions are verified against those of the run.
    """
    from tellapart.workflows.export import export

    settings = opt.settings(runs=runs, device="cpu", quiet=quiet, images=data)
    found = export(run_id, output, int8=int8, calibration_images=calibration_images, settings=settings)
    if as_json:
        opt.print_json(found.to_dict())
    else:
        _print(found)


def _print(found: Exported) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column(str(found.folder), overflow="fold")
    table.add_column("kB", justify="right")
    for name, size in found.files.items():
        table.add_row(name, f"{size / 1000:,.1f}")
    opt.out().print(table)
    parity = found.parity
    lines = [
        f"opset {found.opset}; the probabilities of torch and ONNX Runtime differ by at most {parity.largest:.1e} (limit "
        f"{parity.limit:g}), {parity.predictions} predictions for images of {len(parity.sizes)} sizes in batches of "
        f"{', '.join(map(str, parity.batches))}"
    ]
    if found.int8:
        lines.append(
            f"int8: accuracy {100 * found.int8['valid_accuracy']:.1f} % on validation, "
            f"{100 * found.int8['predictions_changed']:.1f} % of the predictions changed. {found.int8['summary']}"
        )
    opt.print_lines(*lines)
