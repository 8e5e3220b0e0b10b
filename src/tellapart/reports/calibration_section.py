"""Calibration section of the report: reliability diagram, risk-coverage curve, scores, and the decision rule of the run.

ECE, Brier and log-loss are those stored with the run. The bins of the diagram contain about equally many predictions; those of
the ECE have equal width. For a run with a correction for other class frequencies, figures and scores are computed before the
correction, since labeled images have the class frequencies of the data, and calibration can be measured only on these.
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

#: Scores of the table → name on the page.
SCORES = {"accuracy": "accuracy", "log-loss": "log-loss (nats)", "brier": "Brier", "ece": "ECE"}
#: Minimum number of predictions for a diagram.
LEAST = 10
_DASHES = (0, (3, 3))


@dataclass(frozen=True, eq=False)
class SectionData:
    """Content of the template.

    Attributes:
        name: Name of the run in the leaderboard.
        split: "test" if it was opened, else "valid".
        part: The split, in words.
        n: Number of images.
        diagram, curve: The figures.
        scores: Name on the page → score.
        points: Points of the reliability diagram.
        area: Area under the risk-coverage curve.
        gap: Mean confidence minus accuracy, above 0 for an overconfident run.
        steps: Description of the steps of the decision rule; empty without one.
        effect: Description of the effect of the calibration; "" without one.
        decisions: Scores of the decisions on these images; None without a rule.
        parent: Id of the parent run; "" without one.
        corrected: Whether probabilities are corrected for other class frequencies.
        undone: Whether figures and scores are those before the correction; impossible if the prior of a class is 0.
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
    steps: list[str]
    effect: str
    decisions: DecisionReport | None
    parent: str
    corrected: bool
    undone: bool


def render_section(run: Run, row: Row, key: str, sheet: FigureSheet, level: int = 4) -> Markup | None:
    """Render the section of one run, on test if it was opened, else on validation; None with missing or too few predictions.

    Args:
        run: The run.
        row: Row of the run in the leaderboard.
        key: Unique key on the page.
        sheet: Destination of the figures.
        level: Level of the headings.
    """
    found = _section_data(run, row, key, sheet)
    if found is None:
        return None
    return Markup(environment().get_template("calibration.html").render(of=found, level=level))


def _section_data(run: Run, row: Row, key: str, sheet: FigureSheet) -> SectionData | None:
    split, predictions = next(((s, p) for s in ("test", "valid") if (p := run.predictions(s)) is not None), ("", None))
    if predictions is None or len(predictions) < LEAST or (predictions.labels < 0).any():
        return None
    rule = decision(run) if has_decision(run) else None
    shown, scores = predictions, row.scores(split)
    if rule is not None and rule.prior is not None and (proba := rule.uncorrected(predictions.proba)) is not None:
        shown = replace(predictions, proba=proba)
        scores = score_all(shown, run.positive)
    series = [_series(row.name, shown)]
    if (before := _parent_predictions(run, split)) is not None:
        series.append(_series("before", before))
    points, n = series[0].reliability, len(predictions)
    images = f"{n:,} {formatting.PARTS[split]} images"
    diagram, curve = reliability_diagram(series, split, len(run.classes)), risk_coverage_curve(series, split)
    about = f"Reliability diagram of {row.name} on {images}: accuracy against confidence, {len(points.n)} bins."
    risk = f"Risk-coverage curve of {row.name} on {images}; the area under it is {series[0].risk.area:.4f}."
    return SectionData(
        name=row.name, split=split, part=formatting.PARTS[split], n=n,
        diagram=sheet.add(diagram, f"{run.id}-reliability", f"{key}-reliability", about),
        curve=sheet.add(curve, f"{run.id}-risk-coverage", f"{key}-risk-coverage", risk),
        scores={name: scores[metric] for metric, name in SCORES.items() if metric in scores},
        points=points, area=series[0].risk.area,
        gap=float(np.average(points.confidence - points.accuracy, weights=points.n)),
        steps=[] if rule is None else describe(rule), effect=_effect(run),
        decisions=calibrate.score_decisions(run, predictions) if rule is not None and rule.has_rule else None,
        parent=", ".join(run.data.get("parents", [])) if rule is not None else "",
        corrected=rule is not None and rule.prior is not None, undone=shown is not predictions,
    )  # fmt: skip


