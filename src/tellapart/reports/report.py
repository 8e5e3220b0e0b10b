"""The report: one self-contained HTML file.

Styles, script, figures and images are embedded. A content security policy forbids everything else, so that no class name or
file name can make the page load or run anything. The page is readable without the script.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from markupsafe import Markup

from tellapart.io import write_text_atomically
from tellapart.leaderboards.leaderboard import build, by_data
from tellapart.os_errors import translate_os_errors
from tellapart.reports.dataset_section import DatasetSection, dataset_section
from tellapart.reports.templating import TEMPLATES, environment
from tellapart.runs.store import Run

#: Metric → name on the page.
METRICS = {
    "accuracy": "accuracy", "macro-precision": "macro precision", "macro-recall": "macro recall",
    "macro-f1": "macro F1", "auroc": "AUROC", "log-loss": "log-loss", "balanced-accuracy": "balanced accuracy",
    "weighted-precision": "weighted precision", "weighted-f1": "weighted F1", "matthews": "Matthews", "kappa": "Cohen’s kappa",
    "top-3": "top 3", "top-5": "top 5", "brier": "Brier", "ece": "ECE", "average-precision": "average precision",
    "eer": "equal error rate", "partial-auroc": "partial AUROC (FPR ≤ 10 %)", "tpr-at-1-fpr": "TPR at 1 % FPR",
    "tpr-at-5-fpr": "TPR at 5 % FPR", "macro-auroc": "macro AUROC", "macro-average-precision": "macro average precision",
}  # fmt: skip
#: Metrics for which lower is better.
LOWER = ("log-loss", "brier", "ece", "eer")


def write_report(runs: Sequence[Run], path: Path, *, rank_by: str = "accuracy", png: Path | None = None) -> Path:
    """Write the report on the given runs.

    Args:
        runs: Finished runs; each data set and split has its own section, in order of appearance.
        path: The HTML file; missing folders are created.
        rank_by: Validation metric that ranks, a key of `tellapart.metrics.score_all.RANKINGS`.
        png: Folder into which all figures are also written as PNG.

    Returns:
        `path`.

    Raises:
        RunError: There are no runs, `rank_by` is unknown, or a run folder is broken.
        SystemLimitError: The file cannot be written.
    """
    groups = list(by_data(runs).values()) or [[]]  # without runs, the leaderboard raises the error
    parts = [
        dataset_section(build(group, rank_by), group, f"d{number}", png, only=len(groups) == 1)
        for number, group in enumerate(groups)
    ]
    page = render(parts)
    with translate_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomically(path, page, durable=False)
    return path


def render(parts: Sequence[DatasetSection]) -> str:
    """Render the page."""
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
