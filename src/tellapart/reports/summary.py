"""Summary at the top of the report: best run, metadata baseline, comparisons, and number of test openings."""

from __future__ import annotations

from tellapart import formatting
from tellapart.leaderboards.leaderboard import Leaderboard
from tellapart.leaderboards.row import Row
from tellapart.metrics.score_all import RANKINGS
from tellapart.recipe.groups import BASELINE
from tellapart.types import SPLITS, Score


def summarize(board: Leaderboard) -> list[str]:
    """Summarize a leaderboard in sentences.

    Best run, comparison of the two best, metadata baseline, runs that are not significantly different, test openings.
    """
    best = board.rows[0]
    baseline = next((row for row in board.rows if row.family == BASELINE), None)
    sentences = [_winner(board, best)]
    if board.top_two:
        sentences.append(board.top_two)
    if baseline is not None:
        sentences.append(_baseline_sentence(board, best, baseline))
    if similar := [row.name for row in board.rows if row.not_significant]:
        sentences.append(_similar_sentence(board, best, similar))
    times = board.times_opened
    sentences.append(
        f"The test split of these data has been opened {formatting.times_in_words(times)}."
        if times
        else "The test split of these data has not been opened: all scores are on images used for fitting or selection."
    )
    if best.late:
        sentences.append(f"{best.name} was {formatting.after_opening(best.late)}: it may have been chosen by a test score.")
    return sentences


def _winner(board: Leaderboard, best: Row) -> str:
    metric = RANKINGS[board.rank_by]
    among = f"the best of {len(board.rows)} runs by validation {board.rank_by}" if len(board.rows) > 1 else "the only run"
    start = f"{best.name} is {among}"
    if "accuracy" in best.test:
        reach = formatting.score_sentence(best.test["accuracy"])
        return f"{start}. Its accuracy on the test images, which were not used for fitting or ranking, is {reach}."
    return f"{start}, with a validation {board.rank_by} of {formatting.score_sentence(best.valid[metric])}."


def _similar_sentence(board: Leaderboard, best: Row, similar: list[str]) -> str:
    """Name the runs that are not significantly different from the first."""
    few = ", ".join(similar[:4]) + (f" and {len(similar) - 4} more" if len(similar) > 4 else "")
    where = f"on the {board.comparisons.n:,} {formatting.PARTS[board.comparisons.split]} images"
    return f"Not significantly different from {best.name} {where} (corrected for all comparisons): {few}."


def _baseline_sentence(board: Leaderboard, best: Row, baseline: Row) -> str:
    part, scores = ("test", baseline.test) if baseline.test else ("validation", baseline.valid)
    reach = f"{formatting.score_sentence(scores['accuracy'])} on the {part} images"
    if best is baseline:
        better = [row.name for row in board.rows if row.beats_baseline]
        rest = f"Significantly more accurate: {', '.join(better)}." if better else "No run is significantly more accurate."
        return f"The best run is the metadata baseline, which uses no pixels: its accuracy is {reach}. {rest}"
    start = f"The metadata baseline, which uses no pixels, has an accuracy of {reach}"
    if best.beats_baseline and best.vs_baseline is not None:
        p_value = formatting.p_value(best.vs_baseline.p_value)
        return f"{start}; {best.name} is significantly more accurate on the same images ({p_value})."
    return f"{start}; {best.name} is not significantly more accurate, so it is not shown to look at the pixels."


def headline_figures(board: Leaderboard) -> list[tuple[str, str, str]]:
    """Figures at the top of the report: (name, value, details) of each."""
    best = board.rows[0]
    found = []
    baseline = next((row for row in board.rows if row.family == BASELINE), None)
    for what, row in [
        (best.name, best),
        *([("metadata baseline (uses no pixels)", baseline)] if baseline and baseline is not best else []),
    ]:
        part, scores = ("test", row.test) if row.test else ("validation", row.valid)
        found.append(_score_figure(f"{part} accuracy, {what}", scores["accuracy"]))
    sizes = board.split_sizes
    parts = ", ".join(f"{formatting.count(sizes[s])} {formatting.PARTS[s]}" for s in SPLITS if s in sizes)
    found.append(("labeled images", formatting.count(sum(sizes.values())), parts))
    openings, late = formatting.times_in_words(board.times_opened), sum(row.late > 0 for row in board.rows)
    small = f"{late} of {len(board.rows)} runs made after an opening" if late else "counted in the ledger of the runs folder"
    found.append(("test split opened", openings, small))
    return found


def _score_figure(what: str, score: Score) -> tuple[str, str, str]:
    return what, formatting.fraction(score.value), f"{formatting.interval(score)} · n = {formatting.count(score.n)}"
