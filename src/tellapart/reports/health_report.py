"""Health report of a data set as one HTML file, and a page for reviewing the findings.

Both pages are self-contained, like the report on runs. The review page needs its script: a button saves the decisions as a CSV
for `tellapart check --reviewed` and `tellapart split --reviewed`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tellapart.checks.base import Severity
from tellapart.checks.review import COLUMNS
from tellapart.io import write_text_atomically
from tellapart.os_errors import translate_os_errors
from tellapart.reports.figures import INK, MUTED, PAPER, TEST, TRAIN, VALID, shorten, styled
from tellapart.reports.svg import inline
from tellapart.reports.templating import TEMPLATES, environment
from tellapart.reports.thumbnails import Picture, ThumbnailCache
from tellapart.spreadsheet import frame_csv
from tellapart.workflows.check import CheckRun, HealthReport

#: Thumbnails per check in the health report; rows with thumbnails on the review page.
MOST_SHOWN, MOST_REVIEWED = 12, 600
#: Severities of the checks that have a section of their own.
SHOWN: tuple[Severity, ...] = ("leak", "problem", "notice")
#: Maximum number of panels of a figure.
MOST = 6
_ACROSS = 2  # panels per row
_LINE = 40  # characters that fit below a panel
_COLORS = (TEST, VALID, TRAIN, MUTED)
_LINES = ("-", (0, (4, 1.5)))  # from the fifth class on, colors repeat with dashed lines or hatches
_HATCHES = ("", "///")


@dataclass(frozen=True)
class Example:
    """One image, or a pair of images, of a finding."""

    picture: Picture
    reason: str
    about: str  # split and class
    score: float
    other: Picture | None = None
    other_about: str = ""


@dataclass(frozen=True, eq=False)
class CheckSection:
    """Section on one check."""

    check: CheckRun
    images: int
    examples: list[Example]
    figure: Markup | None


@dataclass(frozen=True)
class ReviewRow:
    """One finding to review."""

    id: str
    check: str
    severity: str
    score: float
    reason: str
    action: str
    shown: Example


def write_page(health: HealthReport, path: Path) -> Path:
    """Write the health report.

    Raises:
        SystemLimitError: The file cannot be written.
    """
    with ThumbnailCache(health.table) as album:
        sections = [
            CheckSection(one, int(one.result.is_issue.sum()), worst(one, health, album), _figure(one)) for one in health.checks
        ]
    return _write("check.html", path, health, sections=sections, detailed=SHOWN)


def write_review(health: HealthReport, path: Path) -> Path:
    """Write the review page: the first `MOST_REVIEWED` findings with thumbnails; further ones are copied to the CSV unchanged.

    Raises:
        SystemLimitError: The file cannot be written.
    """
    rows = health.rows()
    position = {str(image): row for row, image in enumerate(health.table.ids)}
    partner = {one.name: _partners(one) for one in health.checks}
    with ThumbnailCache(health.table) as album:
        shown = [
            ReviewRow(image, check, severity, score, reason, action,
                      _example(position[image], partner[check], reason, score, health, album))
            for image, check, severity, score, reason, action in _plain(rows.head(MOST_REVIEWED))
        ]  # fmt: skip
    rest = frame_csv(rows.iloc[MOST_REVIEWED:], header=False)
    left = max(len(rows) - MOST_REVIEWED, 0)
    return _write("check_review.html", path, health, rows=shown, rest=rest, left=left, columns=COLUMNS)


def _plain(rows: pd.DataFrame) -> Iterator[tuple[str, str, str, float, str, str]]:
    """Yield the rows with plain Python values."""
    for image, check, severity, score, reason, action in rows[list(COLUMNS)].itertuples(index=False, name=None):
        yield str(image), str(check), str(severity), float(score), str(reason), str(action)


def worst(one: CheckRun, health: HealthReport, album: ThumbnailCache) -> list[Example]:
    """Select the worst images or pairs of a check, at most `MOST_SHOWN`.

    Args:
        one: Result of the check.
        health: Health report of the table.
        album: Thumbnails of the same table.
    """
    found = one.result
    if found.pairs is not None and len(found.pairs):
        pairs = found.pairs[:MOST_SHOWN].tolist()
        return [_example(a, {a: b}, "", float(found.scores[[a, b]].min()), health, album) for a, b in pairs]
    rows = np.flatnonzero(found.is_issue)
    rows = rows[np.argsort(-found.scores[rows], kind="stable")][:MOST_SHOWN]
    return [_example(row, {}, found.reasons.get(row, ""), float(found.scores[row]), health, album) for row in rows.tolist()]


def _figure(one: CheckRun) -> Markup | None:
    """Figure of the distributions over classes or splits; None if the check has none."""
    found = found_distributions(one.result.details) if one.result.severity in SHOWN else []
    about = f"Distribution of {', '.join(d['by'] for d in found)} over the classes or splits"
    return inline(draw(found), one.name, about) if found else None


def _example(
    row: int, partner: dict[int, int], reason: str, score: float, health: HealthReport, album: ThumbnailCache
) -> Example:
    ids, other = health.table.ids, partner.get(row)
    beside = None if other is None else album.picture(str(ids[other]))
    about = "" if other is None else _about(other, health)
    return Example(album.picture(str(ids[row])), reason, _about(row, health), score, beside, about)


def _about(row: int, health: HealthReport) -> str:
    """Split and class of an image, such as "test, fake"; unknown values are omitted."""
    table = health.table
    split = str(table.frame["split"].iloc[row]) if "split" in table.frame else ""
    label = int(table.labels[row])
    return ", ".join(part for part in (split, table.classes[label] if label >= 0 else "") if part)


def _partners(one: CheckRun) -> dict[int, int]:
    """Map each row to the other row of its worst pair."""
    found: dict[int, int] = {}
    for a, b in one.result.pairs.tolist() if one.result.pairs is not None else []:
        found.setdefault(a, b)
        found.setdefault(b, a)
    return found


def _write(template: str, path: Path, health: HealthReport, **content: object) -> Path:
    """Render a template and write it atomically."""
    scripts = {name: Markup((TEMPLATES / f"{name}.js").read_text(encoding="utf-8")) for name in ("page", "check_review")}
    digests = {
        f"{name}_digest": base64.b64encode(hashlib.sha256(f"\n{script}".encode()).digest()).decode()
        for name, script in scripts.items()
    }
    common = {
        "health": health, "style": Markup((TEMPLATES / "style.css").read_text(encoding="utf-8")), "now": datetime.now(UTC),
        "version": metadata.version("tellapart"), "page_script": scripts["page"], "review_script": scripts["check_review"],
    }  # fmt: skip
    page = environment().get_template(template).render(**common, **digests, **content)
    with translate_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomically(path, page, durable=False)
    return path


# --- figures ----------------------------------------------------------------------------------------------------------


def found_distributions(details: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Distributions in the details of a check, at most `MOST`; several comparisons of a check are interleaved."""
    parts = [part.get("distributions", []) for part in (details, *details.get("comparisons", {}).values())]
    in_turn = [one for several in zip_longest(*parts) for one in several if one is not None]
    return in_turn[:MOST]


