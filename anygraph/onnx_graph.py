"""The structure of an ONNX model: its operators, what each takes and gives, what is constant.

1. What is computed from weights alone is constant: no subtask, and no traffic.
2. An operator that no output depends on is left out.
3. If, Loop and Scan are one operator each. What their bodies capture is taken like any input.
4. Functions that the file defines are inlined: their operators are the model's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import prod
from pathlib import Path
from typing import NamedTuple

import onnx
from onnx.external_data_helper import (
    ExternalDataInfo,
    load_external_data_for_tensor,
    uses_external_data,
)
from onnx.inliner import inline_local_functions

RANDOM = {
    "RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike",
    "Multinomial", "Bernoulli",
}  # fmt: skip
SMALL = 1024  # bytes: ONNX's own limit for what stays in the model
WITHOUT_OVERRIDES = 4  # from this IR version on, weights need not be listed among the inputs


class Operator(NamedTuple):
    """One operator: its node's number in the model, what it takes and gives (constants apart)."""

    node: int
    name: str
    kind: str
    takes: frozenset[str]
    gives: frozenset[str]


class Structure(NamedTuple):
    """A model and what depends on what in it."""

    model: onnx.ModelProto  # functions inlined, nodes with unique names, weights no inputs
    operators: tuple[Operator, ...]  # in the file's order, which is a topological one
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    weight_bytes: dict[str, int]  # of each weight
    constant_nodes: dict[str, int]  # of each constant tensor that a node gives: the node's number
    unused: tuple[str, ...]  # names of operators that no output depends on


def open_model(path: Path) -> onnx.ModelProto:
    """A model from its file; weights in files beside it stay there.

    Raises
    ------
    ValueError
        For a file that is missing or holds no ONNX model.
    """
    if not Path(path).is_file():
        raise ValueError(f"model: no file {str(path)!r}")
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # each format has errors of its own
        raise ValueError(f"{path}: not an ONNX model ({_first_line(error)})") from error
    if not model.ir_version or not model.opset_import or not model.graph.node:
        raise ValueError(f"{path}: not an ONNX model, or one without operators")
    _load_small_weights(model, Path(path))
    return model


