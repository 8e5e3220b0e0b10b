"""`tellapart evaluate`: score a run on its test part, or on other images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tellapart.cli import _shared as shared

if TYPE_CHECKING:
    from tellapart.evaluation import Evaluated


def run(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="An id, the beginning of one, or a path.")],
    data: Annotated[
        str | None, typer.Argument(metavar="[DATA]", help="Other labelled images. Left out: the run's own.")
    ] = None,
    open_test: Annotated[
        bool, typer.Option("--open-test", help="Answer the run's test part; the opening is counted in the ledger.")
    ] = False,
    mapping: Annotated[
        list[str] | None, typer.Option("--map", metavar="THEIRS=OURS", help="A class of DATA and the run's class. Repeatable.")
    ] = None,
    images: shared.Images = None,
    id_column: shared.IdColumn = None,
    label_column: shared.LabelColumn = None,
    runs: shared.Runs = Path("runs"),
    device: shared.Device = "auto",
    skip_bad: shared.SkipBad = False,
    as_json: shared.AsJson = False,
    quiet: shared.Quiet = False,
    verbose: shared.Verbose = False,
) -> None:
    """Score a finished run: on validation, on its test part with --open-test, or on other images."""
    from tellapart.evaluation import evaluate

    table = shared.scanned(data, images, id_column, label_column, None, None, least=1) if data else None
    settings = shared.settings(runs=runs, device=device, quiet=quiet, skip_bad=skip_bad)
    found = evaluate(run_id, table, open_test=open_test, mapping=_pairs(mapping or []), settings=settings)
    if as_json:
        scores = {name: score.to_dict() for name, score in found.scores.items()}
        content = {"run": found.run, "data": found.data, "part": found.part, "scores": scores}
        shared.print_json(content | {"test_opened": found.opened, "notes": list(found.notes)})
    else:
        _print(found)


def _pairs(mapping: list[str]) -> dict[str, str]:
    pairs = {}
    for one in mapping:
        theirs, equals, ours = one.partition("=")
        if not equals:
            raise typer.BadParameter(f"--map {one}: expected THEIRS=OURS, for example --map editada=fake")
        pairs[theirs.strip()] = ours.strip()
    return pairs


def _print(found: Evaluated) -> None:
    from rich.table import Table

    from tellapart.runs.wording import full, times

    console = shared.out()
    where = "" if found.part == "other" else f", {found.part} part"
    table = Table(title=f"{found.run} on {found.data}{where}", title_justify="left", box=None, pad_edge=False)
    table.add_column("score")
    table.add_column("value [95 % interval]")
    for name, score in found.scores.items():
        table.add_row(name, full(score))
    console.print(table)
    for note in found.notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"test opened {times(found.opened)}", highlight=False)
