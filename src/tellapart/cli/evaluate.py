"""`tellapart evaluate`: score a run on its test part, on other images, or on damaged ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tellapart.cli import codec_bias as biased
from tellapart.cli import options as shared
from tellapart.cli import robustness as robust

if TYPE_CHECKING:
    from tellapart.calibration.decision import DecisionReport
    from tellapart.runs.store import Run
    from tellapart.types import Predictions

if TYPE_CHECKING:
    from rich.console import Console

    from tellapart.metrics.slices import Slice, SliceReport
    from tellapart.runs.store import Run
    from tellapart.types import ImageTable, Predictions

if TYPE_CHECKING:
    from tellapart.metrics.slices import SliceReport
    from tellapart.perturbations.scores import Robustness
    from tellapart.workflows.codec_bias import CodecBias
    from tellapart.workflows.evaluate import Evaluation

_PAIRS = 5  # confusions shown

Other = Annotated[str | None, typer.Argument(metavar="[DATA]", help="Other labeled images. Left out: the run's own.")]
Opened = Annotated[bool, typer.Option("--open-test", help="Answer the run's test part; the opening is counted in the ledger.")]
Mapped = Annotated[
    list[str] | None, typer.Option("--map", metavar="THEIRS=OURS", help="A class of DATA and the run's class. Repeatable.")
]


def run(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="An id, the beginning of one, or a path.")],
    data: Other = None,
    open_test: Opened = False,
    mapping: Mapped = None,
    robustness: robust.Wanted = False,
    damage: robust.Damages = None,
    sample: robust.Sample = None,
    figure: robust.FigurePath = None,
    bias: biased.Wanted = False,
    quality: biased.Quality = None,
    sliced: Wanted = False,
    columns: Columns = None,
    images: shared.Images = None,
    id_column: shared.IdColumn = None,
    label_column: shared.LabelColumn = None,
    runs: shared.Runs = Path("runs"),
    device: shared.Device = "auto",
    skip_bad: shared.SkipBad = False,
    as_json: shared.AsJson = False,
    quiet: shared.Quiet = False,
    verbose: shared.Verbose = False,
) -> None:
    """Score a finished run: on validation, on its test part with --open-test, or on other images."""
    from tellapart.runs.store import open_run
    from tellapart.workflows.evaluate import evaluate

    pairs = shared.pairs(mapping or [], "--map", "THEIRS=OURS, for example --map editada=fake")
    damages = robust.check(robustness, damage, None if bias else sample, None if bias else figure)
    robust.check_figure(figure)
    biased.check(bias, quality, robustness)
    table = shared.scanned(data, images, id_column, label_column, None, None, least=1) if data else None
    settings = shared.settings(runs=runs, device=device, quiet=quiet, skip_bad=skip_bad)
    # first: what it opens, the scores below only read, so that one command is one opening
    swept = robust.sweep(run_id, table, open_test, pairs, damages, sample, settings) if robustness else None
    leaning = biased.ask(run_id, table, open_test, pairs, quality, sample, settings) if bias else None
    found = evaluate(run_id, table, open_test=open_test, mapping=pairs, settings=settings)
    asked = open_run(run_id, runs)
    slices = slices_of(asked, found.predictions, columns, table) if sliced or columns else None
    if as_json:
        more = {"slices": slices, "robustness": swept, "bias": leaning}
        plain = {name: of.to_dict() for name, of in more.items() if of is not None}
        verdicts = verdict_content(asked, found.predictions)
        shared.print_json(found.to_dict() | ({"verdicts": verdicts} if verdicts else {}) | plain)
    else:
        _print(found, verdict_lines(asked, found.predictions, found.part), slices, swept, leaning)
    drawn = robust.draw(swept, figure) if swept else biased.draw(leaning, figure) if leaning else []
    for line in drawn:
        (shared.err() if as_json else shared.out()).print(line, markup=False, highlight=False, soft_wrap=True)


def _print(
    found: Evaluation, verdicts: list[str], slices: SliceReport | None, swept: Robustness | None, leaning: CodecBias | None
) -> None:
    from rich.table import Table

    from tellapart.formatting import score_sentence, times_in_words

    where = "" if found.part == "other" else f", {found.part} part"
    console = shared.out()
    table = Table(title=f"{found.run} on {found.data}{where}", title_justify="left", box=None, pad_edge=False)
    table.add_column("score")
    table.add_column("value [95 % interval]")
    for name, score in found.scores.items():
        table.add_row(name, score_sentence(score))
    console.print(table)
    missing = "; ".join(f"{', '.join(names)} ({why})" for why, names in _reasons(found).items())
    lines = [*([f"not defined here: {missing}"] if missing else []), *_confusions(found), *verdicts]
    lines += [f"note: {note}" for note in found.notes]
    for line in [*lines, f"test opened {times_in_words(found.opened)}"]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if slices:
        console.print()
        print_slices(console, slices)
    if swept:
        console.print()
        robust.show(swept, console)
    if leaning:
        console.print()
        biased.show(leaning, console)


def _reasons(found: Evaluation) -> dict[str, list[str]]:
    """Why → the scores that are not defined for that reason."""
    reasons: dict[str, list[str]] = {}
    for name, why in found.undefined.items():
        reasons.setdefault(why, []).append(name)
    return reasons


def _confusions(found: Evaluation) -> list[str]:
    """The most frequent wrong answers, each with its share of the true class."""
    pairs = found.confusions()
    if not pairs:
        return ["no image is answered wrongly"]
    wrong = sum(pair.count for pair in pairs)
    shown = [f"{p.true} → {p.answered}: {p.count:,} of {p.of:,} ({p.count / p.of:.1%})" for p in pairs[:_PAIRS]]
    more = f"; {len(pairs) - _PAIRS:,} other pairs" if len(pairs) > _PAIRS else ""
    return [f"wrong: {wrong:,} of {len(found.predictions):,}; true → answered: {'; '.join(shown)}{more}"]


# --- slices of a run's scores as lines for the terminal: `tellapart evaluate RUN --slices [COLUMN …]` shows t ---------


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

    from tellapart.data.metadata import add_header_columns
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

    lines = [report.describe()]
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


# --- verdicts in a terminal: how they did, line by line, for `evaluate`, and what was decided, for `calibrate ---------


def verdict_lines(run: Run, predictions: Predictions, part: str) -> list[str]:
    """How the verdicts of a calibrated run did on labeled images; no line for another run.

    Args:
        run: Any run.
        predictions: What it answered, with labels.
        part: Which images: "valid", "test" or "other".
    """
    from tellapart.inference.decision import has_decision
    from tellapart.workflows.calibrate import score_decisions

    return report_lines(score_decisions(run, predictions), part) if has_decision(run) else []


def verdict_content(run: Run, predictions: Predictions) -> dict[str, Any] | None:
    """The same as JSON; None for a run without verdict."""
    from tellapart.inference.decision import has_decision
    from tellapart.workflows.calibrate import score_decisions

    return score_decisions(run, predictions).to_dict() if has_decision(run) else None


def report_lines(report: DecisionReport, part: str) -> list[str]:
    """One line for the threshold, one for the answers, one for the sets; those that there are."""
    from tellapart.formatting import PARTS

    where = f"on the {PARTS[part]} part" if part in PARTS else "on these images"
    chosen = ", where it was chosen" if part == "valid" else ""
    said = _threshold_line(report, where + chosen)
    if report.accuracy is None:
        said.append(f"verdicts {where}{chosen}: every image is unsure, n={report.decided.n:,}")
    else:
        said.append(
            f"verdicts {where}{chosen}: answered {report.decided}; accuracy among the answered {report.accuracy}, "
            f"{report.decided.n - report.accuracy.n:,} unsure"
        )
    if report.sets is not None:
        alone = report.sets.accuracy
        right = "no set holds one class" if alone is None else f"right among those {alone}"
        size = f"{report.sets.mean_size:.2f} of {report.classes} classes on average"
        said.append(
            f"sets of {report.promised:g} promised coverage: the true class is in {report.sets.covered}; "
            f"one class alone in {report.sets.single}, {right}; {size}"
        )
    return said


def _threshold_line(report: DecisionReport, where: str) -> list[str]:
    if report.threshold is None:
        return []
    at = f"{report.threshold:.4g}" if math.isfinite(report.threshold) else "none, nothing may be called positive"
    tpr = f"TPR {report.tpr}" if report.tpr else "TPR not defined, no image is positive"
    fpr = f"FPR {report.fpr}" if report.fpr else "FPR not defined, no image is negative"
    return [f"threshold for {report.positive} {at}, {where}: {tpr}, {fpr}"]
