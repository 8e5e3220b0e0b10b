"""Display of a leaderboard in a terminal and in a notebook.

If the console is wide enough, each run is one line. Otherwise, first the p-values of the column "vs first" are omitted (the
mark ≈ remains for runs that are not significantly different from the first), then the figures are stacked in their cells.
"""

from __future__ import annotations

import html
import math
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tellapart import formatting
from tellapart.data.class_names import positive_in_words
from tellapart.formatting import duration, rate
from tellapart.leaderboards.row import NOT_SHOWN, Row
from tellapart.metrics.pairwise import PairedTest
from tellapart.metrics.score_all import RANKINGS
from tellapart.types import Score

if TYPE_CHECKING:
    from tellapart.leaderboards.leaderboard import Leaderboard

MISSING = "–"
_SOURCE = 20  # characters of a line in the column "pretrained" of a stacked table
NOT_SIGNIFICANT, DAGGER = "≈", "†"
METRIC_NAMES = {"accuracy": "accuracy", "auroc": "AUROC"}
MACRO = ("macro-precision", "macro-recall", "macro-f1")
CAPTION = (
    "[low, high]: 95 % intervals. Precision, recall and F1: means over the classes, on test; their intervals are "
    "in --json and in the report."
)


def rich_view(board: Leaderboard) -> Group:
    """Render the table and its footnotes for a terminal."""
    return Group(Text(title(board), style="bold"), _FittingTable(board), *(Text(line) for line in lines(board)))


def html_view(board: Leaderboard) -> str:
    """Render the leaderboard for notebooks: one HTML table without scripts and colors."""
    headings, rows = _headings(board), [_cells(board, row) for row in board.rows]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in headings)
    body = "".join(f"<tr>{''.join(f'<td>{_html_cell(cell)}</td>' for cell in row)}</tr>" for row in rows)
    notes = "".join(f"<p>{html.escape(line)}</p>" for line in lines(board))
    caption = f"<caption>{html.escape(title(board))}</caption>"
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}"


def title(board: Leaderboard) -> str:
    """Title with the name of the data, the n of every split and the ranking score."""
    sizes = ", ".join(f"{split} n = {n:,}" for split, n in board.split_sizes.items())
    return f"{board.name}: {len(board.classes)} classes; {sizes}; ranked by validation {board.rank_by}"


def lines(board: Leaderboard) -> list[str]:
    """Footnotes of the table."""
    devices = ", ".join(sorted({row.device for row in board.rows}))
    notes = [CAPTION, f"Fit time and img/s: measured once each, on {devices}."]
    if positive := positive_in_words(board.classes, board.positive):
        notes.append(f"Positive class: {positive}.")
    if any(row.mark for row in board.rows):
        notes.append(
            f"“{NOT_SHOWN}”: not significantly more accurate (p < 0.05) than the metadata baseline on the same images."
        )
    notes += [f"Note: {note}" for note in board.notes]
    notes += left_out_lines(board)
    return [*notes, *comparison_lines(board), *board.lineage, *opening_lines(board)]


def left_out_lines(board: Leaderboard) -> list[str]:
    """Describe the rows that were excluded from the data, by class; every distinct result if the runs differ."""
    return list(dict.fromkeys(line for found in board.left_out for line in found.lines()))


def comparison_lines(board: Leaderboard) -> list[str]:
    """Explanation of the column "vs first", the minimum detectable difference, and the comparison of the two best runs."""
    stands = board.comparisons
    if not stands.vs_best:
        return []
    count, test = len(stands.vs_best), stands.vs_best[0].test
    where = "on test" if stands.split == "test" else "on validation, which also ranked the runs (test not opened for all)"
    by = f"{test}, Holm's correction for {f'{count} comparisons' if count > 1 else 'one comparison'}"
    points = "points" if stands.metric == "accuracy" else "hundredths"
    legend = f"{NOT_SIGNIFICANT}: not significantly different (p ≥ 0.05)"
    meaning = f"vs first: {points} of {METRIC_NAMES[stands.metric]} {where}; {by}; {legend}."
    return [meaning, describe_detectable(board), board.top_two]


