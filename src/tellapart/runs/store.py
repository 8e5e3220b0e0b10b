"""Run folders: the only interface between training and everything after it.

    runs/<id>/                    never rewritten once `done` exists
        recipe.yaml               fully resolved
        environment.json          versions, device, git, command
        data.json                 fingerprint, classes, counts, problems
        split.parquet             one row per image: id, path, label, split, digest of its content, …
        signature                 that this user trained it on this machine; see `origin`
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
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tellapart.data.folder_walk import RUNS_MARKER
from tellapart.data.left_out import LeftOut, summarize_problems
from tellapart.errors import RunError, unknown_name
from tellapart.io import locked_file, make_folder, mark_complete, now, remove_leftovers, write_text_atomically
from tellapart.os_errors import translate_os_errors
from tellapart.places import check_inside, check_is_text
from tellapart.plain_data import read_json, read_yaml
from tellapart.regular_files import read_text
from tellapart.runs import origin
from tellapart.runs.evaluation import Evaluation, Scores
from tellapart.runs.stored_tables import check_log, read_predictions, read_split
from tellapart.runs.validation import check_run
from tellapart.types import ImageTable, Predictions, Problem, Score

DONE = "done"


@dataclass(frozen=True)
class Run:
    """A read-only view of a finished run folder.

    Attributes:
        folder: The run folder.
        images: Where its images lie, if the user names a folder; None: where they lay when the run was trained here.
    """

    folder: Path
    images: Path | None = field(default=None, compare=False)

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
        return read_yaml(self.folder / "recipe.yaml")

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

        Networks also: `precision` ("32", "bf16" or "16"), `threads`, `epochs` and optimizer `steps` of training, and
        `batch_norm`, "measured: …" with the reason, if the statistics of the batch norms are not running means.
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
        return read_predictions(path, self.classes) if path.exists() else None

    @property
    def evaluations(self) -> list[Evaluation]:
        """Complete evaluations on the test split, oldest first."""
        folder = self.runs / "evaluations" / self.id
        numbers = sorted(int(p.parent.name) for p in folder.glob(f"*/{DONE}") if p.parent.name.isdigit())
        return [Evaluation(folder / str(n), n, self.classes) for n in numbers]

    @cached_property
    def log(self) -> list[dict[str, Any]]:
        """One dict per epoch: `epoch`, `train_loss`, `train_accuracy`, `valid_loss`, `valid_accuracy`, `seconds`, …"""
        return check_log(self.folder / "log.jsonl")

    def table(self) -> ImageTable:
        """The images of this run, with their split and their digests at that time. The files may have changed or moved since.

        Their files are read below `images`, or below `root` of `data.json` if this user trained the run on this machine. Else
        the table is `withheld`: reading an image is refused, since a stranger's folder may name any file of this machine.

        Raises:
            RunError: The run was made by a development version of tellapart that stored no digests.
        """
        frame = read_split(self.folder / "split.parquet", len(self.classes))
        if "digest" not in frame:
            made = "was made by a development version of tellapart that stored no digests of its images"
            raise RunError(f"{self.folder} {made}", hint="train it again")
        root, withheld = origin.image_root(self.folder, self.images)
        return ImageTable(
            frame,
            self.classes,
            root,
            withheld=withheld,
            positive=self.positive,
            problems=tuple(Problem(**p) for p in self.data["problems"]),
            layout=str(self.data["layout"]),
            notes=tuple(self.data.get("notes", ())),
            name=str(self.data["name"]),
        )


def open_run(name: str | Path | Run, runs: Path = Path("runs"), images: Path | None = None) -> Run:
    """Find a finished run by its path, its id, or the beginning of its id. A run is returned as it is.

    Args:
        name: The run.
        runs: The folder of all runs.
        images: Where its images lie, for a run that was trained elsewhere.

    Raises:
        RunError: No run or several runs match, the run is not finished, it was made by an older tellapart that this version
            cannot read, or its folder is damaged.
    """
    if isinstance(name, Run):
        return name
    for folder in (Path(name), runs / name):
        if os.path.exists(folder / DONE):  # noqa: PTH110 (False, too, for a name that is too long)
            return _opened(folder, images)
        if os.path.exists(folder / "recipe.yaml"):  # noqa: PTH110
            raise RunError(f"{folder} is not finished", hint="repeat the same train or compare command to resume it")
    known = [folder.name for folder in _finished(runs)]
    found = [run_id for run_id in known if run_id.startswith(str(name))]
    if len(found) == 1:
        return _opened(runs / found[0], images)
    if found:
        raise RunError(f"{name!r} is ambiguous: {', '.join(found)}", hint="use a longer prefix")
    raise RunError(f"{unknown_name('run', str(name), known)} (looked in {runs})")


def open_parent(name: str, runs: Path) -> Run:
    """Find a run that another run names: in the same folder of runs, or elsewhere if this user trained it on this machine.

    Raises:
        RunError: As for `open_run`, or the run lies elsewhere and comes from somebody else.
    """
    found = open_run(name, runs)
    if not found.folder.is_relative_to(runs.resolve()) and not origin.was_made_here(found.folder):
        raise RunError(f"{found.folder} was not trained here, and lies outside of {runs}", hint=f"move it into {runs}")
    return found


def list_runs(runs: Path, images: Path | None = None, damaged: list[RunError] | None = None) -> list[Run]:
    """All finished runs in a folder, in the order in which they were finished by their markers, which copies preserve.

    Args:
        runs: The folder.
        images: Where their images lie, for runs that were trained elsewhere.
        damaged: Gets the error of each run that cannot be read, which is then left out; None: the first is raised.

    Raises:
        RunError: `damaged` is None, and a run is damaged, or was made by an older tellapart that this version cannot read.
    """
    found = []
    for folder in _finished(runs):
        try:
            found.append(_opened(folder, images, deep=True))
        except RunError as error:
            if damaged is None:
                raise
            damaged.append(error)
    return found


def _finished(runs: Path) -> list[Path]:
    """Folders with a marker, oldest first; one whose marker cannot be read comes first."""
    done = runs.glob(f"*/{DONE}") if runs.is_dir() else ()
    return [marker.parent for marker in sorted(done, key=lambda marker: (_content(marker), marker.parent.name))]


def _content(marker: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        return read_text(marker, 10_000)
    return ""


def _opened(folder: Path, images: Path | None = None, *, deep: bool = False) -> Run:
    run = Run(folder.resolve(), images)
    check_run(run.folder, deep=deep)
    return run


def select_runs(
    names: Sequence[str], runs: Path, images: Path | None = None, damaged: list[RunError] | None = None
) -> list[Run]:
    """The named runs; all finished runs in the folder if none is named.

    Args:
        names: Runs.
        runs: The folder of all runs.
        images: Where their images lie, for runs that were trained elsewhere.
        damaged: As for `list_runs`, for runs that are not named.

    Raises:
        RunError: A name matches no run, a named run is damaged, or the folder has no finished run that can be read.
    """
    found = [open_run(name, runs, images) for name in names]
    for run in found:
        check_run(run.folder, deep=True)
    found = found or list_runs(runs, images, damaged)
    if not found and damaged:
        raise damaged[0]
    if not found:
        hint = "train some with `tellapart compare DATA`, or pass another folder with --runs"
        raise RunError(f"{runs}: expected finished runs, found none", hint=hint)
    return found


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
        SystemLimitError: The folder cannot be created or written, or a link leads to it.
    """
    with lock_below(runs, run_id, ".lock", waiting) as folder:
        if not (folder / DONE).exists():
            remove_leftovers(folder)
        yield folder


@contextlib.contextmanager
def lock_below(runs: Path, name: str, lock: str, waiting: Callable[[], object]) -> Iterator[Path]:
    """Make the folder `runs/<name>/` and hold the lock file `lock` in it; the rest as of `lock_run`."""
    folder = runs / name
    with translate_os_errors(folder):
        check_inside(folder, runs)
        make_folder(folder)
    with translate_os_errors(folder, writes_only=False), locked_file(folder / lock, waiting):
        yield folder


def mark_done(folder: Path, source: Run | None = None) -> Run:
    """Remove the files for resuming, flush everything to the disk, then write the `done` marker.

    Args:
        folder: The run folder.
        source: The run whose images it names; None: those that this user has trained it on.
    """
    shutil.rmtree(folder / "resume", ignore_errors=True)
    if source is None or origin.was_made_here(source.folder):
        origin.sign_run(folder)
    mark_complete(folder / DONE, now("microseconds") + "\n")
    return Run(folder.resolve())


def scores_to_dict(scores: Mapping[str, Score]) -> dict[str, Any]:
    """Scores as plain JSON values."""
    return {name: score.to_dict() for name, score in scores.items()}
