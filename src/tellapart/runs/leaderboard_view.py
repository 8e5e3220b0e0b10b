"""How a leaderboard looks in a terminal and in a notebook.

Where there is room each run is one line. Where there is not, nothing is left out: figures are stacked in their cells.
"""

from __future__ import annotations

import html
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tellapart.evaluate.metrics import RANKINGS
from tellapart.runs.leaderboard import NOT_SHOWN, Leaderboard, Row
from tellapart.runs.wording import duration, rate
from tellapart.types import Score

MISSING = "–"
MACRO = ("macro-precision", "macro-recall", "macro-f1")
CAPTION = (
    "[low, high] are 95 % intervals. Precision, recall and F1 are means over the classes, on test; their intervals are "
    "in --json and in the report."
)


def rich_view(board: Leaderboard) -> Group:
    """The table, then what must be said with it."""
    return Group(Text(title(board), style="bold"), _FittingTable(board), *(Text(line) for line in lines(board)))


def html_view(board: Leaderboard) -> str:
    """The same for notebooks: one table, no script, colours left to the notebook."""
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
        said.append(f"“{NOT_SHOWN}”: not right significantly more often (p < 0.05) than null on the same images.")
    said += [f"Note: {note}" for note in board.notes]
    return [*said, *([board.duel] if board.duel else []), f"{board.opened[0].upper()}{board.opened[1:]}."]


@dataclass(frozen=True)
class _FittingTable:
    """One line a run if the console is wide enough, stacked cells otherwise."""

    board: Leaderboard

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = _table(_headings(self.board), [_cells(self.board, row) for row in self.board.rows])
        if Measurement.get(console, options.update(width=10_000), wide).maximum <= options.max_width:
            yield Padding(wide, (1, 0))
        else:
            stacked = [_stack(_cells(self.board, row)) for row in self.board.rows]
            yield Padding(_table(_stack(_headings(self.board)), stacked), (1, 0))


def _headings(board: Leaderboard) -> list[str]:
    auroc = ["AUROC"] if len(board.classes) == 2 else []
    scores = [f"valid {board.rank_by}", "test accuracy", "prec.", "recall", "F1", *auroc]
    return ["#", "recipe", *scores, "fit", "img/s", "params", "pre-\ntrained"]


def _cells(board: Leaderboard, row: Row) -> list[str]:
    """The texts of one run, one a heading."""
    valid = _with_interval(row.valid.get(RANKINGS[board.rank_by]), board.split_sizes.get("valid"))
    test = _with_interval(row.test.get("accuracy"), board.split_sizes.get("test")) if row.test else "not opened"
    plain = [*MACRO, *(["auroc"] if len(board.classes) == 2 else [])]
    figures = [f"{row.test[name].value:.3f}" if name in row.test else MISSING for name in plain]
    name = f"{row.name}\n{row.mark}" if row.mark else row.name
    speed = rate(row.images_per_second)
    cost = [duration(row.fit_seconds), speed, _magnitude(row.parameters), row.pretrained]
    return [str(row.rank), name, valid, test, *figures, *cost]


def _stack(cells: list[str]) -> list[str]:
    """Fewer, taller cells: intervals below their figure, the three class means in one cell, the three costs in one."""
    rank, name, valid, test, precision, recall, f1, *auroc, seconds, speed, parameters, pretrained = cells
    means, cost = "\n".join([precision, recall, f1]), "\n".join([seconds, speed, parameters])
    return [rank, name, valid.replace(" [", "\n["), test.replace(" [", "\n["), means, *auroc, cost, pretrained]


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
