"""A small writer of ONNX graphs in PyTorch's terms. Layers have the names of the checkpoint with their tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from kordant_jobs.adapters.voice.models.weights import Tensors

OPSET = 17
BATCHNORM_EPSILON = 1e-5


class Graph:
    """Collects nodes and constants. Each method adds a node or layer and returns the name of its output."""

    def __init__(self, tensors: Tensors) -> None:
        self.tensors = tensors
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add one node with one output."""
        name = f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def outputs(self, kind: str, *inputs: str, count: int, **attributes: Any) -> list[str]:
        """Add one node with several outputs."""
        names = [f"v{len(self._nodes)}_{place}" for place in range(count)]
        self._nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names

    def constant(self, value: NDArray[Any] | float | Sequence[int]) -> str:
        """Add a constant; integers become int64, others float32."""
        array = np.asarray(value)
        array = array.astype(np.int64 if array.dtype.kind == "i" else np.float32)
        name = f"c{len(self._constants)}"
        self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def tensor(self, name: str) -> str:
        """Add a tensor of the checkpoint."""
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(self.tensors[name], name)
        return name

    def convolution(self, value: str, layer: str, **attributes: Any) -> str:
        """Add `nn.Conv1d` or `nn.Conv2d`."""
        bias = [self.tensor(f"{layer}.bias")] if f"{layer}.bias" in self.tensors else []
        return self.op("Conv", value, self.tensor(f"{layer}.weight"), *bias, **attributes)

    def batchnorm(self, value: str, layer: str) -> str:
        """Add `nn.BatchNorm` in evaluation, with or without scale and shift."""
        mean = self.tensors[f"{layer}.running_mean"]
        scale = self.tensors.get(f"{layer}.weight", np.ones_like(mean))
        shift = self.tensors.get(f"{layer}.bias", np.zeros_like(mean))
        statistics = [self.tensor(f"{layer}.{name}") for name in ("running_mean", "running_var")]
        given = (value, self.constant(scale), self.constant(shift), *statistics)
        return self.op("BatchNormalization", *given, epsilon=BATCHNORM_EPSILON)

    def linear(self, value: str, layer: str) -> str:
        """Add `nn.Linear` over the last dimension."""
        product = self.op("MatMul", value, self.constant(self.tensors[f"{layer}.weight"].T))
        return self.op("Add", product, self.tensor(f"{layer}.bias"))

    def model(self, given: tuple[str, list[Any]], made: tuple[str, list[Any]]) -> bytes:
        """The serialised model with one float input and one float output, each given as a name and its dimensions.

        Raises:
            onnx.checker.ValidationError: the graph is inconsistent.
        """
        graph = helper.make_graph(
            self._nodes,
            "kordant",
            [helper.make_tensor_value_info(given[0], TensorProto.FLOAT, given[1])],
            [helper.make_tensor_value_info(made[0], TensorProto.FLOAT, made[1])],
            list(self._constants.values()),
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))
