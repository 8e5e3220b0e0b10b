"""Lists of values, ranges, grids and draws, as people type them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest
from sklearn.model_selection import ParameterGrid

from tellapart.errors import RecipeError
from tellapart.search.space import Range, Space, candidates, grid_points, parse_grid, parse_ranges, random_points, space

TEXT = st.text(st.characters(categories=("L", "N", "Zs"), include_characters=",[]{}'\":=-#.")).map(
    lambda s: s.replace("\x85", "")
)
SCALARS = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | TEXT
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=2), max_leaves=5
)


@given(st.lists(VALUES, min_size=1, max_size=5))
def test_values_between_commas_are_read_whole(values):
    text = ",".join(json.dumps(value, ensure_ascii=False) for value in values)
    assert parse_grid([f"some.setting={text}"]) == {"some.setting": values}


def test_values_without_quotes():
    assert parse_grid(["a=1, 2.5,scale,'x,y',[64,128],{k: [1]}"]) == {"a": [1, 2.5, "scale", "x,y", [64, 128], {"k": [1]}]}
    assert parse_grid(["a=1", "b=2", "a=3"]) == {"a": [1, 3], "b": [2]}


@pytest.mark.parametrize("entry", ["a", "=1", "a=", "a=[1,2", "a=1]", "a='x", "a=1,,2"])
def test_values_that_cannot_be_read_are_refused(entry):
    with pytest.raises(RecipeError, match="--grid"):
        parse_grid([entry])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1e-3..1e3:log", Range(1e-3, 1e3, log=True)),
        ("16..128:int", Range(16, 128, integer=True)),
        ("1..64:log,int", Range(1, 64, True, True)),
        ("-1.5..2", Range(-1.5, 2)),
    ],
)
def test_ranges_are_read(text, found):
    assert parse_ranges([f"a={text}"]) == {"a": found}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1", "expected LOW..HIGH"), ("1..2:logs", "expected LOW..HIGH"), ("a..b", "expected LOW..HIGH"),
        ("1..inf", "expected LOW..HIGH"), ("2..1", "LOW below HIGH"), ("0..1:log", "must start above 0"),
        ("0.5..2:int", "expected integers"),
    ],
)  # fmt: skip
def test_ranges_that_make_no_sense_are_refused(text, message):
    with pytest.raises(RecipeError, match=message):
        parse_ranges([f"a={text}"])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (({}, {}, None, None), "no setting to vary"),
        (({}, {"a": "1..2"}, None, None), "cannot be searched as a grid"),
        (({"a": [1]}, {}, 3, 3), "pass one of them"),
        (({"a": [1]}, {"a": "1..2"}, 3, None), "both values and a range"),
        (({"a": []}, {}, None, None), "expected a list of values"),
        (({"a": "12"}, {}, None, None), "expected a list of values"),
        (({"a": [1]}, {}, 0, None), "at least one"),
    ],
)
def test_spaces_that_make_no_sense_are_refused(asked, message):
    with pytest.raises(RecipeError, match=message):
        space(*asked)


def test_a_grid_has_every_combination_once_as_scikit_learn_has_it():
    asked = space({"b": [1, 2, 1], "a": ["x", None, [1]]}, {}, None, None)
    cells = list(grid_points(asked))
    assert asked.count == len(cells) == 6
    ours = sorted(json.dumps({k: json.loads(v) for k, v in cell.items()}, sort_keys=True) for cell in cells)
    theirs = ParameterGrid({"b": [1, 2], "a": ["x", None, [1]]})
    assert ours == sorted(json.dumps(cell, sort_keys=True) for cell in theirs)


def test_more_draws_begin_with_fewer_draws():
    few, many = (random_points(_drawn(count), seed=3) for count in (5, 20))
    assert many[:5] == few and len(many) == len({tuple(c.values()) for c in many}) == 20
    assert random_points(_drawn(5), seed=4) != few


def test_draws_are_spread_as_asked():
    cells = random_points(_drawn(1500), seed=0)
    rates = [math.log10(float(cell["rate"])) for cell in cells]
    assert kstest(rates, "uniform", args=(-3, 6)).pvalue > 0.001
    counts = np.bincount([int(cell["count"]) for cell in cells], minlength=5)
    assert set(np.flatnonzero(counts)) == {1, 2, 3, 4} and counts[1:].min() > 0.2 * len(cells)
    assert {cell["name"] for cell in cells} == {'"x"', '"y"'}


def test_a_space_that_is_used_up_gives_what_there_is():
    cells = random_points(Space({"a": ("1", "2")}, {"n": Range(1, 2, integer=True)}, "random", 50), seed=0)
    assert sorted(tuple(c.values()) for c in cells) == [("1", "1"), ("1", "2"), ("2", "1"), ("2", "2")]


def test_cells_that_mean_the_same_recipe_are_one_candidate():
    cells = list(grid_points(space({"classifier.C": [1, 1.0, "1e0", 2], "classifier.gamma": ["scale"]}, {}, None, None)))
    found = candidates("svm-pca-rbf", ["features.pca=7"], cells)
    assert [c.values for c in found] == [
        {"classifier.C": 1.0, "classifier.gamma": "scale"},
        {"classifier.C": 2.0, "classifier.gamma": "scale"},
    ]
    assert all(c.recipe.features is not None and c.recipe.features.pca == 7 for c in found)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("features.pcs", "did you mean 'pca'"),
        ("feature.pca", "did you mean 'features'"),
        ("classifier.c", "expected one of C,"),
    ],
)
def test_a_setting_that_does_not_exist_is_refused_with_the_closest(setting, message):
    with pytest.raises(RecipeError, match=message):
        candidates("svm-pca-rbf", [], [{setting: "1"}])


def _drawn(count: int) -> Space:
    ranges = {"rate": Range(1e-3, 1e3, log=True), "count": Range(1, 4, integer=True)}
    return Space({"name": ('"x"', '"y"')}, ranges, "random", count)
