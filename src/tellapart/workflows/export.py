"""Export a finished run to a folder that can be used without tellapart."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tellapart.classifiers.base import as_module
from tellapart.data.cache import PixelCache
from tellapart.errors import RunError, SystemLimitError
from tellapart.exporters._onnx_builder import OPSET
from tellapart.exporters.hub import config, metadata, preprocessor, readme, weights
from tellapart.exporters.int8 import Int8Result, quantize_int8
from tellapart.exporters.onnx_graph import IMAGES, describe, package_version, require, with_preprocessing
from tellapart.exporters.onnx_session import Session
from tellapart.exporters.parity import Parity, check_parity, golden_images
from tellapart.inference.context import DEFAULTS, Settings, load_classifier
from tellapart.inference.onnx_model import memory_context, reference, trace_model
from tellapart.io import atomic_folder, write_bytes_atomically
from tellapart.os_errors import translate_os_errors
from tellapart.progress import Task
from tellapart.recipe.schema import Inputs
from tellapart.runs import store
from tellapart.runs.store import Run

MODEL, EIGHT, PROOF = "model.onnx", "model.int8.onnx", "parity.json"


@dataclass(frozen=True)
class Exported:
    """An exported folder.

    Attributes:
        run: Id of the run.
        folder: The folder.
        files: File name → bytes.
        parity: Result of the parity check of model.onnx.
        opset: Version of the ONNX operators.
        int8: What eight bits cost, as plain values; None where they were not asked for.
    """

    run: str
    folder: Path
    files: dict[str, int]
    parity: Parity
    opset: int
    int8: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "run": self.run, "folder": str(self.folder), "files": self.files, "opset": self.opset,
            "parity": self.parity.to_dict(), "int8": self.int8,
        }  # fmt: skip


def export(
    run: str | Path | Run, out: str | Path | None = None, *, int8: bool = False, calibration_images: int = 256,
    settings: Settings = DEFAULTS,
) -> Exported:  # fmt: skip
    """Export a run as an ONNX graph with weights, configuration and card, after checking that it predicts as the run does.

    Args:
        run: A run, its id, the beginning of its id, or its path: a network on images, or a calibration or ensemble of such.
        out: The folder; None: `exported/<run id>`. An earlier export there is replaced, anything else is not touched.
        int8: Also a graph in eight bits, whose loss of accuracy is measured on the validation part.
        calibration_images: Maximum number of training images for the calibration of int8.
        settings: Where the runs are, and where to report.

    Raises:
        RunError: No such run; it has no graph; the graph answers otherwise than torch; int8 loses too much.
        SystemLimitError: onnx or ONNX Runtime is not installed; no room or no permission.
        CorruptImages: int8 was asked for, and images of the run were moved or are damaged.
    """
    require()
    run = store.open_run(run, settings.runs, settings.images)
    folder = Path(out) if out is not None else Path("exported") / run.id
    _refuse_others(folder)
    with settings.progress.task(f"exporting {run.id}", 4, "step") as task:
        files, parity, eight = _made(run, int8, calibration_images, settings, task)
        with translate_os_errors(folder, writes_only=False), atomic_folder(folder) as beside:
            for name, content in files.items():
                write_bytes_atomically(beside / name, content, durable=True)
        task.advance(note="written")
    sizes = {name: len(content) for name, content in files.items()}
    return Exported(run.id, folder, sizes, parity, OPSET, None if eight is None else eight.to_dict())


def _made(
    run: Run, int8: bool, count: int, settings: Settings, task: Task
) -> tuple[dict[str, bytes], Parity, Int8Result | None]:
    """Name → content of every file. Raises if the parity check fails."""
    from safetensors.torch import save

    classifier, context = load_classifier(run), memory_context(settings)
    core, inputs = trace_model(classifier, context, f"{run.id}: ")
    task.advance(note="traced")
    facts = metadata(run, classifier)
    files = {MODEL: _serialized(core, inputs, facts)}
    session = Session(files[MODEL], run.id)
    parity = check_parity(
        lambda batch: session.run({IMAGES: batch}), reference(classifier, context), golden_images(inputs), run.id
    )
    task.advance(note="proved")
    eight = quantize_int8(core, inputs, run, count, PixelCache(progress=settings.progress), settings.progress) if int8 else None
    task.advance(note="int8" if eight else "")
    if eight:
        files[EIGHT] = _serialized(eight.model, inputs, facts | {"precision": "int8"})
    module = as_module(classifier, context)
    versions = {package: package_version(package) for package in ("tellapart", "torch", "onnx", "onnxruntime", "pillow")}
    proof = parity.to_dict() | {"opset": OPSET, "versions": versions, "int8": eight.to_dict() if eight else None}
    files["model.safetensors"] = save(weights(module), metadata={"format": "pt"})
    files["config.json"] = _as_json(config(run, classifier))
    files["preprocessor_config.json"] = _as_json(preprocessor(module))
    files[PROOF] = _as_json(proof)
    files["README.md"] = readme(run, inputs, parity, eight).encode()
    return files, parity, eight


def _serialized(core: Any, inputs: Sequence[Inputs], facts: dict[str, str]) -> bytes:
    model = with_preprocessing(core, inputs)
    describe(model, facts)
    return model.SerializeToString()


def _as_json(content: Any) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _refuse_others(folder: Path) -> None:
    """Refuse, before the work, an existing folder that is neither an earlier export nor empty."""
    if folder.exists() and not (folder.is_dir() and ((folder / PROOF).exists() or not any(folder.iterdir()))):
        raise RunError(f"{folder} exists and is not an earlier export", hint="choose another folder with -o")
    near = next((one for one in (folder, *folder.absolute().parents) if one.exists()), Path("/"))
    if not os.access(near, os.W_OK):
        raise SystemLimitError(f"{near}: no permission to write here", hint="choose another folder with -o")
