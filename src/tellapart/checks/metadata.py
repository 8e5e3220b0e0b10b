"""What files say before any pixel is decoded, by class: format, size, JPEG quality, EXIF, software, date, byte count.

Where it tells the classes apart, a classifier can score well without looking at a picture: a decoder's traces, a resampled size
and a quality setting are all visible in the pixels, too. The metadata baseline family is the same warning in a leaderboard;
here what carries it is named. The byte count and what follows from it move with what the pictures show, and are only a notice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tellapart.checks._associations import Feature
from tellapart.checks._dataset_view import DatasetView
from tellapart.checks._shortcut import find_shortcuts, independent_groups, rows_explained, shortcut_details, summarize
from tellapart.checks.base import CheckResult, HealthCheck, passed
from tellapart.data.jpeg_quality import estimate_quality, table_keys
from tellapart.data.metadata import FORMATS, MODES, NAMES, SUBSAMPLINGS, TEXTS

_SUBJECT = "file metadata"
_CODED = ("format", "size", "JPEG quality", "JPEG tables", "color mode")  # what a byte count follows from
_BEHIND = (("EXIF",), ("EXIF",), ("format",))  # of TEXTS: what it follows from that they are there at all


class Metadata(HealthCheck):
    """Whether file metadata tell the classes apart, and which."""

    def _run(self, view: DatasetView) -> CheckResult:
        table, labels = view.table, view.table.labels
        classes = np.unique(labels[labels >= 0])
        if len(classes) < 2:
            return passed(len(table), "fewer than two classes have images: nothing to tell apart", "skipped")
        if not table.has_files:
            return passed(len(table), "the images are bare pixels: there are no files whose metadata could tell", "skipped")
        labels = np.where(np.isfinite(view.metadata[:, 0]), labels, -1)
        columns = metadata_features(view.metadata, view.texts)
        names = {int(label): repr(table.classes[label]) for label in classes}
        verdict = find_shortcuts(columns, labels, independent_groups(table, view.duplicates.cluster), names, view.seed)
        text = summarize(verdict, _SUBJECT)
        if not verdict.found:
            return passed(
                len(table), f"no metadata tell the classes apart ({text})" if text else _ALIKE, **shortcut_details(verdict)
            )
        severity = "leak" if verdict.strong else "notice"
        rows = rows_explained(verdict, _SUBJECT)
        return CheckResult(severity, text, _ADVICE[verdict.strong], *rows, details=shortcut_details(verdict))


_ALIKE = "all files have the same metadata, or there are too few to tell"
_ADVICE = {
    True: "`tellapart align DATA OUT` writes a copy that is alike for all classes (format, size, compression, no EXIF): train "
    "on it, and compare every score with the metadata baseline's",
    False: "compare every score with the metadata baseline's: what the pictures show may be all there is to it",
}


def metadata_features(metadata: np.ndarray, texts: Mapping[float, str]) -> list[Feature]:
    """What is looked at.

    Args:
        metadata: (N, len(NAMES)) float64, as `Evidence.metadata` has it.
        texts: What its codes of texts stand for, as `Evidence.texts`.
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
        *(_text(name, of[name], of["format"], texts, behind) for name, behind in zip(TEXTS, _BEHIND, strict=True)),
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
        Feature("bytes per pixel", of["bytes per pixel"], ordered=True, explained_by=(*_CODED, "byte count"), content_dependent=True),
    ]  # fmt: skip


def _jpeg_tables(metadata: np.ndarray) -> Sequence[Feature]:
    """The quality that the luma table stands for, and which tables there are."""
    first, chroma = NAMES.index("luma[0]"), NAMES.index("chroma[0]")
    luma, tables = metadata[:, first:chroma], metadata[:, first : 2 * chroma - first]
    quality, exact = estimate_quality(luma)
    shown = np.where(exact, quality, quality + 0.5)  # half a step: tables of its own, nearest to that quality
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
    return f"JPEG quality {value:.0f}" if value == int(value) else f"JPEG quality about {int(value)} (own tables)"


def _kind(name: str, values: np.ndarray, word: Callable[[float], str], behind: tuple[str, ...] = ()) -> Feature:
    """A column of kinds; `word` names one of them."""
    return Feature(
        name, values, {float(v): word(float(v)) for v in np.unique(values[np.isfinite(values)])}, explained_by=behind
    )


def _text(name: str, codes: np.ndarray, known: np.ndarray, texts: Mapping[float, str], behind: tuple[str, ...]) -> Feature:
    """A column of texts; files that could be read (`known` is finite) and have none are a kind of their own."""
    values = np.where(np.isfinite(known) & np.isnan(codes), 0.0, codes)
    return _kind(name, values, lambda v: f"{name} {texts[v]!r}" if v else f"no {name}", behind)


def _present(count: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(count), (count > 0).astype(np.float64), np.nan)


def _listed(known: tuple[str, ...], value: float) -> str:
    return known[int(value)] if int(value) < len(known) else "another"


def _sizes(width: np.ndarray, height: np.ndarray) -> tuple[np.ndarray, dict[float, str]]:
    """Each pair of sides as one number, with its words."""
    known = np.isfinite(width)
    code = np.where(known, width * 1e6 + height, np.nan)
    return code, {float(v): f"size {int(v // 1e6)}×{int(v % 1e6)}" for v in np.unique(code[known])}
