"""`tellapart evaluate`: score a run on its test part, on other images, or on damaged ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tellapart.cli import _slices as slicing
from tellapart.cli import codec_bias as biased
from tellapart.cli import options as shared
from tellapart.cli import robustness as robust
from tellapart.cli._decision import verdict_content, verdict_lines

if TYPE_CHECKING:
    from tellapart.metrics.slices import SliceReport
    from tellapart.perturbations.scores import Robustness
    from tellapart.workflows.codec_bias import Bias
    from tellapart.workflows.evaluate import Evaluation

_PAIRS = 5  # confusions shown

Other = Annotated[str | None, typer.Argument(metavar="[DATA]", help="Other labeled images. Left out: the run's own.")]
Opened = Annotated[bool, typer.Option("--open-test", help="Answer the run's test part; the opening is counted in the ledger.")]
Mapped = Annotated[
    list[str] | None, typer.Option("--map", metavar="THEIRS=OURS", help="A class of DATA and the run's class. Repeatable.")
]


def run(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="An id, the beginning of one, or a path.")],
    data: Other = None,
    open_test: Opened = False,
    mapping: Mapped = None,
    robustness: robust.Wanted = False,
    damage: robust.Damages = None,
    sample: robust.Sample = None,
    figure: robust.FigurePath = None,
    bias: biased.Wanted = False,
    quality: biased.Quality = None,
    sliced: slicing.Wanted = False,
    columns: slicing.Columns = None,
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
    from tellapart.runs.store import open_run
    from tellapart.workflows.evaluate import evaluate

    pairs = shared.pairs(mapping or [], "--map", "THEIRS=OURS, for example --map editada=fake")
    damages = robust.check(robustness, damage, None if bias else sample, None if bias else figure)
    robust.check_figure(figure)
    biased.check(bias, quality, robustness)
    table = shared.scanned(data, images, id_column, label_column, None, None, least=1) if data else None
    settings = shared.settings(runs=runs, device=device, quiet=quiet, skip_bad=skip_bad)
    # first: what it opens, the scores below only read, so that one command is one opening
    swept = robust.sweep(run_id, table, open_test, pairs, damages, sample, settings) if robustness else None
    leaning = biased.ask(run_id, table, open_test, pairs, quality, sample, settings) if bias else None
    found = evaluate(run_id, table, open_test=open_test, mapping=pairs, settings=settings)
    asked = open_run(run_id, runs)
    slices = slicing.slices_of(asked, found.predictions, columns, table) if sliced or columns else None
    if as_json:
        more = {"slices": slices, "robustness": swept, "bias": leaning}
        plain = {name: of.to_dict() for name, of in more.items() if of is not None}
        verdicts = verdict_content(asked, found.predictions)
        shared.print_json(found.to_dict() | ({"verdicts": verdicts} if verdicts else {}) | plain)
    else:
        _print(found, verdict_lines(asked, found.predictions, found.part), slices, swept, leaning)
    drawn = robust.draw(swept, figure) if swept else biased.draw(leaning, figure) if leaning else []
    for line in drawn:
        (shared.err() if as_json else shared.out()).print(line, markup=False, highlight=False, soft_wrap=True)


def _print(
    found: Evaluation, verdicts: list[str], slices: SliceReport | None, swept: Robustness | None, leaning: Bias | None
) -> None:
    from rich.table import Table

    from tellapart.formatting import score_sentence, times_in_words

    where = "" if found.part == "other" else f", {found.part} part"
    console = shared.out()
    table = Table(title=f"{found.run} on {found.data}{where}", title_justify="left", box=None, pad_edge=False)
    table.add_column("score")
    table.add_column("value [95 % interval]")
    for name, score in found.scores.items():
        table.add_row(name, score_sentence(score))
    console.print(table)
    missing = "; ".join(f"{', '.join(names)} ({why})" for why, names in _reasons(found).items())
    lines = [*([f"not defined here: {missing}"] if missing else []), *_confusions(found), *verdicts]
    lines += [f"note: {note}" for note in found.notes]
    for line in [*lines, f"test opened {times_in_words(found.opened)}"]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if slices:
        console.print()
        slicing.print_slices(console, slices)
    if swept:
        console.print()
        robust.show(swept, console)
    if leaning:
        console.print()
        biased.show(leaning, console)


def _reasons(found: Evaluation) -> dict[str, list[str]]:
    """Why → the scores that are not defined for that reason."""
    reasons: dict[str, list[str]] = {}
    for name, why in found.undefined.items():
        reasons.setdefault(why, []).append(name)
    return reasons


def _confusions(found: Evaluation) -> list[str]:
    """The most frequent wrong answers, each with its share of the true class."""
    pairs = found.confusions()
    if not pairs:
        return ["no image is answered wrongly"]
    wrong = sum(pair.count for pair in pairs)
    shown = [f"{p.true} → {p.answered}: {p.count:,} of {p.of:,} ({p.count / p.of:.1%})" for p in pairs[:_PAIRS]]
    more = f"; {len(pairs) - _PAIRS:,} other pairs" if len(pairs) > _PAIRS else ""
    return [f"wrong: {wrong:,} of {len(found.predictions):,}; true → answered: {'; '.join(shown)}{more}"]
