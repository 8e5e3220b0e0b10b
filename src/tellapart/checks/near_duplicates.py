"""Near-duplicates: the same image re-compressed, resized, slightly cropped, mirrored, or locally edited.

All pairs of images are compared coarsely (`_candidate_pairs`); similar pairs are registered to each other and compared in
detail (`_registration`). With the option `embedding`, pairs that are close in the embedding of a finished run are compared in
detail, too. Exact duplicates are reported by the check `duplicates`.
"""

from __future__ import annotations

from typing import Any, final

import numpy as np
from pydantic import Field

from tellapart.checks import _candidate_pairs, _look_alikes, _registration
from tellapart.checks._dataset_view import DatasetView
from tellapart.checks._pairs import Pairs, pairs_result
from tellapart.checks.base import CheckResult, HealthCheck, passed
from tellapart.checks.duplicates import exact_duplicates
from tellapart.errors import RunError
from tellapart.recipe.schema import OptionsModel
from tellapart.runs.store import open_run

#: Cosine similarity of centered embeddings from which a pair is a candidate.
_MIN_COSINE = 0.5


@final
class NearDuplicates(HealthCheck):
    """Near-duplicate images."""

    options: Options

    class Options(OptionsModel):
        """Options of the check."""

        candidates: int = Field(
            default=8, ge=1, le=256, description="number of most similar images that each image is compared with in detail"
        )
        mirrored: bool = Field(default=True, description="find mirror images, too")
        embedding: str | None = Field(
            default=None, description="a finished run: images that are close in its embedding are compared in detail, too"
        )
        everywhere: bool = Field(
            default=False,
            description="apply the usual thresholds also to images that resemble many others (faces, clothes); "
            "false: such pairs must stand out from the others",
        )

    def _run(self, view: DatasetView) -> CheckResult:
        if len(view.table) < 2:
            return passed(len(view.table), "fewer than two images: nothing to compare", "skipped")
        pairs, details = find_near_duplicates(view, self.options)
        return pairs_result(view, pairs, "a near-duplicate", False, details, _rule_in_words(details))


def find_near_duplicates(view: DatasetView, options: NearDuplicates.Options) -> tuple[Pairs, dict[str, Any]]:
    """Find all pairs of near-duplicates, and return figures of the search with them.

    Args:
        view: N images.
        options: Options of the check.

    Raises:
        DataError, RunError: The run of the option `embedding` does not exist, or cannot read the images.
    """
    rows, details = _comparable_rows(view)
    gray = view.pixel_stats.gray
    vectors, pyramid = _candidate_pairs.describe(gray, rows), _registration.Pyramid(gray, rows)
    sides = view.pixel_stats.sides[rows].min(axis=1)
    cluster = exact_duplicates(view)[rows]
    from_embedding = _embedding_pairs(view, rows, options.embedding, options.candidates) if options.embedding else None
    found = [Pairs(np.zeros((0, 2), np.int64), np.zeros(0, np.float32), np.zeros(0, bool))]
    for mirror in (False, True)[: 1 + options.mirrored]:
        others = _candidate_pairs.mirrored(vectors) if mirror else vectors
        with view.progress.task(f"searching for {'mirror images' if mirror else 'similar images'}", len(rows), "img") as task:
            pairs, alike = _candidate_pairs.candidates(vectors, others, options.candidates, task)
        crowded = alike > _look_alikes.MANY
        pairs = pairs if from_embedding is None else np.unique(np.concatenate([pairs, from_embedding]), axis=0)
        pairs = pairs[cluster[pairs[:, 0]] != cluster[pairs[:, 1]]]
        with view.progress.task("comparing similar images", len(pairs), "pair") as task:
            agreement = _registration.compare(pyramid, pairs, sides[pairs].min(axis=1), mirror, task)
        ruled = np.asarray(crowded[pairs].any(axis=1)) & (not options.everywhere)
        same = _same(agreement, ruled)
        details["compared"] += len(pairs)
        details["look_like_many"] = max(details["look_like_many"], int(crowded.sum()))
        details["look_alike_pairs"] += int((agreement.same & ruled).sum())
        details["look_alike_pairs_rejected"] += int((agreement.same & ~same).sum())
        found.append(Pairs(rows[pairs[same]], agreement.score[same], np.full(int(same.sum()), mirror)))
    return _merge(found, len(view.table)), details


