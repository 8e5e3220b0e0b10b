"""`tellapart kfold`: cross-validate one recipe on the training and validation images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tellapart.cli import options as opt

if TYPE_CHECKING:
    from rich.table import Table

    from tellapart.runs.store import Run

_SHOWN = ("accuracy", "macro-f1", "log-loss")

Folds = Annotated[int, typer.Option("--folds", help="Number of folds.")]
Repeats = Annotated[
    int, typer.Option("--repeats", min=1, help="Number of repetitions, each with a different partition into folds.")
]
Seeds = Annotated[int, typer.Option("--seeds", min=1, help="Number of recipe seeds with which each fold is trained.")]
Minutes = Annotated[
    float | None,
    typer.Option("--minutes", min=0.01, help="Limit the training time, divided equally among all models."),
]


def run(
    data: opt.Data, recipe: opt.Recipe, folds: Folds = 5, repeats: Repeats = 1, seeds: Seeds = 1,
    overrides: opt.Overrides = None, epochs: opt.Epochs = None, minutes: Minutes = None, logger: opt.Loggers = None,
    images: opt.Images = None, id_column: opt.IdColumn = None, label_column: opt.LabelColumn = None, group: opt.Group = None,
    split_column: opt.SplitColumn = None, unlabeled: opt.Unlabeled = None,
    positive: opt.Positive = None, seed: opt.Seed = 0, split_from: opt.SplitFrom = None,
    skip_bad: opt.SkipBad = False, verify_files: opt.VerifyFiles = False,
    runs: opt.Runs = opt.RUNS, device: opt.Device = "auto", overwrite: opt.Overwrite = False,
    as_json: opt.AsJson = False, quiet: opt.Quiet = False, verbose: opt.Verbose = False,
) -> None:  # fmt: skip
    """Cross-validate one recipe on DATA and keep the fold models as one ensemble run.

    Every training and validation image is predicted by a model that was not trained on it; the test split stays sealed. The
    same command resumes after an interruption; finished folds are not trained again.
    """
    from tellapart.training import time_budget
    from tellapart.workflows.kfold import kfold

    table = opt.scanned(data, images, id_column, label_column, group, positive, split_column=split_column, unlabeled=unlabeled)
    settings = opt.settings(
        runs=runs, device=device, quiet=quiet,
        skip_bad=skip_bad, verify_files=verify_files, seed=seed, split_from=split_from, overwrite=overwrite,
        loggers=logger,
    )  # fmt: skip
    each = minutes / max(folds * repeats * seeds, 1) if minutes else None
    changes = [*time_budget.overrides(epochs, each), *(overrides or [])]
    made = kfold(table, recipe, folds=folds, repeats=repeats, seeds=seeds, overrides=changes, settings=settings)
    if as_json:
        opt.print_json(_content(made))
    else:
        _print(made)


def _content(made: Run) -> dict[str, Any]:
    from tellapart.runs.store import scores_to_dict
    from tellapart.workflows.kfold import kfold_results

    scores = {split: scores_to_dict(made.scores(split)) for split in ("train", "valid") if made.scores(split)}
    facts = {"run": made.id, "folder": str(made.folder), "scores": scores, "kfold": kfold_results(made), "cost": made.cost}
    return {**facts, "left_out": made.left_out.to_dict()}


def _print(made: Run) -> None:
    from tellapart.workflows.kfold import kfold_results

    console, found = opt.out(), kfold_results(made)
    opt.print_lines(
        f"{made.recipe_name}: {found['n']:,} images of the train and validation splits; the test split stays sealed"
    )
    console.print(_table(made, found))
    opt.print_lines(
        *_intervals(found), *made.left_out.lines(), *(f"note: {note}" for note in made.cost["notes"]), f"run: {made.folder}"
    )


def _table(made: Run, found: dict[str, Any]) -> Table:
    """One row per fold, the mean ± sd over folds, and the scores pooled over all images."""
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
    """The two intervals of the accuracy, and the spread over repeats and seeds."""
    from tellapart.formatting import interval
    from tellapart.metrics.cross_validation import FoldSummary
    from tellapart.types import Score

    over, pooled = FoldSummary.from_dict(found["over_folds"]["accuracy"]), Score.from_dict(found["pooled"]["accuracy"])
    of_mean = interval(Score(over.mean, over.folds, over.low, over.high))
    lines = [
        f"accuracy pooled: {pooled.value:.3f}, 95 % interval {interval(pooled)}, over the {pooled.n:,} images, "
        "for these models",
        f"accuracy of the mean: {over.mean:.3f}, 95 % interval {of_mean}, over {over.folds} folds, with the variance corrected "
        "for the training images that folds share (Nadeau & Bengio 2003)",
    ]
    if over.low != over.low:
        lines[1] += "; all folds have the same accuracy, so the spread is unknown"
    for what, key in (("repeats", "over_repeats"), ("seeds", "over_seeds")):
        if found[what] > 1:
            spread = found[key]["accuracy"]
            means = ", ".join(f"{mean:.3f}" for mean in spread["means"])
            within = f"; within one fold, sd {spread['within_folds']:.3f}" if what == "seeds" else ""
            lines.append(f"over {found[what]} {what}: mean accuracy {means}, sd {spread['sd']:.3f}{within}")
    lines += [f"not defined in every fold: {', '.join(found['undefined'])}"] if found["undefined"] else []
    return lines
