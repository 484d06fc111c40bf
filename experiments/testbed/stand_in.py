"""Any task graph in the testbed: parts that pass on as many bytes as its edges carry.

An application's own code is not needed to test what its delay is made of. Each subtask becomes a
part of a split model (see `plan`): it takes the bytes that come, repeats or cuts them to what its
edges carry, and is held until its cycles are over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, helper

from anygraph.split import MANIFEST, Manifest, Part, Transfer
from anygraph.state import State
from experiments.testbed.network import edges_from, edges_into
from experiments.testbed.plan import Result, Trial, run_plan
from kd_offload.data import written_aside
from kd_offload.delay import N_STATE
from kd_offload.graphs import LOCATIONS, TaskGraph

OPSET, IR_VERSION = 17, 8


def sessions(
    graph: TaskGraph,
    names: Sequence[str],
    tasks: np.ndarray,
    placements: Mapping[str, np.ndarray],
    repeats: int,
) -> pd.DataFrame:
    """Run tasks as each policy placed them; every task has a state of its own.

    Parameters
    ----------
    graph : TaskGraph
    names : sequence of str
        Of the subtasks.
    tasks : numpy.ndarray of float64, shape (S, F), SI units
    placements : mapping of str to numpy.ndarray of int, shape (S, n)
        By policy.
    repeats : int
        How often each runs.

    Returns
    -------
    pandas.DataFrame
        task, policy, predicted_ms, measured_ms (the median), ratio, difference (of the results'
        bytes from those expected).
    """
    rows = []
    for number, task in enumerate(tasks):
        for policy, placed in placements.items():
            found = run_stand_in(graph, names, task, placed[number], repeats).row()
            kept = {key: found[key] for key in ("predicted_ms", "measured_ms", "ratio")}
            row = {"task": number, "policy": policy} | kept
            rows.append(row | {"difference": found["difference"]})
    return pd.DataFrame(rows)


def run_stand_in(
    graph: TaskGraph, names: Sequence[str], task: np.ndarray, placement: np.ndarray, tasks: int
) -> Result:
    """Run a placed task in the three processes, several times; measured beside predicted.

    Parameters
    ----------
    graph : TaskGraph
    names : sequence of str
        Of the subtasks.
    task : numpy.ndarray of float64, shape (F,), SI units
        Bytes are rounded to whole ones.
    placement : numpy.ndarray of int, shape (n,)
    tasks : int
        How often.

    Returns
    -------
    Result
    """
    with TemporaryDirectory() as folder:
        write_stand_in(graph, names, task, placement, Path(folder))
        return run_plan(Trial(Path(folder), State(*task[-N_STATE:].tolist()), tasks=tasks))


def write_stand_in(
    graph: TaskGraph, names: Sequence[str], task: np.ndarray, placement: np.ndarray, folder: Path
) -> Manifest:
    """Write the parts, one per subtask, and their manifest; parameters as of `run_stand_in`."""
    sizes = np.maximum(np.rint(task[graph.n : -N_STATE]), 1).astype(int).tolist()
    parts = []
    for j in range(1, graph.n + 1):
        inputs = {_tensor(graph, edge): sizes[edge] for edge in edges_into(graph, j)}
        outputs = {_tensor(graph, edge): sizes[edge] for edge in edges_from(graph, j)}
        file = f"part_{j:03d}.onnx"
        onnx.save(_passing_on(inputs, outputs), folder / file)
        location = LOCATIONS[placement[j - 1]]
        cycles = float(task[j - 1])
        parts.append(Part(file, location, [j], [names[j - 1]], cycles, [*inputs], [*outputs], 0))
    transfers = [
        Transfer(i, j, [_tensor(graph, edge)], float(sizes[edge]))
        for edge, (i, j) in enumerate(graph.edges)
    ]
    manifest = Manifest(graph.name, "", parts, transfers, dict.fromkeys(LOCATIONS, 0))
    with written_aside(folder / MANIFEST) as aside:
        aside.write_text(json.dumps(asdict(manifest)), encoding="utf-8")
    return manifest


def _tensor(graph: TaskGraph, edge: int) -> str:
    return "from_{}_to_{}".format(*graph.edges[edge])


def _passing_on(inputs: dict[str, int], outputs: dict[str, int]) -> onnx.ModelProto:
    """A model that makes tensors of some sizes out of others: bytes, joined and repeated."""
    nodes = [helper.make_node("Concat", [*inputs], ["joined"], axis=0)]
    constants = [_whole_number("start", 0)]
    joined = sum(inputs.values())
    for name, size in outputs.items():
        repeats = -(-size // joined)
        constants += [_whole_number(f"{name}_repeats", repeats), _whole_number(f"{name}_end", size)]
        nodes.append(helper.make_node("Tile", ["joined", f"{name}_repeats"], [f"{name}_long"]))
        cut = [f"{name}_long", "start", f"{name}_end"]
        nodes.append(helper.make_node("Slice", cut, [name]))
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.UINT8, [size]) for name, size in end]
        for end in (inputs.items(), outputs.items())
    ]
    graph = helper.make_graph(nodes, "part", *ends, constants)
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)


def _whole_number(name: str, value: int) -> TensorProto:
    return helper.make_tensor(name, TensorProto.INT64, [1], [value])