def describe_detectable(board: Leaderboard) -> str:
    """Describe the minimum detectable difference."""
    stands, groups = board.comparisons, board.comparisons.stacked.groups
    units = f"n = {stands.n:,} images" if groups is None else f"n = {stands.n:,} images in {len(set(groups)):,} groups"
    if stands.rival is None or math.isnan(stands.detectable):
        why = "all runs are right on the same images" if stands.rival is None else "there are too few images"
        return f"The minimum detectable difference for {units} is unknown, as {why}."
    two = f"{board.rows[0].name} and {board.rows[stands.rival].name}"
    exact = stands.metric == "accuracy" and groups is None
    basis = f"exactly one of {two} is right on {100 * stands.disagreement:.1f} % of them"
    points = f"{100 * stands.detectable:.1f} points of {METRIC_NAMES[stands.metric]}"
    return (
        f"The smallest difference that a test on {units} detects with 80 % power is {points} "
        f"({basis if exact else f'from the interval of {two}'})."
    )


def opening_lines(board: Leaderboard) -> list[str]:
    """Number of openings of the test split, and the runs that were made after an opening."""
    notes, late = [], sorted({row.late for row in board.rows if row.late})
    for number in late:
        names = [row.name for row in board.rows if row.late == number]
        which = f"{len(names)} of {len(board.rows)} runs ({', '.join(names)})"
        scores = "its test score is" if len(names) == 1 else "their test scores are"
        why = f"{scores} optimistic if chosen by an earlier test score"
        notes.append(f"{DAGGER} {formatting.after_opening(number)}: {which}; {why}.")
    return [*notes, f"{board.opened[0].upper()}{board.opened[1:]}."]


def pairs_view(board: Leaderboard) -> Group:
    """Render the tests of all pairs of runs, in the order of the leaderboard."""
    stands, pairs = board.comparisons, board.pairs()
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    counted = stands.metric == "accuracy"
    for heading in (
        "run",
        "against",
        *(("only run right", "only other right") if counted else ()),
        "points [95 % CI]",
        "p",
        "p (Holm)",
    ):
        left = heading in ("run", "against")
        table.add_column(heading, justify="left" if left else "right", overflow="fold", no_wrap=not left)
    for (a, b), pair in pairs.items():
        both = [board.rows[a].name, board.rows[b].name]
        counts = [f"{pair.counts.only_a:,}", f"{pair.counts.only_b:,}"] if pair.counts else []
        ends = " … ".join(formatting.points(end) for end in (pair.difference.low, pair.difference.high))
        figures = [f"{formatting.points(pair.difference.value)} [{ends}]", _p(pair.p_alone), _p(pair.p_value)]
        table.add_row(*(Text(cell) for cell in (*both, *counts, *figures)), style="" if pair.significant else "dim")
    significant = sum(pair.significant for pair in pairs.values())
    part = formatting.PARTS[stands.split]
    summary = f"{significant} of {len(pairs)} pairs differ significantly (Holm's correction for {len(pairs)})"
    summary = summary if pairs else "there is only one run"
    head = f"All pairs, {METRIC_NAMES[stands.metric]} on {part}, n = {stands.n:,}"
    which = f"{stands.vs_best[0].test}; " if stands.vs_best else ""
    return Group(Text(head, style="bold"), Padding(table, (1, 0)), Text(f"{which}{summary}. Intervals are not corrected."))


@dataclass(frozen=True)
class _FittingTable:
    """One line per run if the console is wide enough, stacked cells otherwise."""

    board: Leaderboard

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for brief in (False, True):
            wide = _table(_headings(self.board), [_cells(self.board, row, brief=brief) for row in self.board.rows])
            if Measurement.get(console, options.update(width=10_000), wide).maximum <= options.max_width:
                yield Padding(wide, (1, 0))
                return
        stacked = [_stack(_cells(self.board, row)) for row in self.board.rows]
        yield Padding(_table(_stack(_headings(self.board)), stacked), (1, 0))


