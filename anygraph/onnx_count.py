"""Operations and sizes of an ONNX model without running it, by onnx-tool.

Two floating-point operations for each multiply-add; an operator that only moves data costs one for
each value that it gives. Nothing that onnx-tool cannot count passes as nothing.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnx_tool

from anygraph.onnx_graph import Structure, bodies

FLOPS_PER_MAC = 2
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
    say = "measure it instead (--costs measured)"
    for operator in structure.operators:
        node = structure.model.graph.node[operator.node]
        kind = f"operator {operator.name!r} ({operator.kind})"
        if any(True for _ in bodies(node)):
            raise ValueError(f"{path}: {kind} runs a subgraph, which cannot be counted; {say}")
        if operator.kind + "Node" not in onnx_tool.NODE_REGISTRY:
            raise ValueError(f"{path}: {kind} is not known to onnx-tool; {say}")
    graph = _profiled(structure, feeds, path, say)
    flops = {}
    for operator in structure.operators:
        node = graph.nodemap[operator.name]
        values = sum(float(np.prod(graph.tensormap[name].get_shape())) for name in operator.gives)
        if not node.macs[0] and values and operator.kind not in MOVES_DATA:
            kind = f"operator {operator.name!r} ({operator.kind})"
            raise ValueError(f"{path}: {kind} is counted as nothing by onnx-tool; {say}")
        flops[operator.name] = FLOPS_PER_MAC * float(node.macs[0]) or values
    travelling = {name for operator in structure.operators for name in operator.takes}
    travelling |= {name for op in structure.operators for name in op.gives} & {*structure.outputs}
    sizes = {name: float(graph.tensormap[name].get_memsize()) for name in travelling}
    return Counts(flops, sizes | {name: float(value.nbytes) for name, value in feeds.items()})


def _profiled(structure: Structure, feeds: Mapping[str, np.ndarray], path: Path, say: str):
    """onnx-tool's graph of a model, counted."""
    model = onnx.ModelProto()
    model.CopyFrom(structure.model)
    try:
        onnx.load_external_data_for_model(model, str(Path(path).resolve().parent))
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # of nodes without a counter: those are refused
            graph = onnx_tool.Model(model, {"remove_dangling": False}).graph
            graph.shape_infer(dict(feeds))
            graph.profile()
    except Exception as error:  # whatever its many nodes raise
        message = " ".join(str(error).split())[:300] or type(error).__name__
        raise ValueError(f"{path}: onnx-tool cannot count it: {message}; {say}") from error
    return graph
