"""Calibrate a finished run: make a run with calibrated probabilities and, optionally, a threshold and the decision "unsure".

Only stored validation predictions are used; no image is decoded, the test split is not used, and the parent stays unchanged.
The validation scores of the new run are honest although its map is fitted there: validation is partitioned into five folds, and
each fold is predicted by a map fitted on the other four. With a prior, the probabilities are for the requested mix of classes,
so the scores on validation, which has another mix, are not what to expect; whether calibration helped is tested before this
correction.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.calibration import decision as decisions
from tellapart.calibration.decision import DecisionReport, Decisions
from tellapart.calibration.decision_text import describe
from tellapart.classifiers.calibrated import Calibrated
from tellapart.errors import RunError
from tellapart.formatting import after_opening
from tellapart.inference.context import DEFAULTS, Settings
from tellapart.inference.decision import decision
from tellapart.io import file_name, now, write_bytes_atomically, write_json, write_parquet, write_text_atomically
from tellapart.metrics.delong import ScoreDifference, paired_bootstrap
from tellapart.metrics.probabilistic import log_loss
from tellapart.metrics.score_all import score_all
from tellapart.plain_data import read_json
from tellapart.recipe.load import parse
from tellapart.regular_files import read_bytes
from tellapart.runs import ledger, store
from tellapart.runs.environment import describe_environment
from tellapart.runs.model_card import write_card
from tellapart.runs.store import Run
from tellapart.types import Predictions

EFFECT = "effect.json"
#: The scores that a calibration is about.
ABOUT = ("accuracy", "log-loss", "brier", "ece")
HELPED, NO_EVIDENCE = "calibration helped", "no evidence that calibration helped"


def calibrate(
    run: str | Path | Run, *, how: str = "temperature", prior: Mapping[str, float] | None = None, fpr: float | None = None,
    cost: tuple[float, float] | None = None, unsure: float | None = None, method: str = "lac",
    band: tuple[float, float] | None = None, settings: Settings = DEFAULTS,
) -> Run:  # fmt: skip
    """Make a run with calibrated probabilities and decisions from an uncalibrated run.

    Args:
        run: A run, its id, the beginning of its id, or its path; of any family except `calibrated`.
        how: "temperature", "platt", "vector", "isotonic", "beta", or "none", for decision rules alone.
        prior: Class → its fraction where the run will be used; the other classes share the rest in their old ratio.
        fpr: Two classes: threshold that at most this fraction of the negative validation images reaches.
        cost: Two classes: costs of a miss and of a false alarm; the threshold minimizes the total cost.
        unsure: Coverage of split-conformal sets; an image whose set is not a single class is unsure.
        method: Method of `unsure`: "lac" or "aps".
        band: Two classes: unsure if low ≤ probability of the positive class < high.
        settings: Folder of the runs; the seed of the folds.

    Raises:
        RunError: No such run, it has no usable validation answers, or it is calibrated already.
        RecipeError: An unknown way, or rules that exclude each other.
        DataError: Validation has too few images or classes, a prior of unknown classes, a threshold between many classes, …
    """
    started = time.perf_counter()
    parent = store.open_run(run, settings.runs, settings.images)
    _refuse(parent)
    valid = _stored(parent, "valid")
    options = {"how": how, "prior": dict(prior or {}), "fpr": fpr, "cost": cost, "unsure": unsure}
    options |= {"method": method, "band": band}
    options |= {"run": parent.id if parent.runs == settings.runs.resolve() else str(parent.folder)}
    content = {"inputs": parent.recipe["inputs"], "seed": settings.seed, "classifier": {"family": "calibrated", **options}}
    made = Calibrated(parse(content, "calibrate"))
    made.classes, made.facts = parent.classes, {name: parent.cost[name] for name in ("parameters", "pretrained")}
    train_counts = np.array([parent.data["counts"].get("train", {}).get(name, 0) for name in parent.classes])
    crossed = made.cross_fitted(valid.proba, valid.labels, valid.groups)
    made.fit_decision(valid.proba, crossed, valid.labels, train_counts, parent.positive)
    return _write(made, parent, valid, replace(valid, proba=crossed), settings, started)


def calibration_effect(run: Run) -> dict[str, Any]:
    """The effect of calibration on validation: `before` and `after` (score → Score as a dict), `result`, `difference`,
    `words`.

    Raises:
        RunError: `calibrate` did not make it.
    """
    if not (run.folder / EFFECT).exists():
        raise RunError(f"{run.id} was not made by `calibrate`", hint=f"make one with `tellapart calibrate {run.id}`")
    return read_json(run.folder / EFFECT)


def decide(run: Run, predictions: Predictions) -> Decisions:
    """The decision for each image: a class or "unsure", and the rule that decided.

    Args:
        run: A calibrated run.
        predictions: Its predictions.
    """
    return decision(run).decide(predictions.proba)


def score_decisions(run: Run, predictions: Predictions) -> DecisionReport:
    """Score the decisions on labeled images: TPR and FPR at the threshold, coverage, selective accuracy, coverage of the sets.

    Args:
        run: A calibrated run.
        predictions: Its predictions; unlabeled images are excluded.
    """
    return decisions.score_decisions(decision(run), predictions)


# --- the new run ------------------------------------------------------------------------------------------------------


def _refuse(parent: Run) -> None:
    if parent.family == "calibrated":
        beneath = parent.recipe["classifier"].get("run")
        hint = f"calibrate its parent, `tellapart calibrate {beneath}`" if beneath else "calibrate a run of the recipe in `of`"
        raise RunError(f"{parent.id} is calibrated already: a second map would use the same validation split", hint=hint)


def _stored(parent: Run, part: str) -> Predictions:
    hint = "train the run again with --overwrite"
    try:
        found = parent.predictions(part)
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{parent.id}: its {part} predictions cannot be used ({error})", hint=hint) from None
    if found is None or not len(found):
        raise RunError(f"{parent.id} has no predictions on its validation split to fit on", hint=hint)
    if found.classes != parent.classes:
        raise RunError(f"{parent.id}: its {part} predictions have other classes than the run", hint=hint)
    return found


def _write(made: Calibrated, parent: Run, valid: Predictions, crossed: Predictions, settings: Settings, started: float) -> Run:
    """Write the run folder; the marker comes last."""
    how = made.options.how
    name = f"{'decision' if how == 'none' else how}-{parent.recipe_name}"  # the parent's name still finds only the parent
    key = (
        f"{made.recipe.digest()} {parent.id} {parent.data['fingerprint']} {parent.data['split_fingerprint']} {parent.positive}"
    )
    run_id = f"{file_name(name, how)}-{hashlib.blake2b(key.encode(), digest_size=4).hexdigest()}"
    if settings.overwrite:
        run_id += f"-{secrets.token_hex(2)}"
    with store.lock_run(settings.runs, run_id) as folder:
        if (folder / store.DONE).exists():
            settings.progress.say(f"  reusing finished run {run_id}")
            return Run(folder.resolve())
        made.save(folder)
        write_bytes_atomically(folder / "split.parquet", read_bytes(parent.folder / "split.parquet"), durable=False)
        write_json(folder / "data.json", {**parent.data, "recipe_name": name, "parents": [parent.id]})
        opened = ledger.times_opened(parent.runs, parent.data["fingerprint"])
        when = {"started": now(), "opened_before": opened, "split_seed": parent.environment.get("split_seed")}
        write_json(folder / "environment.json", describe_environment(str(parent.environment["device"])) | when)
        (folder / "predictions").mkdir(exist_ok=True)
        answers = _answers(made, parent, crossed, run_id)
        for part, of in answers.items():
            write_parquet(folder / "predictions" / f"{part}.parquet", of)
        scores = {part: store.scores_to_dict(score_all(of, parent.positive)) for part, of in answers.items()}
        write_json(folder / EFFECT, _effect(how, parent, valid, crossed))
        cost = _cost(made, parent) | {"fit_seconds": parent.cost["fit_seconds"] + time.perf_counter() - started}
        write_json(folder / "scores.json", {**scores, "cost": cost})
        write_text_atomically(folder / "card.md", write_card(Run(folder)), durable=False)
        return store.mark_done(folder, parent)


def _answers(made: Calibrated, parent: Run, crossed: Predictions, run_id: str) -> dict[str, Predictions]:
    """The predictions for the splits that the parent stored; cross-fitted on validation."""
    found = {"valid": replace(crossed, proba=decisions.renormalize(made.decision.corrected(crossed.proba)), run_id=run_id)}
    if (train := parent.predictions("train")) is not None and len(train):
        found["train"] = replace(train, proba=decisions.renormalize(made.decision(train.proba)), run_id=run_id)
    return found


def _cost(made: Calibrated, parent: Run) -> dict[str, Any]:
    return {
        "images_per_second": parent.cost["images_per_second"], "parameters": made.parameters,
        "pretrained": made.pretrained, "bytes": parent.cost.get("bytes", 0), "notes": _notes(made, parent),
    }  # fmt: skip


def _notes(made: Calibrated, parent: Run) -> list[str]:
    found, how = made.decision, made.options.how
    notes = [f"{how} of {parent.id}" if how != "none" else f"decision rules on {parent.id}", *describe(found)]
    if how != "none":
        notes.append(
            "the validation scores are cross-fitted: 5 maps, each applied to the fifth of validation that it was not fitted on"
        )
    if found.prior is not None:
        notes.append(
            "the probabilities are corrected for the requested class frequencies, which differ from those of validation: "
            "log loss, Brier score, ECE and accuracy on validation are not what to expect in use"
        )
    if found.sets is not None and how != "none":
        notes.append(
            "the coverage of the sets is approximate: with a calibration map, they are fitted to cross-fitted probabilities"
        )
    opened = ledger.times_opened(parent.runs, parent.data["fingerprint"])
    return [*notes, after_opening(opened)] if opened else notes


# --- whether it helped ------------------------------------------------------------------------------------------------


def _effect(how: str, parent: Run, before: Predictions, after: Predictions) -> dict[str, Any]:
    """Scores before and after on validation, both for its own mix of classes, and the paired test of the log loss."""
    content: dict[str, Any] = {"split": "valid", "parent": parent.id, "before": _scores(before, parent.positive)}
    if how == "none":
        return content | {"after": None, "result": None, "difference": None, "p_value": None, "summary": None}
    found = paired_bootstrap(after, before, log_loss)
    words = f"log loss {found.score.value:+.4f} [{found.score.low:+.4f}, {found.score.high:+.4f}] nats, n={found.score.n:,}"
    return content | {
        "after": _scores(after, parent.positive), "result": result_in_words(found), "difference": found.score.to_dict(),
        "p_value": None if np.isnan(found.p_value) else found.p_value, "summary": f"{words}, paired bootstrap",
    }  # fmt: skip


def _scores(predictions: Predictions, positive: str | None) -> dict[str, Any]:
    scores = score_all(predictions, positive)
    return store.scores_to_dict({name: scores[name] for name in ABOUT})


def result_in_words(found: ScoreDifference) -> str:
    """The difference of log loss, after minus before, in words. Worse only means no evidence: few images per fold cost some,
    too.
    """
    return HELPED if found.significant and found.score.value < 0 else NO_EVIDENCE
