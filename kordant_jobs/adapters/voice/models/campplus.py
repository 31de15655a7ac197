"""CAM++ (Wang et al. 2023, arXiv:2303.00332; Apache-2.0) as ONNX: features [batch, frames, 80] → [batch, 192].

The layers are those of 3D-Speaker's `DTDNN.py`, in evaluation.
"""

from __future__ import annotations

import numpy as np

from kordant_jobs.adapters.voice.models.graph import Graph
from kordant_jobs.adapters.voice.models.weights import Tensors

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
