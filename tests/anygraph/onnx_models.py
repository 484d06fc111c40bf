"""Small ONNX models for the tests."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT
node = helper.make_node
value = helper.make_tensor_value_info


def weight(name: str, array) -> onnx.TensorProto:
    """A weight; lists of floats are float32."""
    array = np.asarray(array)
    return numpy_helper.from_array(array.astype("f4") if array.dtype == "f8" else array, name)


def saved(
    file: Path, nodes, inputs, outputs, weights=(), opset=18, ir=8, domains=(), **more
) -> Path:
    """Write a model. Inputs and outputs: value infos, or (name, shape) for float32."""
    infos = [[v if hasattr(v, "type") else value(v[0], FLOAT, v[1]) for v in values]
             for values in (inputs, outputs)]  # fmt: skip
    graph = helper.make_graph(nodes, "tested", *infos, list(weights))
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=ir, **more)
    onnx.save(model, file)
    return file


def diamond(file: Path) -> Path:
    """x (2, 8) to Relu; then Sigmoid, and the first half by Slice; both to a MatMul and an Add.

    0 -> relu -> sigmoid -> matmul (8 to 4) -> add -> sink; relu -> slice (4) -> add.
    """
    nodes = [
        node("Relu", ["x"], ["r"], name="relu"),
        node("Sigmoid", ["r"], ["s"], name="sigmoid"),
        node("Slice", ["r", "from", "to", "axes"], ["half"], name="slice"),
        node("MatMul", ["s", "w"], ["m"], name="matmul"),
        node("Add", ["m", "half"], ["y"], name="add"),
    ]
    rng = np.random.default_rng(0)
    weights = [
        weight("w", rng.random((8, 4))),
        weight("from", [0]),
        weight("to", [4]),
        weight("axes", [1]),
    ]
    return saved(file, nodes, [("x", [2, 8])], [("y", [2, 4])], weights)


DIAMOND_EDGES = {(0, 1): 64, (1, 2): 64, (1, 3): 64, (2, 4): 64, (3, 5): 32, (4, 5): 32, (5, 6): 32}


def conditional(file: Path) -> Path:
    """A Loop whose body captures a tensor and a weight; an If that captures two tensors.

    x (2, 4) -> neg -> loop (captures neg's, three rounds) -> if (captures x and loop's) -> sink
    """
    body = helper.make_graph(
        [
            node("Add", ["total", "n"], ["more"]),
            node("Mul", ["more", "w"], ["next"]),
            node("Identity", ["going"], ["still"]),
        ],
        "body",
        [value("i", TensorProto.INT64, []), value("going", TensorProto.BOOL, []),
         value("total", FLOAT, [2, 4])],
        [value("still", TensorProto.BOOL, []), value("next", FLOAT, [2, 4])],
    )  # fmt: skip
    branches = {
        "then_branch": helper.make_graph(
            [node("Add", ["x", "l"], ["then"])], "yes", [], [value("then", FLOAT, [2, 4])]
        ),
        "else_branch": helper.make_graph(
            [node("Identity", ["l"], ["else"])], "no", [], [value("else", FLOAT, [2, 4])]
        ),
    }
    nodes = [
        node("Neg", ["x"], ["n"], name="neg"),
        node("Loop", ["rounds", "", "start"], ["l"], name="loop", body=body),
        node("If", ["which"], ["y"], name="if", **branches),
    ]
    inputs = [value("x", FLOAT, [2, 4]), value("which", TensorProto.BOOL, [])]
    weights = [
        weight("rounds", np.array(3)),
        weight("start", np.zeros((2, 4), "f4")),
        weight("w", [0.5, 1.0, 1.5, 2.0]),
    ]
    return saved(file, nodes, inputs, [("y", [2, 4])], weights)