def _series(name: str, predictions: Predictions) -> Series:
    labels, proba = predictions.labels, predictions.proba
    return Series(name, reliability_by_mass(labels, proba), risk_coverage(labels, proba))


def _parent_predictions(run: Run, split: str) -> Predictions | None:
    """Predictions of the parent of a calibrated run for the same split; None without a parent or predictions."""
    if not (run.folder / calibrate.EFFECT).exists():
        return None
    parent = Run(run.runs / run.data["parents"][0])
    if not (parent.folder / "done").exists() or (found := parent.predictions(split)) is None or not len(found):
        return None
    return found


def _effect(run: Run) -> str:
    if not (run.folder / calibrate.EFFECT).exists():
        return ""
    found = calibrate.calibration_effect(run)
    return f"{found['result']} on validation: {found['summary']}" if found["after"] else ""


# --- figures ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Series:
    """One classifier on one split. The first series is drawn in the color of the split, all others in gray."""

    name: str
    reliability: Reliability
    risk: RiskCoverage


@styled
def reliability_diagram(series: Sequence[Series], split: str, classes: int) -> Figure:
    """Draw accuracy against confidence with Wilson intervals, above the number of predictions per bin.

    Args:
        series: At least one series; the first is the run of the section.
        split: "valid" or "test", for the color.
        classes: Number of classes; confidence cannot be below 1 / classes.
    """
    figure = Figure(figsize=(4.3, 4.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    least = min(1 / classes, *(float(of.reliability.confidence.min()) for of in series))
    least = max(0.0, float(np.floor(20 * least) / 20))
    upper.plot([least, 1], [least, 1], color=MUTED, linewidth=0.9, linestyle=_DASHES, zorder=0.5, label="perfect calibration")
    for number, of in reversed(list(enumerate(series))):
        found, color = of.reliability, SPLIT_COLORS[split] if number == 0 else MUTED
        upper.vlines(found.confidence, found.accuracy_low, found.accuracy_high, color=color, linewidth=1.4)
        face = color if number == 0 else PAPER
        upper.plot(found.confidence, found.accuracy, "o", color=color, markerfacecolor=face, markersize=5, label=of.name)
    shown = series[0].reliability
    width = np.maximum(shown.high - np.maximum(shown.low, least), 0.004)
    lower.bar(np.maximum(shown.low, least), shown.n, width, align="edge", color=LINE, edgecolor=MUTED, linewidth=0.5)
    lowest = min(float(of.reliability.accuracy_low.min()) for of in series)
    upper.set(xlim=(least - 0.01, 1.01), ylim=(min(least, lowest) - 0.02, 1.02), ylabel="accuracy")
    lower.set(xlabel="confidence", ylabel="predictions", ylim=(0, 1.15 * shown.n.max()))
    for axes in (upper, lower):
        axes.spines["left"].set_visible(False)
    upper.grid(axis="y")
    upper.set_axisbelow(True)
    upper.legend(loc="upper left", handlelength=1.4)
    return figure


@styled
def risk_coverage_curve(series: Sequence[Series], split: str) -> Figure:
    """Draw the error rate of the most confident predictions against their share.

    Args:
        series: At least one series; the first is the run of the section.
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
    axes.annotate(f"all images: {risk:.1%} wrong", (1, risk), xytext=(-8, 6), textcoords="offset points", ha="right",
                  fontsize=8, color=INK)  # fmt: skip
    top = max(float(of.risk.risk[of.risk.coverage >= 0.02].max()) for of in series)  # the first few predictions are noise
    axes.set(xlim=(0, 1.02), ylim=(0, max(1.35 * top, 0.01)), xlabel="coverage: share of images, most confident first")
    axes.set_ylabel("risk: error rate on these images")
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.legend(loc="upper left", handlelength=1.6)
    return figure
