"""What tellapart shows to the outside: its public names, its registered classes, and which classes may be extended."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import BaseModel

import tellapart as ta
from tellapart import plugins, registry
from tellapart.augmentations.base import Augmentation
from tellapart.checks.base import HealthCheck
from tellapart.classifiers.base import Classifier
from tellapart.combiners.base import Combiner
from tellapart.explainers.base import Explainer
from tellapart.features.base import Descriptor
from tellapart.forgeries.base import Forgery
from tellapart.nets.base import Net, NetOptions

PUBLIC = [
    "ImageTable", "Leaderboard", "Predictions", "Recipe", "Run", "Score", "Settings", "TellapartError", "align",
    "as_estimator", "calibrate", "check", "class_maps", "codec_bias", "combine", "compare", "cross_source",
    "evaluate", "explain", "explain_views", "export", "from_arrays", "from_bytes", "identify", "kfold", "leaderboard",
    "learning_curve", "list_runs", "load_classifier", "lr_range", "open_run", "open_set", "predict",
    "predict_iter", "predict_to_file", "report", "robustness", "scan", "split", "submit", "sweep", "synth",
    "train",
]  # fmt: skip
CONTRACTS = {
    **{"classifiers": Classifier, "features": Descriptor, "nets": Net},
    **{"augmentations": Augmentation, "combiners": Combiner, "explainers": Explainer},
    **{"checks": HealthCheck, "forgeries": Forgery},
}
REGISTERED = [(kind, name) for kind in CONTRACTS for name in registry.names(kind)]


def test_public_names_are_these() -> None:
    assert sorted(ta.__all__) == sorted(PUBLIC)
    assert len(set(ta.__all__)) == len(ta.__all__)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_found_and_says_what_it_is(name: str) -> None:
    found = getattr(ta, name)
    assert callable(found)
    assert inspect.getdoc(found)
    assert name in dir(ta)


@pytest.mark.parametrize("front", [ta, plugins], ids=["tellapart", "tellapart.plugins"])
def test_the_lazy_table_and_the_names_for_type_checkers_agree(front: ModuleType) -> None:
    tree = ast.parse(Path(inspect.getfile(front)).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    imported = {
        alias.asname or alias.name: f"{node.module}:{alias.name}"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    lazy = {}
    for name, home in front._HOMES.items():
        module, _, attribute = home.partition(":")
        lazy[name] = f"tellapart.{module}:{attribute or name}"
    assert imported == lazy
    assert sorted({*lazy} | ({"promises"} if front is plugins else set())) == sorted(front.__all__)


@pytest.mark.parametrize("name", plugins.__all__)
def test_what_plug_ins_import_is_found(name: str) -> None:
    found = getattr(plugins, name)
    assert inspect.getdoc(found) and name in dir(plugins)


def test_every_base_class_of_a_plug_in_is_public() -> None:
    assert {base.__name__ for base in CONTRACTS.values()} | {"RunLogger"} <= set(plugins.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Descripter'"):
        _ = plugins.Descripter  # type: ignore[attr-defined]


def test_no_module_has_the_name_of_a_public_function() -> None:
    """Importing a package of the same name would replace the function `ta.NAME` by the package."""
    modules = {module.name for module in pkgutil.iter_modules(ta.__path__)}
    assert not modules & set(ta.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = ta.trian  # type: ignore[attr-defined]


def test_the_version_is_that_of_the_package() -> None:
    from importlib.metadata import version

    assert ta.__version__ == version("tellapart")


@pytest.mark.parametrize(("kind", "name"), REGISTERED)
def test_a_registered_class_fulfils_its_contract(kind: str, name: str) -> None:
    found = registry.find(kind, name)
    assert issubclass(found, CONTRACTS[kind])
    assert not inspect.isabstract(found)
    assert found.__name__.lower() == name.replace("_", "")
    assert issubclass(found.Options, NetOptions if kind == "nets" else BaseModel)


@pytest.mark.parametrize(("kind", "name"), REGISTERED)
def test_every_option_is_described_and_no_other_is_taken(kind: str, name: str) -> None:
    options = registry.find(kind, name).Options
    assert not [option for option, info in options.model_fields.items() if not info.description]
    assert options.model_config["extra"] == "forbid"
    assert options.model_config["frozen"]


@pytest.mark.parametrize("kind", CONTRACTS)
def test_classes_are_abstract_or_final(kind: str) -> None:
    """Nothing extends a class of ours that can be used as it is. Option models are data, and may share fields."""
    wrong = []
    for module in _modules(registry.KINDS[kind][0]):
        for cls in vars(module).values():
            if inspect.isclass(cls) and cls.__module__ == module.__name__:
                wrong += [f"{cls.__qualname__} extends {base.__qualname__}" for base in cls.__bases__ if _is_final(base)]
    assert not wrong, wrong


def _is_final(base: type) -> bool:
    ours = base.__module__.startswith("tellapart.")
    return ours and not inspect.isabstract(base) and not issubclass(base, BaseModel)


def _modules(package: str) -> list:
    found = importlib.import_module(package)
    return [importlib.import_module(f"{package}.{module.name}") for module in pkgutil.iter_modules(found.__path__)]
