"""The report in a few sentences and figures: who won, what the metadata baseline reaches, how often the test was opened."""

from __future__ import annotations

from tellapart import formatting
from tellapart.leaderboards.leaderboard import Leaderboard
from tellapart.leaderboards.row import Row
from tellapart.metrics.score_all import RANKINGS
from tellapart.recipe.groups import BASELINE
from tellapart.types import SPLITS, Score


def verdict(board: Leaderboard) -> list[str]:
    """The winner, the duel, the metadata baseline, who is not told apart from the winner, the openings: one sentence each."""
    best = board.rows[0]
    baseline = next((row for row in board.rows if row.family == BASELINE), None)
    said = [_winner(board, best)]
    if board.top_two:
        said.append(board.top_two)
    if baseline is not None:
        said.append(_baseline_sentence(board, best, baseline))
    if tied := [row.name for row in board.rows if row.not_significant]:
        said.append(_tied_sentence(board, best, tied))
    times = board.times_opened
    said.append(
        f"The test part of these data has been opened {formatting.times_in_words(times)}."
        if times
        else "The test part of these data has not been opened: every number here is from images that chose something."
    )
    if best.late:
        said.append(f"{best.name} was {formatting.after_opening(best.late)}: a test score may have led to it.")
    return said


def _winner(board: Leaderboard, best: Row) -> str:
    metric = RANKINGS[board.rank_by]
    among = f"first of {len(board.rows)} by validation {board.rank_by}" if len(board.rows) > 1 else "the only run"
    start = f"{best.name} is {among}"
    if "accuracy" in best.test:
        reach = formatting.score_sentence(best.test["accuracy"])
        return f"{start}. On the test images, which took no part in fitting or ranking, its accuracy is {reach}."
    return f"{start}, with a validation {board.rank_by} of {formatting.score_sentence(best.valid[metric])}."


def _tied_sentence(board: Leaderboard, best: Row, tied: list[str]) -> str:
    """Which runs are not told apart from the first."""
    few = ", ".join(tied[:4]) + (f" and {len(tied) - 4} more" if len(tied) > 4 else "")
    part = formatting.PARTS[board.comparisons.split]
    return (
        f"Not told apart from {best.name} on the {board.comparisons.n:,} {part} images, corrected for all comparisons: {few}."
    )


def _baseline_sentence(board: Leaderboard, best: Row, baseline: Row) -> str:
    part, scores = ("test", baseline.test) if baseline.test else ("validation", baseline.valid)
    reach = f"{formatting.score_sentence(scores['accuracy'])} on the {part} images"
    if best is baseline:
        better = [row.name for row in board.rows if row.beats_baseline]
        rest = f"Right significantly more often: {', '.join(better)}." if better else "Nothing here is shown to do better."
        return f"The first is the metadata baseline, which sees no pixels: it reaches {reach}. {rest}"
    start = f"The metadata baseline, which sees no pixels, reaches {reach}"
    if best.beats_baseline and best.vs_baseline is not None:
        p_value = formatting.p_value(best.vs_baseline.p_value)
        return f"{start}; {best.name} is right significantly more often on the same images ({p_value})."
    return f"{start}; {best.name} is not shown to do better, so it is not shown to look at the pixels."


def headline_figures(board: Leaderboard) -> list[tuple[str, str, str]]:
    """(what, number, small print) of the figures at the top."""
    best = board.rows[0]
    found = []
    baseline = next((row for row in board.rows if row.family == BASELINE), None)
    for what, row in [
        (best.name, best),
        *([("metadata baseline (sees no pixels)", baseline)] if baseline and baseline is not best else []),
    ]:
        part, scores = ("test", row.test) if row.test else ("validation", row.valid)
        found.append(_score_tile(f"{part} accuracy, {what}", scores["accuracy"]))
    sizes = board.split_sizes
    parts = ", ".join(f"{formatting.count(sizes[s])} {formatting.PARTS[s]}" for s in SPLITS if s in sizes)
    found.append(("labeled images", formatting.count(sum(sizes.values())), parts))
    openings, late = formatting.times_in_words(board.times_opened), sum(row.late > 0 for row in board.rows)
    small = f"{late} of {len(board.rows)} runs made after that" if late else "counted in the ledger of the runs folder"
    found.append(("test part opened", openings, small))
    return found


def _score_tile(what: str, score: Score) -> tuple[str, str, str]:
    return what, formatting.fraction(score.value), f"{formatting.interval(score)} · n = {formatting.count(score.n)}"
