"""`tellapart train`: one recipe, scored on train and validation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tellapart.cli import options as shared


def run(
    data: shared.Data,
    recipe: Annotated[str, typer.Option("-r", "--recipe", help="A name of `tellapart recipes`, or a path to a .yaml file.")],
    overrides: shared.Overrides = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Passes over the training images, in all.")] = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", min=0.01, help="Bound on training; the schedule ends with the time.")
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
    """Train one recipe on DATA. Scores train and validation; the test part stays closed.

    The same command goes on where it was cut off, and finds the run again when it is finished. Ctrl-C keeps the best so far.
    """
    from tellapart.training import time_budget
    from tellapart.workflows import train

    table = shared.scanned(data, images, id_column, label_column, group, positive)
    settings = shared.settings(
        runs=runs, device=device, quiet=quiet, skip_bad=skip_bad, seed=seed, split_from=split_from, fresh=fresh, sinks=sink
    )
    changes = [*time_budget.overrides(epochs, minutes), *(overrides or [])]
    made = train.train(table, recipe, overrides=changes, settings=settings)
    parts = {part: made.scores(part) for part in ("train", "valid")}
    if as_json:
        scores = {part: {k: s.to_dict() for k, s in found.items()} for part, found in parts.items()}
        shared.print_json({"run": made.id, "folder": str(made.folder), "scores": scores, "cost": made.cost})
        return
    console = shared.out()
    for part, found in parts.items():
        console.print(f"{part:>6}  accuracy {found['accuracy']}  macro F1 {found['macro-f1']}", markup=False, highlight=False)
    for note in made.cost["notes"]:
        console.print(f"  note: {note}", markup=False, highlight=False)
    console.print(f"run {made.id} in {made.folder}", markup=False, highlight=False, soft_wrap=True)
