"""`tellapart align`: a copy of a data set with one file format for all classes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tellapart.cli import options as opt
from tellapart.terminal import one_line

if TYPE_CHECKING:
    from rich.table import Table

    from tellapart.alignment.provenance import Provenance
    from tellapart.alignment.result import AlignResult
    from tellapart.types import Score

_FAULTS = 10  # shown


Output = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="DIR", help="New folder for the copy; DATA is never modified.")
]
Format = Annotated[
    Literal["png", "jpeg"],
    typer.Option("--format", help="png: uncompressed, all files of the same size in bytes; jpeg: compress once more."),
]
Quality = Annotated[
    str | None,
    typer.Option("--quality", metavar="Q|LOW-HIGH", help="JPEG quality, or a range to draw from per image. Default: 90."),
]
Size = Annotated[
    str | None,
    typer.Option("--size", metavar="N|WxH", help="Size of every crop. Default: the largest that nearly all images contain."),
]
Keep = Annotated[
    float | None,
    typer.Option("--keep", metavar="SHARE", help="Choose the largest size that this share of each class has. Default: 0.95."),
]
Grid = Annotated[
    Literal["keep", "random"],
    typer.Option("--grid", help="keep: crop on the 8×8 block grid of an old JPEG; random: crop at any position."),
]
Verify = Annotated[
    bool, typer.Option("--verify", help="DATA is an aligned copy: find the source of every image and compare the pixels.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Random seed for crop positions, qualities and file names.")]


def run(
    data: opt.Data, output: Output = None, encoder: Format = "png", quality: Quality = None, size: Size = None,
    keep: Keep = None, grid: Grid = "keep", verify: Verify = False, seed: Seed = 0,
    images: opt.Images = None, id_column: opt.IdColumn = None, label_column: opt.LabelColumn = None, group: opt.Group = None,
    split_column: opt.SplitColumn = None, unlabeled: opt.Unlabeled = None,
    positive: opt.Positive = None, skip_bad: opt.SkipBad = False, verify_files: opt.VerifyFiles = False,
    as_json: opt.AsJson = False, quiet: opt.Quiet = False, verbose: opt.Verbose = False,
) -> None:  # fmt: skip
    """Copy DATA so that all classes have the same format, metadata, image size and compression.

    Images are cropped, never resized. Traces of earlier compression stay in the pixels; the command reports how well they
    predict the class. The same command resumes after an interruption.
    """
    settings = opt.settings(runs=opt.RUNS, device="cpu", quiet=quiet, skip_bad=skip_bad, verify_files=verify_files)
    if verify:
        if output is not None:
            raise typer.BadParameter("--verify and -o: --verify writes nothing; pass the copy as DATA, without -o")
        _verify(data, as_json, settings)
        return
    if output is None:
        raise typer.BadParameter("-o is missing: pass a new folder for the copy, for example -o aligned")
    _refuse(encoder == "png" and quality is not None, size is not None and keep is not None)
    from tellapart.alignment.plan import AlignOptions
    from tellapart.workflows.align import align

    choices = AlignOptions(encoder, _quality(quality or "90"), _size(size), 0.95 if keep is None else keep, grid, seed)
    table = opt.scanned(data, images, id_column, label_column, group, positive, split_column=split_column, unlabeled=unlabeled)
    found = align(table, output, options=choices, settings=settings, scanned_from=data)
    if as_json:
        content = found.to_dict()
        opt.print_json(content | {"folder": str(found.folder)})
    else:
        _print(found, positive)


def _refuse(lonely: bool, both: bool) -> None:
    """Refuse options that exclude each other: a quality without JPEG (`lonely`), or both a size and a share (`both`)."""
    if lonely:
        raise typer.BadParameter("--quality: only together with --format jpeg")
    if both:
        raise typer.BadParameter("--keep and --size: --keep chooses the size; leave one of them out")


def _quality(text: str) -> tuple[int, int]:
    """`90` or `75-95`."""
    low, _, high = text.partition("-")
    if not low.isdecimal() or (high and not high.isdecimal()) or text.endswith("-"):
        raise typer.BadParameter(f"--quality {text}: expected a number or a range, for example 90 or 75-95")
    return int(low), int(high or low)


def _size(text: str | None) -> tuple[int, int] | None:
    """`224` or `320x240`, width first; height and width come back."""
    if text is None:
        return None
    width, _, height = text.lower().replace("×", "x").partition("x")
    if not width.isdecimal() or (height and not height.isdecimal()) or text.lower().endswith("x"):
        raise typer.BadParameter(f"--size {text}: expected a number, or width and height, for example 224 or 320x240")
    return int(height or width), int(width)


def _verify(folder: str, as_json: bool, settings: Any) -> None:
    from dataclasses import asdict

    from tellapart.alignment.provenance import trace_origins

    found = trace_origins(folder, settings=settings)
    faults = [one for one in found if one.fault]
    if as_json:
        opt.print_json({"images": len(found), "faults": len(faults), "sources": [asdict(one) for one in found]})
    else:
        _print_origins(found, faults)
    if faults:
        raise typer.Exit(1)


def _print_origins(found: list[Provenance], faults: list[Provenance]) -> None:
    how = "bit for bit" if not found or not found[0].quality else "re-encoded by the same encoder"
    lines = [f"{len(found) - len(faults):,} of {len(found):,} images contain the pixels of their sources, {how}"]
    lines += [f"{one.image}, from {one.source}: {one.fault}" for one in faults[:_FAULTS]]
    lines += [f"… and {len(faults) - _FAULTS:,} more"] * (len(faults) > _FAULTS)
    opt.print_lines(*lines)


def _print(found: AlignResult, positive: str | None) -> None:
    size = f"{found.size[1]}×{found.size[0]} pixels"
    encoder = f"{found.options.encoder_text}, {found.megabytes:,.1f} MB"
    title = f"{found.data}: {found.written:,} of {found.found:,} images, {size}, {encoder}"
    opt.print_lines(title)
    opt.out().print(_classes(found))
    before, after = _score(found.metadata_before), _score(found.metadata_after)
    opt.print_lines(
        f"metadata baseline (file metadata alone), out-of-fold AUROC: before {before}, after {after}",
        f"traces of earlier compression in the pixels, out-of-fold AUROC: {_score(found.traces)}",
        *(f"note: {note}" for note in found.notes),
        f"next: tellapart compare {found.folder}" + (f" --positive {positive}" if positive else ""),
    )


def _classes(found: AlignResult) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("class", "written", "too small", "unreadable", "gray"):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    for name, of in found.classes.items():
        row = (f"{of.written:,}", f"{of.small:,}", f"{of.unreadable:,}", f"{of.gray:.1%}")
        table.add_row(one_line(name) or "(no label)", *row)
    return table


def _score(score: Score | None) -> str:
    from tellapart.formatting import score_sentence

    return "unknown" if score is None else score_sentence(score)
