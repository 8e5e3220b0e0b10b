"""The report's page on how true a run's probabilities are: reliability, risk and coverage, and what was decided on them.

ECE, Brier and log loss are those stored with the run. The bins of the diagram hold about equally many answers; those of the ECE
are of equal width. Of a run that corrects the mix of classes, figures and scores are those before the correction: labeled
images have the mix of the data, and only there can it be seen whether probabilities are true.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from markupsafe import Markup

from tellapart import formatting
from tellapart.calibration.decision import DecisionReport
from tellapart.calibration.decision_text import in_words
from tellapart.calibration.thresholds import risk_coverage
from tellapart.inference.decision import decision, has_decision
from tellapart.leaderboards.row import Row
from tellapart.metrics.reliability import Reliability, reliability_by_mass
from tellapart.metrics.score_all import score_all
from tellapart.reports.calibration_figures import Series, reliability_diagram, risk_coverage_curve
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
        words=[] if decided is None else in_words(decided), helped=_helped(run),
        judged=calibrate.score_decisions(run, predictions) if decided is not None and decided.judges else None,
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
