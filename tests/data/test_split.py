"""Who trains, who chooses, who judges."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tellapart.data.memory import from_arrays, from_bytes
from tellapart.data.split import SHARES, carve_validation, find_duplicates, folds, split, summarize_duplicates
from tellapart.errors import SplitError
from tellapart.types import SPLITS, ImageTable


def table_of(labels, contents=None, groups=None, parts=None) -> ImageTable:
    """Images in memory: no two alike unless `contents` has equal numbers."""
    contents = range(len(labels)) if contents is None else contents
    classes = [f"c{i}" for i in range(max(labels, default=0) + 1)]
    return from_bytes([b"%d" % c for c in contents], labels, classes, groups=groups, split=parts)


def parts_of(table: ImageTable) -> np.ndarray:
    return table.frame["split"].to_numpy(dtype=object)


def sides(values, parts) -> dict:
    """value → the parts in which it stands."""
    found: dict = {}
    for value, part in zip(values, parts, strict=True):
        found.setdefault(value, set()).add(part)
    return found


def test_each_class_is_cut_70_10_20():
    table = split(table_of([0] * 100 + [1] * 50 + [2] * 333))
    assert table.counts().to_dict("list") == {
        "train": [70, 35, 233],
        "valid": [10, 5, 33],
        "test": [20, 10, 67],
        "all": [100, 50, 333],
    }


def test_same_seed_same_split_and_another_seed_another():
    table = table_of([0, 1] * 100)
    assert (parts_of(split(table, seed=3)) == parts_of(split(table, seed=3))).all()
    assert (parts_of(split(table, seed=3)) != parts_of(split(table, seed=4))).any()


def test_the_table_is_not_changed():
    table = table_of([0, 1] * 10)
    before = table.frame.copy()
    split(table)
    pd.testing.assert_frame_equal(table.frame, before)


def test_each_row_is_as_likely_to_judge_as_another():
    table = table_of([0] * 20 + [1] * 20)
    drawn = np.mean([parts_of(split(table, seed=s)) == "test" for s in range(300)], axis=0)
    assert drawn.min() > 0.1 and drawn.max() < 0.3  # 0.2 ± 4 standard errors of 0.023


@pytest.mark.parametrize(
    ("given_part", "count", "expected"),
    [
        ("test", 40, {"train": 140, "valid": 20, "test": 40}),  # 1/8 of the other 160
        ("valid", 20, {"train": 140, "valid": 20, "test": 40}),  # 2/9 of the other 180
    ],
)
def test_a_given_part_is_kept_and_the_missing_one_cut_from_train(given_part, count, expected):
    parts = [given_part] * count + [""] * (200 - count)
    table = split(table_of([0, 1] * 100, parts=parts))
    assert table.split_counts() == expected
    assert (parts_of(table)[:count] == given_part).all()
    named = split(table_of([0, 1] * 100, parts=[given_part] * count + ["train"] * (200 - count)))
    assert (parts_of(named) == parts_of(table)).all()


def test_three_given_parts_are_kept_as_they_are():
    parts = ["train", "train", "valid", "test", "test", "train"]
    assert parts_of(split(table_of([0, 1, 0, 1, 0, 0], parts=parts))).tolist() == parts


def test_a_given_part_may_lack_a_class():
    parts = ["train"] * 20 + ["test"] * 3
    assert split(table_of([0, 1] * 10 + [0, 0, 0], parts=parts)).split_counts()["test"] == 3


def test_rows_without_a_label_have_no_part():
    table = split(table_of([0, 1, -1] * 20))
    assert (parts_of(table)[2::3] == "").all()
    assert not (np.delete(parts_of(table), np.s_[2::3]) == "").any()


def test_nothing_to_train_on():
    with pytest.raises(SplitError, match="a valid and a test split, but nothing to train on"):
        split(table_of([0, 1, 0, 1], parts=["valid", "valid", "test", "test"]))


@pytest.mark.parametrize("count", [1, 2])
def test_a_class_too_small_is_an_error_that_says_so(count):
    with pytest.raises(SplitError, match=rf"the class 'c1' is too small to be split: {count} image") as caught:
        split(table_of([0] * 30 + [1] * count))
    assert "it needs at least one in train, valid, test" in caught.value.message
    assert caught.value.exit_code == 3


def test_three_images_are_just_enough():
    assert split(table_of([0] * 30 + [1] * 3)).counts().loc["c1"].to_dict() == {"train": 1, "valid": 1, "test": 1, "all": 3}


def test_a_class_without_any_image_is_named():
    table = from_arrays(np.arange(30 * 4, dtype=np.uint8).reshape(30, 2, 2), [0, 1] * 15, ["a", "b", "empty"])
    with pytest.raises(SplitError, match="the class 'empty' is too small to be split: 0 images"):
        split(table)


def test_a_class_in_few_groups_says_how_many():
    with pytest.raises(SplitError, match="40 images in 2 groups that must stay together"):
        split(table_of([0] * 30 + [1] * 40, groups=[""] * 30 + ["p", "q"] * 20))


def test_groups_stay_together():
    generator = np.random.default_rng(0)
    groups = [f"g{i}" for i in generator.integers(0, 60, 600)]
    table = split(table_of(generator.integers(0, 3, 600).tolist(), groups=groups))
    assert all(len(found) == 1 for found in sides(groups, parts_of(table)).values())
    counts = table.split_counts()
    assert all(abs(counts[part] / 600 - share) < 0.03 for part, share in SHARES.items())


def test_rows_without_a_group_are_not_one_group():
    table = split(table_of([0, 1] * 50, groups=[""] * 100))
    assert table.split_counts() == {"train": 70, "valid": 10, "test": 20}
    one_sided = table_of([0, 1] * 50, groups=[""] * 100, parts=["train"] * 60 + ["valid"] * 20 + ["test"] * 20)
    assert split(one_sided).split_counts() == {"train": 60, "valid": 20, "test": 20}


def test_the_largest_group_trains():
    groups = ["large"] * 50 + [f"small{i // 10}" for i in range(50)]
    for seed in range(5):
        table = split(table_of([0] * 100 + [1] * 100, groups=groups + [f"other{i}" for i in range(100)]), seed=seed)
        assert table.counts().loc["c0"].to_dict() == {"train": 70, "valid": 10, "test": 20, "all": 100}


def test_few_large_groups_reach_every_part():
    groups = ["x"] * 40 + ["y"] * 30 + ["z"] * 30
    table = split(table_of([0] * 100 + [1] * 100, groups=groups + [f"other{i}" for i in range(100)]))
    assert set(table.counts().loc["c0"]) == {40, 30, 100}
    assert table.counts().loc["c0", "train"] == 40


def test_a_group_torn_by_the_given_split_is_an_error():
    with pytest.raises(SplitError, match="the group 'p' is in train and test: 2 groups are divided by the given split"):
        split(table_of([0, 1] * 4, groups=["p", "p", "q", "q"] * 2, parts=["train"] * 3 + ["valid"] * 1 + ["test"] * 4))


def test_a_group_with_one_foot_in_a_given_part_is_an_error():
    parts = ["test"] * 5 + [""] * 35
    with pytest.raises(SplitError, match="the group 'same' is in train and test: 1 group is divided"):
        split(table_of([0, 1] * 20, groups=[f"g{i}" for i in range(4)] + ["same"] + ["same"] * 3 + [""] * 32, parts=parts))


def test_byte_identical_images_stay_together_even_across_classes():
    contents = [i // 4 for i in range(400)]  # each content four times, twice in each class
    table = split(table_of([0, 1] * 200, contents=contents))
    assert all(len(found) == 1 for found in sides(contents, parts_of(table)).values())
    counts = table.split_counts()
    assert all(abs(counts[part] - 400 * share) <= 8 for part, share in SHARES.items())


def test_groups_that_share_an_image_are_one():
    contents = [0, 1, 1, 2, 2, 3, *range(100, 160)]
    groups = ["p", "p", "q", "q", "r", "r", *(f"g{i}" for i in range(60))]
    for seed in range(8):
        parts = parts_of(split(table_of([0, 1] * 33, contents=contents, groups=groups), seed=seed))
        assert len(set(parts[:6])) == 1


def test_identical_files_are_found_and_others_not_read(tmp_path):
    for name, content in {"a": b"12", "b": b"12", "c": b"34", "d": b"567"}.items():
        (tmp_path / name).write_bytes(content)
    frame = pd.DataFrame({"id": list("abcd"), "path": list("abcd"), "label": [0, 1, 0, 1], "size": [2, 2, 2, 3]})
    (tmp_path / "d").unlink()  # its size is its own: nobody looks
    twins = find_duplicates(ImageTable(frame, ("x", "y"), str(tmp_path)))
    assert twins.cluster[0] == twins.cluster[1] and len(set(twins.cluster.tolist())) == 3
    assert (twins.images, twins.across_classes, twins.across_splits) == (2, 2, 0)
    assert twins.examples and set(twins.examples[0]) == {"a", "b"}


def test_what_cannot_be_read_has_no_twin(tmp_path):
    frame = pd.DataFrame({"id": list("ab"), "path": list("ab"), "label": 0, "size": 2})
    assert find_duplicates(ImageTable(frame, ("x",), str(tmp_path))).images == 0


def test_twins_across_given_parts_are_counted():
    contents = [1, 1, 2, 2, 3, 3, 3, 4, 5]
    parts = ["train", "test", "train", "train", "valid", "test", "", "train", "test"]
    labels = [0, 0, 0, 1, 0, 0, -1, 0, 1]
    twins = find_duplicates(table_of(labels, contents, parts=parts))
    assert twins.images == 7
    assert twins.across_splits == 2  # the test row of 1, the test row of 3
    assert twins.across_classes == 2  # the rows of 2; an unlabeled twin is of no other class
    assert ("0", "1") in twins.examples and ("4", "5") in twins.examples


def test_no_images_no_twins():
    twins = find_duplicates(table_of([]))
    assert (twins.images, twins.across_splits, twins.across_classes, twins.examples) == (0, 0, 0, ())


def reference_twins(labels, contents, parts) -> tuple[int, int, int]:
    """Counted pair by pair."""
    order = {"train": 0, "valid": 1, "test": 2, "": None}
    rows = range(len(labels))
    mates = {i: [j for j in rows if j != i and contents[j] == contents[i]] for i in rows}
    earlier = [
        i
        for i in rows
        if order[parts[i]] is not None
        and any(order[parts[j]] is not None and order[parts[j]] < order[parts[i]] for j in mates[i])
    ]
    other = [i for i in rows if labels[i] >= 0 and any(labels[j] >= 0 and labels[j] != labels[i] for j in mates[i])]
    return sum(bool(m) for m in mates.values()), len(earlier), len(other)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(-1, 2), st.integers(0, 6), st.sampled_from(["", *SPLITS])), max_size=20))
def test_twins_agree_with_counting_pairs(rows):
    labels, contents, parts = ([r[i] for r in rows] for i in range(3))
    table = table_of(labels, contents, parts=parts)
    found = summarize_duplicates(table, np.array(contents, dtype=np.int64))
    assert (found.images, found.across_splits, found.across_classes) == reference_twins(labels, contents, parts)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(3, 60), min_size=1, max_size=5), st.integers(0, 99), st.randoms(use_true_random=False))
def test_every_class_is_in_proportion_to_one_image(sizes, seed, random):
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    random.shuffle(labels)
    parts = parts_of(split(table_of(labels), seed=seed))
    assert set(parts) == set(SPLITS)
    for label, size in enumerate(sizes):
        for part, share in SHARES.items():
            found = int(((parts == part) & (np.array(labels) == label)).sum())
            assert abs(found - share * size) <= 1 or found == 1


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-1, 2), st.integers(0, 30), st.integers(-1, 12), st.sampled_from(["", "", "train", "test"])),
        min_size=20,
        max_size=80,
    ),
    st.integers(0, 99),
)
def test_whatever_the_data_nothing_is_torn_or_lost(rows, seed):
    labels, contents, groups, parts = ([r[i] for r in rows] for i in range(4))
    assume(len({label for label in labels if label >= 0}) == 3)
    names = [f"g{g}" if g >= 0 else "" for g in groups]
    for given_parts in (None, parts):
        table = table_of(labels, contents, names, given_parts)
        try:
            found = parts_of(split(table, seed=seed))
        except SplitError as error:
            assert error.hint
            continue
        labeled = np.array(labels) >= 0
        assert set(found[~labeled]) <= {""} and set(found[labeled]) <= set(SPLITS)
        by_group = sides([n for n, known in zip(names, labeled, strict=True) if known], found[labeled])
        assert all(len(s) == 1 for name, s in by_group.items() if name)
        if given_parts is None:
            by_content = sides(np.array(contents)[labeled], found[labeled])
            assert all(len(s) == 1 for s in by_content.values())
        else:
            kept = labeled & (np.array(given_parts) == "test")
            assert (found[kept] == "test").all()


def test_folds_are_equal_stratified_and_leave_test_alone():
    table = split(table_of([0] * 60 + [1] * 40))
    found, parts = folds(table, 5), parts_of(table)
    assert ((found == -1) == (parts == "test")).all()
    counts = np.array([np.bincount(table.labels[found == fold], minlength=2) for fold in range(5)])
    assert (np.abs(counts - counts.mean(axis=0)) < 1.5).all()
    assert (folds(table, 5) == found).all() and (folds(table, 5, seed=1) != found).any()


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12)), min_size=20, max_size=60), st.integers(2, 5))
@settings(max_examples=40, deadline=None)
def test_folds_tear_no_group(rows, count):
    labels, groups = zip(*rows, strict=True)
    table = table_of(list(labels), groups=[f"g{g}" for g in groups], parts=["train"] * len(rows))
    try:
        found = folds(table, count)
    except SplitError:
        return
    assert set(found) <= set(range(count))
    for group in set(groups):
        assert len({fold for fold, g in zip(found, groups, strict=True) if g == group}) == 1


def test_a_class_in_one_fold_only_is_an_error():
    table = table_of([0] * 12 + [1] * 4, groups=[str(i) for i in range(12)] + ["all"] * 4, parts=["train"] * 16)
    with pytest.raises(SplitError, match="the class 'c1' occurs in 1 of 3 folds"):
        folds(table, 3)


def test_a_validation_part_is_cut_from_any_rows():
    table = carve_validation(table_of([0] * 40 + [1] * 40, parts=["train", "valid"] * 40), share=1 / 8)
    parts = parts_of(table)
    assert set(parts) == {"train", "valid"}
    assert [int(((parts == "valid") & (table.labels == c)).sum()) for c in (0, 1)] == [5, 5]
