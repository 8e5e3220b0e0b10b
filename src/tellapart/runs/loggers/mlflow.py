"""MLflow: runs of the experiment "tellapart" in one SQLite file.

Show them with `mlflow server --backend-store-uri sqlite:///runs/mlflow.db` of a full MLflow; the small MLflow of
`tellapart[track]` only writes.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tellapart.recipe.load import Recipe
from tellapart.runs.loggers.base import RunLogger, Scores, figures, final

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_EXPERIMENT = "tellapart"
_RUN = "tellapart.run"
_BATCH = 100  # maximum number of parameters per call of MLflow
_LONGEST = 6000  # maximum length of a parameter in MLflow


class MLflow(RunLogger):
    """One MLflow run per run, identified by its tag `tellapart.run`. Steps that exist are not logged again.

    The connection is opened by the first `start`. MLflow's telemetry is off, so nothing is sent.
    """

    def __init__(self, runs: Path) -> None:
        with _quiet():
            import alembic  # noqa: F401
            import mlflow.tracking
            import sqlalchemy  # noqa: F401

        self.runs, self._connect = runs.resolve(), mlflow.tracking.MlflowClient
        self.client: MlflowClient | None = None
        self.run, self.there, self.last = "", set(), 0

    def start(self, run_id: str, recipe: Recipe) -> None:
        """Find or create the run, with every setting of the recipe as a parameter."""
        with _quiet():
            client, experiment = self._open()
            found = client.search_runs([experiment], f"tags.`{_RUN}` = '{run_id}'", max_results=1)
            if found:
                self.run = found[0].info.run_id
                client.update_run(self.run, status="RUNNING")
            else:
                self.run = client.create_run(experiment, run_name=run_id, tags={_RUN: run_id}).info.run_id
                _log_settings(client, self.run, recipe)
            self.there = {
                (name, metric.step)
                for name in (found[0].data.metrics if found else ())
                for metric in client.get_metric_history(self.run, name)
            }
            self.last = 0

    def epoch(self, entry: Mapping[str, Any]) -> None:
        """Log one step of every metric."""
        self.last = int(entry["epoch"])
        self._log(figures(entry))

    def finish(self, scores: Scores) -> None:
        """Log the scores at the last epoch, and set the status FINISHED."""
        self._log(final(scores))
        self._end("FINISHED")

    def close(self) -> None:
        """Mark a run that is not finished as KILLED, until it is resumed."""
        self._end("KILLED")

    def _open(self) -> tuple[MlflowClient, str]:
        """The client, connected once, and the id of the experiment."""
        self.runs.mkdir(parents=True, exist_ok=True)
        if self.client is None:
            self.client = self._connect(f"sqlite:///{self.runs / 'mlflow.db'}")
        found = self.client.get_experiment_by_name(_EXPERIMENT)
        if found:
            return self.client, found.experiment_id
        return self.client, self.client.create_experiment(_EXPERIMENT, (self.runs / "mlflow").as_uri())

    def _log(self, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        new = {k: v for k, v in values.items() if (k, self.last) not in self.there and math.isfinite(v)}
        if self.client is not None and self.run:
            self.client.log_batch(self.run, [Metric(k, v, now, self.last) for k, v in new.items()])
        self.there |= {(name, self.last) for name in new}

    def _end(self, status: str) -> None:
        if self.client is not None and self.run:
            self.client.set_terminated(self.run, status)
        self.run = ""


def _log_settings(client: MlflowClient, run: str, recipe: Recipe) -> None:
    from mlflow.entities import Param

    settings = [Param(name, str(value)[:_LONGEST]) for name, value in _flat(recipe.model_dump(mode="json"))]
    for start in range(0, len(settings), _BATCH):
        client.log_batch(run, params=settings[start : start + _BATCH])


def _flat(content: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """`train.optimizer.lr` → value."""
    for name, value in content.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{name}.")
        elif value is not None:
            yield above + name, value


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Disable MLflow's telemetry, deprecation warnings, and messages about the creation of tables."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.INFO)
        try:
            yield
        finally:
            logging.disable(before)
