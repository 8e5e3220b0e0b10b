"""`tellapart combine`: an ensemble of finished runs, and its gain over the best member."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tellapart.cli import options as opt

if TYPE_CHECKING:
    from tellapart.runs.store import Run


Members = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RUN]…",
        help="Members: ids, beginnings of ids, or paths. Default: all runs but the metadata baseline and ensembles.",
    ),
]
How = Annotated[
    str,
    typer.Option(
        "--how",
        help="vote, mean, weighted, rank, geometric-mean, confident, greedy, stack, or soup (the mean of the network weights).",
    ),
]
Options = Annotated[
    list[str] | None,
    typer.Option("-s", "--set", metavar="KEY=VALUE", help="Set an option of --how, for example bags=10. Repeatable."),
]
Between = Annotated[
    tuple[float, float] | None,
    typer.Option("--between", metavar="LOW HIGH", help="Use only members with a validation accuracy in this range."),
]
Top = Annotated[int | None, typer.Option("--top", metavar="N", min=2, help="Use only the N best members on validation.")]
Checkpoints = Annotated[
    bool, typer.Option("--checkpoints", help="Combine the kept epochs of the runs (train.keep_best) instead of the runs.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Random seed for the combiner.")]


def run(
    run_ids: Members = None, how: How = "mean", options: Options = None, between: Between = None, top: Top = None,
    checkpoints: Checkpoints = False, seed: Seed = 0, runs: opt.Runs = opt.RUNS, device: opt.Device = "auto",
    overwrite: opt.Overwrite = False, as_json: opt.AsJson = False, quiet: opt.Quiet = False, verbose: opt.Verbose = False,
) -> None:  # fmt: skip
    """Combine finished runs of the same data into an ensemble, which is a run itself.

    Weights and selections are fitted on the validation split, or on the out-of-fold predictions of k-fold runs. The gain over
    the best member is tested on validation; the test split stays sealed.
    """
    from tellapart.workflows.combine import combine

    settings = opt.settings(runs=runs, device=device, quiet=quiet, seed=seed, overwrite=overwrite)
    method = {how: opt.options(options or [])} if options else how
    made = combine(run_ids or (), how=method, between=between, top=top, checkpoints=checkpoints, settings=settings)
    if as_json:
        opt.print_json(_content(made))
    else:
        _print(made)


def _content(made: Run) -> dict[str, Any]:
    from tellapart.runs.store import scores_to_dict
    from tellapart.workflows.combine import ensemble_gain

    scores = {split: scores_to_dict(made.scores(split)) for split in ("train", "valid", "oof") if made.scores(split)}
    return {"run": made.id, "scores": scores, "gain": ensemble_gain(made), "cost": made.cost}


def _print(made: Run) -> None:
    from rich.table import Table

    from tellapart.formatting import duration, rate
    from tellapart.types import Score
    from tellapart.workflows.combine import ensemble_gain

    found = ensemble_gain(made)
    weighted = any(row["weight"] is not None for row in found["members"])
    table = Table(title=f"{made.id}, validation split", title_justify="left", box=None, pad_edge=False)
    for heading in ("member", "accuracy [95 % interval]", "log loss", *(["weight"] if weighted else [])):
        table.add_column(heading)
    ranked = sorted(found["members"], key=lambda row: -row["valid"]["accuracy"]["value"])
    for row in ranked:
        scores = {name: Score.from_dict(row["valid"][name]) for name in ("accuracy", "log-loss")}
        weight = [f"{row['weight']:.3f}"] if weighted else []
        table.add_row(row["member"], str(scores["accuracy"]), f"{scores['log-loss'].value:.3f}", *weight)
    valid = made.scores("valid")
    table.add_row("ensemble", str(valid["accuracy"]), f"{valid['log-loss'].value:.3f}", style="bold")
    opt.out().print(table)
    against = "against" if found["result"] == "a loss" else "over"
    lines = [f"{found['result']} {against} {found['best']}, the best member on validation: {found['summary']}"]
    if more := found.get("out_of_fold"):
        lines.append(f"out of fold, on training and validation images: {more['result']}: {more['summary']}")
    cost = made.cost
    lines += [f"cost: {duration(cost['fit_seconds'])} to fit, members included; {rate(cost['images_per_second'])} images/s"]
    opt.print_lines(*lines, *(f"note: {note}" for note in cost["notes"]), f"run: {made.folder}")
