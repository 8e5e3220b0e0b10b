"""The largest face of a picture, by one of two detectors of OpenCV.

haar: a frontal cascade that comes with OpenCV 4 (Viola & Jones 2001, "Rapid object detection using a boosted cascade of
simple features"; features of Lienhart & Maydt 2002). It knows upright faces seen from the front, of about 24 pixels and more.
yunet: Wu, Peng & Yu 2023, "YuNet: a tiny millisecond-level face detector", from a file on this machine; also faces from the
side.

Both look at the 8-bit picture, shrunk as far as the smallest face that counts still has `_LEAST` pixels.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.data.digest_store import FileState
from tellapart.data.regions import NOTHING
from tellapart.errors import DataError
from tellapart.io import expand
from tellapart.recipe.schema import FaceRegion
from tellapart.regular_files import read_bytes

_LEAST = 32  # pixels
#: Of 100 faces of scikit-image's `lfw_subset`, twice enlarged, it finds 98, and none in its 100 others; in 100 generated
#: pictures of animals, twice enlarged, it finds none. The `default` cascade: 94, none, 3.
_CASCADE = "haarcascade_frontalface_alt.xml"
_HAAR_SIDE = 20  # pixels: the window of the cascade
_STEP, _NEIGHBORS = 1.1, 5  # between two sizes of the window; windows that must agree
_SURE, _OVERLAP, _BEST = 0.9, 0.3, 50  # of YuNet: least score, overlap of two faces, faces kept: OpenCV's own but the last
#: Detectors that nobody uses now: each serves one thread at a time, and loading one takes tens of milliseconds.
_idle: defaultdict[str, list[Any]] = defaultdict(list)


def find_face(pixels: np.ndarray, rule: FaceRegion) -> np.ndarray:
    """Find the largest face.

    Args:
        pixels: (H, W, 3) uint8, RGB, upright.
        rule: Which detector, and what counts.

    Returns:
        (4,) float32, left, top, right and bottom in pixels; NaN where there is none.

    Raises:
        DataError: The detector cannot be loaded.
    """
    import cv2

    height, width = pixels.shape[:2]
    least = rule.smallest * min(height, width)
    shrink = min(1.0, _LEAST / least)
    size = (max(round(width * shrink), 1), max(round(height * shrink), 1))
    shown = pixels if shrink == 1 else cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    with _borrowed(rule) as detector:
        found = _haar(detector, shown, least * shrink) if rule.detector == "haar" else _yunet(detector, shown)
    found = found * np.array([width / size[0], height / size[1]] * 2)
    found = found[np.minimum(found[:, 2], found[:, 3]) >= least]
    if not len(found):
        return NOTHING
    left, top, wide, high = max(found.tolist(), key=lambda f: (f[2] * f[3], -f[1], -f[0]))
    return np.array([left, top, left + wide, top + high], dtype=np.float32)


def identity(rule: FaceRegion) -> str:
    """What decides where faces are found, as text: the detector's version and file, and what counts.

    Raises:
        DataError: The file is not there.
    """
    import cv2

    path = _file(rule)
    content = _digest(path, FileState.of(path.stat()))
    return f"{rule.detector} cv2-{cv2.__version__} {content} smallest {rule.smallest:g}/1"


def _haar(detector: Any, pixels: np.ndarray, least: float) -> np.ndarray:
    """(F, 4) left, top, width, height; `least`: pixels of the smallest face that counts."""
    import cv2

    if min(pixels.shape[:2]) < _HAAR_SIDE:
        return np.empty((0, 4))
    gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    side = max(int(least), _HAAR_SIDE)
    found = detector.detectMultiScale(gray, scaleFactor=_STEP, minNeighbors=_NEIGHBORS, minSize=(side, side))
    return np.asarray(found, dtype=np.float64).reshape(-1, 4)


def _yunet(detector: Any, pixels: np.ndarray) -> np.ndarray:
    """(F, 4) left, top, width, height."""
    detector.setInputSize((pixels.shape[1], pixels.shape[0]))
    found = detector.detect(np.ascontiguousarray(pixels[:, :, ::-1]))[1]
    return np.empty((0, 4)) if found is None else found[:, :4].astype(np.float64)


@contextlib.contextmanager
def _borrowed(rule: FaceRegion) -> Iterator[Any]:
    """A detector that nobody else uses meanwhile."""
    idle = _idle[identity(rule)]
    try:
        detector = idle.pop()
    except IndexError:
        detector = _load(rule)
    try:
        yield detector
    finally:
        idle.append(detector)


def _load(rule: FaceRegion) -> Any:
    import cv2

    path = _file(rule)
    try:
        if rule.detector == "haar":
            return cv2.CascadeClassifier(str(path))
        return cv2.FaceDetectorYN.create(str(path), "", (320, 320), _SURE, _OVERLAP, _BEST)
    except cv2.error as error:
        hint = "expected OpenCV's YuNet as an .onnx file, such as face_detection_yunet_2023mar.onnx"
        said = str(error).strip().splitlines()[0][:120]
        raise DataError(f"inputs.region.face.model: {path} cannot be read as YuNet ({said})", hint=hint) from None


def _file(rule: FaceRegion) -> Path:
    """Of the detector.

    Raises:
        DataError: It is not there.
    """
    import cv2

    if rule.detector == "haar":
        path = Path(cv2.__file__).parent / "data" / _CASCADE
        if not path.is_file():
            hint = "install OpenCV 4 (opencv-python-headless<5), which carries it, or choose detector: yunet"
            raise DataError(f"detector: haar: this OpenCV ({cv2.__version__}) has no {_CASCADE}", hint=hint)
        return path
    path = expand(rule.model or "")
    if not path.is_file():
        hint = "copy face_detection_yunet_2023mar.onnx of OpenCV's model zoo to this machine; nothing is downloaded"
        raise DataError(f"inputs.region.face.model: {path}: no such file", hint=hint)
    return path


@functools.cache
def _digest(path: Path, state: FileState) -> str:
    """Of a file in one state."""
    del state
    return hashlib.blake2b(read_bytes(path), digest_size=8).hexdigest()
