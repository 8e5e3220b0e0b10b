"""Graphs of every kind of network against torch, from decoded pictures to probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tellapart.calibration.decision import Decision
from tellapart.calibration.maps import Platt
from tellapart.classifiers.base import Classifier, as_module
from tellapart.classifiers.calibrated import Calibrated
from tellapart.classifiers.ensemble import Ensemble
from tellapart.classifiers.knn import Knn
from tellapart.classifiers.metadata import Metadata
from tellapart.classifiers.network import Network
from tellapart.combiners.geometric_mean import GeometricMean
from tellapart.errors import RunError
from tellapart.exporters._onnx_builder import OPSET
from tellapart.exporters.onnx_graph import IMAGES, with_preprocessing
from tellapart.exporters.onnx_session import Session
from tellapart.exporters.parity import LIMIT, check_parity, golden_images, largest_difference
from tellapart.inference.context import Settings
from tellapart.inference.onnx_model import memory_context, reference, trace_model
from tellapart.recipe import load as recipes
from tellapart.recipe.load import Recipe, parse

CLASSES = ("a", "b", "c")
CONTEXT = memory_context(Settings())
STAGED = {"net": "staged", "stages": [{"widths": [8]}, {"widths": [12, 12], "dropout": 0.2}], "dense": [6]}
QUICK = {"net": "quick", "width": 4}


def recipe_of(name: str) -> Recipe:
    """Its network untrained, at a size that two cores answer in seconds."""
    recipe = recipes.load(name)
    options = dict(recipe.classifier.options)
    if "weights" in options:
        options["weights"] = "none"
    if "backbones" in options:
        options["backbones"] = [{**one, "weights": "none"} for one in options["backbones"]]
    content = recipe.model_dump(mode="json", exclude_none=True)
    names = [f"{one.get('net')} {one.get('model')}" for one in (options, *options.get("backbones", ()))]
    large = any("inception" in one for one in names)
    size = recipe.inputs.size
    inputs = {**content["inputs"], "size": 128 if large else 64 if size == "auto" or min(np.ravel(size)) > 64 else size}
    return parse({**content, "inputs": inputs, "classifier": {"family": recipe.classifier.family, **options}}, name)


def networks() -> list[str]:
    """Packaged recipes with a network on whole images; of several with one net and one way of decoding the first."""
    found: dict[str, str] = {}
    for name in recipes.names():
        recipe = recipes.load(name)
        if recipe.classifier.family == "network" and not recipe.features and recipe.inputs.region is None:
            found.setdefault(f"{recipe.classifier.model_dump_json()} {recipe.inputs.model_dump_json()}", name)
    return list(found.values())


NETWORKS = networks()


def session_of(classifier: Classifier) -> Session:
    """The whole graph, loaded."""
    model, inputs = trace_model(classifier, CONTEXT)
    made = with_preprocessing(model, inputs)
    onnx.checker.check_model(made)
    assert {one.domain: one.version for one in made.opset_import}[""] == OPSET
    return Session(made.SerializeToString(), "test")


def difference(classifier: Classifier, images: list[np.ndarray]) -> float:
    """Of graph and classifier, in batches of 1, 2 and 5."""
    session = session_of(classifier)
    return largest_difference(lambda batch: session.run({IMAGES: batch}), reference(classifier, CONTEXT), images)


def calibrated(inner: Classifier, decision: Decision) -> Calibrated:
    """A calibrated classifier around one that is there already."""
    of = {"classifier": {"family": "network", **inner.recipe.classifier.options}}
    made = Calibrated(
        parse({"inputs": inner.recipe.inputs.model_dump(), "classifier": {"family": "calibrated", "of": of}}, "t")
    )
    made.classes, made.inner, made.decision = CLASSES, inner, decision
    return made


def ensemble(members: list[Classifier]) -> Ensemble:
    """Their mean log-odds."""
    first = members[0].recipe
    of = {"classifier": {"family": "network", **first.classifier.options}}
    content = {"inputs": first.inputs.model_dump(), "classifier": {"family": "ensemble", "how": "geometric_mean", "of": of}}
    made = Ensemble(parse(content, "t"))
    made.classes, made.copies, made.combiner = CLASSES, tuple(members), GeometricMean(GeometricMean.Options())
    return made


def test_an_ensemble_of_many_kinds(reinitialized: Any) -> None:
    """Staged on gray with borders, quick with views on a crop, a calibrated one that is stretched: one graph, three inputs."""
    platt = Decision(CLASSES, 100, None, Platt(1.7, (0.0, 0.4, -0.3)), seen=(0.3, 0.3, 0.4), prior=(0.6, 0.2, 0.2))
    views = {**QUICK, "views": ["flip", "closer", "farther"]}
    members: list[Classifier] = [
        reinitialized(STAGED, size=(24, 31), mode="gray", resize="pad"),
        reinitialized(views, size=40, resize="crop", keep=0.8),
        calibrated(reinitialized(QUICK, size=32), platt),
    ]
    found = ensemble(members)
    assert len(as_module(found, CONTEXT).inputs) == 3
    images = golden_images()[1:]
    assert difference(found, images) <= LIMIT
    answers = np.concatenate([reference(found, CONTEXT)(image[None]) for image in images])
    assert np.ptp(answers, axis=0).min() > 0.2  # opinions that a wrong graph would miss


def test_a_fusion_of_libraries(reinitialized: Any) -> None:
    """timm, torchvision and a net of ours, each in its own size and mode, resampled inside the net."""
    backbones = [
        {"net": "timm", "model": "resnet10t", "weights": "none"},
        {"net": "torchvision", "model": "squeezenet1_1", "weights": "none", "size": 48},
        {"net": "quick", "width": 4, "mode": "gray", "size": [20, 28]},
    ]
    made = reinitialized({"net": "fusion", "backbones": backbones}, size=64, resize="center")
    assert difference(made, golden_images()[2::2]) <= LIMIT


@pytest.fixture(scope="module")
def strict(reinitialized: Any) -> tuple[Classifier, Session, bytes]:
    """A network that takes 16×12 pictures only, its graph, and the graph's file."""
    made = reinitialized(QUICK, size=(16, 12), resize="none")
    model, inputs = trace_model(made, CONTEXT)
    content = with_preprocessing(model, inputs).SerializeToString()
    return made, Session(content, "test"), content


