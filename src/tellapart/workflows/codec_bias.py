"""Codec bias or fragility: evaluate a finished run with the images of one class re-encoded, then of the other, then of both.

There are three transforms: PNG, which changes no pixel; JPEG of one quality; both sides scaled to 3/4 and back. Each image is
decoded at its original size, transformed, encoded as a file, and predicted like any other file. Inference only.

    runs/evaluations/<run>/bias-valid/       or -test, -<data>-<fingerprint>; of a sample -valid-200
        settings.json                        the images
        marks.parquet                        traces of JPEG in each original image
        answers/<transform>.parquet                .json with the reason if there are none
        bias.json                            shifts, scores, findings
        done                                 written last

A finished evaluation with the same settings is reused; an interrupted one keeps its finished transforms. The test split is used
only on request, and recorded once in the ledger.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tellapart.data.decode import decode, quiet
from tellapart.data.reader import ImageReader
from tellapart.errors import DataError
from tellapart.features._jpeg_traces import traces
from tellapart.inference.context import DEFAULTS, Settings
from tellapart.io import write_parquet
from tellapart.perturbations._predict import Transform
from tellapart.perturbations.codec_sensitivity import (
    COMPRESSED,
    FINDINGS,
    RESAVED,
    RESCALED,
    TRANSFORMS,
    CodecSensitivity,
    measure_sensitivity,
)
from tellapart.perturbations.kinds import PERTURBATIONS, as_png
from tellapart.recipe.schema import Inputs
from tellapart.regular_files import require_regular
from tellapart.runs import store
from tellapart.runs.ledger import test_openings
from tellapart.runs.store import Run
from tellapart.types import ImageTable, Score
from tellapart.workflows._evaluation_set import EvaluationSet, select_images
from tellapart.workflows._prediction_cache import (
    FILES,
    PredictionCache,
    lock_evaluation,
    read_result,
    require_predictions,
    stored_results,
)

#: The JPEG quality of most software that forwards images.
QUALITY = 75
SCALE = 0.75
_RESULT, _MARKS = "bias.json", "marks.parquet"


@dataclass(frozen=True)
class CodecBias:
    """The codec bias of a run.

    Attributes:
        run: Id of the run.
        data: Display name of the images.
        split: "valid" or "test" of the run's own data, or "other".
        n: Number of images.
        total: Number of images in the split; larger than n for a sample.
        quality: JPEG quality.
        classes: The positive one of two classes; of more classes each that occurs, against all others.
        unanswered: Transform → reason why the run cannot read such images.
        opened: How often the test split of the run's data has been opened.
        notes: Excluded images, and remarks.
        folder: The folder of predictions and results.
    """

    run: str
    data: str
    split: str
    n: int
    total: int
    quality: int
    classes: tuple[CodecSensitivity, ...]
    not_predicted: dict[str, str]
    opened: int
    notes: tuple[str, ...]
    folder: Path

    @property
    def worst_first(self) -> tuple[CodecSensitivity, ...]:
        """The classes, those that depend on the file or the codec first."""
        return tuple(sorted(self.classes, key=lambda one: FINDINGS.index(one.finding)))

    def text(self, transform: str) -> str:
        """Format a transform for display: "jpeg 75"."""
        return {RESAVED: "png", COMPRESSED: f"jpeg {self.quality}", RESCALED: f"scale {SCALE:g}"}[transform]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "run": self.run, "data": self.data, "split": self.split, "n": self.n, "available": self.total,
            "quality": self.quality, "classes": [one.to_dict() for one in self.classes], "not_predicted": self.not_predicted,
            "summary": describe(self),
            "test_opened": self.opened, "notes": list(self.notes), "folder": str(self.folder),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], folder: Path, opened: int) -> CodecBias:
        """Read what `to_dict` wrote; the folder and the ledger may have changed since."""
        return cls(
            content["run"], content["data"], content["split"], content["n"], content["available"], content["quality"],
            tuple(CodecSensitivity.from_dict(one) for one in content["classes"]), content["not_predicted"], opened,
            tuple(content["notes"]), folder,
        )  # fmt: skip


def codec_bias(
    run: str | Path | Run, data: str | Path | ImageTable | None = None, *, open_test: bool = False,
    mapping: Mapping[str, str] | None = None, quality: int = QUALITY, sample: int | None = None,
    exclude_seen: bool = False, settings: Settings = DEFAULTS,
) -> CodecBias:  # fmt: skip
    """Evaluate a run with the images of one class re-encoded, of the other, and of both.

    Args:
        run: A run, a run id or its prefix, or a path.
        data: Other labeled images; None: the run's own.
        open_test: Whether to use the test split of the run's own data instead of validation; recorded once in the ledger.
        mapping: Class names of `data` → class names of the run, where they differ.
        quality: JPEG quality, 1 to 100.
        sample: Number of images to draw with a fixed seed; None: all images.
        exclude_seen: Whether to leave out images of `data` that the run has seen, instead of raising; see `evaluate`.
        settings: Folders, device and progress.

    Raises:
        DataError: Images that cannot be decoded, an empty split, images of one class only.
        RunError: No such run, no such split, or its images are missing.
        Interrupted: Ctrl-C; finished transforms are kept.
    """
    if not 1 <= quality <= 100:
        raise DataError(f"expected a JPEG quality from 1 to 100, found {quality}", hint="the default is 75")
    run = store.open_run(run, settings.runs, settings.images)
    images = select_images(run, data, open_test, mapping or {}, exclude_seen, settings).sampled(sample)
    if len(set(images.rows.labels.tolist())) < 2:
        raise DataError(
            f"{images.rows.name}: expected images of at least two classes, found one", hint="pass images of two classes"
        )
    with lock_evaluation(run, "bias", images, settings) as folder:
        return _CodecBiasJob(run, images, quality, folder, settings).result()


def stored(run: Run) -> list[CodecBias]:
    """Stored evaluations of a run, sorted by folder."""
    return stored_results(run, "bias", _RESULT, CodecBias.from_dict)


class _CodecBiasJob:
    """One evaluation: stored predictions, missing predictions, and the result."""

    def __init__(self, run: Run, images: EvaluationSet, quality: int, folder: Path, settings: Settings) -> None:
        self.run, self.images, self.quality, self.folder, self.settings = run, images, quality, folder, settings
        self.cache = PredictionCache(run, images, folder, settings, "predictions", [_RESULT, _MARKS])
        self.names = {transform: f"{transform}-{quality}" if transform == COMPRESSED else transform for transform in TRANSFORMS}

    def result(self) -> CodecBias:
        """Read a stored result; otherwise predict what is missing, and compute and write the result."""
        if self.cache.done:
            before = read_result(self.folder, _RESULT, CodecBias.from_dict, test_openings(self.run))
            if before.quality == self.quality:
                return before
        jpeg, scale = PERTURBATIONS["jpeg"], PERTURBATIONS["scale"]
        made: dict[str, Transform] = {
            RESAVED: lambda pixels, _: as_png(pixels),
            COMPRESSED: lambda pixels, name: jpeg.apply(pixels, self.quality, name),
            RESCALED: lambda pixels, name: scale.apply(pixels, SCALE, name),
        }
        self.cache.collect(
            {FILES: None, **{self.names[transform]: made[transform] for transform in TRANSFORMS}}, "codec-bias", self._look
        )
        (self.folder / store.DONE).unlink(missing_ok=True)
        found = self._judged()
        self.cache.finish(_RESULT, found.to_dict())
        return found

    def _look(self, rows: ImageTable) -> None:
        """Store the amount of JPEG traces in every original image."""
        path = self.folder / _MARKS
        if path.exists():
            return
        limit, paths = Inputs.model_validate(self.run.recipe["inputs"]).max_pixels, rows.paths
        with (
            quiet(), ImageReader(rows) as reader, ThreadPoolExecutor(os.cpu_count() or 1) as pool,
            self.settings.progress.task("measuring traces of JPEG", len(rows), "img") as task,
        ):  # fmt: skip

            def one(row: int) -> float:
                pixels = decode(reader.get(paths[row]), mode="rgb", path=str(paths[row]), max_pixels=limit)
                task.advance()
                return float(traces(pixels)[0])

            found = pd.DataFrame({"id": rows.ids.astype(str), "mark": list(pool.map(one, range(len(rows))))})
        write_parquet(path, found)

    def _judged(self) -> CodecBias:
        run, images = self.run, self.images
        files = require_predictions(run, self.cache.read(FILES))
        answers = {transform: self.cache.read(name) for transform, name in self.names.items()}
        require_regular(self.folder / _MARKS)
        marks = pd.read_parquet(self.folder / _MARKS)["mark"].to_numpy(dtype=float)
        two = len(run.classes) == 2
        asked = [run.classes.index(run.positive or run.classes[1])] if two else sorted(set(files.labels.tolist()))
        return CodecBias(
            run=run.id, data=images.rows.name if images.split == "other" else str(run.data["name"]), split=images.split,
            n=len(files), total=images.total, quality=self.quality,
            classes=tuple(measure_sensitivity(files, answers, marks, label) for label in asked),
            not_predicted={transform: found for transform, found in answers.items() if isinstance(found, str)},
            opened=test_openings(run), notes=tuple(self.cache.notes(len(files))), folder=self.folder,
        )  # fmt: skip


def describe(found: CodecBias) -> str:
    """A plain sentence or two for each finding."""
    sentences, binary = [], len(found.classes) == 1
    for finding, words in _WORDS.items():
        own = [one for one in found.classes if one.finding == finding]
        if own:
            subject = "" if binary else f"{', '.join(one.name for one in own)}: "
            sentences.append(subject + words + _evidence(found, own[0], finding))
    return " ".join(sentences)


_WORDS = {
    "file": "The run depends on the file, not only on the pixels: a lossless copy of equal pixels changes its predictions",
    "codec": "The run depends on the codec: its predictions follow how an image was encoded",
    "suspect": "The run may depend on the codec: JPEG shifts predictions towards the class that is compressed more already",
    "fragile": "The run is fragile, without evidence that it depends on the codec: re-encoding the images lowers its accuracy",
    "steady": "The run is robust: neither JPEG nor rescaling lowers its accuracy by a relevant amount",
    "open": "Inconclusive: there are too few images, or groups of images, to rule out a loss of accuracy",
    "nothing": "Not applicable: the run does not separate the classes on the original files",
}


def _evidence(found: CodecBias, one: CodecSensitivity, finding: str) -> str:
    """The figures of one class that support a finding."""
    jpeg, scale, resaved = one.find(COMPRESSED), one.find(RESCALED), one.find(RESAVED)
    if finding == "file" and resaved is not None:
        return f" ({resaved.flips.value:.0%} of the predictions flip)."
    if finding == "codec" and jpeg is not None:
        parts = [f"as JPEG, images look {_towards(jpeg.direction, one)}"]
        parts += [f"rescaled, {_towards(scale.direction, one)}"] if scale is not None and scale.direction else []
        aurocs = ", ".join(f"{_condition(name, one)} {score.value:.3f}" for name, score in jpeg.aurocs.items())
        return f" ({'; '.join(parts)}; AUROC with JPEG for {aurocs})."
    if finding == "suspect" and jpeg is not None:
        what = f"as JPEG, images look {_towards(jpeg.direction, one)}; AUROC of earlier JPEG traces for {one.name}"
        advice = (
            "Features that compression destroys would look the same on these data: run `tellapart align`, then evaluate again"
        )
        return f" ({what} {one.compressed.value:.3f}). {advice}."
    if finding in ("fragile", "steady", "open"):
        changes = [
            f"{found.text(transform.transform)} {_change(transform.change)}"
            for transform in (jpeg, scale)
            if transform is not None
        ]
        return f" ({'; '.join(changes)} points of accuracy)."
    return "."


def _towards(direction: int, one: CodecSensitivity) -> str:
    return f"more like {one.name}" if direction > 0 else f"less like {one.name}"


def _condition(name: str, one: CodecSensitivity) -> str:
    return {"none": "none", "own": f"{one.name} only", "others": "the others only", "both": "both"}[name]


def _change(change: Score) -> str:
    """Format a change in percentage points, with its interval."""
    value, low, high = (f"{100 * of:+.1f}" for of in (change.value, change.low, change.high))
    return f"{value} [{low}, {high}]".replace("-", "−")
