"""Operations and sizes of an ONNX model without running it, by onnx-tool.

Two floating-point operations for each multiply-add, and at least one for each value that an
operator gives: so what only moves data costs something, but little. An operator that onnx-tool has
no count for is refused.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnx_tool

from anygraph.onnx_graph import Operator, Structure, bodies

FLOPS_PER_MAC = 2
SAY = "measure it instead (--costs measured)"
MOVES_DATA = {
    "ArgMax", "ArgMin", "ArrayFeatureExtractor", "Cast", "Compress", "Concat", "ConstantOfShape",
    "DepthToSpace", "Dropout", "Expand", "Flatten", "Gather", "GatherElements", "GatherND",
    "Identity", "OneHot", "Pad", "Range", "Reshape", "ScatterElements", "ScatterND", "Shape",
    "Slice", "Split", "Squeeze", "Tile", "TopK", "Transpose", "Unsqueeze", "Where", "ZipMap",
}  # fmt: skip


class Counts(NamedTuple):
    """What counting gives."""

    flops: dict[str, float]  # of each operator, by name
    tensor_bytes: dict[str, float]  # of each tensor that travels


def count(structure: Structure, feeds: Mapping[str, np.ndarray], path: Path) -> Counts:
    """Count a model's operations.

    Parameters
    ----------
    structure : Structure
    feeds : mapping of str to ndarray
        Inputs: their shapes matter, and the values of those that shapes depend on.
    path : Path
        The model's file: errors name it, and weights may lie beside it.

    Returns
    -------
    Counts

    Raises
    ------
    ValueError
        For an operator that onnx-tool does not know or cannot count; it is named.
    """
    for operator in structure.operators:
        _check_countable(operator, structure.model.graph.node[operator.node], path)
    graph, macs = _counted(structure, feeds, path)
    flops = {}
    for operator in structure.operators:
        values = sum(_size(graph.tensormap[name]) for name in operator.gives)
        flops[operator.name] = float(max(FLOPS_PER_MAC * macs[operator.name], values))
    travelling = {name for operator in structure.operators for name in operator.takes}
    travelling |= {name for op in structure.operators for name in op.gives} & {*structure.outputs}
    sizes = {}
    for name in travelling:
        tensor = graph.tensormap[name]
        sizes[name] = float(_size(tensor) * tensor.get_elementsize())
    return Counts(flops, sizes | {name: float(value.nbytes) for name, value in feeds.items()})


def _size(tensor) -> int:
    """Values in a tensor; onnx-tool itself takes a scalar for none."""
    return prod(tensor.get_shape())


def _check_countable(operator: Operator, node: onnx.NodeProto, path: Path):
    """Refuse an operator that would pass as next to nothing."""
    counter = onnx_tool.NODE_REGISTRY.get(f"{operator.kind}Node")
    if any(True for _ in bodies(node)):
        why = "runs a subgraph, which cannot be counted"
    elif counter is None:
        why = "is not known to onnx-tool"
    elif counter.profile is onnx_tool.Node.profile and operator.kind not in MOVES_DATA:
        why = "is not counted by onnx-tool"
    else:
        return
    raise ValueError(f"{path}: operator {operator.name!r} ({operator.kind}) {why}; {SAY}")


def _counted(structure: Structure, feeds: Mapping[str, np.ndarray], path: Path):
    """onnx-tool's graph of a model, its tensors' shapes known, and multiply-adds by node."""
    model = onnx.ModelProto()
    model.CopyFrom(structure.model)
    macs = {}
    what = "the model"
    try:
        onnx.load_external_data_for_model(model, str(Path(path).resolve().parent))
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # of nodes without a counter: those are refused
            graph = onnx_tool.Model(model, {"remove_dangling": False}).graph
            graph.update_input_by_map(dict(feeds))
            for name, node in graph.nodemap.items():
                what = f"operator {name!r} ({node.op_type})"
                takes = [graph.tensormap[tensor] for tensor in node.input]
                gives = [graph.tensormap[tensor] for tensor in node.output]
                infer = node.value_infer if node.shape_calc else node.shape_infer
                infer(takes, gives)
                macs[name] = node.profile(takes, gives)[0]
    except Exception as error:  # whatever its many nodes raise
        message = " ".join(str(error).split())[:300] or type(error).__name__
        raise ValueError(f"{path}: onnx-tool cannot count {what}: {message}; {SAY}") from error
    return graph, macs
