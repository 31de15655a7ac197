"""The networks as ONNX, written layer by layer in PyTorch's terms; layers have the names of the checkpoint with their
tensors, and are in evaluation.

AASIST (Jung et al. 2021, arXiv:2110.01200; MIT, NAVER Corp.): sound [batch, 64600] → logits [batch, 2] of *spoof* and
*bona fide*, as in the authors' `AASIST.py` with the configuration of its published weights. The sinc filters are not in
the checkpoint; `_filters` computes them.

CAM++ (Wang et al. 2023, arXiv:2303.00332; Apache-2.0): features [batch, frames, 80] → [batch, 192], as in 3D-Speaker's
`DTDNN.py`.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from kordant_jobs.adapters.voice.models.weights import Tensors
from kordant_jobs.domain.voice.models import RATE

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


SAMPLES = 64_600
FILTERS, TAPS = 70, 129
POOLED_SPECTRAL, POOLED_TEMPORAL = 11, 20
"""The nodes of the two graphs that remain after pooling: half of 23, and 0.7 of 29."""
TEMPERATURE, PAIR_TEMPERATURE = 2.0, 100.0


def build_aasist(tensors: Tensors) -> bytes:
    """The ONNX model, serialised, from the tensors of its checkpoint."""
    graph = Graph(tensors)
    encoded = _encoder(graph, "sound")
    size = graph.op("Abs", encoded)
    spectral = graph.op("Transpose", graph.op("ReduceMax", size, axes=[3], keepdims=0), perm=[0, 2, 1])
    spectral = _attention(graph, graph.op("Add", spectral, graph.tensor("pos_S")), "GAT_layer_S")
    spectral = _pool(graph, spectral, "pool_S", POOLED_SPECTRAL, 64)
    temporal = graph.op("Transpose", graph.op("ReduceMax", size, axes=[2], keepdims=0), perm=[0, 2, 1])
    temporal = _pool(graph, _attention(graph, temporal, "GAT_layer_T"), "pool_T", POOLED_TEMPORAL, 64)
    ways = [_inference(graph, temporal, spectral, way) for way in (1, 2)]
    times, spectra, masters = (graph.op("Max", *both) for both in zip(*ways, strict=True))
    parts = []
    for nodes in (times, spectra):
        parts.append(graph.op("ReduceMax", graph.op("Abs", nodes), axes=[1], keepdims=0))
        parts.append(graph.op("ReduceMean", nodes, axes=[1], keepdims=0))
    parts.append(graph.op("Squeeze", masters, graph.constant([1])))
    logits = graph.linear(graph.op("Concat", *parts, axis=1), "out_layer")
    return graph.model(("sound", ["batch", SAMPLES]), (logits, ["batch", 2]))


def _filters() -> NDArray[np.float32]:
    """Band-pass filters between mel-spaced edges, windowed, [70, 1, 129], in float32 as the model was trained with."""
    edges = RATE // 2 * np.linspace(0, 1, 257)
    mel = 2595 * np.log10(1 + edges / 700)
    edges = 700 * (10 ** (np.linspace(mel.min(), mel.max(), FILTERS + 1) / 2595) - 1)
    places = np.arange(-(TAPS - 1) / 2, (TAPS - 1) / 2 + 1)
    ideal = [2 * edge / RATE * np.sinc(2 * edge * places / RATE) for edge in edges]
    bands = [np.hamming(TAPS).astype(np.float32) * (high - low).astype(np.float32) for low, high in pairwise(ideal)]
    return np.stack(bands)[:, None].astype(np.float32)


def _encoder(graph: Graph, sound: str) -> str:
    value = graph.op("Conv", graph.op("Unsqueeze", sound, graph.constant([1])), graph.constant(_filters()))
    value = graph.op("Abs", graph.op("Unsqueeze", value, graph.constant([1])))
    value = graph.op("MaxPool", value, kernel_shape=[3, 3], strides=[3, 3])
    value = graph.op("Selu", graph.batchnorm(value, "first_bn"))
    for place in range(6):
        value = _residual_block(graph, value, f"encoder.{place}.0")
    return value


def _residual_block(graph: Graph, value: str, layer: str) -> str:
    """The block as it was trained: the input of its first convolution is the block's input, not the output of `bn1`."""
    inner = graph.convolution(value, f"{layer}.conv1", pads=[1, 1, 1, 1])
    inner = graph.op("Selu", graph.batchnorm(inner, f"{layer}.bn2"))
    inner = graph.convolution(inner, f"{layer}.conv2", pads=[0, 1, 0, 1])
    if f"{layer}.conv_downsample.weight" in graph.tensors:
        value = graph.convolution(value, f"{layer}.conv_downsample", pads=[0, 1, 0, 1])
    return graph.op("MaxPool", graph.op("Add", inner, value), kernel_shape=[1, 3], strides=[1, 3])


def _pairs(graph: Graph, nodes: str, layer: str) -> str:
    """tanh of a projection of every pair's product, [batch, nodes, nodes, features]."""
    rows, columns = (graph.op("Unsqueeze", nodes, graph.constant([axis])) for axis in (2, 1))
    return graph.op("Tanh", graph.linear(graph.op("Mul", rows, columns), f"{layer}.att_proj"))


