"""Verdicts in a terminal: how they did, line by line, for `evaluate`, and what was decided, for `calibrate`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tellapart.calibration.decision import DecisionReport
    from tellapart.runs.store import Run
    from tellapart.types import Predictions


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
        said.append(f"verdicts {where}{chosen}: every image is unsure, n={report.answered.n:,}")
    else:
        said.append(
            f"verdicts {where}{chosen}: answered {report.answered}; accuracy among the answered {report.accuracy}, "
            f"{report.answered.n - report.accuracy.n:,} unsure"
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
