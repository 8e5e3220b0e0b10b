"""The decision rules of a run: a class or "unsure" for each image, if the run was calibrated with such rules."""

from __future__ import annotations

from typing import final

import numpy as np

from tellapart.calibration.decision import Decision, Decisions
from tellapart.classifiers.calibrated import DECISION
from tellapart.errors import RunError
from tellapart.plain_data import read_json
from tellapart.runs._fields import parsing
from tellapart.runs.store import Run


@final
class DecisionRule:
    """The decision rules of one run, read once.

    Attributes:
        classes: C names.
        decides: Whether there is a rule beyond the most probable class.
    """

    def __init__(self, run: Run) -> None:
        self.classes = run.classes
        found = decision(run) if has_decision(run) else None
        self._decision = found if found is not None and found.has_rule else None
        self.decides = self._decision is not None

    def __call__(self, proba: np.ndarray) -> Decisions | None:
        """Decisions, or None for a run without rules. `proba`: (N, C) float, the run's probabilities."""
        return None if self._decision is None else self._decision.decide(proba)


def decision(run: Run) -> Decision:
    """The calibration, class mix, threshold and rules of a run, as stored in `decision.json`.

    Raises:
        RunError: The run is not calibrated.
    """
    if not has_decision(run):
        raise RunError(f"{run.id} has no decision rules", hint=f"`tellapart calibrate {run.id}` makes a run that has them")
    content = read_json(run.folder / DECISION)
    with parsing(run.folder / DECISION):
        return Decision.from_dict(content)


def has_decision(run: Run) -> bool:
    """Whether a run was calibrated."""
    return (run.folder / DECISION).exists()
