"""`tellapart explain`: maps of the evidence for a prediction."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tellapart.cli import options as opt

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tellapart.explainers.faithfulness import Explanation
    from tellapart.inference.context import Settings
    from tellapart.workflows.class_maps import ClassMap
    from tellapart.workflows.explain import Views


Images = Annotated[list[str], typer.Argument(metavar="IMAGE…", help="Images, or folders of images.")]
ClassName = Annotated[
    str | None, typer.Option("--class", metavar="NAME", help="The class to explain. Default: the predicted class.")
]
Methods = Annotated[
    list[str] | None,
    typer.Option("-m", "--method", metavar="NAME", help="grad_cam (networks), occlusion (any run), … Repeatable."),
]
Options = Annotated[
    list[str] | None,
    typer.Option("-s", "--set", metavar="KEY=VALUE", help="Set an option of the method, for example masks=2000. Repeatable."),
]
ViewNames = Annotated[
    list[str] | None,
    typer.Option(
        "--view", metavar="NAME", help="Show the nearest training images (nearest) or the spectrum (frequency). Repeatable."
    ),
]
Mean = Annotated[bool, typer.Option("--mean", help="Draw one mean map per predicted class.")]
Output = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the figures.")]
Judge = Annotated[
    bool, typer.Option("--judge", help="Score the faithfulness of each map; controls: noise and an untrained network.")
]
Masks = Annotated[
    Path | None,
    typer.Option("--masks", metavar="DIR", help="Masks with the names of the images; measure how well each map overlaps them."),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Random seed for methods and controls.")]


def run(
    run_id: opt.RunId, images: Images, class_name: ClassName = None, methods: Methods = None, options: Options = None,
    views: ViewNames = None, mean: Mean = False, output: Output = Path("explained"), judged: Judge = False,
    masks: Masks = None, seed: Seed = 0, runs: opt.Runs = opt.RUNS, data: opt.ImagesOfRun = None,
    device: opt.Device = "auto", as_json: opt.AsJson = False, quiet: opt.Quiet = False, verbose: opt.Verbose = False,
) -> None:  # fmt: skip
    """Explain the predictions of a finished run: draw a map of the evidence in each image."""
    from tellapart.runs.outside_data import check_outside_data
    from tellapart.runs.store import open_run

    check_outside_data(output, [open_run(run_id, runs)])
    settings, chosen = opt.settings(runs=runs, device=device, quiet=quiet, images=data), opt.options(options or [])
    if not mean:
        request = {"class_name": class_name, "methods": methods or (), "score": judged, "masks": masks, "seed": seed}
        _explain_each(run_id, images, views or [], request | {"options": chosen}, output, settings, as_json)
        return
    given = {"--class": class_name, "--view": views, "--judge": judged, "--masks": masks}
    if excluded := [flag for flag, value in given.items() if value]:
        raise typer.BadParameter(
            f"--mean and {excluded[0]}: --mean draws mean maps of the predicted classes only; leave one of them out"
        )
    _explain_classes(run_id, images, methods or [], chosen, seed, output, settings, as_json)


def _explain_each(
    run_id: str, images: list[str], views: list[str], request: dict[str, Any], out: Path, settings: Settings, as_json: bool
) -> None:
    """One figure per image. `request`: arguments of `explain`; with views alone, no map is drawn."""
    from tellapart.workflows.explain import explain, explain_views

    viewed = explain_views(run_id, images, views, settings=settings) if views else []
    maps_too = not views or any(request[name] for name in ("class_name", "methods", "score", "masks"))
    found = explain(run_id, images, **request, settings=settings) if maps_too else []
    written = _write(found, viewed, out)
    if as_json:
        maps = [one.to_dict() | {"picture": str(written[one.image])} for one in found]
        opt.print_json(maps + [of | {"picture": str(written[one.image])} for one in viewed for of in one.to_dicts()])
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
        opt.print_json([one.to_dict() | {"picture": str(path)} for one in found])
        return
    _print_means(found)
    opt.print_lines(f"figure: {path}")


def _write(found: list[Explanation], viewed: list[Views], out: Path) -> dict[str, Path]:
    """Write one figure per image with all methods and views; image → path."""
    from tellapart.reports.explain_figures import sheet

    maps: dict[str, list[Explanation]] = {}
    for one in found:
        maps.setdefault(one.image, []).append(one)
    views = {one.image: one for one in viewed}
    names = _names(dict.fromkeys([*maps, *views]))
    _save(((name, sheet(maps.get(image, []), views.get(image))) for image, name in names.items()), out)
    return {image: out / f"{name}.png" for image, name in names.items()}


def _names(images: Iterable[str]) -> dict[str, str]:
    """Image → name of its figure; images of the same name in several folders are numbered."""
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
    """Save each as `<name>.png`, one after the other, so that a thousand need not fit in memory."""
    from tellapart.os_errors import translate_os_errors
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
            opt.print_lines(f"{one.image}: {width}×{height} is too large; it was explained at {w}×{h}")
    for one in viewed:
        _print_view(one)
    pictures, folder = len(written), next(iter(written.values())).parent
    opt.print_lines(f"{pictures:,} figure{'s' if pictures > 1 else ''} in {folder}")


def _print_maps(found: list[Explanation], written: dict[str, Path]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, title_justify="left")
    for heading in ("figure", "predicted", "method", "map for"):
        table.add_column(heading, overflow="fold")
    for one in found:
        predicted = f"{one.predicted} {one.proba[one.predicted]:.1%}"
        nothing = "" if one.heatmap.values.any() else " (no evidence)"
        table.add_row(written[one.image].name, predicted, one.heatmap.method, one.heatmap.class_name + nothing)
    opt.out().print(table)


def _print_view(one: Views) -> None:
    """The nearest images and frequencies of an image, in two lines."""
    if one.nearest is not None:
        near = ", ".join(f"{n.id} ({n.class_name}) {n.distance:.3g}" for n in one.nearest.found)
        opt.print_lines(f"{one.image}: nearest by {one.nearest.by}: {near}; typical distance {one.nearest.usual:.3g}")
    if one.frequency is not None:
        apart = sorted(one.frequency.distance.items(), key=lambda pair: pair[1])
        opt.print_lines(
            f"{one.image}: frequency spectrum, standard deviations from: {', '.join(f'{name} {d:.2f}' for name, d in apart)}"
        )


def _print_means(found: list[ClassMap]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, title_justify="left")
    for heading in ("method", "predicted", "n", "no evidence", "highest at"):
        table.add_column(heading)
    for one in found:
        peak = "{:.0%} from the top, {:.0%} from the left".format(*one.peak) if one.values.any() else ""
        table.add_row(one.method, one.class_name, f"{one.n:,}", f"{one.n_empty:,}", peak)
    opt.out().print(table)


def _print_scores(found: list[Explanation]) -> None:
    """Means over the images, for the map and its controls."""
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
    opt.out().print(table)
