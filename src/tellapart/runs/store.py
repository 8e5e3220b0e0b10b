"""Run folders: the only interface between training and everything after it.

    runs/<id>/                    never rewritten once `done` exists
        recipe.yaml               fully resolved
        environment.json          versions, device, git, command
        data.json                 fingerprint, classes, counts, problems
        split.parquet             one row per image: id, path, label, split, digest of its content, …
        weights.safetensors …     the classifier, as its family saves it
        predictions/<split>.parquet
        scores.json               {"train": {metric: Score}, "valid": {…}, "cost": {…}}
        log.jsonl                 one line per epoch
        resume/                   only while unfinished
        done                      marker, written after everything else is flushed to the disk
    runs/evaluations/<id>/<n>/    one evaluation of the test split: predictions/test.parquet, scores.json
    runs/ledger.jsonl             one line per evaluation of a test split

A folder without `done` is unfinished: it is resumed or ignored, never read as a run. The id is derived from the recipe and the
data, so the same work uses the same folder; a lock file keeps two processes from doing it twice.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from tellapart.data.folder_walk import RUNS_MARKER
from tellapart.data.left_out import LeftOut, summarize_problems
from tellapart.errors import RunError, unknown_name
from tellapart.io import (
    check_is_text,
    check_outside,
    locked_file,
    make_folder,
    mark_complete,
    now,
    read_json,
    remove_leftovers,
    translate_os_errors,
    write_text_atomically,
)
from tellapart.types import ImageTable, Predictions, Problem, Score

DONE = "done"
Scores = dict[str, Score]


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of a run on the test split."""

    folder: Path
    number: int

    @cached_property
    def predictions(self) -> Predictions:
        """The predictions for the test images."""
        return Predictions.from_parquet(self.folder / "predictions" / "test.parquet")

    @cached_property
    def _content(self) -> dict[str, Any]:
        return read_json(self.folder / "scores.json")

    @property
    def scores(self) -> Scores:
        """Scores on the test split, by metric."""
        return {name: Score.from_dict(score) for name, score in self._content["test"].items()}

    @property
    def images_per_second(self) -> float:
        """Speed of `predict` on the test split, with decoded images in memory."""
        return float(self._content["cost"]["images_per_second"])

    @property
    def opened(self) -> str:
        """Time of the evaluation: ISO 8601, UTC."""
        return str(self._content["opened"])


