"""The report's page on how true a run's probabilities are: reliability, risk and coverage, and what was decided on them.

ECE, Brier and log loss are those stored with the run. The bins of the diagram hold about equally many answers; those of the ECE
are of equal width. Of a run that corrects the mix of classes, figures and scores are those before the correction: labeled
images have the mix of the data, and only there can it be seen whether probabilities are true.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from tellapart import formatting
from tellapart.calibration.decision import DecisionReport
from tellapart.calibration.decision_text import describe
from tellapart.calibration.thresholds import RiskCoverage, risk_coverage
from tellapart.inference.decision import decision, has_decision
from tellapart.leaderboards.row import Row
from tellapart.metrics.reliability import Reliability, reliability_by_mass
from tellapart.metrics.score_all import score_all
from tellapart.reports.figures import INK, LINE, MUTED, PAPER, SPLIT_COLORS, styled
from tellapart.reports.svg import FigureSheet
from tellapart.reports.templating import environment
from tellapart.runs.store import Run
from tellapart.types import Predictions, Score
from tellapart.workflows import calibrate

#: Scores of the table, and what the page calls them.
ABOUT = {"accuracy": "accuracy", "log-loss": "log-loss (nats)", "brier": "Brier", "ece": "ECE"}
#: Fewer answers than this make no diagram.
LEAST = 10


@dataclass(frozen=True, eq=False)
class CalibrationPart:
    """What the template shows.

    Attributes:
        name: The run's name in the leaderboard.
        split: "test" when it was opened, else "valid".
        part: The split, in words.
        n: Images.
        diagram, curve: The figures.
        scores: What the table calls a score → the score.
        points: Of the diagram.
        area: Of the risk-coverage curve.
        gap: Mean confidence less accuracy: above 0 where the run is too sure.
        words: What was decided on validation, sentence by sentence; empty without a verdict.
        helped: Whether calibration helped, in words; "" without a verdict or a map.
        judged: How the verdicts did on these images; None without a rule.
        parent: The run beneath; "" without one.
        corrected: Whether the run corrects the mix of classes.
        undone: Whether figures and scores are those before that; not where the mix leaves a class nothing.
    """

    name: str
    split: str
    part: str
    n: int
    diagram: Markup
    curve: Markup
    scores: dict[str, Score]
    points: Reliability
    area: float
    gap: float
    words: list[str]
    helped: str
    judged: DecisionReport | None
    parent: str
    corrected: bool
    undone: bool


def page(run: Run, row: Row, key: str, sheet: FigureSheet, level: int = 4) -> Markup | None:
    """The page of one run, on its test part when that was opened, else on validation; None where answers are missing or few.

    Args:
        run: The run.
        row: Its row of the leaderboard.
        key: Unique on the page.
        sheet: Where its figures go.
        level: Of the headings.
    """
    found = _part(run, row, key, sheet)
    if found is None:
        return None
    return Markup(environment().get_template("calibration.html").render(of=found, level=level))


def _part(run: Run, row: Row, key: str, sheet: FigureSheet) -> CalibrationPart | None:
    split, predictions = next(((s, p) for s in ("test", "valid") if (p := run.predictions(s)) is not None), ("", None))
    if predictions is None or len(predictions) < LEAST or (predictions.labels < 0).any():
        return None
    decided = decision(run) if has_decision(run) else None
    shown, scores = predictions, row.scores(split)
    if decided is not None and decided.prior is not None and (proba := decided.uncorrected(predictions.proba)) is not None:
        shown = replace(predictions, proba=proba)
        scores = score_all(shown, run.positive)
    series = [_series(row.name, shown)]
    if (before := _parent_answers(run, split)) is not None:
        series.append(_series("before", before))
    points, n = series[0].reliability, len(predictions)
    images = f"{n:,} {formatting.PARTS[split]} images"
    diagram, curve = reliability_diagram(series, split, len(run.classes)), risk_coverage_curve(series, split)
    about = f"Reliability diagram of {row.name} on {images}: share of right answers against confidence, {len(points.n)} bins."
    risk = f"Risk-coverage curve of {row.name} on {images}; the area under it is {series[0].risk.area:.4f}."
    return CalibrationPart(
        name=row.name, split=split, part=formatting.PARTS[split], n=n,
        diagram=sheet.place(diagram, f"{run.id}-reliability", f"{key}-reliability", about),
        curve=sheet.place(curve, f"{run.id}-risk-coverage", f"{key}-risk-coverage", risk),
        scores={name: scores[metric] for metric, name in ABOUT.items() if metric in scores},
        points=points, area=series[0].risk.area,
        gap=float(np.average(points.confidence - points.accuracy, weights=points.n)),
        words=[] if decided is None else describe(decided), helped=_helped(run),
        judged=calibrate.score_decisions(run, predictions) if decided is not None and decided.has_rule else None,
        parent=", ".join(run.data.get("parents", [])) if decided is not None else "",
        corrected=decided is not None and decided.prior is not None, undone=shown is not predictions,
    )  # fmt: skip


def _series(name: str, predictions: Predictions) -> Series:
    labels, proba = predictions.labels, predictions.proba
    return Series(name, reliability_by_mass(labels, proba), risk_coverage(labels, proba))


def _parent_answers(run: Run, split: str) -> Predictions | None:
    """What the calibrated run beneath answered to the same part; None where it did not, or for another run."""
    if not (run.folder / calibrate.EFFECT).exists():
        return None
    beneath = Run(run.runs / run.data["parents"][0])
    if not (beneath.folder / "done").exists() or (found := beneath.predictions(split)) is None or not len(found):
        return None
    return found


def _helped(run: Run) -> str:
    if not (run.folder / calibrate.EFFECT).exists():
        return ""
    found = calibrate.calibration_effect(run)
    return f"{found['verdict']} on validation: {found['words']}" if found["after"] else ""


# --- figures of the calibration page: the reliability diagram, and the risk-coverage curve. Colors as in `rep ---------


_DASHES = (0, (3, 3))


@dataclass(frozen=True, eq=False)
class Series:
    """One classifier on one part: the first is drawn in the part's color, others in gray."""

    name: str
    reliability: Reliability
    risk: RiskCoverage


