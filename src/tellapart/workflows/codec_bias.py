"""Bias or fragility? A finished run is asked again about its images, one class written anew, then the other, then both.

Three ways of writing anew: PNG, which changes no pixel; JPEG of one quality; both sides scaled to 3/4 and back. Each image is
decoded at its own size, changed, written as a file, and answered as if it had been found like that. Inference only.

    runs/evaluations/<run>/bias-valid/       or -test, -<data>-<fingerprint>; of a sample -valid-200
        settings.json                        which images
        marks.parquet                        traces of JPEG in each image as it is
        answers/<way>.parquet                .json where the run cannot answer, with the reason
        bias.json                            shifts, scores, verdicts
        done                                 last of all

What is there with the same settings is read; what was cut off keeps its finished ways. The test part is answered only when it
is opened, once in the ledger.
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
from tellapart.io import atomic_path, read_json
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
from tellapart.runs import store
from tellapart.runs.ledger import test_openings
from tellapart.runs.store import Run
from tellapart.types import ImageTable, Score
from tellapart.workflows._evaluation_set import EvaluationSet, select_images
from tellapart.workflows._prediction_cache import FILES, PredictionCache, require_predictions, stored_results

#: As most software that passes pictures on writes JPEG.
QUALITY = 75
SCALE = 0.75
_RESULT, _MARKS = "bias.json", "marks.parquet"


@dataclass(frozen=True)
class CodecBias:
    """What a run depends on.

    Attributes:
        run: Its id.
        data: What a person calls the images.
        part: "valid" or "test" of the run's own data, or "other".
        n: Images asked about.
        of: Images in the part: more than n in a sample.
        quality: Of the JPEGs.
        classes: Of two classes the positive one; of more, each that occurs: against all others.
        unanswered: Way → why the run cannot read images written so.
        opened: How often the test part of the run's data has been opened.
        notes: What was left out, and what to think of it.
        folder: Where all is kept.
    """

    run: str
    data: str
    split: str
    n: int
    total: int
    quality: int
    classes: tuple[CodecSensitivity, ...]
    unanswered: dict[str, str]
    opened: int
    notes: tuple[str, ...]
    folder: Path

    @property
    def worst_first(self) -> tuple[CodecSensitivity, ...]:
        """The classes, those that follow the file or the codec first."""
        return tuple(sorted(self.classes, key=lambda one: FINDINGS.index(one.finding)))

    def text(self, way: str) -> str:
        """A way as a person reads it: "jpeg 75"."""
        return {RESAVED: "png", COMPRESSED: f"jpeg {self.quality}", RESCALED: f"scale {SCALE:g}"}[way]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "run": self.run, "data": self.data, "part": self.split, "n": self.n, "of": self.total, "quality": self.quality,
            "classes": [one.to_dict() for one in self.classes], "unanswered": self.unanswered, "summary": describe(self),
            "test_opened": self.opened, "notes": list(self.notes), "folder": str(self.folder),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], folder: Path, opened: int) -> CodecBias:
        """Read what `to_dict` wrote; the folder and the ledger may have changed since."""
        return cls(
            content["run"], content["data"], content["part"], content["n"], content["of"], content["quality"],
            tuple(CodecSensitivity.from_dict(one) for one in content["classes"]), content["unanswered"], opened,
            tuple(content["notes"]), folder,
        )  # fmt: skip


def codec_bias(
    run: str | Path | Run, data: str | Path | ImageTable | None = None, *, open_test: bool = False,
    mapping: Mapping[str, str] | None = None, quality: int = QUALITY, sample: int | None = None, settings: Settings = DEFAULTS,
) -> CodecBias:  # fmt: skip
    """Ask a run about images of one class written anew, of the other, and of both.

    Args:
        run: A run, an id, the beginning of one, or a path.
        data: Other labeled images; None: the run's own.
        open_test: Of the run's own data, the test part instead of validation; counted in the ledger, once.
        mapping: From class names of `data` to those of the run, where they differ.
        quality: Of the JPEGs, 1 to 100.
        sample: Only so many images, drawn by a fixed seed; None: all of them.
        settings: Where and how.

    Raises:
        DataError: Images that cannot be decoded, an empty part, images of one class only.
        RunError: No such run, no such part, or its images are gone.
        Interrupted: Ctrl-C; finished ways are kept.
    """
    if not 1 <= quality <= 100:
        raise DataError(f"the quality of JPEG is {quality}, expected 1 to 100", hint="75 is usual")
    run = store.open_run(run, settings.runs)
    images = select_images(run, data, open_test, mapping or {}, settings).sampled(sample)
    if len(set(images.rows.labels.tolist())) < 2:
        raise DataError(f"{images.rows.name}: images of one class only: nothing to tell apart", hint="give images of two")
    place = f"evaluations/{run.id}/bias-{images.folder_name}"
    with store.lock_run(run.runs, place, lambda: settings.progress.say("  waiting: another process asks the same")) as folder:
        return _CodecBiasJob(run, images, quality, folder, settings).result()


def stored(run: Run) -> list[CodecBias]:
    """What a run was asked before, by the name of the folders."""
    return [CodecBias.from_dict(*found) for found in stored_results(run, "bias", _RESULT)]


class _CodecBiasJob:
    """What is there already, what is missing, and the result of both."""

    def __init__(self, run: Run, images: EvaluationSet, quality: int, folder: Path, settings: Settings) -> None:
        self.run, self.images, self.quality, self.folder, self.settings = run, images, quality, folder, settings
        self.cache = PredictionCache(run, images, folder, settings, "answers", [_RESULT, _MARKS])
        self.names = {way: f"{way}-{quality}" if way == COMPRESSED else way for way in TRANSFORMS}

    def result(self) -> CodecBias:
        """Read where it is there; else what is missing is asked for, and all is judged and written."""
        if self.cache.done:
            before = CodecBias.from_dict(read_json(self.folder / _RESULT), self.folder, test_openings(self.run))
            if before.quality == self.quality:
                return before
        jpeg, scale = PERTURBATIONS["jpeg"], PERTURBATIONS["scale"]
        made: dict[str, Transform] = {
            RESAVED: lambda pixels, _: as_png(pixels),
            COMPRESSED: lambda pixels, name: jpeg.apply(pixels, self.quality, name),
            RESCALED: lambda pixels, name: scale.apply(pixels, SCALE, name),
        }
        self.cache.collect({FILES: None, **{self.names[way]: made[way] for way in TRANSFORMS}}, "evaluate --bias", self._look)
        (self.folder / store.DONE).unlink(missing_ok=True)
        found = self._judged()
        self.cache.finish(_RESULT, found.to_dict())
        return found

    def _look(self, rows: ImageTable) -> None:
        """Keep how much every image, as it is, tells of an earlier JPEG."""
        path = self.folder / _MARKS
        if path.exists():
            return
        limit, paths = Inputs.model_validate(self.run.recipe["inputs"]).max_pixels, rows.paths
        with (
            quiet(), ImageReader(rows) as reader, ThreadPoolExecutor(os.cpu_count() or 1) as pool,
            self.settings.progress.task("looking for traces of JPEG", len(rows), "img") as task,
        ):  # fmt: skip

            def one(row: int) -> float:
                pixels = decode(reader.get(paths[row]), mode="rgb", path=str(paths[row]), max_pixels=limit)
                task.advance()
                return float(traces(pixels)[0])

            found = pd.DataFrame({"id": rows.ids.astype(str), "mark": list(pool.map(one, range(len(rows))))})
        with atomic_path(path, durable=False) as temporary:
            found.to_parquet(temporary, index=False)

    def _judged(self) -> CodecBias:
        run, images = self.run, self.images
        files = require_predictions(run, self.cache.read(FILES))
        answers = {way: self.cache.read(name) for way, name in self.names.items()}
        marks = pd.read_parquet(self.folder / _MARKS)["mark"].to_numpy(dtype=float)
        two = len(run.classes) == 2
        asked = [run.classes.index(run.positive or run.classes[1])] if two else sorted(set(files.labels.tolist()))
        return CodecBias(
            run=run.id, data=images.rows.name if images.split == "other" else str(run.data["name"]), split=images.split,
            n=len(files), total=images.total, quality=self.quality,
            classes=tuple(measure_sensitivity(files, answers, marks, label) for label in asked),
            unanswered={way: found for way, found in answers.items() if isinstance(found, str)},
            opened=test_openings(run), notes=tuple(self.cache.notes(len(files))), folder=self.folder,
        )  # fmt: skip


# --- in words ---------------------------------------------------------------------------------------------------------


def describe(found: CodecBias) -> str:
    """A plain sentence or two for each verdict."""
    said, two = [], len(found.classes) == 1
    for verdict, words in _WORDS.items():
        own = [one for one in found.classes if one.finding == verdict]
        if own:
            subject = "" if two else f"{', '.join(one.name for one in own)}: "
            said.append(subject + words + _evidence(found, own[0], verdict))
    return " ".join(said)


_WORDS = {
    "file": "The run reads the file, not only the picture: a lossless copy, not one pixel changed, moves its answers",
    "codec": "The run reads the codec: what it says follows how a picture was written",
    "suspect": "The run may read the codec: JPEG makes pictures look like the class that was compressed more to begin with",
    "fragile": "The run is fragile, but nothing shows that it follows the codec: pictures written anew cost it right answers",
    "steady": "The run holds: neither JPEG nor rescaling costs it right answers worth speaking of",
    "open": "Nothing is sure: there are too few images, or groups of them, to rule a loss out",
    "nothing": "The run does not tell the classes apart here to begin with, so nothing can be said",
}


def _evidence(found: CodecBias, one: CodecSensitivity, verdict: str) -> str:
    """The figures of one class that a verdict stands on."""
    jpeg, scale, resaved = one.find(COMPRESSED), one.find(RESCALED), one.find(RESAVED)
    if verdict == "file" and resaved is not None:
        return f" ({resaved.flips.value:.0%} of the verdicts turn)."
    if verdict == "codec" and jpeg is not None:
        parts = [f"as JPEG pictures look {_towards(jpeg.direction, one)}"]
        parts += [f"rescaled, {_towards(scale.direction, one)}"] if scale is not None and scale.direction else []
        aurocs = ", ".join(f"{_condition(name, one)} {score.value:.3f}" for name, score in jpeg.aurocs.items())
        return f" ({'; '.join(parts)}; AUROC with JPEG for {aurocs})."
    if verdict == "suspect" and jpeg is not None:
        what = f"as JPEG pictures look {_towards(jpeg.direction, one)}; AUROC of old JPEG traces for {one.name}"
        advice = "Something else that compression destroys would look the same on these data: `tellapart align` them, then ask"
        return f" ({what} {one.compressed.value:.3f}). {advice} again."
    if verdict in ("fragile", "steady", "open"):
        changes = [f"{found.text(way.transform)} {_change(way.change)}" for way in (jpeg, scale) if way is not None]
        return f" ({'; '.join(changes)} points of right answers)."
    return "."


def _towards(push: int, one: CodecSensitivity) -> str:
    return f"more like {one.name}" if push > 0 else f"less like {one.name}"


def _condition(name: str, one: CodecSensitivity) -> str:
    return {"none": "none", "own": f"{one.name} only", "others": "the others only", "both": "both"}[name]


def _change(change: Score) -> str:
    """In points, with its interval."""
    value, low, high = (f"{100 * of:+.1f}" for of in (change.value, change.low, change.high))
    return f"{value} [{low}, {high}]".replace("-", "−")
