"""`tellapart leaderboard`: finished runs, ranked."""

from __future__ import annotations

from typing import Annotated

import typer

from tellapart.cli import options as opt
from tellapart.cli.selected import selected

Pairs = Annotated[bool, typer.Option("--pairs", help="Also test every pair of runs, not only each run against the first.")]


def run(
    run_ids: opt.RunIds = None, rank_by: opt.RankBy = "accuracy", pairs: Pairs = False, runs: opt.Runs = opt.RUNS,
    as_json: opt.AsJson = False, verbose: opt.Verbose = False,
) -> None:  # fmt: skip
    """Rank finished runs by their validation score, one table per data set and split."""
    from tellapart.leaderboards.leaderboard import build, by_data
    from tellapart.leaderboards.render import pairs_view

    boards = [build(group, rank_by) for group in by_data(selected(run_ids, runs)).values()]
    if as_json:
        opt.print_json([board.to_dict() for board in boards])
        return
    for board in boards:
        opt.out().print(board)
        if pairs:
            opt.out().print(pairs_view(board))
