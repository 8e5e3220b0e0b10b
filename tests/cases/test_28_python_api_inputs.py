"""Arrays, tensors, series and scalars of other libraries are what they look like."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import tellapart as ta
from tellapart.errors import DataError

Y = np.arange(6) % 2
X = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 3)).astype(np.uint8)


@pytest.mark.parametrize("images", [X, torch.tensor(X), list(X), [torch.tensor(x) for x in X]], ids=lambda of: str(type(of[0])))
def test_images(images):
    table = ta.from_arrays(images, Y)
    assert table.classes == ("0", "1") and np.array_equal(np.asarray(table.memory), X)


@pytest.mark.parametrize(
    "labels",
    [Y, torch.tensor(Y), list(Y), list(torch.tensor(Y)), pd.Series(Y), pd.Categorical(Y), Y.astype(float), Y.astype(np.uint8),
     list(Y.astype(np.float32)), tuple(Y), [np.array(y) for y in Y]],
    ids=lambda of: f"{type(of).__name__} of {type(of[0]).__name__}",
)  # fmt: skip
def test_labels(labels):
    plain = ta.from_arrays(X, labels)
    assert plain.classes == ("0", "1") and plain.labels.tolist() == Y.tolist()


@pytest.mark.parametrize("labels", [list(Y), torch.tensor(Y), pd.Series(Y), list(Y.astype(np.int16))], ids=type)
def test_integers_of_any_library_index_the_classes(labels):
    assert ta.from_arrays(X, labels, classes=["real", "fake"]).labels.tolist() == Y.tolist()


@pytest.mark.parametrize(
    "words", [np.array(["b", "a"] * 3), list(np.array(["b", "a"] * 3)), pd.Series(["b", "a"] * 3)], ids=type
)
def test_words(words):
    assert ta.from_arrays(X, words).labels.tolist() == [1, 0] * 3


@pytest.mark.parametrize("missing", [None, float("nan"), np.nan, pd.NA, -1, np.int64(-1)], ids=str)
def test_missing_labels(missing):
    assert ta.from_arrays(X, [0, 1, missing, 0, 1, 0]).labels.tolist() == [0, 1, -1, 0, 1, 0]


def test_minus_one_and_one_are_asked_for():
    with pytest.raises(DataError, match="the labels are −1 and 1") as caught:
        ta.from_arrays(X, np.where(Y, 1, -1))
    assert "write 0 and 1" in str(caught.value)
    assert ta.from_arrays(X, np.where(Y, 1, 0)).classes == ("0", "1")
    assert ta.from_arrays(X, [0, -1] * 3, classes=["cat"]).labels.tolist() == [0, -1] * 3


def test_split_and_groups():
    split = ["train", "train", "test", None, np.str_("valid"), float("nan")]
    table = ta.from_arrays(X, Y, split=split, groups=["g", None, "g", 1, torch.tensor(2), ""])
    assert table.frame["split"].tolist() == ["train", "train", "test", "", "valid", ""]
    assert table.frame["group"].tolist() == ["g", "", "g", "1", "2", ""]
    with pytest.raises(DataError, match="unknown split 'None'"):
        ta.from_arrays(X, Y, split=["None"] * 6)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"labels": [[0], [1]] * 3}, r"labels\[0\] must be one word or number; got list"),
        ({"labels": Y.reshape(6, 1)}, r"labels must be one-dimensional; got \(6, 1\)"),
        ({"labels": [b"a", b"b"] * 3}, r"labels\[0\] must be one word or number; got bytes"),
        ({"labels": [np.zeros(2)] * 6}, r"labels\[0\] must be one word or number; got list"),
        ({"labels": torch.tensor(Y)[:5]}, "6 images but 5 labels"),
        ({"labels": Y, "ids": ["a", None, "c", "d", "e", "f"]}, r"ids\[1\] is missing"),
        ({"labels": Y, "images": torch.tensor(X, dtype=torch.float32, requires_grad=True)}, "images cannot be converted"),
    ],
    ids=["lists", "two axes", "bytes", "arrays", "too few", "no id", "gradients"],
)
def test_what_is_refused(options, told):
    with pytest.raises(DataError, match=told):
        ta.from_arrays(**{"images": X, **options})


def test_the_estimator_takes_tensors():
    images = np.repeat(X, 4, axis=0)
    y = np.repeat(Y, 4)
    fitted = ta.as_estimator("knn", validation_fraction=0).fit(torch.tensor(images), torch.tensor(y))
    plain = ta.as_estimator("knn", validation_fraction=0).fit(images, y)
    assert np.array_equal(fitted.predict_proba(torch.tensor(images)), plain.predict_proba(images))
