"""A run folder is input: what a finished run must hold, checked before anything relies on it.

A folder may be damaged, or come from somebody else. Every file that a leaderboard, a report or a page reads is checked here for
size, types, ranges and lengths, and the first fault is a RunError that names file and field. Weights are checked by their
header; the classifier checks them when it is loaded. Results are kept for a folder as long as none of its files changes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from tellapart.calibration.decision import Decision
from tellapart.data.folds import HELD_OUT
from tellapart.errors import RunError, TellapartError
from tellapart.plain_data import read_json, read_yaml
from tellapart.regular_files import LARGEST
from tellapart.runs._fields import Fields, parsing
from tellapart.runs.stored_tables import check_log, check_split, check_tensors, read_predictions, read_split, require_file
from tellapart.types import SPLITS

#: Most classes of a run: ImageNet-21k has 21,841. Tables, figures and pages grow with it, confusion matrices with its square.
MOST_CLASSES = 32_768
#: Most characters of a class name: file systems allow 255 bytes in the name of a folder.
MOST_NAME = 1_000
#: Largest side of a decoded image, and most pixels of it.
MOST_SIDE, MOST_PIXELS = 16_384, 4_096 * 4_096
_MARKER_BYTES = 10_000
_DEPTH = 6  # of the folders in a run: an ensemble keeps copies of its members, a calibrated run one of its parent
#: Scores outside [0, 1]: name → range.
_RANGES = {"matthews": (-1.0, 1.0), "kappa": (-1.0, 1.0), "brier": (0.0, 2.0)}
_PARTS = (*SPLITS, HELD_OUT)
_COPY = "copy the run again from its source, or move its folder elsewhere"

_State = tuple[str, int, int, int, int]


def check_run(folder: Path, *, deep: bool) -> None:
    """Check a finished run.

    Args:
        folder: The run folder.
        deep: Also check what is stored of its predictions, evaluations and parents, which leaderboards and reports read.

    Raises:
        RunError: The first fault; names file and field.
    """
    evaluations = folder.parent / "evaluations" / folder.name
    states = (*_states(folder, _DEPTH), *(_states(evaluations, _DEPTH) if deep else ()))
    _check_kinds(folder, states)
    _check_version(folder)
    if found := _fault(folder, deep, states):
        raise RunError(found, hint=_COPY)


@lru_cache(maxsize=4096)
def _fault(folder: Path, deep: bool, states: tuple[_State, ...]) -> str:
    """The first fault of a run, or "". `states`: the files, so that a changed folder is checked again."""
    del states
    try:
        _check_facts(folder)
        if deep:
            _check_results(folder)
    except TellapartError as error:
        return error.message
    except (Exception, RecursionError) as error:  # pyarrow, pandas and safetensors raise nearly anything for damaged files
        return f"{folder}: cannot be read ({type(error).__name__}: {' '.join(str(error).split())[:200]})"
    return ""


def _states(folder: Path, depth: int) -> Iterable[_State]:
    """Path, kind, size, time of change and inode of each file, sorted."""
    found: list[_State] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                found.append((entry.path, status.st_mode, status.st_size, status.st_mtime_ns, status.st_ino))
                if depth and stat.S_ISDIR(status.st_mode):
                    found.extend(_states(Path(entry.path), depth - 1))
    except OSError:
        return []
    return sorted(found)


def _check_kinds(folder: Path, states: Iterable[_State]) -> None:
    """Check that there are only regular files and folders, and links to them that do not lead out of the folder of runs."""
    runs = os.path.realpath(folder.parent)
    for path, mode, *_ in states:
        if stat.S_ISLNK(mode) and not Path(os.path.realpath(path)).is_relative_to(runs):
            raise RunError(f"{path}: is a link that leads out of the folder of runs", hint="replace it by what it leads to")
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode) and not Path(path).is_dir():
            require_file(Path(path), LARGEST)


def _check_facts(folder: Path) -> None:
    """Check recipe, environment, data, scores and weights."""
    require_file(folder / "done", _MARKER_BYTES)
    _check_recipe(Fields(folder / "recipe.yaml", read_yaml(folder / "recipe.yaml")))
    _check_environment(Fields(folder / "environment.json", read_json(folder / "environment.json")))
    classes = _check_data(Fields(folder / "data.json", read_json(folder / "data.json")))
    _check_scores(Fields(folder / "scores.json", read_json(folder / "scores.json")))
    if os.path.lexists(folder / "split.parquet"):
        check_split(folder / "split.parquet")
    for path in sorted(folder.rglob("*.safetensors")):
        check_tensors(path)
    named = folder / "classifier.json"
    if os.path.lexists(named) and (found := Fields(named, read_json(named)).texts("classes")) != classes:
        raise RunError(f"{named}: classes: expected those of data.json, found {len(found):,} others")


def _check_results(folder: Path) -> None:
    """Check predictions, the training log, what is known of parents, and evaluations."""
    classes = tuple(read_json(folder / "data.json")["classes"])
    for part in _PARTS:
        if os.path.lexists(path := folder / "predictions" / f"{part}.parquet"):
            read_predictions(path, classes)
    if os.path.lexists(folder / "split.parquet"):
        read_split(folder / "split.parquet", len(classes))
    check_log(folder / "log.jsonl")
    for name, check in (("gain.json", _check_gain), ("effect.json", _check_effect), ("kfold.json", _check_folds)):
        if os.path.lexists(folder / name):
            check(Fields(folder / name, read_json(folder / name)))
    if os.path.lexists(decision := folder / "decision.json"):
        content = read_json(decision)
        with parsing(decision):
            Decision.from_dict(content)
    evaluations = folder.parent / "evaluations" / folder.name
    for one in sorted(path.parent for path in evaluations.glob("*/done") if path.parent.name.isdigit()):
        content = Fields(one / "scores.json", read_json(one / "scores.json"))
        _check_part(content.fields("test"))
        content.fields("cost").number("images_per_second")
        content.text("opened")
        read_predictions(one / "predictions" / "test.parquet", classes)


def _check_recipe(recipe: Fields) -> None:
    recipe.fields("classifier").text("family")
    inputs = recipe.fields("inputs", optional=True)
    size = inputs.content.get("size", "auto")
    sides = size if isinstance(size, list) else [size, size]
    if size != "auto":
        whole = len(sides) == 2 and all(type(side) is int and 1 <= side <= MOST_SIDE for side in sides)
        if not whole or sides[0] * sides[1] > MOST_PIXELS:
            expected = f"auto, or sides from 1 to {MOST_SIDE:,} pixels, at most {MOST_PIXELS:,} pixels together"
            inputs.refuse("size", expected, size if not isinstance(size, list) else str(size)[:60])


def _check_version(folder: Path) -> None:
    about = read_json(folder / "environment.json")
    packages = about.get("packages") if isinstance(about, dict) else None
    written_by = str(packages.get("tellapart", "")) if isinstance(packages, dict) else ""
    if written_by.startswith("0.1."):  # its names of recipes, families and files differ
        hint = "train it again, or move its folder elsewhere"
        raise RunError(f"{folder} was written by tellapart {written_by}, whose runs this version cannot read", hint=hint)


def _check_environment(environment: Fields) -> None:
    environment.text("device")
    environment.number("opened_before", 0, 1e9, whole=True, optional=True)
    environment.fields("packages", optional=True)
    for name in ("started", "command", "decoder"):
        environment.text(name, optional=True)


def _check_data(data: Fields) -> list[str]:
    """Check `data.json`; returns the class names."""
    for name in ("recipe_name", "fingerprint", "split_fingerprint", "name", "root", "layout"):
        data.text(name)
    classes = check_classes(data, "classes")
    if data.get("positive") is not None and data.content["positive"] not in classes:
        data.refuse("positive", "one of the classes", data.content["positive"])
    for split, counts in ((name, data.fields("counts").fields(name)) for name in data.fields("counts").content):
        if split not in (*_PARTS, ""):
            data.refuse("counts", f"splits among {', '.join(SPLITS)}", split)
        for name in counts.content:
            if name not in classes:
                counts.refuse("", "class names", name)
            counts.number(name, 0, 1e12, whole=True)
    data.number("unlabeled", 0, 1e12, whole=True, optional=True)
    for name in ("notes", "parents", "started_from"):
        data.texts(name, optional=True)
    for problem in data.each("problems"):
        if extra := problem.content.keys() - {"kind", "where", "message", "label", "count"}:
            problem.refuse(min(extra), "no such field", problem.content[min(extra)])
        for name in ("kind", "where", "message"):
            problem.text(name)
        problem.text("label", optional=True)
        problem.number("count", 0, 1e12, whole=True, optional=True)
    twins = data.fields("duplicates")
    for name in ("images", "across_splits", "across_classes"):
        twins.number(name, 0, 1e12, whole=True)
    pairs = twins.content.get("examples", [])
    if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        twins.refuse("examples", "a list of pairs", pairs)
    return classes


def check_classes(fields: Fields, name: str) -> list[str]:
    """Class names: at least one, each once, none longer than `MOST_NAME`."""
    classes = fields.texts(name)
    if not 1 <= len(classes) <= MOST_CLASSES:
        fields.refuse(name, f"from 1 to {MOST_CLASSES:,} classes", len(classes))
    if len(set(classes)) != len(classes):
        fields.refuse(name, "each class once", _first_repeated(classes))
    wrong = next((one for one in classes if not one or len(one) > MOST_NAME), None)
    if wrong is not None:
        fields.refuse(name, f"names of 1 to {MOST_NAME:,} characters", wrong)
    return classes


def _first_repeated(names: list[str]) -> str:
    seen: set[str] = set()
    return next((name for name in names if name in seen or seen.add(name)), "")


def _check_scores(scores: Fields) -> None:
    for part in scores.content:
        if part != "cost":
            _check_part(scores.fields(part))
    cost = scores.fields("cost")
    cost.number("fit_seconds")  # a clock may have been set back
    cost.number("images_per_second", optional=True)
    cost.number("parameters", 0, 1e15, whole=True)
    cost.text("pretrained")
    cost.texts("notes")


def _check_part(part: Fields) -> None:
    for name in part.content:
        check_score(part.fields(name), name)


def check_score(score: Fields, name: str) -> None:
    """Check one Score: a number in the range of its metric, or null where it is undefined."""
    in_unit = score.text("unit") != ""
    low, high = (-1e300, 1e300) if in_unit else _RANGES.get(name, (0.0, 1.0))
    for end in ("value", "low", "high"):
        score.get(end)
        score.number(end, low, high, optional=True)
    score.number("n", 0, 1e12, whole=True)
    if not isinstance(score.get("higher_is_better"), bool):
        score.refuse("higher_is_better", "true or false", score.content["higher_is_better"])


def _check_gain(gain: Fields) -> None:
    for member in gain.each("members"):
        member.text("member")
        member.number("weight", 0, 1, optional=True)
        member.get("weight")
        _check_part(member.fields("valid"))
    for name in ("result", "best"):
        gain.text(name)
    _one_of(gain, "split", SPLITS)
    test = gain.fields("test")
    test.number("groups", 0, 1e12, whole=True, optional=True)
    test.get("groups")
    for name in ("only_a", "only_b", "n"):
        test.number(name, 0, 1e12, whole=True)
    test.number("p_value", 0, 1)
    difference = gain.fields("difference")
    for name in ("value", "low", "high"):
        difference.get(name)
        difference.number(name, -1, 1, optional=True)


def _check_effect(effect: Fields) -> None:
    if effect.get("result") is None:
        return
    effect.text("result")
    effect.text("summary")
    _one_of(effect, "split", SPLITS)
    effect.get("p_value")
    effect.number("p_value", 0, 1, optional=True)


def _check_folds(folds: Fields) -> None:
    if not isinstance(folds.get("each"), list):
        folds.refuse("each", "a list", folds.content["each"])
    folds.number("folds", 2, 1e6, whole=True)
    spread = folds.fields("over_folds").fields("accuracy", optional=True)
    for name in spread.content:
        spread.get(name)
    if spread.content:
        spread.number("mean", 0, 1)
        spread.number("sd", 0, 1)
    _check_part(folds.fields("pooled"))


def _one_of(fields: Fields, name: str, known: Iterable[str]) -> None:
    if fields.text(name) not in known:
        fields.refuse(name, f"one of {', '.join(known)}", fields.content[name])
