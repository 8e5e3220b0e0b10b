"""Escapes of control characters; what the commands print is in tests/hostile/test_terminal.py."""

from __future__ import annotations

import json

import pytest

from tellapart.terminal import hanging, json_text, one_line, visible

#: Every character that a terminal could obey, or that reorders the text around it.
CONTROLS = [
    chr(code) for code in (*range(32), *range(127, 160), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
]


@pytest.mark.parametrize("character", CONTROLS, ids=ascii)
def test_every_control_character_is_escaped(character: str) -> None:
    shown = one_line(f"a{character}b")
    assert shown.isprintable() and shown.startswith("a\\") and shown.endswith("b")
    assert visible(shown) == shown  # a second time changes nothing
    assert visible(character) == (character if character in "\t\n" else one_line(character))
    text = json_text({character: [f"a{character}b"]}, indent=1)
    assert all(c == "\n" or c.isprintable() for c in text)
    assert json.loads(text) == {character: [f"a{character}b"]}


def test_words_of_all_languages_stay_as_they_are() -> None:
    text = "Äpfel und Ö, 猫, 🙂, עברית, \\x1b, [red], :bug:, 'quoted'"
    assert visible(text) == one_line(text) == text and json.loads(json_text(text)) == text


def test_bytes_of_names_that_are_not_utf_8_can_be_printed() -> None:
    name = b"cat\xff.png".decode("utf-8", "surrogateescape")
    assert visible(name) == r"cat\udcff.png" and json.loads(json_text(name)) == name


def test_no_line_of_a_name_looks_like_one_of_ours() -> None:
    assert hanging("a\nerror: b\n    c\n  → d") == "a\n    error: b\n    c\n      → d"


def test_json_refuses_what_is_no_number() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text(float("nan"))