def _weighted(graph: Graph, scores: str, temperature: float, axis: int) -> str:
    return graph.op("Softmax", graph.op("Div", scores, graph.constant(temperature)), axis=axis)


def _projected(graph: Graph, weights: str, nodes: str, layer: str) -> str:
    mixed = graph.linear(graph.op("MatMul", weights, nodes), f"{layer}.proj_with_att")
    mixed = graph.op("Add", mixed, graph.linear(nodes, f"{layer}.proj_without_att"))
    mixed = graph.op("Transpose", mixed, perm=[0, 2, 1])  # ONNX normalises the second dimension, PyTorch flattened
    return graph.op("Selu", graph.op("Transpose", graph.batchnorm(mixed, f"{layer}.bn"), perm=[0, 2, 1]))


def _attention(graph: Graph, nodes: str, layer: str) -> str:
    scores = graph.op("MatMul", _pairs(graph, nodes, layer), graph.tensor(f"{layer}.att_weight"))
    scores = graph.op("Squeeze", scores, graph.constant([3]))
    return _projected(graph, _weighted(graph, scores, TEMPERATURE, 2), nodes, layer)


def _pool(graph: Graph, nodes: str, layer: str, keep: int, features: int) -> str:
    """The `keep` nodes with the highest scores, weighted by them, the highest first."""
    scores = graph.op("Sigmoid", graph.linear(nodes, f"{layer}.proj"))
    _, places = graph.outputs("TopK", scores, graph.constant([keep]), count=2, axis=1)
    places = graph.op("Tile", places, graph.constant([1, 1, features]))
    return graph.op("GatherElements", graph.op("Mul", nodes, scores), places, axis=1)


