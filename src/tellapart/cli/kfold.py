"""`tellapart kfold`: one recipe, judged on every image of training and validation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tellapart.cli import options as shared

if TYPE_CHECKING:
    from rich.table import Table

    from tellapart.runs.store import Run

_SHOWN = ("accuracy", "macro-f1", "log-loss")


def run(
    data: shared.Data,
    recipe: Annotated[str, typer.Option("-r", "--recipe", help="A name of `tellapart recipes`, or a path to a .yaml file.")],
    folds: Annotated[int, typer.Option("--folds", help="How many; each is answered by a model of the others.")] = 5,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Deal the images so often, each time otherwise.")] = 1,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Train each fold with so many recipe seeds.")] = 1,
    overrides: shared.Overrides = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Passes over the training images, in all.")] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", min=0.01, help="Bound on training, divided equally among all models.")
    ] = None,
    images: shared.Images = None,
    id_column: shared.IdColumn = None,
    label_column: shared.LabelColumn = None,
    group: shared.Group = None,
    positive: shared.Positive = None,
    runs: shared.Runs = Path("runs"),
    device: shared.Device = "auto",
    seed: shared.Seed = 0,
    split_from: shared.SplitFrom = None,
    skip_bad: shared.SkipBad = False,
    fresh: shared.Fresh = False,
    sink: shared.Sinks = None,
    as_json: shared.AsJson = False,
    quiet: shared.Quiet = False,
    verbose: shared.Verbose = False,
) -> None:
    """Train one recipe on DATA once a fold; every training and validation image is answered by a model that never saw it.

    The test part stays closed. What comes out is a run: the fold models, answering together. The same command goes on where it
    was cut off, and finished folds are not trained again.
    """
    from tellapart.training import time_budget
    from tellapart.workflows.kfold import kfold

    table = shared.scanned(data, images, id_column, label_column, group, positive)
    settings = shared.settings(
        runs=runs, device=device, quiet=quiet, skip_bad=skip_bad, seed=seed, split_from=split_from, fresh=fresh, sinks=sink
    )
    each = minutes / max(folds * repeats * seeds, 1) if minutes else None
    changes = [*time_budget.overrides(epochs, each), *(overrides or [])]
    made = kfold(table, recipe, folds=folds, repeats=repeats, seeds=seeds, overrides=changes, settings=settings)
    if as_json:
        shared.print_json(_content(made))
    else:
        _print(made)


def _content(made: Run) -> dict[str, Any]:
    from tellapart.runs.store import scores_to_dict
    from tellapart.workflows.kfold import kfold_results

    scores = {part: scores_to_dict(made.scores(part)) for part in ("train", "valid") if made.scores(part)}
    return {"run": made.id, "folder": str(made.folder), "scores": scores, "kfold": kfold_results(made), "cost": made.cost}


def _print(made: Run) -> None:
    from tellapart.workflows.kfold import kfold_results

    console, found = shared.out(), kfold_results(made)
    title = f"{made.recipe_name}: {found['n']:,} images of training and validation; the test part stays closed"
    console.print(title, markup=False, highlight=False, soft_wrap=True)
    console.print(_table(made, found))
    for line in [*_intervals(found), *(f"note: {note}" for note in made.cost["notes"]), f"run: {made.folder}"]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _table(made: Run, found: dict[str, Any]) -> Table:
    """A line for each fold run, mean ± sd over folds, and all images together."""
    from rich.table import Table

    from tellapart.formatting import count, duration
    from tellapart.metrics.cross_validation import FoldSummary
    from tellapart.types import Score

    table = Table(box=None, pad_edge=False)
    for heading in ("fold", "n", "accuracy [95 % interval]", "macro F1", "log loss", "fit"):
        table.add_column(heading)

    def line(name: str, scores: dict[str, Any], seconds: str, style: str = "") -> None:
        accuracy, f1, loss = (Score.from_dict(scores[metric]) for metric in _SHOWN)
        shown = f"{accuracy.value:.3f} [{accuracy.low:.3f}, {accuracy.high:.3f}]"
        table.add_row(name, count(accuracy.n), shown, f"{f1.value:.3f}", f"{loss.value:.3f}", seconds, style=style)

    for one in found["each"]:
        more = [f"repeat {one['repeat']}"] * (found["repeats"] > 1) + [f"seed {one['seed']}"] * (found["seeds"] > 1)
        line(", ".join([str(one["fold"]), *more]), one["scores"], duration(one["fit_seconds"]))
    over = [FoldSummary.from_dict(found["over_folds"][metric]) for metric in _SHOWN]
    means = [f"{one.mean:.3f} ± {one.sd:.3f}" for one in over]
    table.add_row("mean ± sd", "", *means, duration(made.cost["fit_seconds"]), style="bold")
    line("pooled", found["pooled"], "", "bold")
    return table


def _intervals(found: dict[str, Any]) -> list[str]:
    """What the two intervals of the accuracy are of, and the spread over repeats and seeds."""
    from tellapart.formatting import interval
    from tellapart.metrics.cross_validation import FoldSummary
    from tellapart.types import Score

    over, pooled = FoldSummary.from_dict(found["over_folds"]["accuracy"]), Score.from_dict(found["pooled"]["accuracy"])
    of_mean = interval(Score(over.mean, over.folds, over.low, over.high))
    said = [
        f"accuracy pooled: {pooled.value:.3f}, 95 % interval {interval(pooled)}, over the {pooled.n:,} images as drawn, these "
        "models given",
        f"accuracy of the mean: {over.mean:.3f}, 95 % interval {of_mean}, over {over.folds} folds, with the variance corrected "
        "for the training images that folds share (Nadeau & Bengio 2003)",
    ]
    if over.low != over.low:
        said[1] += "; all folds score the same, which says nothing about spread"
    for what, key in (("repeats", "over_repeats"), ("seeds", "over_seeds")):
        if found[what] > 1:
            spread = found[key]["accuracy"]
            means = ", ".join(f"{mean:.3f}" for mean in spread["means"])
            within = f"; of one fold, sd {spread['within_folds']:.3f}" if what == "seeds" else ""
            said.append(f"over {found[what]} {what}: mean accuracy {means}, sd {spread['sd']:.3f}{within}")
    said += [f"not defined in every fold: {', '.join(found['undefined'])}"] if found["undefined"] else []
    return said
