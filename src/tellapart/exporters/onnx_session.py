"""Run an ONNX graph with ONNX Runtime on the CPU."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any, final

import numpy as np

from tellapart.errors import RunError
from tellapart.exporters.onnx_graph import PROBABILITIES


@final
class Session:
    """A loaded graph.

    Args:
        model: The serialized onnx.ModelProto.
        whose: Name of the graph in errors.
    """

    def __init__(self, model: bytes, whose: str) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads()
        # idle threads spin for this long, enough between two operators, then sleep: decoders need their cores
        options.add_session_config_entry("session.intra_op.spin_duration_us", "200")
        options.log_severity_level = 3  # errors only; warnings about single nodes are not useful
        self.whose = whose
        try:
            self._session: Any = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's own exceptions have no common base
            raise RunError(f"{whose}: ONNX Runtime cannot read this graph ({_first_line(error)})") from error

    @property
    def inputs(self) -> dict[str, list[Any]]:
        """Name → dimensions: numbers, or names for those that are free."""
        return {one.name: one.shape for one in self._session.get_inputs()}

    def run(self, batches: Mapping[str, np.ndarray]) -> np.ndarray:
        """Name → (B, H, W, C) uint8; (B, classes) float32.

        Raises:
            RunError: ONNX Runtime fails, for example on images of another size.
        """
        try:
            return np.asarray(self._session.run([PROBABILITIES], dict(batches))[0])
        except Exception as error:  # as above
            raise RunError(f"{self.whose}: ONNX Runtime failed ({_first_line(error)})") from error


def threads() -> int:
    """Number of threads: OMP_NUM_THREADS, else the setting of torch, else the cores that this process may use."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdigit() and int(told):
        return int(told)
    if "torch" in sys.modules:
        return int(sys.modules["torch"].get_num_threads())
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
