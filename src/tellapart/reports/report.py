"""The report: one HTML file that carries everything it shows and asks nobody for anything.

Styles, script, figures and pictures are inside; a content security policy forbids the rest, so that no class name or
file name, whatever it contains, makes the page load or run anything. It can be read without the script.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from markupsafe import Markup

from tellapart.io import translate_os_errors, write_text_atomically
from tellapart.leaderboards.leaderboard import build, by_data
from tellapart.reports.dataset_section import DataPart, data_part
from tellapart.reports.templating import TEMPLATES, environment
from tellapart.runs.store import Run

#: What the page calls a metric.
METRICS = {
    "accuracy": "accuracy", "macro-precision": "macro precision", "macro-recall": "macro recall",
    "macro-f1": "macro F1", "auroc": "AUROC", "log-loss": "log-loss", "balanced-accuracy": "balanced accuracy",
    "weighted-precision": "weighted precision", "weighted-f1": "weighted F1", "matthews": "Matthews", "kappa": "Cohen’s kappa",
    "top-3": "top 3", "top-5": "top 5", "brier": "Brier", "ece": "ECE", "average-precision": "average precision",
    "eer": "equal error rate", "partial-auroc": "partial AUROC (FPR ≤ 10 %)", "tpr-at-1-fpr": "TPR at 1 % FPR",
    "tpr-at-5-fpr": "TPR at 5 % FPR", "macro-auroc": "macro AUROC", "macro-average-precision": "macro average precision",
}  # fmt: skip
#: Of these, lower is better.
LOWER = ("log-loss", "brier", "ece", "eer")


def write_report(runs: Sequence[Run], path: Path, *, rank_by: str = "accuracy", png: Path | None = None) -> Path:
    """Write the report on some runs.

    Args:
        runs: Finished runs; those on different data or splits get a part each, in order of appearance.
        path: The HTML file; its folder is made if need be.
        rank_by: The validation metric that ranks, a key of `tellapart.metrics.score_all.RANKINGS`.
        png: Also write every figure as PNG into this folder.

    Returns:
        `path`.

    Raises:
        RunError: No run, an unknown `rank_by`, or a broken run folder.
        SystemLimitError: The file cannot be written.
    """
    groups = list(by_data(runs).values()) or [[]]  # an empty one, for the leaderboard to refuse in words
    parts = [data_part(build(of, rank_by), of, f"d{number}", png, only=len(groups) == 1) for number, of in enumerate(groups)]
    page = render(parts)
    with translate_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomically(path, page, durable=False)
    return path


def render(parts: Sequence[DataPart]) -> str:
    """The page as text."""
    script = Markup((TEMPLATES / "page.js").read_text(encoding="utf-8"))
    digest = base64.b64encode(hashlib.sha256(f"\n{script}".encode()).digest()).decode()
    return (
        environment()
        .get_template("report.html")
        .render(
            parts=parts,
            deep=0 if len(parts) == 1 else 1,
            style=Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")),
            script=script,
            script_digest=digest,
            version=metadata.version("tellapart"),
            now=datetime.now(UTC),
            metrics=METRICS,
            lower=LOWER,
        )
    )
