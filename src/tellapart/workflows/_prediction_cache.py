"""Answers of a finished run to changed images, in one folder: what is there is read, what is missing is asked for.

    <folder>/settings.json          which images, by which version, and the opening of the test part
    <folder>/<answers>/<name>.parquet   answers; .json where the run cannot answer, with the reason

Each answer is written whole as soon as it is there, so that what was cut off goes on. A folder made from other images, or by
another version, is emptied.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tellapart.data.decode import DECODER
from tellapart.errors import Interrupted, RunError
from tellapart.inference.context import Settings
from tellapart.io import atomic_path, mark_complete, now, read_json, write_json
from tellapart.perturbations._predict import PerturbedPredictor, PredictionsOrReason, Transform, readable_rows
from tellapart.perturbations.kinds import VERSION
from tellapart.runs import store
from tellapart.runs.ledger import test_openings, test_reuse_notes
from tellapart.runs.store import Run
from tellapart.types import ImageTable, Predictions
from tellapart.workflows._evaluation_set import EvaluationSet, record_test_use, stored_predictions

#: The answers on the files as they lie there.
FILES = "files"
_SETTINGS = "settings.json"


class PredictionCache:
    """One folder.

    Args:
        run: Finished.
        images: What it is asked about.
        folder: Held by this process alone.
        settings: Device and progress.
        answers: Name of the folder of answers, and what a person calls them: "cells".
        results: Names of files beside it that rest on the answers; they go where the answers go.
    """

    def __init__(
        self, run: Run, images: EvaluationSet, folder: Path, settings: Settings, answers: str, results: Sequence[str]
    ) -> None:
        self.run, self.images, self.folder, self.settings, self.noun = run, images, folder, settings, answers
        self._answers, path = folder / answers, folder / _SETTINGS
        same = {"version": VERSION, "decoder": DECODER, "images": images.rows.fingerprint, "n": len(images.rows)}
        self._stored_settings = read_json(path) if path.exists() else {}
        if {name: self._stored_settings.get(name) for name in same} != same:
            for name in (store.DONE, *results):
                (folder / name).unlink(missing_ok=True)
            shutil.rmtree(self._answers, ignore_errors=True)
            self._write_settings(same)
        self._answers.mkdir(exist_ok=True)

    @property
    def done(self) -> bool:
        """Whether a result was written."""
        return (self.folder / store.DONE).exists()

    def has(self, name: str) -> bool:
        """Whether an answer is there, or the reason why there is none."""
        return any((self._answers / f"{name}.{ending}").exists() for ending in ("parquet", "json"))

    def read(self, name: str) -> PredictionsOrReason:
        """One answer."""
        path = self._answers / f"{name}.parquet"
        return Predictions.from_parquet(path) if path.exists() else str(read_json(path.with_suffix(".json"))["reason"])

    def collect(
        self, transforms: Mapping[str, Transform | None], command: str, before: Callable[[ImageTable], None] = lambda rows: None
    ) -> None:  # fmt: skip
        """Ask for the answers that are missing; the test part is opened, once for all that is asked before a result is there.

        Args:
            ways: Name → how images are changed; None: not at all.
            by: The command, for the ledger: "evaluate --bias".
            first: Called with the images that can be read, before any answer.

        Raises:
            Interrupted: Ctrl-C; finished answers are kept.
        """
        missing = [name for name in transforms if not self.has(name)]
        if not missing:
            return
        rows = readable_rows(self.images.rows, self.run, self.settings)
        if self.images.split == "test":
            before = None if self.done else self._stored_settings.get("session")
            session = record_test_use(self.run, len(self.images.rows), before, command, self.settings)
            self._write_settings({**self._stored_settings, "session": session})
        if FILES in missing and (known := stored_predictions(self.run, self.images.split, rows)) is not None:
            self._store(FILES, known)
            missing.remove(FILES)
        before(rows)
        asking = PerturbedPredictor(self.run, rows, self.settings)
        with self.settings.progress.task(command.rpartition("--")[2], len(rows) * len(missing), "img") as task:
            try:
                for number, name in enumerate(missing, start=1):
                    found = asking.predict(transforms[name], name == FILES, task, f"{number}/{len(missing)} {name}")
                    self._store(name, found)
            except KeyboardInterrupt:
                changed = [name for name, way in transforms.items() if way is not None]
                kept, of = sum(map(self.has, changed)), len(changed)
                hint = "give the same command again to go on from here"
                raise Interrupted(f"stopped; {kept:,} of {of:,} {self.noun} are kept", hint=hint) from None

    def finish(self, name: str, content: dict[str, Any]) -> None:
        """Write a result, then that all is done."""
        write_json(self.folder / name, content)
        mark_complete(self.folder / store.DONE, f"{now()}\n")

    def notes(self, answered: int) -> list[str]:
        """What was left out: a sample larger than the part, images that cannot be decoded, a run made after an opening."""
        asked, images, notes = len(self.images.rows), self.images, []
        if images.requested and images.requested > images.total:
            notes.append(f"a sample of {images.requested:,} was asked for; there are {images.total:,}, and all were taken")
        if answered < asked:
            notes.append(f"{asked - answered:,} of {asked:,} images cannot be decoded and were left out")
        return notes + test_reuse_notes(self.run)

    def _store(self, name: str, found: PredictionsOrReason) -> None:
        if isinstance(found, str):
            write_json(self._answers / f"{name}.json", {"reason": found})
            return
        with atomic_path(self._answers / f"{name}.parquet", durable=False) as temporary:
            found.to_parquet(temporary)

    def _write_settings(self, about: dict[str, Any]) -> None:
        self._stored_settings = about
        write_json(self.folder / _SETTINGS, about)


def require_predictions(run: Run, found: PredictionsOrReason) -> Predictions:
    """An answer that all rests on.

    Raises:
        RunError: There is none.
    """
    if isinstance(found, str):
        raise RunError(f"{run.id} cannot answer these images: {found}")
    return found


def stored_results(run: Run, kind: str, result: str) -> list[tuple[dict[str, Any], Path, int]]:
    """Finished results of a run, by the name of their folders: content, folder, and how often the test part was opened.

    Args:
        run: The run.
        kind: "bias": the folders are `evaluations/<run>/bias-…`.
        result: Name of the file.
    """
    found = sorted((run.runs / "evaluations" / run.id).glob(f"{kind}-*/{store.DONE}"))
    opened = test_openings(run)
    return [(read_json(path.parent / result), path.parent, opened) for path in found]
