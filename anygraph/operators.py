"""Real neural networks, operator by operator, from the files that the `onnx` package carries.

Nine image classifiers without their weights; shape inference gives every size. Nothing is run.
How a network becomes a task:

1. Weights and what is computed from weights alone are no subtasks, and their bytes no traffic.
2. A cheap operator that keeps the number of values (ELEMENTWISE) is merged into the operator that
   feeds it, if only one does (Add and Mul: if the other side is a weight).
3. While there are more subtasks than allowed, the one of fewest cycles is merged into its last
   predecessor in the topological order: all that either needs comes before that.
4. Cycles: two floating-point operations for each multiply-add of a convolution or a matrix product,
   one for each value that any other operator produces, times CYCLES_PER_FLOP as in `networks`. So
   what only moves data (Concat, MaxPool, Transpose) costs something, but little.
5. An edge carries, as float32, every tensor that its second subtask takes from its first, once.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx

from anygraph.families import MAX_SUBTASKS
from kd_offload.graphs import TaskGraph

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
FILES = {
    "alexnet": "bvlc_alexnet", "zfnet": "zfnet512", "vgg19": "vgg19", "squeezenet": "squeezenet",
    "inception_v1": "inception_v1", "inception_v2": "inception_v2", "resnet50": "resnet50",
    "shufflenet": "shufflenet", "densenet121": "densenet121",
}  # fmt: skip
BYTES_PER_VALUE = 4  # float32
CYCLES_PER_FLOP = 1 / 8  # eight operations in a cycle: SIMD with fused multiply-add
SHAPE_ONLY = {"Reshape", "Flatten", "Identity", "Squeeze", "Unsqueeze"}
ELEMENTWISE = {"Relu", "BatchNormalization", "Dropout", "LRN", "Softmax", "Add", "Mul", *SHAPE_ONLY}


class Part(NamedTuple):
    """Operators that run together: the first one's type; tensors by name."""

    kind: str
    flops: float
    takes: frozenset[str]
    gives: frozenset[str]


def _flops(node, shape: dict[str, tuple[int, ...]]) -> float:
    """Floating-point operations of one operator; shape: of every tensor."""
    out = prod(shape[node.output[0]])
    if node.op_type == "Conv":
        return 2.0 * out * prod(shape[node.input[1]][1:])  # weights: (out, in / groups, h, w)
    if node.op_type in ("Gemm", "MatMul"):
        flipped = any(a.name == "transA" and a.i for a in node.attribute)
        return 2.0 * out * shape[node.input[0]][0 if flipped else -1]
    return float(out)


class Network(NamedTuple):
    """What a file says of a network, without its weights."""

    parts: list[Part]  # its operators, in order
    shapes: dict[str, tuple[int, ...]]  # of every tensor
    inputs: frozenset[str]
    outputs: frozenset[str]


def read(file: Path) -> Network:
    """A network from its file."""
    graph = onnx.shape_inference.infer_shapes(onnx.load(file), strict_mode=True).graph
    weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    shapes = {
        value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
        for value in [*graph.value_info, *graph.input, *graph.output]
    }
    shapes |= weights
    fixed, parts = {*weights, ""}, []  # fixed: what does not depend on the input
    inputs = frozenset(value.name for value in graph.input) - fixed
    for node in graph.node:
        takes = frozenset(node.input) - fixed
        if takes:
            parts.append(Part(node.op_type, _flops(node, shapes), takes, frozenset(node.output)))
        else:
            fixed |= set(node.output)
    return Network(parts, shapes, inputs, frozenset(value.name for value in graph.output))


def _joined(first: Part, then: Part) -> Part:
    """Two parts in one subtask. What the second takes from the first no longer travels."""
    takes = first.takes | (then.takes - first.gives)
    return Part(first.kind, first.flops + then.flops, takes, first.gives | then.gives)


def _predecessors(parts: list[Part]) -> list[list[int]]:
    """Of every part, the numbers of those that feed it, in increasing order."""
    maker = {tensor: i for i, part in enumerate(parts) for tensor in part.gives}
    return [sorted({maker[tensor] for tensor in part.takes if tensor in maker}) for part in parts]


def merged(parts: list[Part], max_parts: int) -> list[Part]:
    """At most `max_parts` parts, in topological order: 2. and 3. of the module's text.

    More only where all that is left is fed by the input alone.
    """
    out: list[Part] = []
    for part in parts:
        feeding = [i for i, other in enumerate(out) if part.takes <= other.gives]
        if part.kind in ELEMENTWISE and feeding:
            out[feeding[0]] = _joined(out[feeding[0]], part)
        else:
            out.append(part)
    while len(out) > max_parts:
        predecessors = _predecessors(out)
        fed = [j for j in range(len(out)) if predecessors[j]]
        if not fed:
            break
        cheapest = min(fed, key=lambda j: (out[j].flops, j))
        last = predecessors[cheapest][-1]
        out[last] = _joined(out[last], out[cheapest])
        del out[cheapest]
    return out


class Workload(NamedTuple):
    """A network as a task."""

    graph: TaskGraph
    workload: np.ndarray  # float64 (n + edges,): cycles, then bytes


@lru_cache
def cut(name: str, max_subtasks: int = MAX_SUBTASKS) -> Workload:
    """A network as a task graph, with its cycles and bytes.

    Parameters
    ----------
    name : str
        A name in FILES.
    max_subtasks : int, optional

    Returns
    -------
    Workload

    Raises
    ------
    ValueError
        For an unknown name, or a number of subtasks that is no positive integer.
    """
    if name not in FILES:
        raise ValueError(f"network: {name!r}, expected one of {', '.join(FILES)}")
    if not isinstance(max_subtasks, (int, np.integer)) or max_subtasks < 1:
        raise ValueError(f"max_subtasks: {max_subtasks!r}, expected a positive integer")
    network = read(LIGHT / f"light_{FILES[name]}.onnx")
    source = Part("", 0.0, frozenset(), network.inputs)
    sink = Part("", 0.0, network.outputs, frozenset())
    parts = [source, *merged(network.parts, max_subtasks), sink]
    sizes = {}
    for j, predecessors in enumerate(_predecessors(parts)):
        for i in predecessors:
            tensors = parts[j].takes & parts[i].gives
            sizes[i, j] = sum(prod(network.shapes[t]) for t in tensors) * BYTES_PER_VALUE
    graph = TaskGraph(f"operators_{name}", len(parts) - 2, tuple(sizes))
    cycles = [part.flops * CYCLES_PER_FLOP for part in parts[1:-1]]
    return Workload(graph, np.array(cycles + [sizes[e] for e in graph.edges], dtype=np.float64))