@styled
def reliability_diagram(series: Sequence[Series], split: str, classes: int) -> Figure:
    """Accuracy against confidence, bins with their Wilson bars, over how many answers each bin holds.

    Args:
        series: At least one; the first is what the page is about.
        split: "valid" or "test", for the color.
        classes: Confidence cannot be below 1 / classes.
    """
    figure = Figure(figsize=(4.3, 4.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    least = min(1 / classes, *(float(of.reliability.confidence.min()) for of in series))
    least = max(0.0, float(np.floor(20 * least) / 20))
    upper.plot([least, 1], [least, 1], color=MUTED, linewidth=0.9, linestyle=_DASHES, zorder=0.5, label="as sure as right")
    for number, of in reversed(list(enumerate(series))):
        found, color = of.reliability, SPLIT_COLORS[split] if number == 0 else MUTED
        upper.vlines(found.confidence, found.accuracy_low, found.accuracy_high, color=color, linewidth=1.4)
        face = color if number == 0 else PAPER
        upper.plot(found.confidence, found.accuracy, "o", color=color, markerfacecolor=face, markersize=5, label=of.name)
    shown = series[0].reliability
    width = np.maximum(shown.high - np.maximum(shown.low, least), 0.004)
    lower.bar(np.maximum(shown.low, least), shown.n, width, align="edge", color=LINE, edgecolor=MUTED, linewidth=0.5)
    lowest = min(float(of.reliability.accuracy_low.min()) for of in series)
    upper.set(xlim=(least - 0.01, 1.01), ylim=(min(least, lowest) - 0.02, 1.02), ylabel="share that is right")
    lower.set(xlabel="confidence of the answer", ylabel="answers", ylim=(0, 1.15 * shown.n.max()))
    for axes in (upper, lower):
        axes.spines["left"].set_visible(False)
    upper.grid(axis="y")
    upper.set_axisbelow(True)
    upper.legend(loc="upper left", handlelength=1.4)
    return figure


@styled
def risk_coverage_curve(series: Sequence[Series], split: str) -> Figure:
    """The share of wrong answers among the surest, however many are answered.

    Args:
        series: At least one; the first is what the page is about.
        split: "valid" or "test", for the color.
    """
    figure = Figure(figsize=(4.3, 4.4), layout="constrained")
    axes = figure.add_subplot()
    for number, of in reversed(list(enumerate(series))):
        color = SPLIT_COLORS[split] if number == 0 else MUTED
        name = f"{of.name}, area {of.risk.area:.4f}"
        axes.plot(
            of.risk.coverage, of.risk.risk, color=color, label=name, solid_joinstyle="round",
            linestyle="-" if number == 0 else _DASHES, linewidth=1.8 if number == 0 else 1.2,
        )  # fmt: skip
    risk = float(series[0].risk.risk[-1])
    axes.plot([1], [risk], "o", color=SPLIT_COLORS[split], markersize=5)
    axes.annotate(f"all answered: {risk:.1%} wrong", (1, risk), xytext=(-8, 6), textcoords="offset points", ha="right",
                  fontsize=8, color=INK)  # fmt: skip
    top = max(float(of.risk.risk[of.risk.coverage >= 0.02].max()) for of in series)  # the first few answers are noise
    axes.set(xlim=(0, 1.02), ylim=(0, max(1.35 * top, 0.01)), xlabel="share of the images that is answered, the surest first")
    axes.set_ylabel("share of wrong answers among them")
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.legend(loc="upper left", handlelength=1.6)
    return figure
