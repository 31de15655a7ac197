"""AASIST (Jung et al. 2021, arXiv:2110.01200; MIT, NAVER Corp.) as ONNX: sound [batch, 64600] → logits [batch, 2].

The layers are those of the authors' `AASIST.py` with the configuration of its published weights, in evaluation. The
logits are of *spoof* and *bona fide*. The sinc filters are not in the checkpoint; `_filters` computes them.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from kordant_jobs.adapters.voice.models.graph import Graph
from kordant_jobs.adapters.voice.models.weights import Tensors
from kordant_jobs.domain.voice.models import RATE

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
        value = _residual(graph, value, f"encoder.{place}.0")
    return value


def _residual(graph: Graph, value: str, layer: str) -> str:
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
