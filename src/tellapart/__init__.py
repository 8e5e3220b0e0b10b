"""tellapart tells images apart: an honest leaderboard of every kind of image classifier.

    import tellapart as ta
    board = ta.compare("photos/")          # a folder, a CSV, an archive …
    board                                  # the leaderboard; ta.report(board.runs, "report.html")

Names are imported when they are first used: `import tellapart` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tellapart.data.identity import identify
    from tellapart.data.memory import from_arrays, from_bytes
    from tellapart.data.scan import scan
    from tellapart.data.split import split
    from tellapart.errors import TellapartError
    from tellapart.inference.context import Settings, load_classifier
    from tellapart.leaderboards.leaderboard import Leaderboard
    from tellapart.leaderboards.leaderboard import build as leaderboard
    from tellapart.recipe.load import Recipe
    from tellapart.reports.report import write_report as report
    from tellapart.runs.store import Run, list_runs, open_run
    from tellapart.sklearn import as_estimator
    from tellapart.types import ImageTable, Predictions, Score
    from tellapart.workflows.align import align
    from tellapart.workflows.calibrate import calibrate
    from tellapart.workflows.check import check
    from tellapart.workflows.class_maps import class_maps
    from tellapart.workflows.codec_bias import codec_bias
    from tellapart.workflows.combine import combine
    from tellapart.workflows.compare import compare
    from tellapart.workflows.cross_source import cross_source
    from tellapart.workflows.evaluate import evaluate
    from tellapart.workflows.explain import explain, explain_views
    from tellapart.workflows.export import export
    from tellapart.workflows.kfold import kfold
    from tellapart.workflows.learning_curve import learning_curve
    from tellapart.workflows.lr_range import lr_range
    from tellapart.workflows.open_set import open_set
    from tellapart.workflows.predict import predict, predict_iter, predict_to_file
    from tellapart.workflows.robustness import robustness
    from tellapart.workflows.submit import submit
    from tellapart.workflows.sweep import sweep
    from tellapart.workflows.synth import synth
    from tellapart.workflows.train import train

__version__ = "0.2.0.dev0"

_HOMES = {
    "scan": "data.scan", "from_arrays": "data.memory", "from_bytes": "data.memory", "split": "data.split",
    "identify": "data.identity",
    "align": "workflows.align", "predict_iter": "workflows.predict", "open_set": "workflows.open_set",
    "codec_bias": "workflows.codec_bias", "calibrate": "workflows.calibrate", "check": "workflows.check",
    "class_maps": "workflows.class_maps", "combine": "workflows.combine", "compare": "workflows.compare",
    "evaluate": "workflows.evaluate", "explain": "workflows.explain", "export": "workflows.export",
    "kfold": "workflows.kfold", "learning_curve": "workflows.learning_curve", "lr_range": "workflows.lr_range",
    "predict": "workflows.predict", "predict_to_file": "workflows.predict", "robustness": "workflows.robustness",
    "cross_source": "workflows.cross_source", "submit": "workflows.submit",
    "sweep": "workflows.sweep", "synth": "workflows.synth",
    "train": "workflows.train", "explain_views": "workflows.explain",
    "as_estimator": "sklearn", "load_classifier": "inference.context", "Settings": "inference.context",
    "leaderboard": "leaderboards.leaderboard:build", "Leaderboard": "leaderboards.leaderboard",
    "report": "reports.report:write_report",
    "open_run": "runs.store", "list_runs": "runs.store", "Run": "runs.store", "Recipe": "recipe.load",
    "ImageTable": "types", "Predictions": "types", "Score": "types", "TellapartError": "errors",
}  # fmt: skip

__all__ = [
    "ImageTable", "Leaderboard", "Predictions", "Recipe", "Run", "Score", "Settings", "TellapartError", "align",
    "as_estimator", "calibrate", "check", "class_maps", "codec_bias", "combine", "compare", "cross_source",
    "evaluate", "explain", "explain_views", "export", "from_arrays", "from_bytes", "identify",
    "kfold", "leaderboard", "learning_curve", "list_runs", "load_classifier", "lr_range", "open_run", "open_set", "predict",
    "predict_iter", "predict_to_file", "report", "robustness", "scan", "split", "submit", "sweep", "synth",
    "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tellapart' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(importlib.import_module(f"tellapart.{module}"), attribute or name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
