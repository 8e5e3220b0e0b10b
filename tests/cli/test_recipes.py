"""`tellapart recipes`: the list, the tree, and what a header comment says."""

from __future__ import annotations

import json

import pytest

from tellapart import registry
from tellapart.cli.recipes import header
from tellapart.recipe import load as recipes

BASED = {
    "base/net": "classifier: {family: network, net: staged}\n",
    "mine": "# A net of mine.\n# Rows: A1, B2\n# Reported: .67 (96 classes,\n# n = 9)\n# Ours: more.\nextends: base/net\n",
    "words": "# Words.\nclassifier: {family: svm}\nfeatures: {descriptors: [{pixels: {}}, {spectrum: {block: 8}}]}\n",
    "nothing": '# Nothing at all, said at such length that a line of one hundred characters cannot hold the whole of it.\n'
    'classifier: {family: "metadata"}\n',
}  # fmt: skip


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """A package with four recipes of its own, one of them a base."""
    for name, text in BASED.items():
        path = tmp_path / "recipes" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(recipes, "FOLDER", tmp_path / "recipes")


@pytest.mark.usefixtures("packaged")
def test_the_tree_groups_by_family_then_net(tell):
    code, out, err = tell("recipes", "--tree")
    assert (code, err) == (0, "")
    assert [line.rstrip() for line in out.splitlines()] == [
        "network",
        "  staged",
        "    mine     A net of mine. [A1, B2]",
        "metadata",
        "    nothing  Nothing at all, said at such length that a line of one hundred characters cannot hold",
        "             the whole of it.",
        "svm",
        "  pixels + spectrum",
        "    words    Words.",
    ]


@pytest.mark.usefixtures("packaged")
def test_json_and_the_plain_list_show_rows_and_no_base(tell):
    entries = json.loads(tell("recipes", "--json").out)
    assert [e["recipe"] for e in entries] == ["mine", "nothing", "words"]
    assert entries[0] == {
        "recipe": "mine", "family": "network", "net": "staged",
        "rows": ["A1", "B2"], "reported": ".67 (96 classes, n = 9)", "summary": "A net of mine.",
    }  # fmt: skip
    assert entries[1]["net"] is None and entries[1]["rows"] == [] and entries[1]["reported"] is None
    assert tell("recipes").out.splitlines()[0] == "mine     A net of mine. [A1, B2]"


def test_every_recipe_of_ours_stands_once_under_its_family(tell):
    out = tell("recipes", "--tree").out
    assert max(map(len, out.splitlines())) <= 100
    shown = [line.split()[0] for line in out.splitlines() if line.startswith("    ") and line[4] != " "]
    assert sorted(shown) == sorted(recipes.names())
    for entry in json.loads(tell("recipes", "--json").out):
        assert entry["family"] in registry.names("classifiers")
        assert entry["family"] != "network" or entry["net"] in registry.names("nets")


def test_one_row_and_several():
    assert header("# x\n# Row: C3\nseed: 1")["rows"] == ["C3"]
    assert header("# x\n# Rows: A7, A8\n")["rows"] == ["A7", "A8"]
    assert header("seed: 1") == {"rows": [], "reported": None, "summary": ""}
