"""The same picture again, not byte for byte: saved anew, resized, cropped a little, mirrored, or edited in places.

Every pair of images is looked at coarsely, and what looks alike is laid over each other and compared detail by detail
(`_lookalikes`, `_alignment`). With a run of yours, what its net finds alike is compared, too. Exact copies are left to the
check `duplicates`.
"""

from __future__ import annotations

from typing import Any, final

import numpy as np
from pydantic import Field

from tellapart.checks import _candidate_pairs as lookalikes
from tellapart.checks import _registration as alignment
from tellapart.checks._dataset_view import DatasetView
from tellapart.checks._pairs import Pairs, pairs_result
from tellapart.checks.base import CheckResult, HealthCheck, passed
from tellapart.checks.duplicates import exact_duplicates
from tellapart.errors import RunError
from tellapart.recipe.schema import OptionsModel
from tellapart.runs.store import open_run

#: Of pictures as vectors of a run, less the mean of all: the cosine that makes a candidate.
_ALIKE = 0.5


@final
class NearDuplicates(HealthCheck):
    """Pictures that show the same."""

    class Options(OptionsModel):
        """Options of the check."""

        candidates: int = Field(
            default=8, ge=1, le=256, description="of each image so many of the most similar ones are compared in detail"
        )
        mirrored: bool = Field(default=True, description="find mirror images, too")
        embedding: str | None = Field(
            default=None, description="a finished run: what lies close in its vectors is compared in detail, too"
        )
        everywhere: bool = Field(
            default=False,
            description="false: of images that look like many others (clothes) only what is certainly the same counts",
        )

    def _run(self, view: DatasetView) -> CheckResult:
        if len(view.table) < 2:
            return passed(len(view.table), "fewer than two images: nothing to compare", "skipped")
        pairs, details = find_near_duplicates(view, self.options)
        return pairs_result(view, pairs, "a near-duplicate", False, details)


def find_near_duplicates(view: DatasetView, options: Any) -> tuple[Pairs, dict[str, Any]]:
    """All pairs of near-duplicates, and figures of the search.

    Args:
        view: Of N images.
        options: `NearDuplicates.Options`.

    Raises:
        DataError, RunError: The run of the option `embedding` cannot be had, or cannot read the images.
    """
    rows, details = _judged(view)
    gray = view.pictures.gray
    vectors, pyramid = lookalikes.describe(gray, rows), alignment.Pyramid(gray, rows)
    sides = view.pictures.sides[rows].min(axis=1)
    copy_of = exact_duplicates(view)[rows]
    embedded = _embedded(view, rows, options) if options.embedding else None
    found = [Pairs(np.zeros((0, 2), np.int64), np.zeros(0, np.float32), np.zeros(0, bool))]
    for mirror in (False, True)[: 1 + options.mirrored]:
        others = lookalikes.mirrored(vectors) if mirror else vectors
        with view.progress.task(f"looking for {'mirror images' if mirror else 'look-alikes'}", len(rows), "img") as task:
            pairs, alike = lookalikes.candidates(vectors, others, options.candidates, task)
        crowded = alike > 2 * options.candidates
        pairs = pairs if embedded is None else np.unique(np.concatenate([pairs, embedded]), axis=0)
        pairs = pairs[copy_of[pairs[:, 0]] != copy_of[pairs[:, 1]]]
        with view.progress.task("comparing look-alikes", len(pairs), "pair") as task:
            agreement = alignment.compare(pyramid, pairs, sides[pairs].min(axis=1), mirror, task)
        sure = agreement.same if options.everywhere else agreement.certain | ~crowded[pairs].any(axis=1)
        same = agreement.same & sure
        details["compared"] += len(pairs)
        details["look_like_many"] = max(details["look_like_many"], int(crowded.sum()))
        found.append(Pairs(rows[pairs[same]], agreement.score[same], np.full(int(same.sum()), mirror)))
    return _once(found, len(view.table)), details


def _embedded(view: DatasetView, rows: np.ndarray, options: Any) -> np.ndarray:
    """Pairs of `rows` that lie close as vectors of a run: (P, 2) int64 positions in `rows`.

    Raises:
        RunError: There is no such run, or it compares images by nothing of its own (the metadata baseline, ensembles).
        CorruptImages: An image cannot be read as that run reads it.
        DataError: Columns of boxes that the run reads by are not there.
    """
    from tellapart.inference.context import Settings
    from tellapart.inference.embedding import PLAIN, Embedder

    run = open_run(options.embedding, view.runs)
    by = Embedder(run, Settings(runs=view.runs, progress=view.progress))
    if by.by == PLAIN:
        raise RunError(
            f"{run.id}: a run of the family {run.family!r} has no vectors of its own to compare images by",
            hint="name a network, or a run on descriptors, for example of the recipe color-lda",
        )
    if len(rows) < 2:
        return np.zeros((0, 2), np.int64)
    vectors = by.embed(view.table.take(rows))
    vectors -= vectors.mean(axis=0)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    with view.progress.task(f"looking for neighbors in {run.id}", len(rows), "img") as task:
        return lookalikes.candidates(vectors, vectors, options.candidates, task, _ALIKE)[0]


def _judged(view: DatasetView) -> tuple[np.ndarray, dict[str, Any]]:
    """Rows that can be recognized, of exact copies in one split and class the first; and why others are left out."""
    table, pictures = view.table, view.pictures
    readable = view.readable
    tiny = readable & (pictures.sides.min(axis=1) < alignment.SMALLEST)
    poor = readable & ~tiny & ~alignment.has_structure(pictures.gray)
    splits = np.unique(table.frame["split"].to_numpy(str), return_inverse=True)[1] if "split" in table.frame else table.labels
    key = np.column_stack([pictures.digests, table.labels.astype(np.uint64), splits.astype(np.uint64)])
    first = np.unique(key, axis=0, return_index=True)[1]
    usable = np.zeros(len(table), bool)
    usable[first] = True
    details = {"too_small": int(tiny.sum()), "too_little_structure": int(poor.sum()), "compared": 0, "look_like_many": 0}
    return np.flatnonzero(usable & readable & ~tiny & ~poor), details


def _once(found: list[Pairs], count: int) -> Pairs:
    """All of them; a pair that is the same both ways, a symmetric picture, stands once, with its better score."""
    rows = np.concatenate([pairs.rows for pairs in found])
    scores = np.concatenate([pairs.scores for pairs in found])
    mirror = np.concatenate([pairs.mirror for pairs in found])
    order = np.lexsort((mirror, -scores))
    first = np.sort(order[np.unique(rows[order] @ np.array([count, 1]), return_index=True)[1]])
    return Pairs(rows[first], scores[first], mirror[first])
