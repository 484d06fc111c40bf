"""A trained student as an ONNX file: writing, quantising, opening and asking it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from experiments.run import written_aside
from kd_offload.graphs import TaskGraph
from kd_offload.model import FORMAT, Model, check_graph
from kd_offload.tasks import feature_names


def export_onnx(model: Model, graph: TaskGraph, path: Path) -> None:
    """Write one ONNX graph of scaling, network and decision: task float64 (S, F) in SI units ->
    placement int8 (S, n). Raises ValueError for a model of another graph."""
    check_graph(model, graph)
    constants, nodes, at = [], [], "task"
    for number, (operator, values, attributes) in enumerate(_operators(model, graph)):
        for name, array in values.items():
            constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        inputs, at = [at, *values], f"{operator.lower()}_{number}"
        nodes.append(helper.make_node(operator, inputs, [at], **attributes))
    nodes[-1].output[0] = "placement"
    task = helper.make_tensor_value_info("task", TensorProto.DOUBLE, ["S", graph.n_features])
    out = helper.make_tensor_value_info("placement", TensorProto.INT8, ["S", graph.n])
    made = helper.make_model(
        helper.make_graph(nodes, model.scenario, [task], [out], constants),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
        producer_name="kd_offload",
    )
    about = {"format": FORMAT, "scenario": model.scenario, "role": model.role}
    about |= {"seed": str(model.seed), "features": " ".join(feature_names(graph))}
    helper.set_model_props(made, about)
    onnx.checker.check_model(made)
    with written_aside(path) as aside:
        onnx.save(made, aside)


def _operators(model: Model, graph: TaskGraph):
    """Operators, each on the output of the one before: (name, constants by name, attributes)."""
    yield "Log", {}, {}
    yield "Sub", {"mean": model.mean}, {}
    yield "Div", {"deviation": model.deviation}, {}
    yield "Cast", {}, {"to": TensorProto.FLOAT}
    for layer, (w, b) in enumerate(zip(model.weights, model.biases)):
        yield "MatMul", {f"weight_{layer}": w}, {}
        yield "Add", {f"bias_{layer}": b}, {}
        if layer < len(model.weights) - 1:
            yield "Relu", {}, {}
    yield "Reshape", {"shape": np.array([-1, graph.n, model.classes])}, {}
    yield "ArgMax", {}, {"axis": -1, "keepdims": 0}
    yield "Cast", {}, {"to": TensorProto.INT8}


def quantise_onnx(path: Path, target: Path) -> None:
    """The same file with weights in int8, by ONNX Runtime's dynamic quantisation."""
    with written_aside(target) as aside:
        quantize_dynamic(str(path), str(aside), weight_type=QuantType.QInt8)


def open_onnx(path: Path, graph: TaskGraph) -> onnxruntime.InferenceSession:
    """An exported student in ONNX Runtime, one thread.

    Raises ValueError for a damaged file or one of another scenario or version.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    provider = ["CPUExecutionProvider"]
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=provider)
    except Exception as error:  # its errors have no common public base
        why = str(error).splitlines()[0]
        raise ValueError(f"model: {path} is missing, truncated or altered ({why})") from None
    about = session.get_modelmeta().custom_metadata_map
    for key, expected in (("format", FORMAT), ("scenario", graph.name)):
        if about.get(key) != expected:
            raise ValueError(f"model: {path} has {key} {about.get(key)!r}, expected {expected!r}")
    return session


def run_onnx(session, tasks: np.ndarray) -> np.ndarray:
    """Placements int8 (S, n) of tasks float64 (S, F), unchecked."""
    return session.run(None, {"task": tasks})[0]
