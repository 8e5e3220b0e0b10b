"""What a run says of its own probabilities: a verdict where it was given rules, else nothing beyond the most probable class."""

from __future__ import annotations

from typing import final

import numpy as np

from tellapart.calibration.decision import Verdicts
from tellapart.runs.store import Run
from tellapart.workflows.calibrate import decision, has_verdict


@final
class Judge:
    """The rules of one run, read once.

    Attributes:
        classes: C names.
        judges: Whether there is a rule beyond the most probable class.
    """

    def __init__(self, run: Run) -> None:
        self.classes = run.classes
        found = decision(run) if has_verdict(run) else None
        self._decision = found if found is not None and found.judges else None
        self.judges = self._decision is not None

    def __call__(self, proba: np.ndarray) -> Verdicts | None:
        """Verdicts; None of a run without rules. `proba`: (N, C) float, what the run answered."""
        return None if self._decision is None else self._decision.verdicts(proba)
