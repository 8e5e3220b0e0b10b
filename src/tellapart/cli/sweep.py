"""`tellapart sweep`: search the settings of a recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tellapart.cli import options as opt

if TYPE_CHECKING:
    from rich.table import Table

    from tellapart.search.study import Study

_SHOWN = 40  # rows printed; the file has them all


Grid = Annotated[
    list[str] | None,
    typer.Option("--grid", metavar="KEY=V,V", help="Values of a setting; all combinations are tried. Repeatable."),
]
Ranges = Annotated[
    list[str] | None,
    typer.Option(
        "--range", metavar="KEY=LOW..HIGH", help="Range of a setting to draw from; append :log, :int or :log,int. Repeatable."
    ),
]
Random = Annotated[
    int | None, typer.Option("--random", metavar="N", min=1, help="Try N random settings instead of a full grid.")
]
Optuna = Annotated[
    int | None, typer.Option("--optuna", metavar="N", min=1, help="Try N settings proposed by optuna (extra `search`).")
]
Seed = Annotated[
    int, typer.Option("--seed", min=0, help="Random seed for the split and the drawn settings.", rich_help_panel="Data options")
]


def run(
    data: opt.Data, recipe: opt.Recipe, grid: Grid = None, span: Ranges = None, random: Random = None, optuna: Optuna = None,
    overrides: opt.Overrides = None, logger: opt.Loggers = None,
    images: opt.Images = None, id_column: opt.IdColumn = None, label_column: opt.LabelColumn = None, group: opt.Group = None,
    split_column: opt.SplitColumn = None, unlabeled: opt.Unlabeled = None,
    positive: opt.Positive = None, seed: Seed = 0, split_from: opt.SplitFrom = None,
    skip_bad: opt.SkipBad = False, verify_files: opt.VerifyFiles = False,
    runs: opt.Runs = opt.RUNS, device: opt.Device = "auto", overwrite: opt.Overwrite = False,
    as_json: opt.AsJson = False, quiet: opt.Quiet = False, verbose: opt.Verbose = False,
) -> None:  # fmt: skip
    """Try many settings of a recipe on DATA and keep the best one as a run.

    Settings are compared on the validation split; the test split stays sealed. The same command resumes after an interruption.
    All results are kept in a folder of runs/sweeps.
    """
    from tellapart.reports.sweep_figures import write_figures
    from tellapart.search.space import parse_grid, parse_ranges, space
    from tellapart.workflows.sweep import sweep

    values, ranges = parse_grid(grid or ()), parse_ranges(span or ())
    space(values, ranges, random, optuna)  # a wrong request is refused before the images are scanned
    table = opt.scanned(data, images, id_column, label_column, group, positive, split_column=split_column, unlabeled=unlabeled)
    settings = opt.settings(
        runs=runs, device=device, quiet=quiet,
        skip_bad=skip_bad, verify_files=verify_files, seed=seed, split_from=split_from, overwrite=overwrite,
        loggers=logger,
    )  # fmt: skip
    study = sweep(
        table, recipe, grid=values, ranges=ranges, random=random, optuna=optuna, overrides=overrides or (), settings=settings
    )
    pictures = write_figures(study)
    if as_json:
        opt.print_json(study.to_dict() | {"pictures": [str(path) for path in pictures]})
    else:
        _print(study)


def _print(study: Study) -> None:
    opt.out().print(_table(study))
    opt.print_lines(*_lines(study))


def _table(study: Study) -> Table:
    from rich.table import Table

    explained = "explained_variance" in study.table
    columns = [*study.settings, *(["explained"] if explained else []), "train", "valid", "95 % interval", "gap", "seconds"]
    shown = Table(*columns, box=None, header_style="bold", title=f"{study.title}: accuracy", title_justify="left")
    for column in shown.columns:
        column.justify = "right"
    for number, row in enumerate(study.table.head(_SHOWN).to_dict("records")):
        cells = [_text(row[name]) for name in study.settings]
        cells += [f"{row['explained_variance']:.3f}"] if explained else []
        interval = f"[{row['valid_low']:.3f}, {row['valid_high']:.3f}]"
        cells += [f"{row['train']:.3f}", f"{row['valid']:.3f}", interval, f"{row['gap']:+.3f}", f"{row['seconds']:.2f}"]
        shown.add_row(*cells, style="bold" if number == 0 else None)
    return shown


def _lines(study: Study) -> list[str]:
    rows, first = study.table, study.table.iloc[0]
    others = len(rows) - 1
    more = [f"… and {len(rows) - _SHOWN:,} more in {study.folder / 'table.csv'}"] if len(rows) > _SHOWN else []
    best = ", ".join(f"{name} {_text(value)}" for name, value in study.best.items())
    return [
        *more,
        f"train n={first['train_n']:,}, valid n={first['valid_n']:,}; the test split was not used",
        f"best: {best}",
        f"{study.within:,} of {others:,} others lie within its interval; {study.alike:,} are not significantly different from "
        "it (exact paired test on validation, p ≥ 0.05)",
        *(f"  note: {note}" for note in study.notes),
        f"table and figures: {study.folder}",
        f"run {study.run.id} in {study.run.folder}",
    ]


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
