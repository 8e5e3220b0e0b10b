"""`tellapart calibrate`: a run with truer probabilities, a threshold and an "unsure", out of a finished one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tellapart.cli import options as shared

if TYPE_CHECKING:
    from tellapart.runs.store import Run

_COSTS = ("MISS", "ALARM")
How = Annotated[
    str,
    typer.Option("--how", help="temperature, platt, vector, isotonic or beta; none: probabilities stay, for a verdict alone."),
]
Prior = Annotated[
    list[str] | None,
    typer.Option(metavar="CLASS=SHARE", help="The share of a class where answers are used, e.g. fake=0.02. Repeatable."),
]
Fpr = Annotated[
    float | None,
    typer.Option("--fpr", metavar="SHARE", help="Two classes: the threshold that at most so many negative images reach."),
]
Cost = Annotated[
    list[str] | None,
    typer.Option(metavar="MISS=|ALARM=", help="Two classes: the threshold of least cost; what is not given is 1. Repeatable."),
]
Unsure = Annotated[
    float | None,
    typer.Option(metavar="COVERAGE", help="Unsure where a conformal set of this coverage is not one class."),
]
Band = Annotated[
    tuple[float, float] | None,
    typer.Option(metavar="LOW HIGH", help="Two classes: unsure where the positive one has p from LOW to below HIGH."),
]


def run(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="An id, the beginning of one, or a path.")],
    how: How = "temperature",
    prior: Prior = None,
    fpr: Fpr = None,
    cost: Cost = None,
    unsure: Unsure = None,
    band: Band = None,
    method: Annotated[str, typer.Option("--method", help="Of --unsure: lac, the smallest sets, or aps.")] = "lac",
    runs: shared.Runs = Path("runs"),
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the folds in which it is judged.")] = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Calibrate anew, even if the same run is there already.")] = False,
    as_json: shared.AsJson = False,
    quiet: shared.Quiet = False,
    verbose: shared.Verbose = False,
) -> None:
    """Make a run with calibrated probabilities and verdicts out of a finished one, which stays as it is.

    Everything is learnt on validation, in this order: the map, the mix of classes, the threshold, when to say "unsure".
    """
    from tellapart.workflows.calibrate import calibrate

    settings = shared.settings(runs=runs, device="auto", quiet=quiet, seed=seed, fresh=fresh)
    made = calibrate(
        run_id, how=how, prior=_numbers("--prior", prior), fpr=fpr, cost=_costs(cost), unsure=unsure, method=method, band=band,
        settings=settings,
    )  # fmt: skip
    if as_json:
        shared.print_json(_content(made))
    else:
        _print(made)


def _numbers(flag: str, given: list[str] | None) -> dict[str, float]:
    """`fake=0.02` → {"fake": 0.02}; a class name may hold an equals sign."""
    found = {}
    for one in given or []:
        name, equals, value = one.rpartition("=")
        try:
            found[name] = float(value)
        except ValueError:
            equals = ""
        if not equals or not name:
            raise typer.BadParameter(f"{flag} {one}: expected NAME=NUMBER, for example fake=0.02")
    return found


def _costs(given: list[str] | None) -> tuple[float, float] | None:
    """What a miss and a false alarm cost; 1 where it is not said."""
    if not given:
        return None
    found = {name.upper(): value for name, value in _numbers("--cost", given).items()}
    if unknown := sorted(set(found) - set(_COSTS)):
        raise typer.BadParameter(f"--cost {unknown[0]}: expected MISS=… or ALARM=…, for example MISS=5")
    return found.get("MISS", 1.0), found.get("ALARM", 1.0)


def _content(made: Run) -> dict[str, Any]:
    from tellapart.calibration.decision_text import describe
    from tellapart.inference.decision import decision
    from tellapart.runs.store import scores_to_dict
    from tellapart.workflows.calibrate import calibration_effect

    scores = {part: scores_to_dict(made.scores(part)) for part in ("train", "valid") if made.scores(part)}
    found = decision(made)
    return {
        "run": made.id, "scores": scores, "effect": calibration_effect(made), "verdict": found.to_dict(),
        "words": describe(found),
        "notes": made.cost["notes"],
    }  # fmt: skip


def _print(made: Run) -> None:
    from rich.table import Table

    from tellapart.calibration.decision_text import describe
    from tellapart.cli.evaluate import verdict_lines
    from tellapart.inference.decision import decision
    from tellapart.types import Score
    from tellapart.workflows.calibrate import calibration_effect

    console, found = shared.out(), calibration_effect(made)
    table = Table(title=f"{found['parent']}, validation part", title_justify="left", box=None, pad_edge=False)
    for heading in ("", "accuracy", "log loss", "Brier", "ECE"):
        table.add_column(heading)
    for name, scores in (("before", found["before"]), ("after", found["after"])):
        if scores:
            cells = [Score.from_dict(scores[key]) for key in ("accuracy", "log-loss", "brier", "ece")]
            table.add_row(name, *(f"{s.value:.3f} [{s.low:.3f}, {s.high:.3f}]" for s in cells))
    console.print(table)
    said = [f"n={found['before']['accuracy']['n']:,}, 95 % intervals"]
    if found["after"]:
        said[0] += "; after: cross-fitted, each fifth by a map of the other four"
        said.append(f"{found['verdict']}: {found['words']}")
    said += describe(decision(made)) or ["nothing is decided beyond the most probable class"]
    predictions = made.predictions("valid")
    if decision(made).has_rule and predictions is not None:
        said += [line for line in verdict_lines(made, predictions, "valid") if not line.startswith("threshold")]  # said above
    if decision(made).prior is not None:
        said.append(
            "note: figures on validation are of its own mix. A prior moves probabilities, not which TPR goes with which FPR; "
            "threshold, band and sets look at the corrected probability"
        )
    for line in [*said, f"run: {made.folder}"]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
