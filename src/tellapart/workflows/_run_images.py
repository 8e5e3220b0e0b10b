"""Which images of other data a run has seen: was fitted to, was selected by, or keeps as its sealed test split.

They are found by content. Names, places and times do not count (`data.identity`), so a copy, a zip and a renamed file are
recognized.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tellapart.data.identity import current_digests
from tellapart.errors import DataError, RunError
from tellapart.formatting import PARTS
from tellapart.inference.context import Settings
from tellapart.runs import store
from tellapart.runs.store import Run
from tellapart.types import SPLITS, ImageTable
from tellapart.workflows.kfold import trained_on_valid

#: What happens to images that a run has seen, when it is scored on other data.
Seen = Literal["refuse", "exclude", "include"]
_WORDS = {
    "train": ("was used for training", "were used for training"),
    "valid": ("was used for validation", "were used for validation"),
    "test": ("is in its sealed test split", "are in its sealed test split"),
}
_RANK = {name: rank for rank, name in enumerate((*SPLITS, ""))}


@dataclass(frozen=True, eq=False)
class OtherImages:
    """Labeled images to score a run on that are not its own data.

    Attributes:
        table: The images, with the classes of the run.
        sealed: Number of images that are in the sealed test split of the run.
        notes: What was excluded, or included though the run has seen it.
    """

    table: ImageTable
    sealed: int = 0
    notes: tuple[str, ...] = ()


def seen_images(run: Run, table: ImageTable) -> np.ndarray:
    """Which split of a run each image of a table is in, by content: (N,) object, "train", "valid", "test" or "".

    Images that are in several splits count for the first. Training images of the runs that it started from, and validation
    images of k-fold runs, count as "train".

    Args:
        run: A finished run.
        table: Identified images.
    """
    role_of: dict[str, str] = {}
    for one, own in _lineage(run):
        theirs, splits = one.table(), dict(zip(SPLITS, SPLITS, strict=True))
        if trained_on_valid(one):
            splits["valid"] = "train"
        for digest, split in zip(theirs.digests, theirs.frame["split"], strict=True):
            role = splits.get(split, "") if own or splits.get(split) == "train" else ""
            if role and _RANK[role] < _RANK[role_of.get(digest, "")]:
                role_of[digest] = role
    role_of[""] = ""  # what could not be read is no image
    return np.array([role_of.get(digest, "") for digest in table.digests], dtype=object)


def select_unseen(run: Run, table: ImageTable, seen: Seen) -> OtherImages:
    """Deal with the images that a run has seen.

    Args:
        run: A finished run.
        table: Identified, labeled images.
        seen: What to do where there are any.

    Raises:
        DataError: There are some and `seen` is "refuse", or nothing is left without them.
    """
    split = seen_images(run, table)
    known = np.flatnonzero(split != "")
    if not len(known):
        return OtherImages(table)
    text = f"{table.name}: {_counts(split)} (of {run.id})"
    if seen == "include":
        return OtherImages(table, int((split == "test").sum()), (f"not independent: {_counts(split)}",))
    left = len(table) - len(known)
    if not left:
        hint = "omit DATA to score the run on its validation split, or on its test split with --open-test"
        raise DataError(text, hint=hint)
    if seen == "refuse":
        raise DataError(text, hint=f"pass --exclude-seen to score the run on the {left:,} other image{'s' * (left > 1)}")
    return OtherImages(table.take(split == ""), notes=(f"{len(known):,} images are excluded: {_counts(split)}",))


def require_unchanged(run: Run, rows: ImageTable, part: str, settings: Settings) -> None:
    """Refuse images of a run whose files are not the ones that were split.

    Args:
        run: The run.
        rows: Images of its table, with the digests that they had then.
        part: Their split: "valid" or "test".
        settings: Progress, and whether to read files that seem unchanged.

    Raises:
        DataError: Some files have another content, or cannot be read.
        RunError: None can be read, or they must not be read.
    """
    if rows.withheld:
        raise RunError(rows.withheld, hint="pass their folder as DATA: images are recognized by their content")
    now = current_digests(rows, settings.progress, verify_files=settings.verify_files)
    changed = np.flatnonzero(now != rows.digests)
    if not len(changed):
        return
    if (now == "").all():
        hint = "restore them, or pass DATA: the same images at another place count as the run's own data"
        raise RunError(f"the images of {run.id} are no longer in {rows.root}", hint=hint)
    differ = "is not the file that was split" if len(changed) == 1 else "are not the files that were split"
    first = f"the first is {rows.paths[changed[0]]!r} in {rows.root}"
    raise DataError(
        f"{len(changed):,} of {len(rows):,} {PARTS[part]} images {differ}; {first}",
        hint="restore the files, or train again on the data as they are now",
    )


def locate(table: ImageTable, elsewhere: ImageTable, what: str) -> ImageTable:
    """The rows of a run's table, with the places at which the same files lie in other data.

    Args:
        table: Images of a run.
        elsewhere: Identified images, such as a moved copy of the run's data.
        what: Whose images they are, for the message: "test".

    Raises:
        DataError: Some are not among them.
    """
    place = {digest: path for digest, path in zip(elsewhere.digests, elsewhere.paths, strict=True) if digest}
    paths = [place.get(digest) for digest in table.digests]
    if lacking := [name for name, path in zip(table.ids, paths, strict=True) if path is None]:
        raise DataError(
            f"{len(lacking):,} of {len(table):,} {what} images are not in {elsewhere.name}; the first is {lacking[0]!r}",
            hint="pass the data that the run was trained on, unchanged; names and places of the files do not matter",
        )
    frame = table.frame.assign(path=np.array(paths, dtype=object))
    return replace(table, frame=frame, root=elsewhere.root, memory=elsewhere.memory, withheld=elsewhere.withheld)


def _lineage(run: Run) -> Iterator[tuple[Run, bool]]:
    """The run, and those it was made of or started from, as far as they still exist; each with whether it is the run itself."""
    waiting, known = [run], {run.folder}
    while waiting:
        one = waiting.pop()
        yield one, one is run
        for name in (*one.data.get("parents", ()), *one.data.get("started_from", ())):
            try:
                other = store.open_parent(str(name), one.runs)
            except RunError:  # removed since
                continue
            if other.folder not in known:
                known.add(other.folder)
                waiting.append(other)


def _counts(split: np.ndarray) -> str:
    """Such as "42 of 60 images were used for training, 12 are in its sealed test split". `split`: (N,) object."""
    parts = []
    for name, words in _WORDS.items():
        if count := int((split == name).sum()):
            of = f" of {len(split):,} images" if not parts else ""
            parts.append(f"{count:,}{of} {words[count != 1]}")
    return ", ".join(parts)
