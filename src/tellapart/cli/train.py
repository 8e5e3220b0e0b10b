"""`tellapart train`: train one recipe and score it on the train and validation splits."""

from __future__ import annotations

from tellapart.cli import options as opt


def run(
    data: opt.Data, recipe: opt.Recipe, overrides: opt.Overrides = None, epochs: opt.Epochs = None,
    minutes: opt.Minutes = None, logger: opt.Loggers = None,
    images: opt.Images = None, id_column: opt.IdColumn = None, label_column: opt.LabelColumn = None, group: opt.Group = None,
    split_column: opt.SplitColumn = None, unlabeled: opt.Unlabeled = None,
    positive: opt.Positive = None, seed: opt.Seed = 0, split_from: opt.SplitFrom = None,
    skip_bad: opt.SkipBad = False, verify_files: opt.VerifyFiles = False,
    runs: opt.Runs = opt.RUNS, device: opt.Device = "auto", overwrite: opt.Overwrite = False,
    as_json: opt.AsJson = False, quiet: opt.Quiet = False, verbose: opt.Verbose = False,
) -> None:  # fmt: skip
    """Train one recipe on DATA and score it on the train and validation splits.

    The test split stays sealed. The same command resumes an interrupted run and reuses a finished one. Ctrl-C keeps the best
    epoch so far.
    """
    from tellapart.data.class_names import positive_in_words
    from tellapart.training import time_budget
    from tellapart.workflows.train import train

    table = opt.scanned(data, images, id_column, label_column, group, positive, split_column=split_column, unlabeled=unlabeled)
    settings = opt.settings(
        runs=runs, device=device, quiet=quiet,
        skip_bad=skip_bad, verify_files=verify_files, seed=seed, split_from=split_from, overwrite=overwrite,
        loggers=logger,
    )  # fmt: skip
    changes = [*time_budget.overrides(epochs, minutes), *(overrides or [])]
    made = train(table, recipe, overrides=changes, settings=settings)
    splits = {split: made.scores(split) for split in ("train", "valid")}
    if as_json:
        scores = {split: {name: score.to_dict() for name, score in found.items()} for split, found in splits.items()}
        opt.print_json(
            {
                "run": made.id,
                "folder": str(made.folder),
                "scores": scores,
                "cost": made.cost,
                "left_out": made.left_out.to_dict(),
            }
        )
        return
    lines = [f"{split:>6}  accuracy {s['accuracy']}  macro F1 {s['macro-f1']}" for split, s in splits.items()]
    positive = positive_in_words(made.classes, made.positive)
    lines += [f"positive class: {positive}"] if positive else []
    lines += [*made.left_out.lines(), *(f"  note: {note}" for note in made.cost["notes"])]
    opt.print_lines(*lines, f"run {made.id} in {made.folder}")
