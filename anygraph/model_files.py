"""An ONNX model as a task: its operators are the subtasks, with costs of their own.

Cycles are measured (ONNX Runtime runs the model here, or wrote a profile elsewhere) or counted.
Bytes are those of the tensors' types. Weights, and what is computed from them alone, are no
traffic. How the structure is read stands in `onnx_graph`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from onnx.helper import make_tensor_value_info
from onnx.inliner import inline_selected_functions
from onnx.shape_inference import infer_shapes

from anygraph.families import MAX_SUBTASKS
from anygraph.listing import Note
from anygraph.merging import merge
from anygraph.onnx_count import count
from anygraph.onnx_graph import (
    RANDOM,
    Operator,
    Structure,
    bodies,
    constants_of,
    open_model,
    prepare,
    structure_of,
    taken_by,
)
from anygraph.onnx_profile import (
    ROUNDED_OFF,
    Profile,
    measure,
    read_profile,
    tensor_bytes,
)
from anygraph.onnx_run import random_inputs
from anygraph.wfformat import MACHINE_SPEED
from kd_offload.graphs import TaskGraph

CYCLES_PER_FLOP = 1 / 8  # eight operations in a cycle: SIMD with fused multiply-add
EXPANSIONS = 3  # functions in functions


@dataclass(frozen=True)
class ModelFile:
    """A model as a task graph with its costs.

    Parameters
    ----------
    path : Path
        The model's file.
    graph : TaskGraph
        `n` subtasks, E edges.
    names : tuple of str
        What each subtask is called: the name of its costliest operator. (n,)
    members : tuple of tuple of str
        The names of each subtask's operators, in the order that they run. (n,)
    cycles : ndarray
        Of each subtask. float64 (n,)
    bytes : ndarray
        Of each edge, in the graph's order. float64 (E,)
    weight_bytes : ndarray
        Of the weights that each subtask needs; those that several need count in each. float64 (n,)
    structure : Structure
        The model and its operators.
    tensor_bytes : dict of str to float
        Of each tensor that travels.
    inputs : dict of str to ndarray
        What the model was run with, or the shapes that were counted; empty if neither was needed.
    report : tuple of Note
        What was done and assumed.
    unmerged : ModelFile or None
        The same, a subtask for each operator; None if nothing was merged.
    group_of : ndarray or None
        What each subtask of `unmerged` went into, 1 to n. int64
    """

    path: Path
    graph: TaskGraph
    names: tuple[str, ...]
    members: tuple[tuple[str, ...], ...]
    cycles: np.ndarray
    bytes: np.ndarray
    weight_bytes: np.ndarray
    structure: Structure
    tensor_bytes: dict[str, float]
    inputs: dict[str, np.ndarray]
    report: tuple[Note, ...]
    unmerged: ModelFile | None = None
    group_of: np.ndarray | None = None

    @property
    def workload(self) -> np.ndarray:
        """Cycles, then bytes: what `kd_offload.tasks.sample_tasks` takes. float64 (n + E,)."""
        return np.concatenate([self.cycles, self.bytes])


class _Costs(NamedTuple):
    """What measuring or counting gives."""

    structure: Structure  # as it ran: functions that ONNX Runtime expands are expanded
    cycles: dict[str, float]  # of each operator
    tensor_bytes: dict[str, float]
    inputs: dict[str, np.ndarray]
    report: list[Note]


def read_model(
    path: Path | str,
    dims: Mapping[str, int | tuple[int, ...]] | None = None,
    costs: str | Path = "measured",
    machine_speed: float = MACHINE_SPEED,
    most_subtasks: int = MAX_SUBTASKS,
    inputs: Mapping[str, Any] | None = None,
) -> ModelFile:
    """Read an ONNX model as a task graph.

    Parameters
    ----------
    path : path
        An ONNX file.
    dims : mapping of str to int or tuple of int, optional
        Sizes of the free dimensions of inputs: by their name, "TENSOR:AXIS" for one without a name,
        or the whole shape by the tensor's name. {"batch": 1} by default.
    costs : str or path, optional
        "measured": ONNX Runtime runs the model here, without optimisations and on one thread.
        "flops": operations are counted, nothing is run. Else a profile that ONNX Runtime wrote, on
        a phone for instance, without graph optimisations.
    machine_speed : float, optional
        Hz of the machine that measured: seconds times it are cycles. 2 GHz by default.
    most_subtasks : int, optional
        More are merged (see `merging`).
    inputs : mapping of str to array, optional
        Values of inputs; the others are random.

    Returns
    -------
    ModelFile

    Raises
    ------
    ValueError
        Naming the file, the operator, tensor or dimension, and what to do.
    """
    path = Path(path)
    dims = {"batch": 1} if dims is None else dims
    if not np.isfinite(machine_speed) or machine_speed <= 0:
        raise ValueError(f"machine_speed: {machine_speed!r}, expected a positive number of Hz")
    if not isinstance(most_subtasks, (int, np.integer)) or most_subtasks < 1:
        raise ValueError(f"most_subtasks: {most_subtasks!r}, expected a positive integer")
    structure = structure_of(prepare(open_model(path)), path)
    if costs == "flops":
        found = _counted(structure, dims, inputs or {}, path)
    elif costs == "measured":
        found = _measured(structure, dims, inputs or {}, path, machine_speed)
    else:
        found = _profiled(structure, Path(costs), dims, inputs or {}, path, machine_speed)
    operators = found.structure.operators
    whole = _as_task(path, found, [[operator] for operator in operators])
    if whole.graph.n <= most_subtasks:
        return whole
    return _merged(whole, found, int(most_subtasks))


# costs


def _counted(structure, dims, inputs, path: Path) -> _Costs:
    feeds = random_inputs(structure.model, dims, inputs, path)
    counts = count(structure, feeds, path)
    cycles = {name: flops * CYCLES_PER_FLOP for name, flops in counts.flops.items()}
    text = "Operations are counted by onnx-tool, eight in a cycle; nothing was run."
    return _Costs(structure, cycles, counts.tensor_bytes, feeds, [Note("counted", text)])


def _measured(structure, dims, inputs, path: Path, machine_speed: float) -> _Costs:
    feeds = random_inputs(structure.model, dims, inputs, path)
    for _ in range(EXPANSIONS):
        profile, scale = measure(structure.model, feeds, path)
        missing = _without_time(structure, profile)
        if not missing:
            break
        structure = _expanded(structure, missing, path)
    _refuse_without_time(structure, profile, path, "ONNX Runtime's own profile")
    nodes = structure.model.graph.node
    branching = [op.name for op in structure.operators if any(True for _ in bodies(nodes[op.node]))]
    made_up = [name for name in feeds if name not in inputs]
    text = (
        f"Measured by ONNX Runtime, {_times(len(profile.totals))} after a first: one thread, "
        f"no graph optimisations. Seconds are cycles at {machine_speed / 1e9:g} GHz."
    )
    report = [Note("measured", text)]
    text = f"The profile's times are scaled by {scale:.2f}: a run without it takes so much of them."
    report.append(Note("scaled", text))
    if made_up:
        text = f"Inputs are random: {', '.join(_described(n, feeds[n]) for n in made_up)}."
        report.append(Note("inputs", text))
    if branching:
        text = f"{', '.join(branching)}: measured with the branch and the rounds of these inputs."
        report.append(Note("bodies", text))
    return _from_profile(structure, profile, feeds, path, machine_speed, report)


def _profiled(structure, file: Path, dims, inputs, path: Path, machine_speed: float) -> _Costs:
    if not file.is_file():
        raise ValueError(f'costs: {str(file)!r}, expected "measured", "flops" or a profile\'s file')
    profile = read_profile(file, structure.model)
    _refuse_without_time(structure, profile, path, f"the profile {file}")
    text = (
        f"Times are those of the profile {file.name} ({_times(len(profile.totals))}); "
        f"seconds are cycles at {machine_speed / 1e9:g} GHz."
    )
    report = [Note("profile", text)]
    try:
        feeds = random_inputs(structure.model, dims, inputs, path)
    except ValueError:  # sizes are in the profile; strings' and sequences' are asked for there
        feeds = None
    return _from_profile(structure, profile, feeds, path, machine_speed, report)


def _from_profile(structure, profile, feeds, path, machine_speed, report) -> _Costs:
    cycles = {
        operator.name: profile.seconds.get(operator.name, ROUNDED_OFF) * machine_speed
        for operator in structure.operators
    }
    sizes = tensor_bytes(structure, profile, feeds, path)
    return _Costs(structure, cycles, sizes, feeds or {}, report)


def _times(runs: int) -> str:
    return "one run" if runs == 1 else f"median of {runs} runs"


def _described(name: str, value: np.ndarray) -> str:
    shape = "x".join(map(str, value.shape)) or "scalar"
    kind = "string" if value.dtype == object else value.dtype
    return f"{name} ({kind} {shape})"


def _without_time(structure: Structure, profile: Profile) -> list[Operator]:
    """The operators that a profile lacks. It may lack a cast: needless ones are not run."""
    operators = structure.operators
    return [op for op in operators if op.name not in profile.seconds and op.kind != "Cast"]


def _expanded(structure: Structure, missing: list[Operator], path: Path) -> Structure:
    """With those operators replaced by the operators of their definition in ONNX.

    ONNX Runtime does the same to operators that it has no kernel for.
    """
    nodes = structure.model.graph.node
    kinds = sorted({(nodes[operator.node].domain, operator.kind) for operator in missing})
    try:
        typed = infer_shapes(structure.model)  # some definitions depend on the types
        typed.graph.value_info.extend(
            make_tensor_value_info(weight.name, weight.data_type, weight.dims)
            for weight in typed.graph.initializer
        )
        model = inline_selected_functions(typed, kinds, False, True)
    except Exception as error:  # from C++
        names = ", ".join(f"{op.name!r} ({op.kind})" for op in missing[:3])
        raise ValueError(
            f"{path}: ONNX Runtime has no kernel for {names}, and ONNX cannot replace it by its "
            f"definition; replace it, or count instead of running (--costs flops)"
        ) from error
    return structure_of(prepare(model), path)


def _refuse_without_time(structure: Structure, profile: Profile, path: Path, where: str):
    missing = _without_time(structure, profile)
    if missing:
        names = ", ".join(f"{op.name!r} ({op.kind})" for op in missing[:3])
        raise ValueError(
            f"{path}: {where} has no time for {len(missing)} operators, {names} among them; "
            f"profile this very file, with graph optimisations disabled (ORT_DISABLE_ALL)"
        )


# the task


def _merged(whole: ModelFile, costs: _Costs, most: int) -> ModelFile:
    sizes = dict(zip(whole.graph.edges, whole.bytes))
    group_of = merge(whole.graph.n, whole.cycles, sizes, most).group_of
    groups: list[list[Operator]] = [[] for _ in range(max(group_of))]
    for operator, group in zip(costs.structure.operators, group_of):
        groups[group - 1].append(operator)
    n = len(groups)
    text = f"Merged to {n} subtasks, the cheapest into the last that feeds it."
    if n > most:
        text = f"{text} They are more than {most}: the input alone feeds them."
    costs.report.append(Note("merged", text))
    return replace(_as_task(whole.path, costs, groups), unmerged=whole, group_of=group_of)


def _as_task(path: Path, costs: _Costs, groups: Sequence[Sequence[Operator]]) -> ModelFile:
    sizes = _edge_bytes(costs, groups)
    graph = TaskGraph(path.stem, len(groups), tuple(sizes))
    costliest = [max(group, key=lambda operator: costs.cycles[operator.name]) for group in groups]
    return ModelFile(
        path=path,
        graph=graph,
        names=tuple(operator.name for operator in costliest),
        members=tuple(tuple(operator.name for operator in group) for group in groups),
        cycles=np.array([sum(costs.cycles[op.name] for op in group) for group in groups]),
        bytes=np.array([sizes[edge] for edge in graph.edges], dtype=np.float64),
        weight_bytes=np.array([_weights(costs.structure, g) for g in groups], dtype=np.float64),
        structure=costs.structure,
        tensor_bytes=costs.tensor_bytes,
        inputs=costs.inputs,
        report=(*_summary(path, costs.structure), *costs.report),
    )


def _edge_bytes(costs: _Costs, groups: Sequence[Sequence[Operator]]) -> dict:
    """Bytes between groups of operators, numbered from 1; the source is 0, the sink the last.

    Every tensor that a group takes from another counts once.
    """
    sink = len(groups) + 1
    maker = dict.fromkeys(costs.structure.inputs, 0)
    for number, group in enumerate(groups, start=1):
        for operator in group:
            maker |= dict.fromkeys(operator.gives, number)
    sizes: dict[tuple[int, int], float] = {}
    for number, group in enumerate(groups, start=1):
        taken = frozenset().union(*(operator.takes for operator in group))
        for tensor in sorted(taken):
            if maker[tensor] != number:
                edge = (maker[tensor], number)
                sizes[edge] = sizes.get(edge, 0.0) + costs.tensor_bytes[tensor]
    for tensor in dict.fromkeys(costs.structure.outputs):
        if maker.get(tensor, 0):  # not an input passed through, nor a constant
            edge = (maker[tensor], sink)
            sizes[edge] = sizes.get(edge, 0.0) + costs.tensor_bytes[tensor]
    fed = {j for _, j in sizes}
    for number in range(1, sink):
        if number not in fed:  # random numbers, made of nothing
            sizes[0, number] = 0.0
    return sizes


def _weights(structure: Structure, operators: Sequence[Operator]) -> int:
    nodes = structure.model.graph.node
    names = set().union(*(taken_by(nodes[operator.node]) for operator in operators))
    return constants_of(structure, names).bytes


def _summary(path: Path, structure: Structure) -> list[Note]:
    """What was read."""
    operators = structure.operators
    weights = sum(structure.weight_bytes.values()) / 1e6
    notes = [
        Note("model", f"{path.name}: {len(operators)} operators, {weights:.3g} MB of weights.")
    ]
    constant = len(set(structure.constant_nodes.values()))
    if constant:
        text = f"{constant} operators depend on weights alone: done once, they cost nothing."
        notes.append(Note("constant", text))
    if structure.unused:
        text = f"{len(structure.unused)} operators are left out: no output depends on them."
        notes.append(Note("unused", text))
    given = {name for operator in operators for name in operator.gives}
    for name in structure.outputs:
        if name not in given:
            what = "an input passed through" if name in structure.inputs else "a constant"
            notes.append(Note("output", f"Output {name} is {what}: it does not travel."))
    taken = {name for operator in operators for name in operator.takes}
    idle = [name for name in structure.inputs if name not in taken]
    if idle:
        notes.append(Note("idle", f"No operator takes the inputs {', '.join(idle)}."))
    random = [operator.name for operator in operators if operator.kind in RANDOM]
    if random:
        text = f"{', '.join(random)} draw random numbers: no two runs are the same."
        notes.append(Note("random", text))
    return notes
