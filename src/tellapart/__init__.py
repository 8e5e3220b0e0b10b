"""tellapart tells images apart: an honest leaderboard of every kind of image classifier.

    import tellapart as ta
    board = ta.compare("photos/")          # a folder, a CSV, an archive …
    board                                  # the leaderboard; ta.report(board.runs, "report.html")

Names are imported when they are first used: `import tellapart` costs nothing.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tellapart.aligning.verb import align
    from tellapart.answering.answers import answers
    from tellapart.answering.stream import predict_stream
    from tellapart.attribution import attribute
    from tellapart.calibration import calibrate
    from tellapart.check._verb import check
    from tellapart.data.scan import from_arrays, from_bytes, scan
    from tellapart.data.split import split
    from tellapart.ensembling import combine
    from tellapart.errors import TellapartError
    from tellapart.estimator import as_estimator
    from tellapart.evaluation import evaluate
    from tellapart.experiment import Settings, compare, load, lr_range, predict, train
    from tellapart.explain._class_maps import class_maps
    from tellapart.explain._verb import explain
    from tellapart.explain._views import view
    from tellapart.export._verb import export
    from tellapart.kfold import kfold
    from tellapart.recipe import Recipe
    from tellapart.report.html import write_report as report
    from tellapart.report.submission import submit
    from tellapart.runs.leaderboard import Leaderboard
    from tellapart.runs.leaderboard import build as leaderboard
    from tellapart.runs.store import Run, list_runs, open_run
    from tellapart.sources import learning_curve, sources
    from tellapart.stress.bias import bias
    from tellapart.stress.robustness import robustness
    from tellapart.sweep import sweep
    from tellapart.synth._verb import synth
    from tellapart.types import ImageTable, Predictions, Score

__version__ = "0.1.0"

_HOMES = {
    "scan": "data.scan", "from_arrays": "data.scan", "from_bytes": "data.scan", "split": "data.split",
    "train": "experiment", "compare": "experiment", "predict": "experiment", "load": "experiment", "Settings": "experiment",
    "lr_range": "experiment", "as_estimator": "estimator", "sweep": "sweep",
    "evaluate": "evaluation", "combine": "ensembling", "kfold": "kfold", "calibrate": "calibration",
    "robustness": "stress.robustness", "sources": "sources", "learning_curve": "sources",
    "attribute": "attribution", "synth": "synth._verb",
    "explain": "explain._verb", "submit": "report.submission",
    "answers": "answering.answers",
    "predict_stream": "answering.stream",
    "align": "aligning.verb",
    "bias": "stress.bias",
    "view": "explain._views",
    "class_maps": "explain._class_maps",
    "check": "check._verb",
    "export": "export._verb",
    "leaderboard": "runs.leaderboard:build", "Leaderboard": "runs.leaderboard", "report": "report.html:write_report",
    "open_run": "runs.store", "list_runs": "runs.store", "Run": "runs.store",
    "Recipe": "recipe", "ImageTable": "types", "Predictions": "types", "Score": "types", "TellapartError": "errors",
}  # fmt: skip

__all__ = [
    "ImageTable", "Leaderboard", "Predictions", "Recipe", "Run", "Score", "Settings", "TellapartError", "align",
    "answers", "as_estimator", "attribute", "bias", "calibrate", "check", "class_maps", "combine", "compare",
    "evaluate", "explain", "export", "from_arrays", "from_bytes", "kfold", "leaderboard", "learning_curve",
    "list_runs", "load", "lr_range", "open_run", "predict", "predict_stream", "report", "robustness", "scan",
    "sources", "split", "submit", "sweep", "synth", "train", "view",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tellapart' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(importlib.import_module(f"tellapart.{module}"), attribute or name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])


class _Front(ModuleType):
    """Importing the packages `train` and `report` would hide the verbs of the same name: the verbs win."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Front
