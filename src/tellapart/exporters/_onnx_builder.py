"""Builder of ONNX graphs: a growing list of nodes with unique names."""

from __future__ import annotations

from typing import Any

import numpy as np

#: Version of the operators: the one that torch's exporter writes without conversion; ONNX Runtime reads it since 1.17.
OPSET = 20
#: Version of the file format for this opset.
IR_VERSION = 10


class GraphBuilder:
    """Nodes in topological order, and their constants.

    Attributes:
        nodes: onnx.NodeProto, each after the nodes whose results it uses.
        constants: Constants, onnx.TensorProto.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one result; returns the name of the result."""
        from onnx import helper

        name = f"{self.prefix}/{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, value: Any, kind: type = np.float64) -> str:
        """Add a constant of any shape; returns its name."""
        from onnx import numpy_helper

        name = f"{self.prefix}/constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=kind), name))
        return name

    def cast(self, value: str, kind: type) -> str:
        """Cast `value` to another NumPy type."""
        from onnx import helper

        return self.add("Cast", value, to=helper.np_dtype_to_tensor_dtype(np.dtype(kind)))

    def branch(
        self, condition: str, then: tuple[GraphBuilder, str], other: tuple[GraphBuilder, str], kind: type, shape: list[Any]
    ) -> str:
        """Select one of two results by a condition; only the selected branch is computed.

        Args:
            condition: A scalar bool.
            then: Nodes, which may use earlier results, and the name of the result.
            other: The same for false.
            kind: NumPy type of the result.
            shape: Dimensions of the result, numbers or names.
        """
        from onnx import helper

        def graph(nodes: GraphBuilder, result: str) -> Any:
            output = helper.make_tensor_value_info(result, helper.np_dtype_to_tensor_dtype(np.dtype(kind)), shape)
            return helper.make_graph(nodes.nodes, nodes.prefix, [], [output], nodes.constants)

        return self.add("If", condition, then_branch=graph(*then), else_branch=graph(*other))
