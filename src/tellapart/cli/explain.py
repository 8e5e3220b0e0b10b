"""`tellapart explain`: where a run looks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tellapart.cli import options as shared

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tellapart.explainers.faithfulness import Explanation
    from tellapart.inference.context import Settings
    from tellapart.workflows.class_maps import ClassMap
    from tellapart.workflows.explain import Views


_Methods = Annotated[
    list[str] | None,
    typer.Option("-m", "--method", help="grad_cam (of networks), occlusion (of any run), … Repeatable; docs/explain."),
]
_Options = Annotated[
    list[str] | None,
    typer.Option("-s", "--set", metavar="KEY=VALUE", help="An option of the method, for example masks=2000. Repeatable."),
]
_Views = Annotated[
    list[str] | None,
    typer.Option("--view", metavar="NAME", help="nearest (training images) or frequency; with -m beside maps. Repeatable."),
]


def run(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="An id, the beginning of one, or a path.")],
    images: Annotated[list[str], typer.Argument(metavar="IMAGE…", help="Images, or folders of them.")],
    class_name: Annotated[
        str | None, typer.Option("--class", metavar="NAME", help="Evidence for this class. Default: the most probable one.")
    ] = None,
    methods: _Methods = None,
    options: _Options = None,
    views: _Views = None,
    mean: Annotated[
        bool, typer.Option("--mean", help="One mean map for each class, over the images that were taken for it.")
    ] = False,
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
    settings, chosen = shared.settings(runs=runs, device=device, quiet=quiet), shared.options(options or [])
    if not mean:
        asked = {"class_name": class_name, "methods": methods or (), "judged": judged, "masks": masks, "seed": seed}
        _explain_each(run_id, images, views or [], asked | {"options": chosen}, out, settings, as_json)
        return
    given = {"--class": class_name, "--view": views, "--judge": judged, "--masks": masks}
    if alone := [flag for flag, value in given.items() if value]:
        raise typer.BadParameter(f"--mean and {alone[0]}: means are over what was answered, and are not judged")
    _explain_classes(run_id, images, methods or [], chosen, seed, out, settings, as_json)


def _explain_each(
    run_id: str, images: list[str], views: list[str], asked: dict[str, Any], out: Path, settings: Settings, as_json: bool
) -> None:
    """A sheet for each picture. `asked`: what `explain` takes; with views alone, no map is drawn."""
    from tellapart.workflows.explain import explain, explain_views

    viewed = explain_views(run_id, images, views, settings=settings) if views else []
    maps_too = not views or any(asked[name] for name in ("class_name", "methods", "judged", "masks"))
    found = explain(run_id, images, **asked, settings=settings) if maps_too else []
    written = _write(found, viewed, out)
    if as_json:
        maps = [one.to_dict() | {"picture": str(written[one.image])} for one in found]
        shared.print_json(maps + [of | {"picture": str(written[one.image])} for one in viewed for of in one.to_dicts()])
    else:
        _print(found, viewed, written)


def _explain_classes(
    run_id: str,
    images: list[str],
    methods: list[str],
    options: dict[str, Any],
    seed: int,
    out: Path,
    settings: Settings,
    as_json: bool,
) -> None:
    from tellapart.reports.explain_figures import class_sheet
    from tellapart.workflows.class_maps import class_maps

    found = class_maps(run_id, images, methods=methods, options=options, seed=seed, settings=settings)
    _save([("means", class_sheet(found))], out)
    path = out / "means.png"
    if as_json:
        shared.print_json([one.to_dict() | {"picture": str(path)} for one in found])
        return
    _print_means(found)
    _say(f"the picture: {path}")


def _write(found: list[Explanation], viewed: list[Views], out: Path) -> dict[str, Path]:
    """A picture for each image, all methods and views in it; image → path."""
    from tellapart.reports.explain_figures import sheet

    maps: dict[str, list[Explanation]] = {}
    for one in found:
        maps.setdefault(one.image, []).append(one)
    views = {one.image: one for one in viewed}
    names = _names(dict.fromkeys([*maps, *views]))
    _save(((name, sheet(maps.get(image, []), views.get(image))) for image, name in names.items()), out)
    return {image: out / f"{name}.png" for image, name in names.items()}


def _names(images: Iterable[str]) -> dict[str, str]:
    """Image → name of its picture; images of one name in several folders are numbered."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for image in images:
        name, number = Path(image).stem, 0
        while name in taken:
            number += 1
            name = f"{Path(image).stem}-{number}"
        names[image] = name
        taken.add(name)
    return names


def _save(pictures: Iterable[tuple[str, Figure]], out: Path) -> None:
    """Each as `<name>.png`; one after the other, so that a thousand need not fit in memory."""
    from tellapart.io import translate_os_errors
    from tellapart.reports.explain_figures import save

    with translate_os_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        for name, figure in pictures:
            save(figure, out / f"{name}.png")


def _print(found: list[Explanation], viewed: list[Views], written: dict[str, Path]) -> None:
    if found:
        _print_maps(found, written)
        for method in dict.fromkeys(one.heatmap.method for one in found):
            _print_scores([one for one in found if one.heatmap.method == method])
        for one in {one.image: one for one in found if one.shrunk_from}.values():
            (height, width), (h, w) = one.shrunk_from or (0, 0), one.pixels.shape[:2]
            _say(f"{one.image}: {width}×{height} is too large for maps; it was explained at {w}×{h}")
    for one in viewed:
        _print_view(one)
    pictures, folder = len(written), next(iter(written.values())).parent
    _say(f"{pictures:,} picture{'s' if pictures > 1 else ''} in {folder}")


def _print_maps(found: list[Explanation], written: dict[str, Path]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, title_justify="left")
    for heading in ("picture", "answer", "method", "for"):
        table.add_column(heading, overflow="fold")
    for one in found:
        answer = f"{one.predicted} {one.proba[one.predicted]:.1%}"
        nothing = "" if one.heatmap.values.any() else " (no evidence)"
        table.add_row(written[one.image].name, answer, one.heatmap.method, one.heatmap.class_name + nothing)
    shared.out().print(table)


def _print_view(one: Views) -> None:
    """What a picture is near to, in two lines."""
    if one.nearest is not None:
        near = ", ".join(f"{n.id} ({n.class_name}) {n.distance:.3g}" for n in one.nearest.found)
        _say(f"{one.image}: nearest by {one.nearest.by}: {near}; usual distance {one.nearest.usual:.3g}")
    if one.frequency is not None:
        apart = sorted(one.frequency.distance.items(), key=lambda pair: pair[1])
        _say(f"{one.image}: frequencies, standard deviations from: {', '.join(f'{name} {d:.2f}' for name, d in apart)}")


def _print_means(found: list[ClassMap]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, title_justify="left")
    for heading in ("method", "taken for", "n", "no evidence", "highest at"):
        table.add_column(heading)
    for one in found:
        peak = "{:.0%} from the top, {:.0%} from the left".format(*one.peak) if one.values.any() else ""
        table.add_row(one.method, one.class_name, f"{one.n:,}", f"{one.n_empty:,}", peak)
    shared.out().print(table)


def _say(line: str) -> None:
    shared.out().print(line, markup=False, highlight=False, soft_wrap=True)


def _print_scores(found: list[Explanation]) -> None:
    """Means over the images, the map beside its controls."""
    from rich.table import Table

    from tellapart.explainers.faithfulness import summarize

    rows = summarize(found)
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