def _load_small_weights(model: onnx.ModelProto, path: Path):
    """Weights beside the model: all must be there; shapes may depend on the small ones' values."""
    folder = path.resolve().parent
    for tensor in model.graph.initializer:
        if not uses_external_data(tensor):
            continue
        location = ExternalDataInfo(tensor).location
        if not (folder / location).is_file():
            raise ValueError(
                f"{path}: weight {tensor.name!r}: no file {location!r} beside the model"
            )
        if _tensor_bytes(tensor) <= SMALL:
            load_external_data_for_tensor(tensor, str(folder))
            tensor.data_location = onnx.TensorProto.DEFAULT
            del tensor.external_data[:]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def prepare(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model: functions inlined, weights no longer inputs, unique names for nodes."""
    if model.functions:
        prepared = inline_local_functions(model)
    else:
        prepared = onnx.ModelProto()
        prepared.CopyFrom(model)
    prepared.ir_version = max(prepared.ir_version, WITHOUT_OVERRIDES)
    weights = set(_weight_bytes(prepared.graph))
    inputs = [value for value in prepared.graph.input if value.name not in weights]
    del prepared.graph.input[:]
    prepared.graph.input.extend(inputs)
    for value in prepared.graph.input:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_value <= 0 and not dim.dim_param:
                dim.Clear()  # some exporters write 0 or -1 for a free size
    _name_nodes(prepared.graph)
    return prepared


def _name_nodes(graph: onnx.GraphProto):
    """Give the nodes unique names, those of bodies among themselves."""
    for node, name in zip(graph.node, _unique_names(graph)):
        node.name = name
        for body in bodies(node):
            _name_nodes(body)


def _unique_names(graph: onnx.GraphProto) -> list[str]:
    """The nodes' names; for one without a name what ONNX Runtime's profile calls it."""
    names = []
    taken = {node.name for node in graph.node}
    seen = {""}
    position = 0  # ONNX Runtime does not count constants
    for node in graph.node:
        name = node.name
        if name in seen:
            name = f"{name or node.op_type}_{position}"
            while name in taken:
                name += "_"
            taken.add(name)
        seen.add(name)
        names.append(name)
        position += node.op_type != "Constant"
    return names


def _weight_bytes(graph: onnx.GraphProto) -> dict[str, int]:
    """Bytes of each initialiser."""
    sizes = {tensor.name: _tensor_bytes(tensor) for tensor in graph.initializer}
    for sparse in graph.sparse_initializer:
        sizes[sparse.values.name] = _tensor_bytes(sparse.values) + _tensor_bytes(sparse.indices)
    return sizes


def _tensor_bytes(tensor: onnx.TensorProto) -> int:
    if tensor.data_type == onnx.TensorProto.STRING:
        return sum(map(len, tensor.string_data))
    return -(-prod(tensor.dims) * bits(tensor.data_type) // 8)


def bits(data_type: int) -> int:
    """Bits of one value of an ONNX type, packed types included."""
    name = onnx.TensorProto.DataType.Name(data_type)
    if name.endswith("INT4") or name.startswith("FLOAT4"):
        return 4
    if name.endswith("INT2"):
        return 2
    return onnx.helper.tensor_dtype_to_np_dtype(data_type).itemsize * 8


def bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The subgraphs of an If, Loop, Scan and the like."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def taken_by(node: onnx.NodeProto) -> set[str]:
    """Tensors that a node takes, with those that its subgraphs capture."""
    names = {name for name in node.input if name}
    for body in bodies(node):
        names |= _captured(body)
    return names


def _captured(body: onnx.GraphProto) -> set[str]:
    inside = {value.name for value in body.input} | set(_weight_bytes(body))
    outside = set()
    for node in body.node:
        outside |= taken_by(node) - inside
        inside |= set(node.output)
    return outside | ({value.name for value in body.output} - inside)


def structure_of(model: onnx.ModelProto, path: Path) -> Structure:
    """What depends on what in a prepared model.

    Raises
    ------
    ValueError
        For a tensor that nothing before its operator gives, or that is given twice; for a model of
        which nothing depends on an input.
    """
    graph = model.graph
    weight_bytes = _weight_bytes(graph)
    inputs = tuple(value.name for value in graph.input)
    outputs = tuple(value.name for value in graph.output)
    known = {*weight_bytes, *inputs}
    constant_nodes: dict[str, int] = {}
    operators = []
    for number, node in enumerate(graph.node):
        takes = taken_by(node)
        gives = frozenset(name for name in node.output if name)
        _check_tensors(node, takes - known, gives & known, path)
        varying = takes - weight_bytes.keys() - constant_nodes.keys()
        if varying or node.op_type in RANDOM:
            operators.append(Operator(number, node.name, node.op_type, frozenset(varying), gives))
        else:
            constant_nodes.update(dict.fromkeys(gives, number))
        known |= gives
    missing = set(outputs) - known
    if missing:
        raise ValueError(f"{path}: no operator gives the output {min(missing)!r}")
    used = _needed(operators, outputs)
    if not used:
        raise ValueError(f"{path}: no output depends on an operator; there is nothing to place")
    unused = tuple(operator.name for operator in operators if operator not in used)
    return Structure(
        model, tuple(used), inputs, outputs, weight_bytes, constant_nodes, unused
    )  # fmt: skip


def _check_tensors(node: onnx.NodeProto, unknown: set[str], again: set[str], path: Path):
    where = f"{path}: operator {node.name!r} ({node.op_type})"
    if unknown:
        raise ValueError(f"{where} takes {min(unknown)!r}, which nothing before it gives")
    if again:
        raise ValueError(f"{where} gives {min(again)!r}, which was given before it")


def _needed(operators: list[Operator], outputs: Iterable[str]) -> list[Operator]:
    """The operators that outputs depend on, in order."""
    wanted = set(outputs)
    needed = []
    for operator in reversed(operators):
        if operator.gives & wanted:
            needed.append(operator)
            wanted |= operator.takes
    return needed[::-1]


class Constants(NamedTuple):
    """What operators need that does not depend on the input."""

    nodes: set[int]  # numbers of the nodes that compute it
    weights: set[str]  # names
    sizes: dict[tuple[str, str], int]  # bytes of each weight, and of each constant in a node

    @property
    def bytes(self) -> int:
        """Of the weights, constants in nodes included."""
        return sum(self.sizes.values())


def constants_of(structure: Structure, names: Iterable[str]) -> Constants:
    """The weights, and the nodes that compute with weights alone, behind tensors.

    Parameters
    ----------
    structure : Structure
    names : iterable of str
        Tensors; those that depend on the input are passed over.
    """
    nodes: set[int] = set()
    weights: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in structure.weight_bytes:
            weights.add(name)
        number = structure.constant_nodes.get(name)
        if number is not None and number not in nodes:
            nodes.add(number)
            waiting += taken_by(structure.model.graph.node[number])
    sizes = {("weight", name): structure.weight_bytes[name] for name in sorted(weights)}
    for number in sorted(nodes):
        node = structure.model.graph.node[number]
        sizes["node", node.name] = _constant_bytes(node)
    return Constants(nodes, weights, sizes)


def _constant_bytes(node: onnx.NodeProto) -> int:
    """Bytes of the tensors that a node carries as attributes (Constant's value)."""
    return sum(
        _tensor_bytes(attribute.t) for attribute in node.attribute if attribute.HasField("t")
    )
