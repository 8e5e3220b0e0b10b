"""Flipped labels are found, by suspicion and by count; where labels cannot be learnt nothing is doubted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tellapart as ta
from tellapart.checks._dataset_view import DatasetView
from tellapart.checks._label_noise import estimate_label_noise
from tellapart.checks.base import CheckResult
from tellapart.checks.labels import Labels
from tellapart.errors import RecipeError
from tellapart.recipe.load import check_options
from tellapart.types import ImageTable

Data = Callable[[str], Path]
NOISE = 0.05


def flipped(table: ImageTable, count: int, seed: int, noise: float = NOISE) -> tuple[ImageTable, np.ndarray]:
    """`count` rows drawn by lot, a share of their labels replaced by another class; (count,) bool: which."""
    draw = np.random.default_rng(seed)
    table = table.take(draw.permutation(len(table))[:count])
    flip = draw.random(count) < noise
    wrong = (table.labels + draw.integers(1, len(table.classes), count)) % len(table.classes)
    frame = table.frame.assign(label=np.where(flip, wrong, table.labels))
    return ImageTable(frame, table.classes, table.root, table.positive, memory=table.memory), flip


def share_found(found: CheckResult, flip: np.ndarray) -> float:
    """Of the flips, those among the tenth of the rows with the highest scores."""
    worst = np.argsort(-found.scores, kind="stable")[: len(flip) // 10]
    return float(flip[worst].sum() / flip.sum())


def test_flips_stand_first(shared_data: Data) -> None:
    table, flip = flipped(ta.scan(shared_data("fashion-mnist")), 3000, seed=1)
    found = Labels()(DatasetView(table))
    assert share_found(found, flip) >= 0.6
    assert found.severity == "problem" and found.details["contradicted"] > 2 * found.details["expected"]
    row = next(iter(found.reasons))
    assert f"labeled {table.classes[table.labels[row]]!r}" in found.reasons[row] and found.is_issue[row]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_clean_draws_of_deepfake5_are_no_problem_and_flips_stand_first(shared_data: Data) -> None:
    """A model that agrees with 70 % of the labels contradicts many; 20 draws, clean and with 5 % of the labels flipped."""
    full, shares = ta.scan(shared_data("deepfake5.tar")), []
    for seed in range(20):
        clean = Labels()(DatasetView(flipped(full, 3000, seed, noise=0)[0]))
        assert clean.severity in ("fine", "notice"), clean.summary
        table, flip = flipped(full, 3000, seed)
        shares.append(share_found(Labels()(DatasetView(table)), flip))
    print(f"\n  flips in the first tenth: mean {np.mean(shares):.3f}, {min(shares):.3f} to {max(shares):.3f}", end="")
    assert np.mean(shares) >= 0.6 and min(shares) >= 0.5


def test_a_miscalibrated_model_is_no_evidence_of_wrong_labels() -> None:
    """Labels drawn from probabilities are right by definition, whether the model is too sure or too unsure of them."""
    draw = np.random.default_rng(3)
    logits = draw.normal(0, 3, 20_000)
    labels = (draw.random(len(logits)) < 1 / (1 + np.exp(-logits))).astype(np.int64)
    for sharper in (0.5, 1.0, 2.0):
        p = 1 / (1 + np.exp(-sharper * logits))
        found = estimate_label_noise(np.stack([1 - p, p], axis=1), labels)
        assert not found.significant and found.noise.low <= 0.005, (sharper, found)
    assert estimate_label_noise(np.stack([1 - p, p], axis=1), labels).p_value < 1e-4, "the count alone is fooled"


def test_the_share_of_wrong_labels_is_estimated() -> None:
    draw = np.random.default_rng(4)
    logits = draw.normal(0, 4, 5_000)
    labels = (draw.random(len(logits)) < 1 / (1 + np.exp(-logits))).astype(np.int64)
    flip = draw.random(len(labels)) < NOISE
    p = 1 / (1 + np.exp(-logits))
    found = estimate_label_noise(np.stack([1 - p, p], axis=1), np.where(flip, 1 - labels, labels))
    assert found.significant and found.noise.low <= NOISE <= found.noise.high and found.noise.high < 2 * NOISE


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fashion-mnist", "cifake.zip", "fruits.tar"])
def test_six_in_ten_flips_are_among_the_first_tenth(shared_data: Data, name: str) -> None:
    """In each of three draws; and in most of them there is evidence of wrong labels."""
    severities = []
    for seed in (1, 2, 3):
        table, flip = flipped(ta.scan(shared_data(name)), 3000, seed)
        found = Labels()(DatasetView(table))
        assert share_found(found, flip) >= 0.6
        severities.append(found.severity)
    assert severities.count("problem") >= 2, severities


def test_without_flips_it_is_no_problem(shared_data: Data) -> None:
    table, _ = flipped(ta.scan(shared_data("fashion-mnist")), 1500, seed=1, noise=0)
    found = Labels()(DatasetView(table))
    assert found.severity in ("fine", "notice") and found.details["p_value"] > 1e-3


def test_labels_by_lot_are_not_doubted(tiles: np.ndarray) -> None:
    labels = np.random.default_rng(0).integers(2, size=len(tiles))
    found = Labels()(DatasetView(ta.from_arrays(tiles, ["ab"[label] for label in labels])))
    assert found.severity == "skipped" and not found.is_issue.any() and not found.scores.any()


def test_few_images_one_class_and_no_labels_are_skipped(tiles: np.ndarray) -> None:
    for labels in (["a"] * 8, [None] * 8, ["a", "b"] * 4):
        assert Labels()(DatasetView(ta.from_arrays(tiles[:8], labels))).severity == "skipped"


def test_options_are_checked() -> None:
    assert Labels(check_options(Labels.Options, {"doubt": 0.2}, "check labels")).options.doubt == 0.2
    with pytest.raises(RecipeError, match="doubt"):
        check_options(Labels.Options, {"doubt": 0.9}, "check labels")
