"""Graphs of ONNX written by hand: a list of nodes that grows, with names that cannot clash."""

from __future__ import annotations

from typing import Any

import numpy as np

#: Of the operators; what torch's exporter writes without converting, and ONNX Runtime reads since 1.17.
OPSET = 20
#: Of the file format that goes with it.
IR_VERSION = 10


class GraphBuilder:
    """Nodes in order, and the constants that they use.

    Attributes:
        nodes: onnx.NodeProto, each after those whose results it uses.
        constants: onnx.TensorProto.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """One more node with one result; gives the result's name."""
        from onnx import helper

        name = f"{self.prefix}/{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, value: Any, kind: type = np.float64) -> str:
        """A constant of any shape; gives its name."""
        from onnx import numpy_helper

        name = f"{self.prefix}/constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=kind), name))
        return name

    def cast(self, value: str, kind: type) -> str:
        """`value` as another NumPy type."""
        from onnx import helper

        return self.add("Cast", value, to=helper.np_dtype_to_tensor_dtype(np.dtype(kind)))

    def branch(
        self, condition: str, then: tuple[GraphBuilder, str], other: tuple[GraphBuilder, str], kind: type, shape: list[Any]
    ) -> str:
        """One of two results by a condition; only what leads to it is computed.

        Args:
            condition: A bool without dimensions.
            then: Nodes, which may use what stands before this one, and which of their results.
            other: The same, for false.
            kind: NumPy type of the result.
            shape: Its dimensions: numbers, or names.
        """
        from onnx import helper

        def graph(nodes: GraphBuilder, result: str) -> Any:
            output = helper.make_tensor_value_info(result, helper.np_dtype_to_tensor_dtype(np.dtype(kind)), shape)
            return helper.make_graph(nodes.nodes, nodes.prefix, [], [output], nodes.constants)

        return self.add("If", condition, then_branch=graph(*then), else_branch=graph(*other))
