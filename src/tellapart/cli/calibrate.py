"""`tellapart calibrate`: calibrated probabilities, a threshold and abstention for a finished run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from tellapart.cli import options as opt

if TYPE_CHECKING:
    from tellapart.runs.store import Run

_COSTS = ("MISS", "ALARM")
How = Annotated[
    str,
    typer.Option(
        "--how", help="Calibration map: temperature, platt, vector, isotonic or beta; none keeps the probabilities as they are."
    ),
]
Prior = Annotated[
    list[str] | None,
    typer.Option("--prior", metavar="CLASS=SHARE", help="Share of a class at prediction time, e.g. fake=0.02. Repeatable."),
]
Fpr = Annotated[
    float | None,
    typer.Option(
        "--fpr", metavar="SHARE", min=0, max=1, help="Two classes: choose the threshold for this false-positive rate."
    ),
]
Cost = Annotated[
    list[str] | None,
    typer.Option(
        "--cost",
        metavar="MISS=COST|ALARM=COST",
        help="Two classes: choose the threshold of lowest total cost; costs of a false negative (MISS=5) and of a false "
        "positive (ALARM=1). Default of each: 1. Repeatable.",
    ),
]
Unsure = Annotated[
    float | None,
    typer.Option(
        "--unsure",
        metavar="COVERAGE",
        min=0,
        max=1,
        help="Abstain where the conformal prediction set of this coverage is not one class.",
    ),
]
Band = Annotated[
    tuple[float, float] | None,
    typer.Option("--band", metavar="LOW HIGH", help="Two classes: abstain where LOW ≤ p < HIGH for the positive class."),
]
Method = Annotated[str, typer.Option("--method", help="Conformal method of --unsure: lac (smallest sets) or aps.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Random seed for the folds that score the calibration.")]


def run(
    run_id: opt.RunId, how: How = "temperature", prior: Prior = None, fpr: Fpr = None, cost: Cost = None,
    unsure: Unsure = None, band: Band = None, method: Method = "lac", seed: Seed = 0, runs: opt.Runs = opt.RUNS,
    overwrite: opt.Overwrite = False, as_json: opt.AsJson = False, quiet: opt.Quiet = False, verbose: opt.Verbose = False,
) -> None:  # fmt: skip
    """Calibrate a finished run: make a child run with calibrated probabilities and, on request, decisions.

    Everything is fitted on the validation split, in this order: calibration map, prior, threshold, abstention
    ("unsure"). RUN is not changed.
    """
    from tellapart.workflows.calibrate import calibrate

    settings = opt.settings(runs=runs, device="auto", quiet=quiet, seed=seed, overwrite=overwrite)
    made = calibrate(
        run_id, how=how, prior=_numbers("--prior", prior), fpr=fpr, cost=_costs(cost), unsure=unsure, method=method, band=band,
        settings=settings,
    )  # fmt: skip
    if as_json:
        opt.print_json(_content(made))
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
            raise typer.BadParameter(
                f"{flag} {one}: expected NAME=NUMBER, for example {'MISS=5' if flag == '--cost' else 'fake=0.02'}"
            )
    return found


def _costs(given: list[str] | None) -> tuple[float, float] | None:
    """Costs of a miss and of a false alarm; 1 by default."""
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

    scores = {split: scores_to_dict(made.scores(split)) for split in ("train", "valid") if made.scores(split)}
    found, effect = decision(made), calibration_effect(made)
    return {
        "run": made.id, "scores": scores, "effect": effect, "decision": found.to_dict(), "summary": describe(found),
        "notes": made.cost["notes"],
    }  # fmt: skip


def _print(made: Run) -> None:
    from rich.table import Table

    from tellapart.calibration.decision_text import describe
    from tellapart.cli.evaluate import decision_lines
    from tellapart.inference.decision import decision
    from tellapart.types import Score
    from tellapart.workflows.calibrate import calibration_effect

    found = calibration_effect(made)
    table = Table(title=f"{found['parent']}, validation split", title_justify="left", box=None, pad_edge=False)
    for heading in ("", "accuracy", "log loss", "Brier", "ECE"):
        table.add_column(heading)
    for name, scores in (("before", found["before"]), ("after", found["after"])):
        if scores:
            cells = [Score.from_dict(scores[key]) for key in ("accuracy", "log-loss", "brier", "ece")]
            table.add_row(name, *(f"{s.value:.3f} [{s.low:.3f}, {s.high:.3f}]" for s in cells))
    opt.out().print(table)
    lines = [f"n={found['before']['accuracy']['n']:,}, 95 % intervals"]
    if found["after"]:
        lines[0] += "; after: 5-fold cross-fitted on the validation split"
        lines.append(f"{found['result']}: {found['summary']}")
    lines += describe(decision(made)) or ["no decision rules: the most probable class is predicted"]
    predictions = made.predictions("valid")
    if decision(made).has_rule and predictions is not None:
        lines += [
            line for line in decision_lines(made, predictions, "valid") if not line.startswith("threshold")
        ]  # printed above
    if decision(made).prior is not None:
        lines.append(
            "note: validation scores are for the class shares of the validation split. A prior changes the probabilities, not "
            "the ROC curve; threshold, band and prediction sets use the corrected probabilities"
        )
    opt.print_lines(*lines, f"run: {made.folder}")
