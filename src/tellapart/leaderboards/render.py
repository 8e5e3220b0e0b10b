"""How a leaderboard looks in a terminal and in a notebook.

Where there is room each run is one line. Where there is not, figures are stacked in their cells; before that, the p-values of
the column "vs first" give way to the mark ≈ of those that are not told apart from the first.
"""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tellapart import formatting
from tellapart.formatting import duration, rate
from tellapart.leaderboards.row import NOT_SHOWN, Row
from tellapart.metrics.pairwise import PairedTest
from tellapart.metrics.score_all import RANKINGS
from tellapart.types import Score

if TYPE_CHECKING:
    from tellapart.leaderboards.leaderboard import Leaderboard

MISSING = "–"
NOT_SIGNIFICANT, DAGGER = "≈", "†"
OF = {"accuracy": "accuracy", "auroc": "AUROC"}
MACRO = ("macro-precision", "macro-recall", "macro-f1")
CAPTION = (
    "[low, high] are 95 % intervals. Precision, recall and F1 are means over the classes, on test; their intervals are "
    "in --json and in the report."
)


def rich_view(board: Leaderboard) -> Group:
    """The table, then what must be said with it."""
    return Group(Text(title(board), style="bold"), _FittingTable(board), *(Text(line) for line in lines(board)))


def html_view(board: Leaderboard) -> str:
    """The same for notebooks: one table, no script, colors left to the notebook."""
    headings, rows = _headings(board), [_cells(board, row) for row in board.rows]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in headings)
    body = "".join(f"<tr>{''.join(f'<td>{_html_cell(cell)}</td>' for cell in row)}</tr>" for row in rows)
    said = "".join(f"<p>{html.escape(line)}</p>" for line in lines(board))
    caption = f"<caption>{html.escape(title(board))}</caption>"
    return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{said}"


def title(board: Leaderboard) -> str:
    """What is ranked by what, with the n of every split."""
    sizes = ", ".join(f"{split} n = {n:,}" for split, n in board.split_sizes.items())
    return f"{board.name}: {len(board.classes)} classes; {sizes}; ranked by validation {board.rank_by}"


def lines(board: Leaderboard) -> list[str]:
    """The sentences below the table."""
    devices = ", ".join(sorted({row.device for row in board.rows}))
    said = [CAPTION, f"Fit time and img/s were measured once each, on {devices}."]
    if any(row.mark for row in board.rows):
        said.append(
            f"“{NOT_SHOWN}”: not right significantly more often (p < 0.05) than the metadata baseline on the same images."
        )
    said += [f"Note: {note}" for note in board.notes]
    return [*said, *comparison_lines(board), *board.lineage, *opening_lines(board)]


def comparison_lines(board: Leaderboard) -> list[str]:
    """How the column "vs first" was made, what so few images can show, and the two best in words."""
    stands = board.comparisons
    if not stands.vs_best:
        return []
    count, test = len(stands.vs_best), stands.vs_best[0].test
    where = "on test" if stands.split == "test" else "on validation, which chose the first (test is not opened for all)"
    by = f"{test}, Holm's correction for {f'{count} comparisons' if count > 1 else 'one comparison'}"
    points = "points" if stands.metric == "accuracy" else "hundredths"
    meant = f"vs first: {points} of {OF[stands.metric]} {where}; {by}; {NOT_SIGNIFICANT} is not told apart (p ≥ 0.05)."
    return [meant, describe_detectable(board), board.top_two]


def describe_detectable(board: Leaderboard) -> str:
    """What n images can show, in words."""
    stands, groups = board.comparisons, board.comparisons.stacked.groups
    units = "" if groups is None else f" in {len(set(groups)):,} groups"
    if stands.rival is None or math.isnan(stands.detectable):
        why = "all are right on the same images" if stands.rival is None else "they are too few"
        return f"n = {stands.n:,}{units}: what difference they could show is not known, as {why}."
    two = f"{board.rows[0].name} and {board.rows[stands.rival].name}"
    exact = stands.metric == "accuracy" and groups is None
    apart = f"{two} differ in being right on {100 * stands.disagreement:.1f} % of them"
    what = f"differences under {100 * stands.detectable:.1f} points of {OF[stands.metric]} cannot be shown"
    return f"n = {stands.n:,}{units}: {what} (80 % power; {apart if exact else f'from the interval of {two}'})."


