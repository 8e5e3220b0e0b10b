"""`tellapart align`: a copy in which files of all classes are alike."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tellapart.cli import options as shared

if TYPE_CHECKING:
    from rich.table import Table

    from tellapart.alignment.provenance import Provenance
    from tellapart.alignment.result import AlignResult
    from tellapart.types import Score

_FAULTS = 10  # shown


Out = Annotated[Path | None, typer.Argument(metavar="[OUT]", help="A new folder for the copy; DATA is never written to.")]
Format = Annotated[
    Literal["png", "jpeg"],
    typer.Option("--format", help="png: no pixel changes, all files of one length; jpeg: compressed once more, all alike."),
]
Quality = Annotated[
    str | None,
    typer.Option("--quality", metavar="Q|LOW-HIGH", help="Of jpeg, 90 if not given; of a range, drawn for each image."),
]
Size = Annotated[
    str | None,
    typer.Option("--size", metavar="N|WxH", help="Of every crop. Default: the largest that nearly all images hold."),
]
Keep = Annotated[
    float | None,
    typer.Option("--keep", help="Share of every class that the size must leave in, 0.95 if not given; smaller images go."),
]
Grid = Annotated[
    Literal["keep", "random"],
    typer.Option("--grid", help="keep: blocks of an old JPEG stay where they were; random: they lie anywhere, in all alike."),
]
Verify = Annotated[
    bool, typer.Option("--verify", help="DATA is a copy: find the source of every image, and compare the pixels.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of positions, qualities and names.")]


def run(
    data: shared.Data,
    out: Out = None,
    encoder: Format = "png",
    quality: Quality = None,
    size: Size = None,
    keep: Keep = None,
    grid: Grid = "keep",
    verify: Verify = False,
    images: shared.Images = None,
    id_column: shared.IdColumn = None,
    label_column: shared.LabelColumn = None,
    group: shared.Group = None,
    positive: shared.Positive = None,
    seed: Seed = 0,
    skip_bad: shared.SkipBad = False,
    as_json: shared.AsJson = False,
    quiet: shared.Quiet = False,
    verbose: shared.Verbose = False,
) -> None:
    """Copy DATA so that format, metadata, size and compression are the same for all classes, from crops of the original pixels.

    The same command goes on where it was cut off. Old compression stays in the pixels: the command says how much it tells.
    """
    settings = shared.settings(runs=Path("runs"), device="cpu", quiet=quiet, skip_bad=skip_bad)
    if verify:
        if out is not None:
            raise typer.BadParameter("--verify: give the copy alone, nothing is written")
        _verify(data, as_json, settings)
        return
    if out is None:
        raise typer.BadParameter("OUT is missing: name a new folder for the copy")
    _refuse(encoder == "png" and quality is not None, size is not None and keep is not None)
    from tellapart.alignment.plan import AlignOptions
    from tellapart.workflows.align import align

    choices = AlignOptions(encoder, _quality(quality or "90"), _size(size), 0.95 if keep is None else keep, grid, seed)
    table = shared.scanned(data, images, id_column, label_column, group, positive)
    found = align(table, out, options=choices, settings=settings, scanned_from=data)
    if as_json:
        shared.print_json(found.to_dict() | {"folder": str(found.folder)})
    else:
        _print(found, positive)


def _refuse(lonely: bool, both: bool) -> None:
    """Options that make no sense together. `lonely`: a quality without JPEG; `both`: a size, and a share to choose it by."""
    if lonely:
        raise typer.BadParameter("--quality: only together with --format jpeg")
    if both:
        raise typer.BadParameter("--keep: it chooses the size, so not together with --size")


def _quality(text: str) -> tuple[int, int]:
    """`90` or `75-95`."""
    low, _, high = text.partition("-")
    if not low.isdecimal() or (high and not high.isdecimal()) or text.endswith("-"):
        raise typer.BadParameter(f"--quality {text}: expected a number, or two: 75-95")
    return int(low), int(high or low)


def _size(text: str | None) -> tuple[int, int] | None:
    """`224` or `320x240`, width first; height and width come back."""
    if text is None:
        return None
    width, _, height = text.lower().replace("×", "x").partition("x")
    if not width.isdecimal() or (height and not height.isdecimal()) or text.lower().endswith("x"):
        raise typer.BadParameter(f"--size {text}: expected a number, or width and height: 320x240")
    return int(height or width), int(width)


def _verify(folder: str, as_json: bool, settings: Any) -> None:
    from dataclasses import asdict

    from tellapart.alignment.provenance import trace_origins

    found = trace_origins(folder, settings=settings)
    faults = [one for one in found if one.fault]
    if as_json:
        shared.print_json({"images": len(found), "faults": len(faults), "origins": [asdict(one) for one in found]})
    else:
        _print_origins(found, faults)
    if faults:
        raise typer.Exit(1)


def _print_origins(found: list[Provenance], faults: list[Provenance]) -> None:
    console = shared.out()
    held = "bit for bit" if not found or not found[0].quality else "written anew by the same encoder"
    lines = [f"{len(found) - len(faults):,} of {len(found):,} images hold the pixels of their sources, {held}"]
    lines += [f"{one.image}, from {one.source}: {one.fault}" for one in faults[:_FAULTS]]
    lines += [f"… and {len(faults) - _FAULTS:,} more"] * (len(faults) > _FAULTS)
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _print(found: AlignResult, positive: str | None) -> None:
    console = shared.out()
    size = f"{found.size[1]}×{found.size[0]} pixels"
    title = f"{found.data}: {found.written:,} of {found.found:,} images, {size}, {found.options.encoder_text}"
    title += f", {found.megabytes:,.1f} MB"
    console.print(title, markup=False, highlight=False, soft_wrap=True)
    console.print(_classes(found))
    before, after = _score(found.metadata_before), _score(found.metadata_after)
    lines = [
        f"the metadata baseline (file metadata alone), AUROC out of fold: before {before}, after {after}",
        f"old compression in the pixels, the same way: {_score(found.traces)}",
        *(f"note: {note}" for note in found.notes),
        f"next: tellapart compare {found.folder}" + (f" --positive {positive}" if positive else ""),
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _classes(found: AlignResult) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("class", "written", "too small", "unreadable", "gray"):
        table.add_column(heading, justify="left" if heading == "class" else "right")
    for name, of in found.classes.items():
        row = (f"{of.written:,}", f"{of.small:,}", f"{of.unreadable:,}", f"{of.gray:.1%}")
        table.add_row(name or "(no label)", *row)
    return table


def _score(score: Score | None) -> str:
    from tellapart.formatting import score_sentence

    return "not known" if score is None else score_sentence(score)
