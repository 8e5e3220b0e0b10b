"""`tellapart combine`: several runs as one, and whether that gained anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tellapart.cli import options as shared

if TYPE_CHECKING:
    from tellapart.runs.store import Run


def run(
    run_ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]…", help="Ids, beginnings of ids, or paths. Default: all but the metadata baseline and combinations."
        ),
    ] = None,
    how: Annotated[
        str,
        typer.Option(
            "--how", help="vote, mean, weighted, rank, log-odds, confident, greedy, stack, or soup: the mean of the weights."
        ),
    ] = "mean",
    options: Annotated[
        list[str] | None,
        typer.Option("-s", "--set", metavar="KEY=VALUE", help="An option of --how, for example bags=10. Repeatable."),
    ] = None,
    between: Annotated[
        tuple[float, float] | None,
        typer.Option("--between", metavar="LOW HIGH", help="Only members with a validation accuracy in this range."),
    ] = None,
    top: Annotated[int | None, typer.Option("--top", min=2, help="Only so many members, the best on validation.")] = None,
    checkpoints: Annotated[
        bool, typer.Option("--checkpoints", help="The epochs that the runs kept (train.keep_best) vote, not the runs.")
    ] = False,
    runs: shared.Runs = Path("runs"),
    device: shared.Device = "auto",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the combiner.")] = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Combine anew, even if the same run is there already.")] = False,
    as_json: shared.AsJson = False,
    quiet: shared.Quiet = False,
    verbose: shared.Verbose = False,
) -> None:
    """Combine finished runs of the same data into a run that answers for all of them; the test part stays closed.

    Whatever is learnt, weights or a selection, is learnt on validation; of k-fold runs, on their out-of-fold answers. The gain
    over the best member is tested on validation.
    """
    from tellapart.workflows.combine import combine

    settings = shared.settings(runs=runs, device=device, quiet=quiet, seed=seed, fresh=fresh)
    named = {how: shared.options(options or [])} if options else how
    made = combine(run_ids or (), how=named, between=between, top=top, checkpoints=checkpoints, settings=settings)
    if as_json:
        shared.print_json(_content(made))
    else:
        _print(made)


def _content(made: Run) -> dict[str, Any]:
    from tellapart.runs.store import scores_to_dict
    from tellapart.workflows.combine import ensemble_gain

    scores = {part: scores_to_dict(made.scores(part)) for part in ("train", "valid", "oof") if made.scores(part)}
    return {"run": made.id, "scores": scores, "gain": ensemble_gain(made), "cost": made.cost}


def _print(made: Run) -> None:
    from rich.table import Table

    from tellapart.formatting import duration, rate
    from tellapart.types import Score
    from tellapart.workflows.combine import ensemble_gain

    console, found = shared.out(), ensemble_gain(made)
    learnt = any(row["weight"] is not None for row in found["members"])
    table = Table(title=f"{made.id}, validation part", title_justify="left", box=None, pad_edge=False)
    for heading in ("member", "accuracy [95 % interval]", "log loss", *(["weight"] if learnt else [])):
        table.add_column(heading)
    ranked = sorted(found["members"], key=lambda row: -row["valid"]["accuracy"]["value"])
    for row in ranked:
        scores = {name: Score.from_dict(row["valid"][name]) for name in ("accuracy", "log-loss")}
        weight = [f"{row['weight']:.3f}"] if learnt else []
        table.add_row(row["member"], str(scores["accuracy"]), f"{scores['log-loss'].value:.3f}", *weight)
    valid = made.scores("valid")
    table.add_row("together", str(valid["accuracy"]), f"{valid['log-loss'].value:.3f}", style="bold")
    console.print(table)
    against = "against" if found["verdict"] == "a loss" else "over"
    said = [f"{found['verdict']} {against} {found['best']}, the best member on validation: {found['words']}"]
    if more := found.get("out_of_fold"):
        said.append(f"out of fold, on training and validation images: {more['verdict']}: {more['words']}")
    cost = made.cost
    said += [f"cost: {duration(cost['fit_seconds'])} to fit, members included; {rate(cost['images_per_second'])} images/s"]
    for line in [*said, *(f"note: {note}" for note in cost["notes"]), f"run: {made.folder}"]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
