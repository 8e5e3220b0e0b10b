"""Export a classifier as an ONNX graph: the net is traced by torch, the preprocessing is built node by node.

    core     `pixels`, or `pixels_0`, `pixels_1` … of an ensemble whose members have different inputs: uint8
             (batch, height, width, C), decoded and sized as the cache holds them → `probabilities` (batch, classes) float32
    whole    `images` uint8 (batch, height, width, 3), RGB, of any size that is the same within a batch → the same

Test-time views, the softmax, calibration, the correction of the class mix and the combiner of an ensemble are in the graph. The
batch size is free.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from tellapart.data.decode import target_size
from tellapart.errors import RunError, SystemLimitError
from tellapart.exporters._onnx_builder import IR_VERSION, OPSET, GraphBuilder
from tellapart.exporters._onnx_preprocess import any_size, preprocess
from tellapart.recipe.schema import Inputs

if TYPE_CHECKING:
    pass

if TYPE_CHECKING:
    from tellapart.classifiers._torch_inference import InferenceModule

IMAGES, PROBABILITIES = "images", "probabilities"
_MOST = 2**31 - 1  # bytes of a protobuf
_TRACED = 2  # images of the example; with a single one, the exporter would fix the batch size


def require() -> None:
    """Check that the packages for exporting are installed.

    Raises:
        SystemLimitError: A package is missing.
    """
    for name in ("onnx", "onnxruntime", "onnxscript"):
        if not installed(name):
            hint = 'in the checkout: pip install ".[export]"'
            raise SystemLimitError(f"exporting needs the package {name}, which is not installed", hint=hint)


def installed(name: str) -> bool:
    """Whether a package can be imported; does not import it."""
    from importlib.util import find_spec

    return find_spec(name) is not None


def pixel_names(inputs: Sequence[Inputs]) -> list[str]:
    """Names of the inputs of the core, one for each of `inputs`."""
    return ["pixels"] if len(inputs) == 1 else [f"pixels_{number}" for number in range(len(inputs))]


def refuse_regions(inputs: Sequence[Inputs]) -> None:
    """Raise RunError if a run reads a region of the image, given by the table or a detector."""
    if any(one.region is not None for one in inputs):
        hint = "`tellapart predict` and `serve` crop the region and use the run itself"
        raise RunError("this run reads a region of each image (inputs.region), which is detected outside of its net", hint=hint)


def export_graph(module: InferenceModule) -> Any:
    """Export the core as onnx.ModelProto, without file names of this machine.

    Raises:
        RunError: The exporter cannot write the net.
    """
    import torch

    names = pixel_names(module.inputs)
    examples = tuple(torch.zeros(_TRACED, *_shape(one), dtype=torch.uint8) for one in module.inputs)
    batch = torch.export.Dim("batch", min=1)
    try:
        with quiet_exporter(), torch.no_grad():
            found: Any = torch.onnx.export(
                module.eval(), examples, input_names=names, output_names=[PROBABILITIES], dynamo=True, verbose=False,
                dynamic_shapes=(tuple({0: batch} for _ in names),), opset_version=OPSET, external_data=False,
            )  # fmt: skip
            model = found.model_proto
    except Exception as error:  # torch's exporter raises errors of many types
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RunError(
            f"torch cannot write this net as a graph ({first[:200]})",
            hint="use the run itself with `tellapart predict` or `serve`",
        ) from error
    if model.ByteSize() > _MOST:
        raise RunError(f"the graph would have {model.ByteSize() / 2**30:.1f} GiB; a file of ONNX holds at most 2")
    return _plain(model)


def with_preprocessing(model: Any, inputs: Sequence[Inputs]) -> Any:
    """The core with the preprocessing of decoded images in front."""
    from onnx import TensorProto, helper

    refuse_regions(inputs)
    before: list[GraphBuilder] = []
    for name, one in zip(pixel_names(inputs), inputs, strict=True):
        nodes = GraphBuilder(f"preprocess/{name}")
        result = preprocess(nodes, IMAGES, one)
        nodes.nodes.append(helper.make_node("Identity", [result], [name], name=f"preprocess/{name}"))
        before.append(nodes)
    sides: list[Any] = list(target_size(inputs[0])) if not any(map(any_size, inputs)) else ["height", "width"]
    graph = helper.make_graph(
        [*(node for nodes in before for node in nodes.nodes), *model.graph.node],
        "tellapart",
        [helper.make_tensor_value_info(IMAGES, TensorProto.UINT8, ["batch", *sides, 3])],
        list(model.graph.output),
        [*(constant for nodes in before for constant in nodes.constants), *model.graph.initializer],
    )
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version, producer_name="tellapart")


def describe(model: Any, facts: Mapping[str, str]) -> None:
    """Write metadata into the model, in place."""
    from onnx import helper

    helper.set_model_props(model, dict(facts))


def _shape(inputs: Inputs) -> tuple[int, int, int]:
    return (*target_size(inputs), 1 if inputs.mode == "gray" else 3)


def _plain(model: Any) -> Any:
    """Remove the exporter's notes, which name files and lines of this machine."""
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        value.ClearField("metadata_props")
        value.ClearField("doc_string")
    model.graph.ClearField("metadata_props")
    model.ClearField("metadata_props")
    model.graph.name, model.producer_name, model.ir_version = "tellapart", "tellapart", IR_VERSION
    model.ClearField("producer_version")
    return model


@contextlib.contextmanager
def quiet_exporter() -> Iterator[None]:
    """Silence prints, logs and warnings of the exporter: parity is checked afterwards."""
    before = logging.root.manager.disable
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)


def package_version(package: str) -> str:
    """The installed version of a package; "" if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
