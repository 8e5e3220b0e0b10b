"""`tellapart robustness`: score a run on perturbed copies of its images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tellapart.cli import options as opt
from tellapart.cli._results import other_images, print_heading, print_result

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from tellapart.perturbations.scores import Robustness, RobustnessCell
    from tellapart.types import Score

Perturbations = Annotated[
    str | None,
    typer.Option(
        "--perturbation", metavar="NAME,…", help="Use only these perturbations, for example jpeg,scale. Default: all."
    ),
]
_LEGEND = (
    "change: accuracy minus accuracy on the unperturbed images; p: exact paired test, Holm's correction;",
    "* worse, p < 0.05; flips: % of the predictions that differ from those on the unperturbed images",
)
_HEADINGS = ("perturbation", "n", "accuracy [95 %]", "change in points", "p", "flips")


def run(
    run_id: opt.RunId, data: opt.OtherData = None, open_test: opt.OpenTest = False, mapping: opt.ClassMap = None,
    perturbation: Perturbations = None, sample: opt.Sample = None,
    exclude_seen: opt.ExcludeSeen = False, figure: opt.Figure = None,
    images: opt.Images = None, id_column: opt.IdColumn = None, label_column: opt.LabelColumn = None,
    split_column: opt.SplitColumn = None, unlabeled: opt.Unlabeled = None,
    skip_bad: opt.SkipBad = False, verify_files: opt.VerifyFiles = False,
    runs: opt.Runs = opt.RUNS, device: opt.Device = "auto",
    as_json: opt.AsJson = False, quiet: opt.Quiet = False, verbose: opt.Verbose = False,
) -> None:  # fmt: skip
    """Score a finished run on perturbed images: JPEG, scaling, blur, noise, crops and others, from weak to strong.

    Uses the validation split, the test split with --open-test, or the images of DATA. The same command resumes after an
    interruption.
    """
    pairs, names = opt.class_map(mapping), _names(perturbation)
    opt.check_figure(figure, data)
    from tellapart.workflows.robustness import robustness

    table = other_images(data, images, id_column, label_column, split_column, unlabeled)
    settings = opt.settings(runs=runs, device=device, quiet=quiet, skip_bad=skip_bad, verify_files=verify_files)
    found = robustness(
        run_id, table, open_test=open_test, mapping=pairs, perturbations=names, sample=sample, exclude_seen=exclude_seen,
        settings=settings,
    )  # fmt: skip
    print_result(found, show, as_json, figure, _draw)


def _draw(found: Robustness, figure: Path) -> Path:
    from tellapart.reports.robustness_section import curves
    from tellapart.reports.svg import write_figure

    return write_figure(curves(found), figure)


def _names(perturbations: str | None) -> list[str] | None:
    """Names of perturbations; unknown names are refused before any image is read."""
    if perturbations is None:
        return None
    from tellapart.perturbations.kinds import select_perturbations

    return [one.name for one in select_perturbations([name.strip() for name in perturbations.split(",") if name.strip()])]


def show(found: Robustness, console: Console) -> None:
    """Print the table, a summary and the notes."""
    from tellapart.perturbations.scores import describe

    print_heading(console, "Robustness", found)
    console.print(table(found))
    for line in _LEGEND:
        console.print(line, style="dim", markup=False, highlight=False, soft_wrap=True)
    notes = [*(f"note: {note}" for note in found.notes), f"results: {found.folder}"]
    for line in [*_not_predicted(found), describe(found), *notes]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def table(found: Robustness) -> Any:
    """The cells, bold with a star where they are significantly worse; 80 columns hold it up to n = 99,999."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), collapse_padding=True)
    for heading in _HEADINGS:
        made.add_column(heading, justify="left" if heading == "perturbation" else "right", no_wrap=True)
    made.add_row("none", f"{found.n:,}", Text(_interval(found.clean["accuracy"])), "", "", "")
    for cell in found.cells:
        made.add_row(*map(Text, _cells(cell)), style="bold" if cell.worse else None)
    return made


def _cells(cell: RobustnessCell) -> list[str]:
    if cell.change is None or cell.flips is None:
        return [cell.text, f"{cell.n:,}", "not predicted", "", "", ""]
    change = f"{_points(cell.change.value)} [{_points(cell.change.low)}, {_points(cell.change.high)}]"
    p = "<0.001" if cell.p_holm < 0.001 else f"{cell.p_holm:.3f}"
    accuracy = _interval(cell.scores["accuracy"])
    return [cell.text, f"{cell.n:,}", accuracy, change, f"{p}{'*' if cell.worse else ' '}", f"{100 * cell.flips.value:.1f}"]


def _not_predicted(found: Robustness) -> list[str]:
    """Why some cells have no predictions: one line per reason."""
    reasons: dict[str, list[str]] = {}
    for cell in found.cells:
        if cell.reason:
            reasons.setdefault(cell.reason, []).append(cell.text)
    return [f"not predicted: {', '.join(cells)}: the first image {reason}" for reason, cells in reasons.items()]


def _interval(score: Score) -> str:
    return f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"


def _points(fraction: float) -> str:
    from tellapart.formatting import points

    return points(fraction)
