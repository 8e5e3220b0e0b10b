"""What lies beside the graph in an exported folder, in the layout of model hubs: weights, configuration, card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tellapart.classifiers.base import Classifier
from tellapart.data.decode import target_size
from tellapart.exporters._onnx_builder import OPSET
from tellapart.exporters.onnx_graph import IMAGES, PROBABILITIES, package_version
from tellapart.recipe.schema import Inputs
from tellapart.runs.store import Run

if TYPE_CHECKING:
    import torch

    from tellapart.classifiers._torch_inference import InferenceModule

_BICUBIC = 3  # as Pillow and the hubs number it


def weights(module: InferenceModule) -> dict[str, torch.Tensor]:
    """The tensors by name. Those of a network are named as in its run, so that `init_from` can start from the file."""
    from tellapart.classifiers._torch_inference import NetModule

    state = (module.net if isinstance(module, NetModule) else module).state_dict()
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}


def decision_of(classifier: Classifier) -> dict[str, Any] | None:
    """How probabilities become a verdict, of a calibrated run; None: the most probable class."""
    from tellapart.classifiers.calibrated import Calibrated

    return classifier.decision.to_dict() if isinstance(classifier, Calibrated) else None


def config(run: Run, classifier: Classifier) -> dict[str, Any]:
    """The content of config.json."""
    classes = list(run.classes)
    return {
        "model_type": "tellapart", "architectures": [_architecture(run)], "num_classes": len(classes),
        "id2label": {str(label): name for label, name in enumerate(classes)},
        "label2id": {name: label for label, name in enumerate(classes)},
        "positive": run.positive, "decision": decision_of(classifier),
        "onnx": {"opset": OPSET, "input": IMAGES, "output": PROBABILITIES},
        "tellapart": {"version": package_version("tellapart"), "run": run.id, "recipe": run.recipe},
    }  # fmt: skip


def preprocessor(module: InferenceModule) -> dict[str, Any]:
    """The content of preprocessor_config.json: what model.onnx does by itself, for whoever uses the weights alone."""
    first = module.inputs[0]
    height, width = target_size(first)
    return {
        "image_processor_type": "tellapart", "do_resize": first.resize not in ("none", "center"),
        "size": {"height": height, "width": width}, "resample": _BICUBIC, "do_rescale": True, "rescale_factor": 1 / 255,
        "do_normalize": True, **_scaling(module), "do_convert_rgb": first.mode != "gray",
        "inputs": [one.model_dump(mode="json") for one in module.inputs],
    }  # fmt: skip


def metadata(run: Run, classifier: Classifier) -> dict[str, str]:
    """What stands in the graph itself; values are text, those of several parts JSON."""
    import json

    facts = {"classes": list(run.classes), "decision": decision_of(classifier) or "the most probable class"}
    return {
        "run": run.id, "tellapart": package_version("tellapart"), "positive": run.positive or "",
        **{name: json.dumps(value, ensure_ascii=False) for name, value in facts.items()},
    }  # fmt: skip


def _architecture(run: Run) -> str:
    options = run.recipe["classifier"]
    return "/".join(str(options[key]) for key in ("family", "net", "model") if key in options)


def _scaling(module: InferenceModule) -> dict[str, Any]:
    """Mean and standard deviation of the one net, in [0, 1]; nothing where there are several."""
    from tellapart.nets.base import Normalize

    found = [one for name, one in module.named_modules() if isinstance(one, Normalize) and name.endswith("net.normalize")]
    if len(found) != 1:
        return {}
    mean, scale = found[0].mean.flatten().double(), found[0].scale.flatten().double()
    return {"image_mean": (mean / 255).tolist(), "image_std": (1 / (scale * 255)).tolist()}


def input_words(inputs: Inputs) -> str:
    """How a picture is made to fit, as a sentence needs it.

    >>> input_words(Inputs(size=64, mode="gray", resize="pad", keep=0.5))
    'the middle 0.5 of each side, then 64×64 (resize: pad), gray'
    """
    height, width = target_size(inputs)
    kept = f"the middle {inputs.keep:g} of each side, then " if inputs.keep < 1 else ""
    return f"{kept}{height}×{width} (resize: {inputs.resize}), {'gray' if inputs.mode == 'gray' else 'RGB'}"
