"""Runs made of other runs: their parents, cost, and gain, as text for tables and cards.

Read from the run's folder: `gain.json` (`combine`), `effect.json` (`calibrate`), `kfold.json`
(`kfold`), and from the parents that `data.json` names; nothing is computed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tellapart import formatting
from tellapart.plain_data import read_json
from tellapart.runs.store import Run
from tellapart.types import Score

GAIN, EFFECT, KFOLD = "gain.json", "effect.json", "kfold.json"
#: Maximum number of members that are named; more are counted.
NAMED = 6


def parents(run: Run) -> tuple[str, ...]:
    """Ids of the parents of a run; empty for a run without parents."""
    return tuple(str(parent) for parent in run.data.get("parents", ()))


def gain(run: Run) -> dict[str, Any] | None:
    """The stored gain of a combination over its best member; None for any other run."""
    return _content(run, GAIN)


def line(run: Run, names: Mapping[str, str]) -> str:
    """One line below the table; "" for a run without parents.

    Args:
        run: Any run.
        names: Display name of a run, by id.
    """
    name, cost = names.get(run.id, run.id), f"{formatting.duration(run.cost['fit_seconds'])} to fit"
    if (gained := gain(run)) is not None:
        members = [_named(str(member["member"]), names) for member in gained["members"]]
        return f"{name} of {_listed(members)}: {in_words(gained, names)}; {cost}, members included."
    if (folds := _content(run, KFOLD)) is not None:
        return f"{name}: {_folds_in_words(folds)}; {cost}, all models together."
    of = _listed([names.get(parent, parent) for parent in parents(run)])
    if of and (effect := _content(run, EFFECT)) is not None:
        return f"{name} is {of} with calibrated probabilities: {_effect_in_words(effect)}."
    return f"{name} combines {of}; {cost}, members included." if of else ""


def in_words(gained: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """The gain of a combination in words, with its paired test.

    Args:
        gained: The content of `gain.json`.
        names: Display name of a run, by id.
    """
    test, difference = gained["test"], gained["difference"]
    ends = " … ".join(formatting.points(math.nan if (end := difference[of]) is None else end) for of in ("low", "high"))
    over = {"a gain": "over", "a loss": "against"}.get(gained["result"], "over")
    which = "exact McNemar" if test["groups"] is None else f"exact sign-flip test over {test['groups']:,} groups"
    value = formatting.points(math.nan if difference["value"] is None else difference["value"])
    best, part = _named(str(gained["best"]), names), formatting.PARTS[gained["split"]]
    return (
        f"{gained['result']} {over} {best}, the best of them, on {part} "
        f"(right on {test['only_a']:,} images where that is wrong, wrong on {test['only_b']:,} where it is right, of "
        f"{test['n']:,}: {which} {formatting.p_value(test['p_value'])}; {value} points, 95 % CI {ends})"
    )


def _content(run: Run, name: str) -> dict[str, Any] | None:
    return read_json(run.folder / name) if (run.folder / name).exists() else None


def _folds_in_words(folds: Mapping[str, Any]) -> str:
    """Describe the variation over folds and the pooled score."""
    models = f"{len(folds['each'])} models of {folds['folds']} folds"
    over, pooled = folds["over_folds"].get("accuracy"), folds["pooled"].get("accuracy")
    if over is None or pooled is None:
        return models
    spread = f"accuracy {formatting.fraction(over['mean'])} ± {formatting.fraction(over['sd'])} (sd) over folds"
    return f"{models}, {spread}, out of fold {formatting.score_sentence(Score.from_dict(pooled))}"


def _effect_in_words(effect: Mapping[str, Any]) -> str:
    """Describe the effect of a calibration."""
    if effect["result"] is None:
        return "no map was fitted"
    p = "" if effect["p_value"] is None else f" {formatting.p_value(effect['p_value'])}"
    return f"{effect['result']} on {formatting.PARTS[effect['split']]} ({effect['summary']}{p})"


def _named(member: str, names: Mapping[str, str]) -> str:
    """Display name of a member, given by id, by path, or as an epoch of a run, `id@12`."""
    path, _, epoch = member.partition("@")
    run = path.rstrip("/").rpartition("/")[2]
    return names.get(run, run) + (f" at epoch {epoch}" if epoch else "")


def _listed(members: list[str]) -> str:
    return ", ".join(members) if len(members) <= NAMED else f"{', '.join(members[:NAMED])} and {len(members) - NAMED} more"
