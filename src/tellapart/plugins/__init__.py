"""Public names for packages that extend tellapart: the base class of each kind, and a checker that tests your class.

    from tellapart.plugins import Descriptor, OptionsModel, check_descriptor

    class Brightness(Descriptor):
        ...

    check_descriptor(Brightness, {"bins": 8})    # raises PluginError if a promise is broken

`promises("descriptor")` lists the promises that are tested. Names are imported on first use: `import tellapart.plugins` does
not import torch. `docs/adding.md` has an example of each kind.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tellapart.errors import unknown_name

if TYPE_CHECKING:
    from tellapart.augmentations._warp import Size
    from tellapart.augmentations.base import (
        Augmentation,
        Color,
        Geometry,
        MixAugmentation,
        MixedBatch,
        RandomApply,
        UnionAugmentation,
    )
    from tellapart.checks._dataset_view import DatasetView
    from tellapart.checks.base import CheckResult, HealthCheck, passed
    from tellapart.classifiers.base import Classifier, Context
    from tellapart.classifiers.feature_classifier import FeatureClassifier
    from tellapart.combiners.base import Combiner, Weighting
    from tellapart.data.cache import DecodedImages
    from tellapart.data.layouts.base import Claim, ColumnOptions, Layout, LayoutOptions, LayoutRows
    from tellapart.data.listing import Listing
    from tellapart.errors import DataError, ImageError, PluginError, RecipeError, RunError, TellapartError
    from tellapart.explainers._model import ExplainedModel
    from tellapart.explainers.base import Explainer, Heatmap
    from tellapart.features.base import Descriptor, FitContext
    from tellapart.forgeries.base import SMALLEST, Forgery
    from tellapart.io import write_arrays
    from tellapart.nets.base import GlobalPool, HeadedNet, Net, NetOptions, StagedNet, backbone_width, dense_head, image_shape
    from tellapart.plugins._augmentations import check_augmentation
    from tellapart.plugins._classifiers import check_classifier
    from tellapart.plugins._combiners import check_combiner
    from tellapart.plugins._descriptors import check_descriptor
    from tellapart.plugins._explainers import check_explainer
    from tellapart.plugins._forgeries import check_forgery
    from tellapart.plugins._health_checks import check_health_check
    from tellapart.plugins._layouts import check_layout
    from tellapart.plugins._loggers import check_logger
    from tellapart.plugins._nets import check_net
    from tellapart.plugins._promises import Promise
    from tellapart.progress import Progress
    from tellapart.recipe.load import Recipe
    from tellapart.recipe.schema import OptionsModel
    from tellapart.runs.loggers.base import RunLogger, Scores, figures
    from tellapart.runs.loggers.base import final as final_scores
    from tellapart.types import ImageTable, Predictions, Problem, Score

_HOMES = {
    "Size": "augmentations._warp", "Augmentation": "augmentations.base", "Color": "augmentations.base",
    "Geometry": "augmentations.base", "MixAugmentation": "augmentations.base", "MixedBatch": "augmentations.base",
    "RandomApply": "augmentations.base", "UnionAugmentation": "augmentations.base", "DatasetView": "checks._dataset_view",
    "CheckResult": "checks.base", "HealthCheck": "checks.base", "passed": "checks.base", "Classifier": "classifiers.base",
    "Context": "classifiers.base", "FeatureClassifier": "classifiers.feature_classifier", "Combiner": "combiners.base",
    "Weighting": "combiners.base", "DecodedImages": "data.cache", "Claim": "data.layouts.base",
    "ColumnOptions": "data.layouts.base", "Layout": "data.layouts.base", "LayoutOptions": "data.layouts.base",
    "LayoutRows": "data.layouts.base", "Listing": "data.listing", "DataError": "errors", "ImageError": "errors",
    "PluginError": "errors", "RecipeError": "errors", "RunError": "errors", "TellapartError": "errors",
    "ExplainedModel": "explainers._model", "Explainer": "explainers.base", "Heatmap": "explainers.base",
    "Descriptor": "features.base", "FitContext": "features.base", "Forgery": "forgeries.base", "SMALLEST": "forgeries.base",
    "write_arrays": "io",
    "GlobalPool": "nets.base", "HeadedNet": "nets.base", "Net": "nets.base", "NetOptions": "nets.base",
    "StagedNet": "nets.base", "backbone_width": "nets.base", "dense_head": "nets.base", "image_shape": "nets.base",
    "check_augmentation": "plugins._augmentations", "check_classifier": "plugins._classifiers",
    "check_combiner": "plugins._combiners", "check_descriptor": "plugins._descriptors",
    "check_explainer": "plugins._explainers", "check_forgery": "plugins._forgeries",
    "check_health_check": "plugins._health_checks", "check_layout": "plugins._layouts", "check_logger": "plugins._loggers",
    "check_net": "plugins._nets", "Promise": "plugins._promises", "Progress": "progress", "Recipe": "recipe.load",
    "OptionsModel": "recipe.schema", "RunLogger": "runs.loggers.base", "Scores": "runs.loggers.base",
    "figures": "runs.loggers.base", "final_scores": "runs.loggers.base:final", "ImageTable": "types", "Predictions": "types",
    "Problem": "types", "Score": "types",
}  # fmt: skip

__all__ = [
    "SMALLEST", "Augmentation", "CheckResult", "Claim", "Classifier", "Color", "ColumnOptions", "Combiner", "Context",
    "DataError", "DatasetView", "DecodedImages", "Descriptor", "ExplainedModel", "Explainer", "FeatureClassifier",
    "FitContext", "Forgery", "Geometry", "GlobalPool", "HeadedNet", "HealthCheck", "Heatmap", "ImageError", "ImageTable",
    "Layout", "LayoutOptions", "LayoutRows", "Listing", "MixAugmentation", "MixedBatch", "Net", "NetOptions", "OptionsModel",
    "PluginError", "Predictions", "Problem", "Progress", "Promise", "RandomApply", "Recipe", "RecipeError", "RunError",
    "RunLogger", "Score", "Scores", "Size", "StagedNet", "TellapartError", "UnionAugmentation", "Weighting", "backbone_width",
    "check_augmentation", "check_classifier", "check_combiner", "check_descriptor", "check_explainer", "check_forgery",
    "check_health_check", "check_layout", "check_logger", "check_net", "dense_head", "figures", "final_scores", "image_shape",
    "passed", "promises", "write_arrays",
]  # fmt: skip

#: Kind → module with its promises.
_MODULES = {
    "classifier": "_classifiers",
    "descriptor": "_descriptors",
    "net": "_nets",
    "augmentation": "_augmentations",
    "combiner": "_combiners",
    "explainer": "_explainers",
    "health check": "_health_checks",
    "forgery": "_forgeries",
    "logger": "_loggers",
    "layout": "_layouts",
}


def promises(kind: str) -> tuple[Promise, ...]:
    """The promises of a kind, in the order in which its checker tests them.

    Args:
        kind: "classifier", "descriptor", "net", "augmentation", "combiner", "explainer", "health check", "forgery",
            "logger" or "layout".

    Raises:
        ValueError: The kind is unknown.
    """
    if kind not in _MODULES:
        raise ValueError(unknown_name("kind", kind, _MODULES))
    return tuple(importlib.import_module(f"tellapart.plugins.{_MODULES[kind]}").PROMISES.all)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tellapart.plugins' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(importlib.import_module(f"tellapart.{module}"), attribute or name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
