"""Fields of a file of others: each wrong one is named, with what was expected and what was found."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tellapart.errors import RunError
from tellapart.runs._fields import MOST_TEXT, Fields, parsing, read_typed

PATH = Path("runs/svm/data.json")
CONTENT: dict[str, Any] = {
    "name": "photos", "n": 3, "share": 0.5, "yes": True, "none": None, "words": ["a", "b"], "inner": {"n": 1},
    "rows": [{"id": "a"}, {"id": "b"}],
}  # fmt: skip


def refused(read: Any, *given: Any, **named: Any) -> str:
    with pytest.raises(RunError) as caught:
        read(*given, **named)
    return caught.value.message


def test_what_is_there_is_returned() -> None:
    fields = Fields(PATH, CONTENT)
    assert (fields.text("name"), fields.number("n", 0, 5, whole=True), fields.number("share", 0, 1)) == ("photos", 3, 0.5)
    assert fields.texts("words") == ["a", "b"] and fields.fields("inner").number("n") == 1
    assert [one.text("id") for one in fields.each("rows")] == ["a", "b"] and fields.get("yes") is True


def test_what_is_optional_may_be_missing_or_null() -> None:
    fields = Fields(PATH, CONTENT)
    for name in ("no", "none"):
        assert fields.text(name, optional=True) == "" and fields.number(name, optional=True) is None
        assert fields.fields(name, optional=True).content == {}
    assert fields.texts("no", optional=True) == [] and fields.each("no", optional=True) == []


@pytest.mark.parametrize(
    ("method", "name", "named", "message"),
    [
        ("text", "no", {}, "no: expected a value, found no such field"),
        ("text", "n", {}, "n: expected a text of at most 100,000 characters, found 3"),
        ("number", "name", {}, "name: expected a number, found 'photos'"),
        ("number", "yes", {}, "yes: expected a number, found True"),
        ("number", "share", {"whole": True}, "share: expected a whole number, found 0.5"),
        ("number", "n", {"low": 0, "high": 1}, "n: expected a number from 0 to 1, found 3"),
        ("fields", "words", {}, "inner.words: expected a value"),
        ("texts", "rows", {}, "rows: expected a list of texts, found a list"),
        ("texts", "name", {}, "name: expected a list of texts, found 'photos'"),
        ("each", "inner", {}, "inner: expected a list, found a dict"),
        ("each", "words", {}, "words[0]: expected a mapping, found 'a'"),
    ],
)
def test_a_wrong_field_is_named(method: str, name: str, named: dict[str, Any], message: str) -> None:
    fields = Fields(PATH, CONTENT)
    of = fields.fields("inner") if message.startswith("inner.") else fields
    assert refused(getattr(of, method), name, **named).startswith(f"{PATH}: {message}")


def test_numbers_may_exceed_their_range_by_rounding() -> None:
    fields = Fields(PATH, {"sum": 1.0000001, "more": 1.001})
    assert fields.number("sum", 0, 1) == 1.0000001
    assert "more: expected a number from 0 to 1, found 1.001" in refused(fields.number, "more", 0, 1)


@pytest.mark.parametrize("content", [[], "text", 7, None, {1: 2}])
def test_only_a_mapping_of_names_has_fields(content: Any) -> None:
    assert str(PATH) in refused(Fields, PATH, content)


def test_long_values_are_shortened_and_long_texts_refused() -> None:
    message = refused(Fields(PATH, {"a": "x" * (MOST_TEXT + 1)}).text, "a")
    assert len(message) < 200 and message.endswith("…")


@dataclass(frozen=True)
class Made:
    """What a file holds."""

    name: str
    n: int


@pytest.mark.parametrize(
    "content", ['{"name": 3, "n": 3}', '{"name": "a", "n": "3"}', '{"name": "a"}', "[]", "{", '{"name": "a", "n": 1.5}']
)
def test_a_dataclass_has_the_types_that_it_declares(tmp_path: Path, content: str) -> None:
    path = tmp_path / "made.json"
    path.write_text(json.dumps({"name": "a", "n": 3}))
    assert read_typed(path, lambda found: Made(**found)) == Made("a", 3)
    path.write_text(content)
    assert str(path) in refused(read_typed, path, lambda found: Made(**found))


@pytest.mark.parametrize("error", [KeyError("a"), TypeError(), ValueError(), AttributeError(), IndexError(), OverflowError()])
def test_errors_of_parsing_name_the_file(error: Exception) -> None:
    with pytest.raises(RunError, match=f"{PATH}: not what tellapart writes \\({type(error).__name__}"), parsing(PATH):
        raise error
    with pytest.raises(ZeroDivisionError), parsing(PATH):
        raise ZeroDivisionError
