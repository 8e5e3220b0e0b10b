"""How often do 95 % intervals of scores hold the truth?

Claim: those of accuracy, class averages, Matthews, kappa, log loss, Brier and AUROC do in 91 to 99 % of test parts, from
two classes of 50 images to 141 classes of two; that of the calibration error in 96 to 99 % of independent images, on the wide
side on purpose. Not so log loss and Brier where mistakes are few and dear: two classes of 50 images, 90 % right, 90 % coverage
of log loss, and less of both in groups (see docs/statistics.md). Scores whose truth is not known here (equal error rate, …)
are simulated in tests/metrics/test_roc.py.
Conditions: a population is made first and its scores computed exactly, under the class mix of the test part. In it every
class has its own accuracy (Beta distributed around that of the setting) and its own favorite wrong answers. `fixed`
test parts have equally many images of each class; in `random` ones the classes are drawn too, so that some have one
image or none (which counts 0 in the truth, as in the score). `grouped` ones have groups of five images of one class,
`scenes` groups of ten images of mixed classes; images of a group share a difficulty. 300 simulations: ±2.5 points.

    python benchmarks/interval_coverage.py [--simulations 300] [--designs fixed random grouped scenes] [--seed 0]

Prints JSON: one row a setting, and for each score the coverage and the mean width of the interval.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass

import numpy as np

from tellapart.metrics.classification import kappa_of, matthews_of
from tellapart.metrics.reliability import BINS
from tellapart.metrics.score_all import score_all
from tellapart.types import Predictions

SETTINGS = [(2, 50), (10, 20), (40, 5), (40, 20), (141, 2)]  # classes, images of each
ACCURACIES = [0.65, 0.9]
DESIGNS = ["fixed", "random", "grouped", "scenes"]
GROUP_SIZE = {"grouped": 5, "scenes": 10}
RIGHT, WRONG = 4, 2  # confidence is (1 + Beta(a, 1)) / 2, with this a for right and for wrong answers
BETWEEN_CLASSES, BETWEEN_GROUPS = 12, 4  # a + b of the Beta distributions of accuracy


@dataclass(frozen=True)
class Population:
    """Everything that decides what an image of a class is answered.

    Attributes:
        recall: (C,) float64, the chance of a right answer.
        mistakes: (C, C) float64, the chances of the answers when wrong; rows sum to 1, zero diagonal.
    """

    recall: np.ndarray
    mistakes: np.ndarray


def main() -> None:
    """Simulate every setting and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=300)
    parser.add_argument("--designs", nargs="+", choices=DESIGNS, default=DESIGNS)
    parser.add_argument("--seed", type=int, default=0, help="another seed makes other populations, too")
    options = parser.parse_args()
    rows = [
        simulate(classes, images, accuracy, design, options.simulations, options.seed)
        for design in options.designs
        for classes, images in SETTINGS
        for accuracy in ACCURACIES
        if images >= 2 * GROUP_SIZE.get(design, 1)  # two groups of each class, or there is nothing to compare
    ]
    print(json.dumps({"simulations": options.simulations, "seed": options.seed, "settings": rows}, indent=1))


def simulate(classes: int, images: int, accuracy: float, design: str, simulations: int, seed: int) -> dict:
    """Coverage and mean width of every interval in one setting."""
    rng = np.random.default_rng([seed, classes, images, int(100 * accuracy), DESIGNS.index(design)])
    population = make_population(rng, classes, accuracy)
    held, widths = {}, {}
    for _ in range(simulations):
        test = draw(rng, population, images, design)
        truth = true_scores(population, np.bincount(test.labels, minlength=classes))
        for name, score in score_all(test, test.classes[1]).items():
            if name not in truth:
                continue
            held.setdefault(name, []).append(score.low <= truth[name] <= score.high)
            widths.setdefault(name, []).append(score.high - score.low)
    found = {name: {"coverage": mean(held[name]), "width": mean(widths[name])} for name in held}
    return {"design": design, "classes": classes, "images_per_class": images, "accuracy": accuracy, "scores": found}


def mean(values: list) -> float:
    """To four places."""
    return round(float(np.mean(values)), 4)


def make_population(rng: np.random.Generator, classes: int, accuracy: float) -> Population:
    """Accuracies around `accuracy`, and for every class a few likely wrong answers."""
    recall = rng.beta(BETWEEN_CLASSES * accuracy, BETWEEN_CLASSES * (1 - accuracy), size=classes)
    mistakes = rng.gamma(0.3, size=(classes, classes)) + 1e-3
    np.fill_diagonal(mistakes, 0)
    return Population(recall, mistakes / mistakes.sum(axis=1, keepdims=True))


