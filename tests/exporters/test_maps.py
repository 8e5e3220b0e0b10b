"""The formulas that are written twice, for NumPy and for graphs, give the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tellapart import registry
from tellapart.calibration import maps
from tellapart.calibration.decision import Decision
from tellapart.classifiers._torch_inference import CalibratedModule, InferenceModule, normalize_rows
from tellapart.classifiers._torch_maps import calibration_module, combiner_module
from tellapart.combiners.base import Combiner
from tellapart.combiners.stack import Stack
from tellapart.errors import RunError
from tellapart.recipe.schema import Inputs

COMBINERS: list[tuple[str, dict[str, Any]]] = [
    ("mean", {}), ("vote", {}), ("geometric_mean", {}), ("confident", {"sure": 0.6}), ("rank", {}), ("weighted", {}),
    ("weighted", {"by": "inverse"}), ("greedy", {}), ("greedy", {"bags": 5, "share": 0.7}), ("stack", {}),
]  # fmt: skip


def answers(seed: int, count: int, classes: int, sure: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are right more often than not, some exactly 0 and 1, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    logits = rng.normal(0, sure, (count, classes)) + 1.5 * np.eye(classes)[labels]
    proba = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    proba[:3] = np.eye(classes)[[0, 1, 0]]
    return proba.astype(np.float32), labels


@pytest.mark.parametrize("name", sorted(maps.CALIBRATIONS))
@pytest.mark.parametrize("classes", [2, 4])
def test_maps_of_probabilities(name: str, classes: int) -> None:
    learnt = maps.find(name).fit(*answers(0, 300, classes))
    asked, _ = answers(1, 200, classes)
    found = normalize_rows(calibration_module(learnt)(torch.from_numpy(asked))).numpy()
    np.testing.assert_allclose(found, learnt(asked), atol=2e-7)
    assert np.abs(found - asked).max() > 0.01  # it does something


@pytest.mark.parametrize(("name", "options"), COMBINERS, ids=[f"{name} {options}" for name, options in COMBINERS])
@pytest.mark.parametrize("classes", [2, 3])
def test_combiners(name: str, options: dict[str, Any], classes: int) -> None:
    family: type[Combiner] = registry.find("combiners", name)
    pairs = [answers(0, 200, classes, sure) for sure in (1.0, 2.0, 4.0, 1.5)]
    combiner = family(family.Options.model_validate(options)).fit(np.stack([proba for proba, _ in pairs]), pairs[0][1])
    voters = np.stack([answers(seed, 150, classes)[0] for seed in range(4)])
    asked = voters if combiner.weights is None else voters[combiner.weights != 0]  # the others are not in the graph
    found = normalize_rows(combiner_module(combiner)(torch.from_numpy(asked))).numpy()
    np.testing.assert_allclose(found, combiner(voters), atol=2e-7)


def test_a_stack_that_never_saw_a_class() -> None:
    proba, labels = answers(0, 200, 3)
    both, known = np.stack([proba, proba**2 / (proba**2).sum(1, keepdims=True)]), labels != 1
    combiner = Stack(Stack.Options()).fit(both[:, known], labels[known])
    voters = np.stack([answers(seed, 100, 3)[0] for seed in (1, 2)])
    np.testing.assert_allclose(
        normalize_rows(combiner_module(combiner)(torch.from_numpy(voters))).numpy(), combiner(voters), atol=2e-7
    )


def test_combiners_without_validation_are_the_mean() -> None:
    voters = np.stack([answers(seed, 100, 3)[0] for seed in (1, 2)])
    for name in ("rank", "stack", "weighted"):
        family: type[Combiner] = registry.find("combiners", name)
        combiner = family(family.Options()).fit(voters[:, :0], np.zeros(0, np.int64))
        np.testing.assert_allclose(combiner_module(combiner)(torch.from_numpy(voters)).numpy(), voters.mean(0), atol=1e-6)


def test_boosted_stacks_are_refused() -> None:
    proba, labels = answers(0, 100, 2)
    combiner = Stack(Stack.Options(learner="boosting", rounds=2)).fit(np.stack([proba, proba]), labels)
    with pytest.raises(RunError, match="stack cannot be written as a graph"):
        combiner_module(combiner)


class Given(InferenceModule):
    """Whatever it was given, as answers."""

    inputs = (Inputs(size=1, mode="rgb"),)

    def forward(self, *pixels: torch.Tensor) -> torch.Tensor:
        return pixels[0]


def test_the_whole_decision() -> None:
    """Calibration, then another mix of classes, also one that leaves a class nothing."""
    proba, labels = answers(0, 200, 3)
    for prior in ((0.7, 0.2, 0.1), (0.5, 0.5, 0.0)):
        learnt = maps.Vector.fit(proba, labels)
        decision = Decision(("a", "b", "c"), 200, None, learnt, seen=(0.3, 0.3, 0.4), prior=prior)
        found = CalibratedModule(Given(), decision)(torch.from_numpy(proba)).numpy()
        np.testing.assert_allclose(found, decision(proba), atol=2e-7)