@dataclass(frozen=True)
class Run:
    """A read-only view of a finished run folder."""

    folder: Path

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def runs(self) -> Path:
        """The folder that holds this run and the others."""
        return self.folder.parent

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """The resolved recipe, as plain values."""
        return yaml.safe_load((self.folder / "recipe.yaml").read_text(encoding="utf-8"))

    @property
    def recipe_name(self) -> str:
        """The name of the recipe on the command line."""
        return str(self.data["recipe_name"])

    @property
    def family(self) -> str:
        """The classifier family."""
        return str(self.recipe["classifier"]["family"])

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions, device, git revision, command line, times."""
        return read_json(self.folder / "environment.json")

    @cached_property
    def data(self) -> dict[str, Any]:
        """`name`, `fingerprint`, `root`, `layout`, `classes`, `positive`, `counts` (split → class → n), `problems`, …"""
        return read_json(self.folder / "data.json")

    @property
    def left_out(self) -> LeftOut:
        """Rows that were excluded from the data, by class."""
        kept = {name: sum(counts.get(name, 0) for counts in self.data["counts"].values()) for name in self.classes}
        unlabeled = {"": int(self.data["unlabeled"])} if self.data.get("unlabeled") else {}
        problems = [Problem(**problem) for problem in self.data.get("problems", ())]
        return summarize_problems(kept | unlabeled, problems, self.data.get("notes", ()))

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return tuple(self.data["classes"])

    @property
    def positive(self) -> str | None:
        """The positive class, when there are two."""
        return self.data["positive"]

    @cached_property
    def _scores(self) -> dict[str, Any]:
        return read_json(self.folder / "scores.json")

    @property
    def cost(self) -> dict[str, Any]:
        """`fit_seconds`, `images_per_second`, `parameters`, `pretrained`, `bytes`, `notes` (list of str).

        Networks also: `precision` ("32", "bf16" or "16"), `threads`, `epochs` and optimizer `steps` of training.
        """
        return self._scores["cost"]

    def scores(self, split: str) -> Scores:
        """Scores on `split`, by metric; empty if that split was not scored."""
        if split == "test":
            return self.evaluations[-1].scores if self.evaluations else {}
        return {name: Score.from_dict(score) for name, score in self._scores.get(split, {}).items()}

    def predictions(self, split: str) -> Predictions | None:
        """Stored predictions on `split`, or None; for `test`, those of the latest evaluation."""
        if split == "test":
            return self.evaluations[-1].predictions if self.evaluations else None
        path = self.folder / "predictions" / f"{split}.parquet"
        return Predictions.from_parquet(path) if path.exists() else None

    @property
    def evaluations(self) -> list[Evaluation]:
        """Complete evaluations on the test split, oldest first."""
        folder = self.runs / "evaluations" / self.id
        numbers = sorted(int(p.parent.name) for p in folder.glob(f"*/{DONE}") if p.parent.name.isdigit())
        return [Evaluation(folder / str(n), n) for n in numbers]

    @cached_property
    def log(self) -> list[dict[str, Any]]:
        """One dict per epoch: `epoch`, `train_loss`, `train_accuracy`, `valid_loss`, `valid_accuracy`, `seconds`, …"""
        path = self.folder / "log.jsonl"
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []

    def table(self) -> ImageTable:
        """The images of this run, with their split and their digests at that time. The files may have changed or moved since.

        Raises:
            RunError: The run was made by a development version of tellapart that stored no digests.
        """
        frame = pd.read_parquet(self.folder / "split.parquet").astype({"id": object, "path": object})
        if "digest" not in frame:
            made = "was made by a development version of tellapart that stored no digests of its images"
            raise RunError(f"{self.folder} {made}", hint="train it again")
        return ImageTable(
            frame,
            self.classes,
            str(self.data["root"]),
            positive=self.positive,
            problems=tuple(Problem(**p) for p in self.data["problems"]),
            layout=str(self.data["layout"]),
            notes=tuple(self.data.get("notes", ())),
            name=str(self.data["name"]),
        )


def open_run(name: str | Path | Run, runs: Path = Path("runs")) -> Run:
    """Find a finished run by its path, its id, or the beginning of its id. A run is returned as it is.

    Raises:
        RunError: No run or several runs match, or the run is not finished, or it was made by an older tellapart that this
            version cannot
            read.
    """
    if isinstance(name, Run):
        return name
    for folder in (Path(name), runs / name):
        if os.path.exists(folder / DONE):  # noqa: PTH110 (False, too, for a name that is too long)
            return _opened(folder)
        if os.path.exists(folder / "recipe.yaml"):  # noqa: PTH110
            raise RunError(f"{folder} is not finished", hint="repeat the same train or compare command to resume it")
    known = {run.id: run for run in list_runs(runs)}
    found = [run for run_id, run in known.items() if run_id.startswith(str(name))]
    if len(found) == 1:
        return found[0]
    if found:
        raise RunError(f"{name!r} is ambiguous: {', '.join(run.id for run in found)}", hint="use a longer prefix")
    raise RunError(f"{unknown_name('run', str(name), known)} (looked in {runs})")


def list_runs(runs: Path) -> list[Run]:
    """All finished runs in a folder, in the order in which they were finished according to their markers, which copies
    preserve.

    Raises:
        RunError: A run was made by an older tellapart that this version cannot read.
    """
    done = runs.glob(f"*/{DONE}") if runs.is_dir() else ()
    return [_opened(p.parent) for p in sorted(done, key=lambda p: (p.read_text(encoding="utf-8"), p.parent.name))]


def _opened(folder: Path) -> Run:
    run = Run(folder.resolve())
    known = (folder / "environment.json").exists()
    written_by = str((run.environment.get("packages", {}).get("tellapart") if known else None) or "")
    if written_by.startswith("0.1."):  # its names of recipes, families and files differ
        hint = "train it again, or move its folder elsewhere"
        raise RunError(f"{folder} was written by tellapart {written_by}, whose runs this version cannot read", hint=hint)
    return run


def select_runs(names: Sequence[str], runs: Path) -> list[Run]:
    """The named runs; all finished runs in the folder if none is named.

    Raises:
        RunError: A name matches no run, or the folder has no finished run.
    """
    found = [open_run(name, runs) for name in names] or list_runs(runs)
    if not found:
        hint = "train some with `tellapart compare DATA`, or pass another folder with --runs"
        raise RunError(f"{runs}: expected finished runs, found none", hint=hint)
    return found


def check_outside_data(path: Path, runs: Sequence[Run]) -> None:
    """Refuse an output folder of images inside the class folders on which runs were trained, since it would become a class.

    Raises:
        DataError: The folder is inside the class folders.
    """
    for run in runs:
        root = Path(str(run.data["root"]))
        if root.name == run.data["name"] and str(run.data["layout"]).startswith("one folder per class"):
            check_outside(path, root)


def mark_runs(runs: Path) -> None:
    """Create the folder of all runs, with the hidden file by which a walk of the data recognizes it.

    Raises:
        SystemLimitError: The folder cannot be created or written, or its path is not UTF-8.
    """
    check_is_text(runs)
    with translate_os_errors(runs):
        make_folder(runs)
        if not (runs / RUNS_MARKER).exists():
            write_text_atomically(runs / RUNS_MARKER, "The runs of tellapart: not read as data.\n", durable=False)


@contextlib.contextmanager
def lock_run(runs: Path, run_id: str, waiting: Callable[[], object] = bool) -> Iterator[Path]:
    """Lock `runs/<run_id>/`: a second process waits here until the first has finished.

    Args:
        runs: The folder of all runs.
        run_id: Name of the folder.
        waiting: Called once if another process holds the lock.

    Raises:
        SystemLimitError: The folder cannot be created or written.
    """
    folder = runs / run_id
    with translate_os_errors(folder):
        make_folder(folder)
    with translate_os_errors(folder, writes_only=False), locked_file(folder / ".lock", waiting):
        if not (folder / DONE).exists():
            remove_leftovers(folder)
        yield folder


def mark_done(folder: Path) -> Run:
    """Remove the files for resuming, flush everything to the disk, then write the `done` marker."""
    shutil.rmtree(folder / "resume", ignore_errors=True)
    mark_complete(folder / DONE, now("microseconds") + "\n")
    return Run(folder.resolve())


def next_evaluation(run: Run) -> Path:
    """An empty folder for the next evaluation of `run` on the test split; hold `ledger.lock_test`.

    Unfinished evaluations are emptied: their process was killed. Their folders stay, since a number is never used twice.
    """
    parent = run.runs / "evaluations" / run.id
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.iterdir():
        if left.name.isdigit() and not (left / DONE).exists():
            for path in left.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    number = 1 + max((int(p.name) for p in parent.iterdir() if p.name.isdigit()), default=0)
    folder = parent / str(number)
    (folder / "predictions").mkdir(parents=True)
    return folder


def scores_to_dict(scores: Mapping[str, Score]) -> dict[str, Any]:
    """Scores as plain JSON values."""
    return {name: score.to_dict() for name, score in scores.items()}
