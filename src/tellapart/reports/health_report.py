"""The health report as one HTML file, and a page on which a person accepts or rejects what was found.

Both carry everything they show and ask nobody for anything, as the report of runs does. The page for reviewing needs its
script: a button saves the decisions as a CSV that `tellapart check --reviewed` and `tellapart split --reviewed` read.
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
from tellapart.io import translate_os_errors, write_text_atomically
from tellapart.reports.figures import INK, MUTED, PAPER, TEST, TRAIN, VALID, shorten, styled
from tellapart.reports.svg import inline
from tellapart.reports.templating import TEMPLATES, environment
from tellapart.reports.thumbnails import Picture, ThumbnailCache
from tellapart.workflows.check import CheckRun, HealthReport

#: Pictures of each finding on the health report; rows with pictures on the page for reviewing.
MOST_SHOWN, MOST_REVIEWED = 12, 600
#: Of these severities a finding has a section of its own.
SHOWN: tuple[Severity, ...] = ("leak", "problem", "notice")


@dataclass(frozen=True)
class Shown:
    """One image, or a pair, of a finding."""

    picture: Picture
    reason: str
    about: str  # split and class
    score: float
    other: Picture | None = None
    other_about: str = ""


@dataclass(frozen=True, eq=False)
class Part:
    """One check on the page."""

    checked: CheckRun
    images: int
    shown: list[Shown]
    figure: Markup | None


@dataclass(frozen=True)
class Row:
    """One finding to decide on."""

    id: str
    check: str
    severity: str
    score: float
    reason: str
    action: str
    shown: Shown


def write_page(health: HealthReport, path: Path) -> Path:
    """Write the health report.

    Raises:
        SystemLimitError: The file cannot be written.
    """
    with ThumbnailCache(health.table) as album:
        parts = [Part(one, int(one.result.is_issue.sum()), worst(one, health, album), _figure(one)) for one in health.checks]
    return _write("check.html", path, health, parts=parts, most=MOST_SHOWN, sections=SHOWN)


def write_review(health: HealthReport, path: Path) -> Path:
    """Write the page for reviewing: the first `MOST_REVIEWED` rows at fault with pictures; others go into the CSV as they are.

    Raises:
        SystemLimitError: The file cannot be written.
    """
    rows = health.rows()
    position = {str(image): row for row, image in enumerate(health.table.ids)}
    partner = {one.name: _partners(one) for one in health.checks}
    with ThumbnailCache(health.table) as album:
        shown = [
            Row(image, check, severity, score, reason, action,
                _shown(position[image], partner[check], reason, score, health, album))
            for image, check, severity, score, reason, action in _plain(rows.head(MOST_REVIEWED))
        ]  # fmt: skip
    rest = rows.iloc[MOST_REVIEWED:].to_csv(index=False, header=False, lineterminator="\n")
    left = max(len(rows) - MOST_REVIEWED, 0)
    return _write("check_review.html", path, health, rows=shown, rest=rest, left=left, columns=COLUMNS)


def _plain(rows: pd.DataFrame) -> Iterator[tuple[str, str, str, float, str, str]]:
    """The columns of rows at fault, in their order."""
    for image, check, severity, score, reason, action in rows[list(COLUMNS)].itertuples(index=False, name=None):
        yield str(image), str(check), str(severity), float(score), str(reason), str(action)


def worst(one: CheckRun, health: HealthReport, album: ThumbnailCache) -> list[Shown]:
    """The worst images of a finding, pairs side by side: at most `MOST_SHOWN`.

    Args:
        one: What the check said.
        health: Of its table.
        album: Pictures of the same table.
    """
    found = one.result
    if found.pairs is not None and len(found.pairs):
        pairs = found.pairs[:MOST_SHOWN].tolist()
        return [_shown(a, {a: b}, "", float(found.scores[[a, b]].min()), health, album) for a, b in pairs]
    rows = np.flatnonzero(found.is_issue)
    rows = rows[np.argsort(-found.scores[rows], kind="stable")][:MOST_SHOWN]
    return [_shown(row, {}, found.reasons.get(row, ""), float(found.scores[row]), health, album) for row in rows.tolist()]


def _figure(one: CheckRun) -> Markup | None:
    """How what was found is spread over the classes or parts; None where there is no measure."""
    found = found_distributions(one.result.details) if one.result.severity in SHOWN else []
    about = f"How {', '.join(d['by'] for d in found)} are spread over the classes or parts"
    return inline(draw(found), one.name, about) if found else None


def _shown(row: int, partner: dict[int, int], reason: str, score: float, health: HealthReport, album: ThumbnailCache) -> Shown:
    ids, other = health.table.ids, partner.get(row)
    beside = None if other is None else album.picture(str(ids[other]))
    about = "" if other is None else _about(other, health)
    return Shown(album.picture(str(ids[row])), reason, _about(row, health), score, beside, about)


def _about(row: int, health: HealthReport) -> str:
    """ "test, fake"; what is not known is left out."""
    table = health.table
    split = str(table.frame["split"].iloc[row]) if "split" in table.frame else ""
    label = int(table.labels[row])
    return ", ".join(part for part in (split, table.classes[label] if label >= 0 else "") if part)


def _partners(one: CheckRun) -> dict[int, int]:
    """For each row of pairs the other of its worst pair."""
    found: dict[int, int] = {}
    for a, b in one.result.pairs.tolist() if one.result.pairs is not None else []:
        found.setdefault(a, b)
        found.setdefault(b, a)
    return found


def _write(template: str, path: Path, health: HealthReport, **content: object) -> Path:
    """Fill a template and write it, whole or not at all."""
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


# --- how the measures that a check found are spread over the classes, or the parts: a small panel each ----------------


_COLORS = (TEST, VALID, TRAIN, MUTED)
_LINES = ("-", (0, (4, 1.5)))  # from the fifth class on the colors come again, dashed or hatched
_HATCHES = ("", "///")
#: Panels of one figure.
MOST = 6
_ACROSS = 2
_LINE = 40  # characters below a panel


def found_distributions(details: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those among the figures of a check, the first `MOST`; of a check that makes several comparisons those of each in turn."""
    parts = [part.get("distributions", []) for part in (details, *details.get("comparisons", {}).values())]
    in_turn = [one for several in zip_longest(*parts) for one in several if one is not None]
    return in_turn[:MOST]


@styled
def draw(distributions: list[dict[str, Any]]) -> Figure:
    """Shares of the images of each class or part, by value; what lies further out stands in the outermost bins.

    Args:
        distributions: At least one, as `check._distributions` makes them.
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
    """Values without the words that all of them begin with.

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
