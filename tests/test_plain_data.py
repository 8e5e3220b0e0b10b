"""JSON and YAML of others: plain values of bounded size and depth, or an error that names the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tellapart.errors import RunError
from tellapart.plain_data import parse_json, read_json, read_yaml


def test_plain_values_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": [1, 2.5, "é", null, true]}', encoding="utf-8")
    (tmp_path / "a.yaml").write_text("a: [1, 2.5, é, null, true]", encoding="utf-8")
    assert read_json(tmp_path / "a.json") == read_yaml(tmp_path / "a.yaml") == {"a": [1, 2.5, "é", None, True]}


@pytest.mark.parametrize("text", ["", "{", "NaN", "[Infinity]", "-Infinity", "1e999", "[-1e999]", "[" * 100_000, "{'a': 1}"])
def test_what_is_no_finite_json_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(RunError, match=f"{tmp_path / 'a.json'}: cannot be read as JSON"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    "text", ["a: &x [1]\nb: *x", "!!python/object/apply:os.system [ls]", "a: !custom 1", "[" * 5_000, "a: b: c", "{a"]
)
def test_what_is_no_plain_yaml_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(RunError, match=f"{tmp_path / 'a.yaml'}: cannot be read as YAML"):
        read_yaml(tmp_path / "a.yaml")


@pytest.mark.parametrize("read", [read_json, read_yaml])
def test_files_are_bounded_and_must_exist(tmp_path: Path, read) -> None:
    path = tmp_path / "a"
    with pytest.raises(RunError, match=f"{path}: cannot be read"):
        read(path)
    path.write_bytes(b"[1, 2, 3]")
    assert read(path, 9) == [1, 2, 3]
    with pytest.raises(RunError, match=f"{path}: is larger than 8 bytes"):
        read(path, 8)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(RunError, match=f"{path}: cannot be read"):
        read(path)
