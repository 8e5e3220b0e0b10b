"""The robustness sweep: predictions of a finished run on perturbed images, each perturbation from weak to strong.

Each original file is decoded at its original size, perturbed, encoded as a file, and predicted like any other file: the
decoding and resizing of the run come afterwards, and a classifier that reads files reads a file. The unperturbed images are
processed in the same way, as PNG, so that a cell differs from them by the perturbation alone; predictions that differ from
those on the original files are counted and reported. The run never sees labels. Files are made and predicted in batches, so
that memory stays bounded.

    runs/evaluations/<run>/robustness-valid/    or -test, -<data>-<fingerprint>; of a sample -valid-200
        settings.json                           the images, and the version of the perturbations
        cells/<perturbation>-<strength>.parquet       predictions of a finished cell; .json with the reason if there are none
        robustness.json                         scores, flips, tests
        done                                    written last

An interrupted sweep keeps its finished cells. A finished sweep with the same settings is reused. The test split is used only on
request, and recorded once in the ledger for a whole sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from tellapart.inference.context import DEFAULTS, Settings
from tellapart.perturbations._predict import Transform
from tellapart.perturbations.kinds import Perturbation, select_perturbations
from tellapart.perturbations.scores import Robustness, flip_share, retained_scores, score_robustness
from tellapart.runs import store
from tellapart.runs.ledger import test_openings
from tellapart.runs.store import Run
from tellapart.types import ImageTable, Predictions
from tellapart.workflows._evaluation_set import EvaluationSet, select_images
from tellapart.workflows._prediction_cache import (
    FILES,
    PredictionCache,
    lock_evaluation,
    read_result,
    require_predictions,
    stored_results,
)

#: The name of the predictions on the unperturbed images written as PNG.
CLEAN = "unperturbed"
_RESULT = "robustness.json"


def robustness(
    run: str | Path | Run, data: str | Path | ImageTable | None = None, *, open_test: bool = False,
    mapping: Mapping[str, str] | None = None, perturbations: Sequence[str] | None = None, sample: int | None = None,
    exclude_seen: bool = False, settings: Settings = DEFAULTS,
) -> Robustness:  # fmt: skip
    """Evaluate a run on perturbed images.

    Args:
        run: A run, a run id or its prefix, or a path.
        data: Other labeled images; None: the run's own. The run's own images at another location, or in memory, are accepted.
        open_test: Whether to use the test split of the run's own data instead of validation; recorded once in the ledger.
        mapping: Class names of `data` → class names of the run, where they differ.
        perturbations: Names, see `tellapart.perturbations.kinds`; None: all.
        sample: Number of images to draw with a fixed seed; None: all images.
        exclude_seen: Whether to leave out images of `data` that the run has seen, instead of raising; see `evaluate`.
        settings: Folders, device and progress.

    Raises:
        DataError: Unknown perturbation or class, images that cannot be decoded, an empty split.
        RunError: No such run, no such split, or its images are missing.
        Interrupted: Ctrl-C; finished cells are kept.
    """
    run = store.open_run(run, settings.runs, settings.images)
    selected = select_perturbations(perturbations)
    images = select_images(run, data, open_test, mapping or {}, exclude_seen, settings).sampled(sample)
    with lock_evaluation(run, "robustness", images, settings) as folder:
        return _Sweep(run, images, selected, folder, settings).result()


def stored(run: Run) -> list[Robustness]:
    """The finished sweeps of a run, sorted by folder."""
    return stored_results(run, "robustness", _RESULT, Robustness.from_dict)


class _Sweep:
    """One sweep: stored predictions, missing predictions, and the result."""

    def __init__(
        self, run: Run, images: EvaluationSet, perturbations: Sequence[Perturbation], folder: Path, settings: Settings
    ) -> None:
        self.run, self.images, self.folder = run, images, folder
        self.perturbations = {
            (perturbation.name, strength): perturbation for perturbation in perturbations for strength in perturbation.strengths
        }
        self.cache = PredictionCache(run, images, folder, settings, "cells", [_RESULT])

    def result(self) -> Robustness:
        """Read a stored result; otherwise predict what is missing, and compute and write the result."""
        before = self._stored()
        if before is not None and [(c.perturbation, c.strength) for c in before.cells] == list(self.perturbations):
            return before
        cells: dict[str, Transform | None] = {
            _name(key): _bound(perturbation, key[1]) for key, perturbation in self.perturbations.items()
        }
        self.cache.collect({FILES: None, CLEAN: None, **cells}, "robustness")
        found = self._evaluate()
        if before is None or {(c.perturbation, c.strength) for c in before.cells} <= set(self.perturbations):
            self.cache.finish(_RESULT, found.to_dict())  # a sweep of fewer perturbations does not replace a larger one
        return found

    def _stored(self) -> Robustness | None:
        if not self.cache.done:
            return None
        return read_result(self.folder, _RESULT, Robustness.from_dict, test_openings(self.run))

    def _evaluate(self) -> Robustness:
        files, clean = (require_predictions(self.run, self.cache.read(name)) for name in (FILES, CLEAN))
        cells = {key: self.cache.read(_name(key)) for key in self.perturbations}
        positive, images = self.run.positive, self.images
        recoded = flip_share(files, clean)
        return Robustness(
            run=self.run.id, data=images.rows.name if images.split == "other" else str(self.run.data["name"]),
            split=images.split, n=len(clean), total=images.total, classes=self.run.classes,
            clean=retained_scores(clean, positive),
            recoded=recoded, cells=score_robustness(clean, cells, positive), opened=test_openings(self.run),
            notes=tuple(self._notes(clean, round(recoded.value * recoded.n))), folder=self.folder,
        )  # fmt: skip

    def _notes(self, clean: Predictions, recoded: int) -> list[str]:
        notes = []
        if recoded:
            note = f"{recoded:,} of {len(clean):,} predictions change when the unperturbed images are only re-encoded as PNG"
            baseline = (
                ": the metadata baseline reads files, and here all files are PNG, or JPEG and WebP of these perturbations"
            )
            notes.append(note + (baseline if self.run.family == "metadata" else ""))
        predicted = np.unique(clean.predicted)
        if len(predicted) == 1:
            name = self.run.classes[predicted[0]]
            notes.append(f"all unperturbed images are predicted as {name}: the absence of flips is not informative")
        return notes + self.cache.notes(len(clean))


def _name(key: tuple[str, float]) -> str:
    """Name of the file of a cell."""
    return f"{key[0]}-{key[1]:g}"


def _bound(perturbation: Perturbation, strength: float) -> Callable[[np.ndarray, str], bytes]:
    return lambda pixels, name: perturbation.apply(pixels, strength, name)
