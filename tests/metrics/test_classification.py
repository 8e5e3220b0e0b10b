"""Scores of answers beside scikit-learn, torchmetrics and worked examples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from tellapart.metrics import classification as module

pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60).map(np.array)


@pytest.mark.parametrize(("n", "classes"), [(200, 2), (300, 5), (500, 40)])
def test_averages_beside_scikit_learn(made, beside, n, classes):
    p = made(n, n, classes)
    for average in ("macro", "weighted", "micro"):
        ours = module.precision_recall_f1(p.labels, p.predicted, classes, average)
        theirs = reference.precision_recall_fscore_support(
            p.labels, p.predicted, labels=range(classes), average=average, zero_division=0
        )[:3]
        beside(f"{average} precision, recall, F1, scikit-learn, C = {classes}", ours, theirs)


@pytest.mark.parametrize(("n", "classes"), [(200, 2), (300, 5), (500, 40)])
def test_agreement_beside_scikit_learn_and_torchmetrics(made, beside, n, classes):
    from torch import from_numpy
    from torchmetrics.functional import classification

    p = made(n, n, classes)
    torch_answers, torch_labels = from_numpy(p.predicted), from_numpy(p.labels)
    matthews, kappa = module.matthews(p.labels, p.predicted, classes), module.kappa(p.labels, p.predicted, classes)
    beside("Matthews, scikit-learn", matthews, reference.matthews_corrcoef(p.labels, p.predicted))
    beside("kappa, scikit-learn", kappa, reference.cohen_kappa_score(p.labels, p.predicted))
    theirs = classification.multiclass_matthews_corrcoef(torch_answers, torch_labels, classes)
    beside("Matthews, torchmetrics", matthews, theirs)
    beside("kappa, torchmetrics", kappa, classification.multiclass_cohen_kappa(torch_answers, torch_labels, classes))
    beside(
        "balanced accuracy, scikit-learn",
        module.balanced_accuracy(p.labels, p.predicted),
        reference.balanced_accuracy_score(p.labels, p.predicted),
    )


def test_kappa_of_a_worked_example(beside):
    """Cohen (1960), table 1, proportions times 200: p = .29 + … = 0.44 + 0.20 + 0.06; the paper gives κ = .492."""
    table = np.array([[88, 10, 2], [14, 40, 6], [18, 10, 12]])
    labels, answers = (np.repeat(np.indices((3, 3))[axis].ravel(), table.ravel()) for axis in (0, 1))
    beside("kappa, Cohen (1960)", module.kappa(labels, answers, 3), 0.492, within=5e-4)


@given(pairs)
def test_undefined_is_nan_not_zero(pair):
    labels, answers = pair.T
    one_label, one_answer = len(set(labels)) == 1, len(set(answers)) == 1
    assert np.isnan(module.matthews(labels, answers, 4)) == (one_label or one_answer)
    assert np.isnan(module.kappa(labels, answers, 4)) == (one_label and one_answer and labels[0] == answers[0])


@settings(max_examples=60)
@given(pairs, st.permutations(range(4)))
def test_names_of_classes_do_not_matter(pair, order):
    labels, answers = pair.T
    renamed = np.array(order)[labels], np.array(order)[answers]
    for score in (module.matthews, module.kappa, module.macro_f1):
        assert score(labels, answers, 4) == pytest.approx(score(*renamed, 4), nan_ok=True)
    assert module.balanced_accuracy(labels, answers) == pytest.approx(module.balanced_accuracy(*renamed))


@given(pairs)
def test_matthews_and_kappa_do_not_care_who_is_right(pair):
    labels, answers = pair.T
    assert module.matthews(labels, answers, 4) == pytest.approx(module.matthews(answers, labels, 4), nan_ok=True)
    assert module.kappa(labels, answers, 4) == pytest.approx(module.kappa(answers, labels, 4), nan_ok=True)


def test_confusion_as_shares_beside_scikit_learn(made, beside):
    p = made(3, 200, 4)
    counts = module.confusion_matrix(p.labels, p.predicted, 4)
    for by, normalize in (("row", "true"), ("column", "pred")):
        theirs = reference.confusion_matrix(p.labels, p.predicted, normalize=normalize)
        beside(f"confusion by {by}, scikit-learn", module.confusion_shares(counts, by), theirs)
    empty = module.confusion_shares(np.array([[0, 0], [1, 3]]), "row")
    assert np.isnan(empty[0]).all() and empty[1].tolist() == [0.25, 0.75]
