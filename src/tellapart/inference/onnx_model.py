"""The ONNX model of a run without preprocessing ("core"), exported once, checked for parity, and cached beside the runs.

    runs/exports/<run>/core.onnx     used by `predict` and `serve` on a CPU
    runs/exports/<run>/core.json     run, versions, signature, and the parity check; written last

A core is reused while tellapart and ONNX Runtime are those that it was made with, and it bears the signature of this user over
the graph and the weights of the run and its parents (`runs.origin`); else it is exported again. So nobody else's graph is run.
A second process waits for the first. The folder may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tellapart.classifiers.base import Classifier, Context
from tellapart.data.cache import PixelCache
from tellapart.data.decode import decode_to, quiet
from tellapart.data.memory import from_arrays
from tellapart.errors import RunError
from tellapart.exporters.onnx_graph import export_graph, package_version, pixel_names, refuse_regions, require
from tellapart.exporters.onnx_session import Session
from tellapart.inference.context import Settings, load_classifier
from tellapart.io import write_bytes_atomically, write_json
from tellapart.plain_data import read_json
from tellapart.recipe.schema import Inputs
from tellapart.regular_files import read_bytes, read_text
from tellapart.runs import origin, store
from tellapart.runs.store import Run

if TYPE_CHECKING:
    from tellapart.exporters.parity import Ask

CORE, ABOUT = "core.onnx", "core.json"
#: Files of a run that decide what it predicts, by their ending, less those that only describe it.
_DEFINING = (".safetensors", ".skops", ".yaml", ".json")
_RESULTS = ("scores.json", "environment.json", "data.json")


@dataclass(frozen=True, eq=False)
class OnnxModel:
    """A core that passed the parity check.

    Attributes:
        inputs: Resolved `inputs` section for each input of the graph.
        session: The loaded graph.
    """

    inputs: tuple[Inputs, ...]
    session: Session

    def run(self, batch: np.ndarray) -> np.ndarray:
        """(B, H, W, 3) uint8 of any one size → (B, classes) float32, decoded as the cache decodes."""
        with quiet():
            pixels = [np.stack([decode_to(image, one) for image in batch]) for one in self.inputs]
        return self.session.run(dict(zip(pixel_names(self.inputs), pixels, strict=True)))


def cached_onnx(run: Run, settings: Settings) -> OnnxModel:
    """The core of a run, exported now if it is not cached.

    Raises:
        RunError: The run cannot be exported, or the graph differs from torch.
        SystemLimitError: onnx or ONNX Runtime is not installed; no space, or no permission to write beside the runs.
    """
    require()
    home = run.runs / "exports"
    if (found := _read(home / run.id, run)) is not None:
        return found
    say = settings.progress.say
    with store.lock_run(home, run.id, lambda: say(f"  waiting for another process to finish exporting {run.id}")) as folder:
        found = _read(folder, run)  # another process may have exported it in the meantime
        if found is None:
            classifier = load_classifier(run)
            context = memory_context(settings)
            refuse_regions([classifier.recipe.inputs])  # before the seconds that tracing takes
            found = _make(folder, run, classifier, context)
            say(f"  exported {run.id} for ONNX Runtime, once, to {folder}")
        return found


def is_cached(run: Run) -> bool:
    """Whether the core of a run is exported, intact and up to date."""
    return _read(run.runs / "exports" / run.id, run) is not None


def memory_context(settings: Settings) -> Context:
    """A context in which classifiers predict images in memory and find their parent runs."""
    return Context(PixelCache(), parents=lambda name: store.open_parent(name, settings.runs).folder)


def reference(classifier: Classifier, context: Context) -> Ask:
    """Prediction by torch: (B, H, W, 3) uint8 → (B, C) float32."""

    def ask(batch: np.ndarray) -> np.ndarray:
        return classifier.predict(from_arrays(batch, [-1] * len(batch), classifier.classes), context).proba

    return ask


def trace_model(classifier: Classifier, context: Context, whose: str = "") -> tuple[Any, tuple[Inputs, ...]]:
    """Export the core of a classifier: (onnx.ModelProto, its inputs).

    Raises:
        RunError: The run cannot be exported; the message starts with `whose`.
    """
    from tellapart.classifiers.base import as_module

    module = as_module(classifier, context, whose)
    refuse_regions(module.inputs)
    return export_graph(module), module.inputs


def key(run: Run) -> dict[str, Any]:
    """Dependencies of a core: finish times of the run and its parents, and the versions of tellapart and ONNX Runtime."""
    finished = {one.id: read_text(one.folder / store.DONE, 10_000).strip() for one in _with_parents(run)}
    return {"runs": finished, "tellapart": package_version("tellapart"), "onnxruntime": package_version("onnxruntime")}


def _make(folder: Path, run: Run, classifier: Classifier, context: Context) -> OnnxModel:
    from tellapart.exporters.parity import check_parity, golden_images

    model, inputs = trace_model(classifier, context, f"{run.id}: ")
    content = model.SerializeToString()
    found = OnnxModel(inputs, Session(content, run.id))
    parity = check_parity(found.run, reference(classifier, context), golden_images(inputs)[1::3], run.id)
    write_bytes_atomically(folder / CORE, content, durable=False)
    stated = [one.model_dump(mode="json") for one in inputs]
    about = {
        "key": key(run), "signature": origin.sign(*_signed(run, content, stated)), "inputs": stated,
        "parity": parity.to_dict(),
    }  # fmt: skip
    write_json(folder / ABOUT, about)
    return found


def _read(folder: Path, run: Run) -> OnnxModel | None:
    """The cached core, if it is intact and up to date; else None."""
    if not (folder / ABOUT).exists():
        return None
    try:
        about, content = read_json(folder / ABOUT), read_bytes(folder / CORE)
        if about["key"] != key(run) or not origin.is_signed(str(about["signature"]), *_signed(run, content, about["inputs"])):
            return None
        inputs = tuple(Inputs.model_validate(one) for one in about["inputs"])
        return OnnxModel(inputs, Session(content, run.id))
    except (OSError, RunError, KeyError, TypeError, ValueError):  # damaged: it is only a cache, and exported again
        return None


def _with_parents(run: Run) -> list[Run]:
    """The run and all runs that it is made of, each once; missing ones raise when the run is loaded."""
    found: dict[str, Run] = {}
    waiting: Sequence[Run] = [run]
    while waiting:
        found |= {one.id: one for one in waiting}
        names = [str(parent) for one in waiting for parent in one.data.get("parents", ())]
        folders = [run.runs / name.rpartition("@")[0] if "@" in name else run.runs / name for name in names]
        waiting = [Run(folder) for folder in folders if folder.name not in found and (folder / store.DONE).exists()]
    return list(found.values())


def _signed(run: Run, content: bytes, inputs: Any) -> Iterator[bytes]:
    """What a signature of a core covers: the graph, its inputs, and the files of the run and its parents that define them."""
    yield b"core"
    yield hashlib.sha256(content).digest()
    yield json.dumps(inputs, sort_keys=True).encode()
    for one in _with_parents(run):
        for path in sorted(path for path in one.folder.iterdir() if path.suffix in _DEFINING and path.name not in _RESULTS):
            yield f"{one.id}/{path.name}".encode("utf-8", "surrogatepass")
            yield origin.digest_file(path)