def _inference(graph: Graph, temporal: str, spectral: str, way: int) -> tuple[str, str, str]:
    first, second = f"HtrgGAT_layer_ST{way}1", f"HtrgGAT_layer_ST{way}2"
    master = graph.tensor(f"master{way}")
    counts = (POOLED_TEMPORAL, POOLED_SPECTRAL)
    times, spectra, master = _pair_attention(graph, temporal, spectral, master, first, counts)
    counts = (POOLED_TEMPORAL // 2, POOLED_SPECTRAL // 2)
    spectra = _pool(graph, spectra, f"pool_hS{way}", counts[1], 32)
    times = _pool(graph, times, f"pool_hT{way}", counts[0], 32)
    more = _pair_attention(graph, times, spectra, master, second, counts)
    times, spectra, master = (
        graph.op("Add", one, two) for one, two in zip((times, spectra, master), more, strict=True)
    )
    return times, spectra, master


def _pair_attention(
    graph: Graph, one: str, two: str, master: str, layer: str, counts: tuple[int, int]
) -> tuple[str, str, str]:
    """Attention among nodes of two kinds, with a weight for each combination, and a master node that attends to all."""
    nodes = graph.op(
        "Concat", graph.linear(one, f"{layer}.proj_type1"), graph.linear(two, f"{layer}.proj_type2"), axis=1
    )
    pairs = _pairs(graph, nodes, layer)
    split = graph.constant(list(counts))
    rows = []
    for row, kinds in zip(
        graph.outputs("Split", pairs, split, count=2, axis=1), (("11", "12"), ("12", "22")), strict=True
    ):
        cells = graph.outputs("Split", row, split, count=2, axis=2)
        weighted = [
            graph.op("MatMul", cell, graph.tensor(f"{layer}.att_weight{kind}"))
            for cell, kind in zip(cells, kinds, strict=True)
        ]
        rows.append(graph.op("Concat", *weighted, axis=2))
    scores = graph.op("Squeeze", graph.op("Concat", *rows, axis=1), graph.constant([3]))
    attending = graph.op("Tanh", graph.linear(graph.op("Mul", nodes, master), f"{layer}.att_projM"))
    attending = graph.op("MatMul", attending, graph.tensor(f"{layer}.att_weightM"))
    looked = graph.op("Transpose", _weighted(graph, attending, PAIR_TEMPERATURE, 1), perm=[0, 2, 1])
    seen = graph.linear(graph.op("MatMul", looked, nodes), f"{layer}.proj_with_attM")
    master = graph.op("Add", seen, graph.linear(master, f"{layer}.proj_without_attM"))
    mixed = _projected(graph, _weighted(graph, scores, PAIR_TEMPERATURE, 2), nodes, layer)
    times, spectra = graph.outputs("Split", mixed, split, count=2, axis=1)
    return times, spectra, master


BLOCKS = ((12, 1), (24, 2), (16, 2))
"""Layers and dilation of each dense block."""
SEGMENT = 100
"""The number of frames over which the context is averaged."""


def build_campplus(tensors: Tensors) -> bytes:
    """The ONNX model, serialised, from the tensors of its checkpoint."""
    graph = Graph(tensors)
    value = _head(graph, "features")
    value = graph.convolution(value, "xvector.tdnn.linear", strides=[2], pads=[2, 2])
    value = _normalised(graph, value, "xvector.tdnn.nonlinear")
    segment_of_frame = _segment_of_frame(graph, value)
    for place, (layers, dilation) in enumerate(BLOCKS, 1):
        for layer in range(1, layers + 1):
            name = f"xvector.block{place}.tdnnd{layer}"
            new = _context_layer(graph, value, name, dilation, segment_of_frame)
            value = graph.op("Concat", value, new, axis=1)
        value = _normalised(graph, value, f"xvector.transit{place}.nonlinear")
        value = graph.convolution(value, f"xvector.transit{place}.linear")
    value = _statistics(graph, _normalised(graph, value, "xvector.out_nonlinear"))
    value = graph.convolution(graph.op("Unsqueeze", value, graph.constant([2])), "xvector.dense.linear")
    value = graph.batchnorm(value, "xvector.dense.nonlinear.batchnorm")
    embedding = graph.op("Squeeze", value, graph.constant([2]))
    return graph.model(("features", ["batch", "frames", 80]), (embedding, ["batch", 192]))


def _normalised(graph: Graph, value: str, layer: str) -> str:
    return graph.op("Relu", graph.batchnorm(value, f"{layer}.batchnorm"))


def _head(graph: Graph, features: str) -> str:
    """Residual 2-D convolutions over frequency and time, flattened to [batch, 320, frames]."""
    value = graph.op("Unsqueeze", graph.op("Transpose", features, perm=[0, 2, 1]), graph.constant([1]))
    value = graph.convolution(value, "head.conv1", pads=[1, 1, 1, 1])
    value = graph.op("Relu", graph.batchnorm(value, "head.bn1"))
    for layer in ("head.layer1", "head.layer2"):
        value = _residual(graph, value, f"{layer}.0", stride=2)
        value = _residual(graph, value, f"{layer}.1", stride=1)
    value = graph.convolution(value, "head.conv2", strides=[2, 1], pads=[1, 1, 1, 1])
    value = graph.op("Relu", graph.batchnorm(value, "head.bn2"))
    return graph.op("Reshape", value, graph.constant([0, 320, -1]))


def _residual(graph: Graph, value: str, layer: str, *, stride: int) -> str:
    inner = graph.convolution(value, f"{layer}.conv1", strides=[stride, 1], pads=[1, 1, 1, 1])
    inner = graph.op("Relu", graph.batchnorm(inner, f"{layer}.bn1"))
    inner = graph.batchnorm(graph.convolution(inner, f"{layer}.conv2", pads=[1, 1, 1, 1]), f"{layer}.bn2")
    if stride != 1:
        value = graph.convolution(value, f"{layer}.shortcut.0", strides=[stride, 1])
        value = graph.batchnorm(value, f"{layer}.shortcut.1")
    return graph.op("Relu", graph.op("Add", inner, value))


def _segment_of_frame(graph: Graph, value: str) -> str:
    """The index of each frame's segment: 0 … 0, 1 … 1, …"""
    shape = graph.op("Shape", value, start=2, end=3)
    frames = graph.op("Squeeze", shape, graph.constant([0]))
    zero, one, segment = (graph.constant(np.array(number)) for number in (0, 1, SEGMENT))
    return graph.op("Div", graph.op("Range", zero, frames, one), segment)


def _context_layer(graph: Graph, value: str, layer: str, dilation: int, segment_of_frame: str) -> str:
    inner = graph.convolution(_normalised(graph, value, f"{layer}.nonlinear1"), f"{layer}.linear1")
    inner = _normalised(graph, inner, f"{layer}.nonlinear2")
    local = graph.convolution(inner, f"{layer}.cam_layer.linear_local", dilations=[dilation], pads=[dilation, dilation])
    segments = graph.op("AveragePool", inner, kernel_shape=[SEGMENT], strides=[SEGMENT], ceil_mode=1)
    context = graph.op("GlobalAveragePool", inner)
    context = graph.op("Add", graph.op("Gather", segments, segment_of_frame, axis=2), context)
    context = graph.op("Relu", graph.convolution(context, f"{layer}.cam_layer.linear1"))
    mask = graph.op("Sigmoid", graph.convolution(context, f"{layer}.cam_layer.linear2"))
    return graph.op("Mul", local, mask)


def _statistics(graph: Graph, value: str) -> str:
    """Mean and unbiased standard deviation over time."""
    mean = graph.op("ReduceMean", value, axes=[2], keepdims=1)
    away = graph.op("Sub", value, mean)
    squares = graph.op("ReduceSum", graph.op("Mul", away, away), graph.constant([2]), keepdims=0)
    frames = graph.op("Cast", graph.op("Shape", value, start=2, end=3), to=1)
    variance = graph.op("Div", squares, graph.op("Sub", frames, graph.constant(1.0)))
    return graph.op("Concat", graph.op("Squeeze", mean, graph.constant([2])), graph.op("Sqrt", variance), axis=1)
