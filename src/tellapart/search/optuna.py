"""Draws that learn from those before: optuna's tree-structured Parzen estimator (Bergstra et al. 2011); the extra `search`.

The state is an SQLite file. A draw that was asked for and never answered, because the process was killed, is asked for again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tellapart.errors import RunError, SystemLimitError
from tellapart.search.space import Range, Setting, Space


class ParzenSearch:
    """Rounds of draws, and what came of them.

    Args:
        path: The SQLite file; created, or resumed.
        space: What is drawn from; `count` draws in all.
        seed: Of the first session; later ones draw on, not again.
        batch: Draws a round, judged together.
    """

    def __init__(self, path: Path, space: Space, seed: int, batch: int) -> None:
        optuna = require()
        self.space, self.batch = space, batch
        self.asked: list[Any] = []
        try:
            self.study: Any = optuna.create_study(
                storage=f"sqlite:///{path.resolve()}", study_name="sweep", direction="maximize", load_if_exists=True
            )
            drawn = len(self.study.trials)
        except Exception as error:  # a damaged file raises whatever the library below the library raises
            hint = "delete it to start the draws again; finished trials are stored separately"
            raise RunError(f"{path}: cannot be read as an optuna study ({error})", hint=hint) from error
        self.study.sampler = optuna.samplers.TPESampler(seed=seed + drawn)
        self.distributions = _distributions(optuna, space)

    def rounds(self) -> Iterator[list[Setting]]:
        """Cells to judge; `tell` must answer a round before the next is asked for."""
        self.asked = [t for t in self.study.trials if not t.state.is_finished()]
        while True:
            room = min(self.batch - len(self.asked), self.space.count - len(self.study.trials))
            self.asked += [self.study.ask(self.distributions) for _ in range(room)]
            if not self.asked:
                return
            yield [self._cell(trial.params) for trial in self.asked]
            self.asked = []

    def tell(self, values: Sequence[float | None]) -> None:
        """The validation accuracy of each cell of the round, None where it could not be fitted."""
        for trial, value in zip(self.asked, values, strict=True):
            self.study.tell(trial.number, value, state=_state(value))

    def _cell(self, drawn: dict[str, Any]) -> Setting:
        ranges = self.space.ranges
        return {name: ranges[name].text(drawn[name]) if name in ranges else drawn[name] for name in self.space.settings}


def require() -> Any:
    """The library.

    Raises:
        SystemLimitError: It is not installed.
    """
    try:
        import optuna
    except ImportError:
        hint = "pip install 'tellapart[search]', or draw at random: --random N"
        raise SystemLimitError("--optuna needs optuna, which is not installed", hint=hint) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _state(value: float | None) -> Any:
    from optuna.trial import TrialState

    return TrialState.FAIL if value is None else TrialState.COMPLETE


def _distributions(optuna: Any, space: Space) -> dict[str, Any]:
    kinds = optuna.distributions
    lists = {name: kinds.CategoricalDistribution(values) for name, values in space.choices.items()}
    return lists | {name: _distribution(kinds, found) for name, found in space.ranges.items()}


def _distribution(kinds: Any, found: Range) -> Any:
    if found.integer:
        return kinds.IntDistribution(int(found.low), int(found.high), log=found.log)
    return kinds.FloatDistribution(found.low, found.high, log=found.log)