def draw(rng: np.random.Generator, population: Population, images: int, design: str) -> Predictions:
    """A test part. Images of a group share their chance of a right answer, and the wrong answer of each class."""
    classes = len(population.recall)
    n = classes * images
    labels = np.repeat(np.arange(classes), images) if design in ("fixed", "grouped") else rng.integers(classes, size=n)
    groups = np.arange(n) // GROUP_SIZE.get(design, 1)
    chance = population.recall[labels]
    if design in GROUP_SIZE:
        chance = correlated(rng, chance, groups)
    right = rng.random(n) < chance
    cumulated = np.cumsum(population.mistakes, axis=1)[labels]
    wrong = np.minimum(np.sum(cumulated < rng.random(n)[groups][:, None], axis=1), classes - 1)
    answers = np.where(right, labels, wrong)
    ids = np.array([str(i) for i in range(n)], dtype=object)
    names = groups.astype(str).astype(object) if design in GROUP_SIZE else None
    return Predictions(ids, probabilities(rng, right, answers, classes), labels, class_names(classes), groups=names)


def correlated(rng: np.random.Generator, chance: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Each image's chance of a right answer given its group's difficulty; its mean over difficulties is `chance`."""
    from scipy.stats import beta

    return beta.ppf(rng.random(len(groups))[groups], BETWEEN_GROUPS * chance, BETWEEN_GROUPS * (1 - chance))


def probabilities(rng: np.random.Generator, right: np.ndarray, answers: np.ndarray, classes: int) -> np.ndarray:
    """The answer gets (1 + Beta) / 2, the other classes share the rest evenly: (N, C) float64."""
    n = len(right)
    sure = (1 + rng.random(n) ** (1 / np.where(right, RIGHT, WRONG))) / 2
    proba = np.repeat(((1 - sure) / (classes - 1))[:, None], classes, axis=1)
    proba[np.arange(n), answers] = sure
    return proba


def true_scores(population: Population, support: np.ndarray) -> dict[str, float]:
    """The scores of endlessly many images in the class mix `support`, (C,) int64, classes without an image counting 0."""
    recall, mix = population.recall, support / support.sum()
    hits = mix * recall
    answered = hits + (mix * (1 - recall)) @ population.mistakes
    accuracy, f1 = float(hits.sum()), 2 * hits / (mix + answered)
    return {
        "accuracy": accuracy,
        "macro-precision": float(np.mean(hits / answered)),
        "macro-recall": float(np.mean(recall * (support > 0))),
        "macro-f1": float(np.mean(f1)),
        "balanced-accuracy": float(np.mean(recall[support > 0])),
        "weighted-precision": float(mix @ (hits / answered)),
        "weighted-f1": float(mix @ f1),
        "matthews": float(matthews_of(hits, mix, answered)),
        "kappa": float(kappa_of(hits, mix, answered)),
        "auroc": true_auroc(recall[0], recall[1]),
    } | true_probability_scores(accuracy, len(recall))


def true_probability_scores(accuracy: float, classes: int) -> dict[str, float]:
    """Log loss, Brier and calibration error, from the distributions of confidence of right and of wrong answers."""
    even = (np.arange(100_000) + 0.5) / 100_000
    right, wrong = ((1 + even ** (1 / a)) / 2 for a in (RIGHT, WRONG))
    others = classes - 1
    surprise = accuracy * -np.log(right).mean() + (1 - accuracy) * -np.log((1 - wrong) / others).mean()
    distance_right = np.mean((1 - right) ** 2 * (1 + 1 / others))
    given, rest = (1 - wrong) / others, (others - 1) * ((1 - wrong) / others) ** 2
    distance_wrong = np.mean(wrong**2 + (1 - given) ** 2 + rest)
    brier = (accuracy * distance_right + (1 - accuracy) * distance_wrong) / (2 if classes == 2 else 1)
    gaps = np.zeros(BINS)
    for sure, share, hit in ((right, accuracy, 1), (wrong, 1 - accuracy, 0)):
        np.add.at(gaps, np.ceil(sure * BINS).astype(int) - 1, share * (hit - sure) / len(even))
    return {"log-loss": float(surprise), "brier": float(brier), "ece": float(np.abs(gaps).sum())}


def true_auroc(negative_recall: float, positive_recall: float) -> float:
    """Both right: apart. One right, one wrong, on the same side of ½: the right one is surer with chance 4 / (4 + 2)."""
    one_wrong = positive_recall * (1 - negative_recall) + (1 - positive_recall) * negative_recall
    return float(positive_recall * negative_recall + one_wrong * RIGHT / (RIGHT + WRONG))


def class_names(classes: int) -> tuple[str, ...]:
    """As many names."""
    return tuple(f"class{c}" for c in range(classes))


if __name__ == "__main__":
    main()