def _same(agreement: _registration.RegistrationScore, ruled: np.ndarray) -> np.ndarray:
    """Which pairs are near-duplicates: (P,) bool. `ruled`: (P,) bool, the pairs that the rule for look-alikes applies to."""
    stands_out = np.ones(len(ruled), bool)
    judged = ruled & (agreement.trimmed > -1)
    stands_out[judged] = _look_alikes.stand_out(agreement.trimmed[judged])
    return agreement.same & (stands_out | agreement.certain)


def _rule_in_words(details: dict[str, Any]) -> str:
    """Say where the rule for look-alikes was applied; "" if it was not."""
    pairs, rejected = details["look_alike_pairs"], details["look_alike_pairs_rejected"]
    if not pairs:
        return ""
    images = f"{details['look_like_many']:,} images resemble more than {_look_alikes.MANY} others"
    return (
        f"{images}: of their {pairs:,} similar pair{'s' if pairs > 1 else ''}, {rejected:,} do not stand out and are left out"
    )


def _embedding_pairs(view: DatasetView, rows: np.ndarray, run_name: str, candidates: int) -> np.ndarray:
    """Pairs of `rows` that are close in the embedding of a run: (P, 2) int64 positions in `rows`.

    Raises:
        RunError: There is no such run, or it has no embedding of its own (the metadata baseline, ensembles).
        CorruptImages: An image cannot be read the way that run reads it.
        DataError: Columns of boxes that the run needs are missing.
    """
    from tellapart.inference.context import Settings
    from tellapart.inference.embedding import PLAIN, Embedder

    run = open_run(run_name, view.runs)
    embedder = Embedder(run, Settings(runs=view.runs, progress=view.progress))
    if embedder.by == PLAIN:
        raise RunError(
            f"{run.id}: a run of the family {run.family!r} has no embedding to compare images by",
            hint="name the run of a network, or of a recipe with features, for example color-lda",
        )
    if len(rows) < 2:
        return np.zeros((0, 2), np.int64)
    vectors = embedder.embed(view.table.take(rows))
    vectors -= vectors.mean(axis=0)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    with view.progress.task(f"searching for neighbors in {run.id}", len(rows), "img") as task:
        return _candidate_pairs.candidates(vectors, vectors, candidates, task, _MIN_COSINE)[0]


def _comparable_rows(view: DatasetView) -> tuple[np.ndarray, dict[str, Any]]:
    """Rows with enough structure, only the first of exact duplicates in one split and class; and counts of excluded rows."""
    table, stats = view.table, view.pixel_stats
    readable = view.readable
    tiny = readable & (stats.sides.min(axis=1) < _registration.SMALLEST)
    poor = readable & ~tiny & ~_registration.has_structure(stats.gray)
    splits = np.unique(table.frame["split"].to_numpy(str), return_inverse=True)[1] if "split" in table.frame else table.labels
    key = np.column_stack([stats.digests, table.labels.astype(np.uint64), splits.astype(np.uint64)])
    first = np.unique(key, axis=0, return_index=True)[1]
    usable = np.zeros(len(table), bool)
    usable[first] = True
    details = {"too_small": int(tiny.sum()), "too_little_structure": int(poor.sum()), "compared": 0, "look_like_many": 0}
    details |= {"look_alike_pairs": 0, "look_alike_pairs_rejected": 0}
    return np.flatnonzero(usable & readable & ~tiny & ~poor), details


def _merge(found: list[Pairs], count: int) -> Pairs:
    """Merge lists of pairs; a pair that is found both ways (a symmetric image) is kept once, with its better score."""
    rows = np.concatenate([pairs.rows for pairs in found])
    scores = np.concatenate([pairs.scores for pairs in found])
    mirror = np.concatenate([pairs.mirror for pairs in found])
    order = np.lexsort((mirror, -scores))
    first = np.sort(order[np.unique(rows[order] @ np.array([count, 1]), return_index=True)[1]])
    return Pairs(rows[first], scores[first], mirror[first])
