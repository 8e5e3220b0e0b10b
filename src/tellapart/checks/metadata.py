"""File metadata by class, read without decoding pixels: format, size, JPEG quality, EXIF, software, date, byte count.

Where metadata separate the classes, a classifier can score well without using the content: traces of a decoder, a resampled
size and a quality setting are all visible in the pixels, too. The metadata baseline gives the same warning in a leaderboard;
this check names the features. The byte count and its derivatives depend on the content of the images, and are only a notice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tellapart.checks._associations import Feature
from tellapart.checks._dataset_view import DatasetView
from tellapart.checks._shortcut import conclude, find_class_shortcuts
from tellapart.checks.base import CheckResult, HealthCheck, passed
from tellapart.data.jpeg_quality import estimate_quality, table_keys
from tellapart.data.metadata import FORMATS, MODES, NAMES, SUBSAMPLINGS, TEXTS

_CODED = ("format", "size", "JPEG quality", "JPEG tables", "color mode")  # features that determine a byte count
_EXPLAINED_BY = (("EXIF",), ("EXIF",), ("format",))  # for each of TEXTS: the features that explain its presence


class Metadata(HealthCheck):
    """Whether file metadata separate the classes, and which."""

    per_image = False

    def _run(self, view: DatasetView) -> CheckResult:
        table, labels = view.table, view.table.labels
        if len(np.unique(labels[labels >= 0])) < 2:
            return passed(len(table), "fewer than two classes have images", "skipped")
        if not table.has_files:
            return passed(len(table), "the images are pixel arrays without files, so there are no metadata", "skipped")
        labels = np.where(np.isfinite(view.metadata[:, 0]), labels, -1)
        features = metadata_features(view.metadata, view.texts)
        result = find_class_shortcuts(features, labels, view.duplicates.cluster, table, view.seed)
        return conclude(result, "file metadata", "leak" if result.strong else "notice", _ADVICE[result.strong])


_ADVICE = {
    True: "`tellapart align DATA -o DIR` writes a copy with equal format, size and compression for all classes and without "
    "EXIF: train on it, and compare every score with the metadata baseline",
    False: "compare every score with the metadata baseline: the content of the images may explain the difference",
}


def metadata_features(metadata: np.ndarray, texts: Mapping[float, str]) -> list[Feature]:
    """The metadata of N files as features.

    Args:
        metadata: (N, len(NAMES)) float64, from `DatasetView.metadata`.
        texts: Code → text, from `DatasetView.texts`.
    """
    of = {name: metadata[:, i] for i, name in enumerate(NAMES)}
    size, sizes = _sizes(of["width"], of["height"])
    exif, sampling = of["EXIF bytes"], of["subsampling"]
    return [
        _kind("format", of["format"], lambda v: f"format {_listed(FORMATS, v)}"),
        _kind("color mode", of["mode"], lambda v: f"mode {_listed(MODES, v)}"),
        Feature("size", size, sizes),
        *(Feature(name, of[name], ordered=True, explained_by=("size",)) for name in ("width", "height")),
        Feature("aspect", of["aspect"], ordered=True, explained_by=("size", "width", "height")),
        _kind("EXIF", _present(exif), lambda v: "EXIF" if v else "no EXIF"),
        Feature("EXIF bytes", np.where(exif > 0, exif, np.nan), ordered=True, explained_by=("EXIF",)),
        *(_text(name, of[name], of["format"], texts, behind) for name, behind in zip(TEXTS, _EXPLAINED_BY, strict=True)),
        Feature("date", of["date"], ordered=True),
        _kind("credentials", of["credentials"], lambda v: f"{'' if v else 'no '}content credentials (C2PA)"),
        _kind("orientation", of["EXIF orientation"], lambda v: f"EXIF orientation {v:.0f}"),
        _kind("ICC profile", _present(of["ICC bytes"]), lambda v: "an ICC profile" if v else "no ICC profile", ("format",)),
        _kind("dpi", of["dpi"], lambda v: f"{v:.4g} dpi", ("format",)),
        _kind("comment", _present(of["comment bytes"]), lambda v: "a comment" if v else "no comment", ("format",)),
        _kind("timing", of["frames known"], lambda v: "frame timing" if v else "no frame timing", ("format",)),
        _kind("progressive", of["progressive"], lambda v: "progressive JPEG" if v else "baseline JPEG"),
        _kind("subsampling", sampling, _subsampling_words, ("JPEG quality",)),
        *_jpeg_tables(metadata),
        Feature("byte count", of["bytes"], ordered=True, explained_by=(*_CODED, "width", "height"), content_dependent=True),
        Feature("bytes per pixel", of["bytes per pixel"], ordered=True, explained_by=(*_CODED, "byte count"),
                content_dependent=True),
    ]  # fmt: skip


def _jpeg_tables(metadata: np.ndarray) -> Sequence[Feature]:
    """The quality of the luma quantization table, and the identity of all tables."""
    first, chroma = NAMES.index("luma[0]"), NAMES.index("chroma[0]")
    luma, tables = metadata[:, first:chroma], metadata[:, first : 2 * chroma - first]
    quality, exact = estimate_quality(luma)
    shown = np.where(exact, quality, quality + 0.5)  # half a step marks custom tables, nearest to that quality
    known = np.isfinite(luma).all(axis=1)
    key = np.where(known, table_keys(np.nan_to_num(tables)), np.nan)
    kinds = {float(v): f"JPEG tables {i}" for i, v in enumerate(np.unique(key[known]), start=1)}
    return (
        Feature("JPEG quality", shown, {float(v): _quality_words(v) for v in np.unique(shown[known])}, ordered=True),
        Feature("JPEG tables", key, kinds, explained_by=("JPEG quality",)),
    )


def _subsampling_words(value: float) -> str:
    return f"chroma {SUBSAMPLINGS.get(int(value), 'of another sampling')}"


def _quality_words(value: float) -> str:
    return f"JPEG quality {value:.0f}" if value == int(value) else f"JPEG quality about {int(value)} (custom tables)"


def _kind(name: str, values: np.ndarray, word: Callable[[float], str], behind: tuple[str, ...] = ()) -> Feature:
    """A categorical feature; `word` gives the text of a value."""
    return Feature(
        name, values, {float(v): word(float(v)) for v in np.unique(values[np.isfinite(values)])}, explained_by=behind
    )


def _text(name: str, codes: np.ndarray, known: np.ndarray, texts: Mapping[float, str], behind: tuple[str, ...]) -> Feature:
    """A text feature; readable files (`known` is finite) without the text have a value of their own."""
    values = np.where(np.isfinite(known) & np.isnan(codes), 0.0, codes)
    return _kind(name, values, lambda v: f"{name} {texts[v]!r}" if v else f"no {name}", behind)


def _present(count: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(count), (count > 0).astype(np.float64), np.nan)


def _listed(known: tuple[str, ...], value: float) -> str:
    return known[int(value)] if int(value) < len(known) else "another"


def _sizes(width: np.ndarray, height: np.ndarray) -> tuple[np.ndarray, dict[float, str]]:
    """Each pair of sides as one number, with its text."""
    known = np.isfinite(width)
    code = np.where(known, width * 1e6 + height, np.nan)
    return code, {float(v): f"size {int(v // 1e6)}×{int(v % 1e6)}" for v in np.unique(code[known])}
