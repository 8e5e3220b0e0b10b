"""The robustness sweep: a finished run is asked again about its images, damaged in many ways, each from weak to strong.

Each original file is decoded at its own size, damaged, written as a file again, and handed to the run as if it had been found
like that: the run's own decoding and resizing come after, and a classifier that reads files sees a file. The undamaged images
go the same way, as PNG, so that a cell differs from them by the damage alone; how many verdicts differ from those on the files
as they lie there is said. Labels are not handed on. Files are made and answered in portions, so that memory stays bounded.

    runs/evaluations/<run>/robustness-valid/    or -test, -<data>-<fingerprint>; of a sample -valid-200
        settings.json                           which images, how they were damaged
        cells/<damage>-<strength>.parquet       answers of a finished cell; .json where the run cannot answer, with the reason
        robustness.json                         scores, flips, tests
        done                                    last of all

A sweep that was cut off keeps its finished cells. One that is there with the same settings is read, not made. The test part
is answered only when it is opened, once in the ledger for a whole sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from tellapart.inference.context import DEFAULTS, Settings
from tellapart.io import read_json
from tellapart.perturbations._predict import Transform
from tellapart.perturbations.kinds import Perturbation, select_perturbations
from tellapart.perturbations.scores import Robustness, flip_share, retained_scores, score_robustness
from tellapart.runs import store
from tellapart.runs.ledger import test_openings
from tellapart.runs.store import Run
from tellapart.types import ImageTable, Predictions
from tellapart.workflows._evaluation_set import EvaluationSet, select_images
from tellapart.workflows._prediction_cache import FILES, PredictionCache, require_predictions, stored_results

#: The answers that are no cell, beside those on the files as they lie there: on the undamaged images written as PNG.
CLEAN = "undamaged"
_RESULT = "robustness.json"


def robustness(
    run: str | Path | Run, data: str | Path | ImageTable | None = None, *, open_test: bool = False,
    mapping: Mapping[str, str] | None = None, perturbations: Sequence[str] | None = None, sample: int | None = None,
    settings: Settings = DEFAULTS,
) -> Robustness:  # fmt: skip
    """Ask a run about damaged images.

    Args:
        run: A run, an id, the beginning of one, or a path.
        data: Other labeled images; None: the run's own. The run's own images at another place, or in memory, may be given.
        open_test: Of the run's own data, the test part instead of validation; counted in the ledger, once.
        mapping: From class names of `data` to those of the run, where they differ.
        damages: Names, see `tellapart.perturbations.kinds`; None: all.
        sample: Only so many images, drawn by a fixed seed; None: all of them.
        settings: Where and how.

    Raises:
        DataError: Unknown damage or class, images that cannot be decoded, an empty part.
        RunError: No such run, no such part, or its images are gone.
        Interrupted: Ctrl-C; finished cells are kept.
    """
    run = store.open_run(run, settings.runs)
    chosen = select_perturbations(perturbations)
    images = select_images(run, data, open_test, mapping or {}, settings).sampled(sample)
    place = f"evaluations/{run.id}/robustness-{images.folder_name}"
    with store.lock_run(
        run.runs, place, lambda: settings.progress.say("  waiting: another process makes this sweep")
    ) as folder:
        return _Sweep(run, images, chosen, folder, settings).result()


def stored(run: Run) -> list[Robustness]:
    """The finished sweeps of a run, by the name of their folders."""
    return [Robustness.from_dict(*found) for found in stored_results(run, "robustness", _RESULT)]


class _Sweep:
    """One sweep: what is there already, what is missing, and the result of both."""

    def __init__(
        self, run: Run, images: EvaluationSet, damages: Sequence[Perturbation], folder: Path, settings: Settings
    ) -> None:
        self.run, self.images, self.folder = run, images, folder
        self.damages = {(damage.name, strength): damage for damage in damages for strength in damage.strengths}
        self.cache = PredictionCache(run, images, folder, settings, "cells", [_RESULT])

    def result(self) -> Robustness:
        """Read where it is there; else what is missing is asked for, and all is judged and written."""
        before = self._stored()
        if before is not None and [(c.perturbation, c.strength) for c in before.cells] == list(self.damages):
            return before
        cells: dict[str, Transform | None] = {_name(key): _bound(damage, key[1]) for key, damage in self.damages.items()}
        self.cache.collect({FILES: None, CLEAN: None, **cells}, "evaluate --robustness")
        found = self._judged()
        if before is None or {(c.perturbation, c.strength) for c in before.cells} <= set(self.damages):
            self.cache.finish(_RESULT, found.to_dict())  # a narrower question leaves the wider answer there
        return found

    def _stored(self) -> Robustness | None:
        if not self.cache.done:
            return None
        return Robustness.from_dict(read_json(self.folder / _RESULT), self.folder, test_openings(self.run))

    def _judged(self) -> Robustness:
        files, undamaged = (require_predictions(self.run, self.cache.read(name)) for name in (FILES, CLEAN))
        cells = {key: self.cache.read(_name(key)) for key in self.damages}
        positive, images = self.run.positive, self.images
        recoded = flip_share(files, undamaged)
        return Robustness(
            run=self.run.id, data=images.rows.name if images.split == "other" else str(self.run.data["name"]), split=images.split,
            n=len(undamaged), total=images.total, classes=self.run.classes, clean=retained_scores(undamaged, positive),
            recoded=recoded, cells=score_robustness(undamaged, cells, positive), opened=test_openings(self.run),
            notes=tuple(self._notes(undamaged, round(recoded.value * recoded.n))), folder=self.folder,
        )  # fmt: skip

    def _notes(self, undamaged: Predictions, recoded: int) -> list[str]:
        notes = []
        if recoded:
            said = f"{recoded:,} of {len(undamaged):,} verdicts change when the undamaged images are only written again, as PNG"
            baseline = ": the metadata baseline reads files, and its files here are PNG, or the JPEG and WebP of those damages"
            notes.append(said + (baseline if self.run.family == "metadata" else ""))
        given = np.unique(undamaged.predicted)
        if len(given) == 1:
            notes.append(f"all undamaged images are answered {self.run.classes[given[0]]}: that nothing flips then says little")
        return notes + self.cache.notes(len(undamaged))


def _name(key: tuple[str, float]) -> str:
    """Of a cell's file."""
    return f"{key[0]}-{key[1]:g}"


def _bound(damage: Perturbation, strength: float) -> Callable[[np.ndarray, str], bytes]:
    return lambda pixels, name: damage.apply(pixels, strength, name)
