"""The command `align`: write a copy of labeled images in which the files of all classes have the same format and size.

Each image gives one crop of its original pixels, never resized, of one common size; all crops are written by one encoder,
without metadata, under random numbers. The headers of all files are then equal. Traces of earlier compression remain in the
pixels: `AlignResult.traces` measures how well they separate the classes.

    OUT/images/<number>.png
    OUT/train.csv       id, label, and group, source, split if the source has them; input for `tellapart compare OUT`
    OUT/test.csv        images without a label, if there are any
    OUT/manifest.csv    for each image its source, the digest of the source, the box, the encoder settings
    OUT/left-out.csv    excluded images, and the reasons
    OUT/align.json      settings and figures; the marker, written last
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tellapart.alignment import leakage
from tellapart.alignment.manifest import manifest_files
from tellapart.alignment.plan import AlignOptions, digest, plan_crops, read_inventory
from tellapart.alignment.result import AlignResult, ClassResult
from tellapart.alignment.writer import (
    MARKER,
    CopyLog,
    PartialCopy,
    check_outside,
    check_space,
    crop,
    encode,
    locked_folder,
    read_finished,
)
from tellapart.checks.compression import trace_separation
from tellapart.data.cache import CorruptImages
from tellapart.data.decode import DECODER, decode, quiet
from tellapart.data.identity import identify
from tellapart.data.left_out import check_problems
from tellapart.data.metadata import metadata_features
from tellapart.data.reader import ImageReader
from tellapart.data.scan import scan
from tellapart.errors import DataError, ImageError, Interrupted, RunError, SystemLimitError
from tellapart.features._jpeg_traces import COUNT, traces
from tellapart.inference.context import DEFAULTS, Settings
from tellapart.io import expand
from tellapart.regular_files import read_bytes
from tellapart.runs._fields import parsing
from tellapart.types import ImageTable, Problem, Score

#: Stored in the settings of every copy: increase it when the same settings give other files.
VERSION = 2
_BATCH = 128  # images written between two lines of the journal


def align(
    data: str | Path | ImageTable, out: str | Path, *, options: AlignOptions | None = None, settings: Settings = DEFAULTS,
    scanned_from: str | Path | None = None,
) -> AlignResult:  # fmt: skip
    """Write a copy in which format, metadata, size and compression are the same for all classes.

    The same call resumes after an interruption and gives the same files; a finished copy is reused.

    Args:
        data: A path that `scan` understands, or a table. It is not changed.
        out: A folder that does not exist, is empty, or contains the same copy, complete or not.
        options: Size, encoder, seed.
        settings: `skip_bad` excludes and reports unreadable images; `progress` is the progress display.
        scanned_from: If `data` is a table, the path that it was scanned from: `out` must not lie there either.

    Raises:
        DataError: The data have problems, there is no common size, or `out` lies inside the data or contains something else.
        CorruptImages: Some images cannot be decoded, and `skip_bad` is not set; the others are written, and the same call with
            `skip_bad` resumes.
        SystemLimitError: The disk is full, or permission is denied.
        Interrupted: Ctrl-C; written images are kept.
    """
    out, options = expand(out), options or AlignOptions()
    table = data if isinstance(data, ImageTable) else scan(data)
    bad = check_problems(table, settings.skip_bad)
    check_outside(out, scanned_from if isinstance(data, ImageTable) else data, table)
    table = identify(table, settings.progress, verify_files=settings.verify_files)
    identity = _identity(table, options)
    if (there := read_finished(out)) is not None:
        return _reuse(there, identity, out, settings)
    return _AlignJob(table, out, options, settings, identity).run(bad)


def _identity(table: ImageTable, options: AlignOptions) -> dict[str, Any]:
    """The settings and data that identify a copy."""
    columns = [table.frame[name].astype(str) for name in ("group", "source", "split") if name in table.frame]
    more = hashlib.blake2b("\0".join("\0".join(column) for column in columns).encode("utf-8", "surrogatepass"), digest_size=8)
    made = {"version": VERSION, "decoder": DECODER, "options": options.to_dict()}
    return {**made, "fingerprint": table.fingerprint, "columns": more.hexdigest(), "n": len(table)}


def _reuse(there: dict[str, Any], identity: dict[str, Any], out: Path, settings: Settings) -> AlignResult:
    hint = f"remove {out}, or choose another folder"
    if not isinstance(there, dict) or there.get("identity") != identity:
        raise DataError(f"{out}: contains a copy of other data, or with other settings", hint=hint)
    try:
        with parsing(out / MARKER):
            found = AlignResult.from_dict(there, out)
    except RunError as error:
        raise DataError(error.message, hint=hint) from None
    settings.progress.say(f"  reusing {out}")
    return found


class _AlignJob:
    """One copy in progress."""

    def __init__(
        self, table: ImageTable, out: Path, options: AlignOptions, settings: Settings, identity: dict[str, Any]
    ) -> None:
        self.full_table, self.out, self.options, self.settings, self.identity = table, out, options, settings, identity

    def run(self, problems: Sequence[Problem]) -> AlignResult:
        """Make or resume the copy. `problems`: rows of the source that are excluded."""
        inventory, corrupt = read_inventory(self.full_table, self.settings.progress)
        if corrupt and not self.settings.skip_bad:
            raise corrupt
        readable = np.ones(len(self.full_table), bool)
        readable[corrupt.rows if corrupt else []] = False
        rows = np.flatnonzero(readable)
        self.table, self.inventory = self.full_table.take(rows), inventory.take(rows)
        self.plan = plan_crops(self.table, self.inventory, self.options)
        with locked_folder(self.out) as copy:
            copy.begin(self.identity, len(self.plan.rows))
            failed = self._write(copy)
            metadata, total = self._read_back(copy)
            found = self._result(copy, metadata, total, problems)
            lost = [*(corrupt.problems if corrupt else ()), *failed]
            tables = manifest_files(self.table, self.inventory, self.plan, self.options, copy.written, lost, found)
            copy.end(tables, found.to_dict() | {"root": self.table.root, "identity": self.identity})
        return found

    def _write(self, copy: PartialCopy) -> list[Problem]:
        """Write the missing images; return the problems of images that cannot be decoded."""
        missing = [number for number in range(len(self.plan.rows)) if number not in copy.written]
        if self.options.encoder == "png":
            check_space(self.out, len(missing) * len(encode(np.zeros((*self.plan.size, 3), np.uint8), 0)))
        failed: list[tuple[int, Problem]] = []
        with (
            quiet(), ImageReader(self.table) as reader, ThreadPoolExecutor(os.cpu_count() or 1) as pool,
            self.settings.progress.task("writing", len(missing), "img") as task,
        ):  # fmt: skip
            one = self._writer(reader, copy)
            try:
                for start in range(0, len(missing), _BATCH):
                    made = list(pool.map(one, missing[start : start + _BATCH]))
                    copy.note({self._name(of.number): of for of in made if isinstance(of, CopyLog)})
                    failed += [of for of in made if not isinstance(of, CopyLog)]
                    task.advance(len(made))
            except KeyboardInterrupt:
                message = f"stopped; {len(copy.written):,} of {len(self.plan.rows):,} images are written"
                raise Interrupted(message, hint="repeat the command to resume") from None
        if failed and not self.settings.skip_bad:
            raise CorruptImages(*zip(*failed, strict=True), hint=CorruptImages.SKIP)
        return [problem for _, problem in failed]

    def _writer(self, reader: ImageReader, copy: PartialCopy) -> Callable[[int], CopyLog | tuple[int, Problem]]:
        """The function that writes the image of a number; it returns the row and the problem of one that cannot be decoded."""

        def one(number: int) -> CopyLog | tuple[int, Problem]:
            row = int(self.plan.rows[number])
            path = str(self.table.paths[row])
            try:
                pixels = decode(reader.get(path), mode="rgb", path=path)
            except ImageError as error:
                return row, Problem("corrupt image", error.path, error.reason)
            part = crop(pixels, self.plan.corners[number], self.plan.size)
            content = encode(part, int(self.plan.qualities[number]))
            copy.add(self._name(number), content)
            first = self.plan.grid_in(number, self.inventory.origins[row])
            seen = part if self.options.encoder == "png" else decode(content, mode="rgb")
            return CopyLog(number, digest(content), tuple(traces(seen, first).tolist()))

        return one

    def _read_back(self, copy: PartialCopy) -> tuple[np.ndarray, int]:
        """Read the written files back: their metadata, (W, D) float64 by number, and the sum of their bytes."""
        rows, total = [], 0
        with self.settings.progress.task("verifying the written files", len(copy.written), "img") as task:
            for number, made in sorted(copy.written.items()):
                path = self.out / self._name(number)
                content = read_bytes(path)
                if digest(content) != made.digest:
                    hint = f"remove {self.out}, check the disk, and run the command again"
                    raise SystemLimitError(f"{path}: the content differs from what was written", hint=hint)
                rows.append(metadata_features(content, str(path)))
                total += len(content)
                task.advance()
        return np.stack(rows), total

    def _name(self, number: int) -> str:
        """Path of an image below the folder."""
        return self.plan.name(number, self.options.ending)

    def _result(self, copy: PartialCopy, metadata: np.ndarray, total: int, problems: Sequence[Problem]) -> AlignResult:
        """The result: counts of each class, and how well metadata and traces still separate the classes."""
        numbers = np.array(sorted(copy.written))
        seen = np.array([copy.written[number].traces for number in numbers.tolist()])
        rows = self.plan.rows[numbers]
        labeled = self.table.labels[rows] >= 0
        images = self.table.take(rows[labeled])
        before = self.inventory.metadata[rows[labeled]]
        folds = leakage.assign_folds(images, self.inventory.digests[rows[labeled]], self.options.seed)
        scores: list[Score | None] = [None, None, None]
        if folds is not None:
            self.settings.progress.say("  evaluating the metadata baseline, before and after")
            known = [before if np.isfinite(before).any() else None, metadata[labeled]]
            scores = [None if of is None else leakage.class_auroc(images, of, folds) for of in known]
            content = pd.factorize(self.inventory.digests[rows[labeled]])[0]
            scores.append(trace_separation(seen[labeled, :COUNT], images, content))
        return AlignResult(
            self.out, self.table.name, self.options, self.plan.size, self._classes(rows, seen[:, COUNT]), total / 1e6, *scores,
            problems=tuple(map(str, problems)),
        )  # fmt: skip

    def _classes(self, rows: np.ndarray, gray: np.ndarray) -> dict[str, ClassResult]:
        """Counts by class name, "" for images without a label. `rows`: (W,) written positions; `gray`: (W,) 0 or 1."""
        found = {}
        area = self.inventory.sizes.prod(axis=1)
        for label in np.unique(self.full_table.labels)[::-1]:
            there, own = self.table.labels == label, self.table.labels[rows] == label
            count, small = (
                int((self.full_table.labels == label).sum()),
                int((self.table.labels[self.plan.small] == label).sum()),
            )
            name = self.table.classes[label] if label >= 0 else ""
            if not own.any():
                raise DataError(f"no image of the class {name!r} can be decoded")
            shares = float(gray[own].mean()), float(np.median(area[there]))
            found[name] = ClassResult(count, small, count - small - int(own.sum()), *shares)
        return dict(sorted(found.items(), key=lambda item: self._position(item[0])))

    def _position(self, name: str) -> int:
        return self.table.classes.index(name) if name in self.table.classes else len(self.table.classes)
