"""A folder of predictions of a finished run on changed images: stored predictions are read, missing ones are computed.

    <folder>/settings.json              the images, the version, and the opening of the test split
    <folder>/<answers>/<name>.parquet   predictions; .json with the reason if the run cannot predict these images

Predictions are written atomically as soon as they are complete, so that interrupted work resumes. A folder made from other
images, or by another version, is emptied.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

from tellapart.data.decode import DECODER
from tellapart.errors import Interrupted, RunError
from tellapart.inference.context import Settings
from tellapart.io import mark_complete, now, write_json, write_parquet
from tellapart.perturbations._predict import PerturbedPredictor, PredictionsOrReason, Transform, readable_rows
from tellapart.perturbations.kinds import VERSION
from tellapart.plain_data import read_json
from tellapart.runs import store
from tellapart.runs._fields import Fields, read_typed
from tellapart.runs.ledger import test_openings, test_reuse_notes
from tellapart.runs.store import Run
from tellapart.types import ImageTable, Predictions
from tellapart.workflows._evaluation_set import EvaluationSet, record_test_use, stored_predictions

T = TypeVar("T")
#: The name of the predictions on the original files.
FILES = "files"
_SETTINGS = "settings.json"


class PredictionCache:
    """Predictions of one run on variants of one set of images.

    Args:
        run: A finished run.
        images: The images.
        folder: The folder, locked by this process.
        settings: Device and progress.
        answers: Name of the subfolder of predictions, also used in messages: "cells".
        results: Names of result files derived from the predictions; they are deleted together with the predictions.
    """

    def __init__(
        self, run: Run, images: EvaluationSet, folder: Path, settings: Settings, answers: str, results: Sequence[str]
    ) -> None:
        self.run, self.images, self.folder, self.settings, self.noun = run, images, folder, settings, answers
        self._answers, path = folder / answers, folder / _SETTINGS
        same = {"version": VERSION, "decoder": DECODER, "images": images.rows.fingerprint, "n": len(images.rows)}
        stored = read_json(path) if path.exists() else {}
        self._stored_settings: dict[str, Any] = stored if isinstance(stored, dict) else {}
        if {name: self._stored_settings.get(name) for name in same} != same:
            for name in (store.DONE, *results):
                (folder / name).unlink(missing_ok=True)
            shutil.rmtree(self._answers, ignore_errors=True)
            self._write_settings(same)
        self._answers.mkdir(exist_ok=True)

    @property
    def done(self) -> bool:
        """Whether a result has been written."""
        return (self.folder / store.DONE).exists()

    def has(self, name: str) -> bool:
        """Whether predictions are stored, or the reason why there are none."""
        return any((self._answers / f"{name}.{ending}").exists() for ending in ("parquet", "json"))

    def read(self, name: str) -> PredictionsOrReason:
        """Read the predictions of one name, or the reason why there are none."""
        path = self._answers / f"{name}.parquet"
        reason = path.with_suffix(".json")
        return Predictions.from_parquet(path) if path.exists() else Fields(reason, read_json(reason)).text("reason")

    def collect(
        self, transforms: Mapping[str, Transform | None], command: str,
        prepare: Callable[[ImageTable], None] = lambda rows: None,
    ) -> None:  # fmt: skip
        """Predict what is missing; the use of the test split is recorded once for all predictions until a result is written.

        Args:
            transforms: Name → how the images are changed; None: not at all.
            command: The command, for the ledger: "codec-bias".
            prepare: Called with the readable images before the first prediction.

        Raises:
            Interrupted: Ctrl-C; finished predictions are kept.
        """
        missing = [name for name in transforms if not self.has(name)]
        if not missing:
            return
        rows = readable_rows(self.images.rows, self.run, self.settings)
        if self.images.split == "test":
            earlier = None if self.done else self._stored_settings.get("session")
            session = record_test_use(self.run, self.images, earlier, command, self.settings)
            self._write_settings({**self._stored_settings, "session": session})
        if FILES in missing and (known := stored_predictions(self.run, self.images.split, rows)) is not None:
            self._store(FILES, known)
            missing.remove(FILES)
        prepare(rows)
        predictor = PerturbedPredictor(self.run, rows, self.settings)
        with self.settings.progress.task(command.rpartition("--")[2], len(rows) * len(missing), "img") as task:
            try:
                for number, name in enumerate(missing, start=1):
                    found = predictor.predict(transforms[name], name == FILES, task, f"{number}/{len(missing)} {name}")
                    self._store(name, found)
            except KeyboardInterrupt:
                changed = [name for name, way in transforms.items() if way is not None]
                kept, of = sum(map(self.has, changed)), len(changed)
                hint = "repeat the command to resume"
                raise Interrupted(f"stopped; {kept:,} of {of:,} {self.noun} are kept", hint=hint) from None

    def finish(self, name: str, content: dict[str, Any]) -> None:
        """Write a result file, then the marker."""
        write_json(self.folder / name, content)
        mark_complete(self.folder / store.DONE, f"{now()}\n")

    def notes(self, answered: int) -> list[str]:
        """Notes: a sample larger than the split, excluded images, a run that was trained after a test evaluation."""
        count, images, notes = len(self.images.rows), self.images, [*self.images.notes]
        if images.requested and images.requested > images.total:
            notes.append(
                f"a sample of {images.requested:,} was requested; there are only {images.total:,} images, all are used"
            )
        if answered < count:
            notes.append(f"{count - answered:,} of {count:,} images cannot be decoded and are excluded")
        return notes + test_reuse_notes(self.run)

    def _store(self, name: str, found: PredictionsOrReason) -> None:
        if isinstance(found, str):
            write_json(self._answers / f"{name}.json", {"reason": found})
            return
        write_parquet(self._answers / f"{name}.parquet", found)

    def _write_settings(self, about: dict[str, Any]) -> None:
        self._stored_settings = about
        write_json(self.folder / _SETTINGS, about)


def lock_evaluation(run: Run, kind: str, images: EvaluationSet, settings: Settings) -> AbstractContextManager[Path]:
    """Lock the folder of one kind of evaluation of a run on these images; see `store.lock_run`."""
    waiting = functools.partial(settings.progress.say, "  waiting for another process to finish this evaluation")
    return store.lock_run(run.runs, f"evaluations/{run.id}/{kind}-{images.folder_name}", waiting)


def require_predictions(run: Run, found: PredictionsOrReason) -> Predictions:
    """Return predictions that cannot be missing.

    Raises:
        RunError: The run cannot predict the images.
    """
    if isinstance(found, str):
        raise RunError(f"{run.id} cannot predict these images: {found}")
    return found


def stored_results(run: Run, kind: str, result: str, make: Callable[[Mapping[str, Any], Path, int], T]) -> list[T]:
    """Finished results of a run, sorted by folder.

    Args:
        run: The run.
        kind: For example "bias": the folders are `evaluations/<run>/bias-…`.
        result: Name of the result file.
        make: Makes a result of the content, the folder, and how often the test split was opened.

    Raises:
        RunError: A result file is damaged.
    """
    found = sorted((run.runs / "evaluations" / run.id).glob(f"{kind}-*/{store.DONE}"))
    opened = test_openings(run)
    return [read_result(path.parent, result, make, opened) for path in found]


def read_result(folder: Path, result: str, make: Callable[[Mapping[str, Any], Path, int], T], opened: int) -> T:
    """One result, as of `stored_results`."""
    return read_typed(folder / result, lambda content: make(content, folder, opened))
