"""The other files of an exported folder, in the layout of model hubs: weights, configuration, card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tellapart import formatting
from tellapart.classifiers.base import Classifier
from tellapart.data.decode import target_size
from tellapart.exporters._onnx_builder import OPSET
from tellapart.exporters.onnx_graph import IMAGES, PROBABILITIES, package_version
from tellapart.recipe.groups import BASELINE
from tellapart.recipe.schema import Inputs
from tellapart.runs import store
from tellapart.runs.model_card import write_card
from tellapart.runs.store import Run

if TYPE_CHECKING:
    from tellapart.exporters.int8 import Int8Result
    from tellapart.exporters.parity import Parity

if TYPE_CHECKING:
    import torch

    from tellapart.classifiers._torch_inference import InferenceModule

_BICUBIC = 3  # code of the interpolation in Pillow and on the hubs


def weights(module: InferenceModule) -> dict[str, torch.Tensor]:
    """The tensors by name. Those of a network are named as in its run, so that `init_from` can start from the file."""
    from tellapart.classifiers._torch_inference import NetModule

    state = (module.net if isinstance(module, NetModule) else module).state_dict()
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}


def decision_of(classifier: Classifier) -> dict[str, Any] | None:
    """The decision rules of a calibrated run; None: the most probable class."""
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
    """The content of preprocessor_config.json: the preprocessing inside model.onnx, for use of the weights alone."""
    first = module.inputs[0]
    height, width = target_size(first)
    return {
        "image_processor_type": "tellapart", "do_resize": first.resize not in ("none", "center"),
        "size": {"height": height, "width": width}, "resample": _BICUBIC, "do_rescale": True, "rescale_factor": 1 / 255,
        "do_normalize": True, **_scaling(module), "do_convert_rgb": first.mode != "gray",
        "inputs": [one.model_dump(mode="json") for one in module.inputs],
    }  # fmt: skip


def metadata(run: Run, classifier: Classifier) -> dict[str, str]:
    """The metadata of the graph; values are text, structured ones JSON."""
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
    """Mean and standard deviation of the net, in [0, 1]; empty if there are several nets."""
    from tellapart.nets.base import Normalize

    found = [one for name, one in module.named_modules() if isinstance(one, Normalize) and name.endswith("net.normalize")]
    if len(found) != 1:
        return {}
    mean, scale = found[0].mean.flatten().double(), found[0].scale.flatten().double()
    return {"image_mean": (mean / 255).tolist(), "image_std": (1 / (scale * 255)).tolist()}


def input_words(inputs: Inputs) -> str:
    """Describe how an image is resized, for a sentence.

    >>> input_words(Inputs(size=64, mode="gray", resize="pad", keep=0.5))
    'the middle 0.5 of each side, then 64×64 (resize: pad), gray'
    """
    height, width = target_size(inputs)
    kept = f"the middle {inputs.keep:g} of each side, then " if inputs.keep < 1 else ""
    return f"{kept}{height}×{width} (resize: {inputs.resize}), {'gray' if inputs.mode == 'gray' else 'RGB'}"


# --- README.md of an exported folder: a model card with the front matter that model hubs read -------------------------


#: Code in the README that decodes a file as `data.decode.decode` does, with NumPy and Pillow only.
READ_IMAGE = """\
import numpy as np, onnxruntime
from PIL import Image, ImageOps


def read_image(path):
    image = Image.open(path)
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16-bit gray: the upper 8 bits; the value that a PNG calls transparent is white
        values = np.asarray(image).astype(np.int64)
        if image.info.get("transparency") is not None:
            values[values == image.info["transparency"]] = 65535
        image = Image.fromarray((values >> 8).astype(np.uint8))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)
    return np.asarray(image.convert("RGB"))

