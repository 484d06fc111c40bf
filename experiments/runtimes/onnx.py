"""A student as an ONNX file, from the raw task vector to the placement; and how it is asked."""

from __future__ import annotations

import contextlib
import itertools
import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn
from torch.nn.functional import embedding

from kd_offload.data import written_aside
from kd_offload.delay import N_LOCATIONS
from kd_offload.graphs import TaskGraph
from kd_offload.model import FORMAT, Model
from kd_offload.tasks import feature_names

OPSET = 18  # the lowest that torch's exporter writes


class TaskToPlacement(nn.Module):
    """Scaling, network and decision of a model."""

    def __init__(self, model: Model):
        super().__init__()
        self.register_buffer("mean", torch.tensor(model.scaling.mean))
        self.register_buffer("deviation", torch.tensor(model.scaling.deviation))
        layers = []
        for weights, bias in zip(model.weights, model.biases):
            linear = nn.Linear(*weights.shape)
            linear.weight.data = torch.tensor(weights.T)
            linear.bias.data = torch.tensor(bias)
            layers += [linear, nn.ReLU()]
        self.network = nn.Sequential(*layers[:-1])
        self.units = model.units
        if self.units:
            entry, given, bias, leave = map(torch.tensor, model.chain)
            self.register_buffer("entry", entry.flatten(1))  # (hidden, n W)
            self.register_buffer("bias", bias.flatten())
            self.exits = nn.ParameterList(list(leave))  # of each subtask (W, 3)
            self.given = nn.ParameterList(
                given[j, :, j + 1 :].flatten(1) for j in range(model.graph.n)
            )  # of each subtask's label (3, W for each later subtask)

    def forward(self, task: torch.Tensor) -> torch.Tensor:
        """Tasks float64 (S, F) in SI units -> placements int8 (S, n)."""
        inputs = ((torch.log(task) - self.mean) / self.deviation).float()  # (S, F)
        hidden = self.network[:-1](inputs)  # (S, hidden)
        logits = self.network[-1](hidden).unflatten(-1, (-1, N_LOCATIONS))  # (S, n, 3)
        if self.units:
            return self._in_sequence(hidden, logits).to(torch.int8)
        return logits.argmax(-1).to(torch.int8)

    def _in_sequence(self, hidden: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """A chain's labels (S, n)."""
        waiting = hidden @ self.entry + self.bias  # (S, W for each subtask that is still to come)
        labels = []
        for j, (leave, given) in enumerate(zip(self.exits, self.given)):
            units, waiting = waiting[:, : self.units], waiting[:, self.units :]
            labels.append((logits[:, j] + torch.relu(units) @ leave).argmax(-1))
            if given.numel():
                waiting = waiting + embedding(labels[j], given)
        return torch.stack(labels, -1)


def export_onnx(model: Model, path: Path) -> None:
    """Write a model as an ONNX file with the input `task` and the output `placement`.

    Parameters
    ----------
    model : Model
    path : Path
        The same model gives the same bytes.
    """
    with _quiet():
        program = torch.onnx.export(
            TaskToPlacement(model).eval(),
            (torch.ones(2, model.graph.n_features, dtype=torch.float64),),
            input_names=["task"],
            output_names=["placement"],
            dynamic_shapes={"task": {0: torch.export.Dim("S")}},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    made = program.model_proto
    _forget_the_sources(made)
    about = {
        "format": FORMAT,
        "graph": model.graph.name,
        "role": model.role,
        "seed": str(model.seed),
        "features": " ".join(feature_names(model.graph)),
    }
    onnx.helper.set_model_props(made, about)
    onnx.checker.check_model(made)
    with written_aside(path) as aside:
        onnx.save(made, aside)


@contextlib.contextmanager
def _quiet():
    """Without the exporter's remarks on itself and on packages that it does not need."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _forget_the_sources(made: onnx.ModelProto) -> None:
    """Remove the exporter's notes, which name files and lines of this machine."""
    graph = made.graph
    del graph.value_info[:]
    for part in itertools.chain([graph], graph.node, graph.input, graph.output, graph.initializer):
        del part.metadata_props[:]


def open_onnx(path: Path, graph: TaskGraph) -> onnxruntime.InferenceSession:
    """An exported student in ONNX Runtime, with one thread.

    Raises
    ------
    ValueError
        For a damaged file, or one of another graph or format.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its errors have no common public base
        reason = str(error).splitlines()[0]
        raise ValueError(f"model: {path} is missing, truncated or altered ({reason})") from None
    about = session.get_modelmeta().custom_metadata_map
    for key, expected in (("format", FORMAT), ("graph", graph.name)):
        if about.get(key) != expected:
            raise ValueError(f"model: {path} has {key} {about.get(key)!r}, expected {expected!r}")
    return session


def run_onnx(session: onnxruntime.InferenceSession, tasks: np.ndarray) -> np.ndarray:
    """Placements int8 (S, n) of tasks float64 (S, F), unchecked."""
    return session.run(None, {"task": tasks})[0]
