"""`tellapart explain`: where a run looks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tellapart.cli import _shared as shared

if TYPE_CHECKING:
    from tellapart.explain._verb import Explained


def run(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="An id, the beginning of one, or a path.")],
    images: Annotated[list[str], typer.Argument(metavar="IMAGE…", help="Images, or folders of them.")],
    class_name: Annotated[
        str | None, typer.Option("--class", metavar="NAME", help="Evidence for this class. Default: the most probable one.")
    ] = None,
    methods: Annotated[
        list[str] | None,
        typer.Option("-m", "--method", help="grad_cam (of networks), occlusion (of any run), … Repeatable; docs/explain.md."),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("-s", "--set", metavar="KEY=VALUE", help="An option of the method, for example masks=2000. Repeatable."),
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the pictures that are written.")] = Path("explained"),
    judged: Annotated[
        bool, typer.Option("--judge", help="Score each map, beside a map of noise and that of an untrained net.")
    ] = False,
    masks: Annotated[
        Path | None, typer.Option("--masks", metavar="DIR", help="Masks, named as the images: is the evidence inside?")
    ] = None,
    runs: shared.Runs = Path("runs"),
    device: shared.Device = "auto",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of methods and controls that draw.")] = 0,
    as_json: shared.AsJson = False,
    quiet: shared.Quiet = False,
    verbose: shared.Verbose = False,
) -> None:
    """Draw where a finished run sees the evidence for its answer."""
    from tellapart.explain._verb import explain

    settings = shared.settings(runs=runs, device=device, quiet=quiet)
    found = explain(
        run_id, images, class_name=class_name, methods=methods or (), options=shared.options(options or []), judged=judged,
        masks=masks, seed=seed, settings=settings,
    )  # fmt: skip
    written = _write(found, out)
    if as_json:
        shared.print_json([one.to_dict() | {"picture": str(path)} for one, path in zip(found, written, strict=True)])
    else:
        _print(found, written)


def _write(found: list[Explained], out: Path) -> list[Path]:
    """A picture for each image, all methods side by side; the path for each map."""
    from tellapart.report.explain_sheet import sheet
    from tellapart.runs.store import system_limits

    by_image: dict[str, list[Explained]] = {}
    for one in found:
        by_image.setdefault(one.image, []).append(one)
    paths: dict[str, Path] = {}
    with system_limits(out):
        out.mkdir(parents=True, exist_ok=True)
        for image, mine in by_image.items():
            stem, taken = Path(image).stem, {path.stem for path in paths.values()}
            name = stem if stem not in taken else f"{stem}-{len(paths)}"
            paths[image] = out / f"{name}.png"
            sheet(mine).savefig(paths[image], dpi=120)
    return [paths[one.image] for one in found]


def _print(found: list[Explained], written: list[Path]) -> None:
    from rich.table import Table

    console = shared.out()
    table = Table(box=None, pad_edge=False, title_justify="left")
    for heading in ("picture", "answer", "method", "for"):
        table.add_column(heading, overflow="fold")
    for one, path in zip(found, written, strict=True):
        answer = f"{one.answer} {one.proba[one.answer]:.1%}"
        nothing = "" if one.heatmap.values.any() else " (no evidence)"
        table.add_row(path.name, answer, one.heatmap.method, one.heatmap.class_name + nothing)
    console.print(table)
    for method in dict.fromkeys(one.heatmap.method for one in found):
        _print_scores([one for one in found if one.heatmap.method == method])
    pictures = len(set(written))
    said = f"{pictures:,} picture{'s' if pictures > 1 else ''} in {written[0].parent}"
    console.print(said, markup=False, highlight=False, soft_wrap=True)


def _print_scores(found: list[Explained]) -> None:
    """Means over the images, the map beside its controls."""
    from rich.table import Table

    from tellapart.explain._summary import summary

    rows = summary(found)
    if not rows:
        return
    method = found[0].heatmap.method
    table = Table(box=None, pad_edge=False, title=f"{method}, means and 95 % intervals", title_justify="left")
    headings = list(dict.fromkeys(name for row in rows.values() for name in row))
    for heading in ("map", *headings):
        table.add_column(heading)
    for name, row in rows.items():
        cells = [f"{s.value:.3f} [{s.low:.3f}, {s.high:.3f}] n={s.n:,}" if (s := row.get(h)) else "" for h in headings]
        table.add_row(name, *cells)
    shared.out().print(table)