def _headings(board: Leaderboard) -> list[str]:
    auroc = ["AUROC"] if len(board.classes) == 2 else []
    scores = [f"valid {board.rank_by}", "test accuracy", "prec.", "recall", "F1", *auroc]
    return ["#", "recipe", *scores, "vs\nfirst", "fit", "img/s", "params", "pre-\ntrained"]


def _cells(board: Leaderboard, row: Row, *, brief: bool = False) -> list[str]:
    """Cells of one run, one per heading; `brief` omits p-values."""
    valid = _with_interval(row.valid.get(RANKINGS[board.rank_by]), board.split_sizes.get("valid"))
    test = _with_interval(row.test.get("accuracy"), board.split_sizes.get("test")) if row.test else "not opened"
    plain = [*MACRO, *(["auroc"] if len(board.classes) == 2 else [])]
    figures = [f"{row.test[name].value:.3f}" if name in row.test else MISSING for name in plain]
    name = f"{row.name} {DAGGER}" if row.late else row.name
    name = f"{name}\n{row.mark}" if row.mark else name
    speed = rate(row.images_per_second)
    cost = [duration(row.fit_seconds), speed, _magnitude(row.parameters), row.pretrained]
    return [str(row.rank), name, valid, test, *figures, _against(row.vs_first, brief), *cost]


def _against(found: PairedTest | None, brief: bool) -> str:
    """Cell of the column "vs first", such as "≈ −0.3 p = 0.62"; empty for the first run."""
    if found is None:
        return ""
    value = formatting.points(found.difference.value)
    value = value if found.significant else f"{NOT_SIGNIFICANT} {value}"
    return value if brief else f"{value} {_p(found.p_value, 'p ')}"


def _p(p: float, before: str = "") -> str:
    """Format a p-value; a dash if it is undefined."""
    if math.isnan(p):
        return f"{before}{MISSING}"
    return formatting.p_value(p) if before else formatting.p_value(p).removeprefix("p ").removeprefix("= ")


def _stack(cells: list[str]) -> list[str]:
    """Stack cells: intervals below their value, the three class means in one cell, costs in one cell, sources broken."""
    rank, name, valid, test, precision, recall, f1, *auroc, first, seconds, speed, parameters, pretrained = cells
    first = first.replace(" p ", "\np ")
    means, cost = "\n".join([precision, recall, f1]), "\n".join([seconds, speed, parameters])
    pretrained = "\n".join(textwrap.fill(line, _SOURCE) for line in pretrained.splitlines())
    return [rank, name, valid.replace(" [", "\n["), test.replace(" [", "\n["), means, *auroc, first, cost, pretrained]


def _table(headings: list[str], rows: list[list[str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 0), header_style="bold")
    for place, heading in enumerate(headings):
        if heading == "recipe":
            table.add_column(heading, max_width=18, overflow="fold")
        else:
            table.add_column(heading, justify="left" if place == len(headings) - 1 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(_styled(cell) for cell in row))
    return table


def _styled(cell: str) -> Text:
    """Plain text instead of markup, since a recipe may be called `[red]`; marks are highlighted."""
    text = Text(cell)
    text.highlight_words([NOT_SHOWN], style="yellow")
    text.highlight_words([DAGGER], style="yellow")
    return text


def _html_cell(cell: str) -> str:
    return html.escape(cell).replace("\n", "<br>")


def _with_interval(score: Score | None, n: int | None) -> str:
    """Format a score with its interval, and with its n if it differs from the one in the title."""
    if score is None:
        return MISSING
    interval = f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"
    return interval if score.n == n else f"{interval} n={score.n:,}"


def _magnitude(number: int) -> str:
    """Format a number with a metric prefix: 62,006 → 62.0 k.

    >>> [_magnitude(n) for n in (0, 999, 62_006, 11_200_000)]
    ['0', '999', '62.0 k', '11.2 M']
    """
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return str(number)