def opening_lines(board: Leaderboard) -> list[str]:
    """How often the test part was opened, and which runs were made after that."""
    said, late = [], sorted({row.late for row in board.rows if row.late})
    for number in late:
        names = [row.name for row in board.rows if row.late == number]
        of = f"{len(names)} of {len(board.rows)} runs ({', '.join(names)})"
        why = "a test score may have led to it, and then flatters it" if len(names) == 1 else "test scores may have led to them"
        said.append(f"{DAGGER} {formatting.after_opening(number)}: {of}; {why}.")
    return [*said, f"{board.opened[0].upper()}{board.opened[1:]}."]


def pairs_view(board: Leaderboard) -> Group:
    """Every pair of runs, in the order of the table."""
    stands, pairs = board.comparisons, board.pairs()
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    counted = stands.metric == "accuracy"
    for heading in ("run", "against", *(("only it", "only that") if counted else ()), "points [95 % CI]", "p", "p (Holm)"):
        left = heading in ("run", "against")
        table.add_column(heading, justify="left" if left else "right", overflow="fold", no_wrap=not left)
    for (a, b), pair in pairs.items():
        both = [board.rows[a].name, board.rows[b].name]
        counts = [f"{pair.counts.only_a:,}", f"{pair.counts.only_b:,}"] if pair.counts else []
        ends = " … ".join(formatting.points(end) for end in (pair.difference.low, pair.difference.high))
        figures = [f"{formatting.points(pair.difference.value)} [{ends}]", _p(pair.p_alone), _p(pair.p_value)]
        table.add_row(*(Text(cell) for cell in (*both, *counts, *figures)), style="" if pair.significant else "dim")
    real = sum(pair.significant for pair in pairs.values())
    part = formatting.PARTS[stands.split]
    told = f"{real} of {len(pairs)} pairs are told apart (Holm's correction for {len(pairs)})" if pairs else "there is one run"
    head = f"All pairs, {OF[stands.metric]} on {part}, n = {stands.n:,}"
    which = f"{stands.vs_best[0].test}; " if stands.vs_best else ""
    return Group(Text(head, style="bold"), Padding(table, (1, 0)), Text(f"{which}{told}. Intervals are of each pair alone."))


@dataclass(frozen=True)
class _FittingTable:
    """One line a run if the console is wide enough, stacked cells otherwise."""

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
    """The texts of one run, one a heading; `brief` without p-values."""
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
    """ "≈ −0.3 p = 0.62"; nothing for the first."""
    if found is None:
        return ""
    value = formatting.points(found.difference.value)
    value = value if found.significant else f"{NOT_SIGNIFICANT} {value}"
    return value if brief else f"{value} {_p(found.p_value, 'p ')}"


def _p(p: float, before: str = "") -> str:
    """A p-value, or that there is none."""
    if math.isnan(p):
        return f"{before}{MISSING}"
    return formatting.p_value(p) if before else formatting.p_value(p).removeprefix("p ").removeprefix("= ")


def _stack(cells: list[str]) -> list[str]:
    """Fewer, taller cells: intervals below their figure, the three class means in one cell, the three costs in one."""
    rank, name, valid, test, precision, recall, f1, *auroc, first, seconds, speed, parameters, pretrained = cells
    first = first.replace(" p ", "\np ")
    means, cost = "\n".join([precision, recall, f1]), "\n".join([seconds, speed, parameters])
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
    """Plain text, never markup: a recipe may be called `[red]`. The mark stands out."""
    text = Text(cell)
    text.highlight_words([NOT_SHOWN], style="yellow")
    text.highlight_words([DAGGER], style="yellow")
    return text


def _html_cell(cell: str) -> str:
    return html.escape(cell).replace("\n", "<br>")


def _with_interval(score: Score | None, n: int | None) -> str:
    """A figure with its interval; its n stands in the title, and here too should it differ."""
    if score is None:
        return MISSING
    interval = f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"
    return interval if score.n == n else f"{interval} n={score.n:,}"


def _magnitude(number: int) -> str:
    """62,006 → 62.0 k.

    >>> [_magnitude(n) for n in (0, 999, 62_006, 11_200_000)]
    ['0', '999', '62.0 k', '11.2 M']
    """
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return str(number)
