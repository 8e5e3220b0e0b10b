"""What the names of classes say."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tellapart.data.class_names import difference, guess_positive, look_alikes, positive_in_words, real_or_fake

NAMES = st.text(st.characters(codec="latin-1"), min_size=1, max_size=8)


@pytest.mark.parametrize(
    "word", ["fake", "Fakes", "AI", "ai-generated", "AIGenerated", "GANs", "deepFakes2", "SYNTHETIC", "ＦＡＫＥ"]
)
def test_words_for_fake(word):
    for name in (word, f"train_{word}", f"{word} images", f"1_{word}"):
        assert real_or_fake(name) == "fake", name


@pytest.mark.parametrize(
    "name", ["realistic", "surreal", "paint", "organ", "Hawaii", "not_fake", "non-real", "real or fake", "", "7"]
)
def test_names_that_say_neither(name):
    assert real_or_fake(name) == ""


@given(NAMES, st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_what_nobody_can_tell_apart_looks_alike(name, form):
    for other in (unicodedata.normalize(form, name), f" {name}", f"{name}\u200b", name.casefold()):
        if other != name:
            assert look_alikes([name, "\N{SNOWMAN}\N{SNOWMAN}", other]) == [(name, other)]
            assert difference([name, other])


@given(st.lists(st.integers(0, 999).map(str), unique=True))
def test_numbers_are_different_classes(names):
    assert look_alikes(names) == []


@given(st.lists(NAMES, min_size=2, max_size=2, unique=True))
def test_the_positive_class_does_not_depend_on_the_order(names):
    assert guess_positive(names) == guess_positive(names[::-1])
    assert guess_positive(names) in (None, *names) and guess_positive([*names, "third"]) is None


def test_in_words():
    assert positive_in_words(["cat", "dog"], "cat") == "cat" and "--positive" in positive_in_words(["cat", "dog"], None)
    assert positive_in_words(["a", "b", "c"], None) == ""
