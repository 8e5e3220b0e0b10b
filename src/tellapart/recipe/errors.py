"""Validation errors of pydantic, as messages for the author of a recipe."""

from __future__ import annotations

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from tellapart.errors import unknown_name

_Place = tuple[int | str, ...]


def in_words(where: str, error: ValidationError, model: type[BaseModel], noun: str = "option") -> str:
    """One line a setting; a setting that may be of several kinds, and is of none of them, is described.

    Args:
        where: The file, to begin each line with.
        error: What validating against `model` raised.
        model: The options.
        noun: What an option of `model` itself is called; those of models inside it are options.
    """
    lines: dict[_Place, tuple[_Place, str]] = {}
    for item in error.errors():
        place, found = item["loc"], f"found {item['input']!r}"
        depth, owner, info = _field_at(model, place)
        key = place[:depth] or place
        if item["type"] == "extra_forbidden":
            kind = noun if len(place) == 1 else "option"
            lines[place] = place, unknown_name(kind, str(place[-1]), owner.model_fields)
        elif item["type"] == "missing":
            lines[place] = place, "is required" + (f": {info.description}" if info else "")
        elif key in lines and info is not None:
            lines[key] = key, f"expected {info.description}; {found}"
        else:
            lines[key] = place, _sentence(item, found)
    return "\n".join(f"{where}: {'.'.join(map(str, place))}: {line}" for place, line in lines.values())


#: Type of an error of pydantic → what was expected; the braces are filled from its context.
_EXPECTED = {
    "int_parsing": "an integer", "int_type": "an integer", "int_from_float": "an integer",
    "float_parsing": "a number", "float_type": "a number", "finite_number": "a finite number",
    "bool_parsing": "true or false", "bool_type": "true or false", "string_type": "text",
    "greater_than": "a number above {gt:g}", "greater_than_equal": "a number of at least {ge:g}",
    "less_than": "a number below {lt:g}", "less_than_equal": "a number of at most {le:g}",
    "literal_error": "{expected}", "list_type": "a list", "tuple_type": "a list",
    "dict_type": "a mapping", "model_type": "a mapping", "model_attributes_type": "a mapping",
}  # fmt: skip


def _sentence(item: ErrorDetails, found: str) -> str:
    """One error of pydantic in the words of the other messages."""
    if item["type"] == "value_error":
        return item["msg"].removeprefix("Value error, ")
    if item["type"] in _EXPECTED:
        return f"expected {_EXPECTED[item['type']].format(**item.get('ctx', {}))}, {found}"
    return f"{item['msg']}, {found}"


def _field_at(model: type[BaseModel], place: _Place) -> tuple[int, type[BaseModel], FieldInfo | None]:
    """How much of an error's place names fields, the model in which the rest of it lies, and the last field named."""
    depth, within, info = 0, model, None
    for number, part in enumerate(place, 1):
        if isinstance(part, int):
            continue
        if part not in within.model_fields:
            break
        depth, info = number, within.model_fields[part]
        kinds = [info.annotation, *getattr(info.annotation, "__args__", ())]
        within = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), within)
    return depth, within, info
