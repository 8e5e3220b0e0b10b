"""`tellapart sweep`: which settings a recipe does best with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tellapart.cli import options as shared

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
        "--range", metavar="KEY=LOW..HIGH", help="A range to draw from; end it with :log, :int or :log,int. Repeatable."
    ),
]
Draws = Annotated[int | None, typer.Option("--random", min=1, help="So many random draws, instead of a grid.")]
Learning = Annotated[
    int | None, typer.Option("--optuna", min=1, help="So many draws that learn from those before (extra `search`).")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of the split, and of draws.")]


def run(
    data: shared.Data,
    recipe: Annotated[str, typer.Option("-r", "--recipe", help="A name of `tellapart recipes`, or a path to a .yaml file.")],
    grid: Grid = None,
    span: Ranges = None,
    random: Draws = None,
    optuna: Learning = None,
    overrides: shared.Overrides = None,
    images: shared.Images = None,
    id_column: shared.IdColumn = None,
    label_column: shared.LabelColumn = None,
    group: shared.Group = None,
    positive: shared.Positive = None,
    runs: shared.Runs = Path("runs"),
    device: shared.Device = "auto",
    seed: Seed = 0,
    split_from: shared.SplitFrom = None,
    skip_bad: shared.SkipBad = False,
    fresh: shared.Fresh = False,
    sink: shared.Sinks = None,
    as_json: shared.AsJson = False,
    quiet: shared.Quiet = False,
    verbose: shared.Verbose = False,
) -> None:
    """Try many settings of a recipe on DATA, show what each does on train and validation, and make the best a run.

    The test part stays closed. The same command goes on where it was cut off. All is kept in a folder of runs/sweeps.
    """
    from tellapart.reports.sweep_figures import write_figures
    from tellapart.search.space import parse_grid, parse_ranges, space
    from tellapart.workflows.sweep import sweep

    values, ranges = parse_grid(grid or ()), parse_ranges(span or ())
    space(values, ranges, random, optuna)  # what is asked for is refused before the images are looked for
    table = shared.scanned(data, images, id_column, label_column, group, positive)
    settings = shared.settings(
        runs=runs, device=device, quiet=quiet, skip_bad=skip_bad, seed=seed, split_from=split_from, fresh=fresh, sinks=sink
    )
    study = sweep(
        table, recipe, grid=values, ranges=ranges, random=random, optuna=optuna, overrides=overrides or (), settings=settings
    )
    pictures = write_figures(study)
    if as_json:
        shared.print_json(study.to_dict() | {"pictures": [str(path) for path in pictures]})
    else:
        _print(study)


def _print(study: Study) -> None:
    console = shared.out()
    console.print(_table(study))
    for line in _lines(study):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


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
        shown.add_row(*map(_plain, cells), style="bold" if number == 0 else None)
    return shown


def _lines(study: Study) -> list[str]:
    rows, first = study.table, study.table.iloc[0]
    others = len(rows) - 1
    more = [f"… and {len(rows) - _SHOWN:,} more in {study.folder / 'table.csv'}"] if len(rows) > _SHOWN else []
    best = ", ".join(f"{name} {_text(value)}" for name, value in study.best.items())
    return [
        *more,
        f"train n={first['train_n']:,}, valid n={first['valid_n']:,}; the test part was not opened",
        f"best: {best}",
        f"{study.within:,} of {others:,} others lie within its interval; {study.alike:,} cannot be told from it "
        "(exact paired test on validation, p ≥ 0.05)",
        *(f"  note: {note}" for note in study.notes),
        f"table and pictures: {study.folder}",
        f"run {study.run.id} in {study.run.folder}",
    ]


def _plain(text: str) -> Any:
    """Brackets in values and intervals are no markup."""
    from rich.text import Text

    return Text(text)


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
