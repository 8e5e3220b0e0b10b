"""Files of a data set that no row uses: images without a row, image formats that cannot be read, and other files.

Formats are known by their ending, or by their first bytes where the ending is missing or unknown; no other file is opened.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from tellapart.data.layouts._aliases import normalize
from tellapart.data.layouts.base import LayoutRows
from tellapart.data.listing import Listing
from tellapart.data.locator import parse_locator
from tellapart.errors import DataError
from tellapart.types import Problem

_FORMATS = {
    "HEIC": "heic heif hif", "JPEG XL": "jxl", "JPEG XR": "jxr wdp hdp", "Photoshop": "psd psb", "GIMP": "xcf",
    "SVG": "svg svgz",
    "EPS": "eps ai", "icon": "ico icns cur", "OpenEXR": "exr", "Radiance": "hdr", "DDS": "dds", "PCX": "pcx", "DICOM": "dcm",
    "FITS": "fits", "camera raw": "dng cr2 cr3 crw nef nrw arw srf sr2 orf rw2 raf pef srw x3f 3fr",
}  # fmt: skip
#: Ending → a format of images that is not read.
UNREADABLE_ENDINGS = {f".{ending}": name for name, endings in _FORMATS.items() for ending in endings.split()}
#: Endings that no image has: these files are not opened.
_NO_IMAGES = frozenset(
    f".{ending}"
    for ending in "txt json jsonl csv tsv xml md rst html htm css js yaml yml toml cfg ini log py ipynb sh bat m mat r npy npz "
    "pkl pickle pt pth ckpt onnx safetensors skops h5 hdf5 parquet pq arrow feather db sqlite zip tar gz tgz bz2 xz zst 7z rar "
    "pdf doc docx xls xlsx ppt pptx mp4 avi mov mkv webm wav mp3 flac cls lock tmp done".split()
)
_SNIFFED = 1_000  # files of one unknown ending that are opened before the others are taken for no images, too
_HEAD = 32


class ImageKind(NamedTuple):
    """The format of an image that is not read.

    Attributes:
        format: "HEIC", …
        ending: The ending under which it is read; "" when it is not read at all.
    """

    format: str
    ending: str


def format_of(head: bytes) -> tuple[str, str]:
    """The image format that a file begins with, and the ending under which it is read: ("JPEG", ".jpg"); ("", "") for none.

    >>> format_of(b"\\xff\\xd8\\xff\\xe0"), format_of(b"8BPS"), format_of(b"hello")
    (('JPEG', '.jpg'), ('Photoshop', ''), ('', ''))
    """
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        return ("AVIF", ".avif") if brand in (b"avif", b"avis") else ("HEIC", "") if brand[:2] in (b"he", b"mi") else ("", "")
    if head[:4] == b"RIFF":
        return ("WebP", ".webp") if head[8:12] == b"WEBP" else ("", "")
    if head[:2] == b"BM":
        return ("BMP", ".bmp") if head[15:18] == b"\0\0\0" else ("", "")
    return next((found for start, found in _STARTS.items() if head.startswith(start)), ("", ""))


_STARTS = {
    b"\xff\xd8\xff": ("JPEG", ".jpg"), b"\x89PNG\r\n\x1a\n": ("PNG", ".png"), b"GIF8": ("GIF", ".gif"),
    b"II*\0": ("TIFF", ".tif"), b"MM\0*": ("TIFF", ".tif"), b"\0\0\0\x0cjP  ": ("JPEG 2000", ".jp2"),
    b"\0\0\0\x0cJXL ": ("JPEG XL", ""), b"8BPS": ("Photoshop", ""), b"gimp xcf": ("GIMP", ""), b"v/1\x01": ("OpenEXR", ""),
}  # fmt: skip


def unused_files(found: LayoutRows, images: Listing) -> list[Problem]:
    """What no row of a data set uses.

    Args:
        found: The rows.
        images: The files among which the images were looked for.
    """
    files = _files(found, images)
    rest = np.ones(len(images), dtype=bool)
    rest[files[files >= 0]] = False
    if not rest.any():
        return []
    named = {problem.where for problem in (*found.problems, *images.problems)}
    rest[[row for row in np.flatnonzero(rest).tolist() if images.paths[row] in named]] = False
    classes = _Classes(found, images, files)
    lone = np.flatnonzero(rest & images.is_image & (images.sizes > 0))
    others = np.flatnonzero(rest & ~images.is_image)
    kinds = image_kinds(images, others)
    problems = _without_row(images, lone, classes) + _unreadable(images, kinds, classes)
    if found.other_files:
        plain = [row for row in others.tolist() if not (row in kinds and classes.holds_images(images.folder[row]))]
        problems += _other_files(images, plain)
    return problems


class _Classes:
    """The class of the images of each folder, and which folders have images that are used.

    Beside a table a folder has a class only if all its rows have one that is also the name of the folder.
    """

    def __init__(self, found: LayoutRows, images: Listing, files: np.ndarray) -> None:
        by_folder: dict[str, set[str | None]] = defaultdict(set)
        for file, name in zip(files.tolist(), found.class_names.tolist(), strict=True):
            if file >= 0:
                by_folder[images.folders[images.folder[file]]].add(name)
        self._folders = images.folders
        self._by_folder = by_folder
        self._from_names = found.other_files
        self._empty = {p.where: p.label for p in found.problems if p.kind == "empty class"}
        self._with_parents = {parent for folder in by_folder for parent in _parents(folder)}

    def of(self, folder: int) -> str:
        """The class of a folder, "" where it is not known."""
        path = self._folders[folder]
        names = self._by_folder.get(path, set())
        if not names:
            return self._empty.get(path, "")
        name = next(iter(names)) if len(names) == 1 else None
        named = name is not None and (self._from_names or normalize(name) in map(normalize, path.split("/")))
        return str(name) if named else ""

    def holds_images(self, folder: int) -> bool:
        """Whether images of the data set lie in a folder, or should."""
        return self._folders[folder] in self._by_folder or self._folders[folder] in self._empty

    def top_unused(self, folder: int) -> str:
        """The highest folder above an unused one in which no image is used; the folder itself where some are."""
        above = [path for path in _parents(self._folders[folder]) if path not in self._with_parents]
        return above[-1] if above else self._folders[folder]


def _files(found: LayoutRows, images: Listing) -> np.ndarray:
    """The file of each row: (N,) int64, positions in the listing; −1 for a file that lies elsewhere."""
    place = {locator: row for row, locator in enumerate(images.locators(np.arange(len(images))))}
    locators = found.locators
    if locators and parse_locator(locators[0]).row is not None:  # rows of files that hold many images
        locators = [locator.rpartition("#")[0] for locator in locators]
    return np.fromiter((place.get(locator, -1) for locator in locators), dtype=np.int64, count=len(locators))


def _parents(folder: str) -> list[str]:
    """A folder and those above it, itself first, the top ("") last."""
    parts = folder.split("/") if folder else []
    return ["/".join(parts[:n]) for n in range(len(parts), -1, -1)]


def _without_row(images: Listing, rows: np.ndarray, classes: _Classes) -> list[Problem]:
    counts: Counter[tuple[str, str]] = Counter()
    for folder in images.folder[rows].tolist():
        counts[classes.top_unused(folder), classes.of(folder)] += 1
    problems = []
    for (folder, name), n in counts.items():
        place = f"{folder}/" if folder else "the top folder"
        message = f"{n:,} image{'s' if n > 1 else ''} in {place} without a row"
        problems.append(Problem("image without a row", f"{folder or '.'}/", message, name, n))
    return problems


def image_kinds(images: Listing, rows: np.ndarray) -> dict[int, ImageKind]:
    """Row → its image format, for files that are images but not read. `rows`: (M,) int64, files without an image's ending."""
    found: dict[int, ImageKind] = {}
    opened: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    for row in rows.tolist():
        ending = str(images.endings[row])
        if ending in UNREADABLE_ENDINGS:
            found[row] = ImageKind(UNREADABLE_ENDINGS[ending], "")
        elif ending not in _NO_IMAGES and images.sizes[row] > 0 and (opened[ending] < _SNIFFED or seen[ending]):
            opened[ending] += 1
            name, wanted = format_of(_head(images, row))
            if name:
                seen[ending] += 1
                found[row] = ImageKind(name, wanted)
    return found


