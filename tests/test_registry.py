"""What can be named, by file name, without importing it."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import tellapart
from tellapart import registry
from tellapart.classifiers.base import Classifier
from tellapart.classifiers.knn import Knn
from tellapart.errors import RecipeError
from tellapart.recipe.schema import OptionsModel

EVERY = [(kind, name) for kind in registry.KINDS for name in registry.names(kind)]


def _dotted(kind: str) -> str:
    """The package of a kind, below tellapart."""
    return registry.KINDS[kind][0].removeprefix("tellapart.")


@pytest.mark.parametrize("kind", registry.KINDS)
def test_names_are_the_files_of_the_folder(kind):
    folder = Path(tellapart.__file__).parent / _dotted(kind).replace(".", "/")
    files = {p.stem for p in folder.glob("*.py") if not p.name.startswith("_") and p.stem not in registry._SHARED}
    assert registry.names(kind) == sorted(files) and files


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_every_name_is_a_class_of_its_own_file_with_options(kind, name):
    found = registry.find(kind, name)
    assert isinstance(found, type)
    assert found.__module__ == f"tellapart.{_dotted(kind)}.{name}"
    assert kind in ("loggers", "layouts") or issubclass(found.Options, OptionsModel)
    assert found is registry.find(kind, name)


def test_the_six_first_families_are_there():
    assert {"metadata", "knn", "svm", "linear", "network"} <= set(registry.names("classifiers"))
    assert {"mlp", "staged"} <= set(registry.names("nets"))
    assert registry.find("classifiers", "knn") is Knn


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("classifiers", "knnn", "unknown classifier family 'knnn': did you mean 'knn'"),
        ("nets", "stage", "unknown net 'stage': did you mean 'staged'"),
        ("features", "zzz", "unknown descriptor 'zzz': expected one of "),
        ("augmentations", "flipp", "unknown augmentation 'flipp': did you mean 'flip'"),
        ("classifiers", "base", "unknown classifier family 'base'"),
        ("classifiers", "", "unknown classifier family ''"),
        ("classifiers", "../nets/mlp", "unknown classifier family"),
    ],
)
def test_unknown_names_come_with_the_closest(kind, name, message):
    with pytest.raises(RecipeError, match=message) as caught:
        registry.find(kind, name)
    assert caught.value.exit_code == 4


def test_names_import_nothing_heavy():
    script = (
        "import sys; from tellapart import registry; [registry.names(k) for k in registry.KINDS];"
        "print([m for m in ('torch', 'sklearn', 'pandas') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"


class FromOutside(Knn):
    """A family of another package."""


@pytest.fixture
def outside(monkeypatch):
    """Another package that adds the family `from_outside`."""
    point = EntryPoint("from_outside", f"{__name__}:FromOutside", "tellapart.classifiers")
    monkeypatch.setattr(EntryPoint, "load", lambda self: FromOutside)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == "tellapart.classifiers" else [])
    registry._outside.cache_clear()
    yield
    monkeypatch.undo()
    registry._outside.cache_clear()
    registry.find.cache_clear()


def test_another_package_adds_names(outside):
    from tellapart.recipe.load import parse

    assert "from_outside" in registry.names("classifiers")
    assert "from_outside" not in registry.names("nets")
    assert registry.find("classifiers", "from_outside") is FromOutside
    recipe = parse({"classifier": {"family": "from_outside", "k": 3}})
    assert recipe.classifier.options["k"] == 3
    assert issubclass(registry.find("classifiers", recipe.classifier.family), Classifier)
