"""The command `synth`: make a data set of real and forged images from real images alone.

    OUT/
        train.csv           id, label (real | fake), group, split, source (the forgery, or "none"): DATA for `tellapart compare`
        images/<name>.png   both classes written by one encoder, without metadata
        masks/<name>.png    gray, 255 where forged; forged images only
        provenance.csv      for each image its source, the forgery, the donor, the forged share
        synth.json          the settings; written last, so a folder without it is incomplete

The same command resumes after an interruption. Random values of an image depend only on the seed and on its row.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from PIL import Image

from tellapart import registry
from tellapart.data.archives import ARCHIVE_ENDINGS
from tellapart.data.cache import CorruptImages
from tellapart.data.decode import decode, quiet
from tellapart.data.folder_walk import path_kind
from tellapart.data.identity import identify
from tellapart.data.left_out import check_problems
from tellapart.data.listing import list_archive, list_folder
from tellapart.data.open_image import open_file
from tellapart.data.reader import ImageReader
from tellapart.data.scan import scan
from tellapart.errors import DataError, ImageError, unknown_name
from tellapart.forgeries._plan import REAL, PlannedImage, plan_forgeries
from tellapart.forgeries.base import SMALLEST, Forgery
from tellapart.inference.context import DEFAULTS, Settings
from tellapart.io import TEMPORARY, locked_file, remove_leftovers, write_bytes_atomically, write_json, write_text_atomically
from tellapart.os_errors import translate_os_errors
from tellapart.plain_data import read_json
from tellapart.regular_files import read_bytes
from tellapart.spreadsheet import frame_csv
from tellapart.types import ImageTable, Problem

VERSION = 1  # increased when the same settings give other files
_DONE, _BEGUN, _LOCK = "synth.json", "synth.partial.json", ".lock"
_FIT_ON = 64  # images that a trained forgery is fitted on
_CHUNK = 64  # images submitted to the threads at a time


def synth(
    data: str | Path | ImageTable, out: str | Path, *, kinds: Sequence[str] = (), class_name: str | None = None,
    encoding: Literal["png", "jpeg"] = "png", quality: tuple[int, int] = (75, 95), settings: Settings = DEFAULTS,
) -> SynthResult:  # fmt: skip
    """Forge half of a set of real images.

    Args:
        data: Real images: a folder or archive; or labeled data, of which `class_name` is the real class.
        out: Output folder; must not exist, be empty, or contain the incomplete output of the same call.
        kinds: Names of forgeries; empty: all.
        class_name: The real class of labeled data.
        encoding: "png": without compression, so that byte counts carry no information; "jpeg": byte counts depend on content.
        quality: Lowest and highest JPEG quality, drawn for each image whatever its class.
        settings: `seed` is the random seed; `skip_bad` excludes and reports images that cannot be decoded.

    Raises:
        DataError: Too few images; `out` contains something else, or lies inside `data`.
        CorruptImages: Images cannot be decoded or are too small; all are named.
        RecipeError: Unknown forgery.
        SystemLimitError: No disk space, or no permission.
    """
    names = [str(kind).replace("-", "_") for kind in kinds] or registry.names("forgeries")
    forgeries: dict[str, Forgery] = {name: registry.find("forgeries", name)() for name in dict.fromkeys(names)}
    folder = Path(out)
    _check_outside(data, folder)
    reals = load_reals(data, class_name, skip_bad=settings.skip_bad)
    reals = identify(reals, settings.progress, verify_files=settings.verify_files)
    config = {
        "version": VERSION, "seed": settings.seed, "kinds": list(forgeries), "encoding": encoding,
        "quality": list(quality) if encoding == "jpeg" else None, "reals": reals.fingerprint, "skip_bad": settings.skip_bad,
    }  # fmt: skip
    with translate_os_errors(folder):
        is_made = _is_made(folder, config)  # refuses a folder of other files before a lock is written into it
        folder.mkdir(parents=True, exist_ok=True)
        waiting = partial(settings.progress.say, f"  waiting for another process to finish {folder}")
        if not is_made:
            with locked_file(folder / _LOCK, waiting):
                if not _is_made(folder, config):
                    remove_leftovers(folder)
                    ForgeryJob(reals, forgeries, folder, config, settings).run()
    return _read_result(folder)


@dataclass(frozen=True)
class SynthResult:
    """A finished data set.

    Attributes:
        folder: Its folder, an input for `compare`.
        counts: Forgery, or "none" for real images → number of images.
        shares: Forgery → mean forged share of an image.
    """

    folder: Path
    counts: dict[str, int]
    shares: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"folder": str(self.folder), "counts": self.counts, "shares": self.shares}


def load_reals(data: str | Path | ImageTable, class_name: str | None = None, *, skip_bad: bool = False) -> ImageTable:
    """Load the real images: all images of a folder or archive, one class of labeled data, or all rows of a table.

    Args:
        data: A folder or archive, labeled or not; another path that `scan` understands; or a table.
        class_name: The class whose images are real.
        skip_bad: Whether to exclude bad rows instead of raising an error.

    Returns:
        A table with the single class "real"; group and split as given.

    Raises:
        DataError: No images, or no such class.
    """
    path = None if isinstance(data, ImageTable) else Path(data)
    kind = path_kind(path) if path is not None else ""
    if path is not None and not kind:
        raise DataError(f"{path}: not found", hint="pass a folder, an archive or a table of real images")
    if path is not None and class_name is None and (kind == "folder" or path.name.lower().endswith(ARCHIVE_ENDINGS)):
        return _list_images(path)
    table = data if isinstance(data, ImageTable) else scan(data, least=1)
    check_problems(table, skip_bad)
    if class_name is not None:
        if class_name not in table.classes:
            raise DataError(unknown_name("class", class_name, table.classes))
        table = table.take(table.labels == table.classes.index(class_name))
    return replace(table, frame=table.frame.assign(label=0), classes=("real",), positive=None)


@dataclass(frozen=True, eq=False)
class ForgeryJob:
    """One data set in progress."""

    reals: ImageTable
    forgeries: dict[str, Forgery]
    folder: Path
    config: dict[str, Any]
    settings: Settings

    def run(self) -> None:
        """Write the missing images, then the tables, then the marker."""
        write_json(self.folder / _BEGUN, self.config)  # first: a folder of images without it is taken for a stranger's
        for name in ("images", "masks"):
            (self.folder / name).mkdir(exist_ok=True)
        donors = frozenset(name for name, forgery in self.forgeries.items() if forgery.needs_donor)
        planned = plan_forgeries(self.reals, list(self.forgeries), donors, self.settings.seed, self.settings.progress)
        with ImageReader(self.reals) as reader, quiet():
            self._fit([one.row for one in planned if one.part == "train"], reader)
            written, problems = self._write_all(planned, reader)
        if problems and not self.settings.skip_bad:
            rows = [one.row for one, _ in problems]
            raise CorruptImages(rows, [problem for _, problem in problems], hint=CorruptImages.SKIP)
        self._tables([one for one in planned if one.name in written], written)
        write_json(self.folder / _DONE, self.config)
        (self.folder / _BEGUN).unlink()

    def _fit(self, rows: list[int], reader: ImageReader) -> None:
        """Fit the forgeries that need it on some evenly spaced images of the training split."""
        if not any(forgery.needs_fit for forgery in self.forgeries.values()):
            return
        pictures = []
        for row in rows[:: max(1, len(rows) // _FIT_ON)]:
            found = self._pixels(row, reader)
            if isinstance(found, np.ndarray):
                pictures.append(found[:1024, :1024])
        for forgery in self.forgeries.values():
            if forgery.needs_fit and pictures:
                forgery.fit(pictures, self.settings.seed, self.folder, self.settings.progress)

    def _write_all(
        self, planned: list[PlannedImage], reader: ImageReader
    ) -> tuple[dict[str, float], list[tuple[PlannedImage, Problem]]]:
        """Write all images; return name → forged share of the written ones, and the problems of the others."""
        written: dict[str, float] = {}
        problems: list[tuple[PlannedImage, Problem]] = []
        with (
            ThreadPoolExecutor(os.cpu_count() or 1) as pool,
            self.settings.progress.task("forging", len(planned), "img") as task,
        ):
            for start in range(0, len(planned), _CHUNK):
                some = planned[start : start + _CHUNK]
                for one, found in zip(some, pool.map(lambda p: self._one(p, reader), some), strict=True):
                    if isinstance(found, Problem):
                        problems.append((one, found))
                    else:
                        written[one.name] = found
                task.advance(len(some))
        return written, problems

    def _one(self, one: PlannedImage, reader: ImageReader) -> float | Problem:
        """Write one image, and its mask before it: an existing image is complete."""
        path = self.folder / "images" / f"{one.name}.{'jpg' if self.config['encoding'] == 'jpeg' else 'png'}"
        mask_path = self.folder / "masks" / f"{one.name}.png"
        if path.exists():
            return _share(mask_path) if one.kind != REAL else 0.0
        pixels = self._pixels(one.row, reader)
        donor = self._pixels(one.donor, reader) if one.donor >= 0 else pixels
        if isinstance(pixels, Problem) or isinstance(donor, Problem):
            return pixels if isinstance(pixels, Problem) else donor  # pyright: ignore[reportReturnType] (one of them is)
        rng, share = np.random.default_rng([self.settings.seed, 2, one.row]), 0.0
        if one.kind != REAL:
            pixels, mask = self.forgeries[one.kind](pixels, donor, rng)
            share = float(mask.mean())
            write_bytes_atomically(mask_path, _encoded(mask.astype(np.uint8) * 255, "png", 0), durable=False)
        low, high = self.config["quality"] or (0, 0)
        quality = int(np.random.default_rng([self.settings.seed, 3, one.row]).integers(low, high + 1))
        write_bytes_atomically(path, _encoded(pixels, self.config["encoding"], quality), durable=False)
        return share

    def _pixels(self, row: int, reader: ImageReader) -> np.ndarray | Problem:
        """Decode one image: (H, W, 3) uint8, or its problem."""
        path = str(self.reals.paths[row])
        try:
            pixels = decode(reader.get(path), path=path)
        except ImageError as error:
            return Problem("corrupt image", error.path, error.reason)
        if min(pixels.shape[:2]) < SMALLEST:
            size = f"{pixels.shape[1]}×{pixels.shape[0]}"
            return Problem("too small", path, f"is {size}; expected at least {SMALLEST} pixels a side")
        return pixels

    def _tables(self, planned: list[PlannedImage], shares: dict[str, float]) -> None:
        ending = "jpg" if self.config["encoding"] == "jpeg" else "png"
        paths = self.reals.paths
        frame = pd.DataFrame([asdict(one) for one in planned])
        frame.insert(1, "picture", [str(paths[one.row]) for one in planned])
        frame["donor"] = [str(paths[one.donor]) if one.donor >= 0 else "" for one in planned]
        frame["share"] = [shares[one.name] for one in planned]
        table = pd.DataFrame(
            {
                "id": [f"images/{one.name}.{ending}" for one in planned],
                "label": np.where(frame["kind"] == REAL, "real", "fake"),
                "group": frame["group"],
                "split": frame["part"],
                "source": frame["kind"],
            }
        )
        if not any(one.group for one in planned):
            table = table.drop(columns="group")
        for name, content in (("provenance.csv", frame), ("train.csv", table)):
            text = frame_csv(content, float_format="%.4f")
            write_text_atomically(self.folder / name, text, durable=False)


def _check_outside(data: str | Path | ImageTable, out: Path) -> None:
    """Raise an error if the output lies inside the data: the next call would read forged images as real ones."""
    root = Path(data.root if isinstance(data, ImageTable) else data).absolute()
    if path_kind(root) == "folder" and out.absolute().is_relative_to(root):
        raise DataError(f"{out}: the output folder lies inside the data ({root})", hint="choose a folder outside")


def _is_made(folder: Path, config: dict[str, Any]) -> bool:
    """Whether the folder contains the finished data set of these settings; False if it is empty or incomplete."""
    if not folder.exists() or all(path.name == _LOCK or path.name.endswith(TEMPORARY) for path in folder.iterdir()):
        return False
    for name in (_DONE, _BEGUN):
        if (folder / name).exists():
            found = read_json(folder / name)
            if found != config:
                stored = found if isinstance(found, dict) else {}
                differing = ", ".join(key for key in config if stored.get(key) != config[key])
                raise DataError(
                    f"{folder} was made with other settings ({differing})", hint="remove the folder, or choose another one"
                )
            return name == _DONE
    raise DataError(f"{folder}: expected an empty folder or the output of synth", hint="choose another folder")


def _read_result(folder: Path) -> SynthResult:
    frame = pd.read_csv(io.BytesIO(read_bytes(folder / "provenance.csv")), dtype=str, keep_default_na=False)
    kinds, shares = frame["kind"].to_numpy(), frame["share"].to_numpy().astype(float)
    names = dict.fromkeys(kinds.tolist())
    counts = {name: int((kinds == name).sum()) for name in names}
    return SynthResult(folder, counts, {name: float(shares[kinds == name].mean()) for name in names if name != REAL})


def _share(mask: Path) -> float:
    """The share of an image that a mask covers."""
    with open_file(mask, mask.name) as image:
        return float((np.asarray(image) > 0).mean())


def _encoded(pixels: np.ndarray, encoding: str, quality: int) -> bytes:
    """Encode as PNG without compression, or as JPEG with chroma at half size."""
    buffer = io.BytesIO()
    if encoding == "jpeg":
        Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    else:
        Image.fromarray(pixels).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


def _list_images(path: Path) -> ImageTable:
    top = os.path.abspath(path)  # noqa: PTH100
    listing = list_folder(top) if path.is_dir() else list_archive(top)
    files = np.flatnonzero(listing.is_image)
    if not len(files):
        raise DataError(f"no image in {path}", hint="pass a folder, an archive or a table of real images")
    locators = pd.Series(listing.locators(files), dtype=object)
    frame = pd.DataFrame({"id": locators, "path": locators, "label": 0, "size": listing.sizes[files]})
    return ImageTable(frame, ("real",), listing.root, layout=f"{len(frame):,} images", name=path.name)