def _head(images: Listing, row: int) -> bytes:
    try:
        return images.read(row, _HEAD)
    except DataError:  # it is named where it should be read
        return b""


def _unreadable(images: Listing, kinds: dict[int, ImageKind], classes: _Classes) -> list[Problem]:
    """Images of formats that are not read, in folders of the data set: one problem a class, folder and format."""
    found: dict[tuple[str, str, ImageKind, str], list[int]] = defaultdict(list)
    for row, kind in kinds.items():
        if classes.holds_images(images.folder[row]):
            name = classes.of(images.folder[row])
            place = name or images.folders[images.folder[row]]
            found[name, place, kind, images.endings[row]].append(row)
    return [_format_problem(images, name, place, kind, of, rows) for (name, place, kind, of), rows in found.items()]


def _format_problem(images: Listing, name: str, place: str, kind: ImageKind, ending: str, rows: Sequence[int]) -> Problem:
    n = len(rows)
    plural, them = ("s", "them") if n > 1 else ("", "it")
    where = f"of the class {name!r}" if name else f"in {place}/" if place else "in the top folder"
    named = f" with the ending {ending}" if ending else " without an ending"
    advice = f"rename {them} to {kind.ending}" if kind.ending else f"convert {them} to JPEG or PNG"
    message = f"{n:,} {kind.format} image{plural} {where}{named if kind.ending else ''} cannot be read: {advice}"
    return Problem("unreadable format", images.paths[rows[0]], message, name, n)


def _other_files(images: Listing, rows: Iterable[int]) -> list[Problem]:
    """Files that are no images: one problem a kind, with the first as example."""
    first: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for row in rows:
        ending = images.endings[row]
        counts[ending] += 1
        first.setdefault(ending, images.paths[row])
    kinds = {ending: f"with the ending {ending}" if ending else "without an ending" for ending in counts}
    return [
        Problem("other file", first[ending], f"{n:,} file{'s' if n > 1 else ''} {kinds[ending]}")
        for ending, n in sorted(counts.items())
    ]
