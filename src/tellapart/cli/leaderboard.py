"""`tellapart leaderboard`: the runs that are there, ranked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tellapart.cli import options as shared


def run(
    run_ids: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]…", help="Ids, beginnings of ids, or paths. Default: all.")
    ] = None,
    rank_by: shared.RankBy = "accuracy",
    pairs: Annotated[
        bool, typer.Option("--pairs", help="Also test every pair of runs, not only each against the first.")
    ] = False,
    runs: shared.Runs = Path("runs"),
    as_json: shared.AsJson = False,
    verbose: shared.Verbose = False,
) -> None:
    """Rank finished runs by validation, one table for each data set and split."""
    from tellapart.leaderboards.leaderboard import build, by_data
    from tellapart.leaderboards.render import pairs_view
    from tellapart.runs.store import select_runs

    boards = [build(group, rank_by) for group in by_data(select_runs(run_ids or [], runs)).values()]
    if as_json:
        shared.print_json([board.to_dict() for board in boards])
        return
    for board in boards:
        shared.out().print(board)
        if pairs:
            shared.out().print(pairs_view(board))
