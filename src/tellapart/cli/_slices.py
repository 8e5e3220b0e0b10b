"""Slices of a run's scores as lines for the terminal: `tellapart evaluate RUN --slices [COLUMN …]` shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from tellapart.metrics.slices import Slice, SliceReport
    from tellapart.runs.store import Run
    from tellapart.types import ImageTable, Predictions

Wanted = Annotated[bool, typer.Option("--slices", help="Also by source, format, size and whatever else is known.")]
Columns = Annotated[
    list[str] | None, typer.Option("--slice", metavar="COLUMN", help="Also by this column, such as source. Repeatable.")
]
#: Read from the images' headers when they are asked for, or when everything is.
_OF_HEADERS = frozenset({"width", "height", "pixels", "mode"})


def slices_of(
    run: Run, predictions: Predictions, columns: Sequence[str] | None, table: ImageTable | None = None
) -> SliceReport:
    """Slices of `predictions` by columns of the run's table and what the images' headers say.

    Args:
        run: Whose `split.parquet` says what is known of the images.
        predictions: Labeled.
        columns: None or empty: all that say something.
        table: Other images than the run's own, when the predictions are on those.

    Raises:
        DataError: An unknown column.
    """
    import numpy as np

    from tellapart.data.headers import add_header_columns
    from tellapart.metrics.slices import slices

    table = run.table() if table is None else table
    table = table.take(np.isin(table.ids, predictions.ids))
    frame = add_header_columns(table) if not columns or _OF_HEADERS & set(columns) else table.frame
    return slices(predictions, frame, columns or None, run.positive)


def print_slices(console: Console, report: SliceReport) -> None:
    """One line a slice, then what to think of it. 80 columns are enough."""
    from rich.table import Table

    table = Table(title="by slice", title_justify="left", box=None, pad_edge=False, header_style="bold")
    two = any(one.undefined.get("auroc") != "it is for two classes" for one in report.slices)
    table.add_column("", overflow="fold")
    names = ("n", "accuracy 95 %", "F1", *(["AUROC"] if two else []), "points to rest", "p (Holm)")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for column in report.columns:
        table.add_row(_plain(column, "bold"))
        for one in (of for of in report.slices if of.column == column):
            table.add_row(*_cells(one, two))
    if report.slices:
        console.print(table)
    for line in _lines(report):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _cells(one: Slice, two: bool) -> list[Any]:
    of, d = one.accuracy, one.difference
    accuracy = f"{of.value:.3f} {of.low:.2f}–{of.high:.2f}"
    others = [
        "–" if score is None else f"{score.value:.3f}" for score in ((one.macro_f1, one.auroc) if two else (one.macro_f1,))
    ]
    against = f"{100 * d.value:+.1f} {100 * d.low:+.1f}…{100 * d.high:+.1f}".replace("-", "−")
    p = "too small" if one.too_small else "<0.001" if one.p_value < 0.001 else f"{one.p_value:.3f}"
    style = "bold" if one.significant else ""
    return [_plain(cell, style) for cell in (f" {one.name}", f"{one.n:,}", accuracy, *others, against, p)]


def _lines(report: SliceReport) -> list[str]:
    from tellapart.metrics.slices import POINTS, POWER

    lines = [report.in_words()]
    if any(one.too_small for one in report.slices):
        lines.append(
            f"too small: a true difference of {100 * POINTS:g} points from the rest would be found in fewer than "
            f"{POWER:.0%} of cases"
        )
    if absent := {why: name for one in report.slices for name, why in one.undefined.items() if "no image of" in why}:
        lines.append(f"–: undefined, {'; '.join(sorted(absent))} in the slice")
    if report.groups is not None:
        lines.append(f"{report.groups:,} groups count as independent, not images (t test over groups)")
    return [*lines, *([f"not sliced by {'; '.join(report.notes)}"] if report.notes else [])]


def _plain(text: str, style: str = "") -> Any:
    """Brackets are no markup."""
    from rich.text import Text

    return Text(text, style=style)