def test_other_sizes_are_refused_where_the_run_refuses_them(strict: Any) -> None:
    made, session, _ = strict
    assert session.inputs[IMAGES] == ["batch", 16, 12, 3]
    images = golden_images(made.recipe.inputs)
    assert {image.shape for image in images} == {(16, 12, 3)}
    with pytest.raises(RunError, match="invalid dimensions"):
        session.run({IMAGES: images[0][None].transpose(0, 2, 1, 3)})


def test_nothing_of_this_machine_is_in_a_graph(strict: Any) -> None:
    content = strict[2]
    assert b".py" not in content and b"stack_trace" not in content and str(Path(__file__).parents[2]).encode() not in content


def test_what_has_no_graph_is_refused_with_a_reason(reinitialized: Any) -> None:
    nn = Knn(parse({"inputs": {"size": 8, "mode": "rgb"}, "classifier": {"family": "knn"}}, "t"))
    null = parse({"classifier": {"family": "metadata"}}, "t")
    vectors = parse({"inputs": {"size": 8}, "features": {}, "classifier": {"family": "network", "net": "mlp"}}, "t")
    for made, reason in (
        (nn, "the family knn has no network"),
        (ensemble([reinitialized(QUICK, size=16), nn]), "copy 1, a member of the ensemble: the family knn"),
    ):
        with pytest.raises(RunError, match=reason):
            trace_model(made, CONTEXT)
    with pytest.raises(RunError, match="does not use pixels"):
        trace_model(Metadata(null), CONTEXT)
    learnt = Network(vectors)
    learnt.extractor = object()  # type: ignore[assignment]
    with pytest.raises(RunError, match="trained on features"):
        trace_model(learnt, CONTEXT)
    region = reinitialized(QUICK, size=16, region={"face": {}})
    with pytest.raises(RunError, match="reads a region"):
        trace_model(region, CONTEXT)


def test_a_graph_that_says_something_else_is_refused(strict: Any) -> None:
    made, session, _ = strict
    images = golden_images(made.recipe.inputs)[-3:]
    found = check_parity(lambda b: session.run({IMAGES: b}), reference(made, CONTEXT), images, "run")
    assert found.holds and found.largest < 1e-5 and found.predictions == 24 and found.sizes == ((16, 12),) * 3

    def wrong(batch: np.ndarray) -> np.ndarray:
        answers = session.run({IMAGES: batch}).copy()
        answers[-1, 0] += 2e-4 if len(batch) == 5 else 0  # one number of one batch
        return answers

    with pytest.raises(RunError, match=r"differ from torch's by up to 0\.0002 \(limit 0\.0001\)"):
        check_parity(wrong, reference(made, CONTEXT), images, "run")
    nothing = largest_difference(lambda b: np.full((len(b), 3), np.nan, np.float32), reference(made, CONTEXT), images)
    assert nothing == float("inf")


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_packaged_network(name: str, reinitialized: Any) -> None:
    """Of each recipe's net with random weights, a weak last layer (see conftest), at batch 1, 2 and 5."""
    recipe = recipe_of(name)
    mode = "rgb" if recipe.inputs.mode == "auto" else recipe.inputs.mode
    made = reinitialized(recipe.classifier.options, strongest=0.5, **recipe.inputs.model_dump() | {"mode": mode})
    assert difference(made, golden_images(made.recipe.inputs)[1::3]) <= LIMIT
