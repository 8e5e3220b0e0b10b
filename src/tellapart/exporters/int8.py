"""Quantize a graph to int8: smaller, on some machines faster, never quite equal; the loss is measured before it is written.

Static quantization by ONNX Runtime in QDQ format: weights per channel, activations by the minimum and maximum over training
images. Weights use seven of the eight bits, since processors without VNNI overflow with eight. The preprocessing and everything
after the softmax stay float32.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.data.cache import DecodedImages, PixelCache
from tellapart.data.decode import target_size
from tellapart.errors import RunError
from tellapart.exporters.onnx_graph import pixel_names, quiet_exporter
from tellapart.exporters.onnx_session import Session
from tellapart.metrics.mcnemar import Comparison, compare, describe
from tellapart.progress import Progress
from tellapart.recipe.schema import Inputs
from tellapart.runs.store import Run
from tellapart.types import ImageTable, Predictions

#: Maximum loss of accuracy on validation: in any case, and if the paired test is significant.
WORST, WORST_REAL = 0.02, 0.01
_QUANTIZED = ["Conv", "Gemm", "MatMul"]
_PIXELS = 32 * 224 * 224  # maximum size of a batch


@dataclass(frozen=True, eq=False)
class Int8Result:
    """A quantized graph and its loss.

    Attributes:
        model: onnx.ModelProto, a core.
        images: Number of training images for calibration.
        accuracy: Accuracy of the quantized graph on validation.
        comparison: The float32 graph (A) against the quantized one (B) on validation.
        changed: Fraction of the validation images with another prediction.
        largest: The largest difference of a probability there.
    """

    model: Any
    images: int
    accuracy: float
    comparison: Comparison
    changed: float
    largest: float

    @property
    def in_words(self) -> str:
        """The loss as a sentence."""
        return describe("float32", "int8", self.comparison)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "calibration_images": self.images, "valid_accuracy": self.accuracy, "loss": self.comparison.difference.to_dict(),
            "test": self.comparison.test.to_dict(), "predictions_changed": self.changed, "largest_difference": self.largest,
            "summary": self.in_words,
        }  # fmt: skip


def quantize_int8(
    model: Any, inputs: Sequence[Inputs], run: Run, count: int, cache: PixelCache, progress: Progress
) -> Int8Result:
    """Quantize a core and measure the loss.

    Args:
        model: The core, float32; not changed.
        inputs: Inputs of the core.
        run: The run; its training split calibrates, its validation split measures the loss.
        count: Maximum number of training images, evenly spaced over the split.
        cache: Source of decoded images.
        progress: Progress display.

    Raises:
        RunError: There are no validation predictions to compare with, it cannot be quantized, or the loss is too large.
        CorruptImages: The images were moved, or are damaged.
    """
    answers = run.predictions("valid")
    if answers is None or not len(answers):
        raise RunError(f"{run.id} has no predictions on a validation split, so the loss of int8 cannot be measured")
    table = run.table()
    train, valid = _of_ids(table, table.where(split="train").ids, count), _of_ids(table, answers.ids, len(answers))
    if not len(train):
        raise RunError(f"{run.id} has no training images to calibrate int8 on")
    quantized = _quantized(model, _batches([cache.images(train, one) for one in inputs], inputs))
    asked = [cache.images(valid, one) for one in inputs]
    full, small = (
        _answers(one, asked, inputs, replace(answers, run_id=name), progress)
        for one, name in ((model, "float32"), (quantized, "int8"))
    )
    result = Int8Result(
        quantized, len(train), float(np.mean(small.predicted == small.labels)), compare(full, small),
        float(np.mean(small.predicted != full.predicted)), float(np.abs(small.proba - full.proba).max()),
    )  # fmt: skip
    refuse_loss(result, run.id)
    return result


def _answers(
    model: Any, images: Sequence[DecodedImages], inputs: Sequence[Inputs], stored: Predictions, progress: Progress
) -> Predictions:
    """Predictions of a core on the validation split; the stored ones of a calibrated run are cross-fitted."""
    session, found = Session(model.SerializeToString(), stored.run_id), []
    with progress.task(f"predicting validation in {stored.run_id}", len(stored), "img") as task:
        for batch in _batches(images, inputs):
            found.append(session.run(batch))
            task.advance(len(found[-1]))
    return replace(stored, proba=np.concatenate(found))


def refuse_loss(found: Int8Result, whose: str) -> None:
    """Raise RunError if too much accuracy is lost."""
    lost, real = found.comparison.difference.value, found.comparison.test.a_is_better
    if lost > WORST or (real and lost > WORST_REAL):
        limits = f"at most {100 * WORST:g} points may be lost, and {100 * WORST_REAL:g} if the loss is significant"
        raise RunError(
            f"{whose} in int8 loses {100 * lost:.1f} points of accuracy on validation; {limits}. {found.in_words}",
            hint="export without --int8, or pass a larger --calibration-images",
        )


def _of_ids(table: ImageTable, ids: np.ndarray, count: int) -> ImageTable:
    """Rows of these ids, in their order; at most `count`, evenly spaced."""
    place = {name: row for row, name in enumerate(table.ids)}
    chosen = np.unique(np.linspace(0, len(ids) - 1, min(len(ids), count)).astype(np.int64)) if len(ids) else []
    return table.take(np.array([place[ids[row]] for row in chosen], dtype=np.int64))


def _batches(images: Sequence[DecodedImages], inputs: Sequence[Inputs]) -> Iterator[dict[str, np.ndarray]]:
    """Inputs of the core: name → (B, H, W, C) uint8."""
    size = max(1, min(64, _PIXELS // max(height * width for height, width in map(target_size, inputs))))
    names = pixel_names(inputs)
    for start in range(0, len(images[0]), size):
        yield {name: one.get(slice(start, start + size)) for name, one in zip(names, images, strict=True)}


def _quantized(model: Any, batches: Iterator[Mapping[str, np.ndarray]]) -> Any:
    """Quantize with the tools of ONNX Runtime, which work on files."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def get_next(self) -> Any:
            return next(batches, None)

    with tempfile.TemporaryDirectory(prefix="tellapart-int8-") as name, quiet_exporter():
        given, ready, done = (Path(name) / f"{stage}.onnx" for stage in ("given", "ready", "done"))
        onnx.save(model, given)
        try:
            quant_pre_process(given, ready, skip_symbolic_shape=True)
            quantize_static(
                ready, done, Reader(), quant_format=QuantFormat.QDQ, op_types_to_quantize=_QUANTIZED, per_channel=True,
                reduce_range=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                nodes_to_exclude=_double(onnx.load(ready)),
            )  # fmt: skip
            return onnx.load(done)
        except Exception as error:  # the tools raise errors of many types
            raise RunError(f"ONNX Runtime cannot quantize this graph ({str(error).strip()[:200]})") from error


def _double(model: Any) -> list[str]:
    """Matrix products in double precision, which are those of calibration maps and combiners."""
    from onnx import TensorProto

    double = {one.name for one in model.graph.initializer if one.data_type == TensorProto.DOUBLE}
    return [node.name for node in model.graph.node if node.op_type in _QUANTIZED and double.intersection(node.input)]
