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

from kd_offload.graphs import TaskGraph

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
FILES = {
    "alexnet": "bvlc_alexnet", "zfnet": "zfnet512", "vgg19": "vgg19", "squeezenet": "squeezenet",
    "inception_v1": "inception_v1", "inception_v2": "inception_v2", "resnet50": "resnet50",
    "shufflenet": "shufflenet", "densenet121": "densenet121",
}  # fmt: skip
MOST = 128  # subtasks
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


def _flops(node, shape) -> float:
    """Floating-point operations of one operator; shape: tensor -> tuple of sizes."""
    out = prod(shape[node.output[0]])
    if node.op_type == "Conv":
        return 2.0 * out * prod(shape[node.input[1]][1:])  # weights: (out, in / groups, h, w)
    if node.op_type in ("Gemm", "MatMul"):
        flipped = any(a.name == "transA" and a.i for a in node.attribute)
        return 2.0 * out * shape[node.input[0]][0 if flipped else -1]
    return float(out)


def read(file: Path) -> tuple[list[Part], dict, set[str], set[str]]:
    """A file's operators in order, tensors' shapes, and the names of its input and its output."""
    model = onnx.shape_inference.infer_shapes(onnx.load(file), strict_mode=True).graph
    known = [*model.value_info, *model.input, *model.output]
    shape = {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in known}
    shape |= {w.name: tuple(w.dims) for w in model.initializer}
    fixed, parts = {w.name for w in model.initializer} | {""}, []
    entering = {v.name for v in model.input} - fixed
    for node in model.node:
        if takes := frozenset(node.input) - fixed:
            parts.append(Part(node.op_type, _flops(node, shape), takes, frozenset(node.output)))
        else:
            fixed |= set(node.output)
    return parts, shape, entering, {v.name for v in model.output}


def _joined(a: Part, b: Part) -> Part:
    """b after a, in one subtask. What b takes from a no longer travels."""
    return Part(a.kind, a.flops + b.flops, a.takes | (b.takes - a.gives), a.gives | b.gives)


def _before(parts: list[Part]) -> list[list[int]]:
    """Of every part, the numbers of those that feed it, in increasing order."""
    maker = {tensor: i for i, part in enumerate(parts) for tensor in part.gives}
    return [sorted({maker[t] for t in part.takes if t in maker}) for part in parts]


def merged(parts: list[Part], most: int) -> list[Part]:
    """At most `most` parts, in topological order: 2. and 3. of the module's text.

    More only where all that is left is fed by the input alone.
    """
    out: list[Part] = []
    for part in parts:
        fed_by = next((i for i, other in enumerate(out) if part.takes <= other.gives), None)
        if part.kind in ELEMENTWISE and fed_by is not None:
            out[fed_by] = _joined(out[fed_by], part)
        else:
            out.append(part)
    while len(out) > most:
        before = _before(out)
        fed = [j for j, b in enumerate(before) if b]
        if not fed:
            break
        j = min(fed, key=lambda j: (out[j].flops, j))
        out[before[j][-1]] = _joined(out[before[j][-1]], out[j])
        del out[j]
    return out


@lru_cache
def cut(name: str, most: int = MOST) -> tuple[TaskGraph, np.ndarray]:
    """Network `name` as a task graph of at most `most` subtasks, and its workload: cycles and
    bytes, float64 (n + edges,).

    ValueError for an unknown name, or if `most` is no positive integer.
    """
    if name not in FILES:
        raise ValueError(f"network: {name!r}, expected one of {', '.join(FILES)}")
    if not isinstance(most, (int, np.integer)) or most < 1:
        raise ValueError(f"most: {most!r}, expected a positive integer")
    parts, shape, entering, leaving = read(LIGHT / f"light_{FILES[name]}.onnx")
    source, sink = Part("", 0.0, frozenset(), frozenset(entering)), Part("", 0.0, leaving, set())
    parts, sizes = [source, *merged(parts, most), sink], {}
    for j, before in enumerate(_before(parts)):
        for i in before:
            tensors = parts[j].takes & parts[i].gives
            sizes[i, j] = sum(prod(shape[t]) for t in tensors) * BYTES_PER_VALUE
    graph = TaskGraph(f"operators_{name}", len(parts) - 2, tuple(sizes))
    cycles = [part.flops * CYCLES_PER_FLOP for part in parts[1:-1]]
    return graph, np.array(cycles + [sizes[e] for e in graph.edges], dtype=np.float64)