"""
_FIRST = ("accuracy", "macro-f1", "auroc", "log-loss")  # of the front matter


def readme(run: Run, inputs: tuple[Inputs, ...], parity: Parity, eight: Int8Result | None) -> str:
    """The whole file.

    Args:
        run: The exported run.
        inputs: Resolved `inputs` section.
        parity: The parity check of model.onnx.
        eight: The int8 graph, if one was made.
    """
    title, _, rest = write_card(run).partition("\n\n## ")
    scores, _, after = rest.partition("\n\n## Cost")
    parts = [
        title,
        _use(inputs, eight),
        f"## {scores}",
        _null(run),
        f"## Cost{after.rstrip()}",
        _license(run),
        _proof(parity, eight),
    ]
    return f"---\n{_front(run)}---\n\n" + "\n\n".join(parts) + "\n"


def license_of(run: Run) -> tuple[str, str]:
    """The license of the weights, as far as it is known: a name for the front matter, and a sentence."""
    starts = str(run.cost["pretrained"])
    if starts == "no":
        sentence = (
            "The weights were trained from random weights on the data above, by the author of this run. No license was stated: "
            "add yours here, and observe the terms of the images."
        )
        return "other", sentence
    from tellapart.nets._sources import licenses_in

    found = licenses_in(starts)
    name = found[0].lower() if len(set(found)) == 1 else ""
    known = f"which state the license `{name}`" if name else "whose license is unknown: look it up at their source"
    return (
        name or "other",
        f"The weights were initialized from others ({starts}), {known}. Their terms may apply to derived weights.",
    )


def _front(run: Run) -> str:
    """YAML of the front matter."""
    part = "test" if run.evaluations else "valid"
    scores = run.scores(part)
    metrics = [{"type": name, "value": scores[name].value, "name": name} for name in _FIRST if name in scores]
    data = Path(str(run.data["name"])).name  # without its folder
    name = {"name": data, "type": data, "split": formatting.PARTS[part]}
    result = {"task": {"type": "image-classification"}, "dataset": name, "metrics": metrics}
    content: dict[str, Any] = {
        "license": license_of(run)[0], "library_name": "tellapart", "pipeline_tag": "image-classification",
        "tags": ["image-classification", "onnx", "tellapart", run.family],
        "model-index": [{"name": run.recipe_name, "results": [result]}],
    }  # fmt: skip
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _use(inputs: tuple[Inputs, ...], eight: Int8Result | None) -> str:
    seen = "; ".join(input_words(one) for one in inputs)
    small = "\n- `model.int8.onnx`: the graph in int8; its loss of accuracy is stated below." if eight else ""
    return f"""## Use

```python
{READ_IMAGE}
session = onnxruntime.InferenceSession("model.onnx")
pixels = read_image("photo.jpg")[None]  # uint8 (batch, height, width, 3), any size
print(session.get_modelmeta().custom_metadata_map["classes"])
print(session.run(["{PROBABILITIES}"], {{"{IMAGES}": pixels}})[0])
```

- `model.onnx`, opset {OPSET}: from decoded images to probabilities. The graph contains all preprocessing ({seen}), test-time
  views, scaling and calibration. All images of a batch must have the same size. `read_image` decodes a file as
  tellapart does: upright by its EXIF orientation, the upper 8 of 16 bits, transparency over white.{small}
- `model.safetensors`, `config.json`, `preprocessor_config.json`: the weights alone, and their configuration and preprocessing.
- `parity.json`: the parity check, which compares the predictions of the graph with those of the run."""


def _null(run: Run) -> str:
    """Score of the metadata baseline on the same images."""
    found = [one for one in store.list_runs(run.runs, damaged=[]) if one.family == BASELINE and _same_images(one, run)]
    if not found:
        hint = "`tellapart train DATA -r metadata` adds one"
        text = f"There is no metadata baseline on the same images, so nothing shows whether the run uses the pixels ({hint})."
        return f"## Beside the metadata baseline\n\n{text}"
    lines = []
    for part in ("valid", "test"):
        baseline, own = found[-1].scores(part), run.scores(part)
        if "accuracy" in baseline and "accuracy" in own:
            lines.append(
                f"The metadata baseline, which uses the metadata of the files only and no pixels, has an accuracy of "
                f"{formatting.score_sentence(baseline['accuracy'])} on {formatting.PARTS[part]}; "
                f"this run {formatting.score_sentence(own['accuracy'])}."
            )
    return "## Beside the metadata baseline\n\n" + (
        "\n".join(lines) or "The metadata baseline run has no scores to compare with."
    )


def _same_images(one: Run, other: Run) -> bool:
    return all(one.data.get(key) == other.data.get(key) for key in ("fingerprint", "split_fingerprint"))


def _license(run: Run) -> str:
    return f"## License of the weights\n\n{license_of(run)[1]}"


def _proof(parity: Parity, eight: Int8Result | None) -> str:
    sizes = ", ".join(f"{height}×{width}" for height, width in parity.sizes)
    lengths = ", ".join(map(str, parity.batches))
    text = (
        f"## Parity\n\nONNX Runtime and torch predicted the same images ({sizes}) in batches of {lengths}: "
        f"the largest difference of a probability is {parity.largest:.2g} (limit {parity.limit:g})."
    )
    if eight is None:
        return text
    return (
        f"{text}\n\nIn int8, calibrated on {formatting.count(eight.images)} training images, it is right on "
        f"{100 * eight.accuracy:.1f} % of the validation images; {100 * eight.changed:.1f} % are predicted differently. "
        f"{eight.in_words}"
    )
