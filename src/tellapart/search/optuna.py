"""Sequential search with Optuna's tree-structured Parzen estimator (Bergstra et al. 2011); needs the extra `search`.

The state is an SQLite file. A trial without a result, because the process was killed, is repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tellapart.errors import RunError, SystemLimitError
from tellapart.search.space import Range, Setting, Space


class ParzenSearch:
    """Rounds of trials and their results.

    Args:
        path: The SQLite file; created, or resumed.
        space: The search space; its `count` is the total number of trials.
        seed: Random seed of the first session; later sessions continue with new draws.
        batch: Number of trials per round, which are scored together.
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
        except Exception as error:  # a damaged file raises errors of many types
            hint = "delete it to restart the search; finished trials are stored separately"
            raise RunError(f"{path}: cannot be read as an optuna study ({error})", hint=hint) from error
        self.study.sampler = optuna.samplers.TPESampler(seed=seed + drawn)
        self.distributions = _distributions(optuna, space)

    def rounds(self) -> Iterator[list[Setting]]:
        """Yield rounds of cells to score; the results of a round must be reported before the next one is requested."""
        self.asked = [t for t in self.study.trials if not t.state.is_finished()]
        while True:
            room = min(self.batch - len(self.asked), self.space.count - len(self.study.trials))
            self.asked += [self.study.ask(self.distributions) for _ in range(room)]
            if not self.asked:
                return
            yield [self._cell(trial.params) for trial in self.asked]
            self.asked = []

    def tell(self, values: Sequence[float | None]) -> None:
        """Report the validation accuracy of each cell of the round; None if it could not be fitted."""
        for trial, value in zip(self.asked, values, strict=True):
            self.study.tell(trial.number, value, state=_state(value))

    def _cell(self, drawn: dict[str, Any]) -> Setting:
        ranges = self.space.ranges
        return {name: ranges[name].text(drawn[name]) if name in ranges else drawn[name] for name in self.space.settings}


def require() -> Any:
    """Import Optuna.

    Raises:
        SystemLimitError: Optuna is not installed.
    """
    try:
        import optuna
    except ImportError:
        hint = "in the checkout: pip install '.[search]'; or use random search: --random N"
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
