"""Settings of the workflows, and the requirements of predictions with a finished run: classifier, device, context."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tellapart import registry
from tellapart.classifiers.base import Classifier, Context
from tellapart.data.cache import PixelCache
from tellapart.data.prepare import check_headers, decode_all
from tellapart.errors import RunError, TellapartError
from tellapart.progress import SILENT, Progress
from tellapart.recipe.load import Recipe, parse
from tellapart.runs import store
from tellapart.runs.store import Run
from tellapart.types import ImageTable, Predictions

_ACCELERATORS = ("nvidiactl", "nvhost-ctrl", "kfd", "dxg")  # NVIDIA, its Tegra, AMD, either in a virtual machine of Windows


@dataclass(frozen=True)
class Settings:
    """Settings that all workflows share.

    Attributes:
        runs: Folder of the runs.
        device: "auto", "cpu", "cuda", "mps", …
        seed: Random seed for the split.
        skip_bad: Exclude and report bad rows instead of stopping.
        split_from: A run whose split is reused.
        overwrite: Train again even if the run exists.
        progress: Progress display of long operations.
        loggers: Loggers that get every run in addition to the plain files: "tensorboard", "mlflow".
        verify_files: Read every file to identify it, also those that seem unchanged since they were read.
        images: Folder or archive of the images of a run that was trained elsewhere; None: images of such runs are not read.
    """

    runs: Path = Path("runs")
    device: str = "auto"
    seed: int = 0
    skip_bad: bool = False
    split_from: str | None = None
    overwrite: bool = False
    progress: Progress = SILENT
    loggers: tuple[str, ...] = ()
    verify_files: bool = False
    images: Path | None = None


DEFAULTS = Settings()


def predict_timed(classifier: Classifier, rows: ImageTable, run_id: str, context: Context) -> tuple[Predictions, float]:
    """Predictions, and their speed in images per second."""
    start = time.perf_counter()
    predictions = classifier.predict(rows, context, run_id)
    return predictions, len(rows) / max(time.perf_counter() - start, 1e-9)


def load_classifier(run: Run) -> Classifier:
    """The fitted classifier of a run."""
    resolved = parse(run.recipe, str(run.folder / "recipe.yaml"))
    family = registry.find("classifiers", resolved.classifier.family)
    try:
        return family.load(run.folder, resolved)
    except TellapartError:
        raise
    except Exception as error:  # damaged or missing files raise errors of many types, depending on the library
        hint = "copy the run again from its source, or train it again with --overwrite"
        raise RunError(f"{run.folder}: the classifier cannot be loaded ({error})", hint=hint) from error


def drop_unreadable(table: ImageTable, recipes: Iterable[Recipe], cache: PixelCache, *, skip_bad: bool) -> ImageTable:
    """The images that all recipes can read. Pixels are decoded unless only the metadata baseline, which reads headers, is used.

    Raises:
        CorruptImages: Some images cannot be read and `skip_bad` is not set.
    """
    needed = [r.inputs for r in recipes if r.classifier.family != "metadata"]
    return decode_all(table, needed, cache, skip_bad=skip_bad) if needed else check_headers(table, skip_bad=skip_bad)


def resolve_device(name: str) -> str:
    """The name of a device, with "auto" resolved: cuda, mps or cpu.

    torch takes seconds to import, so it is imported only if there may be an accelerator: a classical family needs none of it.
    """
    if name != "auto":
        return name
    if sys.platform == "linux" and not any(Path(f"/dev/{node}").exists() for node in _ACCELERATORS):
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def inference_context(settings: Settings) -> Context:
    """The context in which finished runs predict."""

    def parent(name: str) -> Any:
        return store.open_parent(name, settings.runs).folder

    return Context(PixelCache(progress=settings.progress), settings.progress, resolve_device(settings.device), parents=parent)
