"""The verb `align`: a copy of labeled images in which files of all classes are alike.

Every image gives one crop of its own pixels, never resized, of the one size; the crops are written by the one encoder, without
metadata, under numbers that were drawn. What a header says of a file is then the same for all. What an earlier compression
did to the pixels is still in them: `Aligned.traces` says how much it tells.

    OUT/images/<number>.png
    OUT/train.csv       id, label, and group, source, split where the source has them; `tellapart compare OUT` reads it
    OUT/test.csv        images without a label, if there are any
    OUT/manifest.csv    for each image its source, the digest of that, the box, the encoder's settings
    OUT/left-out.csv    what is not there, and why
    OUT/align.json      settings and figures; the marker, last of all
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.alignment import leakage
from tellapart.alignment.manifest import manifest_files
from tellapart.alignment.plan import AlignOptions, digest, plan_crops, read_inventory
from tellapart.alignment.result import AlignResult, ClassResult
from tellapart.alignment.writer import (
    CopyLog,
    PartialCopy,
    check_outside,
    check_space,
    crop,
    encode,
    locked_folder,
    read_finished,
)
from tellapart.data.cache import CorruptImages
from tellapart.data.decode import DECODER, decode, quiet
from tellapart.data.metadata import metadata_features
from tellapart.data.prepare import HARMLESS, format_problems
from tellapart.data.reader import ImageReader
from tellapart.data.scan import scan
from tellapart.errors import DataError, ImageError, Interrupted, SystemLimitError
from tellapart.features._jpeg_traces import COUNT, traces
from tellapart.inference.context import DEFAULTS, Settings
from tellapart.types import ImageTable, Problem

#: Part of every copy's settings: raise it when the same settings give other files.
VERSION = 1
_PORTION = 128  # images written between two lines of the journal


def align(
    data: str | Path | ImageTable, out: str | Path, *, options: AlignOptions | None = None, settings: Settings = DEFAULTS,
    scanned_from: str | Path | None = None,
) -> AlignResult:  # fmt: skip
    """Write a copy in which format, metadata, size and compression are the same for all classes.

    The same call goes on where it was cut off, and gives the same files; a copy that is there is found.

    Args:
        data: A path that `scan` understands, or a table. Nothing is written there.
        out: A folder that does not exist, is empty, or holds the same copy, whole or not.
        choices: Size, encoder, seed.
        settings: `skip_bad` leaves out what cannot be read, counted; `progress` is told.
        beside: Of a table, the path that it was scanned from: `out` must not lie there either.

    Raises:
        DataError: The data have problems, there is no common size, `out` lies inside the data or holds something else.
        CorruptImages: Some cannot be decoded, and `skip_bad` is not set; the others are written, and the same call with it
            goes on.
        SystemLimitError: The disk is full, or there is no permission.
        Interrupted: Ctrl-C; what was written is kept.
    """
    out, options = Path(out).expanduser(), options or AlignOptions()
    table = data if isinstance(data, ImageTable) else scan(data)
    bad = [problem for problem in table.problems if problem.kind not in HARMLESS]
    if bad and not settings.skip_bad:
        raise DataError(format_problems(bad), hint="mend them, or leave these rows out, counted, with --skip-bad")
    check_outside(out, scanned_from if isinstance(data, ImageTable) else data, table)
    identity = _identity(table, options)
    if (there := read_finished(out)) is not None:
        return _reuse(there, identity, out, settings)
    return _AlignJob(table, out, options, settings, identity).run(bad)


def _identity(table: ImageTable, choices: AlignOptions) -> dict[str, Any]:
    """What makes two copies the same."""
    columns = [table.frame[name].astype(str) for name in ("group", "source", "split") if name in table.frame]
    more = hashlib.blake2b("\0".join("\0".join(column) for column in columns).encode("utf-8", "surrogatepass"), digest_size=8)
    made = {"version": VERSION, "decoder": DECODER, "choices": choices.to_dict()}
    return {**made, "fingerprint": table.fingerprint, "columns": more.hexdigest(), "n": len(table)}


def _reuse(there: dict[str, Any], identity: dict[str, Any], out: Path, settings: Settings) -> AlignResult:
    if there["identity"] != identity:
        hint = f"remove {out}, or choose another folder"
        raise DataError(f"{out}: holds a copy of other data, or with other settings", hint=hint)
    settings.progress.say(f"  {out} is there already")
    return AlignResult.from_dict(there, out)


class _AlignJob:
    """One copy under way."""

    def __init__(
        self, table: ImageTable, out: Path, choices: AlignOptions, settings: Settings, identity: dict[str, Any]
    ) -> None:
        self.whole, self.out, self.choices, self.settings, self.identity = table, out, choices, settings, identity

    def run(self, problems: Sequence[Problem]) -> AlignResult:
        surveyed, corrupt = read_inventory(self.whole, self.settings.progress)
        if corrupt and not self.settings.skip_bad:
            raise corrupt
        readable = np.ones(len(self.whole), bool)
        readable[corrupt.rows if corrupt else []] = False
        rows = np.flatnonzero(readable)
        self.table, self.survey = self.whole.take(rows), surveyed.take(rows)
        self.plan = plan_crops(self.table, self.survey, self.choices)
        with locked_folder(self.out) as unfinished:
            unfinished.begin(self.identity)
            failed = self._write(unfinished)
            metadata, total = self._read_again(unfinished)
            found = self._judged(unfinished, metadata, total, problems)
            lost = [*(corrupt.problems if corrupt else ()), *failed]
            tables = manifest_files(self.table, self.survey, self.plan, self.choices, unfinished.written, lost, found)
            unfinished.end(tables, found.to_dict() | {"root": self.table.root, "identity": self.identity})
        return found

    # --- writing ------------------------------------------------------------------------------------------------------

    def _write(self, unfinished: PartialCopy) -> list[Problem]:
        """Write what is missing; what cannot be decoded comes back."""
        missing = [number for number in range(len(self.plan.rows)) if number not in unfinished.written]
        if self.choices.encoder == "png":
            check_space(self.out, len(missing) * len(encode(np.zeros((*self.plan.size, 3), np.uint8), 0)))
        failed: list[tuple[int, Problem]] = []
        with (
            quiet(), ImageReader(self.table) as reader, ThreadPoolExecutor(os.cpu_count() or 1) as pool,
            self.settings.progress.task("writing", len(missing), "img") as task,
        ):  # fmt: skip
            one = self._writer(reader, unfinished)
            try:
                for start in range(0, len(missing), _PORTION):
                    made = list(pool.map(one, missing[start : start + _PORTION]))
                    unfinished.note({self._name(of.number): of for of in made if isinstance(of, CopyLog)})
                    failed += [of for of in made if not isinstance(of, CopyLog)]
                    task.advance(len(made))
            except KeyboardInterrupt:
                said = f"stopped; {len(unfinished.written):,} of {len(self.plan.rows):,} images are written"
                raise Interrupted(said, hint="give the same command again to go on from here") from None
        if failed and not self.settings.skip_bad:
            raise CorruptImages(*zip(*failed, strict=True))
        return [problem for _, problem in failed]

    def _writer(self, reader: ImageReader, unfinished: PartialCopy) -> Callable[[int], CopyLog | tuple[int, Problem]]:
        def one(number: int) -> CopyLog | tuple[int, Problem]:
            row = int(self.plan.rows[number])
            path = str(self.table.paths[row])
            try:
                pixels = decode(reader.get(path), mode="rgb", path=path)
            except ImageError as error:
                return row, Problem("corrupt image", error.path, error.reason)
            part = crop(pixels, self.plan.corners[number], self.plan.size)
            content = encode(part, int(self.plan.qualities[number]))
            unfinished.add(self._name(number), content)
            first = self.plan.grid_in(number, self.survey.origins[row])
            seen = part if self.choices.encoder == "png" else decode(content, mode="rgb")
            return CopyLog(number, digest(content), tuple(traces(seen, first).tolist()))

        return one

    def _read_again(self, unfinished: PartialCopy) -> tuple[np.ndarray, int]:
        """Metadata of what lies in the folder now, (W, D) float64 by number, and the bytes of all."""
        rows, total = [], 0
        with self.settings.progress.task("reading what was written", len(unfinished.written), "img") as task:
            for number, made in sorted(unfinished.written.items()):
                path = self.out / self._name(number)
                content = path.read_bytes()
                if digest(content) != made.digest:
                    hint = f"remove {self.out}, look after the disk, and give the command again"
                    raise SystemLimitError(f"{path}: is not what was written there", hint=hint)
                rows.append(metadata_features(content, str(path)))
                total += len(content)
                task.advance()
        return np.stack(rows), total

    def _name(self, number: int) -> str:
        return self.plan.name(number, self.choices.ending)

    # --- judging ------------------------------------------------------------------------------------------------------

    def _judged(self, unfinished: PartialCopy, metadata: np.ndarray, total: int, problems: Sequence[Problem]) -> AlignResult:
        numbers = np.array(sorted(unfinished.written))
        seen = np.array([unfinished.written[number].traces for number in numbers.tolist()])
        rows = self.plan.rows[numbers]
        labeled = self.table.labels[rows] >= 0
        asked = self.table.take(rows[labeled])
        before = self.survey.metadata[rows[labeled]]
        dealt = leakage.assign_folds(asked, self.survey.digests[rows[labeled]], self.choices.seed)
        scores = [None, None, None]
        if dealt is not None:
            self.settings.progress.say("  asking the metadata baseline, before and after")
            known = [before if np.isfinite(before).any() else None, metadata[labeled], seen[labeled, :COUNT]]
            scores = [None if of is None else leakage.class_auroc(asked, of, dealt) for of in known]
        return AlignResult(
            self.out, self.table.name, self.choices, self.plan.size, self._classes(rows, seen[:, COUNT]), total / 1e6, *scores,
            problems=tuple(map(str, problems)),
        )  # fmt: skip

    def _classes(self, rows: np.ndarray, gray: np.ndarray) -> dict[str, ClassResult]:
        """By name; "" for images without a label. `rows`: (W,) positions of those written; `gray`: (W,) 0 or 1."""
        found = {}
        area = self.survey.sizes.prod(axis=1)
        for label in np.unique(self.whole.labels)[::-1]:
            there, own = self.table.labels == label, self.table.labels[rows] == label
            count, small = int((self.whole.labels == label).sum()), int((self.table.labels[self.plan.small] == label).sum())
            name = self.table.classes[label] if label >= 0 else ""
            if not own.any():
                raise DataError(f"nothing is left of the class {name!r}: none of its images can be decoded")
            shares = float(gray[own].mean()), float(np.median(area[there]))
            found[name] = ClassResult(count, small, count - small - int(own.sum()), *shares)
        return dict(sorted(found.items(), key=lambda item: self._place(item[0])))

    def _place(self, name: str) -> int:
        return self.table.classes.index(name) if name in self.table.classes else len(self.table.classes)
