"""What a run says of its own probabilities: a verdict where it was given rules, else nothing beyond the most probable class."""

from __future__ import annotations

from typing import final

import numpy as np

from tellapart.calibration.decision import Decision, Decisions
from tellapart.classifiers.calibrated import VERDICT
from tellapart.errors import RunError
from tellapart.io import read_json
from tellapart.runs.store import Run


@final
class DecisionRule:
    """The rules of one run, read once.

    Attributes:
        classes: C names.
        judges: Whether there is a rule beyond the most probable class.
    """

    def __init__(self, run: Run) -> None:
        self.classes = run.classes
        found = decision(run) if has_decision(run) else None
        self._decision = found if found is not None and found.judges else None
        self.judges = self._decision is not None

    def __call__(self, proba: np.ndarray) -> Decisions | None:
        """Verdicts; None of a run without rules. `proba`: (N, C) float, what the run answered."""
        return None if self._decision is None else self._decision.verdicts(proba)


def decision(run: Run) -> Decision:
    """What was decided for a run: its calibration, mix, threshold and rules, as `verdict.json` has them.

    Raises:
        RunError: It is not calibrated.
    """
    if not has_decision(run):
        raise RunError(f"{run.id} has no verdict", hint=f"`tellapart calibrate {run.id}` makes a run that has one")
    return Decision.from_dict(read_json(run.folder / VERDICT))


def has_decision(run: Run) -> bool:
    """Whether something was decided for this run."""
    return (run.folder / VERDICT).exists()
