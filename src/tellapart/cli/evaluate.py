"""`tellapart evaluate`: score a run on its own or on other labeled images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tellapart.cli import options as opt
from tellapart.cli._results import other_images

if TYPE_CHECKING:
    from rich.console import Console

    from tellapart.calibration.decision import DecisionReport
    from tellapart.metrics.slices import Slice, SliceReport
    from tellapart.runs.store import Run
    from tellapart.types import ImageTable, Predictions
    from tellapart.workflows.evaluate import Evaluation

_PAIRS = 5  # confusions shown
#: Columns that are read from the images' headers, when they or all columns are requested.
_HEADER_COLUMNS = frozenset({"width", "height", "pixels", "mode"})

Slices = Annotated[
    bool, typer.Option("--slices", help="Also score slices by source, format, size and every other known column.")
]
SliceColumns = Annotated[
    list[str] | None,
    typer.Option("--slice", metavar="COLUMN", help="Also score slices by this column, for example source. Repeatable."),
]

IncludeSeen = Annotated[
    bool,
    typer.Option("--include-seen", help="Score such images, too; the ledger counts those of the test split."),
]


def run(
    run_id: opt.RunId, data: opt.OtherData = None, open_test: opt.OpenTest = False, mapping: opt.ClassMap = None,
    exclude_seen: opt.ExcludeSeen = False, include_seen: IncludeSeen = False,
    sliced: Slices = False, columns: SliceColumns = None,
    images: opt.Images = None, id_column: opt.IdColumn = None, label_column: opt.LabelColumn = None,
    split_column: opt.SplitColumn = None, unlabeled: opt.Unlabeled = None,
    skip_bad: opt.SkipBad = False, verify_files: opt.VerifyFiles = False,
    runs: opt.Runs = opt.RUNS, device: opt.Device = "auto",
    as_json: opt.AsJson = False, quiet: opt.Quiet = False, verbose: opt.Verbose = False,
) -> None:  # fmt: skip
    """Score a finished run: on its validation split, on its test split with --open-test, or on the images of DATA."""
    from tellapart.runs.store import open_run
    from tellapart.workflows.evaluate import evaluate

    if exclude_seen and include_seen:
        raise typer.BadParameter("--exclude-seen and --include-seen exclude each other: leave one out")
    seen = "exclude" if exclude_seen else "include" if include_seen else "refuse"
    pairs = opt.class_map(mapping)
    table = other_images(data, images, id_column, label_column, split_column, unlabeled)
    settings = opt.settings(runs=runs, device=device, quiet=quiet, skip_bad=skip_bad, verify_files=verify_files)
    found = evaluate(run_id, table, open_test=open_test, mapping=pairs, seen=seen, settings=settings)
    evaluated = open_run(run_id, runs)
    slices = slices_of(evaluated, found.predictions, columns, table) if sliced or columns else None
    if as_json:
        decisions = decision_content(evaluated, found.predictions)
        more = {"decisions": decisions, "slices": slices.to_dict() if slices else None}
        opt.print_json(found.to_dict() | {name: content for name, content in more.items() if content})
    else:
        _print(found, evaluated.positive, decision_lines(evaluated, found.predictions, found.part), slices)


def _print(found: Evaluation, positive: str | None, decisions: list[str], slices: SliceReport | None) -> None:
    from rich.table import Table

    from tellapart.data.class_names import positive_in_words
    from tellapart.formatting import PARTS, score_sentence, times_in_words

    where = "" if found.part == "other" else f", {PARTS[found.part]} split"
    console = opt.out()
    table = Table(title=f"{found.run} on {found.data}{where}", title_justify="left", box=None, pad_edge=False)
    table.add_column("score")
    table.add_column("value")
    for name, score in found.scores.items():
        table.add_row(name, score_sentence(score))
    console.print(table)
    named = positive_in_words(found.predictions.classes, positive)
    missing = "; ".join(f"{', '.join(names)} ({why})" for why, names in _reasons(found).items())
    lines = [
        *([f"positive class: {named}"] if named else []), *([f"undefined: {missing}"] if missing else []),
        *_confusions(found), *decisions,
    ]  # fmt: skip
    of = " of the run" if found.part == "other" else ""
    opened = f"test split{of} opened: {times_in_words(found.opened)}"
    opt.print_lines(*lines, *(f"note: {note}" for note in found.notes), opened)
    if slices:
        console.print()
        print_slices(console, slices)


def _reasons(found: Evaluation) -> dict[str, list[str]]:
    """Reason → the scores that are undefined for that reason."""
    reasons: dict[str, list[str]] = {}
    for name, why in found.undefined.items():
        reasons.setdefault(why, []).append(name)
    return reasons


def _confusions(found: Evaluation) -> list[str]:
    """The most frequent confusions, each with its share of the true class."""
    pairs = found.confusions()
    if not pairs:
        return ["all images are predicted correctly"]
    wrong = sum(pair.count for pair in pairs)
    shown = [f"{p.true} → {p.answered}: {p.count:,} of {p.of:,} ({p.count / p.of:.1%})" for p in pairs[:_PAIRS]]
    more = f"; {len(pairs) - _PAIRS:,} other pairs" if len(pairs) > _PAIRS else ""
    return [f"errors: {wrong:,} of {len(found.predictions):,}; true → predicted: {'; '.join(shown)}{more}"]


# --- slices ------------------------------------------------------------------------------------------------------------


def slices_of(
    run: Run, predictions: Predictions, columns: Sequence[str] | None, table: ImageTable | None = None
) -> SliceReport:
    """Slices of `predictions` by columns of the run's table and of the images' headers.

    Args:
        run: The run; its `split.parquet` holds the columns.
        predictions: Labeled predictions.
        columns: Names of columns; None or empty: all that divide the images.
        table: The images of the predictions, if they are not the run's own.

    Raises:
        DataError: An unknown column.
    """
    import numpy as np

    from tellapart.data.metadata import add_header_columns
    from tellapart.metrics.slices import slices

    table = run.table() if table is None else table
    table = table.take(np.isin(table.ids, predictions.ids))
    frame = add_header_columns(table) if not columns or _HEADER_COLUMNS & set(columns) else table.frame
    return slices(predictions, frame, columns or None, run.positive)


def print_slices(console: Console, report: SliceReport) -> None:
    """One row per slice, then a summary. The table fits 80 columns."""
    from rich.table import Table

    table = Table(title="by slice", title_justify="left", box=None, pad_edge=False, header_style="bold")
    two = any(one.undefined.get("auroc") != "it is for two classes" for one in report.slices)
    table.add_column("", overflow="fold")
    names = ("n", "accuracy 95 %", "F1", *(["AUROC"] if two else []), "points vs rest", "p (Holm)")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for column in report.columns:
        table.add_row(column, style="bold")
        for one in (of for of in report.slices if of.column == column):
            table.add_row(*_cells(one, two), style="bold" if one.significant else None)
    if report.slices:
        console.print(table)
    for line in _lines(report):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _cells(one: Slice, two: bool) -> list[str]:
    of, d = one.accuracy, one.difference
    accuracy = f"{of.value:.3f} {of.low:.2f}–{of.high:.2f}"
    others = [
        "–" if score is None else f"{score.value:.3f}" for score in ((one.macro_f1, one.auroc) if two else (one.macro_f1,))
    ]
    against = f"{100 * d.value:+.1f} {100 * d.low:+.1f}…{100 * d.high:+.1f}".replace("-", "−")
    p = "too small" if one.too_small else "<0.001" if one.p_value < 0.001 else f"{one.p_value:.3f}"
    return [f" {one.name}", f"{one.n:,}", accuracy, *others, against, p]


def _lines(report: SliceReport) -> list[str]:
    from tellapart.metrics.slices import POINTS, POWER

    lines = [report.describe()]
    if any(one.too_small for one in report.slices):
        lines.append(
            f"too small: a true difference of {100 * POINTS:g} points from the rest would be detected with less than "
            f"{POWER:.0%} power"
        )
    if absent := {why: name for one in report.slices for name, why in one.undefined.items() if "no image of" in why}:
        lines.append(f"–: undefined, {'; '.join(sorted(absent))} in the slice")
    if report.groups is not None:
        lines.append(f"t test over {report.groups:,} groups: images of one group are not independent")
    return [*lines, *([f"not sliced by {'; '.join(report.notes)}"] if report.notes else [])]


# --- decisions ---------------------------------------------------------------------------------------------------------


def decision_lines(run: Run, predictions: Predictions, split: str) -> list[str]:
    """How the decisions of a calibrated run did on labeled images; no line for any other run.

    Args:
        run: Any run.
        predictions: Its labeled predictions.
        split: Which images: "valid", "test" or "other".
    """
    from tellapart.inference.decision import has_decision
    from tellapart.workflows.calibrate import score_decisions

    return report_lines(score_decisions(run, predictions), split) if has_decision(run) else []


def decision_content(run: Run, predictions: Predictions) -> dict[str, Any] | None:
    """The same as JSON; None for a run without decision rules."""
    from tellapart.inference.decision import has_decision
    from tellapart.workflows.calibrate import score_decisions

    if not has_decision(run):
        return None
    return score_decisions(run, predictions).to_dict()


def report_lines(report: DecisionReport, split: str) -> list[str]:
    """Up to three lines: for the threshold, for the decisions, for the conformal sets."""
    from tellapart.formatting import PARTS

    where = f"on the {PARTS[split]} split" if split in PARTS else "on these images"
    chosen = ", where it was chosen" if split == "valid" else ""
    lines = _threshold_line(report, where + chosen)
    if report.accuracy is None:
        lines.append(f"decisions {where}{chosen}: every image is unsure, n={report.decided.n:,}")
    else:
        lines.append(
            f"decisions {where}{chosen}: decided {report.decided}; accuracy among the decided {report.accuracy}, "
            f"{report.decided.n - report.accuracy.n:,} unsure"
        )
    if report.sets is not None:
        alone = report.sets.accuracy
        right = "no set holds exactly one class" if alone is None else f"accuracy among those {alone}"
        size = f"{report.sets.mean_size:.2f} of {report.classes} classes on average"
        lines.append(
            f"prediction sets with target coverage {report.target_coverage:g}: the true class is in {report.sets.covered}; "
            f"exactly one class in {report.sets.single}, {right}; {size}"
        )
    return lines


def _threshold_line(report: DecisionReport, where: str) -> list[str]:
    if report.threshold is None:
        return []
    at = f"{report.threshold:.4g}" if math.isfinite(report.threshold) else "none: no image is predicted positive"
    tpr = f"TPR {report.tpr}" if report.tpr else "TPR undefined, no image is positive"
    fpr = f"FPR {report.fpr}" if report.fpr else "FPR undefined, no image is negative"
    return [f"threshold for {report.positive} {at}, {where}: {tpr}, {fpr}"]
