"""Edited copies are found among aligned look-alikes, and look-alikes are not called the same."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from tellapart.checks._dataset_view import DatasetView
from tellapart.checks._look_alikes import WRONG, stand_out
from tellapart.checks.near_duplicates import NearDuplicates
from tellapart.data.memory import from_bytes

RECALL, PRECISION = 0.90, 0.99


@pytest.fixture(scope="module")
def sets():
    """The benchmark that makes the sets."""
    path = Path(__file__).parents[2] / "benchmarks" / "look_alikes.py"
    spec = importlib.util.spec_from_file_location("look_alikes", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["look_alikes"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["look_alikes"]


def found_in(sets, planted, **options):
    """The planted pairs that are found, those that are wrong, and the result."""
    table = from_bytes(planted.blobs, np.zeros(len(planted.blobs), int), ["image"])
    result = NearDuplicates(NearDuplicates.Options(**options))(DatasetView(table, traces=False))
    pairs = np.zeros((0, 2), int) if result.pairs is None else result.pairs
    same = planted.origin[pairs[:, 0]] == planted.origin[pairs[:, 1]]
    return len({int(row) for row in pairs[same].max(axis=1)}), int((~same).sum()), result


def test_edited_faces_are_found_among_faces(sets):
    draw = np.random.default_rng(3)
    planted = sets.plant(sets.faces(320, draw), 80, sets.LOCAL, draw, png=False)
    found, wrong, result = found_in(sets, planted)
    details = result.details
    assert found >= RECALL * 80 and wrong == 0, (found, wrong)
    assert details["look_like_many"] > 50 and details["look_alike_pairs"] > 10
    images, pairs, rejected = (details[f"look_{of}"] for of in ("like_many", "alike_pairs", "alike_pairs_rejected"))
    said = f"; {images} images resemble more than 16 others: of their {pairs} similar pairs, {rejected} do not stand out"
    assert f"{said} and are left out" in result.summary
    everywhere = found_in(sets, planted, everywhere=True)[2]
    assert everywhere.details["look_alike_pairs"] == 0 and "resemble more than" not in everywhere.summary
    assert len(result.pairs) <= len(everywhere.pairs) <= len(result.pairs) + rejected


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_1000_look_alike_crops(sets, seed):
    """The promise: of 200 edited copies among 1,000 aligned face-like crops ≥ 90 % are found, at a precision of ≥ 99 %."""
    planted = sets.make("faces", np.random.default_rng(seed))
    found, wrong, result = found_in(sets, planted)
    assert len(planted.blobs) == 1000 and result.details["look_like_many"] > 400
    assert found >= RECALL * 200 and wrong <= (1 - PRECISION) * (found + wrong), (found, wrong)


def test_pairs_far_beyond_the_tail_stand_out():
    draw = np.random.default_rng(0)
    different = 1 - np.exp(-draw.normal(0.5, 0.5, 5000))
    true = 1 - np.exp(-draw.normal(6, 0.5, 100))
    kept = stand_out(np.concatenate([different, true]).astype(np.float32))
    assert kept[5000:].all() and kept[:5000].sum() <= 3


def test_the_share_of_wrong_pairs_is_kept():
    """200 draws in which the true pairs overlap with the tail: of all pairs kept, 1 % or fewer are wrong."""
    wrong = kept = 0
    for seed in range(200):
        draw = np.random.default_rng(seed)
        closeness = np.concatenate([draw.normal(0, 1, 2000), draw.normal(4.5, 1, 100)])
        stands_out = stand_out((1 - np.exp(-closeness)).astype(np.float32))
        wrong, kept = wrong + int(stands_out[:2000].sum()), kept + int(stands_out.sum())
    assert kept > 200 * 50 and wrong <= 1.2 * WRONG * kept, (wrong, kept)


def test_nothing_stands_out_of_a_plain_tail_or_of_too_few():
    draw = np.random.default_rng(1)
    assert sum(stand_out(1 - np.exp(-draw.normal(1, 0.5, 3000))).any() for _ in range(100)) <= 5
    assert not stand_out(np.append(np.full(50, 0.1), 0.999)).any() and not stand_out(np.zeros(0)).any()
    assert not stand_out(np.ones(500)).any()  # all alike: nothing to compare with
