"""Review of flagged images: write them as CSV, read the edited CSV, and apply its decisions to the data and the results."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from tellapart.checks.base import CheckResult
from tellapart.data.layouts._csv import read_text_table
from tellapart.errors import DataError, SystemLimitError
from tellapart.io import write_text_atomically
from tellapart.os_errors import translate_os_errors
from tellapart.regular_files import read_bytes
from tellapart.spreadsheet import frame_csv
from tellapart.types import ImageTable

COLUMNS = ("id", "check", "severity", "score", "reason", "action")
ACTIONS = ("drop", "keep", "review")


@dataclass(frozen=True)
class Review:
    """The decisions of a review.

    Attributes:
        drop: Ids of images to exclude from the data.
        keep: (id, check): the image is accepted although the check flags it.
    """

    drop: frozenset[str] = frozenset()
    keep: frozenset[tuple[str, str]] = frozenset()

    def remaining(self, table: ImageTable) -> ImageTable:
        """The table without the dropped images."""
        return table.take(~np.isin(table.ids.astype(str), list(self.drop))) if self.drop else table

    def apply(self, name: str, result: CheckResult, ids: np.ndarray) -> CheckResult:
        """Remove accepted images from a result; if no flagged image remains, its severity becomes "fine".

        Args:
            name: Name of the check.
            result: Result of the check on N images.
            ids: (N,) object, ids of the images.
        """
        kept = {row for row in np.flatnonzero(result.is_issue).tolist() if (str(ids[row]), name) in self.keep}
        if not kept:
            return result
        mask = np.isin(np.arange(len(ids)), list(kept))
        pairs = result.pairs if result.pairs is None else result.pairs[~mask[result.pairs].any(axis=1)]
        is_issue = result.is_issue & ~mask
        count = f"{len(kept):,} image{'s' if len(kept) > 1 else ''} accepted by the review"
        changes = {
            "is_issue": is_issue, "scores": np.where(mask, 0, result.scores), "pairs": pairs, "drops": result.drops - kept,
            "reasons": {row: why for row, why in result.reasons.items() if row not in kept},
            "details": result.details | {"accepted": len(kept)},
        }  # fmt: skip
        if is_issue.any():
            return replace(result, summary=f"{result.summary} ({count})", **changes)
        return replace(result, severity="fine", summary=f"{count}; before: {result.summary}", advice="", **changes)


def write_rows(rows: pd.DataFrame, path: Path, *, guarded: bool = True) -> Path:
    """Write flagged rows as CSV, atomically. `guarded`: see `spreadsheet.csv_text`.

    Raises:
        SystemLimitError: The file cannot be written.
    """
    with translate_os_errors(path):
        if path.is_dir():
            raise SystemLimitError(f"{path}: is a folder", hint="give a file name")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomically(path, frame_csv(rows, guarded=guarded), durable=True)
    return path


def read_review(path: Path, table: ImageTable) -> Review:
    """Read an edited CSV.

    Args:
        path: A CSV with the columns id, check and action; others are ignored.
        table: The images that it refers to.

    Raises:
        DataError: No such file or column, an unknown action or id; the message names the row.
    """
    try:
        content = read_bytes(path)
    except OSError as error:
        hint = "`tellapart check DATA --fix-list FILE` writes one"
        raise DataError(f"{path}: cannot be read ({error.strerror})", hint=hint) from None
    text = read_text_table(content, str(path))
    missing = [name for name in ("id", "check", "action") if name not in text.names]
    if missing:
        columns = ", ".join(text.names)
        raise DataError(f"{path}: no column {missing[0]!r}; found {columns}", hint=f"expected {', '.join(COLUMNS)}")
    known = set(table.ids.astype(str))
    drop, keep = set(), set()
    rows = zip(text.lines.tolist(), text.column("id"), text.column("check"), text.column("action"), strict=True)
    for line, image, check, action in rows:
        if action not in ACTIONS:
            raise DataError(f"{path}:{line}: unknown action {action!r}, expected {', '.join(ACTIONS)}")
        if image not in known:
            raise DataError(
                f"{path}:{line}: no image {image!r} in the data", hint="check that the file was written for these data"
            )
        if action == "drop":
            drop.add(image)
        elif action == "keep":
            keep.add((image, check))
    return Review(frozenset(drop), frozenset(keep))
