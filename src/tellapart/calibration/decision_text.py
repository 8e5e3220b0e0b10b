"""Description of a decision rule in plain sentences: calibration map, class frequencies, threshold, and when it is unsure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tellapart.calibration.conformal import Conformal
from tellapart.calibration.decision import Decision
from tellapart.calibration.maps import Beta, Calibration, Isotonic, Platt, Temperature, Vector
from tellapart.calibration.thresholds import RejectBand, Threshold
from tellapart.types import Score

#: Slopes within this distance of 1 change the probabilities little.
_ABOUT_ONE = 0.05
_NAMED = 4


def describe(decision: Decision) -> list[str]:
    """Describe each step of a decision rule in one sentence, in the order of application.

    >>> describe(Decision(("real", "fake"), 800, "fake", map=Temperature(1.83)))
    ['temperature T = 1.83: the classifier was overconfident (800 validation images)']
    """
    steps = [f"{describe_map(decision.map, decision.classes)} ({decision.n:,} validation images)"] if decision.map else []
    if decision.prior is not None and decision.seen is not None:
        steps.append(_describe_prior(decision.classes, decision.seen, decision.prior))
    if decision.threshold:
        steps.append(describe_threshold(decision.threshold, decision.positive or ""))
        steps += _describe_precision(decision)
    if decision.band:
        steps.append(_describe_band(decision.band, decision.positive or ""))
    if decision.sets:
        steps.append(_describe_sets(decision.sets, corrected=decision.prior is not None))
    return steps


def describe_map(found: Calibration, classes: Sequence[str]) -> str:
    """Describe the parameters of a calibration map and their meaning.

    >>> describe_map(Platt(0.5, (0.0, 0.3)), ("real", "fake"))
    'platt, slope 0.50: the classifier was overconfident; log-odds of fake +0.30'
    """
    if isinstance(found, Temperature):
        return f"temperature T = {found.temperature:.2f}: {_describe_slope(1 / found.temperature)}"
    if isinstance(found, Platt):
        moved = _named_numbers(classes[1:], found.offsets[1:], "+.2f")
        against = "" if len(classes) == 2 else f" against {classes[0]}"
        return f"platt, slope {found.slope:.2f}: {_describe_slope(found.slope)}; log-odds of {moved}{against}"
    if isinstance(found, Vector):
        return (
            f"vector, slopes {_named_numbers(classes, found.slopes, '.2f')}; "
            f"offsets {_named_numbers(classes[1:], found.offsets[1:], '+.2f')}"
        )
    if isinstance(found, Isotonic):
        knots = [len(line[0]) for line in found.knots]
        lines = "an increasing function" if len(knots) == 1 else f"{len(knots)} increasing functions, one per class,"
        return f"isotonic: {lines} with {sum(knots)} knots; constant beyond its ends, often 0 or 1"
    if isinstance(found, Beta):
        names = classes[1:] if len(found.curves) == 1 else classes
        curves = [f"{name} a = {a:.2f}, b = {b:.2f}, c = {c:+.2f}" for name, (a, b, c) in zip(names, found.curves, strict=True)]
        rest = f"; … {len(curves)} classes" if len(curves) > _NAMED else ""
        return f"beta: {'; '.join(curves[:_NAMED])}{rest}"
    return found.name


def describe_threshold(threshold: Threshold, positive: str) -> str:
    """Describe a threshold, the reason for it, and its rates on validation.

    >>> describe_threshold(Threshold(0.7, Score(0.8, 50, 0.67, 0.89), Score(0.01, 100, 0, 0.05), "FPR at most 1 %"), "fake")
    'fake at or above 0.7 (FPR at most 1 %); on validation TPR 0.800 [0.670, 0.890] n=50, FPR 0.010 [0.000, 0.050] n=100'
    """
    finite = math.isfinite(threshold.threshold)
    at = f"{positive} at or above {threshold.threshold:.4g}" if finite else f"no image is classified as {positive}"
    return f"{at} ({threshold.reason}); on validation TPR {threshold.tpr}, FPR {threshold.fpr}"


def precision_at(threshold: Threshold, share: float) -> Score | None:
    """Precision at the threshold if `share` of all images are positive; None if no image is classified as positive.

    It is π TPR / (π TPR + (1−π) FPR). The limits use the worst and the best limits of TPR and FPR, so the interval is wider
    than 95 %. n is the number of negative images.

    >>> rate = Threshold(0.7, Score(0.8, 50, 0.67, 0.89), Score(0.01, 100, 0.002, 0.05), "")
    >>> print(precision_at(rate, 0.02))
    0.620 [0.215, 0.901] n=100
    """

    def precision(tpr: float, fpr: float) -> float:
        return share * tpr / (share * tpr + (1 - share) * fpr) if share * tpr + (1 - share) * fpr > 0 else math.nan

    t, f = threshold.tpr, threshold.fpr
    value = precision(t.value, f.value)
    return None if math.isnan(value) else Score(value, f.n, precision(t.low, f.high), precision(t.high, f.low))


def _describe_precision(decision: Decision) -> list[str]:
    if decision.threshold is None or decision.prior is None:
        return []
    share = decision.prior[decision.classes.index(decision.positive or "")]
    found = precision_at(decision.threshold, share)
    if found is None:
        return []
    return [
        f"if {share:.3g} of the images are {decision.positive}, the precision of {decision.positive} is {found.value:.3f} "
        f"(from {found.low:.3f} to {found.high:.3f}, for TPR and FPR within their intervals)"
    ]


def _describe_slope(slope: float) -> str:
    """Describe the meaning of a slope of the log-odds."""
    if slope == 0:
        return "the probabilities were uninformative"
    if abs(slope - 1) < _ABOUT_ONE:
        return "the classifier was well calibrated"
    return "the classifier was overconfident" if slope < 1 else "the classifier was underconfident"


def _named_numbers(names: Sequence[str], numbers: Sequence[float], how: str) -> str:
    text = ", ".join(f"{name} {number:{how}}" for name, number in list(zip(names, numbers, strict=True))[:_NAMED])
    return f"{text}, … ({len(names)} classes)" if len(names) > _NAMED else text


def _describe_prior(classes: Sequence[str], seen: Sequence[float], prior: Sequence[float]) -> str:
    moved = [k for k in range(len(classes)) if not math.isclose(seen[k], prior[k], rel_tol=1e-9)]
    named = ", ".join(f"{classes[k]} {prior[k]:.3g} (from {seen[k]:.3g})" for k in moved[:_NAMED])
    more = f", … ({len(moved)} classes)" if len(moved) > _NAMED else ""
    return f"corrected for other class frequencies: {named}{more}" if moved else "class frequencies unchanged: no correction"


def _describe_band(band: RejectBand, positive: str) -> str:
    return f"unsure if the probability of {positive} is at least {band.low:g} and below {band.high:g}"


def _describe_sets(sets: Conformal, *, corrected: bool) -> str:
    if math.isinf(sets.quantile):
        return f"always unsure: {sets.n} validation images are too few for a coverage of {sets.coverage:g}"
    mix = ", with the class frequencies of validation" if corrected else ""
    return (
        f"unsure if more than one class, or none, is possible: {sets.method} sets contain the true class of {sets.coverage:g} "
        f"of images like those of validation{mix}, on average (n = {sets.n:,})"
    )