@styled
def draw(distributions: list[dict[str, Any]]) -> Figure:
    """Draw the distribution of each measure over the classes or splits; values beyond the axis are in the outermost bins.

    Args:
        distributions: At least one distribution from the details of a check.
    """
    across, rows = min(_ACROSS, len(distributions)), -(-len(distributions) // _ACROSS)
    figure = Figure(figsize=(3.9 * across + 0.3, 2.1 * rows + 0.2), layout="constrained")
    panels = figure.subplots(rows, across, squeeze=False).ravel()
    for axes, one in zip(panels, distributions, strict=False):
        _measure(axes, one) if "edges" in one else _kinds(axes, one)
        axes.set_title(one["by"], loc="left", color=INK)
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=8, handlelength=1.4, borderaxespad=0.2)
    for axes in panels[len(distributions) :]:
        axes.set_axis_off()
    return figure


def _measure(axes: Axes, one: Mapping[str, Any]) -> None:
    for n, (name, shares) in enumerate(one["shares"].items()):
        color, line = _COLORS[n % len(_COLORS)], _LINES[n // len(_COLORS)]
        axes.stairs(shares, one["edges"], color=color, linewidth=1.4, linestyle=line, label=shorten(name))
        axes.stairs(shares, one["edges"], fill=True, color=color, alpha=0.12)


def _kinds(axes: Axes, one: Mapping[str, Any]) -> None:
    count, places = len(one["shares"]), range(len(one["values"]))
    for n, (name, shares) in enumerate(one["shares"].items()):
        moved = [place + 0.8 * ((n + 0.5) / count - 0.5) for place in places]
        color, hatch = _COLORS[n % len(_COLORS)], _HATCHES[n // len(_COLORS)]
        axes.bar(moved, shares, width=0.8 / count, color=color, hatch=hatch, edgecolor=PAPER, label=shorten(name))
    words = [shorten(word) for word in what_differs(one["values"])]
    flat = sum(map(len, words)) < _LINE
    axes.set_xticks(places, words, **({} if flat else {"rotation": 20, "ha": "right", "rotation_mode": "anchor"}))


def what_differs(values: Sequence[str]) -> list[str]:
    """Remove the words that all values begin with.

    >>> what_differs(["format PNG", "format JPEG", "other"])
    ['PNG', 'JPEG', 'other']
    """
    named = [value.split() for value in values if value != "other"]
    shared = 0
    while (
        len(named) > 1
        and len({tuple(words[: shared + 1]) for words in named}) == 1
        and all(words[shared + 1 :] for words in named)
    ):
        shared += 1
    return [value if value == "other" else " ".join(value.split()[shared:]) for value in values]
